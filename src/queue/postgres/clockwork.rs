//! What becomes due though nothing asks for it, a step at a time. A row that somebody holds just now is left for the next
//! tick: no step waits for a row, and so any number of replicas may take them at once.

use std::time::Duration;

use sqlx::Row;
use sqlx::postgres::PgConnection;

use super::rounds;
use super::statements::server_time;
use crate::clock::Millis;
use crate::queue::EXPIRY;
use crate::queue::clockwork::{ROUND_WAITING, Round, TICK_STEP};

/// What a change that is held back no longer makes of a row; `$1` is the time. Who was not due anyhow is in the lane of
/// retries: they may be many, and events go first.
macro_rules! released {
    () => {
        "held_back = false,
        lane = CASE WHEN u.due_at IS NULL THEN greatest(u.lane, 1) ELSE u.lane END,
        due_at = CASE WHEN u.lease_owner IS NULL THEN least(u.due_at, $1) ELSE u.due_at END"
    };
}

/// Whether no write is kept from taking tags away.
macro_rules! is_not_braked {
    () => {
        " NOT EXISTS (SELECT FROM apis WHERE connection = 'default' AND braked_at IS NOT NULL) "
    };
}

/// All that a tick has to know to do nothing, in one read.
pub(super) const LOOK: &str = concat!(
    "WITH times AS MATERIALIZED (SELECT ",
    server_time!(),
    " AS now)
    SELECT now,
        EXISTS (SELECT FROM users WHERE connection = 'default' AND changes_at <= now AND lease_owner IS NULL) AS expires,
        $2 AND EXISTS (SELECT FROM users WHERE held_back AND lease_owner IS NULL) AND",
    is_not_braked!(),
    "AS releases,
        (SELECT count(*) FROM (SELECT FROM users WHERE lane = 2 AND due_at <= now LIMIT $3) AS waiting) AS waiting
    FROM times"
);

/// Who is due in a faster lane already is only taken off the clock, and so is who is parked: nobody knows better then
/// than the next event. Whose change is held back keeps what asked for it; and so does a user whom Sesamy does not know yet,
/// because the event may create the contact. A row that is not leased has no sync for an event to come in, so the
/// generation may stay.
pub(super) const EXPIRE: &str = "
    WITH found AS MATERIALIZED (
        SELECT user_id,
            parked_at IS NULL AND due_at IS NULL AND NOT held_back
                AND (email IS NOT NULL OR missing_since IS NULL) AS is_expiry,
            parked_at IS NULL AND (due_at IS NULL OR lane = 2) AS is_made_due
        FROM users WHERE connection = 'default' AND changes_at <= $1 AND lease_owner IS NULL
        ORDER BY changes_at LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED)
    UPDATE users AS u SET
        changes_at = NULL,
        due_at = CASE WHEN is_made_due THEN least(u.due_at, $1) ELSE u.due_at END,
        lane = CASE WHEN is_made_due THEN 1 ELSE u.lane END,
        event_type = CASE WHEN is_expiry THEN $3 ELSE u.event_type END
    FROM found WHERE u.connection = 'default' AND u.user_id = found.user_id
    RETURNING is_made_due";

/// Of all at once, those who are held included: for a start, which waits for them.
pub(super) const RELEASE_ALL: &str = concat!(
    "WITH found AS MATERIALIZED (
        SELECT user_id FROM users WHERE held_back AND",
    is_not_braked!(),
    "   ORDER BY user_id FOR NO KEY UPDATE OF users)
    UPDATE users AS u SET ",
    released!(),
    " FROM found WHERE u.connection = 'default' AND u.user_id = found.user_id AND u.held_back"
);

pub(super) const RELEASE: &str = concat!(
    "WITH found AS MATERIALIZED (
        SELECT user_id FROM users WHERE connection = 'default' AND held_back AND lease_owner IS NULL AND",
    is_not_braked!(),
    "   ORDER BY user_id LIMIT $2 FOR NO KEY UPDATE OF users SKIP LOCKED)
    UPDATE users AS u SET ",
    released!(),
    " FROM found WHERE u.connection = 'default' AND u.user_id = found.user_id"
);

/// The first after `$1` whose change is held back, while tags are kept. It is looked at again for what asked for the sync
/// before; who is due, held or parked is anyhow, or not to be.
pub(super) const CANARY: &str = "
    WITH next AS MATERIALIZED (
        SELECT user_id FROM users
        WHERE connection = 'default' AND held_back AND user_id > $1
            AND EXISTS (SELECT FROM apis WHERE connection = 'default' AND braked_at IS NOT NULL)
        ORDER BY user_id LIMIT 1),
    idle AS MATERIALIZED (
        SELECT user_id FROM users
        WHERE connection = 'default' AND user_id = (SELECT user_id FROM next)
            AND due_at IS NULL AND lease_owner IS NULL AND parked_at IS NULL
        FOR NO KEY UPDATE SKIP LOCKED),
    made AS (
        UPDATE users AS u SET due_at = $2, lane = 2 FROM idle
        WHERE u.connection = 'default' AND u.user_id = idle.user_id
        RETURNING 1)
    SELECT user_id, EXISTS (SELECT FROM made) FROM next";

/// What a tick finds to do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub(super) now: Millis,
    pub(super) expires: bool,
    pub(super) releases: bool,
    /// How many of the background lane are due, counted to [`ROUND_WAITING`].
    waiting: usize,
}

/// What came of one kind of work.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Step {
    pub(super) made_due: u64,
    pub(super) more: bool,
}

/// Looks for what there is to do. `may_release`: whether what was held back may be written now, as far as settings tell.
pub(super) async fn look(
    connection: &mut PgConnection,
    given: Option<Millis>,
    may_release: bool,
) -> sqlx::Result<Seen> {
    let row = sqlx::query(LOOK)
        .bind(given.map(|now| now.0))
        .bind(may_release)
        .bind(ROUND_WAITING as i64)
        .fetch_one(connection)
        .await?;
    Ok(Seen {
        now: Millis(row.try_get("now")?),
        expires: row.try_get("expires")?,
        releases: row.try_get("releases")?,
        waiting: usize::try_from(row.try_get::<i64, _>("waiting")?).unwrap_or(0),
    })
}

/// Makes due whose time has come.
pub(super) async fn expire(connection: &mut PgConnection, now: Millis) -> sqlx::Result<Step> {
    let expire = sqlx::query_scalar(EXPIRE).bind(now.0).bind(TICK_STEP as i64).bind(EXPIRY);
    let found: Vec<bool> = expire.fetch_all(connection).await?;
    let made_due = found.iter().filter(|is_made_due| **is_made_due).count() as u64;
    Ok(Step { made_due, more: found.len() == TICK_STEP })
}

/// Makes due, while the brake is off, whose change was held back; how many they were.
pub(super) async fn release(connection: &mut PgConnection, now: Millis) -> sqlx::Result<u64> {
    let release = sqlx::query(RELEASE).bind(now.0).bind(TICK_STEP as i64);
    Ok(release.execute(connection).await?.rows_affected())
}

/// Looks at somebody again whose change is held back while tags are kept; who that is, and whether that makes them due.
pub(super) async fn send_canary(
    connection: &mut PgConnection,
    after: &str,
    now: Millis,
) -> sqlx::Result<Option<(String, bool)>> {
    let sent = sqlx::query(CANARY).bind(after).bind(now.0).fetch_optional(connection).await?;
    sent.map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).transpose()
}

/// The same of all, whoever holds them.
pub(super) async fn release_all(connection: &mut PgConnection, now: Millis) -> sqlx::Result<()> {
    sqlx::query(RELEASE_ALL).bind(now.0).execute(connection).await.map(drop)
}

/// Begins a round where it is time for one, or takes the one under way on; what came of it, and where it stands.
pub(super) async fn go_on(
    connection: &mut PgConnection,
    seen: Seen,
    every: Duration,
) -> sqlx::Result<(Step, Option<Round>)> {
    let Seen { now, waiting, .. } = seen;
    match rounds::read(&mut *connection).await? {
        Some(round) if round.is_over(now, every) => rounds::begin(connection, Some(&round), now).await,
        Some(round) if round.next(now, every, waiting) == 0 => Ok((Step::default(), Some(round))),
        Some(_) => rounds::pass(connection, now, every).await,
        None => rounds::begin(connection, None, now).await,
    }
}
