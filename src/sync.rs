//! One sync: brings the contact of one user to where Sesamy's present state says that it should be.
//!
//! It reads the profile, then contracts and entitlements at once, then the contact, last, so that the window in which
//! somebody's own change could be lost is as short as it can be; it merges; and it writes at most what differs. It knows
//! nothing of events, of the queue, or of trying again: a failure says what kind it is, and [`crate::worker`] decides.
//!
//! [`Syncer::decide`] reads, [`Syncer::write`] writes what was decided, [`Syncer::sync`] does the one and then the
//! other. Between them is a [`Decision`], which can be looked at without being written.

mod contact;
mod context;
mod decide;
mod decision;
mod former;
mod missing;
mod outcome;
mod removal_guard;
mod sesamy_time;
mod source;
mod take_off;
mod write;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::clock::Clock;
use crate::fields::CustomFields;
use crate::memory::ContactKeys;
use crate::merge::Rules;
use crate::upstream::{Api, Attempt, PerApi};
use crate::user::UserId;
use crate::{mailmojo, sesamy};
use decide::Gathered;
use sesamy_time::{Difference, SesamyTime};

pub use context::Context;
pub use decision::Decision;
pub use former::{AddressIndex, NoOtherUsers, OldContact, OldFate};
pub use outcome::{Report, SyncError};
#[cfg(any(test, fuzzing))]
pub(crate) use source::address_of;
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
    addresses: Arc<dyn AddressIndex>,
    keys: Arc<ContactKeys>,
    clock: Clock,
    difference: Arc<Difference>,
    has_warned_of_list: Arc<AtomicBool>,
    options: Options,
    manner: Manner,
}

impl Syncer {
    /// Puts the two clients together. `addresses` knows what the queue remembers of an address; `clock` is the queue's.
    #[must_use]
    pub fn new(
        sesamy: sesamy::Client,
        mailmojo: mailmojo::Client,
        addresses: Arc<dyn AddressIndex>,
        clock: Clock,
        options: Options,
    ) -> Self {
        let keys = Arc::new(addresses.contact_keys(mailmojo.list_name()));
        let (sesamy, mailmojo) = (Arc::new(sesamy), Arc::new(mailmojo));
        let has_warned_of_list = Arc::default();
        Self {
            sesamy,
            mailmojo,
            addresses,
            keys,
            clock,
            difference: Arc::default(),
            has_warned_of_list,
            options,
            manner: Manner::Usual,
        }
    }

    /// The same in another manner.
    #[must_use]
    pub fn in_manner(&self, manner: Manner) -> Self {
        let mut syncer = Self { manner, ..self.clone() };
        syncer.options.rules.create_contacts &= syncer.may_create();
        syncer
    }

    /// Whether it may create somebody, as far as its manner goes.
    fn may_create(&self) -> bool {
        matches!(self.manner, Manner::Usual | Manner::Again)
    }

    /// The client that it asks Sesamy by.
    #[must_use]
    pub fn sesamy(&self) -> &sesamy::Client {
        &self.sesamy
    }

    /// Whether `api` answers what a sync reads of it, for a user who does not exist.
    pub async fn is_well(&self, api: Api, attempt: &Attempt) -> bool {
        let answer = match api {
            Api::Sesamy => self.sesamy.answers(self.options.derive_tags, attempt).await,
            Api::Mailmojo => self.mailmojo.answers(attempt).await,
        };
        answer.is_ok()
    }

    /// The list that it keeps in step.
    #[must_use]
    pub fn list_id(&self) -> u64 {
        self.mailmojo.list_id()
    }

    /// What time it is by what Sesamy has answered within `attempt`.
    fn sesamy_time(&self, attempt: &Attempt) -> SesamyTime {
        let time = SesamyTime::new(attempt.time_of(Api::Sesamy), self.clock.wall());
        self.difference.note(time);
        time
    }

    /// Syncs `user` within `context`. At most three writes: our tags off the contact of an address that the user no longer has;
    /// a create or subscribe; and what still differs after it.
    ///
    /// # Errors
    /// [`SyncError`]; whatever was written by then was right, and a later sync finds and keeps it.
    pub async fn sync(&self, user: &UserId, context: &Context) -> Result<Report, SyncError> {
        let decision = self.decide(user, context).await?;
        self.write(decision, context).await
    }

    /// Finds out what is to be done about `user`; reads only.
    ///
    /// # Errors
    /// [`SyncError`].
    pub async fn decide(&self, user: &UserId, context: &Context) -> Result<Decision, SyncError> {
        self.warn_of_another_list(context);
        let before = context.before().clone().at_list_of(&self.keys);
        let (memory, attempt) = (&before, &context.attempt);
        let source = match self.ask_sesamy(user, attempt).await {
            Ok(Ok(source)) => source,
            Ok(Err(nobody)) => return self.nobody(user, memory, nobody, context).await,
            Err(failure) => return Err(SyncError::of(&failure, &[])),
        };
        // The contact that is written for certain comes last, so that the look at it is as young as it can be.
        let gathered = async {
            let former = self.moved_from(user, memory, &source, context).await?;
            let found = self.find_contact(&source.email, context).await?;
            Ok((former, found))
        };
        let (former, found) = match gathered.await {
            Ok(gathered) => gathered,
            Err(failure) => return Err(SyncError::of(&failure, &[Api::Sesamy])),
        };
        let gathered = Gathered { source, former, found };
        let decided = self.decide_by(user, memory, context, gathered).await;
        decided.map_err(|failure| SyncError::of(&failure, &[Api::Sesamy, Api::Mailmojo]))
    }

    /// Logs, once per process, that what is remembered is about another list.
    fn warn_of_another_list(&self, context: &Context) {
        let Some(before) = context.before().list.as_deref().filter(|list| !self.keys.is_of(list)) else {
            return;
        };
        if !self.has_warned_of_list.swap(true, Ordering::Relaxed) {
            let list = self.mailmojo.list_name();
            tracing::warn!(
                list,
                before,
                "the queue remembers contacts of another Mailmojo list: on this one every user starts afresh, also those \
                 whose contact had been removed from the other; if that is not intended, set mailmojo.list_id and \
                 mailmojo.api_url back"
            );
        }
    }
}

#[cfg(test)]
mod tests;
