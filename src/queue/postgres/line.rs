//! One connection that is made anew after it was lost: not at every call, so that a database that is away is not
//! stormed, and a caller meanwhile is told at once rather than kept waiting.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection};
use tokio::time::{Instant, timeout};

use super::Tuning;
use super::fault::Fault;

/// The wait after the first connection that failed; it doubles.
const FIRST_WAIT: Duration = Duration::from_millis(50);

/// What every session needs: one schema, so that no name is ever found in another; commits that are on disk when they
/// are answered; each statement sees what was committed before it; no compiling of statements that are done sooner than
/// compiled; and an end to what hangs. Who waits for a row of somebody else's gives up before the statement would, and after
/// the transaction of a replica that has vanished is ended.
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

/// Every statement goes by keys through an index. Left to itself, the planner takes one whose `LIMIT` it does
/// not see for a tenth of the table, and reads all of it: 1.4 s at a million rows, for what takes a millisecond.
const GO_BY_INDEX: &str = "
    SELECT set_config(name, 'off', false)
    FROM unnest(ARRAY['enable_seqscan', 'enable_bitmapscan', 'enable_hashjoin', 'enable_mergejoin']) AS s (name)";

/// Sets a new session up; `limit` is the longest that a statement may take on the server.
pub(super) async fn set_up(connection: &mut PgConnection, limit: Duration) -> Result<(), sqlx::Error> {
    let millis = |time: Duration| format!("{}ms", time.as_millis());
    let limits = [limit, limit * 3 / 4, limit / 2];
    let set_up = limits.into_iter().fold(sqlx::query(SET_UP), |query, limit| query.bind(millis(limit)));
    set_up.persistent(false).execute(connection).await.map(drop)
}

/// Sets a new session up for statements that go by index.
pub(super) async fn set_up_by_index(
    connection: &mut PgConnection,
    limit: Duration,
) -> Result<(), sqlx::Error> {
    set_up(connection, limit).await?;
    sqlx::query(GO_BY_INDEX).persistent(false).execute(connection).await.map(drop)
}

/// A connection, there or not.
pub(super) struct Line {
    options: PgConnectOptions,
    tuning: Tuning,
    connection: Option<PgConnection>,
    /// Whether the connection has carried a statement: a server may let us in and then take nothing.
    is_proven: bool,
    failures: u32,
    not_before: Instant,
    lost_at: Instant,
    why: String,
}

impl Line {
    /// A line that connects when it is first used.
    pub(super) fn new(options: PgConnectOptions, tuning: Tuning) -> Self {
        let now = Instant::now();
        Self {
            options,
            tuning,
            connection: None,
            is_proven: false,
            failures: 0,
            not_before: now,
            lost_at: now,
            why: String::new(),
        }
    }

    /// The connection; where there is none and the time for another has come, a new one.
    pub(super) async fn connection(&mut self) -> Result<&mut PgConnection, Fault> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        Ok(self.connection.insert(connection))
    }

    /// Notes what came of a statement: a connection that it ended is closed, and one that carried it is proven.
    pub(super) fn after<T>(&mut self, came: Result<T, Fault>) -> Result<T, Fault> {
        if let Some(fault) = came.as_ref().err().filter(|fault| fault.ends_connection()) {
            if self.connection.take().is_some() {
                self.lost(fault);
            }
        } else if self.connection.is_some() && !self.is_proven {
            if self.failures > 0 {
                tracing::info!("connected to the queue's database again");
            }
            (self.is_proven, self.failures) = (true, 0);
        }
        came
    }

    /// How long there has been no connection that carries anything.
    pub(super) fn away(&self) -> Duration {
        if self.connection.is_some() && self.is_proven { Duration::ZERO } else { self.lost_at.elapsed() }
    }

    /// When another connection may be tried.
    pub(super) fn not_before(&self) -> Instant {
        self.not_before
    }

    /// Says goodbye, so that the server logs no broken connection.
    pub(super) async fn close(self) {
        if let Some(connection) = self.connection {
            // A server that does not answer has been told all the same.
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
        if self.is_proven {
            self.lost_at = Instant::now();
        }
        match fault {
            // A server that hangs would make each caller wait in turn.
            Fault::Late => {
                self.put_off(self.tuning.longest_wait, "the database does not answer".to_owned());
            }
            // A new one may be lost by chance, but not one after the other.
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
