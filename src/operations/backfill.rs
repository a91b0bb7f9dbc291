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
//! Promises, each a story in `tests/stories/backfill.rs` and `backfill_stops.rs`: a backfill that is killed and run again
//! misses no user and syncs no user twice; an event is synced at once while it runs; a dry run writes nothing, and its totals
//! are what the run then does.

mod dry_run;
mod own_worker;
mod pages;
pub(crate) mod progress;
mod report;
pub(crate) mod summary;

use std::cell::RefCell;
use std::pin::pin;
use std::time::{Duration, Instant};

use super::{Operator, Status};
use crate::clock::Millis;
use crate::queue::{Backlog, EXISTING_ONLY, QueueError};
use crate::worker::Stop;
use own_worker::OwnWorker;
use progress::{Progress, Spec};
pub(crate) use report::{ReportError, ReportFile};
use summary::{Summary, Tally};

/// The cause of its syncs, unless they may not create a contact ([`EXISTING_ONLY`]).
const CAUSE: &str = "backfill";
/// How often to check how far it is.
const EVERY: Duration = Duration::from_secs(1);
/// How long to wait at the end for users whose sync is retried.
const FOR_RETRIES: Duration = Duration::from_secs(60);

/// Why a backfill ends early. What was done stays done, and the same command continues.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BackfillError {
    /// Which list, and what failed, without personal data.
    #[error("{0} cannot be read: {1}. Once that is fixed, the same command goes on where this one ends")]
    List(&'static str, String),
    #[error(transparent)]
    Queue(#[from] QueueError),
    #[error(transparent)]
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
    pub(crate) spec: Spec,
    /// Nothing is written, and no user becomes due.
    pub(crate) dry_run: bool,
    /// `sync.concurrency`.
    pub(crate) concurrency: usize,
    /// `sesamy.derive_tags`: whether contracts count.
    pub(crate) derive_tags: bool,
}

#[derive(Debug)]
pub(crate) struct Backfill {
    operator: Operator,
    options: BackfillOptions,
    stop: Stop,
    continued: bool,
    progress: RefCell<Progress>,
    /// What a dry run has found.
    found: RefCell<Tally>,
    /// The page that cannot be read and is asked for again.
    trouble: RefCell<Option<String>>,
}

impl Backfill {
    /// A backfill that continues `last`, if that has the same spec and did not end.
    pub(crate) fn new(
        operator: Operator,
        options: BackfillOptions,
        last: Option<Progress>,
        stop: Stop,
    ) -> Self {
        let (progress, continued) = Progress::begin(last, options.spec, operator.hand.clock.now());
        let (progress, found, trouble) = (RefCell::new(progress), RefCell::default(), RefCell::default());
        Self { operator, options, stop, continued, progress, found, trouble }
    }

    /// When the backfill began that this one continues.
    pub(crate) fn continues_from(&self) -> Option<Millis> {
        self.continued.then(|| self.progress.borrow().began_at)
    }

    /// Makes every user due, and waits until they have been synced. A dry run decides for each of them instead, and writes a
    /// line into `report`. `show` is called about once a second. If `stop` ends it early, the summary is not finished.
    pub(crate) async fn run(
        self,
        report: Option<ReportFile>,
        show: impl FnMut(&LiveProgress),
    ) -> Result<Summary, BackfillError> {
        let mut worker = OwnWorker::new(&self.operator, self.options.concurrency, &self.stop);
        let ended = self.list_and_wait(report, &mut worker, show).await;
        worker.stop().await;
        let finished = ended?;
        let (now, dry_run) = (self.operator.hand.clock.now(), self.options.dry_run);
        let mut progress = self.progress.borrow().clone();
        if finished {
            progress.ended_at = Some(now);
            self.save(&progress).await?;
        }
        let tally = self.tally(&self.backlog().await?);
        Ok(Summary {
            ok: finished && tally.failed.is_empty(),
            finished,
            dry_run,
            spec: progress.spec,
            started_at: progress.began_at,
            continued: self.continued,
            users: progress.users(),
            tally,
            passed_over: progress.listed.passed_over,
            seconds: now.since(progress.began_at).as_secs(),
        })
    }

    /// Returns whether it came to its end before it was stopped.
    async fn list_and_wait(
        &self,
        report: Option<ReportFile>,
        worker: &mut OwnWorker,
        mut show: impl FnMut(&LiveProgress),
    ) -> Result<bool, BackfillError> {
        let mut listing = pin!(self.list(report));
        let (mut is_listed, mut empty_since) = (false, None);
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
            let (status, backlog) = (self.operator.status().await?, self.backlog().await?);
            let (done, retrying) = (self.tally(&backlog).done(), backlog.failing);
            let held_up = self.held_up_by(&status);
            worker.start_if_idle(&backlog, done, held_up.is_some()).await?;
            let users = if self.options.dry_run { self.progress.borrow().listed.users } else { 0 };
            let all = users.max(done + backlog.waiting + retrying);
            let waits_for =
                held_up.or_else(|| self.trouble.borrow().clone()).or_else(|| removals_wait(&status));
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

    /// Makes every user due, page by page and pass by pass. A dry run decides for each user, and makes one pass: a decision
    /// is right only for the moment. Dropping the future costs the page that is being read.
    async fn list(&self, mut report: Option<ReportFile>) -> Result<(), BackfillError> {
        let mut progress = self.progress.borrow().clone();
        self.save(&progress).await?;
        if progress.is_listed {
            return Ok(());
        }
        let cause = if progress.spec.existing_only { EXISTING_ONLY } else { CAUSE };
        let selection = self.selection().await?;
        let mut before = None;
        while !progress.is_listed && (report.is_none() || progress.pass == 1) {
            let page = self.users(progress.offset, before).await?;
            let next = page.next;
            before = next.map(|_| page.mark);
            let (users, forgotten, mut listed) = self.take(page, &selection).await?;
            match &mut report {
                Some(report) => self.decide_for(users, &forgotten, report).await?,
                None => {
                    let enqueued = self.operator.queue().enqueue(users, cause, progress.began_at).await?;
                    (listed.due, listed.passed_over.left_to_events) = (enqueued.due, enqueued.left_alone);
                }
            }
            progress = progress.after_page(listed, next);
            self.save(&progress).await?;
        }
        Ok(())
    }

    /// Makes `progress` the present one. A dry run leaves the store as it is.
    async fn save(&self, progress: &Progress) -> Result<(), QueueError> {
        if !self.options.dry_run {
            progress.save(self.operator.queue()).await?;
        }
        self.progress.replace(progress.clone());
        Ok(())
    }

    /// What is left to do; nothing for a dry run, which makes no user due.
    async fn backlog(&self) -> Result<Backlog, QueueError> {
        if self.options.dry_run {
            return Ok(Backlog::default());
        }
        let began = self.progress.borrow().began_at;
        self.operator.queue().backlog(began).await
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

/// What some users wait for while the removal guard has tripped. All others are synced.
fn removals_wait(status: &Status) -> Option<String> {
    status.tags_kept_since.map(|since| {
        format!("no tag is taken away since {since}: check Sesamy's contracts and users, then `queue resume`")
    })
}
