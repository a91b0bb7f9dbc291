//! The rows of users, as an operator sees them.

use std::collections::BTreeSet;

use rusqlite::{Row, Transaction, params};

use super::super::memory::{self, remembered};
use super::rows_in;
use crate::clock::Millis;
use crate::memory::SeenByOthers;
use crate::queue::{Filter, Lane, State, UserRow};
use crate::user::UserId;

const COLUMNS: &str = concat!(
    "user_id, lane, due_at, generation, event_type, attempts, failing_since, error, parked_at, answer,
    held_back, synced_at, lease_owner, changes_at, ",
    remembered!()
);

pub(in crate::queue::sqlite) fn of_one() -> String {
    format!("SELECT {COLUMNS} FROM users WHERE connection = 'default' AND user_id = ?1")
}

/// The ids first: they are in every index, so that no row is looked up that is not shown, unless a reason is asked for.
pub(in crate::queue::sqlite) fn listing(state: Option<State>, by_reason: bool) -> String {
    let passes = if by_reason {
        "(instr(lower(error), ?3) > 0 OR instr(lower(answer), ?3) > 0)"
    } else {
        "?3 IS NULL"
    };
    format!(
        "SELECT {COLUMNS} FROM users WHERE connection = 'default' AND user_id IN (
            SELECT user_id FROM {} AND connection = 'default' AND user_id > ?2 AND {passes}
            ORDER BY user_id LIMIT ?4)
        ORDER BY user_id",
        rows_in(state)
    )
}

pub(in crate::queue::sqlite) const OTHERS_AT: &str = "
    SELECT user_id FROM users INDEXED BY users_email
    WHERE connection = 'default' AND email_key = ?1 AND user_id <> ?2 ORDER BY user_id LIMIT ?3";

pub(in crate::queue::sqlite) const SEEN_BY_OTHERS: &str = "
    SELECT coalesce(max(contact_seen), 0), coalesce(max(contact_on_list), 0) FROM users INDEXED BY users_email
    WHERE connection = 'default' AND email_key = ?1 AND user_id <> ?2 AND coalesce(contact_list, ?3) = ?3";

/// What the rows of everybody but `user` remember of the contact with this key of an address, on `list`.
pub(super) fn seen_by_others(
    store: &Transaction<'_>,
    user: &UserId,
    key: &str,
    list: &str,
) -> rusqlite::Result<SeenByOthers> {
    store.query_row(SEEN_BY_OTHERS, [key, user.as_str(), list], |row| {
        Ok(SeenByOthers { contact: row.get(0)?, on_list: row.get(1)? })
    })
}

/// The users besides `user` whose rows have this key of an address.
pub(super) fn others_at(
    store: &Transaction<'_>,
    user: &UserId,
    key: &str,
    most: usize,
) -> rusqlite::Result<Vec<UserId>> {
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let ids: Vec<String> = store
        .prepare(OTHERS_AT)?
        .query_map(params![key, user.as_str(), most], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(ids.into_iter().filter_map(|id| UserId::new(id).ok()).collect())
}

pub(super) fn filtered(
    store: &Transaction<'_>,
    now: Millis,
    filter: &Filter,
) -> rusqlite::Result<Vec<UserRow>> {
    let Filter { state, reason, after, limit } = filter;
    let limit = i64::try_from(*limit).unwrap_or(i64::MAX);
    let (after, reason) =
        (after.as_deref().unwrap_or_default(), reason.as_deref().map(str::to_ascii_lowercase));
    store
        .prepare(&listing(*state, reason.is_some()))?
        .query_map(params![now.0, after, reason, limit], |row| read(row, now))?
        .collect()
}

pub(super) fn of(store: &Transaction<'_>, now: Millis, users: &[UserId]) -> rusqlite::Result<Vec<UserRow>> {
    let mut one = store.prepare(&of_one())?;
    let users: BTreeSet<&UserId> = users.iter().collect();
    let mut rows = Vec::with_capacity(users.len());
    for user in users {
        for row in one.query_map([user.as_str()], |row| read(row, now))? {
            rows.push(row?);
        }
    }
    Ok(rows)
}

fn read(row: &Row<'_>, now: Millis) -> rusqlite::Result<UserRow> {
    let time = |column| row.get::<_, Option<i64>>(column).map(|at| at.map(Millis));
    let (due_at, parked_at, lease_owner) = (time(2)?, time(8)?, row.get::<_, Option<i64>>(12)?);
    Ok(UserRow {
        user: row.get(0)?,
        state: UserRow::state_at(now, due_at, lease_owner.is_some(), parked_at.is_some()),
        lane: Lane::of_number(row.get(1)?),
        due_at,
        generation: row.get(3)?,
        event_type: row.get(4)?,
        attempts: row.get(5)?,
        failing_since: time(6)?,
        error: row.get(7)?,
        parked_at,
        answer: row.get(9)?,
        held_back: row.get(10)?,
        synced_at: time(11)?,
        changes_at: time(13)?,
        memory: memory::read(row, 14)?,
        lease_owner,
    })
}
