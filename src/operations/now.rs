//! One user's sync, at once: through the queue's lease, so that it is never beside another sync of that user.

use std::time::Duration;

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::{FORGOTTEN, Operator};
use crate::clock::Millis;
use crate::queue::{AGAIN, Job, Lane, LeaseRequest, QueueError, UserLease};
use crate::sync::SyncMode;
use crate::upstream::circuit_breaker::{Admission, CallKind};
use crate::upstream::{Api, OwnWords};
use crate::user::UserId;
use crate::worker::Ended;

/// What the history tells as the cause.
const CAUSE: &str = "sync";
/// How often to ask again for a user whom somebody else syncs.
const ASK_AGAIN: Duration = Duration::from_millis(250);

/// How long to wait for a user's turn.
#[derive(Debug, Clone)]
pub struct Patience {
    /// The longest wait for somebody else's sync of the user, or for the pace.
    pub wait: Duration,
    /// Cancelled: the sync is cut off, and given back to the queue.
    pub stop: CancellationToken,
}

/// Whether who was removed, has left under an older address, or was forgotten, is taken up again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// No: leaving is leaving.
    No,
    /// Yes, by an operator's word.
    Yes,
}

/// What a sync by hand came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Synced {
    /// Who.
    #[serde(rename = "user_id")]
    pub user: String,
    /// `created`, `subscribed`, `updated`, `unchanged` or `skipped`; `failed`, `postponed` or `parked` where it went wrong.
    pub outcome: &'static str,
    /// Why it was skipped; `transient`, `permanent` or `resting` where it went wrong; else empty.
    pub reason: &'static str,
    /// Whether `sync.dry_run` kept the change from being written.
    pub dry_run: bool,
    /// Whether the removal guard kept tags from being removed; the other fields say what was written all the same.
    pub braked: bool,
    /// The names of the fields that changed.
    pub changed: Vec<&'static str>,
    /// Which of our tags the contact gained.
    pub tags_added: Vec<String>,
    /// Which of our tags the contact lost.
    pub tags_removed: Vec<String>,
    /// Which of our tags the contact of the user's address of before lost.
    pub old_tags_removed: Vec<String>,
    /// The tags that the removal guard kept from being removed.
    pub tags_held: Vec<String>,
    /// What failed.
    pub error: Option<String>,
    /// The API's own words about it, for the operator who has just asked. In no JSON by itself.
    #[serde(skip)]
    pub own_words: Option<OwnWords>,
}

impl Synced {
    /// Whether the user is in step.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.error.is_none()
    }

    fn of(user: &UserId, ended: Ended) -> Self {
        let (outcome, reason) = ended.outcome().words();
        let user = user.as_str().to_owned();
        match ended.result {
            Ok(report) => Self {
                user,
                outcome,
                reason,
                dry_run: report.held_back && !report.braked,
                braked: report.braked,
                changed: report.changed,
                tags_added: report.tags_added,
                tags_removed: report.tags_removed,
                old_tags_removed: report.old_tags_removed,
                tags_held: report.tags_held,
                error: None,
                own_words: None,
            },
            Err(error) => Self {
                user,
                outcome,
                reason,
                dry_run: false,
                braked: false,
                changed: Vec::new(),
                tags_added: Vec::new(),
                tags_removed: Vec::new(),
                old_tags_removed: Vec::new(),
                tags_held: Vec::new(),
                error: Some(error.to_string()),
                own_words: error.own_words().cloned(),
            },
        }
    }
}

/// Why nobody was synced.
#[derive(Debug, Clone, thiserror::Error)]
pub enum NotSynced {
    /// An operator has paused syncs.
    #[error("syncs are paused: `queue resume` lets them go on")]
    Paused,
    /// The user was forgotten by an operator.
    #[error("the user {FORGOTTEN}")]
    Forgotten,
    /// Somebody syncs the user, and was not done in time.
    #[error("the user is being synced by the service just now, until {until} at the latest; try again then")]
    Held {
        /// When that lease ends.
        until: Millis,
    },
    /// An API rests.
    #[error("{api} is at rest ({why}) until {until}; `queue resume` ends the rest at once, or wait")]
    Resting {
        /// Which.
        api: Api,
        /// Why.
        why: &'static str,
        /// When the rest ends.
        until: Millis,
    },
    /// The rate is used up.
    #[error("the rate of calls is used up until {until}; try again then")]
    NoCalls {
        /// When there are calls again.
        until: Millis,
    },
    /// It was to be cut off.
    #[error("stopped before the sync was over; the user is due and will be synced by the service")]
    Stopped,
    /// The store failed.
    #[error(transparent)]
    Queue(#[from] QueueError),
}

impl Operator {
    /// Syncs `user` now, due or not, parked or not; with [`Again::Yes`] also one who was forgotten, whose contact somebody has
    /// removed, or who had left under an older address. Nobody is ever subscribed against their status.
    ///
    /// # Errors
    /// [`NotSynced`]; a sync that was begun and failed is none of these.
    pub async fn sync(&self, user: &UserId, again: Again, patience: &Patience) -> Result<Synced, NotSynced> {
        let (cause, mode) = match again {
            Again::No => (CAUSE, SyncMode::Normal),
            Again::Yes => (AGAIN, SyncMode::Override),
        };
        let request = LeaseRequest {
            user: user.clone(),
            cause,
            lane: Lane::Events,
            calls: self.calls,
            again: again == Again::Yes,
        };
        let job = self.lease(&request, patience).await?;
        tracing::info!(user_id = %user, "an operator has asked for a sync");
        let context = self.hand.context(&job);
        let syncer = self.syncer.in_mode(mode);
        let work = syncer.sync(user, &context);
        let ended = tokio::select! {
            ended = self.hand.run(job.clone(), context.clone(), work) => ended,
            () = patience.stop.cancelled() => {
                self.hand.cut_off(job, &context).await;
                return Err(NotSynced::Stopped);
            }
        };
        Ok(Synced::of(user, ended))
    }

    /// Waits for the lease that `request` asks for; why there is none in the end.
    pub(super) async fn lease(&self, request: &LeaseRequest, patience: &Patience) -> Result<Job, NotSynced> {
        let gives_up = self.hand.clock.now().plus(patience.wait);
        let mut is_waiting = false;
        loop {
            let refused = match self.hand.queue.lease_user(request.clone()).await? {
                UserLease::Leased(job) => return Ok(*job),
                UserLease::Paused => return Err(NotSynced::Paused),
                UserLease::Forgotten => return Err(NotSynced::Forgotten),
                UserLease::Held(until) => NotSynced::Held { until },
                // It was touched between two looks: it asks for none, so this is a moment's matter.
                UserLease::NotBefore(until) => match self.resting().await {
                    Some(resting) => return Err(resting),
                    None => NotSynced::NoCalls { until },
                },
            };
            if self.hand.clock.now() >= gives_up {
                return Err(refused);
            }
            if !std::mem::replace(&mut is_waiting, true) {
                tracing::info!(user_id = %request.user, "waiting: {refused}");
            }
            tokio::select! {
                () = tokio::time::sleep(ASK_AGAIN) => {}
                () = patience.stop.cancelled() => return Err(NotSynced::Stopped),
            }
        }
    }

    /// The API whose circuit is open, as all processes know it.
    async fn resting(&self) -> Option<NotSynced> {
        let known = self.hand.learn().await?;
        let now = self.hand.clock.now();
        Api::ALL.into_iter().find_map(|api| {
            let breaker = known.breakers.of(api);
            let (reason, until) = breaker.open(CallKind::Read)?;
            let is_closed = breaker.admission(now) == Admission::All;
            (!is_closed).then(|| NotSynced::Resting { api, why: reason.as_str(), until })
        })
    }
}
