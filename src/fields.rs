//! The custom fields that a contact should have, given what Sesamy says today.
//!
//! A publisher names fields of the Mailmojo account and, for each, a [`Source`]: `[mailmojo.custom_fields]`. Those fields
//! are ours, and hold what Sesamy says whatever was there before; all others are somebody else's. What is written of them
//! is decided in [`crate::merge`].
//!
//! Pure: no I/O and no clock. Promises, each a property test: whatever Sesamy answers becomes a value or none
//! (`no_answer_is_too_odd`), the order of contracts and entitlements makes no difference
//! (`the_order_of_lists_makes_no_difference`), and a value stays until the moment that is told
//! (`nothing_changes_by_itself_before_the_moment_that_is_told`).

pub mod source;

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::personal::Personal;
use crate::sesamy::models::{Contract, Entitlement, Profile};

pub use source::{Answer, Source};

/// What Sesamy says of one user at one time.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The profile.
    pub profile: &'a Profile,
    /// All contracts, running or over.
    pub contracts: &'a [Contract],
    /// All entitlements, with access or without.
    pub entitlements: &'a [Entitlement],
    /// The time now.
    pub now: Timestamp,
}

/// The custom fields that are ours, each with its source. By default none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CustomFields(BTreeMap<String, Source>);

/// One of our fields, and what it should hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomField {
    /// Its name in Mailmojo.
    pub name: String,
    /// Where its value comes from.
    pub source: Source,
    /// The value, never blank; none where Sesamy has none.
    pub value: Option<Personal>,
}

impl CustomFields {
    /// These fields.
    #[must_use]
    pub fn new(fields: BTreeMap<String, Source>) -> Self {
        Self(fields)
    }

    /// Whether there is none: then nothing of any contact's custom fields is read or written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Name and source of each, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Source)> {
        self.0.iter().map(|(name, source)| (name.as_str(), *source))
    }

    /// What they should hold for the user of `facts`, in the order of the names.
    #[must_use]
    pub fn wanted(&self, facts: &Facts<'_>) -> Vec<CustomField> {
        let one = |(name, source): (&str, Source)| CustomField {
            name: name.to_owned(),
            source,
            value: source.value(facts).map(Personal::new),
        };
        self.iter().map(one).collect()
    }

    /// The next moment, after that of `facts`, at which any of them may become another by itself: until then what is
    /// wanted stays as it is unless Sesamy says something else. None where that never is.
    #[must_use]
    pub fn changes_at(&self, facts: &Facts<'_>) -> Option<Timestamp> {
        self.iter().filter_map(|(_, source)| source.changes_at(facts)).min()
    }
}

#[cfg(test)]
mod tests;
