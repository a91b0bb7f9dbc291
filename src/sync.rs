//! One sync: brings the contact of one user to where Sesamy's present state says that it should be.
//!
//! It reads the profile, then contracts and entitlements at once, then the contact, last, so that the window in which
//! somebody's own change could be lost is as short as it can be; it merges; and it writes at most what differs. It knows
//! nothing of events, of the queue, or of trying again: a failure says what kind it is, and [`crate::worker`] decides.
//!
//! [`Syncer::decide`] reads, [`Syncer::write`] writes what was decided, [`Syncer::sync`] does the one and then the
//! other. Between them is a [`Decision`], which can be looked at without being written.

mod brake;
mod contact;
mod decision;
mod former;
mod kept;
mod missing;
mod outcome;
mod source;
mod take_off;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::clock::{Clock, Millis};
use crate::fields::CustomFields;
use crate::mailmojo::models::Contact;
use crate::memory::{Memory, Seen};
use crate::merge::leaving::{self, Barrier, has_moved};
use crate::merge::{self, Plan, Rules};
use crate::personal::Mask;
use crate::sesamy::models::{Contract, Entitlement, Profile};
use crate::upstream::{Api, Attempt, Failure, PerApi};
use crate::user::UserId;
use crate::{mailmojo, sesamy};
use contact::Found;
use decision::{Case, Decided, Write};
use former::Former;
use missing::Look;
use outcome::mask_of;
use source::{Nobody, Source};

pub use brake::{Asked, Brake, FEW, News, Sign, TOO_MANY, WINDOW, Window};
pub use decision::Decision;
pub use former::{NoOwners, OldContact, OldFate, Owners};
pub use outcome::{Outcome, Reason, Report, SyncError};
#[cfg(any(test, fuzzing))]
pub(crate) use source::address;
pub use take_off::TakenOff;

/// What a sync needs to know of the settings.
#[derive(Debug, Clone)]
pub struct Options {
    /// `sesamy.guest_user_id_prefixes`.
    pub guest_user_id_prefixes: Vec<String>,
    /// `sesamy.derive_tags`.
    pub derive_tags: bool,
    /// `sync.dry_run`.
    pub dry_run: bool,
    /// `mailmojo.custom_fields`.
    pub custom_fields: CustomFields,
    /// What the merge needs.
    pub rules: Rules,
}

/// What has been read of a user already, in lists: it is not read again. By default nothing.
///
/// The row of a list may leave out what the profile has. So one without an address, or one without tags where a tag would
/// be taken away, or without what a custom field comes from that would be emptied, is not trusted: the profile is read
/// singly then.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// The user's row in the list of users.
    pub profile: Option<Profile>,
    /// All contracts of the user.
    pub contracts: Option<Vec<Contract>>,
    /// All entitlements of the user.
    pub entitlements: Option<Vec<Entitlement>>,
}

/// How many calls a sync of a user with a page of everything makes at the most: profile, contracts and entitlements; the
/// contact, and a write. Longer lists, another letter case and second looks come on top.
#[must_use]
pub fn usual_calls(derive_tags: bool) -> PerApi<u32> {
    PerApi { sesamy: if derive_tags { 3 } else { 1 }, mailmojo: 2 }
}

/// How far a sync may go, by what asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// As the settings say.
    Usual,
    /// Nobody is created or subscribed, whatever the settings say.
    ExistingOnly,
    /// Likewise, and whose address has changed waits for an ordinary sync where the new one has no contact: a look that
    /// nobody asked for must not leave a reader without one.
    Round,
    /// As the settings say, and what is remembered of removing and leaving counts no more: an operator's word.
    Again,
}

/// Syncs users, any number at a time, but each user once at a time. Clones share the clients.
#[derive(Debug, Clone)]
pub struct Syncer {
    sesamy: Arc<sesamy::Client>,
    mailmojo: Arc<mailmojo::Client>,
    owners: Arc<dyn Owners>,
    clock: Clock,
    brake: Arc<Brake>,
    options: Options,
    manner: Manner,
}

impl Syncer {
    /// Puts the two clients together. `owners` knows whose an address is by what the queue remembers; `clock` is the queue's.
    #[must_use]
    pub fn new(
        sesamy: sesamy::Client,
        mailmojo: mailmojo::Client,
        owners: Arc<dyn Owners>,
        clock: Clock,
        options: Options,
    ) -> Self {
        let (sesamy, mailmojo) = (Arc::new(sesamy), Arc::new(mailmojo));
        let brake = Arc::new(Brake::new(clock.clone()));
        Self { sesamy, mailmojo, owners, clock, brake, options, manner: Manner::Usual }
    }

    /// The same in another manner.
    #[must_use]
    pub fn in_manner(&self, manner: Manner) -> Self {
        let mut syncer = Self { manner, ..self.clone() };
        syncer.options.rules.create_contacts &= matches!(manner, Manner::Usual | Manner::Again);
        syncer
    }

    /// The client that it asks Sesamy by.
    #[must_use]
    pub fn sesamy(&self) -> &sesamy::Client {
        &self.sesamy
    }

    /// What keeps its writes from taking tags away, where too many users would lose theirs at once.
    #[must_use]
    pub fn brake(&self) -> &Arc<Brake> {
        &self.brake
    }

    /// The list that it keeps in step.
    #[must_use]
    pub fn list_id(&self) -> u64 {
        self.mailmojo.list_id()
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(self.clock.now().0).unwrap_or_default()
    }

    /// Syncs `user`, of whom `memory` is remembered, within `attempt`. At most three writes: our tags off the contact of an
    /// address that the user has no more; a create or subscribe; and what still differs after it.
    ///
    /// # Errors
    /// [`SyncError`]; whatever was written by then was right, and a later sync finds and keeps it.
    pub async fn sync(&self, user: &UserId, memory: &Memory, attempt: &Attempt) -> Result<Report, SyncError> {
        let decision = self.decide(user, memory, attempt, Known::default()).await?;
        self.write(decision, attempt).await
    }

    /// Finds out what is to be done about `user`; reads only, and not what is `known`.
    ///
    /// # Errors
    /// [`SyncError`].
    pub async fn decide(
        &self,
        user: &UserId,
        memory: &Memory,
        attempt: &Attempt,
        known: Known,
    ) -> Result<Decision, SyncError> {
        let mut mask = mask_of(user);
        mask.add_personal([&memory.email]);
        let mut source = match self.ask_sesamy(user, known, attempt, &mut mask).await {
            Ok(Ok(source)) => source,
            Ok(Err(nobody)) => return self.nobody(user, memory, nobody, attempt, mask).await,
            Err(failure) => return Err(SyncError::of(user, &failure, &mask, &[])),
        };
        let mut looked: Option<(String, Option<Found>)> = None;
        loop {
            // The old contact first, so that the look at the one that is written for certain is as young as it can be.
            let former = self.moved_from(user, memory, &source, attempt, &mut mask).await;
            let former = former.map_err(|failure| SyncError::of(user, &failure, &mask, source.reached()))?;
            let found = match looked {
                Some((email, found)) if email == source.email => Ok(found),
                _ => self.find_contact(&source.email, attempt, &mut mask).await,
            };
            let found = found.map_err(|failure| SyncError::of(user, &failure, &mask, source.reached()))?;
            if !self.is_to_be_asked_again(&source, memory, found.as_ref()) {
                let decided = self.decide_by(user, memory, source, former, found, mask.clone()).await;
                return decided
                    .map_err(|failure| SyncError::of(user, &failure, &mask, &[Api::Sesamy, Api::Mailmojo]));
            }
            looked = Some((source.email.clone(), found));
            source = match self.ask_again(user, source, attempt, &mut mask).await {
                Ok(Ok(source)) => source,
                Ok(Err(nobody)) => return self.nobody(user, memory, nobody, attempt, mask).await,
                Err(failure) => return Err(SyncError::of(user, &failure, &mask, &[Api::Mailmojo])),
            };
        }
    }

    /// The row of a list may have left out what the contact would lose, and is not believed in a change of address.
    fn is_to_be_asked_again(&self, source: &Source, memory: &Memory, found: Option<&Found>) -> bool {
        let may_lack = || {
            let plan = self.plan(source, found, None);
            plan.change().is_some_and(|change| source.may_lack_what_goes(change))
        };
        !source.is_whole && (has_moved(memory, &source.email) || may_lack())
    }

    async fn decide_by(
        &self,
        user: &UserId,
        memory: &Memory,
        mut source: Source,
        mut former: Option<Former>,
        mut found: Option<Found>,
        mask: Mask,
    ) -> Result<Decision, Failure> {
        if self.manner == Manner::Round && found.is_none() && former.is_some() {
            // Until an ordinary sync makes the new contact, the old one is the user's, and is kept in step.
            found = former.take().and_then(Former::into_own);
            let (Some(_), Some(before)) = (&found, &memory.email) else {
                let nobody =
                    Nobody { reason: Reason::NotInMailmojo, profile: Some(source.profile), asked: true };
                return Ok(self.skip(user, memory, nobody, mask));
            };
            before.as_str().clone_into(&mut source.email);
        }
        let barrier = self.barrier(user, memory, &source, former.as_ref(), found.as_ref()).await?;
        let plan = self.plan(&source, found.as_ref(), barrier);
        let takes_away = plan.change().is_some_and(|change| !change.tags_removed.is_empty());
        // Of two users with one address, each round would take the tags of the one and give them back to the other.
        if self.manner == Manner::Round
            && takes_away
            && self.is_remembered_of_another(user, &source.email).await?
        {
            return Ok(self.keeping_tags().decided(user, memory, source, former, found, barrier, mask));
        }
        Ok(self.decided(user, memory, source, former, found, barrier, mask))
    }

    fn plan(&self, source: &Source, found: Option<&Found>, barrier: Option<Barrier>) -> Plan {
        merge::plan(&source.person, &source.tags, found.map(Found::there), barrier, &self.options.rules)
    }

    async fn barrier(
        &self,
        user: &UserId,
        memory: &Memory,
        source: &Source,
        former: Option<&Former>,
        found: Option<&Found>,
    ) -> Result<Option<Barrier>, Failure> {
        if self.manner == Manner::Again {
            return Ok(None);
        }
        let barrier = leaving::barrier(memory, former.map(Former::as_old), found.map(Found::there));
        if barrier.is_none() && found.is_none() && self.has_been_seen(user, &source.email).await? {
            // It was there as another user's: to make it again for this one would be to make it again all the same.
            return Ok(Some(Barrier::RemovedInMailmojo));
        }
        Ok(barrier)
    }

    /// A user whom Sesamy does not know, or who has nothing to bring in step.
    async fn nobody(
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
        let now = self.clock.now();
        let missing = missing::missing(memory, now);
        let mut decision = self.skip(user, memory, nobody, Mask::default());
        match missing::look(&missing, now) {
            Look::None => decision.report.memory = missing,
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
        source: Source,
        former: Option<Former>,
        found: Option<Found>,
        barrier: Option<Barrier>,
        mask: Mask,
    ) -> Decision {
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
            report.changes_at = source.changes_at.and_then(shortly_after);
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

    fn first_write(&self, source: &Source, found: Option<&Found>, plan: &Plan) -> Option<Write> {
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

    /// Writes what was decided; nothing where nothing is to be written, or under `sync.dry_run`; and without taking a tag
    /// away while the brake is on. A decision is to be written at once, while what it was decided from still holds.
    ///
    /// # Errors
    /// [`SyncError`]; whatever was written by then was right, and a later sync finds and keeps it.
    pub async fn write(&self, decision: Decision, attempt: &Attempt) -> Result<Report, SyncError> {
        if self.options.dry_run {
            return Ok(decision.report);
        }
        if !self.brake.note(&decision.user, decision.sign()) {
            return self.write_all(decision, attempt).await;
        }
        let syncer = self.keeping_tags();
        syncer.write_all(syncer.held(decision), attempt).await
    }

    async fn write_all(&self, decision: Decision, attempt: &Attempt) -> Result<Report, SyncError> {
        let Decision { user, mut report, case, former, mut mask, .. } = decision;
        if let Some(write) = former.as_ref().and_then(|former| former.write.as_ref()) {
            let written = self.mailmojo.patch(&write.email, &write.data, attempt).await;
            written.map_err(|failure| SyncError::of(&user, &failure, &mask, &[Api::Sesamy]))?;
        }
        let Case::Decided(decided) = case else { return Ok(report) };
        let Some(write) = &decided.write else { return Ok(report) };
        let written = match &decided.plan {
            Plan::Update(_) => self.mailmojo.patch(&write.email, &write.data, attempt).await.map(|_| None),
            _ => self.put_on_list(&decided.source, write, attempt, &mut mask).await.map(Some),
        };
        match written {
            Ok(after) => {
                if let Some(after) = after {
                    report.memory.contact = Some(self.put_there(&after));
                }
                Ok(report)
            }
            Err(failure) => Err(SyncError::of(&user, &failure, &mask, decided.source.reached())),
        }
    }

    /// What is remembered of a contact that was just put on the list, and is as `after`.
    fn put_there(&self, after: &Contact) -> Seen {
        let place = after.association(self.mailmojo.list_id());
        Seen {
            status: after.status.clone(),
            on_list: true,
            list_status: place.and_then(|place| place.status.clone()),
        }
    }

    /// Creates or subscribes, and adds what still differs after it; the contact as it was right after the first of the two.
    async fn put_on_list(
        &self,
        source: &Source,
        write: &Write,
        attempt: &Attempt,
        mask: &mut Mask,
    ) -> Result<Contact, Failure> {
        let email = &write.email;
        let after = self.mailmojo.subscribe(email, &write.data, attempt).await?;
        after.mask_into(mask);
        // Somebody may have made the contact between our look and our write. What is theirs stays; what is still
        // missing is added once.
        let rest_of = |after: &Contact| {
            merge::change(&source.person, &source.tags, after, &self.options.rules.keep_tags)
        };
        let mut rest = rest_of(&after);
        if !after.tells_of(&rest.data) {
            // To take an answer that leaves out tags or a name for a contact without would wipe them.
            let seen = self.mailmojo.contact(email, attempt).await?;
            let seen = seen.ok_or_else(mailmojo::gone_meanwhile)?;
            seen.mask_into(mask);
            rest = rest_of(&seen);
        }
        if !rest.is_empty() {
            self.mailmojo.patch(email, &rest.data, attempt).await?;
        }
        Ok(after)
    }
}

/// Shortly after `moment`, so that whatever changes then has.
fn shortly_after(moment: Timestamp) -> Option<Millis> {
    const SHORTLY: Duration = Duration::from_secs(1);
    Some(Millis(moment.as_millisecond()).plus(SHORTLY))
}

#[cfg(test)]
mod tests;
