//! The statements of the queue but the settling ones: a row each, inside the writer's transaction.

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::apis;
use crate::clock::Millis;
use crate::queue::apis::Apis;
use crate::queue::command::Push;
use crate::queue::{Job, Lane, NextDue, Options};
use crate::upstream::PerApi;
use crate::user::UserId;

/// An event of a user who is due soon enough, or held (a lease that has ended holds until somebody takes it over): only
/// the generation tells. A statement of its own, as one that could move `due_at` would rewrite its index each time.
const PUSH_ONTO: &str = "
    UPDATE users SET generation = generation + ?2, event_type = ?4
    WHERE connection = 'default' AND user_id = ?1 AND (lease_owner IS NOT NULL OR due_at <= ?3)";

/// An event of any other user: new, due later, or with nothing to do. One that is parked starts afresh.
const PUSH: &str = "
    INSERT INTO users (connection, user_id, generation, due_at, event_type) VALUES ('default', ?1, ?2, ?3, ?4)
    ON CONFLICT (connection, user_id) DO UPDATE SET
        generation = generation + excluded.generation,
        event_type = excluded.event_type,
        due_at = excluded.due_at,
        attempts = iif(parked_at IS NULL, attempts, 0),
        failing_since = iif(parked_at IS NULL, failing_since, NULL),
        parked_at = NULL,
        answer = NULL";

const DUE: &str = "
    SELECT user_id, event_type, attempts, failing_since, generation, lease_owner IS NOT NULL, unsettled
    FROM users INDEXED BY users_due WHERE connection = 'default' AND due_at <= ?1 ORDER BY due_at LIMIT ?2";

/// The same, of users whose last sync did not fail.
const DUE_AND_UNTRIED: &str = "
    SELECT user_id, event_type, attempts, failing_since, generation, lease_owner IS NOT NULL, unsettled
    FROM users INDEXED BY users_due WHERE connection = 'default' AND due_at <= ?1 AND error IS NULL
    ORDER BY due_at LIMIT ?2";

const LEASE: &str = "
    UPDATE users SET lease_owner = ?2, due_at = ?3, attempts = ?4, failing_since = ?5, unsettled = ?6
    WHERE connection = 'default' AND user_id = ?1";

/// An id that no version of this program would have taken: kept and visible, or it would be leased for ever.
const PARK_UNREADABLE: &str = "
    UPDATE users SET due_at = NULL, lease_owner = NULL, parked_at = ?2, error = ?3, answer = ?3
    WHERE connection = 'default' AND user_id = ?1";

const TAKE_BACK_ATTEMPT: &str = "
    UPDATE users SET attempts = max(attempts - 1, 0), failing_since = iif(attempts <= 1, NULL, failing_since)
    WHERE connection = 'default' AND user_id = ?1";

const REVIVE: &str = "
    UPDATE users SET parked_at = NULL, answer = NULL, due_at = ?2, attempts = 0, failing_since = NULL
    WHERE parked_at IS NOT NULL AND answer = ?1";

/// Whatever the process before was writing is over at `?1`.
const END_LEASES: &str = "UPDATE users SET due_at = min(due_at, ?1) WHERE lease_owner IS NOT NULL";

const WRITE_WHAT_WAS_HELD_BACK: &str = "
    UPDATE users SET held_back = 0, due_at = iif(lease_owner IS NULL, min(coalesce(due_at, ?1), ?1), due_at)
    WHERE held_back = 1";

/// What is due later than anything may be was written under a clock that was wrong.
const BRING_BACK: &str = "UPDATE users SET due_at = ?1 WHERE due_at > ?1";

/// The earliest of a lane, the ends of leases included.
const NEXT_DUE: &str = "
    SELECT due_at FROM users INDEXED BY users_due WHERE lane = ?1 AND due_at IS NOT NULL ORDER BY due_at LIMIT 1";

/// More than a page, so that there has to be room for one.
const FILL: &str = "INSERT INTO probe (filler) VALUES (zeroblob(4096))";

const EMPTY: &str = "DELETE FROM probe";

/// Makes a store that a process left behind ready for this one, which started at `now`.
pub(super) fn start(transaction: &Transaction<'_>, now: Millis, options: &Options) -> rusqlite::Result<()> {
    transaction.execute(END_LEASES, [now.plus(options.request_timeout).0])?;
    apis::change(transaction, Apis::end_rests)?; // what was wrong with an API may have been mended, the settings above all
    if !options.dry_run {
        transaction.execute(WRITE_WHAT_WAS_HELD_BACK, [now.0])?;
    }
    transaction.execute(BRING_BACK, [now.plus(options.furthest_due).0])?;
    Ok(())
}

/// Keeps `events`, due at `due` or sooner: one write per user, in the order of the key, which finds each page once.
pub(super) fn push(
    transaction: &Transaction<'_>,
    mut events: Vec<&Push>,
    due: Millis,
) -> rusqlite::Result<()> {
    if events.is_empty() {
        return Ok(());
    }
    events.sort_by(|a, b| a.user.cmp(&b.user)); // stable: of one user's events the last stays last
    let mut onto = transaction.prepare_cached(PUSH_ONTO)?;
    let mut anew = transaction.prepare_cached(PUSH)?;
    for of_one_user in events.chunk_by(|a, b| a.user == b.user) {
        if let Some(last) = of_one_user.last() {
            let events = i64::try_from(of_one_user.len()).unwrap_or(i64::MAX);
            let row = params![last.user.as_str(), events, due.0, last.event_type];
            if onto.execute(row)? == 0 {
                anew.execute(row)?;
            }
        }
    }
    Ok(())
}

/// Leases up to `most` due rows until `until`, the longest due first; `name` gives each lease its name.
///
/// A row that is still held was leased by somebody who never settled it: that counts as an attempt, and how often
/// it happens in a row is counted by itself, so that a user whose sync ends the process can be told from an outage.
pub(super) fn lease(
    transaction: &Transaction<'_>,
    which: Which,
    most: usize,
    now: Millis,
    until: Millis,
    mut name: impl FnMut() -> i64,
) -> rusqlite::Result<Vec<Job>> {
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let rows: Vec<DueRow> = transaction
        .prepare_cached(which.sql())?
        .query_map(params![now.0, most], DueRow::read)?
        .collect::<rusqlite::Result<_>>()?;
    let mut statement = transaction.prepare_cached(LEASE)?;
    let mut jobs = Vec::with_capacity(rows.len());
    for row in rows {
        let user = match UserId::new(row.user_id.as_str()) {
            Ok(user) => user,
            Err(why) => {
                transaction.execute(PARK_UNREADABLE, params![row.user_id, now.0, why.to_string()])?;
                continue;
            }
        };
        let attempts = row.attempts.saturating_add(u32::from(row.held));
        let unsettled = row.unsettled.saturating_add(u32::from(row.held));
        let failing_since = if row.held { row.failing_since.or(Some(now)) } else { row.failing_since };
        let lease_owner = name();
        let since = failing_since.map(|since| since.0);
        statement.execute(params![row.user_id, lease_owner, until.0, attempts, since, unsettled])?;
        let (event_type, generation) = (row.event_type, row.generation);
        jobs.push(Job {
            user,
            event_type,
            attempts,
            failing_since,
            unsettled,
            lease_owner,
            generation,
            leased_at: Millis(0), // and these three are told by who leases
            calls: PerApi::default(),
            calls_taken: PerApi::default(),
            lane: Lane::Events,
            is_probe: false,
        });
    }
    Ok(jobs)
}

/// Which of the due rows a lease may take.
#[derive(Debug, Clone, Copy)]
pub(super) enum Which {
    /// All.
    Any,
    /// Those whose last sync did not fail.
    Untried,
}

impl Which {
    const fn sql(self) -> &'static str {
        match self {
            Self::Any => DUE,
            Self::Untried => DUE_AND_UNTRIED,
        }
    }
}

struct DueRow {
    user_id: String,
    event_type: String,
    attempts: u32,
    failing_since: Option<Millis>,
    generation: i64,
    held: bool,
    unsettled: u32,
}

impl DueRow {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            user_id: row.get(0)?,
            event_type: row.get(1)?,
            attempts: row.get(2)?,
            failing_since: row.get::<_, Option<i64>>(3)?.map(Millis),
            generation: row.get(4)?,
            held: row.get(5)?,
            unsettled: row.get(6)?,
        })
    }
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
