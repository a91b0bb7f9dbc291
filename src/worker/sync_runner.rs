//! One leased user's sync, from lease to settlement: the same in the worker's loop and by an operator's command.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Gates, cause, ended};
use crate::clock::{Clock, Millis};
use crate::outcome::Outcome;
use crate::personal::without_addresses;
use crate::queue::{
    DRIFT, Done, EXPIRY, Entry, Failed, Job, MISSING, Queue, RetryPolicy, Settled, Settlement, SharedState,
    SyncEnd,
};
use crate::sync::{Context, Report, SyncError, Syncer};
use crate::upstream::circuit_breaker::{Blame, CallKind, FailedCall};
use crate::upstream::{Api, Attempt, Class, Failure};
use crate::user::UserId;

/// What a sync needs of the settings.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// `sync.deadline`.
    pub deadline: Duration,
    /// `sync.request_timeout`.
    pub request_timeout: Duration,
    /// When to try again, and when to give up.
    pub retry: RetryPolicy,
    /// `sync.resync_every`: how long after a sync that ended well the clock asks for another one. None: never.
    pub resync_every: Option<Duration>,
}

impl Limits {
    /// When the clock asks for the next sync after one that gave `report` at `wall`, and why: when the wanted tags change by
    /// themselves, or after [`Limits::resync_every`], spread by 5 % either way by `draw` in `0.0..1.0`, so that users who were
    /// synced together do not come back together. A user without a usable address has only the check of [`crate::sync`].
    fn check(&self, report: &Report, wall: Millis, draw: f64) -> Option<(Millis, String)> {
        let is_missing = report.last_seen.missing_since.is_some();
        let cause = if is_missing { MISSING } else { EXPIRY };
        let change = report.changes_at.map(|at| (at, cause));
        let drift = self.resync_every.filter(|_| !is_missing && report.last_seen.email.is_some());
        let drift = drift.map(|every| (wall.plus(every.mul_f64(0.95 + 0.1 * draw)), DRIFT));
        let earliest = change.into_iter().chain(drift).min_by_key(|(at, _)| *at);
        earliest.map(|(at, cause)| (at, cause.to_owned()))
    }
}

/// Runs syncs. Clones share the queue and the gates.
#[derive(Debug, Clone)]
pub struct SyncRunner {
    /// Where leases come from, and end.
    pub queue: Queue,
    /// Whether calls to an API are made.
    pub gates: Gates,
    /// Makes the harmless call that shows whether an API is well.
    pub syncer: Arc<Syncer>,
    /// The queue's time.
    pub clock: Clock,
    /// What to keep to.
    pub limits: Limits,
}

/// The end of a sync.
#[derive(Debug, Clone)]
pub struct Ended {
    /// What it did, or why it failed.
    pub result: Result<Report, SyncError>,
    /// How its lease ended.
    pub settlement: Settlement,
}

impl Ended {
    /// How it ended, in log, metrics and history.
    pub fn outcome(&self) -> Outcome {
        match &self.result {
            Ok(report) => report.outcome,
            Err(error) => ended::outcome_of(error, &self.settlement),
        }
    }
}

impl SyncRunner {
    /// The time and the calls of the sync of `job`, and what is remembered. Its time began with the lease, so a late answer to
    /// the lease shortens it.
    pub fn context(&self, job: &Job) -> Context {
        let spent = self.clock.now().since(job.leased_at);
        let left = self.limits.deadline.saturating_sub(spent);
        let attempt = Attempt::within(left, &self.clock).with_calls(job.calls);
        let context = Context::new(attempt, cause::memory_of(job));
        context.expecting_loss(job.expiry_has_come).with_pass(job.has_pass)
    }

    /// `job` as it is settled after a sync within `context`: with the calls that are left, and what the sync has seen.
    pub fn after(job: Job, context: &Context) -> Job {
        let (learned, suspect) = (context.learned().map(Box::new), context.suspect());
        let (calls, has_written) = (context.attempt.calls_left(), context.attempt.has_written());
        Job { learned, suspect, calls, has_written, ..job }
    }

    /// Runs `sync`, the sync of `job` within `context`, logs its result, and ends the lease. A caller that cuts it off has to
    /// end the lease itself.
    pub async fn run(
        &self,
        job: Job,
        context: Context,
        sync: impl Future<Output = Result<Report, SyncError>>,
    ) -> Ended {
        let started = Instant::now();
        let result = sync.await;
        self.finish(job, context, result, started.elapsed()).await
    }

    async fn finish(
        &self,
        job: Job,
        context: Context,
        result: Result<Report, SyncError>,
        took: Duration,
    ) -> Ended {
        if context.attempt.is_writing() {
            // A write that was not answered in time may still take effect, and must not overlap with the next one.
            tokio::time::sleep(self.limits.request_timeout).await;
        }
        let end = match &result {
            Ok(report) => SyncEnd::As(Settlement::Done(Box::new(Done {
                held_back: report.held_back,
                tags_held: without_addresses(&report.tags_held),
                memory: report.last_seen.clone(),
                check: self.limits.check(report, self.clock.wall(), rand::random::<f64>()),
            }))),
            Err(SyncError::Api(failure)) => {
                SyncEnd::Failed(Box::new(self.failed(failure, self.is_api_well(&job, failure).await)))
            }
            Err(error @ SyncError::Queue(_)) => SyncEnd::As(Settlement::Retry {
                at: self.limits.retry.retry_at(1, self.clock.now(), rand::random()),
                counts: false,
                error: error.to_string(),
            }),
        };
        let entry = ended::entry(&job, &result, took);
        let answered = answered(result.as_ref().err(), &context.attempt);
        let job = Job { answered, ..Self::after(job, &context) };
        // The line of a sync that ended well is in the log before the row is settled; only the settlement decides the outcome of
        // a failure.
        if let Ok(report) = &result {
            ended::log_report(&job, report, took);
        }
        let settlement = self.settle_sync(&job, &end, Some(entry)).await;
        if let Err(error) = &result {
            ended::log_failure(&job, error, &settlement, took);
        }
        Ended { result, settlement }
    }

    /// Takes into account the calls for `user` within `context` that are no sync; the result is whose fault a failure is. A
    /// lease of the user stands.
    pub(crate) async fn record(
        &self,
        user: &UserId,
        context: &Context,
        error: Option<&SyncError>,
    ) -> Option<Blame> {
        let failed = error.and_then(SyncError::failure).map(|failure| self.failed(failure, None));
        self.record_calls(user.as_str(), &answered(error, &context.attempt), failed).await
    }

    /// Takes into account that a call failed which was made for no user, as for a page of a list.
    pub(crate) async fn record_failure(&self, failure: &Failure) {
        self.record_calls("", &[], Some(self.failed(failure, None))).await;
    }

    async fn record_calls(
        &self,
        user: &str,
        answered: &[(Api, CallKind)],
        failed: Option<Failed>,
    ) -> Option<Blame> {
        match self.queue.record_calls(user, answered, failed.as_ref()).await {
            Ok((blame, known)) => {
                failed.iter().for_each(|failed| self.release_gate(failed));
                self.adopt(&known);
                blame
            }
            Err(error) => {
                tracing::error!(%error, "cannot store what an API has answered");
                None
            }
        }
    }

    /// The failure, as the queue decides about it.
    fn failed(&self, failure: &Failure, is_api_well: Option<bool>) -> Failed {
        let (message, answer) = (failure.to_string(), failure.answer());
        let call = FailedCall { kind: failure.kind, class: failure.class, message, answer, is_api_well };
        Failed { api: failure.api, call, policy: self.limits.retry, draw: rand::random() }
    }

    /// Whether the API is well though a probe's read has failed there: one harmless call. `None`: not asked.
    async fn is_api_well(&self, job: &Job, failure: &Failure) -> Option<bool> {
        let is_asked = job.is_probe
            && failure.kind == CallKind::Read
            && matches!(failure.class, Class::Transient | Class::Permanent);
        if !is_asked {
            return None;
        }
        let attempt = Attempt::within(self.limits.request_timeout, &self.clock);
        Some(self.syncer.is_well(failure.api, &attempt).await)
    }

    /// Ends the lease; the result is how. If the store failed, the lease runs out, and the sync is done again.
    async fn settle_sync(&self, job: &Job, end: &SyncEnd, entry: Option<Entry>) -> Settlement {
        match self.queue.settle_sync(job, end, entry).await {
            Ok(came) => {
                if came.settled == Settled::LeaseLost && job.has_written {
                    tracing::warn!(user_id = %job.user, event_type = job.event_type, "a sync wrote to Mailmojo and ended \
                        after its lease, so it may have overwritten what a later sync wrote: the user is synced again");
                }
                if let SyncEnd::Failed(failed) = end {
                    self.release_gate(failed);
                }
                self.adopt(&came.known);
                came.how
            }
            Err(error) => {
                tracing::error!(user_id = %job.user, %error, "cannot settle a sync; it will be done again");
                match end {
                    SyncEnd::As(how) => how.clone(),
                    SyncEnd::Failed(failed) => {
                        let error = failed.call.message.clone();
                        Settlement::Retry { at: self.clock.now(), counts: false, error }
                    }
                }
            }
        }
    }

    pub(crate) async fn settle(&self, job: &Job, settlement: Settlement, entry: Option<Entry>) {
        self.settle_sync(job, &SyncEnd::As(settlement), entry).await;
    }

    /// Ends the lease of a sync that was cut off: the user is due at once, or, if a write was under way, when that is over one
    /// way or the other.
    pub async fn cut_off(&self, job: Job, context: &Context) {
        let settlement = if context.attempt.is_writing() {
            // The write may still arrive: the user must not be synced before then.
            Settlement::Abandon { until: self.clock.now().plus(self.limits.request_timeout) }
        } else {
            Settlement::Release { at: self.clock.now() }
        };
        self.settle(&Self::after(job, context), settlement, None).await;
    }

    /// Reads the state that all processes share, and takes it over. None: the store failed.
    pub async fn learn(&self) -> Option<SharedState> {
        match self.queue.known().await {
            Ok(known) => {
                self.adopt(&known);
                Some(known)
            }
            Err(error) => {
                tracing::debug!(%error, "cannot read the state of the APIs and of the removal guard");
                None
            }
        }
    }

    /// Takes over the state that all processes share.
    pub fn adopt(&self, known: &SharedState) {
        Api::ALL.into_iter().for_each(|api| self.gates.of(api).update(known.breakers.of(api), known.read_at));
    }

    /// Lets calls of this process pass again that waited for the settlement of `failed`.
    fn release_gate(&self, failed: &Failed) {
        if failed.call.class.holds_calls() {
            self.gates.of(failed.api).release();
        }
    }
}

/// The calls that all succeeded, by API and kind. A write comes after reads of the same API.
fn answered(error: Option<&SyncError>, attempt: &Attempt) -> Vec<(Api, CallKind)> {
    let failed_read = error.and_then(SyncError::failure).filter(|failure| failure.kind == CallKind::Read);
    let is_well = |api: &Api| failed_read.is_none_or(|failure| failure.api != *api);
    let reads = attempt.answered().into_iter().filter(is_well).map(|api| (api, CallKind::Read));
    let has_written = error.is_none() && attempt.has_written();
    reads.chain(has_written.then_some((Api::Mailmojo, CallKind::Write))).collect()
}
