//! The worker: leases due users, syncs them, and settles each sync.
//!
//! At most `sync.concurrency` users at a time, each under a lease, so that no user is ever synced twice at once. Nothing is
//! leased while an API's circuit is open. The queue's error policy decides whether a failure is retried or parked.
//! Tests: `tests/stories`, in which the real process is stopped, killed and failed upon.

mod cause;
mod ended;
mod heartbeat;
mod scheduler;
mod sync_runner;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::clock::Millis;
use crate::queue::{Job, Lane, Leased, QueueError, Settlement, Slots};
use crate::sync::{Context, Syncer};
use crate::telemetry;
use crate::upstream::circuit_breaker::Admission;
use crate::upstream::{Api, Gate, PerApi};
use crate::user::UserId;

pub use heartbeat::{Heartbeat, Pause};
pub use scheduler::{Scheduler, TICK};
pub use sync_runner::{Ended, Limits, SyncRunner};

/// The loop turns at least this often, due rows or not: other processes make rows due, and `/healthz` watches it.
const POLL: Duration = Duration::from_secs(1);
/// The wait after the queue could not be asked.
const AFTER_QUEUE_ERROR: Duration = Duration::from_secs(1);
/// The gates of both APIs.
pub type Gates = PerApi<Arc<Gate>>;

/// The worker.
#[derive(Debug)]
pub struct Worker {
    /// The queue that users come from, and how a sync ends.
    pub runner: SyncRunner,
    /// What syncs them.
    pub syncer: Arc<Syncer>,
    /// `sync.concurrency`: how many users at a time; of the background lane half as many, and one at least.
    pub concurrency: usize,
    /// What `/healthz` reports.
    pub heartbeat: Heartbeat,
    /// What `/readyz` reports of a pause.
    pub pause: Pause,
}

/// When to stop.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    /// Begin nothing new.
    pub leasing: CancellationToken,
    /// Cut off what still runs.
    pub running: CancellationToken,
}

/// The syncs under way.
#[derive(Debug, Default)]
struct Running {
    tasks: JoinSet<()>,
    syncs: HashMap<Id, RunningSync>,
    /// Whether the last lease failed.
    has_failed: bool,
}

#[derive(Debug)]
struct RunningSync {
    job: Job,
    context: Context,
    /// Cancelled when the task has ended, its line in the log included.
    ended: CancellationToken,
}

impl Worker {
    /// Works until `stop.leasing` is cancelled, then finishes what is under way, at the longest until `stop.running` is
    /// cancelled. No lease is left then but those of syncs that were cut off in a write.
    pub async fn run(self, stop: Stop) {
        let worker = Arc::new(self);
        let mut running = Running::default();
        worker.lease_and_sync(&mut running, &stop.leasing).await;
        worker.finish(&mut running, &stop.running).await;
    }

    async fn lease_and_sync(self: &Arc<Self>, running: &mut Running, stop: &CancellationToken) {
        let started = self.runner.queue.started();
        let mut started = std::pin::pin!(started);
        loop {
            self.heartbeat.beat();
            tokio::select! {
                () = &mut started => break,
                () = stop.cancelled() => return,
                () = tokio::time::sleep(POLL) => {}
            }
        }
        while !stop.is_cancelled() {
            self.heartbeat.beat();
            let (listens, known, sleep) = match self.lease(running).await {
                Next::Now => continue,
                Next::Never => return,
                Next::After(wait) => (false, None, wait.clamp(Duration::from_millis(5), POLL)),
                Next::WhenDue(due) => {
                    let wait = due.map_or(POLL, |due| due.since(self.runner.clock.now()));
                    // A row that is due, and still was not leased, must not make the loop spin.
                    (true, due, wait.clamp(Duration::from_millis(5), POLL))
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                Some(ended) = running.tasks.join_next_with_id() => self.reap(running, ended).await,
                () = self.runner.queue.due_before(known), if listens && self.slots(running).all > 0 => {}
                () = tokio::time::sleep(sleep) => {}
            }
        }
    }

    /// Leases as many users as may start now, and starts them; the result is when to do so again.
    async fn lease(self: &Arc<Self>, running: &mut Running) -> Next {
        let held = Api::ALL.into_iter().filter_map(|api| self.runner.gates.of(api).held_until()).max();
        if let Some(until) = held {
            // The answer that asked for it is about to be settled.
            return Next::After(until.since(self.runner.clock.now()));
        }
        let slots = self.slots(running);
        if slots.all == 0 {
            return Next::After(POLL);
        }
        match self.runner.queue.lease(slots).await {
            Ok(leased) => {
                running.has_failed = false;
                self.runner.adopt(&leased.known); // before any of them is synced
                self.start(leased, slots, running)
            }
            Err(QueueError::Closed) => {
                tracing::error!(
                    "the queue has closed by itself: no event can be kept and nobody synced any more"
                );
                Next::Never
            }
            Err(error) => {
                if !std::mem::replace(&mut running.has_failed, true) {
                    tracing::error!(%error, "cannot lease users from the queue: nobody is synced; trying again every second");
                }
                Next::After(AFTER_QUEUE_ERROR)
            }
        }
    }

    /// The background lane has at most half of the slots, so that an event finds one soon.
    fn slots(&self, running: &Running) -> Slots {
        let all = self.concurrency.saturating_sub(running.at_work().count());
        let of_background = running.at_work().filter(|job| job.lane == Lane::Background).count();
        let of_background = (self.concurrency / 2).max(1).saturating_sub(of_background);
        Slots { all, background: of_background.min(all) }
    }

    fn start(self: &Arc<Self>, leased: Leased, slots: Slots, running: &mut Running) -> Next {
        self.pause.set(leased.known.paused_at);
        let is_full = leased.jobs.len() == slots.all;
        for job in leased.jobs {
            let context = self.runner.context(&job);
            let before = running.last_of(&job.user);
            let work = Arc::clone(self).work(job.clone(), context.clone());
            let ended = CancellationToken::new();
            let guard = ended.clone().drop_guard();
            let id = running.tasks.spawn(async move {
                let _guard = guard;
                if let Some(before) = before {
                    before.cancelled().await; // the lines of one user are in order
                }
                work.await;
            });
            running.syncs.insert(id.id(), RunningSync { job, context, ended });
        }
        let now = self.runner.clock.now();
        let is_closed = |api: &Api| leased.known.breakers.of(*api).admission(now) == Admission::All;
        if !Api::ALL.iter().all(is_closed) {
            // No event makes a difference before the circuit closes, or lets the next probe through.
            return Next::After(leased.again_at.map_or(POLL, |again| again.since(now)));
        }
        if is_full { Next::Now } else { Next::WhenDue(leased.again_at) }
    }

    /// One sync, from lease to settlement.
    async fn work(self: Arc<Self>, job: Job, context: Context) {
        if let Some(parked) = self.runner.limits.retry.of_a_poison_pill(&job) {
            let (outcome, reason) = ended::POISON.words();
            tracing::error!(user_id = %job.user, attempt = job.attempts, outcome, reason,
                "parked without a sync: the service has ended in the middle of this user's sync time and again");
            telemetry::sync_ended(ended::POISON, Duration::ZERO);
            let entry = ended::entry_of_a_poison_pill(&job);
            self.runner.settle(&job, parked, Some(entry)).await;
            return;
        }
        let syncer = self.syncer.in_mode(cause::mode_of(&job.event_type));
        let sync = syncer.sync(&job.user, &context);
        self.runner.run(job.clone(), context.clone(), sync).await;
    }

    async fn reap(&self, running: &mut Running, ended: Result<(Id, ()), JoinError>) {
        let id = match &ended {
            Ok((id, ())) => *id,
            Err(error) => error.id(),
        };
        if let (Some(RunningSync { job, context, .. }), Err(error)) = (running.syncs.remove(&id), ended)
            && error.is_panic()
        {
            let job = SyncRunner::after(job, &context);
            tracing::error!(user_id = %job.user, "a sync panicked: a fault of this service; please report it");
            // As if the process had ended: the lease stands for a while, for the panic may have been in a write, and the next
            // lease counts it.
            let failures = job.attempts.saturating_add(1);
            let (now, limits) = (self.runner.clock.now(), &self.runner.limits);
            let at = limits.retry.retry_at(failures, now, rand::random::<f64>());
            let settlement = Settlement::Abandon { until: at.max(now.plus(limits.request_timeout)) };
            self.runner.settle(&job, settlement, None).await;
        }
    }

    /// Lets running syncs end, and releases those that still run when `cut` is cancelled.
    async fn finish(&self, running: &mut Running, cut: &CancellationToken) {
        while !running.tasks.is_empty() {
            self.heartbeat.beat();
            tokio::select! {
                Some(ended) = running.tasks.join_next_with_id() => self.reap(running, ended).await,
                () = cut.cancelled() => break,
                () = tokio::time::sleep(POLL) => {}
            }
        }
        running.tasks.abort_all();
        while let Some(ended) = running.tasks.join_next_with_id().await {
            if ended.is_ok() {
                self.reap(running, ended).await;
            }
        }
        for RunningSync { job, context, .. } in std::mem::take(&mut running.syncs).into_values() {
            self.runner.cut_off(job, &context).await;
        }
    }
}

/// When the loop asks the queue again.
enum Next {
    Now,
    After(Duration),
    /// At this time, or when a row becomes due before it.
    WhenDue(Option<Millis>),
    Never,
}

impl Running {
    /// Cancelled with the end of the last task of `user` that has not been reaped. That task is settled, since the user was
    /// leased again.
    fn last_of(&self, user: &UserId) -> Option<CancellationToken> {
        self.syncs.values().find(|sync| sync.job.user == *user).map(|sync| sync.ended.clone())
    }

    /// The jobs that take a slot. A sync that only waits until its unanswered write is over takes none.
    fn at_work(&self) -> impl Iterator<Item = &Job> {
        self.syncs.values().filter(|sync| !sync.context.attempt.is_late()).map(|sync| &sync.job)
    }
}
