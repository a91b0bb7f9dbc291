//! A backfill: every Sesamy user becomes due in the background lane, and is synced there like any other user.
//!
//! It lists users and syncs none itself. A service that runs beside it does the syncs; without one, this process runs the same
//! [`Worker`](crate::worker::Worker) until the lane is empty. So leases, pace, circuits, retries and the removal guard work
//! as they do for every sync.
//!
//! ```text
//!  page of users ─▶ enqueue: not synced since it began, not due, not parked since? ─▶ due in the background lane
//!       ▲ next page, next pass                                                          │ a service, or this process
//!       └── progress is saved                                                           ▼
//!                              counts by outcome and reason of what was synced ◀── worker
//! ```
//!
//! Promises, each a story in `tests/stories/backfill/command.rs` and `backfill/stops.rs`: a backfill that is
//! killed and run again misses no user and syncs no user twice; an event is synced at once while it runs; a dry run writes nothing, and its totals
//! are what the run then does.

mod dry_run;
mod own_worker;
mod pages;
pub(crate) mod progress;
mod report;
pub(crate) mod summary;
mod waiting;

use std::cell::RefCell;
use std::pin::pin;
use std::time::{Duration, Instant};

use super::App;
use crate::queue::{Backlog, EXISTING_ONLY, QueueError};
use crate::worker::Stop;
use dry_run::DryRun;
use own_worker::OwnWorker;
pub(crate) use pages::{ListError, count_users};
use pages::{Pages, Selection};
use progress::Progress;
pub(crate) use report::{ReportError, ReportFile};
use summary::{Summary, Tally};
use waiting::{CHECK_EVERY, held_up_by, removals_wait};

/// The cause of its syncs, unless they may not create a contact ([`EXISTING_ONLY`]).
const CAUSE: &str = "backfill";
/// How long to wait at the end for users whose sync is retried.
const FOR_RETRIES: Duration = Duration::from_secs(60);

/// Why a backfill ends early. What was done stays done, and the same command continues.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) enum BackfillError {
    List(#[from] ListError),
    Queue(#[from] QueueError),
    Report(#[from] ReportError),
}

/// How far a running backfill is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LiveProgress {
    /// Users who need nothing more for now.
    pub(crate) done: u64,
    /// All users, as far as they are known.
    pub(crate) all: u64,
    /// Users who have failed and wait for a retry.
    pub(crate) retrying: u64,
    /// What holds it up, or some of its users.
    pub(crate) waits_for: Option<String>,
    /// Whether this process does the syncs.
    pub(crate) works_itself: bool,
}

#[derive(Debug)]
pub(crate) struct BackfillOptions {
    /// Where to begin.
    pub(crate) progress: Progress,
    /// Makes it a dry run: nothing is written but this, and no user becomes due.
    pub(crate) report: Option<ReportFile>,
    /// `sync.concurrency`.
    pub(crate) concurrency: usize,
    /// `sesamy.derive_tags`: whether contracts count.
    pub(crate) derive_tags: bool,
}

#[derive(Debug)]
pub(crate) struct Backfill {
    app: App,
    concurrency: usize,
    derive_tags: bool,
    stop: Stop,
    pages: Pages,
    dry_run: Option<DryRun>,
    progress: RefCell<Progress>,
}

impl Backfill {
    pub(crate) fn new(app: App, options: BackfillOptions, stop: Stop) -> Self {
        let BackfillOptions { progress, report, concurrency, derive_tags } = options;
        let dry_run = report.map(|report| DryRun::new(app.clone(), concurrency, report));
        let pages = Pages::new(app.clone(), dry_run.is_some());
        let progress = RefCell::new(progress);
        Self { app, concurrency, derive_tags, stop, pages, dry_run, progress }
    }

    /// Makes every user due, and waits until they have been synced. A dry run decides for each of them instead. `show` is
    /// called about once a second. If `stop` ends it early, the summary is not finished.
    pub(crate) async fn run(self, show: impl FnMut(&LiveProgress)) -> Result<Summary, BackfillError> {
        let mut worker = OwnWorker::new(&self.app, self.concurrency, &self.stop);
        let ended = self.list_and_wait(&mut worker, show).await;
        worker.stop().await;
        let finished = ended?;
        let now = self.app.runner.clock.now();
        let mut progress = self.progress.borrow().clone();
        if finished {
            progress.ended_at = Some(now);
            self.save(&progress).await?;
        }
        let (_, tally) = self.count().await?;
        Ok(Summary {
            ok: finished && tally.failed.is_empty(),
            finished,
            dry_run: self.dry_run.is_some(),
            spec: progress.spec,
            started_at: progress.began_at,
            continued: progress.continued,
            users: progress.users(),
            tally,
            passed_over: progress.listed.passed_over,
            seconds: now.since(progress.began_at).as_secs(),
        })
    }

    /// Returns whether it came to its end before it was stopped.
    async fn list_and_wait(
        &self,
        worker: &mut OwnWorker,
        mut show: impl FnMut(&LiveProgress),
    ) -> Result<bool, BackfillError> {
        let mut listing = pin!(self.list());
        let (mut is_listed, mut empty_since) = (false, None);
        let mut ticks = tokio::time::interval(CHECK_EVERY);
        loop {
            tokio::select! {
                listed = &mut listing, if !is_listed => {
                    listed?;
                    is_listed = true;
                }
                _ = ticks.tick() => {}
                () = self.stop.leasing.cancelled() => return Ok(false),
            }
            let known = self.app.queue().known().await?;
            let (backlog, tally) = self.count().await?;
            let (done, retrying) = (tally.done(), backlog.failing);
            let held_up = held_up_by(&known, self.dry_run.is_some());
            worker.start_if_idle(&backlog, done, held_up.is_some()).await?;
            let users = if self.dry_run.is_some() { self.progress.borrow().listed.users } else { 0 };
            let all = users.max(done + backlog.waiting + retrying);
            let waits_for = held_up.or_else(|| self.pages.trouble()).or_else(|| removals_wait(&known));
            show(&LiveProgress { done, all, retrying, waits_for, works_itself: worker.is_running() });
            if !is_listed || backlog.waiting > 0 {
                empty_since = None;
                continue;
            }
            let since = *empty_since.get_or_insert_with(Instant::now);
            if retrying == 0 || since.elapsed() >= FOR_RETRIES {
                return Ok(true);
            }
        }
    }

    /// Makes every user due, page by page and pass by pass. A dry run decides for each user, in one pass: a decision is right
    /// only for the moment. Dropping the future costs the page that is being read.
    async fn list(&self) -> Result<(), BackfillError> {
        let mut progress = self.progress.borrow().clone();
        self.save(&progress).await?;
        if progress.is_listed {
            return Ok(());
        }
        let queue = self.app.queue();
        let cause = if progress.spec.existing_only { EXISTING_ONLY } else { CAUSE };
        let selection = match progress.spec.since(progress.began_at) {
            Some(since) => self.pages.updated_since(since, self.derive_tags).await?,
            None => Selection::default(),
        };
        let mut before = None;
        while !progress.is_listed && (self.dry_run.is_none() || progress.pass == 1) {
            let page = self.pages.users(progress.offset, before).await?;
            let next = page.next;
            before = next.map(|_| page.mark);
            let (mut users, mut listed) = selection.take(page);
            let forgotten = queue.forgotten(&users).await?;
            users.retain(|user| !forgotten.contains(user));
            listed.passed_over.forgotten = forgotten.len() as u64;
            if let Some(dry_run) = &self.dry_run {
                dry_run.page(users, &forgotten).await?;
            } else {
                let enqueued = queue.enqueue(users, cause, progress.began_at).await?;
                (listed.due, listed.passed_over.left_to_events) = (enqueued.due, enqueued.left_alone);
            }
            progress = progress.after_page(listed, next);
            self.save(&progress).await?;
        }
        Ok(())
    }

    /// Makes `progress` the present one. A dry run leaves the store as it is.
    async fn save(&self, progress: &Progress) -> Result<(), QueueError> {
        if self.dry_run.is_none() {
            progress.save(self.app.queue()).await?;
        }
        self.progress.replace(progress.clone());
        Ok(())
    }

    /// What is left to do, and what has been done. A dry run leaves nothing to do.
    async fn count(&self) -> Result<(Backlog, Tally), QueueError> {
        if let Some(dry_run) = &self.dry_run {
            return Ok((Backlog::default(), dry_run.tally()));
        }
        let began = self.progress.borrow().began_at;
        let backlog = self.app.queue().backlog(began).await?;
        let tally = Tally::of(&backlog);
        Ok((backlog, tally))
    }
}
