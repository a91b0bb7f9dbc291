//! What a sync has found and would write: everything that a write, a preview and a dry run need.

use super::contact::Write;
use super::previous_contact::OldContact;
use super::report::Report;
use crate::merge::{Plan, Rules, Target};
use crate::model::{Contact, Profile, TagKinds};
use crate::outcome::{Outcome, Reason};
use crate::personal::Personal;
use crate::tags::{self, Reasons};

/// What is to be done about one user, decided from what both APIs said a moment ago. Nothing is written yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub(super) report: Report,
    /// What Sesamy says of the user.
    pub(super) profile: Option<Profile>,
    /// The contact of the address that the user has no more, if there is one.
    pub(super) old_contact: Option<OldContact>,
    /// What becomes of the present contact; `None` for a user who is skipped before that is known.
    pub(super) merge: Option<Merge>,
    /// Whether the sync is suspect ([`super::Context::suspect`]).
    pub(super) suspect: Option<bool>,
}

/// What becomes of a contact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Merge {
    /// The address, as Sesamy spells it.
    pub(super) email: Personal,
    pub(super) contact: Option<Contact>,
    pub(super) target: Target,
    pub(super) rules: Rules,
    pub(super) plan: Plan,
    /// The first write. A second one follows only where its answer shows that somebody else has made or changed the contact
    /// meanwhile.
    pub(super) write: Option<Write>,
}

impl Merge {
    /// The kinds of our tags that the contact has now.
    pub(super) fn kinds_now(&self) -> TagKinds {
        tags::kinds(self.contact.iter().flat_map(|contact| contact.tags.iter().flatten()))
    }

    /// The kinds of our tags that the plan leaves on the contact.
    pub(super) fn kinds_after(&self) -> TagKinds {
        match self.plan.change.as_ref().and_then(|change| change.data.tags.as_ref()) {
            Some(tags) => tags::kinds(tags),
            None => self.kinds_now(),
        }
    }
}

impl Decision {
    /// Whether a write follows from it, `sync.dry_run` aside.
    pub fn changes(&self) -> bool {
        self.write().is_some() || self.old_contact().is_some_and(|old| old.write.is_some())
    }

    /// How the sync ends if nothing comes between.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Why there is nothing to bring in step, if that is so.
    pub fn skipped(&self) -> Option<Reason> {
        match self.report.outcome {
            Outcome::Skipped(reason) => Some(reason),
            _ => None,
        }
    }

    /// What Sesamy says of the user, if it was asked and knows the user.
    pub fn profile(&self) -> Option<&Profile> {
        self.profile.as_ref()
    }

    /// The wanted tags and why; `None` for a user who was skipped before they were asked for.
    pub fn wanted(&self) -> Option<&Reasons> {
        self.merge.as_ref().map(|merge| &merge.target.tags)
    }

    /// The contact now.
    pub fn contact(&self) -> Option<&Contact> {
        self.merge.as_ref()?.contact.as_ref()
    }

    /// Why each field and tag changes or stays, and what becomes of the place on the list; `None` for a user who was skipped
    /// before the contact was asked for.
    pub fn plan(&self) -> Option<&Plan> {
        self.merge.as_ref().map(|merge| &merge.plan)
    }

    /// The contact of an address that the user has no more; `None` if the address is the one that was synced last. What is to
    /// be taken off it is, before anything else is written.
    pub fn old_contact(&self) -> Option<&OldContact> {
        self.old_contact.as_ref()
    }

    /// The write that is sent first of the present contact; `None` if nothing is to be written.
    pub fn write(&self) -> Option<&Write> {
        self.merge.as_ref()?.write.as_ref()
    }
}
