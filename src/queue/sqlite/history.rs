//! Writing what syncs came to: a user's history, and the counts of each minute. Inside the writer's transaction.

use rusqlite::{OptionalExtension, Row, Transaction, params};

use crate::clock::Millis;
use crate::queue::Entry;
use crate::queue::history::{COUNTS_KEPT_MINUTES, Fold, Gist, minute_of};
use crate::user::UserId;

pub(super) const LAST: &str = "
    SELECT id, outcome, reason, held_back, changed, tags_added, tags_removed, old_tags_removed,
        error
    FROM history WHERE connection = 'default' AND user_id = ?1 ORDER BY id DESC LIMIT 1";

const ADD: &str = "
    INSERT INTO history (connection, user_id, first_at, last_at, event_type, outcome, reason, held_back, changed,
        tags_added, tags_removed, old_tags_removed, attempt, ms, error)
    VALUES ('default', ?1, ?2, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)";

const AGAIN: &str = "
    UPDATE history SET times = times + 1, last_at = ?2, event_type = ?3, attempt = ?4, ms = ?5 WHERE id = ?1";

const UNCHANGED: &str =
    "UPDATE history SET unchanged_times = unchanged_times + 1, last_at = ?2 WHERE id = ?1";

const COUNT: &str = "
    INSERT INTO sync_counts (connection, minute, outcome, count) VALUES ('default', ?1, ?2, 1)
    ON CONFLICT (connection, minute, outcome) DO UPDATE SET count = count + 1";

pub(super) const PRUNE: &str = "
    DELETE FROM history WHERE id IN (
        SELECT id FROM history INDEXED BY history_by_age WHERE last_at < ?1 ORDER BY last_at LIMIT ?2)";

pub(super) const PRUNE_COUNTS: &str = "
    DELETE FROM sync_counts WHERE (connection, minute, outcome) IN (
        SELECT connection, minute, outcome FROM sync_counts WHERE connection = 'default' AND minute < ?1 LIMIT ?2)";

/// Writes `entry`, of a sync that ended at `now`.
pub(super) fn write(
    transaction: &Transaction<'_>,
    user: &UserId,
    entry: &Entry,
    now: Millis,
) -> rusqlite::Result<()> {
    let last = transaction.prepare_cached(LAST)?.query_row([user.as_str()], read_last).optional()?;
    let (last_id, last) = last.unzip();
    let gist = entry.gist();
    let (event_type, attempt) = (&entry.event_type, entry.attempt);
    let ms = i64::try_from(entry.ms).unwrap_or(i64::MAX);
    match gist.onto(last.as_ref()) {
        Fold::Row => transaction.prepare_cached(ADD)?.execute(params![
            user.as_str(),
            now.0,
            event_type,
            gist.outcome,
            gist.reason,
            gist.held_back,
            gist.changed,
            gist.tags_added,
            gist.tags_removed,
            gist.old_tags_removed,
            attempt,
            ms,
            gist.error,
        ])?,
        Fold::Again => {
            transaction.prepare_cached(AGAIN)?.execute(params![last_id, now.0, event_type, attempt, ms])?
        }
        Fold::Unchanged => transaction.prepare_cached(UNCHANGED)?.execute(params![last_id, now.0])?,
    };
    transaction.prepare_cached(COUNT)?.execute(params![minute_of(now), entry.outcome])?;
    Ok(())
}

fn read_last(row: &Row<'_>) -> rusqlite::Result<(i64, Gist)> {
    let gist = Gist {
        outcome: row.get(1)?,
        reason: row.get(2)?,
        held_back: row.get(3)?,
        changed: row.get(4)?,
        tags_added: row.get(5)?,
        tags_removed: row.get(6)?,
        old_tags_removed: row.get(7)?,
        error: row.get(8)?,
    };
    Ok((row.get(0)?, gist))
}

/// Takes away up to `most` rows of history from before `before`, and as many counts that are too old at `now`; how many
/// rows of history they were.
pub(super) fn prune(
    transaction: &Transaction<'_>,
    before: Millis,
    most: usize,
    now: Millis,
) -> rusqlite::Result<usize> {
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let pruned = transaction.prepare_cached(PRUNE)?.execute(params![before.0, most])?;
    let oldest = minute_of(now).saturating_sub(COUNTS_KEPT_MINUTES);
    transaction.prepare_cached(PRUNE_COUNTS)?.execute(params![oldest, most])?;
    Ok(pruned)
}
