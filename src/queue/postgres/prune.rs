//! Taking away what is too old to be shown. Rows that a settlement or another replica holds just now are left for the next
//! time: pruning waits for nobody.

use sqlx::postgres::PgPool;

use crate::clock::Millis;

const HISTORY: &str = "
    DELETE FROM history WHERE last_at < $1 AND id = ANY (ARRAY(
        SELECT id FROM history WHERE connection = 'default' AND last_at < $1
        ORDER BY last_at LIMIT $2 FOR UPDATE SKIP LOCKED))";

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

/// Takes away the counts of minutes before the one of that number.
pub(super) async fn counts(pool: &PgPool, minute: i64) -> sqlx::Result<()> {
    sqlx::query(COUNTS).bind(minute).execute(pool).await.map(drop)
}
