//! The merge: what a Mailmojo contact should become, given what Sesamy says about the user today.
//!
//! Pure: no I/O, no clock, no settings but those passed in. [`plan`] turns two snapshots into the smallest change, so an
//! event that comes twice, late or out of order ends in the same contact.
//!
//! Promises, each held by a property test of that name: `somebody_elses_tags_survive_unchanged_and_in_order`,
//! `a_name_or_phone_already_there_stays`, `applying_the_change_and_merging_again_changes_nothing`,
//! `nobody_is_subscribed_against_their_status`, `ours_are_exactly_the_wanted_and_the_kept_tags`.
//!
//! Of custom fields: `somebody_elses_custom_fields_survive_unchanged`, `ours_hold_what_is_wanted`,
//! `without_custom_fields_of_ours_nothing_is_written_of_them`.
//!
//! [`why`] tells the reasons.

pub mod consent;
mod custom;
pub mod why;

use std::collections::BTreeSet;

use crate::fields::CustomField;
use crate::mailmojo::models::{ACTIVE, Contact, ContactData};
use crate::personal::Personal;
use crate::tags;
use consent::Block;

/// Who the contact should be: Sesamy's data of the user, blank values left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Person {
    /// The first name.
    pub first_name: Option<Personal>,
    /// The last name.
    pub last_name: Option<Personal>,
    /// The phone number.
    pub phone: Option<Personal>,
    /// The custom fields that are ours, and what they should hold; each name once.
    pub custom: Vec<CustomField>,
}

/// Whether the contact is on our list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Membership {
    /// Never was, as far as Mailmojo tells.
    NotOnList,
    /// Is or was, with this status.
    OnList(Option<String>),
}

/// The rules that a publisher sets.
#[derive(Debug, Clone)]
pub struct Rules {
    /// `sync.create_contacts`: whether anybody may be created or subscribed at all.
    pub create_contacts: bool,
    /// `sync.keep_tags`: which of our tags are never removed.
    pub keep_tags: KeepTags,
}

/// Names of `sesamy_` tags that stay for ever; an `*` at the end matches the rest.
#[derive(Debug, Clone, Default)]
pub struct KeepTags(Vec<String>);

impl KeepTags {
    /// Takes the names as the setting gives them.
    #[must_use]
    pub fn new(patterns: Vec<String>) -> Self {
        Self(patterns)
    }

    /// Every one.
    #[must_use]
    pub fn all() -> Self {
        Self(vec!["*".to_owned()])
    }

    /// Whether `tag` stays once a contact has it.
    #[must_use]
    pub fn keeps(&self, tag: &str) -> bool {
        self.0.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(start) => tag.starts_with(start),
            None => tag == pattern,
        })
    }
}

/// What to do about one contact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// Create the contact on the list, with this data.
    Create(Change),
    /// Put the contact on the list, with this data.
    Subscribe(Change),
    /// Change the contact's data.
    Update(Change),
    /// Leave it.
    Nothing,
    /// There is no such contact, and none may be created.
    NotCreated(NotCreated),
}

/// Why no contact is created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotCreated {
    /// `sync.create_contacts` is off, or whoever asked for the sync wants none created.
    NotWanted,
    /// What is remembered of the user speaks against it.
    Blocked(Block),
}

impl Plan {
    /// The data that the plan writes.
    #[must_use]
    pub fn change(&self) -> Option<&Change> {
        match self {
            Self::Create(change) | Self::Subscribe(change) | Self::Update(change) => Some(change),
            Self::Nothing | Self::NotCreated(_) => None,
        }
    }
}

/// A change of a contact's data.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// What a write carries.
    pub data: ContactData,
    /// Which of our tags the contact gains, sorted.
    pub tags_added: Vec<String>,
    /// Which of our tags the contact loses, sorted.
    pub tags_removed: Vec<String>,
    /// Which of our custom fields lose their value, as Sesamy has none.
    pub cleared: Vec<String>,
}

impl Change {
    /// The names of the fields that change, for the log.
    #[must_use]
    pub fn fields(&self) -> Vec<&'static str> {
        let data = &self.data;
        [
            ("first_name", data.first_name.is_some()),
            ("last_name", data.last_name.is_some()),
            ("phone", data.phone.is_some()),
            ("tags", data.tags.is_some()),
            ("custom", data.custom.is_some()),
        ]
        .into_iter()
        .filter_map(|(name, changes)| changes.then_some(name))
        .collect()
    }

    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.data == ContactData::default()
    }
}

/// What to do about `contact`, the contact of `person` now, or none where Mailmojo has none.
///
/// `wanted` are the tags of [`tags::wanted`]. Nobody is put on the list whose account status is not exactly `a`, or who
/// is or was on the list with whatever status: people subscribed again against their will is the worst fault of
/// integrations like this one. The same holds for whom `block` keeps off it, by what is remembered.
#[must_use]
pub fn plan(
    person: &Person,
    wanted: &BTreeSet<String>,
    contact: Option<(&Contact, &Membership)>,
    block: Option<Block>,
    rules: &Rules,
) -> Plan {
    let Some((contact, membership)) = contact else {
        let change = change(person, wanted, &Contact::default(), &rules.keep_tags);
        return match block {
            Some(block) => Plan::NotCreated(NotCreated::Blocked(block)),
            None if rules.create_contacts => Plan::Create(change),
            None => Plan::NotCreated(NotCreated::NotWanted),
        };
    };
    let change = change(person, wanted, contact, &rules.keep_tags);
    if may_subscribe(contact, membership) && rules.create_contacts && block.is_none() {
        Plan::Subscribe(change)
    } else if change.is_empty() {
        Plan::Nothing
    } else {
        Plan::Update(change)
    }
}

fn may_subscribe(contact: &Contact, membership: &Membership) -> bool {
    *membership == Membership::NotOnList && contact.status.as_deref() == Some(ACTIVE)
}

/// The status for which a contact is not, or no longer, subscribed by us; none for one who may receive the list's mail.
#[must_use]
pub fn withheld<'a>(contact: &'a Contact, membership: &'a Membership) -> Option<&'a str> {
    let account = contact.status.as_deref().unwrap_or("unknown");
    match membership {
        Membership::OnList(status) if status.as_deref() != Some(ACTIVE) => {
            Some(status.as_deref().unwrap_or("unknown"))
        }
        _ if account != ACTIVE => Some(account),
        _ => None,
    }
}

/// The smallest change of the contact's data and tags.
#[must_use]
pub fn change(person: &Person, wanted: &BTreeSet<String>, contact: &Contact, keep: &KeepTags) -> Change {
    let has_only_whole_name = has_only_whole_name(contact);
    let name_where = |wanted: &Option<Personal>, present: &Option<Personal>| {
        wanted.clone().filter(|_| is_absent(present) && !has_only_whole_name)
    };

    let present = contact.tags.as_deref().unwrap_or_default();
    let next = next_tags(present, wanted, keep);
    let before: BTreeSet<&String> = present.iter().collect();
    let after: BTreeSet<&String> = next.iter().collect();
    let tags_added = after.difference(&before).map(|tag| (*tag).clone()).collect();
    let tags_removed = before.difference(&after).map(|tag| (*tag).clone()).collect();
    let tags_differ = before != after;

    Change {
        data: ContactData {
            first_name: name_where(&person.first_name, &contact.first_name),
            last_name: name_where(&person.last_name, &contact.last_name),
            phone: person.phone.clone().filter(|_| is_absent(&contact.phone)),
            tags: tags_differ.then_some(next),
            custom: custom::next(&person.custom, contact),
        },
        tags_added,
        tags_removed,
        cleared: custom::cleared(&person.custom, contact),
    }
}

/// Absent, null or blank.
fn is_absent(field: &Option<Personal>) -> bool {
    field.as_ref().and_then(Personal::trimmed).is_none()
}

/// `name` takes precedence in Mailmojo: beside a whole name alone, ours would be a second, hidden one.
fn has_only_whole_name(contact: &Contact) -> bool {
    !is_absent(&contact.name) && is_absent(&contact.first_name) && is_absent(&contact.last_name)
}

/// The contact's own tags, exactly as they are and in their order; then ours, sorted: the wanted ones, and those of
/// `keep` that the contact has already.
fn next_tags(present: &[String], wanted: &BTreeSet<String>, keep: &KeepTags) -> Vec<String> {
    let (ours, own): (Vec<&String>, Vec<&String>) = present.iter().partition(|tag| tags::is_ours(tag));
    let kept = ours.into_iter().filter(|tag| keep.keeps(tag));
    let ours: BTreeSet<&String> = wanted.iter().chain(kept).collect();
    own.into_iter().chain(ours).cloned().collect()
}

#[cfg(test)]
mod tests;
