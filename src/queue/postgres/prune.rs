//! Taking away what is too old to be shown. Rows that a settlement or another replica holds just now are left for the next
//! time: pruning waits for nobody.

use sqlx::postgres::PgPool;

use super::reader::from_kept;
use super::rounds;
use crate::clock::Millis;

const HISTORY: &str = "
    DELETE FROM history WHERE last_at < $1 AND id = ANY (ARRAY(
        SELECT id FROM history WHERE connection = 'default' AND last_at < $1
        ORDER BY last_at LIMIT $2 FOR UPDATE SKIP LOCKED))";

/// Before any user's row, as wherever rows go for good.
const LOCK_ROUND: &str = "SELECT FROM rounds WHERE connection = 'default' FOR UPDATE";

/// Whoever it is, parked included; but nobody of whom there is something left to do or to take away elsewhere.
pub(super) const MISSING: &str = "
    WITH gone AS (
        DELETE FROM users WHERE connection = 'default' AND user_id = ANY (ARRAY(
            SELECT user_id FROM users
            WHERE connection = 'default' AND missing_since < $1 AND email IS NULL AND due_at IS NULL
                AND lease_owner IS NULL AND NOT held_back
            ORDER BY missing_since LIMIT $2 FOR UPDATE SKIP LOCKED))
        RETURNING user_id),
    past AS (
        DELETE FROM history
        WHERE connection = 'default' AND user_id = ANY (ARRAY(SELECT user_id FROM gone)))
    SELECT count(*) FROM gone";

const COUNTS: &str = "
    WITH old AS MATERIALIZED (
        SELECT minute, outcome FROM sync_counts WHERE connection = 'default' AND minute < $1
        ORDER BY minute LIMIT 10000 FOR UPDATE SKIP LOCKED)
    DELETE FROM sync_counts AS c USING old
    WHERE c.connection = 'default' AND c.minute = old.minute AND c.outcome = old.outcome";

/// Takes away up to `most` rows of history whose last sync was before `before`; how many they were.
pub(super) async fn history(pool: &PgPool, before: Millis, most: usize) -> sqlx::Result<u64> {
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    Ok(sqlx::query(HISTORY).bind(before.0).bind(most).execute(pool).await?.rows_affected())
}

/// Takes away up to `most` rows of users whom Sesamy has not known since before `before`, and of whom no address is
/// remembered, and their history; how many users they were.
pub(super) async fn missing(pool: &PgPool, before: Millis, most: usize) -> sqlx::Result<u64> {
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let mut transaction = pool.begin().await?;
    sqlx::query(LOCK_ROUND).execute(&mut *transaction).await?;
    let gone: i64 =
        sqlx::query_scalar(MISSING).bind(before.0).bind(most).fetch_one(&mut *transaction).await?;
    if gone > 0 {
        rounds::turn_back(&mut transaction).await?;
    }
    transaction.commit().await?;
    Ok(from_kept(gone))
}

/// Takes away the counts of minutes before the one of that number.
pub(super) async fn counts(pool: &PgPool, minute: i64) -> sqlx::Result<()> {
    sqlx::query(COUNTS).bind(minute).execute(pool).await.map(drop)
}
