//! The merge: what a Mailmojo contact should become, given what Sesamy says about the user today, and why.
//!
//! Pure: no I/O, no clock, no settings but those passed in. [`plan`] turns two snapshots into the smallest change with its
//! reasons, so an event that comes twice, late or out of order ends in the same contact.
//!
//! Promises, each held by a property test of that name: `somebody_elses_tags_survive_unchanged_and_in_order`,
//! `a_name_or_phone_already_there_stays`, `applying_the_change_and_merging_again_changes_nothing`,
//! `nobody_is_subscribed_against_their_status`, `ours_are_exactly_the_wanted_and_the_kept_tags`,
//! `what_is_written_is_what_the_reasons_say`.
//!
//! Of custom fields: `somebody_elses_custom_fields_survive_unchanged`, `ours_hold_what_is_wanted`,
//! `without_custom_fields_of_ours_nothing_is_written_of_them`.

mod change;
pub mod consent;
mod placement;
mod target;

use crate::model::Contact;
use crate::outcome::{Outcome, Reason};
use consent::Block;

pub use change::{ContactChange, Custom, Field, FieldWhy, Tag, TagWhy};
pub use placement::Placement;
pub use target::{KeepTags, Rules, Target};

/// What to do about one contact, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What becomes of the contact's place on the list.
    pub list: Placement,
    /// What becomes of its data; `None` if there is no contact and none may be created.
    pub change: Option<ContactChange>,
}

/// What to do about `contact`, the contact of `target` now; `None` if Mailmojo has none.
///
/// Nobody is put on the list whose account status is not exactly `a`, or who is or was on the list with whatever status:
/// people subscribed again against their will is the worst fault of integrations like this one. The same holds for a user
/// whom `block` keeps off it, by what is remembered.
pub fn plan(target: &Target, contact: Option<&Contact>, block: Option<Block>, rules: &Rules) -> Plan {
    let list = Placement::of(contact, block, rules.create_contacts);
    let nothing = Contact::default();
    let contact = contact.or_else(|| (list == Placement::Created).then_some(&nothing));
    Plan { list, change: contact.map(|contact| ContactChange::of(target, contact, rules)) }
}

impl Plan {
    /// Whether it creates or subscribes the contact.
    pub fn puts_on_list(&self) -> bool {
        matches!(self.list, Placement::Created | Placement::Subscribed)
    }

    /// The change, if one is written.
    pub fn write(&self) -> Option<&ContactChange> {
        self.change.as_ref().filter(|change| self.puts_on_list() || !change.is_empty())
    }

    /// What it comes to, once it is written.
    pub fn outcome(&self) -> Outcome {
        match (&self.list, &self.change) {
            (Placement::Created, _) => Outcome::Created,
            (Placement::Subscribed, _) => Outcome::Subscribed,
            (Placement::NotCreated, None) => Outcome::Skipped(Reason::NotInMailmojo),
            (Placement::LeftUnderOldAddress, None) => Outcome::Skipped(Reason::LeftUnderOldAddress),
            (_, None) => Outcome::Skipped(Reason::RemovedInMailmojo),
            (_, Some(change)) if change.is_empty() => Outcome::Unchanged,
            (_, Some(_)) => Outcome::Updated,
        }
    }
}

#[cfg(test)]
mod tests;
