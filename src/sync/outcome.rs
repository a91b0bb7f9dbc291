//! How a sync ends: its outcome, its report, and what a failure leaves.

use super::former::Former;
use crate::clock::Millis;
use crate::memory::Memory;
use crate::merge::consent::Block;
use crate::merge::{self, NotCreated, Plan};
use crate::outcome::{Outcome, Reason};
use crate::upstream::circuit_breaker::CallKind;
use crate::upstream::{Api, Class, Failure, OwnWords};

/// What `plan` comes to, once it is written.
pub(super) fn outcome_of(plan: &Plan) -> Outcome {
    match plan {
        Plan::Create(_) => Outcome::Created,
        Plan::Subscribe(_) => Outcome::Subscribed,
        Plan::Update(_) => Outcome::Updated,
        Plan::Nothing => Outcome::Unchanged,
        Plan::NotCreated(why) => Outcome::Skipped(match why {
            NotCreated::NotWanted => Reason::NotInMailmojo,
            NotCreated::Blocked(Block::LeftUnderOldAddress) => Reason::LeftUnderOldAddress,
            NotCreated::Blocked(Block::RemovedInMailmojo | Block::TakenOffTheList) => {
                Reason::RemovedInMailmojo
            }
        }),
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
