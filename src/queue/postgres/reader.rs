//! What an operator sees, read on connections beside those that keep events and lease.

use std::collections::BTreeSet;

use sqlx::Row;
use sqlx::postgres::{PgPool, PgRow};

use super::forgotten;
use super::tries::within;
use super::{Tuning, memory, retry, rounds, rows};
use crate::clock::Millis;
use crate::memory::{ContactKeys, SeenByOthers};
use crate::queue::forgetting::ForgettingKey;
use crate::queue::history::{minute_at, minute_of};
use crate::queue::{
    Backlog, Census, Filter, HistoryRow, MinuteCount, ParkedGroup, Progress, QueueError, Retry, Round,
    UserRow,
};
use crate::user::UserId;

/// The numbers of one moment, each counted to the limit `$2` at the most. The lanes are named so that each is a range of
/// the index.
const COUNT: &str = "
    SELECT
        (SELECT count(*) FROM (
            SELECT FROM users WHERE lane = ANY ('{0,1,2}') AND due_at <= $1 LIMIT $2) AS due),
        (SELECT count(*) FROM (
            SELECT FROM users WHERE lease_owner IS NOT NULL AND due_at > $1 LIMIT $2) AS leased),
        (SELECT count(*) FROM (
            SELECT FROM users WHERE lane = ANY ('{0,1,2}') AND due_at > $1 AND lease_owner IS NULL LIMIT $2) AS scheduled),
        (SELECT count(*) FROM (SELECT FROM users WHERE parked_at IS NOT NULL LIMIT $2) AS parked),
        (SELECT min(earliest.due_at) FROM unnest(ARRAY[0, 1]::smallint[]) AS lanes (lane) CROSS JOIN LATERAL (
            SELECT due_at FROM users WHERE users.lane = lanes.lane AND due_at IS NOT NULL
            ORDER BY due_at LIMIT 1) AS earliest)";

const HISTORY: &str = "
    SELECT first_at, last_at, times, unchanged_times, event_type, outcome, reason, held_back, changed, tags_added,
        tags_removed, old_tags_removed, attempt, ms, error
    FROM history WHERE connection = 'default' AND user_id = $1 ORDER BY id DESC LIMIT $2";

const COUNTS_SINCE: &str = "
    SELECT minute, outcome, count FROM sync_counts WHERE connection = 'default' AND minute >= $1
    ORDER BY minute, outcome";

const ENDED: &str = "
    SELECT CASE WHEN h.unchanged_times > 0 THEN 'unchanged' ELSE h.outcome END,
        CASE WHEN h.unchanged_times > 0 THEN '' ELSE h.reason END, count(*)
    FROM users u JOIN history h ON h.id = (
        SELECT max(id) FROM history WHERE connection = 'default' AND user_id = u.user_id)
    WHERE u.synced_at >= $1 OR u.parked_at >= $1 GROUP BY 1, 2";

const PROGRESS: &str = "SELECT started_at, ended_at, asked, done FROM backfills WHERE connection = 'default'";

/// The most users who are asked for at a time.
const AT_A_TIME: usize = 5_000;

/// Reads by the connections of a pool.
#[derive(Debug, Clone)]
pub(in crate::queue) struct Reader {
    pub(super) pool: PgPool,
    pub(super) key: ForgettingKey,
    pub(super) tuning: Tuning,
}

impl Reader {
    pub(in crate::queue) async fn count(&self, now: Millis) -> Result<Census, QueueError> {
        let limit = i64::try_from(Census::LIMIT).unwrap_or(i64::MAX);
        let count = async {
            let row = sqlx::query(COUNT).bind(now.0).bind(limit).fetch_one(&self.pool).await?;
            let count = |column: usize| row.try_get(column).map(from_kept);
            let oldest: Option<i64> = row.try_get(4)?;
            Ok(Census {
                due: count(0)?,
                leased: count(1)?,
                scheduled: count(2)?,
                parked: count(3)?,
                oldest_due_ms: oldest.map_or(0, |oldest| {
                    u64::try_from(now.since(Millis(oldest)).as_millis()).unwrap_or(u64::MAX)
                }),
            })
        };
        self.read(count).await
    }

    pub(in crate::queue) async fn count_retry(&self, _now: Millis, whom: &Retry) -> Result<u64, QueueError> {
        self.read(retry::count(&self.pool, whom)).await
    }

    pub(in crate::queue) async fn rows(
        &self,
        now: Millis,
        filter: &Filter,
    ) -> Result<Vec<UserRow>, QueueError> {
        self.read(rows::filtered(&self.pool, now, filter)).await
    }

    pub(in crate::queue) async fn rows_of(
        &self,
        now: Millis,
        users: &[UserId],
    ) -> Result<Vec<UserRow>, QueueError> {
        let mut rows = Vec::with_capacity(users.len());
        for some in users.chunks(AT_A_TIME) {
            rows.extend(self.read(rows::of(&self.pool, now, some)).await?);
        }
        Ok(rows)
    }

    pub(in crate::queue) async fn history(
        &self,
        user: &UserId,
        most: usize,
    ) -> Result<Vec<HistoryRow>, QueueError> {
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let history = async {
            let rows = sqlx::query(HISTORY).bind(user.as_str()).bind(most).fetch_all(&self.pool).await?;
            rows.iter().map(history_row).collect()
        };
        self.read(history).await
    }

    pub(in crate::queue) async fn parked(&self, most: usize) -> Result<Vec<ParkedGroup>, QueueError> {
        self.read(rows::parked(&self.pool, most)).await
    }

    pub(in crate::queue) async fn counts_since(&self, since: Millis) -> Result<Vec<MinuteCount>, QueueError> {
        let counts = async {
            let rows = sqlx::query(COUNTS_SINCE).bind(minute_of(since)).fetch_all(&self.pool).await?;
            let count = |row: &PgRow| {
                let (minute, outcome) = (minute_at(row.try_get(0)?), row.try_get(1)?);
                Ok(MinuteCount { minute, outcome, count: from_kept(row.try_get(2)?) })
            };
            rows.iter().map(count).collect()
        };
        self.read(counts).await
    }

    pub(in crate::queue) async fn backlog(&self, now: Millis, since: Millis) -> Result<Backlog, QueueError> {
        let backlog = async {
            let waiting: i64 = sqlx::query_scalar(
                "SELECT count(*) FROM users WHERE lane = 2 AND (due_at <= $1 OR lease_owner IS NOT NULL)",
            )
            .bind(now.0)
            .fetch_one(&self.pool)
            .await?;
            let failing: i64 = sqlx::query_scalar(
                "SELECT count(*) FROM users WHERE due_at > $1 AND lease_owner IS NULL AND failing_since IS NOT NULL",
            )
            .bind(now.0)
            .fetch_one(&self.pool)
            .await?;
            let mut ended = Vec::new();
            for row in sqlx::query(ENDED).bind(since.0).fetch_all(&self.pool).await? {
                ended.push((row.try_get(0)?, row.try_get(1)?, from_kept(row.try_get(2)?)));
            }
            Ok(Backlog { waiting: from_kept(waiting), ended, failing: from_kept(failing) })
        };
        self.read(backlog).await
    }

    pub(in crate::queue) async fn progress(&self) -> Result<Option<Progress>, QueueError> {
        let progress = async {
            let Some(row) = sqlx::query(PROGRESS).fetch_optional(&self.pool).await? else { return Ok(None) };
            Ok(Some(Progress {
                started_at: Millis(row.try_get(0)?),
                ended_at: row.try_get::<Option<i64>, _>(1)?.map(Millis),
                asked: row.try_get(2)?,
                done: row.try_get(3)?,
            }))
        };
        self.read(progress).await
    }

    pub(in crate::queue) async fn forgotten(&self, users: &[UserId]) -> Result<Vec<UserId>, QueueError> {
        let mut found = Vec::new();
        let each: Vec<&UserId> = users.iter().collect::<BTreeSet<_>>().into_iter().collect();
        for some in each.chunks(AT_A_TIME) {
            found.extend(self.read(forgotten::whom_of(&self.pool, &self.key, some)).await?);
        }
        Ok(found)
    }

    pub(in crate::queue) async fn others_at(
        &self,
        user: &UserId,
        address: &str,
        most: usize,
    ) -> Result<Vec<UserId>, QueueError> {
        self.read(memory::others_at(&self.pool, user, address, most)).await
    }

    pub(in crate::queue) async fn seen_by_others(
        &self,
        user: &UserId,
        address: &str,
        list: &str,
    ) -> Result<SeenByOthers, QueueError> {
        self.read(memory::seen_by_others(&self.pool, user, address, list)).await
    }

    pub(in crate::queue) fn contact_keys(&self, list: String) -> ContactKeys {
        self.key.contact_keys(list)
    }

    pub(in crate::queue) async fn round(&self) -> Result<Option<Round>, QueueError> {
        self.read(rounds::read(&self.pool)).await
    }

    async fn read<T>(&self, reading: impl Future<Output = sqlx::Result<T>>) -> Result<T, QueueError> {
        within(self.tuning, reading).await.map_err(QueueError::from)
    }
}

fn history_row(row: &PgRow) -> sqlx::Result<HistoryRow> {
    let count = |column: &str| row.try_get::<i32, _>(column).map(|count| u32::try_from(count).unwrap_or(0));
    let list = |column: &str| row.try_get::<&str, _>(column).map(HistoryRow::split);
    Ok(HistoryRow {
        first_at: Millis(row.try_get("first_at")?),
        last_at: Millis(row.try_get("last_at")?),
        times: count("times")?,
        unchanged_times: count("unchanged_times")?,
        event_type: row.try_get("event_type")?,
        outcome: row.try_get("outcome")?,
        reason: row.try_get("reason")?,
        held_back: row.try_get("held_back")?,
        changed: list("changed")?,
        tags_added: list("tags_added")?,
        tags_removed: list("tags_removed")?,
        old_tags_removed: list("old_tags_removed")?,
        attempt: count("attempt")?,
        ms: from_kept(row.try_get("ms")?),
        error: row.try_get("error")?,
    })
}

/// A number as it is kept, which is never below nothing.
pub(super) fn from_kept(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
