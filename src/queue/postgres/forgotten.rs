//! Users who were forgotten: what is left of them, and how they are forgotten.
//!
//! Nobody who was forgotten may come back by an event that was on its way. An event takes the lock `ROW SHARE` on the table
//! of the forgotten, by a locking clause, before it begins to read; whoever forgets takes one that keeps that out, and
//! so waits for the events that are being kept and holds up those that come, for a moment. Reading, and with it a dump,
//! is in nobody's way.
//!
//! Locks are taken in one order: the table of the forgotten, the round, the user's row and with it the history, the APIs.
//! Whoever looks for a hash with a user's row under lock waits for nobody who wants that row.

use sqlx::Connection;
use sqlx::postgres::{PgConnection, PgPool};

use super::{apis, rounds};
use crate::clock::Millis;
use crate::queue::forgetting::ForgettingKey;
use crate::queue::{Job, Rates};
use crate::upstream::PerApi;
use crate::user::UserId;

/// Nobody who is being forgotten keeps events waiting for longer; then it is tried again.
const LOCK: &str = "
    SET LOCAL lock_timeout = '250ms';
    LOCK TABLE forgotten IN EXCLUSIVE MODE;
    SELECT FROM rounds WHERE connection = 'default' FOR UPDATE";

/// On the condition of the lease.
pub(super) const FORGET: &str = "
    WITH gone AS (
        DELETE FROM users WHERE connection = 'default' AND user_id = $1 AND lease_owner = $2 RETURNING user_id),
    past AS (
        DELETE FROM history WHERE connection = 'default' AND user_id = $1 AND EXISTS (SELECT FROM gone)),
    left_over AS (
        INSERT INTO forgotten (connection, hash, forgotten_at) SELECT 'default', $3, $4 FROM gone
        ON CONFLICT (connection, hash) DO NOTHING)
    SELECT EXISTS (SELECT FROM gone)";

pub(super) const TAKE_UP: &str = "DELETE FROM forgotten WHERE connection = 'default' AND hash = $1";

pub(super) const AMONG: &str =
    "SELECT hash FROM forgotten WHERE connection = 'default' AND hash = ANY ($1::bytea[])";

/// What is left of a user.
pub(super) type Hash = [u8; 32];

/// The key of the store.
pub(super) async fn key(connection: &mut PgConnection) -> sqlx::Result<ForgettingKey> {
    let bytes: Vec<u8> = sqlx::query_scalar("SELECT key FROM forgetting").fetch_one(connection).await?;
    ForgettingKey::new(&bytes).ok_or(sqlx::Error::RowNotFound)
}

/// Erases the user's row and history, and leaves the hash, if the lease is still there; whether it was.
///
/// `is_again` tells that a try before may have done it: then it is enough that it is done.
pub(super) async fn forget(
    connection: &mut PgConnection,
    job: &Job,
    hash: Hash,
    given: Option<Millis>,
    rates: &Rates,
    is_again: bool,
) -> sqlx::Result<bool> {
    let mut transaction = connection.begin().await?;
    sqlx::raw_sql(LOCK).execute(&mut *transaction).await?;
    let now = super::statements::now(&mut transaction, given).await?;
    let erase =
        sqlx::query_scalar(FORGET).bind(job.user.as_str()).bind(job.lease_owner).bind(hash).bind(now.0);
    let is_gone: bool = erase.fetch_one(&mut *transaction).await?;
    if !is_gone {
        let is_done = is_again && !among(&mut transaction, &[hash]).await?.is_empty();
        transaction.rollback().await?;
        return Ok(is_done);
    }
    rounds::turn_back(&mut transaction).await?;
    if job.is_probe || job.calls != PerApi::default() {
        let mut shared = apis::lock(&mut transaction, given).await?;
        let now = shared.now;
        shared.apis.settled(job, now, rates);
        shared.write(&mut transaction).await?;
    }
    transaction.commit().await?;
    Ok(true)
}

/// Forgets that the user of that hash was forgotten.
pub(super) async fn take_up(transaction: &mut PgConnection, hash: Hash) -> sqlx::Result<()> {
    sqlx::query(TAKE_UP).bind(hash).execute(transaction).await.map(drop)
}

/// Whom of `users` somebody has had forgotten.
pub(super) async fn whom_of(
    pool: &PgPool,
    key: &ForgettingKey,
    users: &[&UserId],
) -> sqlx::Result<Vec<UserId>> {
    let of_each: Vec<Hash> = users.iter().map(|user| key.hash(user.as_str())).collect();
    let mut connection = pool.acquire().await?;
    let found = among(&mut connection, &of_each).await?;
    let is_forgotten = |(_, hash): &(&&UserId, &Hash)| found.iter().any(|it| it == hash.as_slice());
    Ok(users.iter().zip(&of_each).filter(is_forgotten).map(|(user, _)| (*user).clone()).collect())
}

async fn among(connection: &mut PgConnection, hashes: &[Hash]) -> sqlx::Result<Vec<Vec<u8>>> {
    sqlx::query_scalar(AMONG).bind(hashes).fetch_all(connection).await
}
