//! The lease of one user who is asked for by name.
//!
//! The user's row is locked first and waited for, then what all share of both APIs, as where leases end. Where nobody is
//! leased, the transaction is given up as a whole: a user who was not known is not known then either.

use std::slice;

use sqlx::postgres::PgConnection;
use sqlx::{Connection, Row};

use super::apis;
use super::lanes::counted;
use super::statements::{self, millis};
use crate::clock::Millis;
use crate::queue::lease::Standing;
use crate::queue::{Job, Lane, LeaseRequest, NextDue, Options, UserLease};
use crate::upstream::PerApi;

const FIND: &str = "
    SELECT lane, due_at, lease_owner, attempts, unsettled, failing_since, generation, parked_at, synced_at
    FROM users WHERE connection = 'default' AND user_id = $1 FOR NO KEY UPDATE";

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
    let (owner, row) = find(transaction, request).await?;
    let mut shared = apis::lock(transaction, given).await?;
    let (now, rates) = (shared.now, options.rates.with_calls(request.calls));
    shared.apis.check(now, &rates);
    if owner == Some(name) {
        // A try before did it all, and its answer was lost. Its calls were taken with it: nothing is written.
        let mut job = job(asked, row);
        let began = row.due_at.map_or(now, |until| Millis(until.0.saturating_sub(millis(options.lease))));
        shared.apis.leased(slice::from_mut(&mut job), began, began.plus(options.lease), &rates);
        return Ok(UserLease::Leased(Box::new(job)));
    }
    // Nobody knows a user of no generation: the row is of this transaction.
    let row = Some(&row).filter(|row| row.generation > 0);
    let mut job = match shared.apis.ask(request, row, now, &rates) {
        Ok(standing) => job(asked, standing),
        Err(refusal) => return Ok(refusal),
    };
    let until = now.plus(options.lease);
    shared.apis.leased(slice::from_mut(&mut job), now, until, &rates);
    write(transaction, &job, until).await?;
    shared.write(transaction).await?;
    Ok(UserLease::Leased(Box::new(job)))
}

/// The user's row, which is made where there is none, and under which lease it is.
async fn find(
    transaction: &mut PgConnection,
    request: &LeaseRequest,
) -> sqlx::Result<(Option<i64>, Standing)> {
    let user = request.user.as_str();
    let row = match sqlx::query(FIND).bind(user).fetch_optional(&mut *transaction).await? {
        Some(row) => row,
        None => {
            let lane = request.lane as i16;
            let introduce = sqlx::query(INTRODUCE).bind(user).bind(request.cause).bind(lane);
            introduce.execute(&mut *transaction).await?;
            sqlx::query(FIND).bind(user).fetch_one(&mut *transaction).await?
        }
    };
    let time = |column: &str| Ok::<_, sqlx::Error>(row.try_get::<Option<i64>, _>(column)?.map(Millis));
    let owner: Option<i64> = row.try_get("lease_owner")?;
    let standing = Standing {
        lane: Lane::of_number(row.try_get::<i16, _>("lane")?.into()),
        due_at: time("due_at")?,
        is_held: owner.is_some(),
        generation: row.try_get("generation")?,
        attempts: counted(row.try_get("attempts")?),
        unsettled: counted(row.try_get("unsettled")?),
        failing_since: time("failing_since")?,
        parked_at: time("parked_at")?,
        synced_at: time("synced_at")?,
    };
    Ok((owner, standing))
}

fn job(asked: Asked<'_>, standing: Standing) -> Job {
    Job {
        user: asked.request.user.clone(),
        event_type: asked.request.cause.to_owned(),
        attempts: standing.attempts,
        failing_since: standing.failing_since,
        unsettled: standing.unsettled,
        lease_owner: asked.name,
        generation: standing.generation,
        lane: standing.lane,
        leased_at: Millis(0), // and these three are told by who leases
        calls: PerApi::default(),
        calls_taken: PerApi::default(),
        is_probe: false,
        memory: crate::memory::Memory::default(),
    }
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
