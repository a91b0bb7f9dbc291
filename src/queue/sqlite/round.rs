//! The round that brings everybody round again: where it has come to, and who is next.

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use crate::clock::Millis;
use crate::queue::clockwork::ROUND_WAITING;
use crate::queue::{DRIFT, Round};

const READ: &str =
    "SELECT started_at, ended_at, users, passed, cursor FROM rounds WHERE connection = 'default'";

const WRITE: &str = "
    INSERT OR REPLACE INTO rounds (connection, started_at, ended_at, users, passed, cursor)
    VALUES ('default', ?1, ?2, ?3, ?4, ?5)";

/// Some of the rows after an id, counted, and the last of them.
pub(super) const COUNT_ON: &str = "
    SELECT count(*), max(user_id) FROM (
        SELECT user_id FROM users WHERE connection = 'default' AND user_id > ?1 ORDER BY user_id LIMIT ?2)";

pub(super) const WAITING: &str = "
    SELECT count(*) FROM (SELECT 1 FROM users INDEXED BY users_due WHERE lane = 2 AND due_at <= ?1 LIMIT ?2)";

pub(super) const NEXT: &str =
    "SELECT user_id FROM users WHERE connection = 'default' AND user_id > ?1 ORDER BY user_id LIMIT ?2";

/// Who is due, held or parked, was never synced, or is not known to Sesamy, is only passed; and so is whose change is held
/// back, which an event has asked for and a round might not do. The generation stays, which
/// counts what asked for a sync: nobody holds the row, so that no event is missed for it.
pub(super) const DRIFTS: &str = "
    UPDATE users SET due_at = ?2, lane = 2, event_type = ?3
    WHERE connection = 'default' AND user_id = ?1 AND due_at IS NULL AND lease_owner IS NULL AND parked_at IS NULL
        AND synced_at IS NOT NULL AND missing_since IS NULL AND held_back = 0";

/// A round, and the last id that it has passed.
pub(super) struct Kept {
    pub(super) round: Round,
    cursor: String,
}

impl Kept {
    /// Begins a round of `users` rows.
    pub(super) fn begin(transaction: &Transaction<'_>, users: u64, now: Millis) -> rusqlite::Result<Self> {
        let begun = Self { round: Round::begun(now, users), cursor: String::new() };
        begun.write(transaction)?;
        Ok(begun)
    }

    /// Passes the next `most` rows, and ends where there are no more; how many of them are due now.
    pub(super) fn pass(
        &mut self,
        transaction: &Transaction<'_>,
        most: usize,
        now: Millis,
    ) -> rusqlite::Result<u64> {
        let limit = i64::try_from(most).unwrap_or(i64::MAX);
        let passed: Vec<String> = transaction
            .prepare_cached(NEXT)?
            .query_map(params![self.cursor, limit], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        let mut drifts = transaction.prepare_cached(DRIFTS)?;
        let made_due = passed
            .iter()
            .try_fold(0, |sum, user| drifts.execute(params![user, now.0, DRIFT]).map(|due| sum + due))?;
        self.round.passed = self.round.passed.saturating_add(passed.len() as u64);
        if passed.len() < most {
            self.round.ended_at = Some(now);
        }
        if let Some(last) = passed.into_iter().next_back() {
            self.cursor = last;
        }
        self.write(transaction)?;
        Ok(made_due as u64)
    }

    fn write(&self, transaction: &Transaction<'_>) -> rusqlite::Result<()> {
        let Round { started_at, ended_at, users, passed } = self.round;
        let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let row = params![started_at.0, ended_at.map(|at| at.0), count(users), count(passed), self.cursor];
        transaction.prepare_cached(WRITE)?.execute(row).map(drop)
    }
}

/// The last round; none where there was none.
pub(super) fn read(connection: &Connection) -> rusqlite::Result<Option<Kept>> {
    let count =
        |row: &Row<'_>, column| row.get::<_, i64>(column).map(|count| u64::try_from(count).unwrap_or(0));
    let kept = |row: &Row<'_>| {
        let round = Round {
            started_at: Millis(row.get(0)?),
            ended_at: row.get::<_, Option<i64>>(1)?.map(Millis),
            users: count(row, 2)?,
            passed: count(row, 3)?,
        };
        Ok(Kept { round, cursor: row.get(4)? })
    };
    connection.prepare_cached(READ)?.query_row((), kept).optional()
}

/// How many of the background lane are due, counted to [`ROUND_WAITING`] at the most.
pub(super) fn waiting(connection: &Connection, now: Millis) -> rusqlite::Result<usize> {
    let most = i64::try_from(ROUND_WAITING).unwrap_or(i64::MAX);
    let count: i64 = connection.prepare_cached(WAITING)?.query_row([now.0, most], |row| row.get(0))?;
    Ok(usize::try_from(count).unwrap_or(ROUND_WAITING))
}

/// Counts up to `most` rows after `after`; the last of them, where there is one.
pub(super) fn count_on(
    connection: &Connection,
    after: &str,
    most: usize,
) -> rusqlite::Result<(usize, Option<String>)> {
    let limit = i64::try_from(most).unwrap_or(i64::MAX);
    let counted = |row: &Row<'_>| Ok((row.get::<_, i64>(0)?, row.get(1)?));
    let (count, last) = connection.prepare_cached(COUNT_ON)?.query_row(params![after, limit], counted)?;
    Ok((usize::try_from(count).unwrap_or(0), last))
}
