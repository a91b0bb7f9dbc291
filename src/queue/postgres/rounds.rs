//! Rounds: everybody, in the order of their ids, a few at a time.
//!
//! Whoever takes a round on has its row locked, and nobody waits for that: one replica passes some rows at a time, and
//! no two the same. A user's row that somebody holds just now is passed as well. It is having an event, a lease or an end
//! of one, and needs no round.

use std::time::Duration;

use sqlx::postgres::{PgConnection, PgExecutor, PgRow};
use sqlx::{Connection, Row};

use super::clockwork::Step;
use super::reader::from_kept;
use crate::clock::Millis;
use crate::queue::DRIFT;
use crate::queue::Round;
use crate::queue::clockwork::ROUND_WAITING;

const READ: &str = "SELECT started_at, ended_at, users, passed FROM rounds WHERE connection = 'default'";

const LOCK: &str = "
    SELECT started_at, ended_at, users, passed FROM rounds WHERE connection = 'default' FOR UPDATE SKIP LOCKED";

/// In place of the round that began at `$2`, if that is still the one there: of two who begin one, one does.
const BEGIN: &str = "
    INSERT INTO rounds AS r (connection, started_at, ended_at, users, passed, cursor)
    VALUES ('default', $1, $3, $4, $5, '')
    ON CONFLICT (connection) DO UPDATE SET
        started_at = excluded.started_at, ended_at = excluded.ended_at, users = excluded.users,
        passed = excluded.passed, cursor = excluded.cursor
    WHERE r.started_at = $2
    RETURNING started_at, ended_at, users, passed";

/// Of many rows, the planner's estimate does: to count millions may take longer than a statement has.
pub(super) const COUNT: &str = "
    SELECT CASE WHEN counted < $1 THEN counted
        ELSE greatest(counted, (SELECT reltuples::bigint FROM pg_class WHERE oid = 'users'::regclass)) END
    FROM (SELECT count(*) AS counted FROM (SELECT FROM users WHERE connection = 'default' LIMIT $1) AS rows) AS up_to";

/// So many rows are counted.
const COUNTED_AT_MOST: i64 = 100_000;

pub(super) const WAITING: &str =
    "SELECT count(*) FROM (SELECT FROM users WHERE lane = 2 AND due_at <= $1 LIMIT $2) AS waiting";

/// The next `$2` rows: those of them who wait for nothing, were synced before and are known to Sesamy are due; not whose
/// change is held back, which an event has asked for and a round might not do.
pub(super) const PASS: &str = "
    WITH next AS MATERIALIZED (
        SELECT user_id FROM users
        WHERE connection = 'default' AND user_id > (SELECT cursor FROM rounds WHERE connection = 'default')
        ORDER BY user_id LIMIT $2),
    idle AS MATERIALIZED (
        SELECT user_id FROM users
        WHERE connection = 'default' AND user_id = ANY (ARRAY(SELECT user_id FROM next))
            AND due_at IS NULL AND lease_owner IS NULL AND parked_at IS NULL
            AND synced_at IS NOT NULL AND missing_since IS NULL AND NOT held_back
        FOR NO KEY UPDATE SKIP LOCKED),
    made AS (
        UPDATE users AS u SET due_at = $1, lane = 2, event_type = $3
        FROM idle WHERE u.connection = 'default' AND u.user_id = idle.user_id
        RETURNING 1)
    UPDATE rounds SET
        passed = passed + (SELECT count(*) FROM next),
        cursor = coalesce((SELECT max(user_id) FROM next), cursor),
        ended_at = CASE WHEN (SELECT count(*) FROM next) < $2 THEN $1 END
    WHERE connection = 'default'
    RETURNING started_at, ended_at, users, passed, (SELECT count(*) FROM made)";

/// A round has the id of the last row that it has passed; once that row is gone, it goes on from the row before.
pub(super) const TURN_BACK: &str = "
    UPDATE rounds AS r SET
        cursor = coalesce((SELECT max(user_id) FROM users WHERE connection = 'default' AND user_id < r.cursor), '')
    WHERE connection = 'default' AND cursor <> ''
        AND NOT EXISTS (SELECT FROM users WHERE connection = 'default' AND user_id = r.cursor)";

/// How far the last round has come; none where there was none.
pub(super) async fn read(executor: impl PgExecutor<'_>) -> sqlx::Result<Option<Round>> {
    sqlx::query(READ).fetch_optional(executor).await?.as_ref().map(round).transpose()
}

/// Begins a round, unless another replica has begun one since `last` was read.
pub(super) async fn begin(
    connection: &mut PgConnection,
    last: Option<&Round>,
    now: Millis,
) -> sqlx::Result<(Step, Option<Round>)> {
    let count = sqlx::query_scalar(COUNT).bind(COUNTED_AT_MOST);
    let begun = Round::begun(now, from_kept(count.fetch_one(&mut *connection).await?));
    let kept = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let begin = sqlx::query(BEGIN)
        .bind(begun.started_at.0)
        .bind(last.map(|last| last.started_at.0))
        .bind(begun.ended_at.map(|ended| ended.0))
        .bind(kept(begun.users))
        .bind(kept(begun.passed));
    match begin.fetch_optional(&mut *connection).await? {
        Some(row) => Ok((Step::default(), Some(round(&row)?))),
        None => Ok((Step::default(), read(connection).await?)),
    }
}

/// Passes as many rows as are next; none where another replica does so just now.
pub(super) async fn pass(
    connection: &mut PgConnection,
    now: Millis,
    every: Duration,
) -> sqlx::Result<(Step, Option<Round>)> {
    let mut transaction = connection.begin().await?;
    let Some(row) = sqlx::query(LOCK).fetch_optional(&mut *transaction).await? else {
        transaction.rollback().await?;
        return Ok((Step::default(), read(connection).await?));
    };
    // Now that nobody else adds to them; another replica may have since this one looked.
    let count = sqlx::query_scalar(WAITING).bind(now.0).bind(ROUND_WAITING as i64);
    let waiting: i64 = count.fetch_one(&mut *transaction).await?;
    let waiting = usize::try_from(waiting).unwrap_or(0);
    let next = round(&row)?.next(now, every, waiting);
    if next == 0 {
        transaction.rollback().await?;
        return Ok((Step::default(), Some(round(&row)?)));
    }
    let next = i64::try_from(next).unwrap_or(i64::MAX);
    let row = sqlx::query(PASS).bind(now.0).bind(next).bind(DRIFT).fetch_one(&mut *transaction).await?;
    transaction.commit().await?;
    let (round, made_due) = (round(&row)?, from_kept(row.try_get(4)?));
    let waiting = waiting.saturating_add(usize::try_from(made_due).unwrap_or(usize::MAX));
    let more = round.next(now, every, waiting) > 0 || round.is_over(now, every);
    Ok((Step { made_due, more }, Some(round)))
}

/// Leaves no id in the round of whose row is gone. Whoever takes the row away locks the round first: it might come just
/// as far meanwhile.
pub(super) async fn turn_back(transaction: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query(TURN_BACK).execute(transaction).await.map(drop)
}

fn round(row: &PgRow) -> sqlx::Result<Round> {
    Ok(Round {
        started_at: Millis(row.try_get(0)?),
        ended_at: row.try_get::<Option<i64>, _>(1)?.map(Millis),
        users: from_kept(row.try_get(2)?),
        passed: from_kept(row.try_get(3)?),
    })
}
