//! Counting the rows, on a connection beside those that keep events and lease.

use sqlx::Row;
use sqlx::postgres::PgPool;

use super::Tuning;
use super::tries::within;
use crate::clock::Millis;
use crate::queue::{
    Census, Filter, HistoryRow, MinuteCount, ParkedGroup, Progress, QueueError, Retry, UserRow,
};
use crate::user::UserId;

/// The numbers of one moment, each counted to the limit `$2` at the most.
const COUNT: &str = "
    SELECT
        (SELECT count(*) FROM (SELECT FROM users WHERE due_at <= $1 LIMIT $2) AS due),
        (SELECT count(*) FROM (
            SELECT FROM users WHERE lease_owner IS NOT NULL AND due_at > $1 LIMIT $2) AS leased),
        (SELECT count(*) FROM (
            SELECT FROM users WHERE due_at > $1 AND lease_owner IS NULL LIMIT $2) AS scheduled),
        (SELECT count(*) FROM (SELECT FROM users WHERE parked_at IS NOT NULL LIMIT $2) AS parked),
        (SELECT due_at FROM users WHERE due_at IS NOT NULL ORDER BY due_at LIMIT 1)";

/// Counts the rows by the connections of a pool.
#[derive(Debug, Clone)]
pub(in crate::queue) struct Reader {
    pub(super) pool: PgPool,
    pub(super) tuning: Tuning,
}

impl Reader {
    pub(in crate::queue) async fn count(&self, now: Millis) -> Result<Census, QueueError> {
        let limit = i64::try_from(Census::LIMIT).unwrap_or(i64::MAX);
        let counted = sqlx::query(COUNT).bind(now.0).bind(limit).fetch_one(&self.pool);
        let row = within(self.tuning, counted).await?;
        let count = |column: usize| match row.try_get::<i64, _>(column) {
            Ok(count) => Ok(u64::try_from(count).unwrap_or(0)),
            Err(error) => Err(QueueError::Store(error.to_string())),
        };
        let oldest: Option<i64> = row.try_get(4).map_err(|error| QueueError::Store(error.to_string()))?;
        Ok(Census {
            due: count(0)?,
            leased: count(1)?,
            scheduled: count(2)?,
            parked: count(3)?,
            oldest_due_ms: oldest
                .map_or(0, |oldest| u64::try_from(now.since(Millis(oldest)).as_millis()).unwrap_or(u64::MAX)),
        })
    }

    pub(in crate::queue) async fn count_retry(&self, _now: Millis, _whom: &Retry) -> Result<u64, QueueError> {
        Err(QueueError::Closed)
    }

    pub(in crate::queue) async fn rows(
        &self,
        _now: Millis,
        _filter: &Filter,
    ) -> Result<Vec<UserRow>, QueueError> {
        Err(QueueError::Closed)
    }

    pub(in crate::queue) async fn rows_of(
        &self,
        _now: Millis,
        _users: &[UserId],
    ) -> Result<Vec<UserRow>, QueueError> {
        Err(QueueError::Closed)
    }

    pub(in crate::queue) async fn history(
        &self,
        _user: &UserId,
        _most: usize,
    ) -> Result<Vec<HistoryRow>, QueueError> {
        Err(QueueError::Closed)
    }

    pub(in crate::queue) async fn parked(&self, _most: usize) -> Result<Vec<ParkedGroup>, QueueError> {
        Err(QueueError::Closed)
    }

    pub(in crate::queue) async fn counts_since(
        &self,
        _since: Millis,
    ) -> Result<Vec<MinuteCount>, QueueError> {
        Err(QueueError::Closed)
    }

    pub(in crate::queue) async fn progress(&self) -> Result<Option<Progress>, QueueError> {
        Err(QueueError::Closed)
    }
}
