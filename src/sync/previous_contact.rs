//! The address that a user had before: its contact loses our tags, and nothing else.
//!
//! Sesamy has another address, or does not know the user any more. All of our tags go from the old contact, those of
//! `sync.keep_tags` too, because nobody keeps them in step from now on. Where the address is another user's by now, the
//! contact is left alone: it is that user's. The same where Sesamy does not say whose the address is.

use std::fmt;

use serde::Serialize;

use super::contact::{Found, Write};
use crate::merge::consent::Old;
use crate::model::ContactData;
use crate::personal::Personal;
use crate::sesamy::bulk::OwnerBesides;
use crate::tags;

/// What Mailmojo has under an address that is not the user's any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PreviousContact {
    pub(super) address: Personal,
    pub(super) found: Option<Found>,
    /// Whether the address is another user's by now.
    pub(super) owner: OwnerBesides,
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

/// What is decided about the contact of an address that the user has no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldContact {
    /// The address, as Sesamy spelled it.
    pub address: Personal,
    pub fate: OldFate,
    /// The tags that it loses, sorted.
    pub tags_removed: Vec<String>,
    /// What takes them off; `None` if there is nothing to take off.
    pub write: Option<Write>,
}

impl PreviousContact {
    /// The contact, if it is certainly the user's alone.
    pub(super) fn own(&self) -> Option<&Found> {
        self.found.as_ref().filter(|_| self.owner == OwnerBesides::Nobody)
    }

    /// As the rules of consent see it.
    pub(super) fn as_old(&self) -> Old<'_> {
        let contact = self.found.as_ref().map(|found| &found.contact);
        Old { contact, is_own: self.owner == OwnerBesides::Nobody }
    }

    /// What follows for the contact.
    pub(super) fn decided(&self) -> OldContact {
        let present = self.found.iter().flat_map(|found| found.contact.tags.iter().flatten());
        let (mut ours, others): (Vec<String>, Vec<String>) =
            present.cloned().partition(|tag| tags::is_ours(tag));
        let fate = match (self.owner, &self.found) {
            (OwnerBesides::Somebody, _) => OldFate::Anothers,
            (_, None) => OldFate::Gone,
            (_, Some(_)) if ours.is_empty() => OldFate::HasNone,
            (OwnerBesides::Unknown, Some(_)) => OldFate::UnknownOwner,
            (OwnerBesides::Nobody, Some(_)) => OldFate::LosesOurTags,
        };
        let found = self.found.as_ref().filter(|_| fate == OldFate::LosesOurTags);
        let data = ContactData { tags: Some(others), ..ContactData::default() };
        let write = found.map(|found| Write { email: found.email.clone(), puts_on_list: false, data });
        if write.is_none() {
            ours.clear();
        }
        ours.sort_unstable();
        ours.dedup();
        OldContact { address: self.address.clone(), fate, tags_removed: ours, write }
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
