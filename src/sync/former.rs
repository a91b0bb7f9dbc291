//! The address that a user had before: its contact loses our tags, and nothing else.
//!
//! Sesamy has another address, or does not know the user any more. All of our tags go from the old contact, those of
//! `sync.keep_tags` too, for nobody keeps them in step from now on. Where the address is another user's by now, the contact is
//! left alone: it is that user's. So it is where Sesamy does not say whose the address is.

use std::fmt;

use futures_util::future::BoxFuture;
use serde::Serialize;

use super::Syncer;
use super::contact::Found;
use super::decision::Write;
use super::source::Source;
use crate::mailmojo::models::ContactData;
use crate::memory::Memory;
use crate::merge::leaving::{Old, has_moved};
use crate::personal::{Mask, Personal};
use crate::sesamy::bulk::OwnerBesides;
use crate::tags;
use crate::upstream::{Api, Attempt, Call, Class, Failure};
use crate::user::UserId;

/// Who knows which address is remembered of whom.
pub trait Owners: fmt::Debug + Send + Sync {
    /// Whether `address` is remembered of anybody but `user`.
    ///
    /// # Errors
    /// Why that cannot be told, for people.
    fn is_anothers<'a>(&'a self, user: &'a UserId, address: &'a str) -> BoxFuture<'a, Result<bool, String>>;

    /// Whether anybody but `user` is remembered to have had a contact of `address`.
    ///
    /// # Errors
    /// Why that cannot be told, for people.
    fn has_been_seen<'a>(&'a self, user: &'a UserId, address: &'a str)
    -> BoxFuture<'a, Result<bool, String>>;
}

/// Nobody is remembered: there is no queue.
#[derive(Debug, Clone, Copy)]
pub struct NoOwners;

impl Owners for NoOwners {
    fn is_anothers<'a>(&'a self, _: &'a UserId, _: &'a str) -> BoxFuture<'a, Result<bool, String>> {
        Box::pin(async { Ok(false) })
    }

    fn has_been_seen<'a>(&'a self, _: &'a UserId, _: &'a str) -> BoxFuture<'a, Result<bool, String>> {
        Box::pin(async { Ok(false) })
    }
}

impl fmt::Display for OldFate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LosesOurTags => "loses our tags, and nothing else",
            Self::HasNone => "has none of our tags",
            Self::Gone => "Mailmojo has no such contact",
            Self::Anothers => "left alone: the address is another user's by now",
            Self::UnknownOwner => "left alone: Sesamy does not say whether another user has the address",
        })
    }
}

/// What Mailmojo has under the address of before.
pub(super) struct Former {
    address: Personal,
    found: Option<Found>,
    owner: OwnerBesides,
    has_ours: bool,
    /// What takes our tags off the contact; none where there is nothing to take off.
    pub(super) write: Option<Write>,
    /// The tags that it takes off, sorted.
    pub(super) tags: Vec<String>,
}

/// What is to be done about the contact of an address that the user has no more.
#[derive(Debug, Clone, Copy)]
pub struct OldContact<'a> {
    /// The address, as Sesamy spelled it.
    pub address: &'a Personal,
    /// What becomes of it.
    pub fate: OldFate,
    /// The tags that it loses, sorted.
    pub tags_removed: &'a [String],
    /// The request that takes them off; none where there is nothing to take off.
    pub request: Option<&'a Call>,
}

/// What becomes of the contact of an address that the user has no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OldFate {
    /// It loses our tags.
    LosesOurTags,
    /// It has none of our tags.
    HasNone,
    /// Mailmojo has no such contact.
    Gone,
    /// The address is another user's by now.
    Anothers,
    /// It has our tags, and Sesamy does not say whether the address is another user's by now.
    UnknownOwner,
}

impl Former {
    /// The contact, where it is the user's alone.
    pub(super) fn into_own(self) -> Option<Found> {
        self.found.filter(|_| self.owner == OwnerBesides::Nobody)
    }

    /// The same, for who wants to look at it.
    pub(super) fn as_old_contact(&self) -> OldContact<'_> {
        let fate = match (self.owner, &self.found) {
            (OwnerBesides::Somebody, _) => OldFate::Anothers,
            (_, None) => OldFate::Gone,
            (_, Some(_)) if !self.has_ours => OldFate::HasNone,
            (OwnerBesides::Unknown, Some(_)) => OldFate::UnknownOwner,
            (OwnerBesides::Nobody, Some(_)) => OldFate::LosesOurTags,
        };
        let request = self.write.as_ref().map(|write| &write.call);
        OldContact { address: &self.address, fate, tags_removed: &self.tags, request }
    }

    /// The same, as the rules about leaving see it: where the owner is not known, what is seen there counts as the user's,
    /// so that nobody is put back who has left.
    pub(super) fn as_old(&self) -> Old<'_> {
        match &self.found {
            _ if self.owner == OwnerBesides::Somebody => Old::Anothers,
            Some(found) => Old::There(&found.contact, &found.membership),
            None => Old::Gone,
        }
    }
}

impl Syncer {
    /// The contact of the address that `memory` has, where Sesamy has another one. The row of a list is not believed in that:
    /// the profile is to be asked first.
    pub(super) async fn moved_from(
        &self,
        user: &UserId,
        memory: &Memory,
        source: &Source,
        attempt: &Attempt,
        mask: &mut Mask,
    ) -> Result<Option<Former>, Failure> {
        match &memory.email {
            Some(before) if source.is_whole && has_moved(memory, &source.email) => {
                self.former(user, before.as_str(), attempt, mask).await.map(Some)
            }
            _ => Ok(None),
        }
    }

    /// The contact of `address`, which is not the user's any more.
    pub(super) async fn former(
        &self,
        user: &UserId,
        address: &str,
        attempt: &Attempt,
        mask: &mut Mask,
    ) -> Result<Former, Failure> {
        let owner = self.owner_besides(user, address, attempt).await?;
        let found = self.find_contact(address, attempt, mask).await?;
        let present = found.iter().flat_map(|found| found.contact.tags.iter().flatten());
        let (ours, own): (Vec<String>, Vec<String>) = present.cloned().partition(|tag| tags::is_ours(tag));
        let (mut write, mut tags, has_ours) = (None, Vec::new(), !ours.is_empty());
        if let Some(found) = found.as_ref().filter(|_| owner == OwnerBesides::Nobody && has_ours) {
            let (email, data) =
                (found.email.clone(), ContactData { tags: Some(own), ..ContactData::default() });
            write = Some(Write { call: self.mailmojo.patching(&email, &data), email, data });
            tags = ours;
            tags.sort_unstable();
            tags.dedup();
        }
        Ok(Former { address: Personal::new(address), found, owner, has_ours, write, tags })
    }

    /// Whether `address` is remembered of another user.
    pub(super) async fn is_remembered_of_another(
        &self,
        user: &UserId,
        address: &str,
    ) -> Result<bool, Failure> {
        self.owners.is_anothers(user, address).await.map_err(cannot_be_told)
    }

    /// Whether another user is remembered to have had a contact of `address`.
    pub(super) async fn has_been_seen(&self, user: &UserId, address: &str) -> Result<bool, Failure> {
        self.owners.has_been_seen(user, address).await.map_err(cannot_be_told)
    }

    /// Whether another user has this address: by what is remembered, and by what Sesamy finds for it.
    async fn owner_besides(
        &self,
        user: &UserId,
        address: &str,
        attempt: &Attempt,
    ) -> Result<OwnerBesides, Failure> {
        if self.is_remembered_of_another(user, address).await? {
            return Ok(OwnerBesides::Somebody);
        }
        let owner =
            self.sesamy.owner_besides(user, address, |other| self.is_guest_id(other), attempt).await?;
        if owner == OwnerBesides::Unknown {
            tracing::warn!(
                user_id = %user,
                "Sesamy does not say whether another user has the address that this user had before; its contact keeps our \
                 tags; check that the API client may search users"
            );
        }
        Ok(owner)
    }
}

/// The queue cannot be asked: as if Mailmojo had not answered, for without it there is no telling what to do there.
fn cannot_be_told(why: String) -> Failure {
    Failure::new(Api::Mailmojo, Class::Transient, format!("whose address it is cannot be told: {why}"))
}
