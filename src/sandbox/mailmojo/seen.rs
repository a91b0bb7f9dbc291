//! What the service has been told of a contact, as far as the sandbox's own answers tell it.
//!
//! The audit must not blame a service for what it cannot know: a tag that an editor adds between the service's read
//! and its write is lost unseen. So the audit compares a write with the last answer about that contact, and a write
//! that no read came before is taken as one that should have known everything.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::contact::own;

/// What was told last.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Seen {
    /// That there is no such contact.
    Nobody,
    /// This contact.
    Somebody(Snapshot),
}

/// A contact as it was told.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Snapshot {
    pub(super) own_tags: Vec<String>,
    present: BTreeSet<String>,
    custom: Map<String, Value>,
    status: Option<String>,
    /// The lists that were told to know the contact; none where nothing was told of lists.
    lists: Option<BTreeSet<i64>>,
    /// The lists that were said not to know it, where each was asked by itself.
    not_on: BTreeSet<i64>,
}

impl Snapshot {
    /// Reads an answer; none where it has not the shape of a contact, so that nothing may be written upon it.
    pub(super) fn of(json: &Value) -> Option<Self> {
        let fields = json.as_object()?;
        fields.get("email")?.as_str()?;
        let tags = match fields.get("tags") {
            None | Some(Value::Null) => Vec::new(),
            Some(tags) => texts(tags)?,
        };
        let lists = match fields.get("list_associations") {
            None | Some(Value::Null) => None,
            Some(known) => {
                let ids = known.as_array()?.iter().map(|row| row.get("list_id").and_then(Value::as_i64));
                Some(ids.collect::<Option<_>>()?)
            }
        };
        let has_text = |name: &&str| {
            fields.get(*name).and_then(Value::as_str).is_some_and(|text| !text.trim().is_empty())
        };
        let custom = fields.get("custom").and_then(Value::as_object);
        Some(Self {
            own_tags: own(&tags).map(str::to_owned).collect(),
            present: FIELDS.iter().filter(|name| has_text(name)).map(|name| (*name).to_owned()).collect(),
            custom: custom.cloned().unwrap_or_default(),
            status: fields.get("status").and_then(Value::as_str).map(str::to_owned),
            lists,
            not_on: BTreeSet::new(),
        })
    }

    /// Keeps which lists were said not to know the contact, if this answer says nothing of lists: a sync may read a contact
    /// once more after it has asked the list.
    pub(super) fn keep_places_of(&mut self, before: &Self) {
        if self.lists.is_none() {
            self.not_on.clone_from(&before.not_on);
        }
    }

    /// Notes that `list` was told to know the contact, or not to.
    pub(super) fn asked(&mut self, list: i64, knows: bool) {
        if knows {
            self.not_on.remove(&list);
            self.lists.get_or_insert_default().insert(list);
        } else {
            self.not_on.insert(list);
        }
    }

    /// What a service knows of a contact that it has itself put on `list`, without having read the answer.
    pub(super) fn made_on(list: i64) -> Self {
        let mut made = Self { status: Some("a".to_owned()), ..Self::default() };
        made.asked(list, true);
        made
    }

    pub(super) fn has(&self, field: &str) -> bool {
        self.present.contains(field)
    }

    /// What it was told to hold in a custom field.
    pub(super) fn custom(&self, field: &str) -> Option<&Value> {
        self.custom.get(field)
    }

    pub(super) fn is_active(&self) -> bool {
        self.status.as_deref() == Some("a")
    }

    /// Whether it was told plainly that `list` does not know the contact.
    pub(super) fn is_off(&self, list: i64) -> bool {
        match &self.lists {
            Some(lists) => !lists.contains(&list),
            None => self.not_on.contains(&list),
        }
    }
}

/// The fields of text that a write must leave alone where they have a value.
pub(super) const FIELDS: [&str; 4] = ["name", "first_name", "last_name", "phone"];

/// An array of strings; none where it is anything else.
pub(super) fn texts(json: &Value) -> Option<Vec<String>> {
    json.as_array()?.iter().map(|text| text.as_str().map(str::to_owned)).collect()
}
