//! What an operator can ask for, once: the commands, the admin API and the page ask [`App`] and reach nothing behind it.
//!
//! Promises, each a story: nobody is synced by hand beside a running sync of the same user; what an operator asks for is
//! logged, and never with an address.

pub mod backfill;
mod check;
mod error;
mod forget;
mod lease;
mod log;
mod preview;
mod previewer;
mod status;
mod sync;
mod user;

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::clock::Millis;
use crate::model::LastSeen;
use crate::queue::{Filter, LogFilter, MinuteCount, ParkedGroup, Queue, QueueError, Retry, UserRow};
use crate::sync::{SyncMode, Syncer};
use crate::upstream::{Api, PerApi};
use crate::user::UserId;
use crate::worker::{Heartbeat, Pause, SyncRunner, Worker};

pub(crate) use check::{Check, check};
pub(crate) use error::AppError;
pub(crate) use forget::{Forgot, Forgotten};
pub(crate) use lease::WaitLimit;
pub(crate) use log::Log;
pub(crate) use preview::{About, ContactNow, Facts, Mark, Preview, PreviewRow, Request};
pub(crate) use previewer::Previewer;
pub(crate) use status::{BackfillStatus, Resync, ServiceStatus, Status};
pub(crate) use sync::{Again, Synced};
pub(crate) use user::User;

/// What there is to say of a user who was forgotten, after "the user".
pub(crate) const FORGOTTEN: &str =
    "was forgotten: events are dropped, and nobody syncs this user; `sync --again` takes the user up again";

/// All that an operator can ask for. Clones share the queue and the clients.
#[derive(Debug, Clone)]
pub(crate) struct App {
    runner: SyncRunner,
    syncer: Arc<Syncer>,
    /// How many calls a sync usually makes: its lease takes them from the rates.
    calls: PerApi<u32>,
}

/// Some users, and what [`Filter::after`] has to be for the next ones; null on the last page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Page<T> {
    pub users: Vec<T>,
    pub next: Option<String>,
}

impl App {
    pub(crate) fn new(runner: SyncRunner, syncer: Arc<Syncer>, calls: PerApi<u32>) -> Self {
        Self { runner, syncer, calls }
    }

    /// The same, with syncs that create and subscribe nobody.
    pub(crate) fn existing_only(&self) -> Self {
        Self { syncer: self.syncer.in_mode(SyncMode::ExistingOnly).into(), ..self.clone() }
    }

    fn queue(&self) -> &Queue {
        &self.runner.queue
    }

    /// Now, by the queue's clock.
    pub(crate) fn now(&self) -> Millis {
        self.runner.clock.now()
    }

    /// The longest that a lease of another process lasts, and a write that it did not see answered.
    pub(crate) fn longest_lease(&self) -> Duration {
        self.runner.limits.deadline + 3 * self.runner.limits.request_timeout
    }

    /// What syncs due users, at most `concurrency` at a time.
    pub(crate) fn worker(&self, concurrency: usize, heartbeat: Heartbeat, pause: Pause) -> Worker {
        let Self { runner, syncer, .. } = self.clone();
        Worker { runner, syncer, concurrency, heartbeat, pause }
    }

    /// The state of the queue and of both APIs, as all processes on the store know it.
    pub(crate) async fn status(&self) -> Result<Status, QueueError> {
        Status::load(&self.runner, self.syncer.is_dry_run()).await
    }

    /// The same for a running service, which answers even if its store cannot be read.
    pub(crate) async fn service_status(&self) -> ServiceStatus {
        ServiceStatus::load(&self.runner, self.syncer.is_dry_run()).await
    }

    /// The users that `filter` lets pass, in the order of their ids.
    pub(crate) async fn users(&self, filter: Filter) -> Result<Page<UserRow>, QueueError> {
        let limit = filter.limit;
        let mut users = self.queue().rows(&Filter { limit: limit + 1, ..filter }).await?;
        let is_more = users.len() > limit;
        users.truncate(limit);
        let next = users.last().filter(|_| is_more).map(|last| last.user.clone());
        Ok(Page { users, next })
    }

    /// All that the queue knows of `user`.
    ///
    /// # Errors
    /// [`AppError::UnknownUser`] or [`AppError::Forgotten`] if it knows nothing.
    pub(crate) async fn user(&self, user: &UserId) -> Result<User, AppError> {
        match self.queue().rows_of(std::slice::from_ref(user)).await?.pop() {
            Some(row) => Ok(User::new(row, self.queue().history(user, user::HISTORY).await?)),
            None if self.forgotten(std::slice::from_ref(user)).await?.is_empty() => {
                Err(AppError::UnknownUser)
            }
            None => Err(AppError::Forgotten),
        }
    }

    /// The latest syncs of all users that `filter` lets pass.
    pub(crate) async fn log(&self, filter: LogFilter) -> Result<Log, QueueError> {
        Log::load(self.queue(), filter).await
    }

    /// Which of `users` were forgotten.
    pub(crate) async fn forgotten(&self, users: &[UserId]) -> Result<Vec<UserId>, QueueError> {
        self.queue().forgotten(users).await
    }

    /// What is remembered of `user`; nothing if the user is not known.
    async fn memory_of(&self, user: &UserId) -> Result<LastSeen, QueueError> {
        let rows = self.queue().rows_of(std::slice::from_ref(user)).await?;
        Ok(rows.into_iter().next().map(|row| row.memory).unwrap_or_default())
    }

    /// All users that Sesamy knows by `address`.
    pub(crate) async fn find(&self, address: &str) -> Result<Vec<UserId>, AppError> {
        self.previewer().find(address).await
    }

    /// What a sync of `user` would do now, and why.
    pub(crate) async fn preview(&self, user: &UserId) -> Result<Preview, AppError> {
        self.previewer().preview(user).await
    }

    fn previewer(&self) -> Previewer {
        Previewer {
            syncer: Arc::clone(&self.syncer),
            queue: Some(self.queue().clone()),
            clock: self.runner.clock.clone(),
            deadline: self.runner.limits.deadline,
        }
    }

    /// Syncs `user` now, due or not, parked or not; with [`Again::Yes`] also a user who was forgotten, whose contact was
    /// removed in Mailmojo, or who had left under an older address. Nobody is ever subscribed against their status.
    pub(crate) async fn sync(
        &self,
        user: &UserId,
        again: Again,
        wait: &WaitLimit,
    ) -> Result<Synced, AppError> {
        sync::sync(&self.runner, &self.syncer, self.calls, user, again, wait).await
    }

    /// What there is to erase of `user`; asks neither API.
    pub(crate) async fn would_forget(&self, user: &UserId) -> Result<Forgotten, AppError> {
        Ok(forget::would_forget(self.queue(), user).await?.0)
    }

    /// Forgets `user`; with `mailmojo` after our tags are taken off the user's contacts.
    pub(crate) async fn forget(
        &self,
        user: &UserId,
        mailmojo: bool,
        wait: &WaitLimit,
    ) -> Result<Forgotten, AppError> {
        forget::forget(&self.runner, &self.syncer, user, mailmojo, wait).await
    }

    /// Makes users due at once, with no attempts counted; how many.
    pub(crate) async fn retry(&self, retry: Retry) -> Result<u64, QueueError> {
        let users = self.queue().retry(retry).await?;
        tracing::info!(users, "an operator has made users due");
        Ok(users)
    }

    /// The same for one user.
    pub(crate) async fn retry_one(&self, user: UserId) -> Result<u64, QueueError> {
        tracing::info!(user_id = %user, "an operator asks for a retry");
        self.retry(Retry::Users(vec![user])).await
    }

    /// How many users [`App::retry`] would make due.
    pub(crate) async fn count_retry(&self, retry: &Retry) -> Result<u64, QueueError> {
        self.queue().count_retry(retry).await
    }

    /// What users are parked for, the largest group first.
    pub(crate) async fn parked(&self) -> Result<Vec<ParkedGroup>, QueueError> {
        const GROUPS: usize = 100;
        self.queue().parked(GROUPS).await
    }

    /// Pauses all syncs until [`App::resume`]; events are kept.
    pub(crate) async fn pause(&self) -> Result<(), QueueError> {
        self.queue().pause().await?;
        tracing::info!("an operator has paused syncs");
        Ok(())
    }

    /// Lets syncs go on, closes the circuits of both APIs, and releases the removal guard; with `allow_removals`, the guard
    /// stays off for that long.
    pub(crate) async fn resume(&self, allow_removals: Option<Duration>) -> Result<(), QueueError> {
        let known = self.queue().resume(allow_removals).await?;
        Api::ALL.into_iter().for_each(|api| self.runner.gates.of(api).release());
        self.runner.adopt(&known);
        tracing::info!("an operator has resumed syncs");
        Ok(())
    }

    /// How many syncs came to what, for every minute since the one of `since`, in order.
    pub(crate) async fn counts_since(&self, since: Millis) -> Result<Vec<MinuteCount>, QueueError> {
        self.queue().counts_since(since).await
    }

    /// How far the last backfill has come; none if there was none.
    pub(crate) async fn last_backfill(&self) -> Result<Option<backfill::progress::Progress>, QueueError> {
        backfill::progress::Progress::load(self.queue()).await
    }

    /// Finishes what waits, and closes the queue.
    pub(crate) async fn close(&self) {
        self.queue().close().await;
    }
}
