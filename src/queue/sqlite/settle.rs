//! The end of a lease: one update, on the condition that the lease is still the one that is settled.
//!
//! In each statement `?1` is the user, `?2` the lease and `?3` the generation that was leased. Where the row's is
//! another by now, an event came during the sync: the row is in the first lane, and due at `?4` whatever the sync came to,
//! but for a lease that is given up with nothing done.

use rusqlite::{OptionalExtension, Params, Transaction, params};

use super::{history, memory};
use crate::clock::Millis;
use crate::queue::{Entry, Job, Settled, Settlement};

pub(super) const DONE: &str = "
    UPDATE users SET lease_owner = NULL, unsettled = 0, due_at = iif(generation = ?3, NULL, ?4),
        lane = iif(generation = ?3, lane, 0), attempts = 0, failing_since = NULL, error = NULL, held_back = ?5,
        synced_at = ?6
    WHERE connection = 'default' AND user_id = ?1 AND lease_owner = ?2
    RETURNING generation <> ?3, changes_at";

pub(super) const RETRY: &str = "
    UPDATE users SET lease_owner = NULL, unsettled = 0, due_at = iif(generation = ?3, ?5, ?4),
        lane = iif(generation = ?3, max(lane, 1), 0), error = ?8,
        attempts = attempts + ?6, failing_since = iif(?6, coalesce(failing_since, ?7), failing_since)
    WHERE connection = 'default' AND user_id = ?1 AND lease_owner = ?2
    RETURNING generation <> ?3";

/// A parked row is shown as it is, and the next event asks for a sync anyhow: no need to mark it as held back, nor to look at
/// it by the clock.
pub(super) const PARK: &str = "
    UPDATE users SET lease_owner = NULL, unsettled = 0, due_at = iif(generation = ?3, NULL, ?4),
        lane = iif(generation = ?3, lane, 0), error = ?6, held_back = 0,
        changes_at = NULL,
        parked_at = iif(generation = ?3, ?5, NULL),
        answer = iif(generation = ?3, ?7, NULL),
        attempts = iif(generation = ?3, attempts, 0),
        failing_since = iif(generation = ?3, coalesce(failing_since, ?5), NULL)
    WHERE connection = 'default' AND user_id = ?1 AND lease_owner = ?2
    RETURNING generation <> ?3";

/// Due at once, whatever came meanwhile.
pub(super) const RELEASE: &str = "
    UPDATE users SET lease_owner = NULL, unsettled = 0, due_at = ?4, lane = iif(generation = ?3, lane, 0)
    WHERE connection = 'default' AND user_id = ?1 AND lease_owner = ?2
    RETURNING 0";

pub(super) const ABANDON: &str = "
    UPDATE users SET due_at = ?4, lane = iif(generation = ?3, lane, 0)
    WHERE connection = 'default' AND user_id = ?1 AND lease_owner = ?2
    RETURNING 0";

/// What an event does to a row that is there, with `?3` for its type. A user who is due or held keeps what asked for that
/// sync: it may be an event, which may do more.
pub(super) const SYNC_AGAIN: &str = "
    UPDATE users SET generation = generation + 1,
        event_type = iif(due_at IS NULL, ?3, event_type),
        due_at = iif(lease_owner IS NULL, min(coalesce(due_at, ?2), ?2), due_at),
        lane = 0,
        attempts = iif(parked_at IS NULL, attempts, 0),
        failing_since = iif(parked_at IS NULL, failing_since, NULL),
        parked_at = NULL,
        answer = NULL
    WHERE connection = 'default' AND user_id = ?1";

/// Ends the lease of `job` at the time `now`, and writes `entry` into the history where it was still there. A user is due
/// at `again` for whom an event came meanwhile, or for whom a write was sent under a lease that is lost.
pub(super) fn settle(
    transaction: &Transaction<'_>,
    job: &Job,
    how: &Settlement,
    entry: Option<&Entry>,
    now: Millis,
    again: Millis,
) -> rusqlite::Result<Settled> {
    let settled = end(transaction, job, how, now, again)?;
    if settled == Settled::LeaseLost && job.has_written {
        let row = params![job.user.as_str(), again.0, job.event_type];
        transaction.prepare_cached(SYNC_AGAIN)?.execute(row)?;
    }
    if let Some(entry) = entry.filter(|_| settled != Settled::LeaseLost) {
        history::write(transaction, &job.user, entry, now)?;
    }
    Ok(settled)
}

fn end(
    transaction: &Transaction<'_>,
    job: &Job,
    how: &Settlement,
    now: Millis,
    again: Millis,
) -> rusqlite::Result<Settled> {
    let (user, owner, generation, again) = (job.user.as_str(), job.lease_owner, job.generation, again.0);
    let settled = match how {
        Settlement::Done(done) => {
            let ended = (user, owner, generation, again, done.held_back, now.0);
            let left = transaction
                .prepare_cached(DONE)?
                .query_row(ended, |row| Ok((row.get(0)?, row.get::<_, Option<i64>>(1)?.map(Millis))));
            let Some((is_moved, changes_at)) = left.optional()? else { return Ok(Settled::LeaseLost) };
            memory::keep(transaction, job, done, changes_at)?;
            return Ok(settled(Some(is_moved)));
        }
        Settlement::Retry { at, counts, error } => {
            run(transaction, RETRY, params![user, owner, generation, again, at.0, counts, now.0, error])
        }
        Settlement::Park { error, answer } => {
            run(transaction, PARK, params![user, owner, generation, again, now.0, error, answer])
        }
        Settlement::Release => run(transaction, RELEASE, params![user, owner, generation, now.0]),
        Settlement::Abandon { until } => run(transaction, ABANDON, params![user, owner, generation, until.0]),
    }?;
    if let Some(learned) = job.learned.as_deref().filter(|_| settled != Settled::LeaseLost) {
        memory::remember(transaction, user, learned)?;
    }
    Ok(settled)
}

fn run(transaction: &Transaction<'_>, sql: &str, params: impl Params) -> rusqlite::Result<Settled> {
    let moved: Option<bool> =
        transaction.prepare_cached(sql)?.query_row(params, |row| row.get(0)).optional()?;
    Ok(settled(moved))
}

/// Where the lease was still there: whether the generation has moved since.
fn settled(moved: Option<bool>) -> Settled {
    match moved {
        None => Settled::LeaseLost,
        Some(false) => Settled::AsAsked,
        Some(true) => Settled::DueAgain,
    }
}
