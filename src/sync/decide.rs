//! What both APIs say, made into a decision.

use super::contact::Found;
use super::decision::{Case, Decided, Decision, Write, tags_after, tags_now};
use super::former::Former;
use super::missing::{self, Look};
use super::outcome::{Report, SyncError, outcome_of};
use super::source::{Nobody, Source};
use super::{Context, Manner, Syncer};
use crate::address;
use crate::memory::{Memory, TagKinds};
use crate::merge::consent::{self, Block};
use crate::merge::{self, Plan};
use crate::outcome::{Outcome, Reason};
use crate::tags::Reasons;
use crate::upstream::{Api, Class, Failure};
use crate::user::UserId;

/// The most users of one address whose tags are put together. With more of them tags are only added: so many accounts are
/// no reader's, and each costs three calls.
const MOST_AT_AN_ADDRESS: usize = 5;

/// All that was read of a user who has an address.
pub(super) struct Gathered {
    pub(super) source: Source,
    pub(super) former: Option<Former>,
    pub(super) found: Option<Found>,
}

impl Syncer {
    /// The decision that follows from what was `gathered`. The queue may be asked something more, and Mailmojo for what its
    /// first answer left out.
    pub(super) async fn decide_by(
        &self,
        user: &UserId,
        memory: &Memory,
        context: &Context,
        mut gathered: Gathered,
    ) -> Result<Decision, Failure> {
        if !self.options.rules.create_contacts && gathered.found.is_none() && gathered.former.is_some() {
            // Nobody makes the new contact in this sync, so the old one is the user's only one: it is kept in step.
            gathered.found = gathered.former.take().and_then(Former::into_own);
            let (Some(_), Some(before)) = (&gathered.found, &memory.email) else {
                let profile = Some(gathered.source.profile);
                let nobody = Nobody { reason: Reason::NotInMailmojo, profile, asked: true };
                return Ok(self.skip(user, context, nobody));
            };
            before.as_str().clone_into(&mut gathered.source.email);
        }
        let block = self.block(user, memory, &gathered).await?;
        if let Some(found) = &mut gathered.found {
            let plan = self.plan(&gathered.source, Some(found), block);
            if plan.change().is_some_and(|change| !found.contact.has_keys_of(&change.data)) {
                self.fill_gaps(found, &context.attempt).await?;
            }
        }
        if self.takes_tags_away(&gathered, block) {
            match self.wanted_by_others(user, &gathered.source.email, context).await? {
                Some(wanted) => gathered.source.is_wanted_too(wanted),
                None => return Ok(self.keeping_tags().decided(user, context, gathered, block)),
            }
        }
        Ok(self.decided(user, context, gathered, block))
    }

    fn takes_tags_away(&self, gathered: &Gathered, block: Option<Block>) -> bool {
        let plan = self.plan(&gathered.source, gathered.found.as_ref(), block);
        plan.change().is_some_and(|change| !change.tags_removed.is_empty())
    }

    /// The tags that other users of the same address have, and why: a contact belongs to an address, and of two accounts
    /// neither may strip the other. Each user is read from Sesamy, and only where a tag would go. None where there are more
    /// users than [`MOST_AT_AN_ADDRESS`], or Sesamy will not say: then nothing may be taken away.
    async fn wanted_by_others(
        &self,
        user: &UserId,
        email: &str,
        context: &Context,
    ) -> Result<Option<Reasons>, Failure> {
        let others = self.others_at(user, email, MOST_AT_AN_ADDRESS).await?;
        if others.len() >= MOST_AT_AN_ADDRESS {
            return Ok(None);
        }
        let mut wanted = Reasons::new();
        for other in &others {
            match self.ask_sesamy(other, &context.attempt).await {
                Ok(Ok(source)) if address::is_same(&source.email, email) => {
                    source
                        .reasons
                        .into_iter()
                        .for_each(|(tag, why)| wanted.entry(tag).or_default().extend(why));
                }
                // Not the address's user any more, or nobody to be synced.
                Ok(_) => {}
                Err(failure) if failure.class == Class::Permanent => return Ok(None),
                Err(failure) => return Err(failure),
            }
        }
        Ok(Some(wanted))
    }

    pub(super) fn plan(&self, source: &Source, found: Option<&Found>, block: Option<Block>) -> Plan {
        merge::plan(&source.person, &source.tags, found.map(Found::there), block, &self.options.rules)
    }

    async fn block(
        &self,
        user: &UserId,
        memory: &Memory,
        gathered: &Gathered,
    ) -> Result<Option<Block>, Failure> {
        if self.manner == Manner::Again {
            return Ok(None);
        }
        let Gathered { source, former, found } = gathered;
        let (old, now) = (former.as_ref().map(Former::as_old), found.as_ref().map(Found::there));
        // Another user's row may know more of the contact than this one's: it was the same contact.
        let would_put_on_list =
            matches!(self.plan(source, found.as_ref(), None), Plan::Create(_) | Plan::Subscribe(_));
        let others = if would_put_on_list { self.seen_by_others(user, &source.email).await? } else { None };
        Ok(consent::block(memory, &source.email, old, now, others.as_ref(), &self.keys))
    }

    /// A user whom Sesamy does not know, or who has nothing to bring in step.
    pub(super) async fn nobody(
        &self,
        user: &UserId,
        memory: &Memory,
        nobody: Nobody,
        context: &Context,
    ) -> Result<Decision, SyncError> {
        // A user who had an address and has no usable one now (no e-mail, not an address, a guest) is like one whom Sesamy does
        // not know: an account may be emptied rather than deleted, and nobody would keep its old contact in step.
        let now = self.clock.wall();
        let missing = missing::missing(memory, now);
        if nobody.reason != Reason::UserNotFound && memory.email.is_none() {
            // Never synced, and only an event can change that: no check, no rounds, and the row goes after `history.days`.
            let mut decision = self.skip(user, context, nobody);
            decision.report.memory = missing;
            return Ok(decision);
        }
        let mut decision = self.skip(user, context, nobody);
        // A sync that may create nobody begins no search for a user whom it could only create.
        let looks_again = memory.missing_since.is_some() || memory.email.is_some() || self.may_create();
        match missing::look(&missing, now) {
            Look::None => decision.report.memory = missing,
            Look::At(_) if !looks_again => decision.report.memory = missing,
            Look::At(then) => (decision.report.memory, decision.report.changes_at) = (missing, Some(then)),
            Look::Confirmed(email) => {
                let former = self.former(user, email, context).await;
                let former =
                    former.map_err(|failure| SyncError::of(&failure, &[Api::Sesamy, Api::Mailmojo]))?;
                if consent::has_left_under(memory, former.as_old()) {
                    context.had_left(&self.keys);
                }
                decision.report.gone(&former, self.options.dry_run);
                decision.report.memory = if decision.report.held_back {
                    missing
                } else {
                    let missing_since = missing.missing_since;
                    let seen = Memory { missing_since, ..context.memory().at_list_of(&self.keys) };
                    let gone = consent::remembered_of_gone(memory, seen, former.as_old(), &self.keys);
                    Memory { tags: TagKinds::default(), ..gone }
                };
                decision.former = Some(Box::new(former));
            }
        }
        Ok(decision)
    }

    fn skip(&self, user: &UserId, context: &Context, nobody: Nobody) -> Decision {
        let reached: &[Api] = if nobody.asked { &[Api::Sesamy] } else { &[] };
        let mut report = Report::new(Outcome::Skipped(nobody.reason), reached);
        report.memory = Memory { missing_since: None, ..context.memory() };
        let case = Case::Skipped(nobody.profile.map(Box::new));
        Decision { user: user.clone(), report, case, former: None, before: context.memory() }
    }

    fn decided(
        &self,
        user: &UserId,
        context: &Context,
        gathered: Gathered,
        block: Option<Block>,
    ) -> Decision {
        let Gathered { source, former, found } = gathered;
        let plan = self.plan(&source, found.as_ref(), block);
        let there = found.as_ref().map(Found::there);
        let mut report = Report::new(outcome_of(&plan), &[Api::Sesamy, Api::Mailmojo]);
        report.withheld =
            there.and_then(|(contact, membership)| merge::withheld(contact, membership)).map(str::to_owned);
        if let Some(change) = plan.change() {
            report = report.with_change(change);
        }
        let seen = context.memory().at_list_of(&self.keys);
        report.memory = consent::remembered(seen.clone(), &source.email, block, there, &self.keys);
        if there.is_some() || plan.change().is_some() {
            report.changes_at = source.changes_at;
        }
        report.memory.tags = tags_after(&plan, found.as_ref());
        report.moved(former.as_ref());
        report.held_back = self.options.dry_run && report.writes(&plan, former.as_ref());
        if report.held_back {
            report.memory.tags = tags_now(found.as_ref());
        }
        if report.held_back && former.is_some() {
            // The old contact still has our tags: the address that it is found by must not be forgotten.
            report.memory = Memory { missing_since: None, ..seen.clone() };
        }
        let write = self.first_write(&source, found.as_ref(), &plan);
        let decided = Decided::explained(source, found, block, plan, write, &self.options.rules);
        let (case, former) = (Case::Decided(Box::new(decided)), former.map(Box::new));
        Decision { user: user.clone(), report, case, former, before: seen }
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
