//! The ends of leases: one statement for all that wait, each row on the condition that its lease is still the one that
//! is settled. Where the row's generation is not the leased one, an event came during the sync, and the row is due
//! after the debounce, in the lane of events, whatever the sync came to.

use std::collections::HashMap;

use sqlx::Row;
use sqlx::postgres::PgConnection;

use super::memory::{self, Left};
use super::statements::{millis, server_time, storable};
use crate::clock::Millis;
use crate::queue::{Entry, Job, Options, Settled, Settlement};

const DONE: i16 = 0;
const RETRY: i16 = 1;
const PARK: i16 = 2;
const RELEASE: i16 = 3;
const ABANDON: i16 = 4;

/// The kinds are those above. `came` tells whether an event came that this kind of end gives way to. A parked row is
/// shown as it is, and the next event asks for a sync anyhow: no need to mark it as held back.
pub(super) const SETTLE: &str = concat!(
    "WITH times AS MATERIALIZED (SELECT ",
    server_time!(),
    " AS now),
    ends AS (
        SELECT * FROM unnest($3::text[], $4::bigint[], $5::bigint[], $6::smallint[], $7::bigint[], $8::boolean[],
                $9::text[], $10::text[], $11::boolean[], $12::text[], $13::text[], $14::boolean[], $15::text[],
                $16::boolean[], $17::text[], $18::boolean[], $19::bigint[], $20::text[], $21::text[], $22::bigint[])
            AS e (user_id, lease_owner, generation, kind, at, flag, error, answer, remembers, email, email_key,
                contact_seen, contact_status, contact_on_list, contact_list_status, has_left, missing_since,
                contact_list, earlier_contacts, changes_at)),
    held AS MATERIALIZED (
        SELECT e.* FROM ends AS e JOIN users AS u ON u.connection = 'default' AND u.user_id = e.user_id
        ORDER BY u.user_id FOR NO KEY UPDATE OF u)
    UPDATE users AS u SET
        lease_owner = CASE e.kind WHEN 4 THEN u.lease_owner END,
        unsettled = CASE e.kind WHEN 4 THEN u.unsettled ELSE 0 END,
        due_at = CASE WHEN e.kind IN (0, 1, 2) AND u.generation <> e.generation THEN now + $2
            WHEN e.kind IN (1, 4) THEN e.at
            WHEN e.kind = 3 THEN now END,
        lane = CASE WHEN u.generation <> e.generation THEN 0 WHEN e.kind = 1 THEN greatest(u.lane, 1) ELSE u.lane END,
        attempts = CASE WHEN e.kind = 0 OR (e.kind = 2 AND u.generation <> e.generation) THEN 0
            WHEN e.kind = 1 THEN u.attempts + e.flag::integer
            ELSE u.attempts END,
        failing_since = CASE WHEN e.kind = 0 OR (e.kind = 2 AND u.generation <> e.generation) THEN NULL
            WHEN (e.kind = 1 AND e.flag) OR e.kind = 2 THEN coalesce(u.failing_since, now)
            ELSE u.failing_since END,
        error = CASE WHEN e.kind IN (0, 1, 2) THEN e.error ELSE u.error END,
        parked_at = CASE WHEN e.kind = 2 AND u.generation = e.generation THEN now END,
        answer = CASE WHEN e.kind = 2 AND u.generation = e.generation THEN e.answer END,
        held_back = CASE e.kind WHEN 0 THEN e.flag WHEN 2 THEN false ELSE u.held_back END,
        synced_at = CASE e.kind WHEN 0 THEN now ELSE u.synced_at END,
        changes_at = CASE e.kind WHEN 0 THEN e.changes_at WHEN 2 THEN NULL ELSE u.changes_at END,
        ",
    memory::remember!(),
    "
    FROM held AS e CROSS JOIN times
    WHERE u.connection = 'default' AND u.user_id = e.user_id AND u.lease_owner = e.lease_owner
    RETURNING u.user_id, e.kind IN (0, 1, 2) AND u.generation <> e.generation AS came, now"
);

/// What an event does to rows that are there, with each its own `cause` for the type. A user who is due or held keeps what
/// asked for that sync: it may be an event, which may do more.
pub(super) const SYNC_AGAIN: &str = concat!(
    "WITH times AS MATERIALIZED (SELECT ",
    server_time!(),
    " AS now),
    lost AS (SELECT * FROM unnest($3::text[], $4::text[]) AS l (user_id, cause)),
    held AS MATERIALIZED (
        SELECT l.* FROM lost AS l JOIN users AS u ON u.connection = 'default' AND u.user_id = l.user_id
        ORDER BY u.user_id FOR NO KEY UPDATE OF u)
    UPDATE users AS u SET
        generation = u.generation + 1,
        event_type = CASE WHEN u.due_at IS NULL THEN l.cause ELSE u.event_type END,
        due_at = CASE WHEN u.lease_owner IS NULL THEN least(u.due_at, now + $2) ELSE u.due_at END,
        lane = 0,
        attempts = CASE WHEN u.parked_at IS NULL THEN u.attempts ELSE 0 END,
        failing_since = CASE WHEN u.parked_at IS NULL THEN u.failing_since END,
        parked_at = NULL,
        answer = NULL
    FROM held AS l CROSS JOIN times
    WHERE u.connection = 'default' AND u.user_id = l.user_id"
);

/// The end of one lease.
#[derive(Debug, Clone, Copy)]
pub(super) struct End<'a> {
    pub(super) job: &'a Job,
    pub(super) how: &'a Settlement,
    pub(super) entry: Option<&'a Entry>,
}

/// What came of ends.
pub(super) struct Came {
    /// Of each.
    pub(super) settled: Vec<Settled>,
    /// When, by the queue's time.
    pub(super) at: Millis,
}

impl End<'_> {
    fn kind(&self) -> i16 {
        match self.how {
            Settlement::Done(_) => DONE,
            Settlement::Retry { .. } => RETRY,
            Settlement::Park { .. } => PARK,
            Settlement::Release => RELEASE,
            Settlement::Abandon { .. } => ABANDON,
        }
    }

    fn at(&self) -> Option<i64> {
        match self.how {
            Settlement::Retry { at, .. } | Settlement::Abandon { until: at } => Some(at.0),
            _ => None,
        }
    }

    fn left(&self) -> Left<'_> {
        match self.how {
            Settlement::Done(done) => Left { memory: Some(&done.memory), changes_at: done.changes_at },
            _ => Left { memory: self.job.learned.as_deref(), changes_at: None },
        }
    }

    fn flag(&self) -> bool {
        match self.how {
            Settlement::Done(done) => done.held_back,
            Settlement::Retry { counts, .. } => *counts,
            _ => false,
        }
    }

    fn error(&self) -> Option<String> {
        match self.how {
            Settlement::Retry { error, .. } | Settlement::Park { error, .. } => Some(storable(error)),
            _ => None,
        }
    }

    fn answer(&self) -> Option<String> {
        match self.how {
            Settlement::Park { answer, .. } => Some(storable(answer)),
            _ => None,
        }
    }
}

/// Makes the users of `jobs`, each another one, due again.
pub(super) async fn sync_again(
    connection: &mut PgConnection,
    jobs: &[&Job],
    given: Option<Millis>,
    options: &Options,
) -> sqlx::Result<()> {
    let again = sqlx::query(SYNC_AGAIN)
        .bind(given.map(|now| now.0))
        .bind(millis(options.debounce))
        .bind(jobs.iter().map(|job| job.user.as_str()).collect::<Vec<_>>())
        .bind(jobs.iter().map(|job| job.event_type.as_str()).collect::<Vec<_>>());
    again.execute(connection).await.map(drop)
}

/// Ends leases, each of another user; what came of each is in the order of `ends`.
pub(super) async fn settle(
    connection: &mut PgConnection,
    ends: &[End<'_>],
    given: Option<Millis>,
    options: &Options,
) -> sqlx::Result<Came> {
    let each = || ends.iter();
    let ended = sqlx::query(SETTLE)
        .bind(given.map(|now| now.0))
        .bind(millis(options.debounce))
        .bind(each().map(|end| end.job.user.as_str()).collect::<Vec<_>>())
        .bind(each().map(|end| end.job.lease_owner).collect::<Vec<_>>())
        .bind(each().map(|end| end.job.generation).collect::<Vec<_>>())
        .bind(each().map(End::kind).collect::<Vec<_>>())
        .bind(each().map(End::at).collect::<Vec<_>>())
        .bind(each().map(End::flag).collect::<Vec<_>>())
        .bind(each().map(End::error).collect::<Vec<_>>())
        .bind(each().map(End::answer).collect::<Vec<_>>());
    let left: Vec<_> = each().map(End::left).collect();
    let rows = memory::bind(ended, &left).fetch_all(connection).await?;
    let (mut came, mut at) = (HashMap::with_capacity(rows.len()), Millis(0)); // without a row there is nothing to tell
    for row in &rows {
        came.insert(row.try_get::<String, _>(0)?, row.try_get::<bool, _>(1)?);
        at = Millis(row.try_get(2)?);
    }
    let settled = |end: &End<'_>| match came.get(end.job.user.as_str()) {
        None => Settled::LeaseLost,
        Some(false) => Settled::AsAsked,
        Some(true) => Settled::DueAgain,
    };
    Ok(Came { settled: each().map(settled).collect(), at })
}
