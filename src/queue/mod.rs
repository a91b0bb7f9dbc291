//! The work queue: one row per user, due or not.
//!
//! A row is a user that is known, not a message: an event only makes the user due, so a user whose event came twice,
//! late or in a burst is synced once. What is done at a due time, and when to try again, is the worker's business.
//!
//! ```text
//!            push                    lease                    settle
//!  nothing ───────▶ due at now+debounce ──▶ leased until the lease's end ──▶ nothing to do, due later, or parked
//!  to do            (or sooner)      ▲                       │
//!                                    └── nobody settled it ──┘  taken over: one attempt
//! ```
//!
//! Promises, each a test of that name: `what_was_pushed_is_still_there_after_a_restart`,
//! `an_event_during_a_sync_makes_the_user_due_again`, `two_leases_of_one_user_never_overlap`,
//! `a_late_settlement_changes_nothing`, `the_queue_does_what_the_model_does`.
//!
//! Behind [`Queue`] is one writer that takes whatever waits, commits it together, and answers once that is done
//! (`command.rs` is what it is sent): a file's for one process, or a database's for several. Times are the [`Clock`]'s,
//! in milliseconds.

mod apis;
mod command;
mod error;
mod postgres;
mod sqlite;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, oneshot, watch};

use futures_util::future::BoxFuture;

use crate::clock::{Clock, Millis};
use crate::upstream::rest::{Change, Shared};
use crate::upstream::{Api, Meter, PerApi, Turn};
use crate::user::UserId;

pub use apis::Rates;
use command::{Answer, Command, Ends, Push};
pub use error::{Damage, OpenError, QueueError};
pub use postgres::{Place, PostgresError, PostgresUrl};

/// The queue of users. Clones share one store; when the last is dropped, the store finishes what waits and closes.
#[derive(Debug, Clone)]
pub struct Queue(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    ends: Ends,
    counter: Counter,
    clock: Clock,
    last_census: Mutex<Option<(Millis, Census)>>,
}

/// The store, as it is counted: beside the writer, so that counting never holds up an event.
#[derive(Debug, Clone)]
enum Counter {
    Sqlite(sqlite::Counter),
    Postgres(postgres::Counter),
}

/// What the queue has to know of the settings.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How long a burst of events is collected before the user is due (`sync.debounce`).
    pub debounce: Duration,
    /// How long a lease lasts: longer than any sync can take.
    pub lease: Duration,
    /// The longest that one call to an API takes (`sync.request_timeout`): so long after a start, no write of the
    /// process before can still be on its way.
    pub request_timeout: Duration,
    /// The furthest that a row may be due from now: the longest of the wait after a failure, the lease and the debounce. A
    /// start brings back to it whatever is due later, which a clock that was wrong must have written.
    pub furthest_due: Duration,
    /// Whether syncs only tell what they would write (`sync.dry_run`). A start without it makes the users due whose
    /// change was held back.
    pub dry_run: bool,
    /// The rate of both APIs, which all processes on one store keep together.
    pub rates: Rates,
}

/// A user under lease: nobody else syncs this user until the lease is settled or ends.
#[derive(Debug, Clone)]
pub struct Job {
    /// Whom to sync.
    pub user: UserId,
    /// The type of the event that came last, for the log.
    pub event_type: String,
    /// Failures counted since the last sync that ended well. A lease that nobody settled is one of them.
    pub attempts: u32,
    /// When the first of these failures was; none where there is none.
    pub failing_since: Option<Millis>,
    /// How many leases in a row before this one were never settled: their process ended, or hung, in the middle.
    pub unsettled: u32,
    /// The random name of this lease.
    pub lease_owner: i64,
    /// The row's generation when it was leased.
    pub generation: i64,
    /// When the lease began, by the queue's clock: its end is counted from there, however late the answer comes.
    pub leased_at: Millis,
    /// The calls that were taken for it; those that are left when it is settled are given back, if that is soon.
    pub calls: PerApi<u32>,
    /// Whether it tries if an API is back.
    pub is_probe: bool,
}

/// What came of asking for leases.
#[derive(Debug, Clone, Default)]
pub struct Leased {
    /// Who was leased, the longest due first.
    pub jobs: Vec<Job>,
    /// Where more might be due, but an API rests, its rate is used up, or somebody else holds the row just now: when to
    /// ask again, by the queue's clock.
    pub not_before: Option<Millis>,
    /// The rests of both APIs, as all processes know them.
    pub rests: PerApi<Shared>,
}

/// How a lease ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settlement {
    /// The sync is done; `held_back` marks a change that `sync.dry_run` kept from being written.
    Done {
        /// Whether there was a change that was not written.
        held_back: bool,
    },
    /// Try again at `at`.
    Retry {
        /// When.
        at: Millis,
        /// Whether this failure is the user's and counts as an attempt.
        counts: bool,
        /// What failed, personal data masked.
        error: String,
    },
    /// No retry can mend it: keep the row, visible, until the next event or an operator.
    Park {
        /// What failed, personal data masked.
        error: String,
        /// What is the same for all who fail for this reason (see [`Queue::give_back`]).
        answer: String,
    },
    /// Not done, and nobody's fault (shutdown): due at once, whether or not an event came meanwhile.
    Release,
    /// Cut off in the middle of a write: keep the lease until `until`, when the write is over one way or the other.
    /// Who takes it over then counts an attempt.
    Abandon {
        /// When the lease ends.
        until: Millis,
    },
}

/// What came of a settlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// As asked.
    AsAsked,
    /// An event came during the sync: the row is due again at now + debounce instead.
    DueAgain,
    /// The lease had ended and the row is somebody else's now: nothing was changed.
    LeaseLost,
}

/// How many rows are in which state, each counted to [`Census::LIMIT`] at the most.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Census {
    /// Due now: what a lease would take, leases that ended among it; while an API rests, who waits for its end.
    pub due: u64,
    /// Under a lease that has not ended.
    pub leased: u64,
    /// Due later: debounce, backoff.
    pub scheduled: u64,
    /// Parked.
    pub parked: u64,
    /// How long the oldest due row has been due, in milliseconds.
    pub oldest_due_ms: u64,
}

impl Census {
    /// The highest number that is counted.
    pub const LIMIT: u64 = 10_000;
    /// The rows are counted no more often than this.
    pub const EVERY: Duration = Duration::from_secs(15);
}

impl Queue {
    /// Opens the SQLite file at `path`, making it and its folder where they are missing, and ends the leases of the
    /// process before at the latest one `request_timeout` from now.
    ///
    /// Blocks: for the length of a few file operations, and longer where a schema change is due.
    /// `seed` names the leases; two processes should not have the same.
    ///
    /// # Errors
    /// [`OpenError`] tells what is wrong with the file and what to do. Nothing is replaced, ever.
    pub fn open_sqlite(path: &Path, options: Options, clock: Clock, seed: u64) -> Result<Self, OpenError> {
        Self::open_sqlite_tuned(path, options, clock, seed, sqlite::Tuning::default())
    }

    fn open_sqlite_tuned(
        path: &Path,
        options: Options,
        clock: Clock,
        seed: u64,
        tuning: sqlite::Tuning,
    ) -> Result<Self, OpenError> {
        let (ends, counter) = sqlite::open(path, options, clock.clone(), seed, tuning)?;
        let last_census = Mutex::new(None);
        Ok(Self(Arc::new(Inner { ends, counter: Counter::Sqlite(counter), clock, last_census })))
    }

    /// Opens the Postgres database at `url`, making the queue's tables where they are missing. Others may have it open: their
    /// leases are left alone, and `clock` keeps to the database's time from now on.
    ///
    /// `seed` names the leases; two processes should not have the same.
    ///
    /// # Errors
    /// [`OpenError`] tells what is wrong with the database and what to do.
    pub async fn open_postgres(
        url: &PostgresUrl,
        options: Options,
        clock: Clock,
        seed: u64,
    ) -> Result<Self, OpenError> {
        Self::open_postgres_tuned(url, options, clock, seed, postgres::Tuning::default()).await
    }

    async fn open_postgres_tuned(
        url: &PostgresUrl,
        options: Options,
        clock: Clock,
        seed: u64,
        tuning: postgres::Tuning,
    ) -> Result<Self, OpenError> {
        let (ends, counter) = postgres::open(url, options, clock.clone(), seed, tuning).await?;
        let last_census = Mutex::new(None);
        Ok(Self(Arc::new(Inner { ends, counter: Counter::Postgres(counter), clock, last_census })))
    }

    /// Keeps that something changed for `user`; returns once that is committed and synced to disk.
    ///
    /// A caller that goes away before the answer leaves it open whether the event was kept.
    ///
    /// # Errors
    /// The event was not kept, as far as the store can tell.
    pub async fn push(&self, user: &UserId, event_type: &'static str) -> Result<(), QueueError> {
        let (answer, receiver) = Answer::holding(());
        self.ask(Command::Push(Push { user: user.clone(), event_type, answer }), receiver).await
    }

    /// Leases up to `most` users that are due, the longest due first: none while an API rests, no more than the rates
    /// have calls for, and of all processes together one alone where it is to be seen whether an API is back. Such a
    /// probe is a user whose last sync did not fail, if there is one, so that users who fail by themselves do not stand
    /// for the API.
    ///
    /// # Errors
    /// The store failed; nothing is leased.
    pub async fn lease(&self, most: usize) -> Result<Leased, QueueError> {
        let (answer, receiver) = Answer::open();
        self.ask(Command::Lease { most, answer }, receiver).await
    }

    /// Tells all processes what this one has found of `api`; gives what they all know then.
    ///
    /// # Errors
    /// The store failed; nobody was told.
    pub async fn tell_rest(&self, api: Api, change: Change) -> Result<PerApi<Shared>, QueueError> {
        let (answer, receiver) = Answer::open();
        self.ask(Command::Rests { change: Some((api, change)), answer }, receiver).await
    }

    /// The rests of both APIs, as all processes know them.
    ///
    /// # Errors
    /// The store failed.
    pub async fn rests(&self) -> Result<PerApi<Shared>, QueueError> {
        let (answer, receiver) = Answer::open();
        self.ask(Command::Rests { change: None, answer }, receiver).await
    }

    /// Ends a lease, and gives back the calls that are left of the job's.
    ///
    /// # Errors
    /// The store failed; the lease stands until its end.
    pub async fn settle(&self, job: &Job, how: Settlement) -> Result<Settled, QueueError> {
        let (answer, receiver) = Answer::open();
        self.ask(Command::Settle { job: job.clone(), how, answer }, receiver).await
    }

    /// Takes back what an outage did to users: one attempt for each time that `users` names somebody, whether under lease
    /// again by now or not; and whoever of all rows is parked with `answer` is due at `due` again, with no attempts
    /// counted.
    ///
    /// # Errors
    /// The store failed; nothing was changed.
    pub async fn give_back(
        &self,
        users: &[UserId],
        answer: Option<&str>,
        due: Millis,
    ) -> Result<(), QueueError> {
        let (users, parked_with) = (users.to_vec(), answer.map(str::to_owned));
        let (answer, receiver) = Answer::holding(());
        self.ask(Command::GiveBack { users, parked_with, due, answer }, receiver).await
    }

    /// When the next row is due (or a lease ends); none where nothing is. Up to date before a call is answered.
    #[must_use]
    pub fn next_due(&self) -> watch::Receiver<Option<Millis>> {
        self.0.ends.next_due.clone()
    }

    /// Counts the rows, at most once in [`Census::EVERY`]; between, the last answer.
    ///
    /// # Errors
    /// The store could not be read.
    pub async fn census(&self) -> Result<Census, QueueError> {
        if self.0.ends.is_closed() {
            return Err(QueueError::Closed);
        }
        let mut last = self.0.last_census.lock().await;
        let now = self.0.clock.now();
        if let Some((at, census)) = *last
            && now.since(at) < Census::EVERY
        {
            return Ok(census);
        }
        let census = self.0.counter.count(now).await?;
        *last = Some((now, census));
        Ok(census)
    }

    /// Whether the last event could be kept. While not, a small write every 2 s tries whether events can be again.
    #[must_use]
    pub fn accepting(&self) -> bool {
        self.0.ends.accepting()
    }

    /// Finishes what waits and closes the store: the file is whole, and another process may open it.
    pub async fn close(&self) {
        self.0.ends.close().await;
    }

    async fn ask<T>(
        &self,
        command: Command,
        receiver: oneshot::Receiver<Result<T, QueueError>>,
    ) -> Result<T, QueueError> {
        self.0.ends.send(command).await?;
        // The writer answers everything that it takes; if it does not, it is gone.
        receiver.await.unwrap_or(Err(QueueError::Closed))
    }
}

impl Meter for Queue {
    fn take_call(&self, api: Api) -> BoxFuture<'_, Result<Turn, String>> {
        Box::pin(async move {
            let (answer, receiver) = Answer::open();
            let turn = self.ask(Command::TakeCall { api, answer }, receiver).await;
            turn.map_err(|error| error.to_string())
        })
    }
}

impl Counter {
    async fn count(&self, now: Millis) -> Result<Census, QueueError> {
        match self {
            Self::Sqlite(counter) => counter.count(now).await,
            Self::Postgres(counter) => counter.count(now).await,
        }
    }
}
