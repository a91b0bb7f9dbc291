//! Our tags taken off a user's contacts, by an operator's word: the user is to be forgotten.
//!
//! Of the address that is remembered, and of the one that Sesamy has now where that is another: a sync that was cut off may
//! have written there already. Nothing but our tags is touched, nothing of a contact that is another user's, and the removal guard
//! does not stop it.

use serde::Serialize;

use super::source::address_of;
use super::{Context, OldFate, SyncError, Syncer};
use crate::address;
use crate::memory::Memory;
use crate::personal::Personal;
use crate::upstream::{Api, Attempt, Class, Failure, PerApi};
use crate::user::UserId;

/// What became of one contact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TakenOff {
    /// What was, or under `sync.dry_run` would be, done.
    pub contact: OldFate,
    /// The tags that it lost, or would lose, sorted.
    pub tags_removed: Vec<String>,
}

impl Syncer {
    /// Whether nothing is written (`sync.dry_run`).
    #[must_use]
    pub fn is_dry_run(&self) -> bool {
        self.options.dry_run
    }

    /// How many calls [`Syncer::take_off`] usually makes: the profile, whose the address is, the contact, and the write.
    #[must_use]
    pub fn calls_to_take_off() -> PerApi<u32> {
        PerApi { sesamy: 2, mailmojo: 2 }
    }

    /// Takes our tags off the contacts of `user`; under `sync.dry_run` only looks. One answer
    /// for each address that is known: none, one or two.
    ///
    /// # Errors
    /// [`SyncError`]; what was taken off by then stays off, and to do it again is right.
    pub async fn take_off(&self, user: &UserId, context: &Context) -> Result<Vec<TakenOff>, SyncError> {
        let taken = self.take_off_all(user, context).await;
        taken.map_err(|failure| SyncError::of(&failure, &[]))
    }

    async fn take_off_all(&self, user: &UserId, context: &Context) -> Result<Vec<TakenOff>, Failure> {
        let (memory, attempt) = (context.before(), &context.attempt);
        let mut addresses: Vec<Personal> = memory.email.iter().cloned().collect();
        let now = self.address_now(user, memory, attempt).await?;
        addresses.extend(now.filter(|now| {
            let is_it = |email: &Personal| address::is_same(email.as_str(), now.as_str());
            !memory.email.as_ref().is_some_and(is_it)
        }));
        let mut taken = Vec::with_capacity(addresses.len());
        for email in addresses {
            let former = self.former(user, email.as_str(), context).await?;
            let fate = former.as_old_contact().fate;
            if fate == OldFate::UnknownOwner {
                return Err(owner_unknown());
            }
            if let Some(write) = former.write.as_ref().filter(|_| !self.options.dry_run) {
                self.mailmojo.patch(&write.email, &write.data, attempt).await?;
            }
            taken.push(TakenOff { contact: fate, tags_removed: former.tags });
        }
        Ok(taken)
    }

    /// The address that Sesamy has of the user; none of one whom it does not know, of a guest, and of one without a usable
    /// address.
    async fn address_now(
        &self,
        user: &UserId,
        memory: &Memory,
        attempt: &Attempt,
    ) -> Result<Option<Personal>, Failure> {
        if self.is_guest_id(user) {
            return Ok(None);
        }
        let profile = match self.sesamy.profile(user, attempt).await {
            Ok(profile) => profile,
            // Whom Sesamy refuses to tell of must be forgotten all the same, where we know the address.
            Err(failure) if failure.class == Class::Permanent && memory.email.is_some() => None,
            Err(failure) => return Err(failure),
        };
        let Some(profile) = profile else { return Ok(None) };
        Ok(address_of(&profile).ok().map(Personal::new))
    }
}

/// An error, because the tags could never be taken off after the user is forgotten: the address is forgotten too.
fn owner_unknown() -> Failure {
    let why = "Sesamy does not say whether another user has the address of a contact with our tags; check that the API \
               client may search users, or take the tags off in Mailmojo by hand";
    Failure::new(Api::Sesamy, Class::Permanent, why)
}
