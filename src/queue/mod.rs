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
//! Each rule is one pure function on a row (`row.rs`) or on a document that all processes share (`apis.rs`). A store (`store.rs`)
//! loads and saves: a file for one service, or a database for several. Times are the [`Clock`]'s, in milliseconds. A method that
//! fails has changed nothing, unless its documentation says otherwise.
//!
//! Promises, each a test of that name: `what_was_pushed_is_still_there_after_a_restart`,
//! `an_event_during_a_sync_makes_the_user_due_again`, `two_leases_of_one_user_never_overlap`,
//! `a_late_settlement_changes_nothing`, `all_stores_do_the_same_on_sqlite`, `all_stores_do_the_same_on_postgres`.

mod accepting;
mod activity;
mod apis;
mod cause;
mod documents;
mod erasure_key;
mod error;
mod error_policy;
mod history;
mod lane;
mod lease;
mod operators;
mod postgres;
mod removal_guard;
mod row;
mod settle;
mod sql;
mod sqlite;
mod store;
#[cfg(test)]
mod tests;
mod upkeep;
mod views;
mod wake;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::clock::{Clock, Millis};
use crate::user::UserId;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::watch;

use activity::Activity;
pub use activity::{Counted, Minute, MinuteCount};
pub use apis::{Rates, SharedState};
pub use cause::{AGAIN, DRIFT, EXISTING_ONLY, EXPIRY, FORGET, MISSING, RESTRICTED};
use documents::GUARD;
use erasure_key::ErasureKey;
pub use error::{Damage, Moved, OpenError, QueueError};
pub use error_policy::{Failed, RetryPolicy};
pub(crate) use error_policy::{POISON_PILL, outcome as outcome_of_failure};
pub use history::{Entry, HistoryRow, LogFilter};
pub use lane::Lane;
pub use lease::{Job, LeaseName, LeaseRequest, Leased, Slots, UserLease};
pub use operators::{Backlog, Enqueued, LaneMeter};
pub use postgres::{Place, PostgresError, PostgresUrl};
use removal_guard::Guard;
pub use removal_guard::GuardState;
pub use row::RowState;
pub use settle::{Done, Settled, SettledSync, Settlement, SyncEnd};
use store::{Answer, Change, Look, Push, Question, Seen, Store};
pub use upkeep::Checked;
pub use views::{Census, Filter, ParkedGroup, Retry, UserRow};
use wake::Wake;

/// The queue of users. Clones share one store; when the last is dropped, the store finishes what waits and closes.
#[derive(Debug, Clone)]
pub struct Queue(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    backend: Backend,
    /// Whether one service has the store to itself.
    is_alone: bool,
    role: Role,
    options: QueuePolicy,
    clock: Clock,
    erasure_key: ErasureKey,
    wake: Arc<Wake>,
    activity: Activity,
    guard: removal_guard::LastRead,
    names: Mutex<StdRng>,
    is_closed: std::sync::atomic::AtomicBool,
    /// Whether [`Queue::start`] has succeeded; of a command, true from the beginning.
    is_started: watch::Sender<bool>,
    last_census: Mutex<Option<(Millis, Census)>>,
}

/// The kinds of stores.
#[derive(Debug)]
enum Backend {
    Sqlite(sqlite::SqliteStore),
    Postgres(postgres::PostgresStore),
    #[cfg(test)]
    Memory(tests::memory_store::MemoryStore),
}

macro_rules! on_backend {
    ($backend:expr, $store:ident => $call:expr) => {
        match &$backend {
            Backend::Sqlite($store) => $call,
            Backend::Postgres($store) => $call,
            #[cfg(test)]
            Backend::Memory($store) => $call,
        }
    };
}

/// The kind of process that opens a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The service. It has a file to itself.
    Service,
    /// A command, beside a service that may be running: nothing is changed by the opening itself.
    Command {
        /// Whether a missing store is made; otherwise it is an error.
        may_create: bool,
    },
}

/// The settings that the queue's rules depend on.
#[derive(Debug, Clone, Copy)]
pub struct QueuePolicy {
    /// How long a burst of events is collected before the user is due (`sync.debounce`).
    pub debounce: Duration,
    /// How long a lease lasts: longer than any sync can take.
    pub lease: Duration,
    /// The longest that one call to an API takes (`sync.request_timeout`): this long after a start, no write of the process
    /// before can still be on its way.
    pub request_timeout: Duration,
    /// The furthest that a row may be due from now: the longest of the wait after a failure, the lease and the debounce. A
    /// start brings back to it whatever is due later, which a clock that was wrong must have written.
    pub furthest_due: Duration,
    /// Whether syncs write nothing (`sync.dry_run`). Without it, users whose change was held back become due.
    pub dry_run: bool,
    /// The rate of both APIs, which all processes on one store keep together.
    pub rates: Rates,
}

impl Queue {
    /// Opens the SQLite file at `path`. A service makes a missing file or folder, and keeps every other service out.
    ///
    /// Blocks: for the length of a few file operations, and longer where a schema change is due.
    /// `seed` names the leases; two processes should not have the same.
    ///
    /// # Errors
    /// [`OpenError`] says what is wrong with the file and what to do. Nothing is replaced, ever.
    pub fn open_sqlite(
        path: &Path,
        role: Role,
        options: QueuePolicy,
        clock: Clock,
        seed: u64,
    ) -> Result<Self, OpenError> {
        let tuning = sqlite::Tuning::default();
        let (store, key) = sqlite::open(path, role, options.debounce, clock.clone(), tuning)?;
        Ok(Self::over(Backend::Sqlite(store), key, true, (role, options, clock, seed), Arc::default()))
    }

    /// Opens the Postgres database at `url`; a service makes missing tables. Leases of other processes are left alone, and
    /// `clock` keeps to the database's time from now on.
    ///
    /// `seed` names the leases; two processes should not have the same.
    ///
    /// # Errors
    /// [`OpenError`] says what is wrong with the database and what to do.
    pub async fn open_postgres(
        url: &PostgresUrl,
        role: Role,
        options: QueuePolicy,
        clock: Clock,
        seed: u64,
    ) -> Result<Self, OpenError> {
        let (tuning, wake) = (postgres::Tuning::default(), Arc::<Wake>::default());
        let opening = postgres::open(url, role, options.debounce, clock.clone(), Arc::clone(&wake), tuning);
        let (store, key) = opening.await?;
        Ok(Self::over(Backend::Postgres(store), key, false, (role, options, clock, seed), wake))
    }

    /// A queue in memory, over what another one has kept; of one service, or of several as far as a start goes.
    #[cfg(test)]
    fn in_memory(
        role: Role,
        options: QueuePolicy,
        clock: Clock,
        kept: Arc<Mutex<tests::memory_store::Kept>>,
        is_alone: bool,
        seed: u64,
    ) -> Self {
        let store = tests::memory_store::MemoryStore::new(clock.clone(), options.debounce, kept);
        let key = ErasureKey::new(&[7; 32]);
        Self::over(Backend::Memory(store), key, is_alone, (role, options, clock, seed), Arc::default())
    }

    fn over(
        backend: Backend,
        erasure_key: ErasureKey,
        is_alone: bool,
        (role, options, clock, seed): (Role, QueuePolicy, Clock, u64),
        wake: Arc<Wake>,
    ) -> Self {
        Self(Arc::new(Inner {
            backend,
            is_alone,
            role,
            options,
            clock,
            erasure_key,
            wake,
            activity: Activity::default(),
            guard: removal_guard::LastRead::default(),
            names: Mutex::new(StdRng::seed_from_u64(seed)),
            is_closed: false.into(),
            is_started: watch::Sender::new(matches!(role, Role::Command { .. })),
            last_census: Mutex::default(),
        }))
    }

    /// Keeps that something changed for `user`; returns once that is committed and synced to disk.
    ///
    /// A caller that goes away before the answer leaves it open whether the event was kept.
    ///
    /// # Errors
    /// The event was not kept, as far as the store can tell.
    pub async fn push(&self, user: &UserId, event_type: &'static str) -> Result<(), QueueError> {
        let event = Push { user: user.clone(), cause: event_type };
        on_backend!(self.0.backend, store => store.push(event).await)?;
        self.0.wake.due_at(self.0.clock.now().plus(self.0.options.debounce));
        Ok(())
    }

    /// Resolves when a row becomes due before `known`, the time that the last lease gave. It may miss a row that another process
    /// makes due, so callers poll once a second in any case.
    pub(crate) async fn due_before(&self, known: Option<Millis>) {
        self.0.wake.sooner_than(known).await;
    }

    /// Resolves once [`Queue::start`] has succeeded: until then no user may be leased, because a start ends leases of the
    /// service before, and cannot tell them from new ones.
    pub(crate) async fn started(&self) {
        // The sender lives as long as the queue.
        let _ = self.0.is_started.subscribe().wait_for(|is_started| *is_started).await;
    }

    /// Whether the last event could be kept. While not, a small write every 2 s tries whether events can be again.
    pub fn accepting(&self) -> bool {
        !self.is_closed() && on_backend!(self.0.backend, store => store.accepting())
    }

    /// The removal guard as this process last read it: with each lease, settlement and check by the clock.
    pub(crate) fn guard(&self) -> GuardState {
        self.0.guard.get()
    }

    /// Finishes what waits and closes the store: the file is whole, and another process may open it.
    pub async fn close(&self) {
        if let Err(error) = self.flush_activity().await
            && !matches!(error, QueueError::Closed)
        {
            tracing::debug!(%error, "the last minute's counts are lost");
        }
        self.0.is_closed.store(true, std::sync::atomic::Ordering::Relaxed);
        on_backend!(self.0.backend, store => store.close().await);
    }

    /// One transaction. Afterwards a row that it made due wakes the worker, and a process knows what it has read of the guard.
    async fn transact<A: Send + 'static>(
        &self,
        look: Look,
        decide: impl Fn(&Seen) -> (Change, A) + Send + Sync + 'static,
    ) -> Result<A, QueueError> {
        let reads_guard = look.documents.iter().any(|name| name == GUARD);
        let decide = move |seen: &Seen| {
            let (change, answer) = decide(seen);
            let due = change.made_due();
            let guard = change.documents.get(GUARD).or_else(|| seen.documents.get(GUARD));
            let guard = reads_guard.then(|| documents::read::<Guard>(guard).state());
            (change, (answer, due, guard))
        };
        let (answer, due, guard) = on_backend!(self.0.backend, store => store.transact(look, decide).await)?;
        if let Some(due) = due {
            self.0.wake.due_at(due);
        }
        if let Some(guard) = guard {
            self.0.guard.set(guard);
        }
        Ok(answer)
    }

    async fn ask(&self, question: Question) -> Result<Answer, QueueError> {
        on_backend!(self.0.backend, store => store.ask(question).await)
    }

    fn lease_name(&self) -> LeaseName {
        let mut names = self.0.names.lock().unwrap_or_else(PoisonError::into_inner);
        LeaseName::new(self.0.role, names.random())
    }

    /// Whether one service has the store to itself.
    pub(crate) fn is_alone(&self) -> bool {
        self.0.is_alone
    }

    fn is_closed(&self) -> bool {
        self.0.is_closed.load(std::sync::atomic::Ordering::Relaxed)
    }
}
