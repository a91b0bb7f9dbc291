//! Why a merge changes what it changes, and why the rest stays: field by field, tag by tag, and the list.
//!
//! Pure, like the merge. It decides nothing: [`super::plan`] does. That both say the same of any contact is held by the
//! property test `what_is_told_to_change_is_what_the_plan_changes`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use super::consent::Block;
use super::{Membership, Person, Rules, custom, has_only_whole_name, is_absent, may_subscribe, withheld};
use crate::fields::{CustomField, Source};
use crate::mailmojo::models::Contact;
use crate::personal::{Personal, PersonalValue};
use crate::tags::{self, Reason, Reasons};

/// A plan, explained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// First name, last name and phone, in this order; nothing where there is no contact and none may be created.
    pub fields: Vec<Field>,
    /// The custom fields that are ours, in the order of their names; nothing where there is no contact and none may be
    /// created.
    pub custom_fields: Vec<Custom>,
    /// First the contact's own tags in their order, then ours, sorted, each once; nothing where there is no contact and
    /// none may be created.
    pub tags: Vec<Tag>,
    /// What becomes of the contact's place on the list.
    pub list: List,
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
    /// Its name in Mailmojo.
    pub name: String,
    /// Where its value comes from.
    pub source: Source,
    /// Whether it is written: it holds something else than Sesamy has.
    pub changes: bool,
    /// What it holds now, as text; none where that is nothing.
    pub now: Option<Personal>,
    /// What Sesamy has, which is what is written if anything is: where that is nothing, the field is emptied.
    pub sesamy: Option<Personal>,
}

/// One tag, wanted or there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tag {
    /// The tag.
    pub tag: String,
    /// Why it comes, goes or stays.
    pub why: TagWhy,
    /// What asks for it; nothing for a tag that is not wanted.
    pub reasons: Vec<Reason>,
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

/// What becomes of the contact's place on the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "decision", rename_all = "snake_case")]
pub enum List {
    /// The contact is created, on the list.
    Created,
    /// The contact is put on the list.
    Subscribed,
    /// The contact is on the list already.
    OnList,
    /// The contact is not, or no longer, to receive mail, and is never subscribed by us.
    LeftAlone {
        /// The status of the list or the account: `u` unsubscribed, `b` bounced, `d` deleted, or what Mailmojo says.
        status: String,
    },
    /// There is no contact, and `sync.create_contacts` is off.
    NotCreated,
    /// The contact is not on the list, and `sync.create_contacts` is off.
    NotSubscribed,
    /// Somebody has removed the contact in Mailmojo: it is not made again.
    RemovedInMailmojo,
    /// Somebody has taken the contact off the list: it is not put there again.
    TakenOffTheList,
    /// The user had left under an older address: leaving is leaving.
    LeftUnderOldAddress,
}

impl List {
    fn blocked(block: Block) -> Self {
        match block {
            Block::RemovedInMailmojo => Self::RemovedInMailmojo,
            Block::TakenOffTheList => Self::TakenOffTheList,
            Block::LeftUnderOldAddress => Self::LeftUnderOldAddress,
        }
    }
}

impl Field {
    fn of(
        field: &'static str,
        sesamy: &Option<Personal>,
        now: &Option<Personal>,
        has_only_whole_name: bool,
    ) -> Self {
        let why = if !is_absent(now) {
            FieldWhy::ContactHasOne
        } else if sesamy.is_none() {
            FieldWhy::SesamyHasNone
        } else if has_only_whole_name {
            FieldWhy::ContactHasWholeName
        } else {
            FieldWhy::ContactHasNone
        };
        let now = now.clone().filter(|_| !is_absent(now));
        Self { field, changes: why == FieldWhy::ContactHasNone, why, now, sesamy: sesamy.clone() }
    }
}

impl Custom {
    fn of(field: &CustomField, contact: &Contact) -> Self {
        let text = |value: &PersonalValue| {
            Personal::new(value.text().map_or_else(|| value.as_json().to_string(), Into::into))
        };
        Self {
            name: field.name.clone(),
            source: field.source,
            changes: custom::changes(field, contact),
            now: custom::now(field, contact).map(text),
            sesamy: field.value.clone(),
        }
    }
}

impl Tag {
    /// Whether it comes or goes.
    #[must_use]
    pub fn changes(&self) -> bool {
        matches!(self.why, TagWhy::Added | TagWhy::Removed)
    }
}

/// Explains what [`super::plan`] does about `contact`, the contact of `person` now, or none where Mailmojo has none.
///
/// `wanted` are the tags of [`tags::reasons`].
#[must_use]
pub fn explain(
    person: &Person,
    wanted: &Reasons,
    contact: Option<(&Contact, &Membership)>,
    block: Option<Block>,
    rules: &Rules,
) -> Explanation {
    let list = list(contact, block, rules);
    if contact.is_none() && list != List::Created {
        return Explanation { fields: Vec::new(), custom_fields: Vec::new(), tags: Vec::new(), list };
    }
    let nobody = Contact::default();
    let contact = contact.map_or(&nobody, |(contact, _)| contact);
    Explanation {
        fields: fields(person, contact),
        custom_fields: person.custom.iter().map(|field| Custom::of(field, contact)).collect(),
        tags: tags(wanted, contact, rules),
        list,
    }
}

fn fields(person: &Person, contact: &Contact) -> Vec<Field> {
    let hidden = has_only_whole_name(contact);
    vec![
        Field::of("first_name", &person.first_name, &contact.first_name, hidden),
        Field::of("last_name", &person.last_name, &contact.last_name, hidden),
        Field::of("phone", &person.phone, &contact.phone, false),
    ]
}

fn tags(wanted: &Reasons, contact: &Contact, rules: &Rules) -> Vec<Tag> {
    let present: Vec<&String> = contact.tags.iter().flatten().collect();
    let mut told = BTreeSet::new();
    let own = present.iter().filter(|tag| !tags::is_ours(tag) && told.insert(**tag)).map(|tag| Tag {
        tag: (*tag).clone(),
        why: TagWhy::SomebodyElses,
        reasons: Vec::new(),
    });
    let mut all: Vec<Tag> = own.collect();

    let mut ours = BTreeMap::new();
    for tag in present.iter().filter(|tag| tags::is_ours(tag)) {
        ours.insert(*tag, if rules.keep_tags.keeps(tag) { TagWhy::Kept } else { TagWhy::Removed });
    }
    for tag in wanted.keys() {
        ours.entry(tag).and_modify(|why| *why = TagWhy::AlreadyThere).or_insert(TagWhy::Added);
    }
    all.extend(ours.into_iter().map(|(tag, why)| Tag {
        tag: tag.clone(),
        why,
        reasons: wanted.get(tag).cloned().unwrap_or_default(),
    }));
    all
}

fn list(contact: Option<(&Contact, &Membership)>, block: Option<Block>, rules: &Rules) -> List {
    let Some((contact, membership)) = contact else {
        if let Some(block) = block {
            return List::blocked(block);
        }
        return if rules.create_contacts { List::Created } else { List::NotCreated };
    };
    if let Some(status) = withheld(contact, membership) {
        return List::LeftAlone { status: status.to_owned() };
    }
    let may = may_subscribe(contact, membership);
    if let Some(block) = block.filter(|_| may) {
        return List::blocked(block);
    }
    match (may, rules.create_contacts) {
        (true, true) => List::Subscribed,
        (true, false) => List::NotSubscribed,
        (false, _) => List::OnList,
    }
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

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Created => f.write_str("created on the list: Mailmojo has no such contact"),
            Self::Subscribed => f.write_str("subscribed: active on the account, and never on the list"),
            Self::OnList => f.write_str("on the list already"),
            Self::LeftAlone { status } => {
                let word = match status.as_str() {
                    "u" => "unsubscribed (u)",
                    "b" => "bounced (b)",
                    "d" => "deleted (d)",
                    other => return write!(f, "never subscribed by us: the contact's status is {other}"),
                };
                write!(f, "never subscribed by us: the contact is {word}")
            }
            Self::NotCreated => f.write_str("not created: sync.create_contacts is off"),
            Self::NotSubscribed => f.write_str("not subscribed: sync.create_contacts is off"),
            Self::RemovedInMailmojo => {
                f.write_str("not made again: somebody has removed the contact in Mailmojo (`sync --again` makes it)")
            }
            Self::TakenOffTheList => f.write_str(
                "not put on the list again: somebody has taken the contact off it (`sync --again` puts it there)",
            ),
            Self::LeftUnderOldAddress => f.write_str(
                "not put on the list: the user had left under an older address (`sync --again` does it all the same)",
            ),
        }
    }
}

#[cfg(test)]
mod tests;
