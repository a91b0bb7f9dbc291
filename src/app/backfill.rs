//! A backfill: every user of Sesamy's becomes due in the background lane, and is synced there like anybody else.
//!
//! It lists users and syncs nobody itself. A service that runs beside it does the syncs; where none does, this process runs
//! the same [`Worker`](crate::worker::Worker) until nobody in the background lane is due any more. So everything that holds for a sync holds for
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
mod own_worker;
mod pages;
pub mod progress;
mod report;
pub mod summary;

use std::cell::RefCell;
use std::pin::pin;
use std::time::{Duration, Instant};

use super::{App, Status};
use crate::clock::Millis;
use crate::queue::{Backlog, EXISTING_ONLY, QueueError};
use crate::worker::Stop;
use own_worker::OwnWorker;
use pages::Taken;
use progress::{Progress, Spec};
pub use report::{ReportError, ReportFile};
use summary::{Summary, Tally};

/// The cause of its syncs, unless they create nobody ([`EXISTING_ONLY`]).
const CAUSE: &str = "backfill";
/// How often to check how far it is.
const EVERY: Duration = Duration::from_secs(1);
/// How long to wait, at the end, for users who have failed and are tried again.
const FOR_RETRIES: Duration = Duration::from_secs(60);

/// Why a backfill ends early. What was done stays done, and the same command goes on.
#[derive(Debug, thiserror::Error)]
pub enum BackfillError {
    /// A list cannot be read: which, and what failed. Nothing personal is in it.
    #[error("{0} cannot be read: {1}. Once that is fixed, the same command goes on where this one ends")]
    List(&'static str, String),
    /// The store failed.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The report of a dry run cannot be written.
    #[error(transparent)]
    Report(#[from] ReportError),
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

/// How to go about it.
#[derive(Debug)]
pub struct Options {
    /// What is asked for.
    pub spec: Spec,
    /// Whether nothing is written, and nobody becomes due.
    pub dry_run: bool,
    /// `sync.concurrency`.
    pub concurrency: usize,
    /// `sesamy.derive_tags`: whether contracts count.
    pub derive_tags: bool,
}

/// A backfill that is about to begin, or to go on.
#[derive(Debug)]
pub struct Backfill {
    app: App,
    options: Options,
    stop: Stop,
    continued: bool,
    progress: RefCell<Progress>,
    /// What a dry run has found.
    found: RefCell<Tally>,
    /// The page that cannot be read and is asked for again; none while pages can be read.
    trouble: RefCell<Option<String>>,
}

impl Backfill {
    /// A backfill that goes on with `last`, if that was asked for the same and did not end.
    #[must_use]
    pub fn new(app: App, options: Options, last: Option<Progress>, stop: Stop) -> Self {
        let (progress, continued) = Progress::begin(last, options.spec, app.runner.clock.now());
        let progress = RefCell::new(progress);
        Self {
            app,
            options,
            stop,
            continued,
            progress,
            found: RefCell::default(),
            trouble: RefCell::default(),
        }
    }

    /// When the one began that this one goes on with; none where it begins anew.
    #[must_use]
    pub fn goes_on_from(&self) -> Option<Millis> {
        self.continued.then(|| self.progress.borrow().began_at)
    }

    /// Makes every user due, and waits until they have been synced; or decides for each of them and writes a line into
    /// `report`, which is for a dry run. `show` is called about once a second. Ends early when `stop` says so; the summary
    /// then says that it is not finished.
    ///
    /// # Errors
    /// [`BackfillError`].
    pub async fn run(
        self,
        report: Option<ReportFile>,
        show: impl FnMut(&Snapshot),
    ) -> Result<Summary, BackfillError> {
        let mut own = OwnWorker::new(&self.app, self.options.concurrency, &self.stop);
        let ended = self.go_through(report, &mut own, show).await;
        own.stop().await;
        let finished = ended?;
        let (now, queue) = (self.app.runner.clock.now(), self.app.queue());
        let mut progress = self.progress.borrow().clone();
        if finished && !self.options.dry_run {
            progress.ended_at = Some(now);
            progress.keep(queue).await?;
        }
        let tally = self.tally(&self.backlog().await?);
        let summary = Summary::new(&progress, tally, finished, now);
        Ok(Summary { dry_run: self.options.dry_run, continued: self.continued, ..summary })
    }

    /// Whether everybody was gone through, and not only until it was to stop.
    async fn go_through(
        &self,
        report: Option<ReportFile>,
        own: &mut OwnWorker,
        mut show: impl FnMut(&Snapshot),
    ) -> Result<bool, BackfillError> {
        let mut work = pin!(async {
            match report {
                Some(report) => self.decide_for_all(report).await,
                None => self.list().await,
            }
        });
        let (mut is_listed, mut nobody_due_since) = (false, None);
        let mut ticks = tokio::time::interval(EVERY);
        loop {
            tokio::select! {
                worked = &mut work, if !is_listed => {
                    worked?;
                    is_listed = true;
                }
                _ = ticks.tick() => {}
                () = self.stop.leasing.cancelled() => return Ok(false),
            }
            let (status, backlog) = (self.app.status().await?, self.backlog().await?);
            let (done, retrying) = (self.tally(&backlog).done(), backlog.failing);
            let held_up = self.held_up_by(&status);
            own.start_if_nobody_works(&backlog, done, held_up.is_some()).await?;
            let users = if self.options.dry_run { self.progress.borrow().listed.users } else { 0 };
            let all = users.max(done + backlog.waiting + retrying);
            let waits_for =
                held_up.or_else(|| self.trouble.borrow().clone()).or_else(|| removals_wait(&status));
            show(&Snapshot { done, all, retrying, waits_for, works_itself: own.is_running() });
            if !is_listed || backlog.waiting > 0 {
                nobody_due_since = None;
                continue;
            }
            let since = *nobody_due_since.get_or_insert_with(Instant::now);
            if retrying == 0 || since.elapsed() >= FOR_RETRIES {
                return Ok(true);
            }
        }
    }

    /// Makes every user due, page by page and pass by pass. To drop it costs the page that is being read.
    async fn list(&self) -> Result<(), BackfillError> {
        let mut progress = self.progress.borrow().clone();
        let queue = self.app.queue();
        progress.keep(queue).await?;
        if progress.is_listed {
            return Ok(());
        }
        let cause = if progress.spec.existing_only { EXISTING_ONLY } else { CAUSE };
        let selection = self.selection().await?;
        let mut before = None;
        while !progress.is_listed {
            let page = self.users(progress.offset, before).await?;
            let next = page.next;
            before = next.map(|_| page.mark);
            let Taken { users, mut listed, .. } = self.take(page, &selection).await?;
            let enqueued = queue.enqueue(users, cause, progress.began_at).await?;
            (listed.due, listed.left_to_events) = (enqueued.due, enqueued.left_alone);
            progress = progress.after_page(listed, next);
            progress.keep(queue).await?;
            self.progress.replace(progress.clone());
        }
        Ok(())
    }

    /// What is left to do; nothing for a dry run, which makes nobody due.
    async fn backlog(&self) -> Result<Backlog, QueueError> {
        if self.options.dry_run {
            return Ok(Backlog::default());
        }
        let began = self.progress.borrow().began_at;
        self.app.queue().backlog(began).await
    }

    fn tally(&self, backlog: &Backlog) -> Tally {
        if self.options.dry_run { self.found.borrow().clone() } else { Tally::of(backlog) }
    }

    /// What holds it up. A dry run changes nothing, so it does not wait for a pause to end.
    fn held_up_by(&self, status: &Status) -> Option<String> {
        if status.paused_since.is_some() && !self.options.dry_run {
            return Some("syncs are paused; `queue resume` lets them go on".to_owned());
        }
        let api = status.apis.iter().find(|api| api.state == "resting")?;
        let until = api.until.unwrap_or(status.now);
        Some(format!("{}'s circuit is open ({}) until {until}", api.api, api.why.unwrap_or_default()))
    }
}

/// What some users wait for while the removal guard has tripped. Everybody else is synced.
fn removals_wait(status: &Status) -> Option<String> {
    status.tags_kept_since.map(|since| {
        format!("no tag is taken away since {since}: check Sesamy's contracts and users, then `queue resume`")
    })
}
