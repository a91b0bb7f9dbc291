//! How a sync ends: its outcome, its report, and what a failure leaves.

use super::former::Former;
use crate::clock::Millis;
use crate::memory::Memory;
use crate::merge::consent::Block;
use crate::merge::{self, NotCreated, Plan};
use crate::upstream::circuit_breaker::CallKind;
use crate::upstream::{Api, Class, Failure, OwnWords};

/// How a sync ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The contact was not there, and is now, on the list.
    Created,
    /// The contact was not on the list, and is now.
    Subscribed,
    /// The contact's data or tags were changed.
    Updated,
    /// The contact is as it should be.
    Unchanged,
    /// There is nothing to bring in step.
    Skipped(Reason),
}

/// Why a user is skipped: quietly, for none of it is an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Sesamy has no such user.
    UserNotFound,
    /// A temporary account made during a checkout.
    Guest,
    /// The user has no address.
    NoEmail,
    /// The user's address is none.
    BadEmail,
    /// Mailmojo has no such contact, and `sync.create_contacts` is off, or who asked for the sync wants nobody created.
    NotInMailmojo,
    /// Somebody has removed the contact in Mailmojo.
    RemovedInMailmojo,
    /// The user had left under an older address.
    LeftUnderOldAddress,
    /// The removal guard has tripped, and nothing is left to do but what it holds back, or what follows from that.
    Brake,
}

impl Reason {
    /// The word in logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UserNotFound => "user_not_found",
            Self::Guest => "guest",
            Self::NoEmail => "no_email",
            Self::BadEmail => "bad_email",
            Self::NotInMailmojo => "not_in_mailmojo",
            Self::RemovedInMailmojo => "removed_in_mailmojo",
            Self::LeftUnderOldAddress => "left_under_old_address",
            Self::Brake => "brake",
        }
    }
}

impl Outcome {
    pub(super) fn of(plan: &Plan) -> Self {
        match plan {
            Plan::Create(_) => Self::Created,
            Plan::Subscribe(_) => Self::Subscribed,
            Plan::Update(_) => Self::Updated,
            Plan::Nothing => Self::Unchanged,
            Plan::NotCreated(why) => Self::Skipped(match why {
                NotCreated::NotWanted => Reason::NotInMailmojo,
                NotCreated::Blocked(Block::LeftUnderOldAddress) => Reason::LeftUnderOldAddress,
                NotCreated::Blocked(Block::RemovedInMailmojo | Block::TakenOffTheList) => {
                    Reason::RemovedInMailmojo
                }
            }),
        }
    }

    /// The word in logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Subscribed => "subscribed",
            Self::Updated => "updated",
            Self::Unchanged => "unchanged",
            Self::Skipped(_) => "skipped",
        }
    }

    /// The reason in logs and metrics.
    #[must_use]
    pub fn reason(self) -> Option<&'static str> {
        match self {
            Self::Skipped(reason) => Some(reason.as_str()),
            _ => None,
        }
    }
}

/// What a sync did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// How it ended; in a dry run, how it would have ended.
    pub outcome: Outcome,
    /// The names of the fields that were written.
    pub changed: Vec<&'static str>,
    /// Which of our tags the contact gained.
    pub tags_added: Vec<String>,
    /// Which of our tags the contact lost.
    pub tags_removed: Vec<String>,
    /// Which of our tags the contact of the address lost that the user had before; none where it is the same.
    pub old_tags_removed: Vec<String>,
    /// The tags that the removal guard kept the sync from removing, sorted.
    pub tags_held: Vec<String>,
    /// Whether `sync.dry_run`, or the removal guard, kept a change from being written.
    pub held_back: bool,
    /// Whether it was the guard; the fields above but `tags_held` then say what was written all the same.
    pub braked: bool,
    /// The status for which the contact is not subscribed by us, where there is one.
    pub withheld: Option<String>,
    /// Which APIs answered all that they were asked.
    pub reached: Vec<Api>,
    /// What to remember of the user from now on.
    pub memory: Memory,
    /// When to look at the user again though nothing asks for it; none: there is no such moment.
    pub changes_at: Option<Millis>,
}

impl Report {
    pub(super) fn new(outcome: Outcome, reached: &[Api]) -> Self {
        Self {
            outcome,
            changed: Vec::new(),
            tags_added: Vec::new(),
            tags_removed: Vec::new(),
            old_tags_removed: Vec::new(),
            tags_held: Vec::new(),
            held_back: false,
            braked: false,
            withheld: None,
            reached: reached.to_vec(),
            memory: Memory::default(),
            changes_at: None,
        }
    }

    /// The user has another address than before.
    pub(super) fn moved(&mut self, former: Option<&Former>) {
        let Some(former) = former.filter(|former| former.write.is_some()) else { return };
        self.old_tags_removed.clone_from(&former.tags);
        if self.outcome == Outcome::Unchanged {
            self.outcome = Outcome::Updated;
        }
    }

    /// The user is gone for good.
    pub(super) fn gone(&mut self, former: &Former, dry_run: bool) {
        self.reached = vec![Api::Sesamy, Api::Mailmojo];
        if former.write.is_some() {
            self.changed = vec!["tags"];
            self.tags_removed.clone_from(&former.tags);
            self.held_back = dry_run;
        }
    }

    /// Whether anything is written.
    pub(super) fn writes(&self, plan: &Plan, former: Option<&Former>) -> bool {
        plan.change().is_some() || former.is_some_and(|former| former.write.is_some())
    }

    pub(super) fn with_change(mut self, change: &merge::Change) -> Self {
        self.changed = change.fields();
        self.tags_added.clone_from(&change.tags_added);
        self.tags_removed.clone_from(&change.tags_removed);
        self
    }
}

/// Why a sync failed; nothing personal is in it, but for what [`OwnWords`] may have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SyncError {
    /// On which API.
    pub api: Api,
    /// On which kind of call.
    pub kind: CallKind,
    /// What follows.
    pub class: Class,
    /// What failed.
    pub message: String,
    /// What is the same for all who fail for this reason.
    pub answer: String,
    /// The API's own words, for the operator who has just asked; they are neither logged nor kept.
    pub own_words: Option<OwnWords>,
    /// Which APIs answered all that they were asked before.
    pub reached: Vec<Api>,
}

impl SyncError {
    /// What `failure` leaves of a sync in which the APIs of `reached` had answered before.
    pub(super) fn of(failure: &Failure, reached: &[Api]) -> Self {
        let reached = reached.iter().copied().filter(|api| *api != failure.api);
        Self {
            api: failure.api,
            kind: failure.kind,
            class: failure.class,
            message: failure.to_string(),
            answer: failure.answer(),
            own_words: failure.own_words().cloned(),
            reached: reached.collect(),
        }
    }
}
