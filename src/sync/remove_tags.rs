//! Our tags removed from a user's contacts, by an operator's word: the user is to be forgotten.
//!
//! From the contact of the address that is remembered, and of the one that Sesamy has now if that is another: a sync that
//! was cut off may have written there already. Nothing but our tags is touched, nothing of a contact that is another user's,
//! and the removal guard does not stop it.

use serde::Serialize;

use super::observe::Observer;
use super::previous_contact::OldFate;
use super::report::SyncError;
use crate::address;
use crate::personal::Personal;
use crate::upstream::{Api, Class, Failure, PerApi};

/// What became of one contact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TagsRemoved {
    /// What was, or under `sync.dry_run` would be, done.
    pub contact: OldFate,
    /// The tags that it lost, or would lose, sorted.
    pub tags_removed: Vec<String>,
}

/// How many calls it usually makes: the profile, whose the address is, the contact, and the write.
pub(super) const USUAL_CALLS: PerApi<u32> = PerApi { sesamy: 2, mailmojo: 2 };

/// Removes our tags from the user's contacts; under `sync.dry_run` only reads.
pub(super) async fn remove_tags(observer: Observer<'_>) -> Result<Vec<TagsRemoved>, SyncError> {
    let (shared, attempt) = (observer.shared, &observer.context.attempt);
    let mut removed = Vec::new();
    for address in addresses(observer).await? {
        let old = observer.previous_contact(&address).await?.decided();
        if old.fate == OldFate::UnknownOwner {
            return Err(owner_unknown().into());
        }
        if let Some(write) = old.write.filter(|_| !shared.settings.dry_run) {
            shared.mailmojo.patch(write.email.as_str(), &write.data, attempt).await?;
        }
        removed.push(TagsRemoved { contact: old.fate, tags_removed: old.tags_removed });
    }
    Ok(removed)
}

/// The addresses that the user has or had: none, one or two.
async fn addresses(observer: Observer<'_>) -> Result<Vec<Personal>, Failure> {
    let remembered = observer.context.before().email.clone();
    let present = match observer.present_address().await {
        Ok(present) => present,
        // A user that Sesamy refuses to describe has to be forgotten all the same, if we know the address.
        Err(failure) if failure.class == Class::Permanent && remembered.is_some() => None,
        Err(failure) => return Err(failure),
    };
    let is_remembered = |now: &Personal| {
        remembered.as_ref().is_some_and(|before| address::is_same(before.as_str(), now.as_str()))
    };
    let other = present.filter(|now| !is_remembered(now));
    Ok(remembered.iter().cloned().chain(other).collect())
}

/// An error, because the tags could never be removed after the user is forgotten: the address is forgotten too.
fn owner_unknown() -> Failure {
    let why = "Sesamy does not say whether another user has the address of a contact with our tags; check that the API \
               client may search users, or take the tags off in Mailmojo by hand";
    Failure::new(Api::Sesamy, Class::Permanent, why)
}
