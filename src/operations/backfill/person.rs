//! One user of a backfill: decided on from pages, and written under the user's lease from data that is young enough.

use tokio_util::sync::CancellationToken;

use super::age::{ReadAt, TooOld};
use super::desk::Desk;
use crate::fields::Answer;
use crate::memory::Memory;
use crate::queue::{EXISTING_ONLY, Job, Lane, LeaseRequest, UserLease};
use crate::sync::{Context, Decision, Known, Report, SyncError};
use crate::tags;
use crate::upstream::circuit_breaker::{Blame, CallKind};
use crate::upstream::{Api, Attempt, Class, PerApi};
use crate::user::UserId;
use crate::worker::Ended;

use super::BackfillError;

/// What the history tells as the cause, but for a backfill that creates nobody ([`EXISTING_ONLY`]).
pub const CAUSE: &str = "backfill";
/// How often a dry run tries a user that fails in passing.
const DRY_TRIES: u32 = 3;

/// What is to be done about a user, and from what.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) user: UserId,
    /// What pages have said; by default nothing, and all is read under the lease.
    pub(super) known: Known,
    /// When they were asked for; none where nothing is known.
    pub(super) read_at: Option<ReadAt>,
}

/// What came of a user.
#[derive(Debug)]
pub(super) enum Fate {
    /// A sync, well or not.
    Ended(UserId, Ended),
    /// What a sync would have come to, or why it failed.
    Would(UserId, Result<Report, SyncError>),
    /// An event came in between: it goes first.
    Left(UserId),
    /// Cut off; the queue has it.
    CutOff,
}

/// Whether a user may be worked on.
pub(super) enum Turn {
    Leased(Box<Job>),
    /// Somebody else has the user in hand, or has had.
    Others,
    /// An operator has had the user forgotten.
    Forgotten,
}

/// Whether what `decision` would write may come of a contract that the list of all has not told: a row that moves between
/// two pages while they are read is on neither of them. Without it a tag would go, access would seem to be a gift, or a
/// custom field would tell of the others alone.
fn may_lack_a_contract(decision: &Decision) -> bool {
    let report = decision.report();
    let custom_fields = decision.explanation().map(|it| it.custom_fields.as_slice()).unwrap_or_default();
    custom_fields.iter().any(|field| field.changes && field.source.answer() == Answer::Contracts)
        || report.tags_removed.iter().any(|tag| tags::OF_CONTRACTS.contains(&tag.as_str()))
        || report.tags_added.iter().any(|tag| tag == tags::GIFTED)
}

impl Desk {
    /// Leases the user of `case`, once the pace, the APIs and the operator allow.
    pub(super) async fn lease(&self, case: &Case) -> Result<Turn, BackfillError> {
        loop {
            let request = LeaseRequest {
                user: case.user.clone(),
                cause: if self.existing_only { EXISTING_ONLY } else { CAUSE },
                lane: Lane::Background,
                calls: self.calls_of(case),
                untouched_since: case.read_at.map(|read_at| read_at.oldest()),
                again: false,
            };
            // Not raced with a stop: who is leased by then is synced, and let go of in the usual way.
            let leased = self.operator.hand.queue.lease_user(request).await?;
            match leased {
                UserLease::Leased(job) => {
                    self.operator.hand.learn().await; // whether tags are kept
                    self.goes_on();
                    return Ok(Turn::Leased(job));
                }
                UserLease::Held(_) | UserLease::Touched => return Ok(Turn::Others),
                UserLease::Forgotten => return Ok(Turn::Forgotten),
                UserLease::Paused => self.until_open().await?,
                UserLease::NotBefore(until) => {
                    if until.since(self.now()).as_secs() >= 1 {
                        self.operator.hand.learn().await; // another process may have found that an API rests
                    }
                    self.rest_told(until).await?;
                }
            }
        }
    }

    fn calls_of(&self, case: &Case) -> PerApi<u32> {
        let usual = self.operator.calls;
        let known = u32::from(case.known.profile.is_some()) + u32::from(case.known.contracts.is_some());
        // A second look at the contact, where the first was followed by one at Sesamy, must not wait for the pace.
        PerApi {
            sesamy: usual.sesamy.saturating_sub(known).max(1),
            mailmojo: usual.mailmojo.saturating_add(1),
        }
    }

    /// Syncs the user of `job`, unless an event comes in between.
    pub(super) async fn sync(&self, job: Job, case: Case, cut: CancellationToken) -> Fate {
        let hand = &self.operator.hand;
        let context = hand.context(&job);
        let work = self.decide_and_write(&job, &context, case);
        let fate = tokio::select! {
            ended = hand.carry_out_or_leave(job.clone(), context.clone(), work) => match ended {
                Some(ended) => Fate::Ended(job.user.clone(), ended),
                None => Fate::Left(job.user.clone()),
            },
            () = cut.cancelled() => {
                hand.cut_off(job.clone(), &context).await;
                Fate::CutOff
            }
        };
        self.made.used(job.calls, context.attempt.calls_left());
        fate
    }

    /// None: an event came in between.
    async fn decide_and_write(
        &self,
        job: &Job,
        context: &Context,
        case: Case,
    ) -> Option<Result<Report, SyncError>> {
        let decision = match self.decide(context, &case).await {
            Ok(decision) => decision,
            Err(error) => return Some(Err(error)),
        };
        if decision.changes() && !self.is_as_leased(job).await {
            return None;
        }
        Some(self.operator.syncer.write(decision, context).await)
    }

    /// Decides by what pages have said; where a write would follow, with what is not good enough for one read again.
    async fn decide(&self, context: &Context, case: &Case) -> Result<Decision, SyncError> {
        let Case { user, known, read_at } = case;
        let syncer = &self.operator.syncer;
        let decision = syncer.decide(user, context, known.clone()).await?;
        let Some(read_at) = read_at.filter(|_| decision.changes()) else { return Ok(decision) };
        // A dry run writes nothing, and is right as of its pages.
        let mut again = if self.dry_run { TooOld::default() } else { read_at.too_old(self.now()) };
        again.contracts |= read_at.contracts.is_some() && may_lack_a_contract(&decision);
        if !again.any() {
            return Ok(decision);
        }
        let mut known = decision.into_known();
        if again.profile {
            known.profile = None;
        }
        if again.contracts {
            known.contracts = None;
        }
        syncer.decide(user, context, known).await
    }

    /// Whether the lease still stands and nothing has asked for a sync since. Where that cannot be told, it is not written.
    async fn is_as_leased(&self, job: &Job) -> bool {
        match self.operator.hand.queue.rows_of(std::slice::from_ref(&job.user)).await {
            Ok(rows) => rows
                .iter()
                .any(|row| row.generation == job.generation && row.lease.as_ref() == Some(&job.lease)),
            Err(error) => {
                tracing::warn!(user_id = %job.user, %error, "cannot see whether an event has come; not written");
                false
            }
        }
    }

    /// What a sync of the user would do. Takes no lease and writes nothing.
    pub(super) async fn would(&self, case: Case) -> Fate {
        let hand = &self.operator.hand;
        let mut tries = 0;
        let memory = match self.operator.memory_of(&case.user).await {
            Ok(memory) => memory,
            Err(error) => {
                tracing::warn!(user_id = %case.user, %error, "cannot see what is remembered of the user");
                Memory::default()
            }
        };
        loop {
            if self.until_open().await.is_err() {
                return Fate::CutOff;
            }
            let attempt = Attempt::within(hand.limits.deadline, &hand.clock);
            let context = Context::new(attempt, memory.clone());
            let decision = tokio::select! {
                decision = self.decide(&context, &case) => decision,
                () = self.stop.leasing.cancelled() => return Fate::CutOff,
            };
            let error = match decision {
                Ok(decision) => {
                    let report = decision.report().clone();
                    let answered: Vec<_> = report.reached.iter().map(|api| (*api, CallKind::Read)).collect();
                    hand.record(&case.user, &answered, None).await;
                    return Fate::Would(case.user, Ok(report));
                }
                Err(error) => error,
            };
            tries += 1;
            // What fails for everybody is an API's, and waited out; a probe of it is this very user.
            let blame = hand.record(&case.user, &[], Some(&hand.failed(&error, None))).await;
            let is_called = matches!(error.class, Class::Transient | Class::Permanent);
            let is_refused = !is_called && Api::ALL.into_iter().any(|api| self.is_refused(api));
            let is_final = error.class == Class::Permanent || tries >= DRY_TRIES;
            let is_of_api = matches!(blame, Some(Blame::Api { .. }));
            if (!is_of_api && is_final) || is_refused {
                return Fate::Would(case.user, Err(error));
            }
            if self.sleep(hand.limits.retry.backoff.doubled(tries - 1)).await.is_err() {
                return Fate::CutOff;
            }
        }
    }
}
