//! The statement that leases whoever is due: lane by lane, and in each lane the longest due first.

use sqlx::Row;
use sqlx::postgres::{PgConnection, PgRow};

use super::memory;
use super::statements::millis;
use crate::clock::Millis;
use crate::queue::{Job, Lane, Options};
use crate::upstream::PerApi;
use crate::user::UserId;

/// The longest due of each lane, as many as the lanes before have left room for, none of whom another replica is leasing
/// just now. Each lane is a range of its own in the index: whoever is leased, or due later, in one of them is not walked
/// over on the way to the next. A row that is still held was leased by somebody who never settled it.
macro_rules! lease {
    ($which:literal) => {
        concat!(
            "WITH events AS MATERIALIZED (
                SELECT user_id, due_at, lane FROM users
                WHERE connection = 'default' AND lane = 0 AND due_at <= $1",
            $which,
            "   ORDER BY due_at LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED),
            retries AS MATERIALIZED (
                SELECT user_id, due_at, lane FROM users
                WHERE connection = 'default' AND lane = 1 AND due_at <= $1",
            $which,
            "   ORDER BY due_at LIMIT $2 - (SELECT count(*) FROM events) FOR NO KEY UPDATE SKIP LOCKED),
            background AS MATERIALIZED (
                SELECT user_id, due_at, lane FROM users
                WHERE connection = 'default' AND lane = 2 AND due_at <= $1",
            $which,
            "   ORDER BY due_at
                LIMIT least($5, $2 - (SELECT count(*) FROM events) - (SELECT count(*) FROM retries))
                FOR NO KEY UPDATE SKIP LOCKED),
            due AS (SELECT * FROM events UNION ALL SELECT * FROM retries UNION ALL SELECT * FROM background),
            placed AS (SELECT user_id, row_number() OVER (ORDER BY lane, due_at, user_id) AS place FROM due)
            UPDATE users AS u SET
                lease_owner = ($3::bigint[])[placed.place],
                due_at = $1 + $4,
                attempts = attempts + (lease_owner IS NOT NULL)::integer,
                unsettled = unsettled + (lease_owner IS NOT NULL)::integer,
                failing_since = CASE WHEN lease_owner IS NULL THEN failing_since ELSE coalesce(failing_since, $1) END
            FROM placed WHERE u.connection = 'default' AND u.user_id = placed.user_id
            RETURNING u.user_id, event_type, attempts, failing_since, generation, unsettled, lease_owner, place, lane, ",
            memory::memory!()
        )
    };
}
pub(super) const LEASE: &str = lease!("");
/// The same, of users whose last sync did not fail.
const LEASE_UNTRIED: &str = lease!(" AND error IS NULL ");

/// An id that no version of this program would have taken: kept and visible, or it would be leased for ever.
const PARK_UNREADABLE: &str = "
    UPDATE users SET due_at = NULL, lease_owner = NULL, parked_at = $1, error = $3, answer = $3
    WHERE connection = 'default' AND user_id = $2";

/// Which of the due rows a lease may take.
#[derive(Debug, Clone, Copy)]
pub(super) enum Which {
    /// All.
    Any,
    /// Those whose last sync did not fail.
    Untried,
}

/// Leases due rows, as many at the most as there are `names`, one name for each; of the background lane no more than
/// `of_background`.
pub(super) async fn lease(
    connection: &mut PgConnection,
    which: Which,
    names: &[i64],
    of_background: usize,
    now: Millis,
    options: &Options,
) -> sqlx::Result<Vec<Job>> {
    let sql = match which {
        Which::Any => LEASE,
        Which::Untried => LEASE_UNTRIED,
    };
    let limit = |most: usize| i64::try_from(most).unwrap_or(i64::MAX);
    let rows = sqlx::query(sql)
        .bind(now.0)
        .bind(limit(names.len()))
        .bind(names)
        .bind(millis(options.lease))
        .bind(limit(of_background))
        .fetch_all(&mut *connection)
        .await?;
    let mut jobs = Vec::with_capacity(rows.len());
    for row in &rows {
        match job(row)? {
            Ok(placed) => jobs.push(placed),
            Err((user, why)) => {
                sqlx::query(PARK_UNREADABLE)
                    .bind(now.0)
                    .bind(user)
                    .bind(why)
                    .execute(&mut *connection)
                    .await?;
            }
        }
    }
    jobs.sort_by_key(|(place, _)| *place);
    Ok(jobs.into_iter().map(|(_, job)| job).collect())
}

/// A leased row and its place among those leased; or the id that is none, and why.
#[allow(clippy::type_complexity, reason = "read once, and taken apart at once")]
fn job(row: &PgRow) -> sqlx::Result<Result<(i64, Job), (String, String)>> {
    let id: String = row.try_get(0)?;
    let user = match UserId::new(id.as_str()) {
        Ok(user) => user,
        Err(why) => return Ok(Err((id, why.to_string()))),
    };
    let job = Job {
        user,
        event_type: row.try_get(1)?,
        attempts: counted(row.try_get(2)?),
        failing_since: row.try_get::<Option<i64>, _>(3)?.map(Millis),
        generation: row.try_get(4)?,
        unsettled: counted(row.try_get(5)?),
        lease_owner: row.try_get(6)?,
        lane: Lane::of_number(row.try_get::<i16, _>(8)?.into()),
        leased_at: Millis(0), // and these three are told by who leases
        calls: PerApi::default(),
        calls_taken: PerApi::default(),
        is_probe: false,
        has_written: false,
        memory: memory::read(row)?,
        learned: None,
    };
    Ok(Ok((row.try_get(7)?, job)))
}

/// A count as it is kept.
pub(super) fn counted(count: i32) -> u32 {
    u32::try_from(count).unwrap_or(0)
}
