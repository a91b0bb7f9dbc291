//! The worker: takes due users from the queue, has them synced, and settles what came of it.
//!
//! At most `sync.concurrency` users at a time, each of them under a lease, so that no user is ever synced twice at once.
//! Nothing is leased while an API rests. What fails is tried again by `verdict`; what no retry can mend is parked.
//! Tests: `tests/stories`, in which the real process is stopped, killed and failed upon.

mod cause;
mod clockwork;
mod ended;
mod hand;
mod heartbeat;
mod pruning;
mod verdict;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::clock::Millis;
use crate::queue::{Job, Lane, Leased, NextDue, QueueError, Room, Settlement};
use crate::sync::Syncer;
use crate::telemetry;
use crate::upstream::rest::{Admission, Rest};
use crate::upstream::{Attempt, PerApi};

pub use cause::{AGAIN, EXISTING_ONLY, FORGET};
pub use clockwork::{Clockwork, TICK_EVERY};
pub use hand::{Ended, Hand, Limits};
pub use heartbeat::{Heartbeat, Pause};
pub use pruning::prune_history;
pub use verdict::Patience;

/// The loop turns at least this often, due rows or not: `/healthz` listens for it.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);
/// The wait after the queue could not be asked.
const AFTER_QUEUE_ERROR: Duration = Duration::from_secs(1);
/// While syncs are paused, how often to look whether they go on: somebody has said so and waits to see it.
const WHILE_PAUSED: Duration = Duration::from_secs(1);

/// The rests of both APIs.
pub type Rests = PerApi<Arc<Rest>>;

/// Everything that a worker works with.
#[derive(Debug)]
pub struct Worker {
    /// The queue that users come from, and how a sync ends.
    pub hand: Hand,
    /// What is done with them.
    pub syncer: Arc<Syncer>,
    /// `sync.concurrency`: how many users at a time; of the background lane half as many, and one at least.
    pub concurrency: usize,
    /// What `/healthz` listens to.
    pub heartbeat: Heartbeat,
    /// What `/readyz` tells of a pause.
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
    jobs: HashMap<Id, (Job, Attempt)>,
}

impl Worker {
    /// Works until `stop.leasing` is cancelled, then finishes what is under way, at the longest until `stop.running` is.
    /// Returns with no lease left but that of a sync that was cut off in a write.
    pub async fn run(self, stop: Stop) {
        let worker = Arc::new(self);
        let mut running = Running::default();
        worker.lease_and_sync(&mut running, &stop.leasing).await;
        worker.finish(&mut running, &stop.running).await;
    }

    async fn lease_and_sync(self: &Arc<Self>, running: &mut Running, stop: &CancellationToken) {
        let mut next_due = self.hand.queue.next_due();
        while !stop.is_cancelled() {
            self.heartbeat.beat();
            // Seen before the queue is asked, so that a row that becomes due in between is not slept through.
            next_due.mark_unchanged();
            let wake = self.lease(running).await;
            let is_idle = matches!(wake, Wake::WhenDue(_));
            let sleep = match wake {
                Wake::Now => continue,
                Wake::Never => return,
                Wake::After(wait) => wait.min(LONGEST_SLEEP),
                Wake::WhenOneEnds => LONGEST_SLEEP,
                Wake::WhenDue(background) => {
                    let due = background.earliest_of(*next_due.borrow());
                    let wait = due.map_or(LONGEST_SLEEP, |due| due.since(self.hand.clock.now()));
                    // A row that is due, and still was not leased, must not make the loop spin.
                    wait.clamp(Duration::from_millis(5), LONGEST_SLEEP)
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                Some(ended) = running.tasks.join_next_with_id() => self.reap(running, ended).await,
                Ok(()) = next_due.changed(), if is_idle => {}
                // The others are told of the brake at once: whoever starts before the store knows counts anew.
                () = self.syncer.brake().turned() => {}
                () = tokio::time::sleep(sleep) => {}
            }
        }
    }

    /// Leases as many users as may start now, and starts them; tells when to look again.
    async fn lease(self: &Arc<Self>, running: &mut Running) -> Wake {
        self.hand.tell_others().await;
        if matches!(self.hand.admission(), Admission::NotBefore(_)) {
            // Another process, or somebody by hand, may have ended it, or paused all.
            if let Some(known) = self.hand.learn().await {
                self.pause.set(known.paused_at);
            }
        }
        let room = match self.hand.admission() {
            Admission::Open => self.room(running),
            Admission::OneProbe => Room::for_any(usize::from(running.tasks.is_empty())),
            Admission::NotBefore(until) => return Wake::After(until.since(self.hand.clock.now())),
        };
        if room.all == 0 {
            return Wake::WhenOneEnds;
        }
        let asked = self.hand.brake.asks();
        match self.hand.queue.lease(room).await {
            Ok(leased) => {
                self.hand.adopt(asked, &leased.known); // before any of them is synced
                self.start(leased, room, running)
            }
            Err(QueueError::Closed) => {
                tracing::error!(
                    "the queue has closed by itself: no event can be kept and nobody synced any more"
                );
                Wake::Never
            }
            Err(error) => {
                tracing::error!(%error, "cannot lease users from the queue; trying again");
                Wake::After(AFTER_QUEUE_ERROR)
            }
        }
    }

    /// What the background lane may have of the room is half, so that an event finds a place soon.
    fn room(&self, running: &Running) -> Room {
        let all = self.concurrency.saturating_sub(running.tasks.len());
        let of_background = (self.concurrency / 2).max(1).saturating_sub(running.of_background());
        Room { all, background: of_background.min(all) }
    }

    fn start(self: &Arc<Self>, leased: Leased, room: Room, running: &mut Running) -> Wake {
        self.pause.set(leased.known.paused_at);
        let is_full = leased.jobs.len() == room.all;
        for job in leased.jobs {
            let attempt = self.hand.attempt(&job);
            let work = Arc::clone(self).work(job.clone(), attempt.clone());
            let id = running.tasks.spawn(work).id();
            running.jobs.insert(id, (job, attempt));
        }
        if leased.known.paused_at.is_some() {
            return Wake::After(WHILE_PAUSED);
        }
        match (leased.not_before, self.hand.admission()) {
            (_, Admission::NotBefore(until)) | (Some(until), _) => {
                Wake::After(until.since(self.hand.clock.now()))
            }
            _ if is_full => Wake::Now,
            _ if self.room(running).background == 0 => Wake::WhenDue(Background::WhenOneEnds),
            _ => Wake::WhenDue(leased.background_not_before.map_or(Background::Now, Background::NotBefore)),
        }
    }

    /// One sync, from lease to settlement.
    async fn work(self: Arc<Self>, job: Job, attempt: Attempt) {
        if let Some(parked) = verdict::of_a_poison_pill(&job, &self.hand.limits.patience) {
            tracing::error!(user_id = %job.user, attempt = job.unsettled, outcome = "parked", reason = "poison",
                "parked without a sync: the service has ended in the middle of this user's sync time and again");
            telemetry::sync_ended("parked", "poison", Duration::ZERO);
            let entry = ended::entry_of_a_poison_pill(&job);
            self.hand.settle(&job, parked, Some(entry)).await;
            return;
        }
        let syncer = self.syncer.in_manner(cause::manner_of(&job.event_type));
        let memory = cause::memory_of(&job);
        let sync = syncer.sync(&job.user, &memory, &attempt);
        self.hand.carry_out(job.clone(), attempt.clone(), sync).await;
    }

    async fn reap(&self, running: &mut Running, ended: Result<(Id, ()), JoinError>) {
        let id = match &ended {
            Ok((id, ())) => *id,
            Err(error) => error.id(),
        };
        let job = running.jobs.remove(&id);
        if let (Some((job, attempt)), Err(error)) = (job, ended)
            && error.is_panic()
        {
            let job = job.after(&attempt);
            tracing::error!(user_id = %job.user, "a sync panicked: a fault of this service; please report it");
            // As if the process had ended: the lease stands for a while, for the panic may have been in a write, and who
            // takes it over counts it.
            let failures = job.attempts.saturating_add(1);
            let (now, limits) = (self.hand.clock.now(), &self.hand.limits);
            let at = limits.patience.retry_at(failures, now, rand::random::<f64>());
            let settlement = Settlement::Abandon { until: at.max(now.plus(limits.request_timeout)) };
            self.hand.settle(&job, settlement, None).await;
        }
    }

    /// Lets running syncs end; what still runs when `cut` is cancelled is given back to the queue.
    async fn finish(&self, running: &mut Running, cut: &CancellationToken) {
        while !running.tasks.is_empty() {
            self.heartbeat.beat();
            tokio::select! {
                Some(ended) = running.tasks.join_next_with_id() => self.reap(running, ended).await,
                () = cut.cancelled() => break,
                () = tokio::time::sleep(LONGEST_SLEEP) => {}
            }
        }
        running.tasks.abort_all();
        while let Some(ended) = running.tasks.join_next_with_id().await {
            if ended.is_ok() {
                self.reap(running, ended).await;
            }
        }
        for (job, attempt) in std::mem::take(&mut running.jobs).into_values() {
            self.hand.cut_off(job, &attempt).await;
        }
    }
}

/// When the loop looks at the queue again.
enum Wake {
    Now,
    After(Duration),
    WhenOneEnds,
    /// With the next row that is due; from when on those of the background lane count.
    WhenDue(Background),
    Never,
}

/// When users of the background lane may be leased.
#[derive(Debug, Clone, Copy)]
enum Background {
    Now,
    NotBefore(Millis),
    WhenOneEnds,
}

impl Background {
    /// When to look again, by when rows are due.
    fn earliest_of(self, next: NextDue) -> Option<Millis> {
        let background = match self {
            Self::Now => next.background,
            Self::NotBefore(then) => next.background.map(|due| due.max(then)),
            Self::WhenOneEnds => None,
        };
        NextDue { background, ..next }.earliest()
    }
}

impl Running {
    fn of_background(&self) -> usize {
        self.jobs.values().filter(|(job, _)| job.lane == Lane::Background).count()
    }
}
