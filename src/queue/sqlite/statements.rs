//! What an event does, a start, and what an outage gives back: a row each, inside the writer's transaction.

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::clockwork::released;
use super::{apis, forget};
use crate::clock::Millis;
use crate::queue::apis::Apis;
use crate::queue::command::Push;
use crate::queue::forgetting::ForgettingKey;
use crate::queue::{Lane, NextDue, Options, Progress};
use crate::user::UserId;

/// An event of a user in the first lane who is due soon enough, or held (a lease that has ended holds until somebody
/// takes it over): only the generation tells. A statement of its own, as one that could move `due_at` would rewrite its
/// index each time.
pub(super) const PUSH_ONTO: &str = "
    UPDATE users SET generation = generation + ?2, event_type = ?4
    WHERE connection = 'default' AND user_id = ?1 AND lane = 0 AND (lease_owner IS NOT NULL OR due_at <= ?3)";

/// An event of any other user: new, due later or in a slower lane, or with nothing to do. One that is parked starts
/// afresh. A held row is in the first lane from now on, so that it is also taken over there if nobody settles it; its
/// `due_at` is the end of the lease.
pub(super) const PUSH: &str = "
    INSERT INTO users (connection, user_id, generation, due_at, event_type) VALUES ('default', ?1, ?2, ?3, ?4)
    ON CONFLICT (connection, user_id) DO UPDATE SET
        generation = generation + excluded.generation,
        event_type = excluded.event_type,
        due_at = iif(lease_owner IS NULL, min(coalesce(due_at, excluded.due_at), excluded.due_at), due_at),
        lane = 0,
        attempts = iif(parked_at IS NULL, attempts, 0),
        failing_since = iif(parked_at IS NULL, failing_since, NULL),
        parked_at = NULL,
        answer = NULL";

pub(super) const TAKE_BACK_ATTEMPT: &str = "
    UPDATE users SET attempts = max(attempts - 1, 0), failing_since = iif(attempts <= 1, NULL, failing_since)
    WHERE connection = 'default' AND user_id = ?1";

pub(super) const REVIVE: &str = "
    UPDATE users SET parked_at = NULL, answer = NULL, due_at = ?2, lane = max(lane, 1), attempts = 0,
        failing_since = NULL
    WHERE parked_at IS NOT NULL AND answer = ?1";

/// Whatever the service before was writing is over at `?1`. A command's lease, which is odd, stands.
pub(super) const END_LEASES: &str = "
    UPDATE users SET due_at = min(due_at, ?1) WHERE lease_owner IS NOT NULL AND lease_owner & 1 = 0";

/// Of all at once, before anybody waits for it.
pub(super) const WRITE_WHAT_WAS_HELD_BACK: &str =
    concat!("UPDATE users SET ", released!(), " WHERE held_back = 1");

/// What is due later than anything may be was written under a clock that was wrong.
pub(super) const BRING_BACK: &str =
    "UPDATE users INDEXED BY users_due SET due_at = ?1 WHERE lane IN (0, 1, 2) AND due_at > ?1";

const KEEP_PROGRESS: &str = "
    INSERT OR REPLACE INTO backfills (connection, started_at, ended_at, asked, done) VALUES ('default', ?1, ?2, ?3, ?4)";

pub(super) const ENQUEUE: &str = "
    INSERT INTO users (connection, user_id, generation, due_at, event_type, lane) VALUES ('default', ?1, 1, ?2, ?3, 2)
    ON CONFLICT (connection, user_id) DO UPDATE SET generation = users.generation + 1, due_at = excluded.due_at,
        event_type = excluded.event_type,
        lane = CASE WHEN users.due_at IS NULL THEN 2 ELSE users.lane END, attempts = 0, failing_since = NULL, parked_at = NULL, answer = NULL
    WHERE (users.due_at IS NULL OR users.event_type <> excluded.event_type
            AND users.event_type IN ('backfill --existing-only', 'expiry', 'drift'))
        AND users.lease_owner IS NULL AND coalesce(users.synced_at, 0) < ?4
        AND coalesce(users.parked_at, 0) < ?4";

/// The earliest of a lane, the ends of leases included.
pub(super) const NEXT_DUE: &str = "
    SELECT due_at FROM users INDEXED BY users_due WHERE lane = ?1 AND due_at IS NOT NULL ORDER BY due_at LIMIT 1";

/// More than a page, so that there has to be room for one.
const FILL: &str = "INSERT INTO probe (filler) VALUES (zeroblob(4096))";

const EMPTY: &str = "DELETE FROM probe";

/// Makes a store that a process left behind ready for this one, which started at `now`.
pub(super) fn start(transaction: &Transaction<'_>, now: Millis, options: &Options) -> rusqlite::Result<()> {
    transaction.execute(END_LEASES, [now.plus(options.request_timeout).0])?;
    let (_, apis) = apis::change(transaction, Apis::end_rests)?; // what was wrong with an API may have been mended, the settings above all
    if !options.dry_run && apis.braked_at().is_none() {
        transaction.execute(WRITE_WHAT_WAS_HELD_BACK, [now.0])?;
    }
    transaction.execute(BRING_BACK, [now.plus(options.furthest_due).0])?;
    Ok(())
}

/// Keeps `events`, due at `due` or sooner: one write per user, in the order of the key, which finds each page once. Those of
/// users who were forgotten are dropped; `key` tells them.
pub(super) fn push(
    transaction: &Transaction<'_>,
    mut events: Vec<&Push>,
    due: Millis,
    key: &ForgettingKey,
) -> rusqlite::Result<()> {
    if events.is_empty() {
        return Ok(());
    }
    events.sort_by(|a, b| a.user.cmp(&b.user)); // stable: of one user's events the last stays last
    let is_anybody_forgotten = forget::is_anybody(transaction)?;
    let mut onto = transaction.prepare_cached(PUSH_ONTO)?;
    let mut anew = transaction.prepare_cached(PUSH)?;
    for of_one_user in events.chunk_by(|a, b| a.user == b.user) {
        if let Some(last) = of_one_user.last() {
            let events = i64::try_from(of_one_user.len()).unwrap_or(i64::MAX);
            let row = params![last.user.as_str(), events, due.0, last.event_type];
            if onto.execute(row)? == 0
                && !(is_anybody_forgotten && forget::is_to_drop(transaction, key, &last.user)?)
            {
                anew.execute(row)?;
            }
        }
    }
    Ok(())
}

/// Takes one attempt from each of `users`, and makes due at `due` who is parked with `parked_with`.
pub(super) fn give_back(
    transaction: &Transaction<'_>,
    users: &[UserId],
    parked_with: Option<&str>,
    due: Millis,
) -> rusqlite::Result<()> {
    for user in users {
        transaction.prepare_cached(TAKE_BACK_ATTEMPT)?.execute([user.as_str()])?;
    }
    if let Some(answer) = parked_with {
        transaction.prepare_cached(REVIVE)?.execute(params![answer, due.0])?;
    }
    Ok(())
}

/// Keeps how far a backfill has come.
pub(super) fn keep_progress(transaction: &Transaction<'_>, progress: &Progress) -> rusqlite::Result<()> {
    let Progress { started_at, ended_at, asked, done } = progress;
    let row = params![started_at.0, ended_at.map(|at| at.0), asked, done];
    transaction.prepare_cached(KEEP_PROGRESS)?.execute(row).map(drop)
}

/// The earliest due times, the ends of leases included.
pub(super) fn next_due(connection: &Connection) -> rusqlite::Result<NextDue> {
    let mut statement = connection.prepare_cached(NEXT_DUE)?;
    Lane::ALL.into_iter().try_fold(NextDue::default(), |next, lane| {
        let due = statement.query_row([lane.number()], |row| row.get(0)).optional()?;
        Ok(next.or(lane, due.map(Millis)))
    })
}

/// Writes what needs room, and takes it away again.
pub(super) fn probe(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    transaction.prepare_cached(FILL)?.execute(())?;
    transaction.prepare_cached(EMPTY)?.execute(())?;
    Ok(())
}
