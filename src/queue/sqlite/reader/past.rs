//! What has been: a user's history, the counts of each minute, and how far a backfill has come.

use rusqlite::{OptionalExtension, Row, Transaction, params};

use crate::clock::Millis;
use crate::queue::history::{minute_at, minute_of};
use crate::queue::{Backlog, HistoryRow, MinuteCount, Progress};
use crate::user::UserId;

pub(in crate::queue::sqlite) const HISTORY: &str = "
    SELECT first_at, last_at, times, unchanged_times, event_type, outcome, reason, held_back, changed, tags_added,
        tags_removed, old_tags_removed, attempt, ms, error
    FROM history WHERE connection = 'default' AND user_id = ?1 ORDER BY id DESC LIMIT ?2";

pub(in crate::queue::sqlite) const COUNTS: &str = "
    SELECT minute, outcome, count FROM sync_counts WHERE connection = 'default' AND minute >= ?1
    ORDER BY minute, outcome";

const PROGRESS: &str = "SELECT started_at, ended_at, asked, done FROM backfills WHERE connection = 'default'";

pub(super) fn history(
    store: &Transaction<'_>,
    user: &UserId,
    most: usize,
) -> rusqlite::Result<Vec<HistoryRow>> {
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    store.prepare(HISTORY)?.query_map(params![user.as_str(), most], read)?.collect()
}

fn read(row: &Row<'_>) -> rusqlite::Result<HistoryRow> {
    let list = |column| row.get::<_, String>(column).map(|joined| HistoryRow::split(&joined));
    Ok(HistoryRow {
        first_at: Millis(row.get(0)?),
        last_at: Millis(row.get(1)?),
        times: row.get(2)?,
        unchanged_times: row.get(3)?,
        event_type: row.get(4)?,
        outcome: row.get(5)?,
        reason: row.get(6)?,
        held_back: row.get(7)?,
        changed: list(8)?,
        tags_added: list(9)?,
        tags_removed: list(10)?,
        old_tags_removed: list(11)?,
        attempt: row.get(12)?,
        ms: u64::try_from(row.get::<_, i64>(13)?).unwrap_or(0),
        error: row.get(14)?,
    })
}

pub(super) fn counts_since(store: &Transaction<'_>, since: Millis) -> rusqlite::Result<Vec<MinuteCount>> {
    let read = |row: &Row<'_>| {
        Ok(MinuteCount {
            minute: minute_at(row.get(0)?),
            outcome: row.get(1)?,
            count: u64::try_from(row.get::<_, i64>(2)?).unwrap_or(0),
        })
    };
    store.prepare(COUNTS)?.query_map([minute_of(since)], read)?.collect()
}

const ENDED: &str = "
    SELECT CASE WHEN h.unchanged_times > 0 THEN 'unchanged' ELSE h.outcome END,
        CASE WHEN h.unchanged_times > 0 THEN '' ELSE h.reason END, count(*)
    FROM users u JOIN history h ON h.id = (
        SELECT max(id) FROM history WHERE connection = 'default' AND user_id = u.user_id)
    WHERE u.synced_at >= ?1 OR u.parked_at >= ?1 GROUP BY 1, 2";

pub(super) fn backlog(store: &Transaction<'_>, now: Millis, since: Millis) -> rusqlite::Result<Backlog> {
    let count = |sql: &str| {
        store
            .query_row(sql, [now.0], |row| row.get::<_, i64>(0))
            .map(|count| u64::try_from(count).unwrap_or(0))
    };
    let read =
        |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, u64::try_from(row.get::<_, i64>(2)?).unwrap_or(0)));
    Ok(Backlog {
        waiting: count(
            "SELECT count(*) FROM users WHERE lane = 2 AND (due_at <= ?1 OR lease_owner IS NOT NULL)",
        )?,
        ended: store.prepare(ENDED)?.query_map([since.0], read)?.collect::<Result<_, _>>()?,
        failing: count(
            "SELECT count(*) FROM users WHERE due_at > ?1 AND lease_owner IS NULL AND failing_since IS NOT NULL",
        )?,
    })
}

pub(super) fn progress(store: &Transaction<'_>) -> rusqlite::Result<Option<Progress>> {
    let read = |row: &Row<'_>| {
        Ok(Progress {
            started_at: Millis(row.get(0)?),
            ended_at: row.get::<_, Option<i64>>(1)?.map(Millis),
            asked: row.get(2)?,
            done: row.get(3)?,
        })
    };
    store.query_row(PROGRESS, (), read).optional()
}
