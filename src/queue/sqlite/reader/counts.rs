//! How many rows are in which state, and parked for what; each counted to [`Census::LIMIT`] at the most.

use rusqlite::{OptionalExtension, Row, Statement, Transaction, params};

use super::super::statements;
use super::rows_in;
use crate::clock::Millis;
use crate::queue::{Census, ParkedGroup, State};

pub(in crate::queue::sqlite) const FIRST_ANSWER: &str = "
    SELECT answer FROM users INDEXED BY users_parked
    WHERE parked_at IS NOT NULL AND answer >= ?1 ORDER BY answer LIMIT 1";

pub(in crate::queue::sqlite) const NEXT_ANSWER: &str = "
    SELECT answer FROM users INDEXED BY users_parked
    WHERE parked_at IS NOT NULL AND answer > ?1 ORDER BY answer LIMIT 1";

pub(in crate::queue::sqlite) const GROUP: &str = "
    SELECT count(*), min(failing_since), max(parked_at), max(error)
    FROM (SELECT failing_since, parked_at, error FROM users INDEXED BY users_parked
        WHERE parked_at IS NOT NULL AND answer = ?1 LIMIT ?2)";

pub(super) fn census(store: &Transaction<'_>, now: Millis) -> rusqlite::Result<Census> {
    let oldest = statements::next_due(store)?.prompt;
    Ok(Census {
        due: up_to_limit(store, State::Due, now)?,
        leased: up_to_limit(store, State::Leased, now)?,
        scheduled: up_to_limit(store, State::Scheduled, now)?,
        parked: up_to_limit(store, State::Parked, now)?,
        oldest_due_ms: oldest
            .map_or(0, |oldest| u64::try_from(now.since(oldest).as_millis()).unwrap_or(u64::MAX)),
    })
}

pub(in crate::queue::sqlite) fn counting(state: State) -> String {
    format!("SELECT count(*) FROM (SELECT 1 FROM {} LIMIT ?2)", rows_in(Some(state)))
}

fn up_to_limit(store: &Transaction<'_>, state: State, now: Millis) -> rusqlite::Result<u64> {
    let count: i64 = store.query_row(&counting(state), [now.0, limit()], |row| row.get(0))?;
    Ok(u64::try_from(count).unwrap_or(0))
}

fn limit() -> i64 {
    i64::try_from(Census::LIMIT).unwrap_or(i64::MAX)
}

/// From one answer to the next, so that no group is walked beyond what is counted of it.
pub(super) fn parked(store: &Transaction<'_>, most: usize) -> rusqlite::Result<Vec<ParkedGroup>> {
    let answer_by = |statement: &mut Statement<'_>, last: &str| {
        statement.query_row([last], |row| row.get::<_, String>(0)).optional()
    };
    let (mut next, mut group) = (store.prepare(NEXT_ANSWER)?, store.prepare(GROUP)?);
    let mut groups = Vec::new();
    let mut found = answer_by(&mut store.prepare(FIRST_ANSWER)?, "")?;
    while let Some(answer) = found {
        groups.push(group.query_row(params![answer, limit()], |row| read(&answer, row))?);
        found = answer_by(&mut next, &answer)?;
    }
    groups.sort_by(|one, other| other.users.cmp(&one.users).then_with(|| one.answer.cmp(&other.answer)));
    groups.truncate(most);
    Ok(groups)
}

fn read(answer: &str, row: &Row<'_>) -> rusqlite::Result<ParkedGroup> {
    Ok(ParkedGroup {
        answer: answer.to_owned(),
        users: u64::try_from(row.get::<_, i64>(0)?).unwrap_or(0),
        first_at: row.get::<_, Option<i64>>(1)?.map(Millis),
        last_at: Millis(row.get(2)?),
        error: row.get::<_, Option<String>>(3)?.unwrap_or_default(),
    })
}
