//! Users' rows as an operator asks for them: of a state, with a text, by name, or who is parked alike.
//!
//! A state that few rows are in has an index: those rows are found first and put in order then, so that a page of them
//! never walks over everybody.

use sqlx::Row;
use sqlx::postgres::{PgPool, PgRow};

use super::lanes::counted;
use super::memory;
use super::reader::from_kept;
use super::retry::searched;
use super::statements::storable;
use crate::clock::Millis;
use crate::queue::{Census, Filter, Lane, ParkedGroup, State, UserRow};
use crate::user::UserId;

macro_rules! columns {
    () => {
        concat!(
            "SELECT u.user_id, u.lane, u.due_at, u.generation, u.event_type, u.attempts, u.failing_since, u.error, u.parked_at,
            u.answer, u.held_back, u.synced_at, u.lease_owner, u.changes_at, ",
            memory::memory!(),
            " "
        )
    };
}

/// Whoever comes after `$2`, with the text `$3`, in lower case, in error or answer where there is one. `$1` is the time.
macro_rules! passes {
    () => {
        " u.connection = 'default' AND u.user_id > $2 AND ($3::text IS NULL
            OR strpos(lower(u.error COLLATE \"C\"), $3) > 0 OR strpos(lower(u.answer COLLATE \"C\"), $3) > 0)
            AND $1::bigint IS NOT NULL "
    };
}

/// Found by the index of their state, and then put in order.
macro_rules! found {
    ($state:literal) => {
        concat!(
            "WITH found AS MATERIALIZED (SELECT u.user_id FROM users AS u WHERE ",
            $state,
            " AND ",
            passes!(),
            "), page AS MATERIALIZED (SELECT user_id FROM found ORDER BY user_id LIMIT $4) ",
            columns!(),
            "FROM page JOIN users AS u ON u.connection = 'default' AND u.user_id = page.user_id ORDER BY u.user_id"
        )
    };
}

/// Walked in order, as most rows are of the kind.
macro_rules! walked {
    ($state:literal) => {
        concat!(
            columns!(),
            "FROM users AS u WHERE ",
            $state,
            " AND ",
            passes!(),
            "ORDER BY u.user_id LIMIT $4"
        )
    };
}

const ANY: &str = walked!("true");
const IDLE: &str = walked!("u.due_at IS NULL AND u.parked_at IS NULL");
const DUE: &str = found!("u.lane = ANY ('{0,1,2}') AND u.due_at <= $1");
const LEASED: &str = found!("u.lease_owner IS NOT NULL AND u.due_at > $1");
const SCHEDULED: &str = found!("u.lane = ANY ('{0,1,2}') AND u.due_at > $1 AND u.lease_owner IS NULL");
const PARKED: &str = found!("u.parked_at IS NOT NULL");

const OF: &str =
    concat!(columns!(), "FROM users AS u WHERE u.connection = 'default' AND u.user_id = ANY ($1::text[])");

const GROUPS: &str = "
    SELECT coalesce(answer, ''), count(*), min(failing_since), max(parked_at), coalesce(min(error), '')
    FROM users WHERE connection = 'default' AND parked_at IS NOT NULL
    GROUP BY answer ORDER BY count(*) DESC, answer LIMIT $1";

/// The rows that `filter` lets pass, in order.
pub(super) async fn filtered(pool: &PgPool, now: Millis, filter: &Filter) -> sqlx::Result<Vec<UserRow>> {
    let sql = match filter.state {
        None => ANY,
        Some(State::Idle) => IDLE,
        Some(State::Due) => DUE,
        Some(State::Leased) => LEASED,
        Some(State::Scheduled) => SCHEDULED,
        Some(State::Parked) => PARKED,
    };
    let rows = sqlx::query(sql)
        .bind(now.0)
        .bind(filter.after.as_deref().map(storable).unwrap_or_default())
        .bind(filter.reason.as_deref().map(searched))
        .bind(i64::try_from(filter.limit).unwrap_or(i64::MAX))
        .fetch_all(pool)
        .await?;
    rows.iter().map(|row| user_row(row, now)).collect()
}

/// The rows of `users`, in no order.
pub(super) async fn of(pool: &PgPool, now: Millis, users: &[UserId]) -> sqlx::Result<Vec<UserRow>> {
    let users: Vec<&str> = users.iter().map(UserId::as_str).collect();
    let rows = sqlx::query(OF).bind(users).fetch_all(pool).await?;
    rows.iter().map(|row| user_row(row, now)).collect()
}

/// Who is parked for what, the largest group first.
pub(super) async fn parked(pool: &PgPool, most: usize) -> sqlx::Result<Vec<ParkedGroup>> {
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let group = |row: &PgRow| {
        Ok(ParkedGroup {
            answer: row.try_get(0)?,
            users: from_kept(row.try_get(1)?).min(Census::LIMIT),
            first_at: row.try_get::<Option<i64>, _>(2)?.map(Millis),
            last_at: Millis(row.try_get(3)?),
            error: row.try_get(4)?,
        })
    };
    sqlx::query(GROUPS).bind(most).fetch_all(pool).await?.iter().map(group).collect()
}

fn user_row(row: &PgRow, now: Millis) -> sqlx::Result<UserRow> {
    let time = |column: &str| Ok::<_, sqlx::Error>(row.try_get::<Option<i64>, _>(column)?.map(Millis));
    let (due_at, parked_at) = (time("due_at")?, time("parked_at")?);
    let lease_owner: Option<i64> = row.try_get("lease_owner")?;
    Ok(UserRow {
        changes_at: time("changes_at")?,
        memory: memory::read(row)?,
        user: row.try_get("user_id")?,
        state: UserRow::state_at(now, due_at, lease_owner.is_some(), parked_at.is_some()),
        lane: Lane::of_number(row.try_get::<i16, _>("lane")?.into()),
        due_at,
        generation: row.try_get("generation")?,
        event_type: row.try_get("event_type")?,
        attempts: counted(row.try_get("attempts")?),
        failing_since: time("failing_since")?,
        error: row.try_get("error")?,
        parked_at,
        answer: row.try_get("answer")?,
        held_back: row.try_get("held_back")?,
        synced_at: time("synced_at")?,
        lease_owner,
    })
}
