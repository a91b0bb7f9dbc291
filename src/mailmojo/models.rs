//! What Mailmojo answers and takes, as far as a sync needs it.
//!
//! Source: Mailmojo's developer site and its official SDKs. Any field may be null or absent; a field of another type than
//! published is the wrong shape, and no write follows from an answer of the wrong shape.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::Value;

use crate::address;
use crate::personal::{Personal, PersonalValue};
use crate::upstream::{object, objects};

/// The account status of somebody who receives mail. Every other status means that the person has left, has been
/// removed, or cannot be reached, and is never subscribed by us.
pub const ACTIVE: &str = "a";

/// The account's own fields of a contact, by name.
pub type Custom = BTreeMap<String, PersonalValue>;

/// A contact of the account, as `GET /v1/contacts/{email}/` answers it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Contact {
    /// The address, as Mailmojo spells it.
    pub email: Option<Personal>,
    /// The whole name; takes precedence over first and last name where it is present.
    pub name: Option<Personal>,
    /// The first name.
    pub first_name: Option<Personal>,
    /// The last name.
    pub last_name: Option<Personal>,
    /// The phone number.
    pub phone: Option<Personal>,
    /// All tags, ours and the publisher's own.
    pub tags: Option<Vec<String>>,
    /// The status on the account: `a` active, `u` unsubscribed, `b` bounced, `d` deleted.
    pub status: Option<String>,
    /// The lists that the contact is, or has been, on. None where the answer says nothing of lists.
    #[serde(deserialize_with = "objects")]
    pub list_associations: Option<Vec<Association>>,
    /// The account's own fields. Read by itself ([`CustomOf`]), and only where some of them are ours.
    #[serde(skip)]
    pub custom: Option<Custom>,
    /// The fields of [`Contact::SPARSE`] whose keys the answer does not have at all. A key with null has a value: none.
    #[serde(skip)]
    pub left_out: Vec<&'static str>,
}

/// The same answer, read for the account's own fields alone: where none of them is ours, none has to make sense.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct CustomOf {
    /// Those that the answer tells of; none where they are absent or null.
    #[serde(deserialize_with = "object")]
    pub custom: Option<Custom>,
}

impl CustomOf {
    /// Whether every value can be sent back as it came. A whole number beyond what a float holds cannot.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.custom.iter().flat_map(BTreeMap::values).all(|value| is_exact(value.as_json()))
    }
}

fn is_exact(value: &Value) -> bool {
    /// 2^53: from here on floats leave out whole numbers.
    const LARGEST_EXACT: f64 = 9_007_199_254_740_992.0;
    match value {
        Value::Number(number) if number.is_f64() => {
            number.as_f64().is_some_and(|number| number.abs() < LARGEST_EXACT)
        }
        Value::Array(items) => items.iter().all(is_exact),
        Value::Object(fields) => fields.values().all(is_exact),
        _ => true,
    }
}

/// A contact's place on one list.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Association {
    /// The list.
    #[serde(deserialize_with = "list_id")]
    pub list_id: u64,
    /// The status on this list, with the same letters as the account's.
    #[serde(default)]
    pub status: Option<String>,
}

/// What `GET /v1/lists/{list_id}/subscribers/{email}/` answers.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Subscriber {
    /// The address.
    pub email: Option<Personal>,
    /// The status on the list.
    pub status: Option<String>,
}

/// What `GET /v1/lists/{list_id}/` answers.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct List {
    /// The list's name.
    pub name: Option<String>,
}

/// The data of a contact that a write carries. What is none is left out, and so left alone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ContactData {
    /// The first name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_name: Option<Personal>,
    /// The last name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_name: Option<Personal>,
    /// The phone number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone: Option<Personal>,
    /// The whole list of tags, which replaces the one before (assumed).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    /// All of the account's own fields, whether such a write replaces them or is merged with them (assumed to be either).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub custom: Option<Custom>,
}

impl Contact {
    /// The fields that an answer may have left out though the contact has them. To take them for absent would overwrite them.
    pub const SPARSE: [&str; 6] = ["name", "first_name", "last_name", "phone", "tags", "custom"];

    /// Whether the answer had a key for each field that `data` writes, and for those that decide whether it does.
    #[must_use]
    pub fn has_keys_of(&self, data: &ContactData) -> bool {
        let writes_name = data.first_name.is_some() || data.last_name.is_some();
        let needed = [
            (writes_name, "name"),
            (writes_name, "first_name"),
            (writes_name, "last_name"),
            (data.phone.is_some(), "phone"),
            (data.tags.is_some(), "tags"),
            (data.custom.is_some(), "custom"),
        ];
        !needed.iter().any(|(is_needed, key)| *is_needed && self.left_out.contains(key))
    }

    /// Takes from `fuller`, another answer about the same contact, what this one left out.
    pub fn fill_from(&mut self, fuller: Self) {
        let left_out = std::mem::take(&mut self.left_out);
        let is_left_out = |key: &str| left_out.contains(&key);
        if is_left_out("name") {
            self.name = fuller.name;
        }
        if is_left_out("first_name") {
            self.first_name = fuller.first_name;
        }
        if is_left_out("last_name") {
            self.last_name = fuller.last_name;
        }
        if is_left_out("phone") {
            self.phone = fuller.phone;
        }
        if is_left_out("tags") {
            self.tags = fuller.tags;
        }
        if is_left_out("custom") {
            self.custom = fuller.custom;
        }
    }

    /// Whether this may be the contact of `email`: it names that address (see [`address::is_same`]); or it names none and is a
    /// contact all the same, known by a status or lists. (An answer that is JSON, but not a contact, names nothing; to
    /// take it for a contact without tags would wipe somebody's own.)
    #[must_use]
    pub fn may_be_of(&self, email: &str) -> bool {
        match &self.email {
            Some(own) => address::is_same(own.as_str(), email),
            None => is_known(self.status.as_deref()) || self.list_associations.is_some(),
        }
    }

    /// Whether this answer has a value for each field that `data` writes. What it leaves out, or has as null, may be
    /// there all the same.
    #[must_use]
    pub fn tells_of(&self, data: &ContactData) -> bool {
        (data.first_name.is_none() || self.first_name.is_some())
            && (data.last_name.is_none() || self.last_name.is_some())
            && (data.phone.is_none() || self.phone.is_some())
            && (data.tags.is_none() || self.tags.is_some())
            && (data.custom.is_none() || self.custom.is_some())
    }

    /// The contact's place on `list_id`, where the contact is or was on it.
    #[must_use]
    pub fn association(&self, list_id: u64) -> Option<&Association> {
        self.list_associations.iter().flatten().find(|association| association.list_id == list_id)
    }
}

impl Subscriber {
    /// Whether this may be the subscriber of `email`: judged as [`Contact::may_be_of`] judges.
    #[must_use]
    pub fn may_be_of(&self, email: &str) -> bool {
        match &self.email {
            Some(own) => address::is_same(own.as_str(), email),
            None => is_known(self.status.as_deref()),
        }
    }
}

/// Whether a status is one of those that are published.
fn is_known(status: Option<&str>) -> bool {
    matches!(status, Some("a" | "u" | "b" | "d"))
}

/// A list's id: an integer, or a string of its digits. Anything else is the wrong shape: an association that cannot be
/// compared with our list must not look like one with another list.
fn list_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Id {
        Number(u64),
        Digits(String),
    }
    match Id::deserialize(deserializer)? {
        Id::Number(id) => Ok(id),
        Id::Digits(digits) => digits.parse().map_err(|_| de::Error::custom("list_id is no number")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_contact_of_another_address_or_of_nothing_known_is_not_this_one() {
        for (value, expected) in [
            (json!({"email": "Kari@Example.com"}), true),
            (json!({"email": "ola@example.com", "status": "a"}), false),
            (json!({"email": null, "status": "u"}), true),
            (json!({"list_associations": []}), true),
            (json!({"status": "ok"}), false),
            (json!({}), false),
        ] {
            let contact: Contact = serde_json::from_value(value.clone()).unwrap();
            assert_eq!(contact.may_be_of("kari@example.com"), expected, "{value}");
        }
    }

    #[test]
    fn a_subscriber_of_another_address_or_of_nothing_known_is_not_this_one() {
        for (value, expected) in [
            (json!({"email": "Kari@Example.com"}), true),
            (json!({"status": "u"}), true),
            (json!({"email": "ola@example.com", "status": "a"}), false),
            (json!({"status": "ok"}), false),
            (json!({}), false),
        ] {
            let subscriber: Subscriber = serde_json::from_value(value.clone()).unwrap();
            assert_eq!(subscriber.may_be_of("kari@example.com"), expected, "{value}");
        }
    }

    #[test]
    fn a_list_id_is_a_number_or_its_digits_and_nothing_else() {
        let read = |id: serde_json::Value| {
            serde_json::from_value::<Contact>(json!({"list_associations": [{"list_id": id, "status": "a"}]}))
        };
        assert!(read(json!(7)).unwrap().association(7).is_some());
        assert!(read(json!("7")).unwrap().association(7).is_some());
        assert!(read(json!(8)).unwrap().association(7).is_none());
        for wrong in [json!(null), json!("seven"), json!(7.5), json!(-7), json!([7])] {
            assert!(read(wrong).is_err());
        }
    }

    #[test]
    fn numbers_where_strings_were_are_the_wrong_shape() {
        for wrong in [
            json!({"email": 5}),
            json!({"tags": "vip"}),
            json!({"tags": ["vip", null]}),
            json!({"tags": {"0": "vip"}}),
            json!({"list_associations": {}}),
            json!({"list_associations": [[8, "a"]]}),
            json!({"status": 1}),
        ] {
            assert!(serde_json::from_value::<Contact>(wrong).is_err());
        }
    }

    #[test]
    fn custom_fields_are_an_object_of_anything_that_can_be_sent_back_as_it_came() {
        let read = |custom: &str| {
            serde_json::from_str::<CustomOf>(&format!(r#"{{"email": 5, "custom": {custom}}}"#))
        };
        for (custom, is_exact) in [
            ("null", true),
            ("{}", true),
            (r#"{"shoe": 38, "half": 38.5, "list": [1, {"a": null}], "text": "99999999999999999999"}"#, true),
            (r#"{"shoe": 18446744073709551615}"#, true),
            (r#"{"shoe": [18446744073709551616]}"#, false),
        ] {
            assert_eq!(read(custom).unwrap().is_exact(), is_exact, "{custom}");
        }
        for wrong in ["[]", "\"shoe\"", "5", "[{}]"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        assert!(serde_json::from_str::<CustomOf>("{}").unwrap().custom.is_none());
        let unread = serde_json::from_str::<Contact>(r#"{"custom": [1e999, "\ud800"]}"#).unwrap();
        assert_eq!(unread.custom, None, "where none is ours, nothing of them has to make sense");
    }

    #[test]
    fn an_answer_tells_of_a_field_where_it_has_a_value_for_it() {
        let both =
            ContactData { phone: Some(Personal::new("1")), tags: Some(vec![]), ..ContactData::default() };
        for (answer, data, expected) in [
            (json!({"phone": "", "tags": []}), &both, true),
            (json!({"phone": null, "tags": []}), &both, false),
            (json!({"phone": "2"}), &both, false),
            (json!({}), &ContactData::default(), true),
        ] {
            let contact: Contact = serde_json::from_value(answer.clone()).unwrap();
            assert_eq!(contact.tells_of(data), expected, "{answer}");
        }
    }

    #[test]
    fn a_write_leaves_out_what_is_left_alone() {
        let data = ContactData { tags: Some(vec!["a".into()]), ..ContactData::default() };
        assert_eq!(serde_json::to_value(data).unwrap(), json!({"tags": ["a"]}));
    }
}
