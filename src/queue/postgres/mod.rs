//! The queue in a Postgres database, for any number of processes.
//!
//! One task keeps events, on a connection of its own ([`mod@events`]): an event waits for other events and for nothing else.
//! Transactions ([`transactions`]) and questions ([`reader`]) share a small pool. Replicas wake each other ([`listener`]).
//! The time is the database's own.
//!
//! What made it fast, measured: one statement for all events that wait, so that many commits are one; and an event of a
//! user that is due already changes no index.
//!
//! Promises, each a test of that name: `a_cut_database_loses_and_doubles_nothing`,
//! `transactions_and_pushes_side_by_side_lose_no_update`, `no_statement_reads_a_whole_table`.

mod connection;
mod events;
mod fault;
mod listener;
mod open;
mod reader;
mod rows;
mod schema;
#[cfg(test)]
mod tests;
mod transactions;
mod url;

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};

use self::connection::set_up_by_index;
use self::events::Events;
use self::fault::{Fault, Tries, within};
use self::listener::Notifier;
use self::reader::answer;
use self::transactions::run;
use super::erasure_key::ErasureKey;
use super::store::{Answer, Change, Look, Push, Question, Seen, Store};
use super::wake::Wake;
use super::{QueueError, Role};
use crate::clock::Clock;

pub use open::PostgresError;
pub use url::{Place, PostgresUrl};

/// Connections for transactions and questions, and one that listens.
const CONNECTIONS: u32 = 5;

/// Values that only tests change. The times are the machine's, not the queue's clock's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tuning {
    /// How long a statement may take, and the whole of a transaction.
    pub(super) answer: Duration,
    /// How long a new connection may take.
    pub(super) connect: Duration,
    /// The longest wait between two connections that fail.
    pub(super) longest_wait: Duration,
    /// How often a small write tries whether events can be kept again.
    pub(super) probe_every: Duration,
    /// How long the connection for events may be silent.
    pub(super) silence: Duration,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            answer: Duration::from_secs(4),  // a sender waits a few seconds for its answer
            connect: Duration::from_secs(4), // without a limit, a connection that hangs would be tried for ever
            longest_wait: Duration::from_secs(2),
            probe_every: Duration::from_secs(2),
            silence: Duration::from_secs(30), // networks drop a silent connection after minutes, without a word
        }
    }
}

/// A queue's rows in a Postgres database. To drop it is to close it.
#[derive(Debug)]
pub(super) struct PostgresStore {
    events: Events,
    /// For transactions and questions.
    pool: PgPool,
    notifier: Notifier,
    clock: Clock,
    tuning: Tuning,
}

/// Opens the database at `url`; a service brings its schema up to date. From now on `clock` follows the database's time, and
/// `wake` is called when another replica reports that a row is due.
///
/// # Errors
/// [`PostgresError`] says what is wrong with the database and what to do.
pub(super) async fn open(
    url: &PostgresUrl,
    role: Role,
    debounce: Duration,
    clock: Clock,
    wake: Arc<Wake>,
    tuning: Tuning,
) -> Result<(PostgresStore, ErasureKey), PostgresError> {
    let opened = open::open(url, role, &clock, schema::STEPS).await?;
    let connect = PgConnectOptions::clone(&url.options);
    let pool = pool(connect.clone(), tuning);
    let replicas = listener::start(&pool, opened.channel, wake, clock.clone(), tuning).await;
    let notifier = replicas.notifier.clone();
    let events = events::start(connect, pool.clone(), replicas, debounce, clock.clone(), tuning);
    Ok((PostgresStore { events, pool, notifier, clock, tuning }, opened.erasure_key))
}

impl PostgresStore {
    /// Runs `work` on a connection of the pool, within the time limit.
    async fn on_pool<T>(
        &self,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let mut connection = self.pool.acquire().await?;
        let result = within(self.tuning, work(&mut connection)).await;
        if result.as_ref().is_err_and(Fault::ends_connection) {
            drop(connection.detach()); // the pool would wait for it
        }
        result
    }
}

impl Store for PostgresStore {
    async fn push(&self, event: Push) -> Result<(), QueueError> {
        self.events.keep(event).await
    }

    async fn transact<A, D>(&self, look: Look, decide: D) -> Result<A, QueueError>
    where
        A: Send + 'static,
        D: Fn(&Seen) -> (Change, A) + Send + Sync + 'static,
    {
        self.events.is_open()?;
        let mut tries = Tries::default();
        loop {
            let running = self.on_pool(async |connection| run(connection, &look, &self.clock, &decide).await);
            match running.await {
                Ok((answer, made_due)) => {
                    made_due.into_iter().for_each(|at| self.notifier.due_at(at));
                    return Ok(answer);
                }
                Err(fault) if tries.another(&fault) => {}
                Err(fault) => return Err(fault.into()),
            }
        }
    }

    async fn ask(&self, question: Question) -> Result<Answer, QueueError> {
        self.events.is_open()?;
        let mut tries = Tries::default();
        loop {
            let now = self.clock.now();
            match self.on_pool(async |connection| answer(connection, &question, now).await).await {
                Err(fault) if tries.another(&fault) => {}
                answered => return answered.map_err(QueueError::from),
            }
        }
    }

    fn accepting(&self) -> bool {
        self.events.accepting()
    }

    async fn close(&self) {
        self.events.close().await;
    }
}

fn pool(connect: PgConnectOptions, tuning: Tuning) -> PgPool {
    PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .acquire_timeout(tuning.answer + tuning.connect) // for a transaction before, and for a connection
        .idle_timeout(Duration::from_secs(60))
        .after_connect(move |connection, _| Box::pin(set_up_by_index(connection, tuning.answer)))
        .connect_lazy_with(connect)
}
