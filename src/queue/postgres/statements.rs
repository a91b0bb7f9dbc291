//! The statements of the queue but the settling ones, each for many rows at once.
//!
//! Rows are locked in the order of their ids wherever a statement locks several and waits for them, so that two
//! replicas never wait for each other. `$1` is everywhere the time, null but for a clock that is moved by hand: the
//! database's own clock is the queue's.

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Connection, Row};

use super::apis;
use crate::clock::Millis;
use crate::queue::{Job, Lane, NextDue, Options};
use crate::upstream::PerApi;
use crate::user::UserId;

/// The database's time, unless another one is given.
macro_rules! server_time {
    () => {
        "coalesce($1::bigint, (extract(epoch FROM clock_timestamp()) * 1000)::bigint)"
    };
}
pub(super) use server_time;

/// Events, one row per user. Where a user is due soon enough or held, `due_at` stays as it is, and with it every index:
/// the row is rewritten in its page.
const PUSH: &str = concat!(
    "WITH kept AS (
        INSERT INTO users AS u (connection, user_id, generation, event_type, due_at)
        SELECT 'default', e.user_id, e.events, e.event_type, ",
    server_time!(),
    " + $2
        FROM unnest($3::text[], $4::bigint[], $5::text[]) AS e (user_id, events, event_type)
        ON CONFLICT (connection, user_id) DO UPDATE SET
            generation = u.generation + excluded.generation,
            event_type = excluded.event_type,
            due_at = CASE WHEN u.lease_owner IS NULL THEN least(u.due_at, excluded.due_at) ELSE u.due_at END,
            attempts = CASE WHEN u.parked_at IS NULL THEN u.attempts ELSE 0 END,
            failing_since = CASE WHEN u.parked_at IS NULL THEN u.failing_since END,
            parked_at = NULL,
            answer = NULL
        RETURNING due_at)
    SELECT min(due_at) FROM kept"
);

/// The longest due, none of whom another replica is leasing just now. A row that is still held was leased by somebody
/// who never settled it.
macro_rules! lease {
    ($which:literal) => {
        concat!(
            "WITH due AS MATERIALIZED (
                SELECT user_id, due_at FROM users
                WHERE connection = 'default' AND due_at <= $1",
            $which,
            "   ORDER BY due_at LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED),
            placed AS (SELECT user_id, row_number() OVER (ORDER BY due_at, user_id) AS place FROM due)
            UPDATE users AS u SET
                lease_owner = ($3::bigint[])[placed.place],
                due_at = $1 + $4,
                attempts = attempts + (lease_owner IS NOT NULL)::integer,
                unsettled = unsettled + (lease_owner IS NOT NULL)::integer,
                failing_since = CASE WHEN lease_owner IS NULL THEN failing_since ELSE coalesce(failing_since, $1) END
            FROM placed WHERE u.connection = 'default' AND u.user_id = placed.user_id
            RETURNING u.user_id, event_type, attempts, failing_since, generation, unsettled, lease_owner, place"
        )
    };
}
const LEASE: &str = lease!("");
/// The same, of users whose last sync did not fail.
const LEASE_UNTRIED: &str = lease!(" AND error IS NULL ");

/// An id that no version of this program would have taken: kept and visible, or it would be leased for ever.
const PARK_UNREADABLE: &str = "
    UPDATE users SET due_at = NULL, lease_owner = NULL, parked_at = $1, error = $3, answer = $3
    WHERE connection = 'default' AND user_id = $2";

const TAKE_BACK_ATTEMPTS: &str = "
    WITH given AS (SELECT user_id, count(*)::integer AS times FROM unnest($1::text[]) AS g (user_id) GROUP BY user_id),
    held AS MATERIALIZED (
        SELECT g.* FROM given AS g JOIN users AS u ON u.connection = 'default' AND u.user_id = g.user_id
        ORDER BY u.user_id FOR NO KEY UPDATE OF u)
    UPDATE users AS u SET
        attempts = greatest(attempts - times, 0),
        failing_since = CASE WHEN attempts > times THEN failing_since END
    FROM held WHERE u.connection = 'default' AND u.user_id = held.user_id";

const REVIVE: &str = "
    WITH held AS MATERIALIZED (
        SELECT user_id FROM users
        WHERE connection = 'default' AND parked_at IS NOT NULL AND left(answer, 200) = left($1, 200) AND answer = $1
        ORDER BY user_id FOR NO KEY UPDATE)
    UPDATE users AS u SET parked_at = NULL, answer = NULL, due_at = $2, attempts = 0, failing_since = NULL
    FROM held WHERE u.connection = 'default' AND u.user_id = held.user_id AND u.parked_at IS NOT NULL";

/// Leases that nobody was told of. The lease before, if it was taken over, stays counted.
const UNDO_LEASES: &str = "
    WITH held AS MATERIALIZED (
        SELECT user_id FROM users WHERE lease_owner IS NOT NULL AND lease_owner = ANY ($2)
        ORDER BY user_id FOR NO KEY UPDATE)
    UPDATE users AS u SET lease_owner = NULL, due_at = $1
    FROM held WHERE u.connection = 'default' AND u.user_id = held.user_id AND u.lease_owner = ANY ($2)";

const WRITE_WHAT_WAS_HELD_BACK: &str = "
    WITH held AS MATERIALIZED (SELECT user_id FROM users WHERE held_back ORDER BY user_id FOR NO KEY UPDATE)
    UPDATE users AS u SET held_back = false,
        due_at = CASE WHEN lease_owner IS NULL THEN least(due_at, $1) ELSE due_at END
    FROM held WHERE u.connection = 'default' AND u.user_id = held.user_id AND u.held_back";

/// What is due later than anything may be was written under a clock that was wrong. Leases are given a day more: they may
/// be of a replica with a longer `sync.deadline`, and no two syncs of a user may ever overlap.
const BRING_BACK: &str = "
    WITH held AS MATERIALIZED (
        SELECT user_id FROM users
        WHERE due_at > $1 AND (lease_owner IS NULL OR due_at > $1 + 86400000)
        ORDER BY user_id FOR NO KEY UPDATE)
    UPDATE users AS u SET due_at = $1
    FROM held WHERE u.connection = 'default' AND u.user_id = held.user_id AND u.due_at > $1
        AND (u.lease_owner IS NULL OR u.due_at > $1 + 86400000)";

/// The earliest of each lane, the ends of leases included.
const NEXT_DUE: &str = "
    SELECT lane, (SELECT due_at FROM users WHERE due_at IS NOT NULL AND users.lane = lanes.lane ORDER BY due_at LIMIT 1)
    FROM unnest(ARRAY[0, 1, 2]::smallint[]) AS lanes (lane)";

/// Takes room on disk, and gives it back.
const PROBE: &str = "INSERT INTO probe (filler) VALUES (repeat('x', 1000)); DELETE FROM probe";

/// What happened to one user: so many events, the last of that type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Event<'a> {
    pub(super) user: &'a str,
    pub(super) events: i64,
    pub(super) event_type: &'static str,
}

/// Which of the due rows a lease may take.
#[derive(Debug, Clone, Copy)]
pub(super) enum Which {
    /// All.
    Any,
    /// Those whose last sync did not fail.
    Untried,
}

/// Keeps `events`, which name each user once and are sorted by user; gives the earliest time one of them is due.
pub(super) async fn push(
    connection: &mut PgConnection,
    events: &[Event<'_>],
    given: Option<Millis>,
    options: &Options,
) -> sqlx::Result<Option<Millis>> {
    let users: Vec<&str> = events.iter().map(|event| event.user).collect();
    let counts: Vec<i64> = events.iter().map(|event| event.events).collect();
    let types: Vec<&str> = events.iter().map(|event| event.event_type).collect();
    let due: Option<i64> = sqlx::query_scalar(PUSH)
        .bind(given.map(|now| now.0))
        .bind(millis(options.debounce))
        .bind(users)
        .bind(counts)
        .bind(types)
        .fetch_one(connection)
        .await?;
    Ok(due.map(Millis))
}

/// The queue's time: the database's, or `given`.
pub(super) async fn now(connection: &mut PgConnection, given: Option<Millis>) -> sqlx::Result<Millis> {
    let now: i64 = sqlx::query_scalar(concat!("SELECT ", server_time!()))
        .bind(given.map(|now| now.0))
        .fetch_one(connection)
        .await?;
    Ok(Millis(now))
}

/// Leases due rows, as many at the most as there are `names`, the longest due first, one name for each.
pub(super) async fn lease(
    connection: &mut PgConnection,
    which: Which,
    names: &[i64],
    now: Millis,
    options: &Options,
) -> sqlx::Result<Vec<Job>> {
    let sql = match which {
        Which::Any => LEASE,
        Which::Untried => LEASE_UNTRIED,
    };
    let rows = sqlx::query(sql)
        .bind(now.0)
        .bind(i64::try_from(names.len()).unwrap_or(i64::MAX))
        .bind(names)
        .bind(millis(options.lease))
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
    let counted = |count: i32| u32::try_from(count).unwrap_or(0);
    let job = Job {
        user,
        event_type: row.try_get(1)?,
        attempts: counted(row.try_get(2)?),
        failing_since: row.try_get::<Option<i64>, _>(3)?.map(Millis),
        generation: row.try_get(4)?,
        unsettled: counted(row.try_get(5)?),
        lease_owner: row.try_get(6)?,
        leased_at: Millis(0), // and these three are told by who leases
        calls: PerApi::default(),
        calls_taken: PerApi::default(),
        lane: Lane::Events,
        is_probe: false,
    };
    Ok(Ok((row.try_get(7)?, job)))
}

/// Makes due again at `now` whoever is under a lease of one of these names.
pub(super) async fn undo_leases(
    connection: &mut PgConnection,
    names: &[i64],
    now: Millis,
) -> sqlx::Result<()> {
    sqlx::query(UNDO_LEASES).bind(now.0).bind(names).execute(connection).await.map(drop)
}

/// Takes one attempt from each of `users`, and makes due at `due` who is parked with `parked_with`: both or neither.
pub(super) async fn give_back(
    connection: &mut PgConnection,
    users: &[UserId],
    parked_with: Option<&str>,
    due: Millis,
) -> sqlx::Result<()> {
    let mut transaction = connection.begin().await?;
    if !users.is_empty() {
        let users: Vec<&str> = users.iter().map(UserId::as_str).collect();
        sqlx::query(TAKE_BACK_ATTEMPTS).bind(users).execute(&mut *transaction).await?;
    }
    if let Some(answer) = parked_with {
        sqlx::query(REVIVE).bind(storable(answer)).bind(due.0).execute(&mut *transaction).await?;
    }
    transaction.commit().await
}

/// The earliest due times, the ends of leases included.
pub(super) async fn next_due(connection: &mut PgConnection) -> sqlx::Result<NextDue> {
    let mut next = NextDue::default();
    for row in sqlx::query(NEXT_DUE).fetch_all(connection).await? {
        let (lane, due): (i16, Option<i64>) = (row.try_get(0)?, row.try_get(1)?);
        next = next.or(Lane::of_number(lane.into()), due.map(Millis));
    }
    Ok(next)
}

/// Makes a store that another process left behind ready for this one; gives the next due time.
///
/// Leases are left alone: their holders may well be alive.
pub(super) async fn start(
    connection: &mut PgConnection,
    now: Millis,
    options: &Options,
) -> sqlx::Result<NextDue> {
    let mut transaction = connection.begin().await?;
    if !options.dry_run {
        sqlx::query(WRITE_WHAT_WAS_HELD_BACK).bind(now.0).execute(&mut *transaction).await?;
    }
    sqlx::query(BRING_BACK).bind(now.plus(options.furthest_due).0).execute(&mut *transaction).await?;
    // What was wrong with an API may have been mended, the settings above all.
    let mut shared = apis::lock(&mut transaction, Some(now)).await?;
    shared.apis.end_rests();
    shared.write(&mut transaction).await?;
    let next = next_due(&mut transaction).await?;
    transaction.commit().await?;
    Ok(next)
}

/// Writes what needs room, and takes it away again.
pub(super) async fn probe(connection: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::raw_sql(PROBE).execute(connection).await.map(drop)
}

/// Text as Postgres can keep it: it knows no NUL.
pub(super) fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

pub(super) fn millis(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}
