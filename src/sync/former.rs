//! The address that a user had before: its contact loses our tags, and nothing else.
//!
//! Sesamy has another address, or does not know the user any more. All of our tags go from the old contact, those of
//! `sync.keep_tags` too, for nobody keeps them in step from now on. Where the address is another user's by now, the contact is
//! left alone: it is that user's. The same where Sesamy does not say whose the address is.

use std::fmt;

use futures_util::future::BoxFuture;
use serde::Serialize;

use super::contact::Found;
use super::decision::Write;
use super::source::Source;
use super::{Context, Syncer};
use crate::mailmojo::models::ContactData;
use crate::memory::{ContactKeys, Memory, Seen, SeenByOthers};
use crate::merge::consent::{self, Old, has_moved};
use crate::personal::Personal;
use crate::sesamy::bulk::OwnerBesides;
use crate::tags;
use crate::upstream::{Api, Attempt, Call, Class, Failure};
use crate::user::UserId;

/// What the queue remembers of an address, whoever's it is.
pub trait AddressIndex: fmt::Debug + Send + Sync {
    /// The users besides `user` of whom `address` is remembered, `most` at the most.
    ///
    /// # Errors
    /// Why that is not known, for people.
    fn others_at<'a>(
        &'a self,
        user: &'a UserId,
        address: &'a str,
        most: usize,
    ) -> BoxFuture<'a, Result<Vec<UserId>, String>>;

    /// What other users' rows remember of the contact of `address`, on the list of this name.
    ///
    /// # Errors
    /// Why that is not known, for people.
    fn seen_by_others<'a>(
        &'a self,
        user: &'a UserId,
        address: &'a str,
        list: &'a str,
    ) -> BoxFuture<'a, Result<SeenByOthers, String>>;

    /// The keys of contacts on the list of this name.
    fn contact_keys(&self, list: String) -> ContactKeys;

    /// Whether the removal guard holds removals back, as this process last read it.
    fn holds_removals(&self) -> bool;
}

/// Nobody else is known: there is no queue.
#[derive(Debug, Clone, Copy)]
pub struct NoOtherUsers;

impl AddressIndex for NoOtherUsers {
    fn others_at<'a>(
        &'a self,
        _: &'a UserId,
        _: &'a str,
        _: usize,
    ) -> BoxFuture<'a, Result<Vec<UserId>, String>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn seen_by_others<'a>(
        &'a self,
        _: &'a UserId,
        _: &'a str,
        _: &'a str,
    ) -> BoxFuture<'a, Result<SeenByOthers, String>> {
        Box::pin(async { Ok(SeenByOthers::default()) })
    }

    fn contact_keys(&self, list: String) -> ContactKeys {
        ContactKeys::without_store(list)
    }

    fn holds_removals(&self) -> bool {
        false
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

    /// The same, as the rules of consent see it.
    pub(super) fn as_old(&self) -> Old<'_> {
        Old { present: self.found.as_ref().map(Found::there), is_own: self.owner == OwnerBesides::Nobody }
    }
}

impl Syncer {
    /// The contact of the address that `memory` has, where Sesamy has another one.
    pub(super) async fn moved_from(
        &self,
        user: &UserId,
        memory: &Memory,
        source: &Source,
        context: &Context,
    ) -> Result<Option<Former>, Failure> {
        match &memory.email {
            Some(before) if has_moved(memory, &source.email) => {
                let former = self.former(user, before.as_str(), context).await?;
                if consent::has_left_under(memory, former.as_old()) {
                    context.had_left(&self.keys);
                }
                Ok(Some(former))
            }
            _ => Ok(None),
        }
    }

    /// The contact of `address`, which is not the user's any more.
    pub(super) async fn former(
        &self,
        user: &UserId,
        address: &str,
        context: &Context,
    ) -> Result<Former, Failure> {
        let owner = self.owner_besides(user, address, &context.attempt).await?;
        let mut found = self.find_contact(address, context).await?;
        if let Some(found) = found.as_mut().filter(|found| found.contact.left_out.contains(&"tags")) {
            self.fill_gaps(found, &context.attempt).await?;
        }
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

    /// The users besides `user` of whom `address` is remembered, `most` at the most.
    pub(super) async fn others_at(
        &self,
        user: &UserId,
        address: &str,
        most: usize,
    ) -> Result<Vec<UserId>, Failure> {
        self.addresses.others_at(user, address, most).await.map_err(queue_failed)
    }

    /// What other users' rows remember of the contact of `address`.
    pub(super) async fn seen_by_others(&self, user: &UserId, address: &str) -> Result<Option<Seen>, Failure> {
        let list = self.mailmojo.list_name();
        let seen = self.addresses.seen_by_others(user, address, &list).await.map_err(queue_failed)?;
        Ok(seen.into_seen())
    }

    /// Whether another user has this address: by what is remembered, and by what Sesamy finds for it.
    async fn owner_besides(
        &self,
        user: &UserId,
        address: &str,
        attempt: &Attempt,
    ) -> Result<OwnerBesides, Failure> {
        if !self.others_at(user, address, 1).await?.is_empty() {
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

/// The queue failed: the sync is tried again, as if Mailmojo had not answered, because what to do there depends on it.
fn queue_failed(why: String) -> Failure {
    Failure::new(
        Api::Mailmojo,
        Class::Transient,
        format!("the queue cannot be asked who else has the address: {why}"),
    )
}
