//! Reading and writing what all replicas share of both APIs. Who changes it locks both rows, always in the same order and
//! after any row of a user that has to be waited for, until the end of a transaction that is a few statements long.

use sqlx::Row;
use sqlx::postgres::{PgConnection, PgRow};

use super::statements::{server_time, storable};
use crate::clock::Millis;
use crate::queue::Rates;
use crate::queue::apis::{ApiState, Apis, RestColumns};
use crate::queue::command::{Command, News};
use crate::upstream::rest::Shared;
use crate::upstream::{Api, Used};

const READ: &str = "
    SELECT api, used, revision, rest_why, rest_until, rest_doublings, rest_answer, probe_owner, probe_until,
        background_used, paused_at, braked_at
    FROM apis WHERE connection = 'default'";

/// The time is read once the rows are locked, however long that took.
const LOCK: &str = concat!(
    "WITH locked AS MATERIALIZED (
        SELECT api, used, revision, rest_why, rest_until, rest_doublings, rest_answer, probe_owner, probe_until,
            background_used, paused_at, braked_at
        FROM apis WHERE connection = 'default' ORDER BY api FOR UPDATE)
    SELECT *, ",
    server_time!(),
    " AS now FROM locked"
);

const WRITE: &str = "
    UPDATE apis SET used = $2, revision = $3, rest_why = $4, rest_until = $5, rest_doublings = $6, rest_answer = $7,
        probe_owner = $8, probe_until = $9, background_used = $10, paused_at = $11, braked_at = $12
    WHERE connection = 'default' AND api = $1";

/// Both rows under lock, as they were found and as they are to be.
pub(super) struct Locked {
    before: Apis,
    pub(super) apis: Apis,
    /// The queue's time.
    pub(super) now: Millis,
}

/// Reads both, as they are between two transactions.
pub(super) async fn read(connection: &mut PgConnection) -> sqlx::Result<Apis> {
    both(&sqlx::query(READ).fetch_all(connection).await?)
}

/// Locks both until the transaction ends.
pub(super) async fn lock(transaction: &mut PgConnection, given: Option<Millis>) -> sqlx::Result<Locked> {
    let rows = sqlx::query(LOCK).bind(given.map(|now| now.0)).fetch_all(transaction).await?;
    let before = both(&rows)?;
    let mut now = None;
    for row in &rows {
        now = now.max(row.try_get::<Option<i64>, _>("now")?);
    }
    // They are there from the first migration on.
    let now = now.map(Millis).ok_or(sqlx::Error::RowNotFound)?;
    Ok(Locked { apis: before.clone(), before, now })
}

impl Locked {
    /// Writes what has changed.
    pub(super) async fn write(&self, transaction: &mut PgConnection) -> sqlx::Result<()> {
        for api in Api::ALL {
            let state = self.apis.0.of(api);
            if state != self.before.0.of(api) {
                let rest = RestColumns::from(&state.rest);
                sqlx::query(WRITE)
                    .bind(api.as_str())
                    .bind(state.used.0)
                    .bind(rest.revision)
                    .bind(rest.why)
                    .bind(rest.until)
                    .bind(rest.doublings)
                    .bind(rest.answer.as_deref().map(storable))
                    .bind(rest.probe_owner)
                    .bind(rest.probe_until)
                    .bind(state.background_used.0)
                    .bind(state.paused_at.map(|since| since.0))
                    .bind(state.braked_at.map(|since| since.0))
                    .execute(&mut *transaction)
                    .await?;
            }
        }
        Ok(())
    }
}

/// Whether the other replicas are to look at once at what they all know.
pub(super) fn is_for_all_at_once(ask: &Command) -> bool {
    matches!(ask, Command::Know { news: News::Resume | News::Brake | News::Release, .. })
}

/// What an ask comes to, while the rows of both APIs are locked.
pub(super) fn carry_out(ask: &mut Command, apis: &mut Apis, now: Millis, rates: &Rates) {
    match ask {
        Command::TakeCall { api, lane, answer } => answer.hold(apis.take_call(*api, *lane, now, rates)),
        Command::Know { news, answer } => {
            apis.hear(news, now);
            answer.hold(apis.known());
        }
        _ => {}
    }
}

fn both(rows: &[PgRow]) -> sqlx::Result<Apis> {
    let mut apis = Apis::default();
    for row in rows {
        let name: &str = row.try_get("api")?;
        if let Some(api) = Api::ALL.into_iter().find(|api| api.as_str() == name) {
            *apis.0.of_mut(api) = state(row)?;
        }
    }
    Ok(apis)
}

fn state(row: &PgRow) -> sqlx::Result<ApiState> {
    let columns = RestColumns {
        revision: row.try_get("revision")?,
        why: row.try_get("rest_why")?,
        until: row.try_get("rest_until")?,
        doublings: row.try_get("rest_doublings")?,
        answer: row.try_get("rest_answer")?,
        probe_owner: row.try_get("probe_owner")?,
        probe_until: row.try_get("probe_until")?,
    };
    Ok(ApiState {
        used: Used(row.try_get("used")?),
        background_used: Used(row.try_get("background_used")?),
        rest: Shared::from(columns),
        paused_at: row.try_get::<Option<i64>, _>("paused_at")?.map(Millis),
        braked_at: row.try_get::<Option<i64>, _>("braked_at")?.map(Millis),
    })
}
