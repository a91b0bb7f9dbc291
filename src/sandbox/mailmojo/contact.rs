//! A Mailmojo contact: the snapshot that a test reads, and the builder by which it is made.

use serde_json::{Map, Value, json};

/// When contacts were added that a test does not date.
const LONG_AGO: &str = "2024-01-01T12:00:00Z";

/// A contact of the account, and the lists that know it.
#[derive(Debug, Clone, PartialEq)]
pub struct Contact {
    /// The address, as it is spelt in the account.
    pub email: String,
    /// The full name.
    pub name: Option<String>,
    /// The first name.
    pub first_name: Option<String>,
    /// The last name.
    pub last_name: Option<String>,
    /// The phone.
    pub phone: Option<String>,
    /// The tags, in the account's order.
    pub tags: Vec<String>,
    /// The account's own fields.
    pub custom: Map<String, Value>,
    /// The account's status: `a` active, `u` unsubscribed, `b` bounced, `d` deleted.
    pub status: String,
    /// When the status last changed, RFC 3339.
    pub status_changed: String,
    /// When the contact was added, RFC 3339.
    pub added: String,
    /// The lists that know it, in the order in which they came to do so.
    pub associations: Vec<Association>,
}

/// What one list knows of a contact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Association {
    /// The list.
    pub list_id: i64,
    /// The status on this list; letters as in [`Contact::status`].
    pub status: String,
    /// When it came to the list, RFC 3339.
    pub added: String,
    /// When the status last changed, RFC 3339.
    pub status_changed: String,
}

/// An active contact with nothing but an address, on no list.
#[must_use]
pub fn contact(email: &str) -> Contact {
    Contact {
        email: email.to_owned(),
        name: None,
        first_name: None,
        last_name: None,
        phone: None,
        tags: Vec::new(),
        custom: Map::new(),
        status: "a".to_owned(),
        status_changed: LONG_AGO.to_owned(),
        added: LONG_AGO.to_owned(),
        associations: Vec::new(),
    }
}

impl Contact {
    /// Sets the full name.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// Sets the first name.
    #[must_use]
    pub fn first_name(mut self, name: &str) -> Self {
        self.first_name = Some(name.to_owned());
        self
    }

    /// Sets the last name.
    #[must_use]
    pub fn last_name(mut self, name: &str) -> Self {
        self.last_name = Some(name.to_owned());
        self
    }

    /// Sets the phone.
    #[must_use]
    pub fn phone(mut self, phone: &str) -> Self {
        self.phone = Some(phone.to_owned());
        self
    }

    /// Sets the tags.
    #[must_use]
    pub fn tags<'a>(mut self, tags: impl IntoIterator<Item = &'a str>) -> Self {
        self.tags = tags.into_iter().map(str::to_owned).collect();
        self
    }

    /// Sets one of the account's own fields.
    #[must_use]
    pub fn custom(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.custom.insert(name.to_owned(), value.into());
        self
    }

    /// Sets the account's status, such as `u`.
    #[must_use]
    pub fn status(mut self, status: &str) -> Self {
        self.status = status.to_owned();
        self
    }

    /// Is active on this list.
    #[must_use]
    pub fn on_list(self, list: i64) -> Self {
        self.on_list_as(list, "a")
    }

    /// Is known to this list with this status, such as `u`.
    #[must_use]
    pub fn on_list_as(mut self, list: i64, status: &str) -> Self {
        self.associate(list, status, LONG_AGO);
        self
    }

    /// Its status on a list; none where the list does not know it.
    #[must_use]
    pub fn list_status(&self, list: i64) -> Option<&str> {
        self.associations.iter().find(|known| known.list_id == list).map(|known| known.status.as_str())
    }

    /// The tags that start with `sesamy_`, in the account's order.
    #[must_use]
    pub fn sesamy_tags(&self) -> Vec<&str> {
        self.tags.iter().map(String::as_str).filter(|tag| tag.starts_with(SESAMY)).collect()
    }

    /// The other tags, in the account's order.
    #[must_use]
    pub fn own_tags(&self) -> Vec<&str> {
        own(&self.tags).collect()
    }

    /// Sets its status on a list at `now`; the list comes to know it if it did not.
    pub(super) fn associate(&mut self, list_id: i64, status: &str, now: &str) {
        match self.associations.iter_mut().find(|known| known.list_id == list_id) {
            Some(known) if known.status == status => {}
            Some(known) => {
                known.status = status.to_owned();
                known.status_changed = now.to_owned();
            }
            None => self.associations.push(Association {
                list_id,
                status: status.to_owned(),
                added: now.to_owned(),
                status_changed: now.to_owned(),
            }),
        }
    }

    /// Sets the account's status at `now`.
    pub(super) fn turn(&mut self, status: &str, now: &str) {
        if self.status != status {
            self.status = status.to_owned();
            self.status_changed = now.to_owned();
        }
    }
}

/// With what Sesamy's tags begin.
const SESAMY: &str = "sesamy_";

/// The tags that are not Sesamy's, in their order.
pub(super) fn own(tags: &[String]) -> impl Iterator<Item = &str> {
    tags.iter().map(String::as_str).filter(|tag| !tag.starts_with(SESAMY))
}

/// How a field without a value is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Empty {
    /// As `null`.
    #[default]
    Null,
    /// Not at all.
    Absent,
    /// As an empty string, array or object.
    Blank,
}

/// How contacts are told of their lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Associations {
    /// With `list_associations`.
    #[default]
    Told,
    /// With `list_associations: null`.
    Null,
    /// Without that field.
    Absent,
}

/// How a contact is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Style {
    pub(super) empty: Empty,
    pub(super) associations: Associations,
}

impl Style {
    /// The contact as the API answers it.
    pub(super) fn show(self, contact: &Contact) -> Value {
        let mut fields = Map::new();
        fields.insert("email".into(), contact.email.clone().into());
        let texts = [
            ("name", &contact.name),
            ("first_name", &contact.first_name),
            ("last_name", &contact.last_name),
            ("phone", &contact.phone),
        ];
        for (name, value) in texts {
            self.put(&mut fields, name, value.clone().map(Value::from), json!(""));
        }
        let tags = Some(&contact.tags).filter(|tags| !tags.is_empty()).map(|tags| json!(tags));
        self.put(&mut fields, "tags", tags, json!([]));
        let custom = Some(&contact.custom).filter(|custom| !custom.is_empty()).map(|custom| json!(custom));
        self.put(&mut fields, "custom", custom, json!({}));
        fields.insert("status".into(), contact.status.clone().into());
        fields.insert("status_changed".into(), contact.status_changed.clone().into());
        fields.insert("added".into(), contact.added.clone().into());
        match self.associations {
            Associations::Told => {
                let known = contact.associations.iter().map(|known| show_association(contact, known));
                fields.insert("list_associations".into(), known.collect());
            }
            Associations::Null => {
                fields.insert("list_associations".into(), Value::Null);
            }
            Associations::Absent => {}
        }
        Value::Object(fields)
    }

    fn put(self, fields: &mut Map<String, Value>, name: &str, value: Option<Value>, blank: Value) {
        let value = match (value, self.empty) {
            (Some(value), _) => value,
            (None, Empty::Null) => Value::Null,
            (None, Empty::Blank) => blank,
            (None, Empty::Absent) => return,
        };
        fields.insert(name.to_owned(), value);
    }
}

fn show_association(contact: &Contact, known: &Association) -> Value {
    json!({"list_id": known.list_id, "email": contact.email, "status": known.status, "added": known.added,
        "status_changed": known.status_changed})
}
