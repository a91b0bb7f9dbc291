//! The statements of the queue but those that lease, settle or read, each for many rows at once.
//!
//! Rows are locked in the order of their ids wherever a statement locks several and waits for them, so that two
//! replicas never wait for each other. `$1` is everywhere the time, null but for a clock that is moved by hand: the
//! database's own clock is the queue's.

use sqlx::postgres::PgConnection;
use sqlx::{Connection, Row};

use super::forgotten::Hash;
use super::{apis, clockwork};
use crate::clock::Millis;
use crate::queue::forgetting::ForgettingKey;
use crate::queue::{Lane, NextDue, Options, Progress};
use crate::user::UserId;

/// The database's time, unless another one is given.
macro_rules! server_time {
    () => {
        "coalesce($1::bigint, (extract(epoch FROM clock_timestamp()) * 1000)::bigint)"
    };
}
pub(super) use server_time;

/// Events, one row per user, each in the first lane. The `due_at` of a held row is the end of its lease, and stays. Where
/// a user of the first lane is held or due soon enough, `due_at` and `lane` stay as they are, and with them every index:
/// the row is rewritten in its page.
///
/// Nobody who was forgotten becomes known again. The locking clause is why whoever is being forgotten does not either: see
/// [`super::forgotten`].
pub(super) const PUSH: &str = concat!(
    "WITH kept AS (
        INSERT INTO users AS u (connection, user_id, generation, event_type, due_at)
        SELECT 'default', e.user_id, e.events, e.event_type, ",
    server_time!(),
    " + $2
        FROM unnest($3::text[], $4::bigint[], $5::text[], $6::bytea[]) AS e (user_id, events, event_type, hash)
        WHERE NOT EXISTS (SELECT FROM forgotten WHERE connection = 'default')
            OR NOT EXISTS (
                SELECT FROM forgotten AS f WHERE f.connection = 'default' AND f.hash = e.hash FOR KEY SHARE)
        ON CONFLICT (connection, user_id) DO UPDATE SET
            generation = u.generation + excluded.generation,
            event_type = excluded.event_type,
            due_at = CASE WHEN u.lease_owner IS NULL THEN least(u.due_at, excluded.due_at) ELSE u.due_at END,
            lane = 0,
            attempts = CASE WHEN u.parked_at IS NULL THEN u.attempts ELSE 0 END,
            failing_since = CASE WHEN u.parked_at IS NULL THEN u.failing_since END,
            parked_at = NULL,
            answer = NULL
        RETURNING due_at, lane)
    SELECT min(due_at) FROM kept WHERE lane < 2"
);

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
    UPDATE users AS u SET parked_at = NULL, answer = NULL, due_at = $2, attempts = 0, failing_since = NULL,
        lane = greatest(u.lane, 1)
    FROM held WHERE u.connection = 'default' AND u.user_id = held.user_id AND u.parked_at IS NOT NULL";

/// Leases that nobody was told of. The lease before, if it was taken over, stays counted.
const UNDO_LEASES: &str = "
    WITH held AS MATERIALIZED (
        SELECT user_id FROM users WHERE lease_owner IS NOT NULL AND lease_owner = ANY ($2)
        ORDER BY user_id FOR NO KEY UPDATE)
    UPDATE users AS u SET lease_owner = NULL, due_at = $1
    FROM held WHERE u.connection = 'default' AND u.user_id = held.user_id AND u.lease_owner = ANY ($2)";

/// What is due later than anything may be was written under a clock that was wrong. Leases are given a day more: they may
/// be of a replica with a longer `sync.deadline`, and no two syncs of a user may ever overlap. The lanes are named so that
/// each is a range of the index.
const BRING_BACK: &str = "
    WITH held AS MATERIALIZED (
        SELECT user_id FROM users
        WHERE lane = ANY ('{0,1,2}') AND due_at > $1 AND (lease_owner IS NULL OR due_at > $1 + 86400000)
        ORDER BY user_id FOR NO KEY UPDATE)
    UPDATE users AS u SET due_at = $1
    FROM held WHERE u.connection = 'default' AND u.user_id = held.user_id AND u.due_at > $1
        AND (u.lease_owner IS NULL OR u.due_at > $1 + 86400000)";

/// The earliest of each lane, the ends of leases included.
const NEXT_DUE: &str = "
    SELECT lane, (SELECT due_at FROM users WHERE due_at IS NOT NULL AND users.lane = lanes.lane ORDER BY due_at LIMIT 1)
    FROM unnest(ARRAY[0, 1, 2]::smallint[]) AS lanes (lane)";

const KEEP_PROGRESS: &str = "
    INSERT INTO backfills (connection, started_at, ended_at, asked, done) VALUES ('default', $1, $2, $3, $4)
    ON CONFLICT (connection) DO UPDATE SET
        started_at = excluded.started_at, ended_at = excluded.ended_at, asked = excluded.asked, done = excluded.done";

/// Takes room on disk, and gives it back.
const PROBE: &str = "INSERT INTO probe (filler) VALUES (repeat('x', 1000)); DELETE FROM probe";

/// What happened to one user: so many events, the last of that type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Event<'a> {
    pub(super) user: &'a str,
    pub(super) events: i64,
    pub(super) event_type: &'static str,
}

/// Keeps `events`, which name each user once and are sorted by user, but those of users who were forgotten; gives the earliest time one of them is due,
/// or a lease of one ends, but for the background lane.
pub(super) async fn push(
    connection: &mut PgConnection,
    events: &[Event<'_>],
    key: &ForgettingKey,
    given: Option<Millis>,
    options: &Options,
) -> sqlx::Result<Option<Millis>> {
    let users: Vec<&str> = events.iter().map(|event| event.user).collect();
    let of_each: Vec<Hash> = users.iter().map(|user| key.hash(user)).collect();
    let counts: Vec<i64> = events.iter().map(|event| event.events).collect();
    let types: Vec<&str> = events.iter().map(|event| event.event_type).collect();
    let due: Option<i64> = sqlx::query_scalar(PUSH)
        .bind(given.map(|now| now.0))
        .bind(millis(options.debounce))
        .bind(users)
        .bind(counts)
        .bind(types)
        .bind(of_each)
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

const ENQUEUE: &str = "
    INSERT INTO users (connection, user_id, generation, due_at, event_type, lane)
    SELECT 'default', id, 1, $2, $3, 2 FROM unnest($1::text[]) AS ids (id) ORDER BY id
    ON CONFLICT (connection, user_id) DO UPDATE SET generation = users.generation + 1, due_at = excluded.due_at,
        event_type = excluded.event_type,
        lane = CASE WHEN users.due_at IS NULL THEN 2 ELSE users.lane END, attempts = 0, failing_since = NULL, parked_at = NULL, answer = NULL
    WHERE (users.due_at IS NULL OR users.event_type <> excluded.event_type
            AND users.event_type IN ('backfill --existing-only', 'expiry', 'drift'))
        AND users.lease_owner IS NULL AND coalesce(users.synced_at, 0) < $4
        AND coalesce(users.parked_at, 0) < $4";

/// Makes users due in the background lane.
pub(super) async fn enqueue(
    connection: &mut PgConnection,
    users: &[UserId],
    cause: &str,
    since: Millis,
    now: Millis,
) -> sqlx::Result<u64> {
    let mut users: Vec<&str> = users.iter().map(UserId::as_str).collect();
    users.sort_unstable();
    users.dedup();
    let made =
        sqlx::query(ENQUEUE).bind(users).bind(now.0).bind(cause).bind(since.0).execute(connection).await?;
    Ok(made.rows_affected())
}

/// Keeps how far a backfill has come, in place of what was kept.
pub(super) async fn keep_progress(connection: &mut PgConnection, progress: &Progress) -> sqlx::Result<()> {
    sqlx::query(KEEP_PROGRESS)
        .bind(progress.started_at.0)
        .bind(progress.ended_at.map(|ended| ended.0))
        .bind(storable(&progress.asked))
        .bind(storable(&progress.done))
        .execute(connection)
        .await
        .map(drop)
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
        clockwork::release_all(&mut transaction, now).await?;
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
