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
mod cause;
mod clockwork;
mod command;
mod error;
mod forgetting;
mod history;
mod lane;
mod lease;
mod meter;
mod postgres;
mod reader;
mod sqlite;
#[cfg(test)]
mod tests;
mod views;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, oneshot, watch};

use crate::clock::{Clock, Millis};
use crate::memory::{ContactKeys, SeenByOthers};
use crate::upstream::Api;
use crate::upstream::rest::Change;
use crate::user::UserId;

pub use apis::Rates;
pub use cause::{AGAIN, DRIFT, EXISTING_ONLY, EXPIRY, FORGET, RESTRICTED};
pub use clockwork::{Round, Tick, Ticked};
use command::{Answer, Command, Ends, News, Push};
pub use error::{Damage, Moved, OpenError, QueueError};
pub use history::{Entry, HistoryRow, MinuteCount};
pub use lane::{Lane, NextDue};
pub use lease::{Done, Job, Known, LeaseRequest, Leased, Room, Settled, Settlement, UserLease};
pub use meter::LaneMeter;
pub use postgres::{Place, PostgresError, PostgresUrl};
use reader::Reader;
pub use views::{Backlog, Census, Enqueued, Filter, ParkedGroup, Progress, Retry, State, UserRow};

/// The queue of users. Clones share one store; when the last is dropped, the store finishes what waits and closes.
#[derive(Debug, Clone)]
pub struct Queue(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    ends: Ends,
    reader: Reader,
    clock: Clock,
    last_census: Mutex<Option<(Millis, Census)>>,
}

/// As what a store is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The service: what the one before left behind is made ready, and a file is its alone.
    Service,
    /// A command, beside a service that may be running: nothing is changed by the opening itself.
    Command {
        /// Whether the store is made where it is missing; otherwise that is an error.
        may_create: bool,
    },
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

impl Queue {
    /// Opens the SQLite file at `path`. A service makes it and its folder where they are missing, keeps every other service
    /// out, and ends the leases of the process before at the latest one `request_timeout` from now.
    ///
    /// Blocks: for the length of a few file operations, and longer where a schema change is due.
    /// `seed` names the leases; two processes should not have the same.
    ///
    /// # Errors
    /// [`OpenError`] tells what is wrong with the file and what to do. Nothing is replaced, ever.
    pub fn open_sqlite(
        path: &Path,
        role: Role,
        options: Options,
        clock: Clock,
        seed: u64,
    ) -> Result<Self, OpenError> {
        Self::open_sqlite_tuned(path, role, options, clock, seed, sqlite::Tuning::default())
    }

    fn open_sqlite_tuned(
        path: &Path,
        role: Role,
        options: Options,
        clock: Clock,
        seed: u64,
        tuning: sqlite::Tuning,
    ) -> Result<Self, OpenError> {
        let (ends, reader) = sqlite::open(path, role, options, clock.clone(), seed, tuning)?;
        let last_census = Mutex::new(None);
        Ok(Self(Arc::new(Inner { ends, reader: Reader::Sqlite(reader), clock, last_census })))
    }

    /// Opens the Postgres database at `url`; a service makes the queue's tables where they are missing. Others may have it open: their
    /// leases are left alone, and `clock` keeps to the database's time from now on.
    ///
    /// `seed` names the leases; two processes should not have the same.
    ///
    /// # Errors
    /// [`OpenError`] tells what is wrong with the database and what to do.
    pub async fn open_postgres(
        url: &PostgresUrl,
        role: Role,
        options: Options,
        clock: Clock,
        seed: u64,
    ) -> Result<Self, OpenError> {
        Self::open_postgres_tuned(url, role, options, clock, seed, postgres::Tuning::default()).await
    }

    async fn open_postgres_tuned(
        url: &PostgresUrl,
        role: Role,
        options: Options,
        clock: Clock,
        seed: u64,
        tuning: postgres::Tuning,
    ) -> Result<Self, OpenError> {
        let (ends, reader) = postgres::open(url, role, options, clock.clone(), seed, tuning).await?;
        let last_census = Mutex::new(None);
        Ok(Self(Arc::new(Inner { ends, reader: Reader::Postgres(reader), clock, last_census })))
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

    /// Leases up to so many users that are due, lane by lane and in each the longest due first: none while an API rests or
    /// syncs are paused, no more than the rates have calls for, and of all processes together one alone where it is to be
    /// seen whether an API is back. Such a probe is a user whose last sync did not fail, if there is one, so that users who
    /// fail by themselves do not stand for the API.
    ///
    /// # Errors
    /// The store failed; nothing is leased.
    pub async fn lease(&self, room: Room) -> Result<Leased, QueueError> {
        let (answer, receiver) = Answer::open();
        self.ask(Command::Lease { room, answer }, receiver).await
    }

    /// Leases one user by name, due or not.
    ///
    /// # Errors
    /// The store failed; nobody is leased.
    pub async fn lease_user(&self, request: LeaseRequest) -> Result<UserLease, QueueError> {
        let (answer, receiver) = Answer::open();
        self.ask(Command::LeaseUser { request, answer }, receiver).await
    }

    /// Tells all processes what this one has found of `api`; gives what they all know then.
    ///
    /// # Errors
    /// The store failed; nobody was told.
    pub async fn tell_rest(&self, api: Api, change: Change) -> Result<Known, QueueError> {
        let (answer, receiver) = Answer::open();
        self.ask(Command::Know { news: News::Rest(api, change), answer }, receiver).await
    }

    /// What all processes know of both APIs, and whether syncs are paused.
    ///
    /// # Errors
    /// The store failed.
    pub async fn known(&self) -> Result<Known, QueueError> {
        let (answer, receiver) = Answer::open();
        self.ask(Command::Know { news: News::None, answer }, receiver).await
    }

    /// Pauses all syncs: events are kept, nobody is leased until [`Queue::resume`], a start in between or not. Syncs that
    /// have begun go on. Paused already: stays so since then.
    ///
    /// # Errors
    /// The store failed; nothing was changed.
    pub async fn pause(&self) -> Result<Known, QueueError> {
        let (answer, receiver) = Answer::open();
        self.ask(Command::Know { news: News::Pause, answer }, receiver).await
    }

    /// Lets syncs go on, and ends the rests of both APIs, as a start does.
    ///
    /// # Errors
    /// The store failed; nothing was changed.
    pub async fn resume(&self) -> Result<Known, QueueError> {
        let (answer, receiver) = Answer::open();
        self.ask(Command::Know { news: News::Resume, answer }, receiver).await
    }

    /// Ends a lease, gives back the calls that are left of the job's, and writes `entry` into the user's history and the
    /// counts of this minute, all of it or nothing. Where the lease is not there any more, nothing of it: see
    /// [`Settled::LeaseLost`].
    ///
    /// # Errors
    /// The store failed; the lease stands until its end.
    pub async fn settle(
        &self,
        job: &Job,
        how: Settlement,
        entry: Option<Entry>,
    ) -> Result<Settled, QueueError> {
        let (answer, receiver) = Answer::open();
        let entry = entry.map(Box::new);
        self.ask(Command::Settle { job: job.clone(), how, entry, answer }, receiver).await
    }

    /// Makes users due at once, in the lane of retries and with no attempts counted; how many they are.
    ///
    /// # Errors
    /// The store failed; nobody was.
    pub async fn retry(&self, whom: Retry) -> Result<u64, QueueError> {
        let (answer, receiver) = Answer::open();
        self.ask(Command::Retry { whom, answer }, receiver).await
    }

    /// Makes due who has become so by the clock, whose held back change is held back no longer, and who is next of the round;
    /// in small steps that no event waits for. One with nothing to do writes nothing. Any number of processes may do it.
    ///
    /// # Errors
    /// The store failed; whoever was made due stays so.
    pub async fn tick(&self, tick: Tick) -> Result<Ticked, QueueError> {
        let (answer, receiver) = Answer::open();
        self.ask(Command::Tick { tick, answer }, receiver).await
    }

    /// Forgets the leased user: row and history are erased, and a keyed hash is left by which later events and rounds of the
    /// user are dropped; the calls that are left of the job's are given back. Whether it was; not where the lease was lost.
    ///
    /// # Errors
    /// The store failed; nothing was erased.
    pub async fn forget(&self, job: &Job) -> Result<bool, QueueError> {
        let (answer, receiver) = Answer::open();
        self.ask(Command::Forget { job: job.clone(), answer }, receiver).await
    }

    /// Keeps writes from taking tags away, in all processes, until [`Queue::release_brake`] or [`Queue::resume`]. On already:
    /// stays so since then.
    ///
    /// # Errors
    /// The store failed; nothing was changed.
    pub async fn brake(&self) -> Result<Known, QueueError> {
        let (answer, receiver) = Answer::open();
        self.ask(Command::Know { news: News::Brake, answer }, receiver).await
    }

    /// Lets writes take tags away again. Whose change was held back is due with the next tick.
    ///
    /// # Errors
    /// The store failed; nothing was changed.
    pub async fn release_brake(&self) -> Result<Known, QueueError> {
        let (answer, receiver) = Answer::open();
        self.ask(Command::Know { news: News::Release, answer }, receiver).await
    }

    /// Takes away up to `most` history rows whose last sync was before `before`, in a transaction of their own that no
    /// event waits in; how many they were. Counts per minute go with them once they are a day old, and so do rows of users
    /// whom Sesamy has not known since before `before` and of whom no address is remembered; these count too.
    ///
    /// # Errors
    /// The store failed; nothing was.
    pub async fn prune(&self, before: Millis, most: usize) -> Result<u64, QueueError> {
        let (answer, receiver) = Answer::open();
        self.ask(Command::Prune { before, most, answer }, receiver).await
    }

    /// Makes users due in the background lane. A user who was synced since `since`, is due sooner or held, or is parked since
    /// `since`, is left alone. A user not known yet gets a row.
    ///
    /// # Errors
    /// The store failed; nobody was made due.
    pub async fn enqueue(
        &self,
        users: Vec<UserId>,
        cause: &'static str,
        since: Millis,
    ) -> Result<Enqueued, QueueError> {
        let all = users.len() as u64;
        let (answer, receiver) = Answer::open();
        let due = self.ask(Command::Enqueue { users, cause, since, answer }, receiver).await?;
        Ok(Enqueued { due, left_alone: all.saturating_sub(due) })
    }

    /// What rows synced since `since` last came to, and how much of the background lane is left.
    ///
    /// # Errors
    /// The store could not be read.
    pub async fn backlog(&self, since: Millis) -> Result<Backlog, QueueError> {
        self.0.reader.backlog(self.0.clock.now(), since).await
    }

    /// Keeps how far a backfill has come, in place of what was kept of one before.
    ///
    /// # Errors
    /// The store failed; what was kept stays.
    pub async fn keep_progress(&self, progress: Progress) -> Result<(), QueueError> {
        let (answer, receiver) = Answer::holding(());
        self.ask(Command::KeepProgress { progress, answer }, receiver).await
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

    /// When the next row is due (or a lease ends); none where nothing is. Never too late once a call is answered; too early,
    /// until the next lease, where processes share a store. What another process has written since may not be known here
    /// before the next lease.
    #[must_use]
    pub fn next_due(&self) -> watch::Receiver<NextDue> {
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
        let census = self.0.reader.count(now).await?;
        *last = Some((now, census));
        Ok(census)
    }

    /// How many of the rows that `retry` names would be made due, counted to [`Census::LIMIT`] at the most.
    ///
    /// # Errors
    /// The store could not be read.
    pub async fn count_retry(&self, whom: &Retry) -> Result<u64, QueueError> {
        self.0.reader.count_retry(self.0.clock.now(), whom).await
    }

    /// The rows that `filter` lets pass, in the order of their ids.
    ///
    /// # Errors
    /// The store could not be read.
    pub async fn rows(&self, filter: &Filter) -> Result<Vec<UserRow>, QueueError> {
        self.0.reader.rows(self.0.clock.now(), filter).await
    }

    /// The rows of `users`, in no order; who is not known has none.
    ///
    /// # Errors
    /// The store could not be read.
    pub async fn rows_of(&self, users: &[UserId]) -> Result<Vec<UserRow>, QueueError> {
        self.0.reader.rows_of(self.0.clock.now(), users).await
    }

    /// Whom of `users` somebody has had forgotten.
    ///
    /// # Errors
    /// The store could not be read.
    pub async fn forgotten(&self, users: &[UserId]) -> Result<Vec<UserId>, QueueError> {
        self.0.reader.forgotten(users).await
    }

    /// The users besides `user` whose rows remember `address`, in any spelling; `most` at the most.
    ///
    /// # Errors
    /// The store could not be read.
    pub async fn others_at(
        &self,
        user: &UserId,
        address: &str,
        most: usize,
    ) -> Result<Vec<UserId>, QueueError> {
        self.0.reader.others_at(user, address, most).await
    }

    /// What the rows of everybody but `user` remember of the contact of `address`, letter case aside, on the list of this
    /// name.
    ///
    /// # Errors
    /// The store could not be read.
    pub async fn seen_by_others(
        &self,
        user: &UserId,
        address: &str,
        list: &str,
    ) -> Result<SeenByOthers, QueueError> {
        self.0.reader.seen_by_others(user, address, list).await
    }

    /// The keys by which this store remembers contacts of earlier addresses, on the list of this name.
    #[must_use]
    pub fn contact_keys(&self, list: String) -> ContactKeys {
        self.0.reader.contact_keys(list)
    }

    /// How far the last round has come; none where there was none.
    ///
    /// # Errors
    /// The store could not be read.
    pub async fn round(&self) -> Result<Option<Round>, QueueError> {
        self.0.reader.round().await
    }

    /// The latest `most` rows of the history of `user`, the latest first.
    ///
    /// # Errors
    /// The store could not be read.
    pub async fn history(&self, user: &UserId, most: usize) -> Result<Vec<HistoryRow>, QueueError> {
        self.0.reader.history(user, most).await
    }

    /// Who is parked for what, the largest group first, `most` groups at the most.
    ///
    /// # Errors
    /// The store could not be read.
    pub async fn parked(&self, most: usize) -> Result<Vec<ParkedGroup>, QueueError> {
        self.0.reader.parked(most).await
    }

    /// How many syncs came to what, for every minute from that of `since` on in which there were any, in order.
    ///
    /// # Errors
    /// The store could not be read.
    pub async fn counts_since(&self, since: Millis) -> Result<Vec<MinuteCount>, QueueError> {
        self.0.reader.counts_since(since).await
    }

    /// How far the last backfill has come; none where there was none.
    ///
    /// # Errors
    /// The store could not be read.
    pub async fn progress(&self) -> Result<Option<Progress>, QueueError> {
        self.0.reader.progress().await
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
