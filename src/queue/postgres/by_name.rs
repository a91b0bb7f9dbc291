//! The lease of one user who is asked for by name.
//!
//! The user's row is locked first and waited for, then what all share of both APIs, as where leases end. Where nobody is
//! leased, the transaction is given up as a whole: a user who was not known is not known then either.

use std::slice;

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Connection, Row as _};

use super::forgotten;
use super::lanes::counted;
use super::statements::{self, millis};
use super::{apis, memory};
use crate::clock::Millis;
use crate::memory::Memory;
use crate::queue::forgetting::ForgettingKey;
use crate::queue::lease::Standing;
use crate::queue::{Job, Lane, LeaseRequest, NextDue, Options, UserLease};
use crate::upstream::PerApi;

const FIND: &str = concat!(
    "SELECT lane, due_at, lease_owner, attempts, unsettled, failing_since, generation, parked_at, synced_at, ",
    memory::memory!(),
    " FROM users WHERE connection = 'default' AND user_id = $1 FOR NO KEY UPDATE"
);

/// But nobody who was forgotten; the lock is as in a push.
const INTRODUCE: &str = "
    INSERT INTO users (connection, user_id, generation, event_type, lane)
    SELECT 'default', $1, 0, $2, $3
    WHERE NOT EXISTS (SELECT FROM forgotten WHERE connection = 'default' AND hash = $4 FOR KEY SHARE)
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
    pub(super) key: &'a ForgettingKey,
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

/// The user's row.
struct Row {
    /// Under which lease it is, if under any.
    owner: Option<i64>,
    standing: Standing,
    memory: Memory,
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
    let Asked { request, name, given, options, .. } = asked;
    let Some(Row { owner, standing, memory }) = find(transaction, asked).await? else {
        return Ok(UserLease::Forgotten);
    };
    let mut shared = apis::lock(transaction, given).await?;
    let (now, rates) = (shared.now, options.rates.with_calls(request.calls));
    shared.apis.check(now, &rates);
    if owner == Some(name) {
        // A try before did it all, and its answer was lost. Its calls were taken with it: nothing is written.
        let mut job = job(asked, standing, memory);
        let began =
            standing.due_at.map_or(now, |until| Millis(until.0.saturating_sub(millis(options.lease))));
        shared.apis.leased(slice::from_mut(&mut job), began, began.plus(options.lease), &rates);
        return Ok(UserLease::Leased(Box::new(job)));
    }
    // Nobody knows a user of no generation: the row is of this transaction.
    let row = Some(&standing).filter(|row| row.generation > 0);
    let mut job = match shared.apis.ask(request, row, now, &rates) {
        Ok(standing) => job(asked, standing, memory),
        Err(refusal) => return Ok(refusal),
    };
    let until = now.plus(options.lease);
    shared.apis.leased(slice::from_mut(&mut job), now, until, &rates);
    write(transaction, &job, until).await?;
    shared.write(transaction).await?;
    Ok(UserLease::Leased(Box::new(job)))
}

/// The user's row, which is made where there is none; none where the user was forgotten and is to stay so.
async fn find(transaction: &mut PgConnection, asked: Asked<'_>) -> sqlx::Result<Option<Row>> {
    let user = asked.request.user.as_str();
    if let Some(found) = sqlx::query(FIND).bind(user).fetch_optional(&mut *transaction).await? {
        return row(&found).map(Some);
    }
    introduce(transaction, asked).await?;
    let found = sqlx::query(FIND).bind(user).fetch_optional(transaction).await?;
    found.as_ref().map(row).transpose()
}

async fn introduce(transaction: &mut PgConnection, asked: Asked<'_>) -> sqlx::Result<()> {
    let LeaseRequest { user, cause, lane, again, .. } = asked.request;
    let hash = asked.key.hash(user.as_str());
    if *again {
        forgotten::take_up(transaction, hash).await?;
    }
    let introduce = sqlx::query(INTRODUCE).bind(user.as_str()).bind(*cause).bind(*lane as i16).bind(hash);
    introduce.execute(transaction).await.map(drop)
}

fn row(row: &PgRow) -> sqlx::Result<Row> {
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
    Ok(Row { owner, standing, memory: memory::read(row)? })
}

fn job(asked: Asked<'_>, standing: Standing, memory: Memory) -> Job {
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
        has_written: false,
        memory,
        learned: None,
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
