//! What the service knows of a contact, judged by the sandbox's own answers.
//!
//! The audit must not blame the service for what it cannot know: a tag that an editor adds between the service's read
//! and its write is lost unseen. So the audit compares a write with the last answer about that contact, and a service
//! that writes without a read is judged as if it had read everything.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::contact::own;

/// A contact as it was answered last.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct KnownContact {
    pub(super) own_tags: Vec<String>,
    present: BTreeSet<&'static str>,
    custom: Map<String, Value>,
    status: Option<String>,
    /// The lists that know the contact; `None` if the answer said nothing of lists.
    lists: Option<BTreeSet<i64>>,
    /// The lists that do not know it, each asked by itself.
    not_on: BTreeSet<i64>,
}

impl KnownContact {
    /// Reads an answer; `None` if it has not the shape of a contact, so that no write may rely on it.
    pub(super) fn read(json: &Value) -> Option<Self> {
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
        let text = |name: &str| fields.get(name).and_then(Value::as_str);
        let has_text = |name: &&str| text(name).is_some_and(|text| !text.trim().is_empty());
        Some(Self {
            own_tags: own(&tags).map(str::to_owned).collect(),
            present: ["name", "first_name", "last_name", "phone"].into_iter().filter(has_text).collect(),
            custom: fields.get("custom").and_then(Value::as_object).cloned().unwrap_or_default(),
            status: text("status").map(str::to_owned),
            lists,
            not_on: BTreeSet::new(),
        })
    }

    /// What a service knows of a contact that it has put on `list` itself, without having read the answer.
    pub(super) fn created_on(list: i64) -> Self {
        let mut created = Self { status: Some("a".to_owned()), ..Self::default() };
        created.learn_list(list, true);
        created
    }

    /// Keeps which lists do not know the contact, if this answer says nothing of lists: a sync may read a contact once
    /// more after it has asked the list.
    pub(super) fn keep_lists_of(&mut self, before: &Self) {
        if self.lists.is_none() {
            self.not_on.clone_from(&before.not_on);
        }
    }

    /// Notes whether `list` knows the contact.
    pub(super) fn learn_list(&mut self, list: i64, knows: bool) {
        if knows {
            self.not_on.remove(&list);
            self.lists.get_or_insert_default().insert(list);
        } else {
            self.not_on.insert(list);
        }
    }

    /// Whether a field of text had a value.
    pub(super) fn has(&self, field: &str) -> bool {
        self.present.contains(field)
    }

    /// The value of a custom field.
    pub(super) fn custom(&self, field: &str) -> Option<&Value> {
        self.custom.get(field)
    }

    pub(super) fn is_active(&self) -> bool {
        self.status.as_deref() == Some("a")
    }

    /// Whether an answer said plainly that `list` does not know the contact.
    pub(super) fn is_off(&self, list: i64) -> bool {
        match &self.lists {
            Some(lists) => !lists.contains(&list),
            None => self.not_on.contains(&list),
        }
    }
}

/// An array of strings; `None` for anything else.
pub(super) fn texts(json: &Value) -> Option<Vec<String>> {
    json.as_array()?.iter().map(|text| text.as_str().map(str::to_owned)).collect()
}
