//! The custom fields that a contact should have, given what Sesamy says today.
//!
//! A publisher names fields of the Mailmojo account and, for each, a [`Source`]: `[mailmojo.custom_fields]`. Those fields
//! are ours, and hold what Sesamy says whatever was there before; all others are somebody else's. What is written of them
//! is decided in [`crate::merge`].
//!
//! Pure: no I/O and no clock. Promises, each a property test: whatever Sesamy answers becomes a value or none
//! (`no_answer_is_too_odd`), and the order of contracts and entitlements makes no difference
//! (`the_order_of_lists_makes_no_difference`).

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
}

#[cfg(test)]
mod tests;
