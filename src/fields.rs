//! The custom fields that a contact should have, given what Sesamy says today.
//!
//! A publisher names fields of the Mailmojo account and, for each, a [`Source`]: `[mailmojo.custom_fields]`. Those fields
//! are ours, and hold what Sesamy says whatever was there before; all others are somebody else's. What is written of them
//! is decided in [`crate::merge`].
//!
//! Pure: no I/O and no clock. Promises, each a property test: whatever Sesamy answers becomes a value or none
//! (`no_answer_is_too_odd`), the order of contracts and entitlements makes no difference
//! (`the_order_of_lists_makes_no_difference`), and a value stays until the moment that is named
//! (`nothing_changes_by_itself_before_the_moment_that_is_named`).

pub mod source;

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::model::SesamyUser;
use crate::personal::Personal;

pub use source::{ReadFrom, Source};

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
    /// The value, never blank; `None` if Sesamy has none.
    pub value: Option<Personal>,
}

impl CustomFields {
    /// These fields.
    pub fn new(fields: BTreeMap<String, Source>) -> Self {
        Self(fields)
    }

    /// Whether there is none: then nothing of any contact's custom fields is read or written.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Name and source of each, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Source)> {
        self.0.iter().map(|(name, source)| (name.as_str(), *source))
    }

    /// What they should hold for `user` at `now`, in the order of the names.
    pub fn wanted(&self, user: &SesamyUser, now: Timestamp) -> Vec<CustomField> {
        let one = |(name, source): (&str, Source)| CustomField {
            name: name.to_owned(),
            source,
            value: source.value(user, now).map(Personal::new),
        };
        self.iter().map(one).collect()
    }

    /// The next moment after `now` at which any of them may become another by itself: until then what is wanted stays as it
    /// is unless Sesamy says something else. `None` if there is no such moment.
    pub fn changes_at(&self, user: &SesamyUser, now: Timestamp) -> Option<Timestamp> {
        self.iter().filter_map(|(_, source)| source.changes_at(user, now)).min()
    }
}

impl CustomField {
    /// Whether to write it would take away what Sesamy said before of contracts or entitlements: it empties the field, or
    /// counts nothing.
    pub fn takes_away(&self) -> bool {
        let is_bought = matches!(self.source.read_from(), ReadFrom::Contracts | ReadFrom::Entitlements);
        is_bought && self.value.as_ref().is_none_or(|value| value.as_str() == "0")
    }
}

#[cfg(test)]
mod tests;
