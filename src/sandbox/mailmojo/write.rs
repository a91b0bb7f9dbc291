//! What a write does to a contact, as Mailmojo would do it: a patch, or a subscribe that creates or updates.

use serde_json::{Map, Value};

use super::super::finding::{Finding, FindingKind};
use super::contact::{Contact, contact};
use super::seen::texts;

/// The fields of a write that change a contact's data. The outer option: is it sent; the inner: has it a value.
#[derive(Debug, Default)]
pub(super) struct Data {
    email: Option<String>,
    first_name: Option<Option<String>>,
    last_name: Option<Option<String>>,
    phone: Option<Option<String>>,
    name: Option<Option<String>>,
    tags: Option<Vec<String>>,
    custom: Option<Map<String, Value>>,
}

impl Data {
    /// Reads a body; the error names the field that is wrong.
    pub(super) fn of(body: &Map<String, Value>) -> Result<Self, String> {
        let text = |name: &str| match body.get(name) {
            None => Ok(None),
            Some(Value::Null) => Ok(Some(None)),
            Some(Value::String(text)) => Ok(Some(Some(text.clone()).filter(|text| !text.is_empty()))),
            Some(_) => Err(format!("{name} must be a string")),
        };
        let tags = match body.get("tags") {
            None => None,
            Some(Value::Null) => Some(Vec::new()),
            Some(tags) => Some(texts(tags).ok_or("tags must be an array of strings")?),
        };
        let custom = match body.get("custom") {
            None | Some(Value::Null) => None,
            Some(custom) => Some(custom.as_object().ok_or("custom must be an object")?.clone()),
        };
        let email = text("email")?.flatten();
        if email.as_deref().is_some_and(|email| !email.contains('@')) {
            return Err("email must be an address".to_owned());
        }
        Ok(Self {
            email,
            first_name: text("first_name")?,
            last_name: text("last_name")?,
            phone: text("phone")?,
            name: text("name")?,
            tags,
            custom,
        })
    }

    /// The address that is sent.
    pub(super) fn email(&self) -> Option<&str> {
        self.email.as_deref()
    }

    /// Puts the sent fields into a contact, the address aside. `tags` replaces the whole list; `custom` replaces the whole
    /// object where `replaces_custom`, and is merged with it otherwise.
    pub(super) fn apply(self, contact: &mut Contact, replaces_custom: bool) {
        let sent = [
            (self.name, &mut contact.name),
            (self.first_name, &mut contact.first_name),
            (self.last_name, &mut contact.last_name),
            (self.phone, &mut contact.phone),
        ];
        for (new, old) in sent {
            if let Some(new) = new {
                *old = new;
            }
        }
        if let Some(tags) = self.tags {
            contact.tags = tags;
        }
        if let Some(custom) = self.custom {
            if replaces_custom {
                contact.custom.clear();
            }
            contact.custom.extend(custom);
        }
    }
}

/// A contact that is made at `now`.
pub(super) fn made(email: &str, now: &str) -> Contact {
    let mut new = contact(email);
    new.added = now.to_owned();
    new.status_changed = now.to_owned();
    new
}

/// Subscribes to a list at `now`; with `force` even somebody who has left. Without it nobody is subscribed who is
/// not active or whom the list knows already.
pub(super) fn subscribe(mut changed: Contact, list: i64, force: bool, now: &str) -> Contact {
    if force {
        changed.turn("a", now);
        changed.associate(list, "a", now);
    } else if changed.status == "a" && changed.list_status(list).is_none() {
        changed.associate(list, "a", now);
    }
    changed
}

/// The statuses that a write has changed; a list that has only now come to know the contact is none.
pub(super) fn status_changes(before: Option<&Contact>, after: &Contact) -> Vec<Finding> {
    let Some(before) = before else { return Vec::new() };
    let mut changes = Vec::new();
    if before.status != after.status {
        changes.push(("the account status".to_owned(), before.status.as_str(), after.status.as_str()));
    }
    for known in &before.associations {
        let new = after.list_status(known.list_id).unwrap_or("none");
        if new != known.status {
            changes.push((format!("the status on list {}", known.list_id), known.status.as_str(), new));
        }
    }
    let tell = |(what, old, new)| {
        let text = format!("a write changed {what} of {} from `{old}` to `{new}`", before.email);
        Finding::new(FindingKind::StatusChanged, text)
    };
    changes.into_iter().map(tell).collect()
}
