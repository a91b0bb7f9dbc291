//! The worker: takes due users from the queue, has them synced, and settles what came of it.
//!
//! At most `sync.concurrency` users at a time, each of them under a lease, so that no user is ever synced twice at once.
//! Nothing is leased while an API rests. What fails is tried again by `verdict`; what no retry can mend is parked.
//! Tests: `tests/stories`, in which the real process is stopped, killed and failed upon.

mod heartbeat;
mod log;
mod verdict;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::queue::{Job, Queue, QueueError, Room, Settlement};
use crate::sync::{SyncError, Syncer};
use crate::upstream::rest::{Admission, Rest, Shared};
use crate::upstream::{Api, Attempt, PerApi};

pub use heartbeat::Heartbeat;
pub use verdict::Patience;

/// The loop turns at least this often, due rows or not: `/healthz` listens for it.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);
/// The wait after the queue could not be asked.
const AFTER_QUEUE_ERROR: Duration = Duration::from_secs(1);

/// What the worker needs to know of the settings.
#[derive(Debug, Clone)]
pub struct Options {
    /// `sync.concurrency`.
    pub concurrency: usize,
    /// `sync.deadline`.
    pub deadline: Duration,
    /// `sync.request_timeout`.
    pub request_timeout: Duration,
    /// When to try again, and when to give up.
    pub patience: Patience,
}

/// The rests of both APIs.
pub type Rests = PerApi<Arc<Rest>>;

/// Everything that a worker works with.
#[derive(Debug)]
pub struct Worker {
    /// Where users come from.
    pub queue: Queue,
    /// What is done with them.
    pub syncer: Syncer,
    /// Whether an API rests.
    pub rests: Rests,
    /// The queue's time.
    pub clock: Clock,
    /// What to keep to.
    pub options: Options,
    /// What `/healthz` listens to.
    pub heartbeat: Heartbeat,
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
        let mut next_due = self.queue.next_due();
        while !stop.is_cancelled() {
            self.heartbeat.beat();
            // Seen before the queue is asked, so that a row that becomes due in between is not slept through.
            next_due.mark_unchanged();
            let wake = self.lease(running).await;
            let is_idle = matches!(wake, Wake::WhenDue);
            let sleep = match wake {
                Wake::Now => continue,
                Wake::Never => return,
                Wake::After(wait) => wait.min(LONGEST_SLEEP),
                Wake::WhenOneEnds => LONGEST_SLEEP,
                Wake::WhenDue => {
                    let due = next_due.borrow().earliest();
                    let wait = due.map_or(LONGEST_SLEEP, |due| due.since(self.clock.now()));
                    // A row that is due, and still was not leased, must not make the loop spin.
                    wait.clamp(Duration::from_millis(5), LONGEST_SLEEP)
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                Some(ended) = running.tasks.join_next_with_id() => self.reap(running, ended).await,
                Ok(()) = next_due.changed(), if is_idle => {}
                () = tokio::time::sleep(sleep) => {}
            }
        }
    }

    /// Leases as many users as may start now, and starts them; tells when to look again.
    async fn lease(self: &Arc<Self>, running: &mut Running) -> Wake {
        self.tell_rests().await;
        if matches!(self.admission(), Admission::NotBefore(_)) {
            self.learn_rests().await; // another process, or somebody by hand, may have ended it
        }
        let most = match self.admission() {
            Admission::Open => self.options.concurrency - running.tasks.len(),
            Admission::OneProbe => usize::from(running.tasks.is_empty()),
            Admission::NotBefore(until) => return Wake::After(until.since(self.clock.now())),
        };
        if most == 0 {
            return Wake::WhenOneEnds;
        }
        match self.queue.lease(Room::for_any(most)).await {
            Ok(leased) => {
                self.adopt(&leased.known.rests);
                let all = leased.jobs.len() == most;
                for job in leased.jobs {
                    let attempt = self.attempt(&job);
                    let work = Arc::clone(self).work(job.clone(), attempt.clone());
                    let id = running.tasks.spawn(work).id();
                    running.jobs.insert(id, (job, attempt));
                }
                match (leased.not_before, self.admission()) {
                    (_, Admission::NotBefore(until)) | (Some(until), _) => {
                        Wake::After(until.since(self.clock.now()))
                    }
                    _ if all => Wake::Now,
                    _ => Wake::WhenDue,
                }
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

    /// Its time began with the lease: where the answer was late in coming, there is less of it.
    fn attempt(&self, job: &Job) -> Attempt {
        let spent = self.clock.now().since(job.leased_at);
        Attempt::within(self.options.deadline.saturating_sub(spent)).with_calls(job.calls)
    }

    /// Every sync needs both APIs.
    fn admission(&self) -> Admission {
        self.rests.sesamy.admission().and(self.rests.mailmojo.admission())
    }

    /// Tells other processes what this one has found of an API, and learns what they have. Where the store cannot be
    /// had, this process keeps to it by itself, and tries again with the next turn of the loop.
    async fn tell_rests(&self) {
        for api in Api::ALL {
            let rest = self.rests.of(api);
            let Some(news) = rest.news() else { continue };
            match self.queue.tell_rest(api, news.change.clone()).await {
                Ok(known) => rest.told(&news, known.rests.of(api).clone()),
                Err(error) => {
                    tracing::warn!(%error, %api, "cannot tell other processes of an API's rest; trying again");
                }
            }
        }
    }

    async fn learn_rests(&self) {
        match self.queue.known().await {
            Ok(known) => self.adopt(&known.rests),
            Err(error) => tracing::debug!(%error, "cannot ask what other processes know of the APIs' rests"),
        }
    }

    fn adopt(&self, rests: &PerApi<Shared>) {
        Api::ALL.into_iter().for_each(|api| self.rests.of(api).adopt(rests.of(api).clone()));
    }

    /// One sync, from lease to settlement.
    async fn work(self: Arc<Self>, job: Job, attempt: Attempt) {
        if let Some(parked) = verdict::of_a_poison_pill(&job, &self.options.patience) {
            tracing::error!(user_id = %job.user, attempt = job.unsettled, outcome = "parked", reason = "poison",
                "parked without a sync: the service has ended in the middle of this user's sync time and again");
            self.settle(&job, parked).await;
            return;
        }
        let started = Instant::now();
        let result = self.syncer.sync(&job.user, &attempt).await;
        let took = started.elapsed();
        if attempt.is_writing() {
            // A write that was not answered in time may still take effect: it must not meet the next one.
            tokio::time::sleep(self.options.request_timeout).await;
        }
        // Held until it is settled: what is not settled yet, an outage could not give back.
        let _turn = match &result {
            Ok(_) => None,
            Err(error) => Some(self.rests.of(error.api).turn().await),
        };
        let settlement = match &result {
            Ok(report) => {
                report.reached.iter().for_each(|api| self.rests.of(*api).succeeded(&job.user));
                Settlement::Done { held_back: report.held_back }
            }
            Err(error) => self.judge(&job, error).await,
        };
        self.tell_rests().await; // before anybody else can be leased as the next probe
        log::sync_ended(&job, &result, &settlement, took);
        self.settle(&Job { calls: attempt.calls_left(), ..job }, settlement).await;
    }

    async fn judge(&self, job: &Job, error: &SyncError) -> Settlement {
        error.reached.iter().for_each(|api| self.rests.of(*api).succeeded(&job.user));
        let rest = self.rests.of(error.api);
        let blame = rest.failed(&job.user, error.class, &error.answer);
        let verdict = verdict::of(
            job,
            error,
            blame,
            rest,
            &self.options.patience,
            self.clock.now(),
            rand::random::<f64>(),
        );
        if let Some(outage) = verdict.outage {
            let given_back = self.queue.give_back(&outage.users, outage.answer.as_deref(), outage.due).await;
            if let Err(error) = given_back {
                tracing::error!(%error, "cannot give users back the attempts that an outage took");
            }
        }
        verdict.settlement
    }

    /// A settlement that fails is no loss: the lease runs out, and the sync is done again.
    async fn settle(&self, job: &Job, settlement: Settlement) {
        if let Err(error) = self.queue.settle(job, settlement, None).await {
            tracing::error!(user_id = %job.user, %error, "cannot settle a sync; it will be done again");
        }
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
            let job = Job { calls: attempt.calls_left(), ..job };
            tracing::error!(user_id = %job.user, "a sync panicked: a fault of this service; please report it");
            // As if the process had ended: the lease stands for a while, for the panic may have been in a write, and who
            // takes it over counts it.
            let failures = job.attempts.saturating_add(1);
            let now = self.clock.now();
            let at = self.options.patience.retry_at(failures, now, rand::random::<f64>());
            let settlement = Settlement::Abandon { until: at.max(now.plus(self.options.request_timeout)) };
            self.settle(&job, settlement).await;
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
            let job = Job { calls: attempt.calls_left(), ..job };
            let settlement = if attempt.is_writing() {
                // The write may still arrive: nobody may sync this user before it is over one way or the other.
                Settlement::Abandon { until: self.clock.now().plus(self.options.request_timeout) }
            } else {
                Settlement::Release
            };
            self.settle(&job, settlement).await;
        }
    }
}

/// When the loop looks at the queue again.
enum Wake {
    Now,
    After(Duration),
    WhenOneEnds,
    WhenDue,
    Never,
}
