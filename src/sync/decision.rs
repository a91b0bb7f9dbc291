//! What a sync has found and would write: everything that a write, a preview and a dry run need.

use std::fmt;

use super::contact::Found;
use super::former::{Former, OldContact};
use super::outcome::Report;
use super::source::Source;
use crate::mailmojo::models::{Contact, ContactData};
use crate::memory::{Memory, TagKinds};
use crate::merge::consent::Block;
use crate::merge::why::{self, Explanation};
use crate::merge::{Membership, Plan, Rules};
use crate::outcome::{Outcome, Reason};
use crate::sesamy::models::Profile;
use crate::tags::Reasons;
use crate::upstream::Call;
use crate::user::UserId;

/// What is to be done about one user, decided from what both APIs said a moment ago. Nothing is written yet.
pub struct Decision {
    pub(super) user: UserId,
    pub(super) report: Report,
    pub(super) case: Case,
    /// Of the address that the user has no more, where there is one.
    pub(super) former: Option<Box<Former>>,
    /// What was remembered of the user, and what this sync has seen.
    pub(super) before: Memory,
}

pub(super) enum Case {
    /// There is nothing to bring in step.
    Skipped(Option<Box<Profile>>),
    /// There is somebody, and a plan.
    Decided(Box<Decided>),
}

pub(super) struct Decided {
    pub(super) source: Source,
    pub(super) found: Option<Found>,
    pub(super) block: Option<Block>,
    pub(super) plan: Plan,
    pub(super) write: Option<Write>,
    pub(super) explanation: Explanation,
}

/// The one write that a plan begins with.
pub(super) struct Write {
    /// The address that it is addressed to.
    pub(super) email: String,
    pub(super) data: ContactData,
    /// As it is sent.
    pub(super) call: Call,
}

impl fmt::Debug for Decision {
    /// Without what is personal in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decision")
            .field("user", &self.user)
            .field("report", &self.report)
            .finish_non_exhaustive()
    }
}

impl Decision {
    /// Whose it is.
    #[must_use]
    pub fn user(&self) -> &UserId {
        &self.user
    }

    /// Whether a write follows from it, `sync.dry_run` aside.
    #[must_use]
    pub fn changes(&self) -> bool {
        self.request().is_some() || self.old_contact().is_some_and(|old| old.request.is_some())
    }

    /// How the sync ends if nothing comes between.
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Why there is nothing to bring in step, where that is so.
    #[must_use]
    pub fn skipped(&self) -> Option<Reason> {
        match self.report.outcome {
            Outcome::Skipped(reason) => Some(reason),
            _ => None,
        }
    }

    /// What Sesamy says of the user, where it was asked and knows the user.
    #[must_use]
    pub fn profile(&self) -> Option<&Profile> {
        match &self.case {
            Case::Skipped(profile) => profile.as_deref(),
            Case::Decided(decided) => Some(&decided.source.profile),
        }
    }

    /// The wanted tags and why; none of a user who was skipped before they were asked for.
    #[must_use]
    pub fn wanted(&self) -> Option<&Reasons> {
        self.decided().map(|decided| &decided.source.reasons)
    }

    /// The contact now, and its place on the list.
    #[must_use]
    pub fn contact(&self) -> Option<(&Contact, &Membership)> {
        self.decided()?.found.as_ref().map(Found::there)
    }

    /// Why each field and tag changes or stays; none of a user who was skipped before the contact was asked for.
    #[must_use]
    pub fn explanation(&self) -> Option<&Explanation> {
        self.decided().map(|decided| &decided.explanation)
    }

    /// The contact of an address that the user has no more; none where the address is the one that was synced last. What is
    /// to be taken off it is, before anything else is written.
    #[must_use]
    pub fn old_contact(&self) -> Option<OldContact<'_>> {
        self.former.as_deref().map(Former::as_old_contact)
    }

    /// The very request that a write sends first of the present contact; none where nothing is to be written. A second one follows only where
    /// the answer shows that somebody else has made or changed the contact meanwhile.
    #[must_use]
    pub fn request(&self) -> Option<&Call> {
        Some(&self.decided()?.write.as_ref()?.call)
    }

    fn decided(&self) -> Option<&Decided> {
        match &self.case {
            Case::Skipped(_) => None,
            Case::Decided(decided) => Some(decided),
        }
    }
}

/// The kinds of our tags that the contact has now.
pub(super) fn tags_now(found: Option<&Found>) -> TagKinds {
    TagKinds::of(found.iter().flat_map(|found| found.contact.tags.iter().flatten()))
}

/// The kinds of our tags that `plan` leaves on the contact.
pub(super) fn tags_after(plan: &Plan, found: Option<&Found>) -> TagKinds {
    match plan.change().and_then(|change| change.data.tags.as_ref()) {
        Some(tags) => TagKinds::of(tags),
        None => tags_now(found),
    }
}

impl Decided {
    pub(super) fn tags_now(&self) -> TagKinds {
        tags_now(self.found.as_ref())
    }

    pub(super) fn tags_after(&self, plan: &Plan) -> TagKinds {
        tags_after(plan, self.found.as_ref())
    }

    pub(super) fn explained(
        source: Source,
        found: Option<Found>,
        block: Option<Block>,
        plan: Plan,
        write: Option<Write>,
        rules: &Rules,
    ) -> Self {
        let there = found.as_ref().map(Found::there);
        let explanation = why::explain(&source.person, &source.reasons, there, block, rules);
        Self { source, found, block, plan, write, explanation }
    }
}
