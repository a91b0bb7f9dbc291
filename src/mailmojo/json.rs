//! What Mailmojo answers and takes, as far as a sync needs it, and its translation from and into [`crate::model`].
//!
//! Source: Mailmojo's developer site and its official SDKs. Any field may be null or absent; a field of another type than
//! published is the wrong shape, and no write follows from an answer of the wrong shape.

use std::collections::BTreeMap;

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, de};
use serde_json::{Map, Value, json};

use crate::address;
use crate::model::{Contact, ContactData, CustomValues, Membership};
use crate::personal::Personal;
use crate::upstream::{Api, Body, Failure, Object, object, objects};

/// A contact of the account, as `GET /v1/contacts/{email}/` answers it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ContactJson {
    email: Option<Personal>,
    name: Option<Personal>,
    first_name: Option<Personal>,
    last_name: Option<Personal>,
    phone: Option<Personal>,
    tags: Option<Vec<String>>,
    status: Option<String>,
    /// The lists that the contact is, or has been, on.
    #[serde(deserialize_with = "objects")]
    list_associations: Option<Vec<Association>>,
}

/// The same answer, read for the account's own fields alone: where none of them is ours, none has to make sense.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct CustomJson {
    #[serde(deserialize_with = "object")]
    custom: Option<CustomValues>,
}

/// A contact's place on one list.
#[derive(Debug, Deserialize)]
struct Association {
    #[serde(deserialize_with = "list_id")]
    list_id: u64,
    /// The status on this list, with the same letters as the account's.
    #[serde(default)]
    status: Option<String>,
}

/// What `GET /v1/lists/{list_id}/subscribers/{email}/` answers.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Subscriber {
    email: Option<Personal>,
    /// The status on the list.
    pub(super) status: Option<String>,
}

/// What `GET /v1/lists/{list_id}/` answers.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct List {
    /// The list's name.
    pub name: Option<String>,
}

/// The contact of `email` in `body`, with its place on `list`; with the account's own fields if `reads_custom`.
pub(crate) fn contact_of(
    email: &str,
    list: u64,
    body: &Body,
    reads_custom: bool,
) -> Result<Contact, Failure> {
    let Object(contact) = body.read::<Object<ContactJson>>()?;
    if !contact.may_be_of(email) {
        return Err(another_address());
    }
    let custom = if reads_custom { exact_custom(body)? } else { None };
    let Object(keys) = body.read::<Object<BTreeMap<String, IgnoredAny>>>()?;
    Ok(Contact {
        membership: contact.membership(list),
        custom,
        left_out: Contact::SPARSE.into_iter().filter(|key| !keys.contains_key(*key)).collect(),
        email: contact.email,
        name: contact.name,
        first_name: contact.first_name,
        last_name: contact.last_name,
        phone: contact.phone,
        tags: contact.tags,
        status: contact.status,
    })
}

/// The account's own fields. Every value has to be one that can be sent back as it came.
fn exact_custom(body: &Body) -> Result<Option<CustomValues>, Failure> {
    let Object(CustomJson { custom }) = body.read::<Object<CustomJson>>()?;
    if custom.iter().flat_map(BTreeMap::values).all(|value| is_exact(value.as_json())) {
        return Ok(custom);
    }
    let what = "a custom field has a number that is too large to be written back as it is";
    Err(Failure::wrong_shape(Api::Mailmojo, what))
}

/// Whether `value` can be sent back as it came. A whole number beyond what a float holds cannot.
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

/// The data of a write as JSON.
pub(crate) fn json_of(data: &ContactData) -> Map<String, Value> {
    let ContactData { first_name, last_name, phone, tags, custom } = data;
    [
        ("first_name", first_name.as_ref().map(|it| json!(it))),
        ("last_name", last_name.as_ref().map(|it| json!(it))),
        ("phone", phone.as_ref().map(|it| json!(it))),
        ("tags", tags.as_ref().map(|it| json!(it))),
        ("custom", custom.as_ref().map(|it| json!(it))),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name.to_owned(), value?)))
    .collect()
}

impl ContactJson {
    /// Whether this may be the contact of `email`: it names that address (see [`address::is_same`]); or it names none and is a
    /// contact all the same, known by a status or lists. (An answer that is JSON, but not a contact, names nothing; to
    /// take it for a contact without tags would wipe somebody's own.)
    fn may_be_of(&self, email: &str) -> bool {
        match &self.email {
            Some(own) => address::is_same(own.as_str(), email),
            None => is_known(self.status.as_deref()) || self.list_associations.is_some(),
        }
    }

    fn membership(&self, list: u64) -> Membership {
        let Some(associations) = &self.list_associations else { return Membership::Unknown };
        let association = associations.iter().find(|association| association.list_id == list);
        association
            .map_or(Membership::NotOnList, |association| Membership::OnList(association.status.clone()))
    }
}

impl Subscriber {
    /// Whether this may be the subscriber of `email`: judged as a contact is.
    pub(crate) fn may_be_of(&self, email: &str) -> bool {
        match &self.email {
            Some(own) => address::is_same(own.as_str(), email),
            None => is_known(self.status.as_deref()),
        }
    }
}

pub(super) fn another_address() -> Failure {
    Failure::wrong_shape(Api::Mailmojo, "it is not the contact of the address asked for")
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
            let contact: ContactJson = serde_json::from_value(value.clone()).unwrap();
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
            serde_json::from_value::<ContactJson>(
                json!({"list_associations": [{"list_id": id, "status": "a"}]}),
            )
        };
        let on_list = Membership::OnList(Some("a".to_owned()));
        assert_eq!(read(json!(7)).unwrap().membership(7), on_list);
        assert_eq!(read(json!("7")).unwrap().membership(7), on_list);
        assert_eq!(read(json!(8)).unwrap().membership(7), Membership::NotOnList);
        assert_eq!(ContactJson::default().membership(7), Membership::Unknown);
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
            assert!(serde_json::from_value::<ContactJson>(wrong).is_err());
        }
    }

    #[test]
    fn custom_fields_are_an_object_of_anything_that_can_be_sent_back_as_it_came() {
        let read = |custom: &str, reads_custom| {
            let body = format!(r#"{{"email": "kari@example.com", "custom": {custom}}}"#);
            contact_of("kari@example.com", 7, &Body::of(Api::Mailmojo, body.as_bytes()), reads_custom)
        };
        for (custom, is_exact) in [
            ("null", true),
            ("{}", true),
            (r#"{"shoe": 38, "half": 38.5, "list": [1, {"a": null}], "text": "99999999999999999999"}"#, true),
            (r#"{"shoe": 18446744073709551615}"#, true),
            (r#"{"shoe": [18446744073709551616]}"#, false),
            ("[]", false),
            ("\"shoe\"", false),
            ("5", false),
            ("[{}]", false),
        ] {
            assert_eq!(read(custom, true).is_ok(), is_exact, "{custom}");
        }
        let unread = read(r#"[1e999, "\ud800"]"#, false).unwrap();
        assert_eq!(unread.custom, None, "where none is ours, nothing of them has to make sense");
    }

    #[test]
    fn a_write_leaves_out_what_is_left_alone() {
        let data = ContactData { tags: Some(vec!["a".into()]), ..ContactData::default() };
        assert_eq!(Value::Object(json_of(&data)), json!({"tags": ["a"]}));
    }
}
