//! What both APIs say, made into a decision.

use super::contact::Found;
use super::decision::{Case, Decided, Decision, Write};
use super::former::Former;
use super::missing::{self, Look};
use super::outcome::{Outcome, Reason, Report, SyncError};
use super::source::{Nobody, Source};
use super::{Manner, Syncer};
use crate::memory::Memory;
use crate::merge::leaving::{self, Barrier, has_moved};
use crate::merge::{self, Plan};
use crate::personal::Mask;
use crate::upstream::{Api, Attempt, Failure};
use crate::user::UserId;

/// All that was read of a user who has an address.
pub(super) struct Gathered {
    pub(super) source: Source,
    pub(super) former: Option<Former>,
    pub(super) found: Option<Found>,
}

impl Syncer {
    /// The row of a list may have left out what the contact would lose, and is not believed in a change of address.
    pub(super) fn is_to_be_asked_again(
        &self,
        source: &Source,
        memory: &Memory,
        found: Option<&Found>,
    ) -> bool {
        let may_lack = || {
            let plan = self.plan(source, found, None);
            plan.change().is_some_and(|change| source.may_lack_what_goes(change))
        };
        !source.is_whole && (has_moved(memory, &source.email) || may_lack())
    }

    /// The decision that follows from what was `gathered`; the queue alone may be asked something more.
    pub(super) async fn decide_by(
        &self,
        user: &UserId,
        memory: &Memory,
        mut gathered: Gathered,
        mask: Mask,
    ) -> Result<Decision, Failure> {
        if self.manner == Manner::Round && gathered.found.is_none() && gathered.former.is_some() {
            // Until an ordinary sync makes the new contact, the old one is the user's, and is kept in step.
            gathered.found = gathered.former.take().and_then(Former::into_own);
            let (Some(_), Some(before)) = (&gathered.found, &memory.email) else {
                let profile = Some(gathered.source.profile);
                let nobody = Nobody { reason: Reason::NotInMailmojo, profile, asked: true };
                return Ok(self.skip(user, memory, nobody, mask));
            };
            before.as_str().clone_into(&mut gathered.source.email);
        }
        let barrier = self.barrier(user, memory, &gathered).await?;
        if self.manner == Manner::Round && self.takes_from_another(user, &gathered, barrier).await? {
            return Ok(self.keeping_tags().decided(user, memory, gathered, barrier, mask));
        }
        Ok(self.decided(user, memory, gathered, barrier, mask))
    }

    /// Whether a tag would go from a contact that another user is remembered by too: of two users with one address, each
    /// round would take the tags of the one, and the next one those of the other.
    async fn takes_from_another(
        &self,
        user: &UserId,
        gathered: &Gathered,
        barrier: Option<Barrier>,
    ) -> Result<bool, Failure> {
        let plan = self.plan(&gathered.source, gathered.found.as_ref(), barrier);
        let takes_away = plan.change().is_some_and(|change| !change.tags_removed.is_empty());
        Ok(takes_away && self.is_remembered_of_another(user, &gathered.source.email).await?)
    }

    pub(super) fn plan(&self, source: &Source, found: Option<&Found>, barrier: Option<Barrier>) -> Plan {
        merge::plan(&source.person, &source.tags, found.map(Found::there), barrier, &self.options.rules)
    }

    async fn barrier(
        &self,
        user: &UserId,
        memory: &Memory,
        gathered: &Gathered,
    ) -> Result<Option<Barrier>, Failure> {
        if self.manner == Manner::Again {
            return Ok(None);
        }
        let Gathered { source, former, found } = gathered;
        let barrier =
            leaving::barrier(memory, former.as_ref().map(Former::as_old), found.as_ref().map(Found::there));
        let would_create = barrier.is_none() && found.is_none() && self.options.rules.create_contacts;
        if would_create && self.has_been_seen(user, &source.email).await? {
            // It was there as another user's: to make it again for this one would be to make it again all the same.
            return Ok(Some(Barrier::RemovedInMailmojo));
        }
        Ok(barrier)
    }

    /// A user whom Sesamy does not know, or who has nothing to bring in step.
    pub(super) async fn nobody(
        &self,
        user: &UserId,
        memory: &Memory,
        nobody: Nobody,
        attempt: &Attempt,
        mut mask: Mask,
    ) -> Result<Decision, SyncError> {
        // Whoever had an address and has none any more is as one whom Sesamy does not know: an account may be emptied rather
        // than deleted.
        let is_emptied = nobody.reason == Reason::NoEmail && memory.email.is_some();
        if nobody.reason != Reason::UserNotFound && !is_emptied {
            return Ok(self.skip(user, memory, nobody, mask));
        }
        let now = self.clock.wall();
        let missing = missing::missing(memory, now);
        let mut decision = self.skip(user, memory, nobody, Mask::default());
        // A sync that may create nobody begins no search for a user whom it could only create.
        let looks_again = memory.missing_since.is_some() || memory.email.is_some() || self.may_create();
        match missing::look(&missing, now) {
            Look::None => decision.report.memory = missing,
            Look::At(_) if !looks_again => decision.report.memory = missing,
            Look::At(then) => (decision.report.memory, decision.report.changes_at) = (missing, Some(then)),
            Look::Confirmed(email) => {
                let former = self.former(user, email, attempt, &mut mask).await;
                let former = former
                    .map_err(|failure| SyncError::of(user, &failure, &mask, &[Api::Sesamy, Api::Mailmojo]))?;
                decision.report.gone(&former, &missing, self.options.dry_run);
                decision.former = Some(Box::new(former));
            }
        }
        decision.mask = mask;
        Ok(decision)
    }

    fn skip(&self, user: &UserId, memory: &Memory, nobody: Nobody, mask: Mask) -> Decision {
        let reached: &[Api] = if nobody.asked { &[Api::Sesamy] } else { &[] };
        let mut report = Report::new(Outcome::Skipped(nobody.reason), reached);
        report.memory = Memory { missing_since: None, ..memory.clone() };
        let case = Case::Skipped(nobody.profile.map(Box::new));
        Decision { user: user.clone(), report, case, former: None, before: memory.clone(), mask }
    }

    fn decided(
        &self,
        user: &UserId,
        memory: &Memory,
        gathered: Gathered,
        barrier: Option<Barrier>,
        mask: Mask,
    ) -> Decision {
        let Gathered { source, former, found } = gathered;
        let plan = self.plan(&source, found.as_ref(), barrier);
        let there = found.as_ref().map(Found::there);
        let reached = [source.reached(), &[Api::Mailmojo]].concat();
        let mut report = Report::new(Outcome::of(&plan), &reached);
        report.withheld =
            there.and_then(|(contact, membership)| merge::withheld(contact, membership)).map(str::to_owned);
        if let Some(change) = plan.change() {
            report = report.with_change(change);
        }
        report.memory = leaving::remembered(memory, &source.email, barrier, there);
        if there.is_some() || plan.change().is_some() {
            report.changes_at = source.changes_at;
        }
        report.moved(former.as_ref());
        report.held_back = self.options.dry_run && report.writes(&plan, former.as_ref());
        if report.held_back && former.is_some() {
            // The old contact still has our tags: the address that it is found by must not be forgotten.
            report.memory = Memory { missing_since: None, ..memory.clone() };
        }
        let write = self.first_write(&source, found.as_ref(), &plan);
        let decided = Decided::explained(source, found, barrier, plan, write, &self.options.rules);
        let (case, former) = (Case::Decided(Box::new(decided)), former.map(Box::new));
        Decision { user: user.clone(), report, case, former, before: memory.clone(), mask }
    }

    pub(super) fn first_write(&self, source: &Source, found: Option<&Found>, plan: &Plan) -> Option<Write> {
        let data = plan.change()?.data.clone();
        Some(match (plan, found) {
            (Plan::Update(_), Some(found)) => {
                let email = found.email.clone();
                Write { call: self.mailmojo.patching(&email, &data), email, data }
            }
            (_, found) => {
                // Mailmojo's own spelling of an address that it has; lower case for a new one, for contacts doubled by
                // letter case are a common complaint.
                let email = match found {
                    Some(found) => found.own_spelling().to_owned(),
                    None => source.email.to_lowercase(),
                };
                Write { call: self.mailmojo.subscribing(&email, &data), email, data }
            }
        })
    }
}
