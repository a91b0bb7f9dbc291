//! A Mailmojo contact: the snapshot that a test reads, the methods that build it, and how the API answers it.

use serde_json::{Map, Value, json};

/// The time of what a test does not date.
const LONG_AGO: &str = "2024-01-01T12:00:00Z";

/// The prefix of Sesamy's tags.
const SESAMY: &str = "sesamy_";

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
    /// The lists that know it, the newest last.
    pub associations: Vec<Association>,
}

/// What one list knows of a contact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Association {
    /// The list.
    pub list_id: i64,
    /// The status on this list; letters as in [`Contact::status`].
    pub status: String,
    /// When it was added to the list, RFC 3339.
    pub added: String,
    /// When the status last changed, RFC 3339.
    pub status_changed: String,
}

/// An active contact with nothing but an address, on no list.
pub fn contact(email: &str) -> Contact {
    Contact::added_at(email, LONG_AGO)
}

impl Contact {
    pub(super) fn added_at(email: &str, now: &str) -> Self {
        Self {
            email: email.to_owned(),
            name: None,
            first_name: None,
            last_name: None,
            phone: None,
            tags: Vec::new(),
            custom: Map::new(),
            status: "a".to_owned(),
            status_changed: now.to_owned(),
            added: now.to_owned(),
            associations: Vec::new(),
        }
    }

    /// Sets the full name.
    pub fn name(self, name: &str) -> Self {
        Self { name: Some(name.to_owned()), ..self }
    }

    /// Sets the first name.
    pub fn first_name(self, name: &str) -> Self {
        Self { first_name: Some(name.to_owned()), ..self }
    }

    /// Sets the last name.
    pub fn last_name(self, name: &str) -> Self {
        Self { last_name: Some(name.to_owned()), ..self }
    }

    /// Sets the phone.
    pub fn phone(self, phone: &str) -> Self {
        Self { phone: Some(phone.to_owned()), ..self }
    }

    /// Sets the tags.
    pub fn tags<'a>(self, tags: impl IntoIterator<Item = &'a str>) -> Self {
        Self { tags: tags.into_iter().map(str::to_owned).collect(), ..self }
    }

    /// Sets one of the account's own fields.
    pub fn custom(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.custom.insert(name.to_owned(), value.into());
        self
    }

    /// Sets the account's status, such as `u`.
    pub fn status(self, status: &str) -> Self {
        Self { status: status.to_owned(), ..self }
    }

    /// Active on this list.
    pub fn on_list(self, list: i64) -> Self {
        self.on_list_as(list, "a")
    }

    /// Known to this list with this status, such as `u`.
    pub fn on_list_as(mut self, list: i64, status: &str) -> Self {
        self.associate(list, status, LONG_AGO);
        self
    }

    /// Its status on a list; `None` if the list does not know it.
    pub fn list_status(&self, list: i64) -> Option<&str> {
        self.associations.iter().find(|known| known.list_id == list).map(|known| known.status.as_str())
    }

    /// The tags that start with `sesamy_`, in the account's order.
    pub fn sesamy_tags(&self) -> Vec<&str> {
        self.tags.iter().map(String::as_str).filter(|tag| tag.starts_with(SESAMY)).collect()
    }

    /// The other tags, in the account's order.
    pub fn own_tags(&self) -> Vec<&str> {
        own(&self.tags).collect()
    }

    /// Sets its status on a list at `now`, and adds it to the list if necessary.
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
    pub(super) fn set_status(&mut self, status: &str, now: &str) {
        if self.status != status {
            self.status = status.to_owned();
            self.status_changed = now.to_owned();
        }
    }
}

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
    /// Left out.
    Absent,
    /// As an empty string, array or object.
    Blank,
}

/// How the lists of a contact are answered.
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
        let mut shown = json!({"email": contact.email, "status": contact.status,
            "status_changed": contact.status_changed, "added": contact.added});
        let fields = [
            ("name", contact.name.clone().map(Value::from), json!("")),
            ("first_name", contact.first_name.clone().map(Value::from), json!("")),
            ("last_name", contact.last_name.clone().map(Value::from), json!("")),
            ("phone", contact.phone.clone().map(Value::from), json!("")),
            ("tags", (!contact.tags.is_empty()).then(|| json!(contact.tags)), json!([])),
            ("custom", (!contact.custom.is_empty()).then(|| json!(contact.custom)), json!({})),
        ];
        for (name, value, blank) in fields {
            match (value, self.empty) {
                (Some(value), _) => shown[name] = value,
                (None, Empty::Null) => shown[name] = Value::Null,
                (None, Empty::Blank) => shown[name] = blank,
                (None, Empty::Absent) => {}
            }
        }
        match self.associations {
            Associations::Told => {
                let known = contact.associations.iter().map(|known| {
                    json!({"list_id": known.list_id, "email": contact.email, "status": known.status,
                        "added": known.added, "status_changed": known.status_changed})
                });
                shown["list_associations"] = known.collect();
            }
            Associations::Null => shown["list_associations"] = Value::Null,
            Associations::Absent => {}
        }
        shown
    }
}
