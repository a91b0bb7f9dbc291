//! Sessions, and one connection that is replaced after it was lost: not at every call, so that a database that is away
//! is not stormed, and a caller meanwhile fails at once rather than waits.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection};
use tokio::time::{Instant, timeout};

use super::Tuning;
use super::fault::{Fault, within};
use crate::clock::{Clock, Millis};

/// The wait after the first connection that failed; it doubles.
const FIRST_WAIT: Duration = Duration::from_millis(50);

/// What every session needs: one schema, so that no name is ever found in another; commits that are on disk when they
/// are answered; statements that see what was committed before them; no compiling of statements that take less time than
/// that; and an end to what hangs. A session that waits for a lock gives up before the statement would, and after the
/// transaction of a replica that has vanished is ended.
const SET_UP: &str = "
    SELECT set_config('search_path', coalesce(quote_ident(current_schema()), ''), false),
        set_config('synchronous_commit',
            CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on'
                ELSE current_setting('synchronous_commit') END, false),
        set_config('default_transaction_isolation', 'read committed', false),
        set_config('jit', 'off', false),
        set_config('statement_timeout', $1, false),
        set_config('lock_timeout', $2, false),
        set_config('idle_in_transaction_session_timeout', $3, false)";

/// Every statement goes by keys through an index. Left to itself, the planner takes a statement whose `LIMIT` it cannot
/// see for a tenth of the table, and reads all of it: 1.4 s at a million rows, for what takes a millisecond.
const GO_BY_INDEX: &str = "
    SELECT set_config(name, 'off', false)
    FROM unnest(ARRAY['enable_seqscan', 'enable_bitmapscan', 'enable_hashjoin', 'enable_mergejoin']) AS s (name)";

/// Sets a new session up; `limit` is the longest that a statement may take on the server.
pub(super) async fn set_up(connection: &mut PgConnection, limit: Duration) -> sqlx::Result<()> {
    let millis = |time: Duration| format!("{}ms", time.as_millis());
    let limits = [limit, limit * 3 / 4, limit / 2];
    let set_up = limits.into_iter().fold(sqlx::query(SET_UP), |query, limit| query.bind(millis(limit)));
    set_up.persistent(false).execute(connection).await.map(drop)
}

/// Sets a new session up for statements that go by index.
pub(super) async fn set_up_by_index(connection: &mut PgConnection, limit: Duration) -> sqlx::Result<()> {
    set_up(connection, limit).await?;
    sqlx::query(GO_BY_INDEX).persistent(false).execute(connection).await.map(drop)
}

/// The queue's time: the database's, unless `clock` is moved by hand.
pub(super) async fn now(connection: &mut PgConnection, clock: &Clock) -> sqlx::Result<Millis> {
    if let Some(given) = clock.given() {
        return Ok(given);
    }
    let now = sqlx::query_scalar("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint");
    now.fetch_one(connection).await.map(Millis)
}

/// A connection that is replaced when it was lost.
pub(super) struct Reconnecting {
    options: PgConnectOptions,
    tuning: Tuning,
    connection: Option<PgConnection>,
    /// Whether the connection has carried a statement: a server may accept connections and then fail every statement.
    is_proven: bool,
    failures: u32,
    not_before: Instant,
    why: String,
}

impl Reconnecting {
    /// Connects when it is first used.
    pub(super) fn new(options: PgConnectOptions, tuning: Tuning) -> Self {
        Self {
            options,
            tuning,
            connection: None,
            is_proven: false,
            failures: 0,
            not_before: Instant::now(),
            why: String::new(),
        }
    }

    /// Runs `work` on the connection, within the time limit. Fails at once while there is no connection and the time for the
    /// next attempt has not come.
    pub(super) async fn run<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut PgConnection) -> sqlx::Result<T>,
    ) -> Result<T, Fault> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let result = within(self.tuning, work(self.connection.insert(connection))).await;
        match &result {
            Err(fault) if fault.ends_connection() => self.lost(fault),
            _ if !self.is_proven => {
                if self.failures > 0 {
                    tracing::info!("connected to the queue's database again");
                }
                (self.is_proven, self.failures) = (true, 0);
            }
            _ => {}
        }
        result
    }

    /// Says goodbye, so that the server logs no broken connection.
    pub(super) async fn close(self) {
        if let Some(connection) = self.connection {
            // A server that does not answer has the message all the same.
            let _ = timeout(Duration::from_secs(1), connection.close()).await;
        }
    }

    async fn connect(&mut self) -> Result<PgConnection, Fault> {
        if Instant::now() < self.not_before {
            return Err(Fault::Lost(self.why.clone()));
        }
        let connect = async {
            let mut connection = self.options.connect().await?;
            set_up_by_index(&mut connection, self.tuning.answer).await?;
            Ok::<_, sqlx::Error>(connection)
        };
        let why = match timeout(self.tuning.connect, connect).await {
            Ok(Ok(connection)) => {
                self.is_proven = false;
                return Ok(connection);
            }
            Ok(Err(error)) => format!("no connection to the database: {error}"),
            Err(_) => "no connection to the database: it does not answer".to_owned(),
        };
        self.failed(why.clone());
        Err(Fault::Lost(why))
    }

    fn lost(&mut self, fault: &Fault) {
        self.connection = None;
        match fault {
            // A server that hangs would make each caller wait in turn.
            Fault::Late => {
                self.put_off(self.tuning.longest_wait, "the database does not answer".to_owned());
            }
            // A new connection may be lost by chance, but not one after the other.
            Fault::Lost(_) if !self.is_proven && self.failures == 0 => self.failures = 1,
            Fault::Lost(why) if !self.is_proven => self.failed(why.clone()),
            _ => {}
        }
    }

    /// A connection that did not come about, or was of no use: the next one waits, longer each time.
    fn failed(&mut self, why: String) {
        let wait =
            FIRST_WAIT.saturating_mul(2_u32.saturating_pow(self.failures)).min(self.tuning.longest_wait);
        self.failures = self.failures.saturating_add(1);
        self.put_off(wait, why);
    }

    fn put_off(&mut self, wait: Duration, why: String) {
        self.not_before = Instant::now() + wait;
        self.why = why;
    }
}
