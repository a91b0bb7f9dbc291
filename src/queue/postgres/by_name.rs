//! The lease of one user who is asked for by name.
//!
//! The user's row is locked first and waited for, then what all share of both APIs, as where leases end. Where nobody is
//! leased, the transaction is given up as a whole: a user who was not known is not known then either.

use std::slice;

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Connection, Row};

use super::apis;
use super::lanes::counted;
use super::statements::{self, millis, server_time};
use crate::clock::Millis;
use crate::queue::apis::Admitted;
use crate::queue::{Job, Lane, LeaseRequest, NextDue, Options, UserLease};
use crate::upstream::PerApi;

const FIND: &str = concat!(
    "SELECT lane, due_at, lease_owner, attempts, unsettled, failing_since, generation, parked_at, synced_at, ",
    server_time!(),
    " AS now FROM users WHERE connection = 'default' AND user_id = $2 FOR NO KEY UPDATE"
);

const INTRODUCE: &str = "
    INSERT INTO users (connection, user_id, generation, event_type, lane) VALUES ('default', $1, 0, $2, $3)
    ON CONFLICT (connection, user_id) DO NOTHING";

const LEASE: &str = "
    UPDATE users SET generation = $2, event_type = $3, lane = $4, lease_owner = $5, due_at = $6, attempts = $7,
        unsettled = $8, failing_since = $9, parked_at = NULL, answer = NULL
    WHERE connection = 'default' AND user_id = $1";

/// What is asked, and under which name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) request: &'a LeaseRequest,
    /// Of the lease, the same in every try: where the answer to one was lost, the next finds what it did.
    pub(super) name: i64,
    /// The time, where it is given by hand.
    pub(super) given: Option<Millis>,
    pub(super) options: &'a Options,
}

/// What one transaction did.
pub(super) struct Found {
    pub(super) lease: UserLease,
    /// What is due next; none where nothing was changed.
    pub(super) next_due: Option<NextDue>,
}

/// The user's row, under lock.
#[derive(Debug, Clone)]
struct UserState {
    lane: Lane,
    due_at: Option<Millis>,
    lease_owner: Option<i64>,
    attempts: u32,
    unsettled: u32,
    failing_since: Option<Millis>,
    generation: i64,
    parked_at: Option<Millis>,
    synced_at: Option<Millis>,
}

/// Leases the user, if nobody else holds the row and both APIs allow it.
pub(super) async fn lease(connection: &mut PgConnection, asked: Asked<'_>) -> sqlx::Result<Found> {
    let mut transaction = connection.begin().await?;
    let lease = attempt(&mut transaction, asked).await?;
    if !matches!(lease, UserLease::Leased(_)) {
        transaction.rollback().await?; // now, and with it the locks
        return Ok(Found { lease, next_due: None });
    }
    let next_due = statements::next_due(&mut transaction).await?;
    transaction.commit().await?;
    Ok(Found { lease, next_due: Some(next_due) })
}

async fn attempt(transaction: &mut PgConnection, asked: Asked<'_>) -> sqlx::Result<UserLease> {
    let Asked { request, name, given, options } = asked;
    let (row, seen_at) = find(transaction, asked).await?;
    let is_mine = row.lease_owner == Some(name);
    if !is_mine && let Some(refusal) = row.refusal(request, seen_at) {
        return Ok(refusal);
    }
    let mut shared = apis::lock(transaction, given).await?;
    let (now, rates) = (shared.now, options.rates.with_calls(request.calls));
    if is_mine {
        // A try before did it all, and its answer was lost. Its calls were taken with it: nothing is written.
        let mut job = row.as_it_is(asked);
        let began = row.due_at.map_or(now, |until| Millis(until.0.saturating_sub(millis(options.lease))));
        shared.apis.leased(slice::from_mut(&mut job), began, began.plus(options.lease), &rates);
        return Ok(UserLease::Leased(Box::new(job)));
    }
    let mut job = row.leased(asked, now);
    shared.apis.check(now, &rates);
    let admitted = match job.lane {
        Lane::Background => shared.apis.admit_background(1, now, &rates),
        Lane::Events | Lane::Retries => shared.apis.admit(1, now, &rates),
    };
    match admitted {
        Admitted::Paused => return Ok(UserLease::Paused),
        Admitted::NotBefore(until) => return Ok(UserLease::NotBefore(until)),
        Admitted::Users(_) | Admitted::Probe => {}
    }
    let until = now.plus(options.lease);
    shared.apis.leased(slice::from_mut(&mut job), now, until, &rates);
    write(transaction, &job, until).await?;
    shared.write(transaction).await?;
    Ok(UserLease::Leased(Box::new(job)))
}

/// The user's row, which is made where there is none, and the time.
async fn find(transaction: &mut PgConnection, asked: Asked<'_>) -> sqlx::Result<(UserState, Millis)> {
    let request = asked.request;
    let user = request.user.as_str();
    let find = || sqlx::query(FIND).bind(asked.given.map(|now| now.0)).bind(user);
    let row = match find().fetch_optional(&mut *transaction).await? {
        Some(row) => row,
        None => {
            let lane = request.lane as i16;
            let introduce = sqlx::query(INTRODUCE).bind(user).bind(request.cause).bind(lane);
            introduce.execute(&mut *transaction).await?;
            find().fetch_one(&mut *transaction).await?
        }
    };
    Ok((UserState::read(&row)?, Millis(row.try_get("now")?)))
}

async fn write(transaction: &mut PgConnection, job: &Job, until: Millis) -> sqlx::Result<()> {
    let kept = |count: u32| i32::try_from(count).unwrap_or(i32::MAX);
    sqlx::query(LEASE)
        .bind(job.user.as_str())
        .bind(job.generation)
        .bind(job.event_type.as_str())
        .bind(job.lane as i16)
        .bind(job.lease_owner)
        .bind(until.0)
        .bind(kept(job.attempts))
        .bind(kept(job.unsettled))
        .bind(job.failing_since.map(|since| since.0))
        .execute(transaction)
        .await
        .map(drop)
}

impl UserState {
    fn read(row: &PgRow) -> sqlx::Result<Self> {
        let time = |column: &str| Ok::<_, sqlx::Error>(row.try_get::<Option<i64>, _>(column)?.map(Millis));
        Ok(Self {
            lane: Lane::of_number(row.try_get::<i16, _>("lane")?.into()),
            due_at: time("due_at")?,
            lease_owner: row.try_get("lease_owner")?,
            attempts: counted(row.try_get("attempts")?),
            unsettled: counted(row.try_get("unsettled")?),
            failing_since: time("failing_since")?,
            generation: row.try_get("generation")?,
            parked_at: time("parked_at")?,
            synced_at: time("synced_at")?,
        })
    }

    /// Why the user is not leased, as far as the row tells.
    fn refusal(&self, request: &LeaseRequest, now: Millis) -> Option<UserLease> {
        if let Some(until) = self.due_at.filter(|until| self.lease_owner.is_some() && now < *until) {
            return Some(UserLease::Held(until));
        }
        let since = request.untouched_since?;
        let is_later = |at: Option<Millis>| at.is_some_and(|at| at >= since);
        let is_touched = self.due_at.is_some() || is_later(self.synced_at) || is_later(self.parked_at);
        is_touched.then_some(UserLease::Touched)
    }

    /// The lease that this row gets. A lease before that nobody settled counts, as in any lease.
    fn leased(&self, asked: Asked<'_>, now: Millis) -> Job {
        let request = asked.request;
        let taken_over = self.lease_owner.is_some();
        let afresh = self.parked_at.is_some();
        let attempts = if afresh { 0 } else { self.attempts };
        let failing_since = self.failing_since.filter(|_| !afresh);
        Job {
            event_type: request.cause.to_owned(),
            attempts: attempts.saturating_add(taken_over.into()),
            failing_since: failing_since.or(taken_over.then_some(now)),
            unsettled: self.unsettled.saturating_add(taken_over.into()),
            generation: self.generation.saturating_add(1),
            lane: if self.due_at.is_some() { self.lane.min(request.lane) } else { request.lane },
            ..self.as_it_is(asked)
        }
    }

    /// The lease that this row has.
    fn as_it_is(&self, asked: Asked<'_>) -> Job {
        Job {
            user: asked.request.user.clone(),
            event_type: asked.request.cause.to_owned(),
            attempts: self.attempts,
            failing_since: self.failing_since,
            unsettled: self.unsettled,
            lease_owner: asked.name,
            generation: self.generation,
            lane: self.lane,
            leased_at: Millis(0), // and these three are told by who leases
            calls: PerApi::default(),
            calls_taken: PerApi::default(),
            is_probe: false,
        }
    }
}
