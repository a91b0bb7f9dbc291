//! One leased user's sync, from lease to settlement: the same for the loop and for what an operator asks for by hand.

use std::future::Future;
use std::time::{Duration, Instant};

use super::{Rests, cause, ended, verdict};
use crate::clock::Clock;
use crate::clock::Millis;
use crate::queue::{DRIFT, Done, EXPIRY, Entry, Job, Known, MISSING, Queue, Settled, Settlement};
use crate::sync::{Context, Report, SyncError};
use crate::upstream::rest::Admission;
use crate::upstream::{Api, Attempt};

use super::Patience;

/// What a sync needs of the settings.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// `sync.deadline`.
    pub deadline: Duration,
    /// `sync.request_timeout`.
    pub request_timeout: Duration,
    /// When to try again, and when to give up.
    pub patience: Patience,
    /// `sync.resync_every`: how long after a sync that ended well the clock asks for another one. None: never.
    pub resync_every: Option<Duration>,
}

impl Limits {
    /// When the clock asks for the next sync of a user whose sync came to `report` at `wall`, and why: when the wanted tags
    /// change by themselves, or after [`Limits::resync_every`], spread by 5 % either way by `draw` in `0.0..1.0`, so that
    /// users who were synced together do not come back together. A user without a usable address is checked as
    /// [`crate::sync`] says and not besides.
    fn check(&self, report: &Report, wall: Millis, draw: f64) -> Option<(Millis, String)> {
        let is_missing = report.memory.missing_since.is_some();
        let cause = if is_missing { MISSING } else { EXPIRY };
        let change = report.changes_at.map(|at| (at, cause));
        let drift = self.resync_every.filter(|_| !is_missing && report.memory.email.is_some());
        let drift = drift.map(|every| (wall.plus(every.mul_f64(0.95 + 0.1 * draw)), DRIFT));
        let earliest = change.into_iter().chain(drift).min_by_key(|(at, _)| *at);
        earliest.map(|(at, cause)| (at, cause.to_owned()))
    }
}

/// Carries syncs out. Clones share the queue and the rests.
#[derive(Debug, Clone)]
pub struct Hand {
    /// Where leases come from, and end.
    pub queue: Queue,
    /// Whether an API rests.
    pub rests: Rests,
    /// The queue's time.
    pub clock: Clock,
    /// What to keep to.
    pub limits: Limits,
}

/// What a sync came to.
#[derive(Debug, Clone)]
pub struct Ended {
    /// What it did, or why it failed.
    pub result: Result<Report, SyncError>,
    /// What follows for the user.
    pub settlement: Settlement,
}

impl Ended {
    /// The outcome and the reason, as log, metrics and history tell them.
    #[must_use]
    pub fn words(&self) -> (&'static str, &'static str) {
        ended::words(&self.result, &self.settlement)
    }
}

impl Hand {
    /// The time and the calls of the sync of `job`, and what is remembered. Its time began with the lease: where the lease's
    /// answer was late in coming, there is less of it.
    #[must_use]
    pub fn context(&self, job: &Job) -> Context {
        let spent = self.clock.now().since(job.leased_at);
        let left = self.limits.deadline.saturating_sub(spent);
        let attempt = Attempt::within(left, &self.clock).with_calls(job.calls);
        let context = Context::new(attempt, cause::memory_of(job));
        context.expecting_loss(job.expiry_has_come).with_pass(job.has_pass)
    }

    /// `job` as it is settled after a sync within `context`: with the calls that are left, and what the sync has seen.
    #[must_use]
    pub fn after(job: Job, context: &Context) -> Job {
        let (learned, suspect) = (context.learned().map(Box::new), context.suspect());
        Job { learned, suspect, ..job.after(&context.attempt) }
    }

    /// Runs `sync`, the sync of `job` within `context`, judges what came of it, logs it, and ends the lease. To be cut off
    /// only by who then ends the lease in its place.
    pub async fn carry_out(
        &self,
        job: Job,
        context: Context,
        sync: impl Future<Output = Result<Report, SyncError>>,
    ) -> Ended {
        let started = Instant::now();
        let result = sync.await;
        self.conclude(job, context, result, started.elapsed()).await
    }

    async fn conclude(
        &self,
        job: Job,
        context: Context,
        result: Result<Report, SyncError>,
        took: Duration,
    ) -> Ended {
        if context.attempt.is_writing() {
            // A write that was not answered in time may still take effect: it must not meet the next one.
            tokio::time::sleep(self.limits.request_timeout).await;
        }
        // Held until it is settled: what is not settled yet, an outage could not give back.
        let _turn = match &result {
            Ok(_) => None,
            Err(error) => Some(self.rests.of(error.api).turn().await),
        };
        let settlement = match &result {
            Ok(report) => {
                report.reached.iter().for_each(|api| self.rests.of(*api).succeeded(&job.user));
                Settlement::Done(Box::new(Done {
                    held_back: report.held_back,
                    tags_held: ended::masked(&report.tags_held),
                    memory: report.memory.clone(),
                    check: self.limits.check(report, self.clock.wall(), rand::random::<f64>()),
                }))
            }
            Err(error) => self.judge(&job, error).await,
        };
        self.tell_others().await; // before anybody else can be leased as the next probe
        ended::tell(&job, &result, &settlement, took);
        let entry = ended::entry(&job, &result, &settlement, took);
        self.settle(&Self::after(job, &context), settlement.clone(), Some(entry)).await;
        Ended { result, settlement }
    }

    /// Takes in what came of calls made under the lease of `job` that are no sync: which APIs answered, or what failed. The
    /// lease stands.
    pub async fn hear(&self, job: &Job, told: Result<&[Api], &SyncError>) {
        match told {
            Ok(reached) => reached.iter().for_each(|api| self.rests.of(*api).succeeded(&job.user)),
            Err(error) => {
                let _turn = self.rests.of(error.api).turn().await;
                self.judge(job, error).await; // for what it means for others; this user's row is its caller's
            }
        }
        self.tell_others().await;
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
            &self.limits.patience,
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
    pub(crate) async fn settle(&self, job: &Job, settlement: Settlement, entry: Option<Entry>) {
        match self.queue.settle(job, settlement, entry).await {
            Ok(Settled::LeaseLost) if job.has_written => {
                tracing::warn!(user_id = %job.user, event_type = job.event_type, "a sync wrote to Mailmojo and ended \
                    after its lease, so it may have overwritten what a later sync wrote: the user is synced again");
            }
            Ok(_) => {}
            Err(error) => {
                tracing::error!(user_id = %job.user, %error, "cannot settle a sync; it will be done again");
            }
        }
    }

    /// Ends the lease of a sync that was cut off: the user is due at once, or, where a write was under way, when it is over
    /// one way or the other.
    pub async fn cut_off(&self, job: Job, context: &Context) {
        let settlement = if context.attempt.is_writing() {
            // The write may still arrive: nobody may sync this user before then.
            Settlement::Abandon { until: self.clock.now().plus(self.limits.request_timeout) }
        } else {
            Settlement::Release
        };
        self.settle(&Self::after(job, context), settlement, None).await;
    }

    /// Whether syncs may begin: every one needs both APIs.
    #[must_use]
    pub fn admission(&self) -> Admission {
        self.rests.sesamy.admission().and(self.rests.mailmojo.admission())
    }

    /// Tells other processes what this one has found of an API, and learns what they have. Where
    /// the store cannot be had, this process keeps to it by itself, and tries again the next time.
    pub async fn tell_others(&self) {
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

    /// Asks what all processes know, and takes over their rests; none where the store cannot be had.
    pub async fn learn(&self) -> Option<Known> {
        match self.queue.known().await {
            Ok(known) => {
                self.adopt(&known);
                Some(known)
            }
            Err(error) => {
                tracing::debug!(%error, "cannot ask what other processes know of the APIs' rests");
                None
            }
        }
    }

    /// Takes over what all processes know.
    pub fn adopt(&self, known: &Known) {
        Api::ALL.into_iter().for_each(|api| self.rests.of(api).adopt(known.rests.of(api).clone()));
    }
}
