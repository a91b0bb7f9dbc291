//! What a write does to a contact, as Mailmojo would do it: a patch, or a subscribe that creates or updates.

use serde_json::{Map, Value};

use super::super::finding::{Finding, FindingKind};
use super::contact::Contact;
use super::known::texts;

/// The fields of a write that change a contact's data. The outer option says whether a field is sent, the inner one
/// whether it has a value.
#[derive(Debug, Default)]
pub(super) struct Data {
    pub(super) email: Option<String>,
    first_name: Option<Option<String>>,
    last_name: Option<Option<String>>,
    phone: Option<Option<String>>,
    name: Option<Option<String>>,
    tags: Option<Vec<String>>,
    custom: Option<Map<String, Value>>,
}

impl Data {
    /// Reads a body; the error names the field that is wrong.
    pub(super) fn read(body: &Map<String, Value>) -> Result<Self, String> {
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

    /// Puts the sent fields into a contact, except for the address. `tags` replaces the whole list; `custom` replaces
    /// the whole object if `replaces_custom`, and is merged with it otherwise.
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

/// Subscribes to a list at `now`; with `force` even a person who has left. Without it only an active contact is
/// subscribed, and only to a list that does not know it.
pub(super) fn subscribe(contact: &mut Contact, list: i64, force: bool, now: &str) {
    if force {
        contact.set_status("a", now);
        contact.associate(list, "a", now);
    } else if contact.status == "a" && contact.list_status(list).is_none() {
        contact.associate(list, "a", now);
    }
}

/// The statuses that a write has changed; a new association is not a change.
pub(super) fn status_changes(before: &Contact, after: &Contact) -> Vec<Finding> {
    let account = ("the account status".to_owned(), before.status.as_str(), after.status.as_str());
    let lists = before.associations.iter().map(|known| {
        let new = after.list_status(known.list_id).unwrap_or("none");
        (format!("the status on list {}", known.list_id), known.status.as_str(), new)
    });
    let changes = std::iter::once(account).chain(lists).filter(|(_, old, new)| old != new);
    let report = |(what, old, new)| {
        let text = format!("a write changed {what} of {} from `{old}` to `{new}`", before.email);
        Finding::new(FindingKind::StatusChanged, text)
    };
    changes.map(report).collect()
}
