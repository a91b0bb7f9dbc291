//! One sync: brings the contact of one user to where Sesamy's present state says that it should be.
//!
//! | step | | where |
//! |---|---|---|
//! | 1 | observe: all reading, what Sesamy says first and the contact last | `observe`, into a `Snapshot` |
//! | 2 | decide: a pure function of what was read | `decide`, into a [`Decision`] |
//! | 3 | apply: at most three writes | `apply` |
//!
//! The decision says what it still has to know, so that nothing is read that is not needed. A preview is the first two steps.
//! A sync knows nothing of events, of the queue, or of trying again: a failure says what kind it is, and
//! [`crate::worker`] decides.

mod address_index;
mod apply;
mod contact;
mod context;
mod decide;
mod decision;
mod deletion;
mod observe;
mod policy;
mod previous_contact;
mod remove_tags;
mod report;
mod sesamy_time;
mod shared;
mod snapshot;

use std::sync::Arc;

use crate::clock::Clock;
use crate::upstream::{Api, Attempt, Call, PerApi};
use crate::user::UserId;
use crate::{mailmojo, sesamy};
use decide::decide;
use observe::Observer;
use policy::Policy;
use shared::Shared;

pub use address_index::{AddressIndex, NoOtherUsers};
pub use contact::Write;
pub use context::Context;
pub use decision::Decision;
pub use policy::{SyncMode, SyncSettings, usual_calls};
pub use previous_contact::{OldContact, OldFate};
pub use remove_tags::TagsRemoved;
pub use report::{Report, SyncError};
#[cfg(any(test, fuzzing))]
pub(crate) use snapshot::Addressed;

/// Syncs users, any number at a time, but each user once at a time. Clones share the clients.
#[derive(Debug, Clone)]
pub struct Syncer {
    shared: Arc<Shared>,
    mode: SyncMode,
}

impl Syncer {
    /// Puts the two clients together. `addresses` knows what the queue remembers of an address; `clock` is the queue's.
    pub fn new(
        sesamy: sesamy::Client,
        mailmojo: mailmojo::Client,
        addresses: Arc<dyn AddressIndex>,
        clock: Clock,
        settings: SyncSettings,
    ) -> Self {
        let shared = Shared::new(sesamy, mailmojo, addresses, clock, settings);
        Self { shared: Arc::new(shared), mode: SyncMode::Normal }
    }

    /// The same in another mode.
    #[must_use]
    pub fn in_mode(&self, mode: SyncMode) -> Self {
        Self { shared: Arc::clone(&self.shared), mode }
    }

    /// The client that it asks Sesamy by.
    pub fn sesamy(&self) -> &sesamy::Client {
        &self.shared.sesamy
    }

    /// Whether `api` answers what a sync reads of it, for a user who does not exist.
    pub async fn is_well(&self, api: Api, attempt: &Attempt) -> bool {
        let answer = match api {
            Api::Sesamy => self.shared.sesamy.answers(self.shared.settings.derive_tags, attempt).await,
            Api::Mailmojo => self.shared.mailmojo.answers(attempt).await,
        };
        answer.is_ok()
    }

    /// The list that it keeps in step.
    pub fn list_id(&self) -> u64 {
        self.shared.mailmojo.list_id()
    }

    /// Whether nothing is written (`sync.dry_run`).
    pub fn is_dry_run(&self) -> bool {
        self.shared.settings.dry_run
    }

    /// The very request that `write` sends.
    pub fn request(&self, write: &Write) -> Call {
        if write.puts_on_list {
            self.shared.mailmojo.subscribing(write.email.as_str(), &write.data)
        } else {
            self.shared.mailmojo.patching(write.email.as_str(), &write.data)
        }
    }

    /// Syncs `user` within `context`. At most three writes: our tags off the contact of an address that the user no longer has;
    /// a create or subscribe; and what still differs after it.
    ///
    /// # Errors
    /// [`SyncError`]; whatever was written by then was right, and a later sync finds and keeps it.
    pub async fn sync(&self, user: &UserId, context: &Context) -> Result<Report, SyncError> {
        let decision = self.preview(user, context).await?;
        self.apply(decision, context).await
    }

    /// Finds out what is to be done about `user`; reads only.
    pub async fn preview(&self, user: &UserId, context: &Context) -> Result<Decision, SyncError> {
        let shared = &self.shared;
        shared.warn_of_another_list(context);
        let observer = Observer { shared, user, context };
        let mut snapshot = observer.begin().await?;
        loop {
            let policy = self.policy(context);
            match decide(&snapshot, &policy, shared.clock.wall()) {
                Ok(decision) => return Ok(decision),
                Err(gap) => observer.fill(gap, &mut snapshot).await?,
            }
        }
    }

    fn policy(&self, context: &Context) -> Policy<'_> {
        let mut removals = context.removals;
        removals.are_held = !removals.have_a_pass && self.shared.addresses.holds_removals();
        Policy { settings: &self.shared.settings, keys: &self.shared.keys, mode: self.mode, removals }
    }

    /// Writes what was decided; nothing where nothing is to be written, or under `sync.dry_run`. A decision is to be written at
    /// once, while what it was decided from still holds.
    ///
    /// # Errors
    /// [`SyncError`]; whatever was written by then was right, and a later sync finds and keeps it.
    pub async fn apply(&self, decision: Decision, context: &Context) -> Result<Report, SyncError> {
        Ok(apply::apply(&self.shared, decision, context).await?)
    }

    /// How many calls [`Syncer::remove_tags`] usually makes.
    pub fn calls_to_remove_tags() -> PerApi<u32> {
        remove_tags::USUAL_CALLS
    }

    /// Removes our tags from the contacts of `user`; under `sync.dry_run` only reads. One answer for each address that is
    /// known: none, one or two.
    ///
    /// # Errors
    /// [`SyncError`]; what was removed by then stays off, and to do it again is right.
    pub async fn remove_tags(&self, user: &UserId, context: &Context) -> Result<Vec<TagsRemoved>, SyncError> {
        remove_tags::remove_tags(Observer { shared: &self.shared, user, context }).await
    }
}

#[cfg(test)]
mod tests;
