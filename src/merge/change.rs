//! What changes of a contact's data and what stays, and why: field by field and tag by tag.
//!
//! One pass decides and explains. What a write carries is a filter of the reasons.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use super::target::{Rules, Target};
use crate::fields::{CustomField, Source};
use crate::model::{Contact, ContactData, CustomValues};
use crate::personal::{Personal, PersonalValue};
use crate::tags::{self, Reasons, TagReason};

/// The smallest change of a contact's data, with the reasons.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContactChange {
    /// First name, last name and phone, in this order.
    pub fields: Vec<Field>,
    /// The custom fields that are ours, in the order of their names.
    pub custom_fields: Vec<Custom>,
    /// First the contact's own tags in their order, then ours, sorted; each once.
    pub tags: Vec<Tag>,
    /// What a write carries.
    pub data: ContactData,
}

/// One field of the contact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Field {
    /// `first_name`, `last_name` or `phone`.
    pub field: &'static str,
    /// Whether it is written.
    pub changes: bool,
    /// Why, or why not.
    pub why: FieldWhy,
    /// What the contact has now.
    pub now: Option<Personal>,
    /// What Sesamy has, which is what is written if anything is.
    pub sesamy: Option<Personal>,
}

/// Why a field is written or stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldWhy {
    /// Written: the contact has none.
    ContactHasNone,
    /// Stays: the contact has one.
    ContactHasOne,
    /// Stays: the contact has a whole name, beside which another would be hidden.
    ContactHasWholeName,
    /// Stays: Sesamy has none.
    SesamyHasNone,
}

/// One custom field of ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Custom {
    pub name: String,
    /// Where its value comes from.
    pub source: Source,
    /// Whether it is written: it holds something else than Sesamy has.
    pub changes: bool,
    /// Whether it would be written, but the removal guard holds that back.
    #[serde(skip)]
    pub is_held: bool,
    /// What it holds now, as text; `None` if that is nothing.
    pub now: Option<Personal>,
    /// What Sesamy has, which is what is written if anything is: where that is nothing, the field is emptied.
    pub sesamy: Option<Personal>,
}

/// One tag, wanted or there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tag {
    pub tag: String,
    /// Why it comes, goes or stays.
    pub why: TagWhy,
    /// What asks for it; nothing for a tag that is not wanted.
    pub reasons: Vec<TagReason>,
}

/// Why a tag comes, goes or stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TagWhy {
    /// Comes: wanted, and not there.
    Added,
    /// Stays: wanted, and there.
    AlreadyThere,
    /// Stays: not wanted, but one of `sync.keep_tags`.
    Kept,
    /// Goes: no longer wanted.
    Removed,
    /// Stays: no longer wanted, but the removal guard holds removals back.
    Held,
    /// Stays, whatever it means: it is not one of ours.
    SomebodyElses,
}

impl ContactChange {
    /// What changes of `contact`, so that it becomes as `target` says.
    pub fn of(target: &Target, contact: &Contact, rules: &Rules) -> Self {
        let hides_names = has_only_whole_name(contact);
        let fields = vec![
            Field::of("first_name", &target.first_name, &contact.first_name, hides_names),
            Field::of("last_name", &target.last_name, &contact.last_name, hides_names),
            Field::of("phone", &target.phone, &contact.phone, false),
        ];
        let customs = target.custom.iter().map(|field| Custom::of(field, contact, rules.holds_removals));
        let (custom_fields, tags) = (customs.collect::<Vec<_>>(), tags_of(&target.tags, contact, rules));
        let written = |at: usize| fields[at].sesamy.clone().filter(|_| fields[at].changes);
        let data = ContactData {
            first_name: written(0),
            last_name: written(1),
            phone: written(2),
            tags: next_tags(&tags, contact),
            custom: next_custom(&custom_fields, contact),
        };
        Self { fields, custom_fields, tags, data }
    }

    /// Whether nothing is written.
    pub fn is_empty(&self) -> bool {
        self.data == ContactData::default()
    }

    /// The tags for which this is the reason, in their order.
    pub fn tags_that_are(&self, why: TagWhy) -> Vec<String> {
        self.tags.iter().filter(|tag| tag.why == why).map(|tag| tag.tag.clone()).collect()
    }

    /// Whether the removal guard holds anything back.
    pub fn is_held(&self) -> bool {
        self.tags.iter().any(|tag| tag.why == TagWhy::Held) || self.custom_fields.iter().any(|it| it.is_held)
    }
}

impl Field {
    fn of(field: &'static str, sesamy: &Option<Personal>, now: &Option<Personal>, is_hidden: bool) -> Self {
        let why = if !is_absent(now) {
            FieldWhy::ContactHasOne
        } else if sesamy.is_none() {
            FieldWhy::SesamyHasNone
        } else if is_hidden {
            FieldWhy::ContactHasWholeName
        } else {
            FieldWhy::ContactHasNone
        };
        let now = now.clone().filter(|_| !is_absent(now));
        Self { field, changes: why == FieldWhy::ContactHasNone, why, now, sesamy: sesamy.clone() }
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

impl Custom {
    /// A field changes if it holds something else than it should: compared as text, because a number may come back as such.
    /// Absent, null and the empty text are alike.
    fn of(field: &CustomField, contact: &Contact, holds_removals: bool) -> Self {
        let now = contact.custom.as_ref().and_then(|custom| custom.get(&field.name));
        let now = now.filter(|value| !value.is_empty());
        let differs = match (now, &field.value) {
            (None, wanted) => wanted.is_some(),
            (Some(_), None) => true,
            (Some(now), Some(wanted)) => now.text().as_deref() != Some(wanted.as_str()),
        };
        let is_held = differs && holds_removals && field.takes_away();
        let text = |value: &PersonalValue| {
            Personal::new(value.text().map_or_else(|| value.as_json().to_string(), Into::into))
        };
        Self {
            name: field.name.clone(),
            source: field.source,
            changes: differs && !is_held,
            is_held,
            now: now.map(text),
            sesamy: field.value.clone(),
        }
    }
}

/// All custom fields of `contact` as they should be; `None` if ours are so already.
///
/// Whether a write replaces all of them or is merged with what is there is not published (assumed: either). So a write that
/// changes any carries the others too, as they are.
fn next_custom(ours: &[Custom], contact: &Contact) -> Option<CustomValues> {
    let changes: Vec<&Custom> = ours.iter().filter(|field| field.changes).collect();
    if changes.is_empty() {
        return None;
    }
    let mut next = contact.custom.clone().unwrap_or_default();
    for field in changes {
        let value = field.sesamy.as_ref().map_or("", |value| value.as_str());
        next.insert(field.name.clone(), PersonalValue::new(value));
    }
    Some(next)
}

impl Tag {
    /// Whether it comes or goes.
    pub fn changes(&self) -> bool {
        matches!(self.why, TagWhy::Added | TagWhy::Removed)
    }
}

fn tags_of(wanted: &Reasons, contact: &Contact, rules: &Rules) -> Vec<Tag> {
    let mut others = BTreeSet::new();
    let mut ours = BTreeMap::new();
    let mut all = Vec::new();
    for tag in contact.tags.iter().flatten() {
        if !tags::is_ours(tag) {
            if others.insert(tag) {
                all.push(Tag { tag: tag.clone(), why: TagWhy::SomebodyElses, reasons: Vec::new() });
            }
        } else if rules.keep_tags.keeps(tag) {
            ours.insert(tag, TagWhy::Kept);
        } else {
            ours.insert(tag, if rules.holds_removals { TagWhy::Held } else { TagWhy::Removed });
        }
    }
    for tag in wanted.keys() {
        ours.entry(tag).and_modify(|why| *why = TagWhy::AlreadyThere).or_insert(TagWhy::Added);
    }
    all.extend(ours.into_iter().map(|(tag, why)| {
        let reasons = wanted.get(tag).cloned().unwrap_or_default();
        Tag { tag: tag.clone(), why, reasons }
    }));
    all
}

/// The contact's own tags, exactly as they are and in their order, then ours, sorted; `None` if none comes or goes.
fn next_tags(tags: &[Tag], contact: &Contact) -> Option<Vec<String>> {
    if !tags.iter().any(Tag::changes) {
        return None;
    }
    let own = contact.tags.iter().flatten().filter(|tag| !tags::is_ours(tag));
    let ours = tags.iter().filter(|tag| !matches!(tag.why, TagWhy::SomebodyElses | TagWhy::Removed));
    Some(own.chain(ours.map(|tag| &tag.tag)).cloned().collect())
}

impl fmt::Display for FieldWhy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ContactHasNone => "the contact has none",
            Self::ContactHasOne => "the contact has one",
            Self::ContactHasWholeName => "the contact has a whole name",
            Self::SesamyHasNone => "Sesamy has none",
        })
    }
}

impl fmt::Display for TagWhy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Added => "added",
            Self::AlreadyThere => "already there",
            Self::Kept => "kept by sync.keep_tags",
            Self::Removed => "no longer wanted",
            Self::Held => "no longer wanted, but the removal guard holds it",
            Self::SomebodyElses => "somebody else's, never touched",
        })
    }
}
