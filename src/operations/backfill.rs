//! A backfill: every user of Sesamy's becomes due in the background lane, and is synced there like anybody else.
//!
//! It lists users and syncs nobody itself. A service that runs beside it does the syncs; where none does, this process runs
//! the same [`Worker`] until nobody in the background lane is due any more. So everything that holds for a sync holds for
//! a backfill: leases, pace, circuits, retries, the removal guard, what is remembered.
//!
//! ```text
//!  page of users ─▶ enqueue: not synced since it began, not due, not parked since? ─▶ due in the background lane
//!       ▲ next page, next pass                                                          │ a service, or this process
//!       └── progress is kept                                                            ▼
//!                              counts by outcome and reason of what was synced ◀── worker
//! ```
//!
//! Promises, each a story in `tests/stories/backfill.rs` and `backfill_stops.rs`: a backfill that is killed and begun again
//! misses nobody and syncs nobody twice; an event is synced at once while it runs; a dry run writes nothing, and its totals
//! are what the run then does.

mod dry_run;
mod pages;
pub mod progress;
mod report;
pub mod summary;

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{Operator, Status};
use crate::clock::Millis;
use crate::queue::{Backlog, EXISTING_ONLY, Filter, QueueError, State};
use crate::worker::{Heartbeat, Pause, Stop, Worker};
use dry_run::{DryRun, Found};
use pages::{Pages, count};
use progress::{Listed, Progress, Spec};
pub use report::{ReportError, ReportFile};
use summary::{Summary, Tally};

/// The cause of its syncs, unless they create nobody ([`EXISTING_ONLY`]).
const CAUSE: &str = "backfill";
/// How often the queue is asked how far it is.
const EVERY: Duration = Duration::from_secs(1);
/// Longer than a service takes to find users whom another process has made due. If nobody is leased for so long, none runs.
const NOBODY_WORKS: Duration = Duration::from_secs(6);
/// How long to wait, at the end, for users who have failed and are tried again.
const FOR_RETRIES: Duration = Duration::from_secs(60);

/// Why a backfill ends early. What was done stays done, and the same command goes on.
#[derive(Debug, thiserror::Error)]
pub enum BackfillError {
    /// A list cannot be read.
    #[error(
        "{what} cannot be read: {message}. Once that is fixed, the same command goes on where this one ends"
    )]
    List {
        /// Which list.
        what: String,
        /// What failed; nothing personal is in it.
        message: String,
    },
    /// The store failed.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The report of a dry run cannot be written.
    #[error(transparent)]
    Report(#[from] ReportError),
}

impl BackfillError {
    /// A list that cannot be read because of `message`.
    pub fn list(what: &str, message: &str) -> Self {
        Self::List { what: what.to_owned(), message: message.to_owned() }
    }
}

/// How far a backfill is, for people.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Users who need nothing more for now.
    pub done: u64,
    /// All users, as far as they are known.
    pub all: u64,
    /// Users who have failed and wait for their next try.
    pub retrying: u64,
    /// What holds it up, or some of its users; none while it goes on.
    pub waits_for: Option<String>,
    /// Whether this process does the syncs.
    pub works_itself: bool,
}

/// A backfill that is about to begin, or to go on.
#[derive(Debug)]
pub struct Backfill {
    operator: Operator,
    concurrency: usize,
    derive_tags: bool,
    progress: Progress,
    continued: bool,
    stop: Stop,
}

impl Backfill {
    /// A backfill at the beginning.
    #[must_use]
    pub fn new(operator: Operator, spec: Spec, concurrency: usize, derive_tags: bool, stop: Stop) -> Self {
        let progress = Progress::new(spec, operator.hand.clock.now());
        Self { operator, concurrency, derive_tags, progress, continued: false, stop }
    }

    /// The same, going on with the last one if that was asked for the same and did not end.
    ///
    /// # Errors
    /// The store could not be read.
    pub async fn going_on(self) -> Result<Self, BackfillError> {
        let kept = Progress::load(self.operator.queue()).await?;
        let (progress, continued) = Progress::begin(kept, self.progress.spec, self.progress.began_at);
        Ok(Self { progress, continued, ..self })
    }

    /// When the one began that this one goes on with; none where it begins anew.
    #[must_use]
    pub fn goes_on_from(&self) -> Option<Millis> {
        self.continued.then_some(self.progress.began_at)
    }

    /// How many users Sesamy lists, if the first page of them says so.
    ///
    /// # Errors
    /// The page cannot be read.
    pub async fn count_users(&self) -> Result<Option<u64>, BackfillError> {
        let page = Pages::new(self.operator.clone(), false).users(0, None).await?;
        let is_all = page.next.is_none().then_some(page.length());
        Ok(page.total.or(is_all).map(count))
    }

    /// Makes every user due, and waits until they have been synced; `show` is called about once a second. Ends early when
    /// `stop` says so, and then says in the summary that it is not finished.
    ///
    /// # Errors
    /// [`BackfillError`].
    pub async fn run(mut self, show: impl FnMut(&Snapshot)) -> Result<Summary, BackfillError> {
        let mut own = OwnWorker::new(&self.operator, self.concurrency, &self.stop);
        let kept = watch::Sender::new(self.progress.clone());
        let ended = self.list_and_wait(&kept, &mut own, show).await;
        own.stop().await;
        let finished = ended?;
        self.progress = kept.borrow().clone();
        let (now, queue) = (self.operator.hand.clock.now(), self.operator.queue());
        if finished {
            self.progress.ended_at = Some(now);
            self.progress.keep(queue).await?;
        }
        let tally = Tally::of(&queue.backlog(self.progress.began_at).await?);
        Ok(Summary::new(&self.progress, tally, self.continued, finished, false, now))
    }

    /// Whether everybody was listed and synced, and not only until it was to stop.
    async fn list_and_wait(
        &self,
        kept: &watch::Sender<Progress>,
        own: &mut OwnWorker,
        mut show: impl FnMut(&Snapshot),
    ) -> Result<bool, BackfillError> {
        let pages = Pages::new(self.operator.clone(), true);
        let mut listing = pin!(self.list(&pages, kept));
        let (mut is_listed, mut nobody_due_since) = (false, None);
        let mut ticks = tokio::time::interval(EVERY);
        loop {
            tokio::select! {
                listed = &mut listing, if !is_listed => {
                    listed?;
                    is_listed = true;
                }
                _ = ticks.tick() => {}
                () = self.stop.leasing.cancelled() => return Ok(false),
            }
            let backlog = self.operator.queue().backlog(self.progress.began_at).await?;
            let status = self.operator.status().await?;
            let held_up = held_up_by(&status, false);
            own.start_if_nobody_works(&backlog, held_up.is_some()).await?;
            let (done, retrying) = (Tally::of(&backlog).done(), backlog.failing);
            let all = done + backlog.waiting + retrying;
            let trouble = pages.trouble().filter(|_| !is_listed);
            let waits_for = held_up.or(trouble).or_else(|| removals_wait(&status));
            show(&Snapshot { done, all, retrying, waits_for, works_itself: own.is_running() });
            if !is_listed || backlog.waiting > 0 {
                nobody_due_since = None;
                continue;
            }
            let since = *nobody_due_since.get_or_insert_with(Instant::now);
            if backlog.failing == 0 || since.elapsed() >= FOR_RETRIES {
                return Ok(true);
            }
        }
    }

    /// Makes every user due, page by page and pass by pass. To drop it costs the page that is being read.
    async fn list(&self, pages: &Pages, kept: &watch::Sender<Progress>) -> Result<(), BackfillError> {
        let (queue, began, spec) = (self.operator.queue(), self.progress.began_at, &self.progress.spec);
        let cause = if spec.existing_only { EXISTING_ONLY } else { CAUSE };
        let mut progress = self.progress.clone();
        progress.keep(queue).await?;
        if progress.is_listed {
            return Ok(());
        }
        let selection = pages.selection(spec, began, self.derive_tags).await?;
        let mut before = None;
        while !progress.is_listed {
            let page = pages.users(progress.offset, before).await?;
            before = page.next.is_some().then_some(page.mark);
            let next = page.next;
            let (mut users, listed) = selection.of(page);
            let forgotten = queue.forgotten(&users).await?;
            users.retain(|user| !forgotten.contains(user));
            let enqueued = queue.enqueue(users, cause, began).await?;
            let listed = Listed {
                due: enqueued.due,
                left_to_events: enqueued.left_alone,
                forgotten: count(forgotten.len()),
                ..listed
            };
            progress = progress.after_page(listed, next);
            progress.keep(queue).await?;
            kept.send_replace(progress.clone());
        }
        Ok(())
    }

    /// Decides for every user what a sync would do, writes nothing, and adds a line per user to `file`; `show` is called
    /// about once a second.
    ///
    /// # Errors
    /// [`BackfillError`].
    pub async fn dry_run(
        self,
        file: ReportFile,
        mut show: impl FnMut(&Snapshot),
    ) -> Result<Summary, BackfillError> {
        let users = self.count_users().await?.unwrap_or(0);
        let found = Mutex::new(Found { progress: self.progress.clone(), tally: Tally::default() });
        let pages = Arc::new(Pages::new(self.operator.clone(), false));
        let decisions = async {
            let Progress { spec, began_at, .. } = &self.progress;
            let selection = pages.selection(spec, *began_at, self.derive_tags).await?;
            let (operator, pages, concurrency) =
                (self.operator.clone(), Arc::clone(&pages), self.concurrency);
            DryRun { operator, pages, selection, concurrency, file }.run(&found).await
        };
        let mut decisions = pin!(decisions);
        let mut ticks = tokio::time::interval(EVERY);
        let finished = loop {
            tokio::select! {
                done = &mut decisions => break done.map(|()| true)?,
                _ = ticks.tick() => {}
                () = self.stop.leasing.cancelled() => break false,
            }
            let status = self.operator.status().await?;
            let waits_for = held_up_by(&status, true).or(pages.trouble()).or_else(|| removals_wait(&status));
            let found = found.lock().unwrap_or_else(PoisonError::into_inner);
            let (done, listed) = (found.tally.done(), found.progress.listed.users);
            show(&Snapshot { done, all: users.max(listed).max(done), waits_for, ..Snapshot::default() });
        };
        let Found { progress, tally } =
            std::mem::take(&mut *found.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(Summary::new(&progress, tally, false, finished, true, self.operator.hand.clock.now()))
    }
}

/// What holds a backfill up. A dry run changes nothing, so it does not wait for a pause to end.
fn held_up_by(status: &Status, dry_run: bool) -> Option<String> {
    let is_open = status.apis.iter().find(|api| api.state == "resting");
    if status.paused_since.is_some() && !dry_run {
        Some("syncs are paused; `queue resume` lets them go on".to_owned())
    } else if let Some(api) = is_open {
        let until = api.until.unwrap_or(status.now);
        Some(format!("{} is at rest ({}) until {until}", api.api, api.why.unwrap_or_default()))
    } else {
        None
    }
}

/// What some users wait for while the removal guard has tripped. Everybody else is synced.
fn removals_wait(status: &Status) -> Option<String> {
    status.tags_kept_since.map(|since| {
        format!("no tag is taken away since {since}: check Sesamy's contracts and users, then `queue resume`")
    })
}

/// The worker of this process, for a queue that no service works on.
#[derive(Debug)]
struct OwnWorker {
    operator: Operator,
    concurrency: usize,
    stop: Stop,
    running: Option<JoinHandle<()>>,
    /// Users done when the queue was last asked, and since when that number stands still.
    done: u64,
    idle_since: Option<Instant>,
}

impl OwnWorker {
    fn new(operator: &Operator, concurrency: usize, stop: &Stop) -> Self {
        let stop = Stop { leasing: stop.leasing.child_token(), running: stop.running.child_token() };
        Self { operator: operator.clone(), concurrency, stop, running: None, done: 0, idle_since: None }
    }

    fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Starts it if users are due, nothing holds them up, and for a while nobody has leased one. Should a service run after
    /// all, both work: a lease is given once, and the pace is shared.
    async fn start_if_nobody_works(&mut self, backlog: &Backlog, is_waiting: bool) -> Result<(), QueueError> {
        if self.is_running() {
            return Ok(());
        }
        let done = Tally::of(backlog).done();
        let is_idle = !is_waiting && done == self.done && backlog.waiting + backlog.failing > 0;
        self.done = done;
        if !is_idle || self.is_anybody_leased().await? {
            self.idle_since = None;
        } else if self.idle_since.get_or_insert_with(Instant::now).elapsed() >= NOBODY_WORKS {
            let Operator { hand, syncer, .. } = self.operator.clone();
            let (heartbeat, pause) = (Heartbeat::default(), Pause::default());
            let worker = Worker { hand, syncer, concurrency: self.concurrency, heartbeat, pause };
            self.running = Some(tokio::spawn(worker.run(self.stop.clone())));
        }
        Ok(())
    }

    async fn is_anybody_leased(&self) -> Result<bool, QueueError> {
        let leased = Filter { state: Some(State::Leased), limit: 1, ..Filter::default() };
        Ok(!self.operator.queue().rows(&leased).await?.is_empty())
    }

    /// Lets its syncs end, or cuts them off when `stop.running` says so; no lease is left.
    async fn stop(self) {
        self.stop.leasing.cancel();
        if let Some(running) = self.running
            && let Err(error) = running.await
        {
            tracing::error!(%error, "the worker ended with a panic: a bug of this program; please report it");
        }
    }
}
