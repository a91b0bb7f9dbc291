//! One sync: brings the contact of one user to where Sesamy's present state says that it should be.
//!
//! It reads the profile, then contracts and entitlements at once, then the contact, last, so that the window in which
//! somebody's own change could be lost is as short as it can be; it merges; and it writes at most what differs. It knows
//! nothing of events, of the queue, or of trying again: a failure says what kind it is, and [`crate::worker`] decides.
//!
//! [`Syncer::decide`] reads, [`Syncer::write`] writes what was decided, [`Syncer::sync`] does the one and then the
//! other. Between them is a [`Decision`], which can be looked at without being written.

mod contact;
mod decision;
mod outcome;
mod source;

use std::sync::Arc;

use crate::fields::CustomFields;
use crate::mailmojo::models::Contact;
use crate::merge::{self, Plan, Rules};
use crate::personal::Mask;
use crate::sesamy::models::{Contract, Entitlement, Profile};
use crate::upstream::{Api, Attempt, Failure, PerApi};
use crate::user::UserId;
use crate::{mailmojo, sesamy};
use contact::Found;
use decision::{Case, Decided, Write};
use outcome::mask_of;
use source::{Nobody, Source};

pub use decision::Decision;
pub use outcome::{Outcome, Reason, Report, SyncError};
#[cfg(any(test, fuzzing))]
pub(crate) use source::address;

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

/// Syncs users, any number at a time, but each user once at a time. Clones share the clients.
#[derive(Debug, Clone)]
pub struct Syncer {
    sesamy: Arc<sesamy::Client>,
    mailmojo: Arc<mailmojo::Client>,
    options: Options,
}

impl Syncer {
    /// Puts the two clients together.
    #[must_use]
    pub fn new(sesamy: sesamy::Client, mailmojo: mailmojo::Client, options: Options) -> Self {
        Self { sesamy: Arc::new(sesamy), mailmojo: Arc::new(mailmojo), options }
    }

    /// The same, but it creates and subscribes nobody, whatever `sync.create_contacts` says.
    #[must_use]
    pub fn existing_only(mut self) -> Self {
        self.options.rules.create_contacts = false;
        self
    }

    /// The client that it asks Sesamy by.
    #[must_use]
    pub fn sesamy(&self) -> &sesamy::Client {
        &self.sesamy
    }

    /// The list that it keeps in step.
    #[must_use]
    pub fn list_id(&self) -> u64 {
        self.mailmojo.list_id()
    }

    /// Syncs `user` within `attempt`. At most two writes: a create or subscribe, and what still differs after it.
    ///
    /// # Errors
    /// [`SyncError`]; whatever was written by then was right, and a later sync finds and keeps it.
    pub async fn sync(&self, user: &UserId, attempt: &Attempt) -> Result<Report, SyncError> {
        let decision = self.decide(user, attempt, Known::default()).await?;
        self.write(decision, attempt).await
    }

    /// Finds out what is to be done about `user`; reads only, and not what is `known`.
    ///
    /// # Errors
    /// [`SyncError`].
    pub async fn decide(
        &self,
        user: &UserId,
        attempt: &Attempt,
        known: Known,
    ) -> Result<Decision, SyncError> {
        let mut mask = mask_of(user);
        let source = match self.ask_sesamy(user, known, attempt, &mut mask).await {
            Ok(Ok(source)) => source,
            Ok(Err(nobody)) => return Ok(self.skip(user, nobody, mask)),
            Err(failure) => return Err(SyncError::of(user, &failure, &mask, &[])),
        };
        let found = self.find_contact(&source.email, attempt, &mut mask).await;
        let found = found.map_err(|failure| SyncError::of(user, &failure, &mask, source.reached()))?;
        let plan = self.plan(&source, found.as_ref());
        if plan.change().is_some_and(|change| source.may_lack_what_goes(change)) {
            return self.decide_again(user, attempt, source, found, mask).await;
        }
        Ok(self.decided(user, source, found, plan, mask))
    }

    /// Decides by the profile itself, for the row of a list may have left out what the contact would lose.
    async fn decide_again(
        &self,
        user: &UserId,
        attempt: &Attempt,
        row: Source,
        mut found: Option<Found>,
        mut mask: Mask,
    ) -> Result<Decision, SyncError> {
        let email = row.email.clone();
        let source = match self.ask_again(user, row, attempt, &mut mask).await {
            Ok(Ok(source)) => source,
            Ok(Err(nobody)) => return Ok(self.skip(user, nobody, mask)),
            Err(failure) => return Err(SyncError::of(user, &failure, &mask, &[Api::Mailmojo])),
        };
        if source.email != email {
            let moved = self.find_contact(&source.email, attempt, &mut mask).await;
            found = moved.map_err(|failure| SyncError::of(user, &failure, &mask, &[Api::Sesamy]))?;
        }
        let plan = self.plan(&source, found.as_ref());
        Ok(self.decided(user, source, found, plan, mask))
    }

    fn plan(&self, source: &Source, found: Option<&Found>) -> Plan {
        let there = found.map(|found| (&found.contact, &found.membership));
        merge::plan(&source.person, &source.tags, there, &self.options.rules)
    }

    fn skip(&self, user: &UserId, nobody: Nobody, mask: Mask) -> Decision {
        let reached: &[Api] = if nobody.asked { &[Api::Sesamy] } else { &[] };
        let report = Report::new(Outcome::Skipped(nobody.reason), reached);
        Decision { user: user.clone(), report, case: Case::Skipped(nobody.profile.map(Box::new)), mask }
    }

    fn decided(
        &self,
        user: &UserId,
        source: Source,
        found: Option<Found>,
        plan: Plan,
        mask: Mask,
    ) -> Decision {
        let outcome = match &plan {
            Plan::Create(_) => Outcome::Created,
            Plan::Subscribe(_) => Outcome::Subscribed,
            Plan::Update(_) => Outcome::Updated,
            Plan::Nothing => Outcome::Unchanged,
            Plan::NotInMailmojo => Outcome::Skipped(Reason::NotInMailmojo),
        };
        let reached = [source.reached(), &[Api::Mailmojo]].concat();
        let mut report = Report::new(outcome, &reached);
        let there = found.as_ref().map(|found| (&found.contact, &found.membership));
        report.withheld =
            there.and_then(|(contact, membership)| merge::withheld(contact, membership)).map(str::to_owned);
        if let Some(change) = plan.change() {
            report = report.with_change(change);
            report.held_back = self.options.dry_run;
        }
        let write = self.first_write(&source, found.as_ref(), &plan);
        let decided = Decided::explained(source, found, plan, write, &self.options.rules);
        Decision { user: user.clone(), report, case: Case::Decided(Box::new(decided)), mask }
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

    /// Writes what was decided; nothing where nothing is to be written, or under `sync.dry_run`. A decision is to be
    /// written at once, while what it was decided from still holds.
    ///
    /// # Errors
    /// [`SyncError`]; whatever was written by then was right, and a later sync finds and keeps it.
    pub async fn write(&self, decision: Decision, attempt: &Attempt) -> Result<Report, SyncError> {
        let Decision { user, report, case, mut mask } = decision;
        let Case::Decided(decided) = case else { return Ok(report) };
        let Some(write) = &decided.write else { return Ok(report) };
        if self.options.dry_run {
            return Ok(report);
        }
        let written = match &decided.plan {
            Plan::Update(_) => self.mailmojo.patch(&write.email, &write.data, attempt).await.map(|_| ()),
            _ => self.put_on_list(&decided.source, write, attempt, &mut mask).await,
        };
        match written {
            Ok(()) => Ok(report),
            Err(failure) => Err(SyncError::of(&user, &failure, &mask, decided.source.reached())),
        }
    }

    /// Creates or subscribes, and adds what still differs after it.
    async fn put_on_list(
        &self,
        source: &Source,
        write: &Write,
        attempt: &Attempt,
        mask: &mut Mask,
    ) -> Result<(), Failure> {
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
        Ok(())
    }
}

#[cfg(test)]
mod tests;
