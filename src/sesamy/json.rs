//! What Sesamy's Management API answers, as far as a sync needs it, and its translation into [`crate::model`].
//!
//! Source: the schemas published with `@sesamy/sdk` 1.22. Any field may be absent, and all but the two that say whether
//! something is in force may be null; a field of another type than published is the wrong shape, and no write follows
//! from an answer of the wrong shape.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::fmt::temporal::Pieces;
use jiff::tz::Offset;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::model::{Contract, ContractDuration, Entitlement, Item, Origin, PostalAddress, Profile};
use crate::personal::{Personal, PersonalValue, first_present};
use crate::upstream::{object, objects};
use crate::user::UserId;

/// What an address calls its country, city and postal code: the first that is not blank counts.
///
/// Source: assumed, for the fields of an address are not published.
const COUNTRY: &[&str] = &["country", "countryCode", "country_code"];
const CITY: &[&str] = &["city", "locality", "town"];
const POSTAL_CODE: &[&str] = &["postalCode", "postal_code", "postcode", "zip", "zipCode", "zip_code"];

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ProfileJson {
    /// The id, as the profile's own schema calls it.
    user_id: Option<String>,
    /// The id, as the list's schema calls it.
    id: Option<String>,
    email: Option<Personal>,
    first_name: Option<Personal>,
    last_name: Option<Personal>,
    /// The names in OpenID's spelling. A bare `name` is not read: it is never split by guessing.
    #[serde(rename = "given_name")]
    given_name: Option<Personal>,
    #[serde(rename = "family_name")]
    family_name: Option<Personal>,
    mobile_phone: Option<Personal>,
    work_phone: Option<Personal>,
    home_phone: Option<Personal>,
    /// The default phone in OpenID's spelling, and in two assumed ones.
    #[serde(rename = "phone_number")]
    phone_number_openid: Option<Personal>,
    phone: Option<Personal>,
    phone_number: Option<Personal>,
    tags: Option<Vec<String>>,
    is_guest: Option<Value>,
    guest: Option<Value>,
    #[serde(rename = "type")]
    kind: Option<Value>,
    user_type: Option<Value>,
    /// Read only for custom fields, as are all below, so that none of them has to be of a certain type.
    created_at: Option<Value>,
    email_verified: Option<Value>,
    company: Option<PersonalValue>,
    billing_address: Option<PersonalValue>,
    delivery_address: Option<PersonalValue>,
}

impl ProfileJson {
    /// Whether the profile names `user` as its own. One that names nobody is no profile.
    pub(crate) fn is_of(&self, user: &UserId) -> bool {
        self.user_id.as_deref().or(self.id.as_deref()) == Some(user.as_str())
    }

    /// Whether the profile is marked as a guest's: a temporary account made during a checkout.
    ///
    /// Source: assumed, for the marks are not published: `isGuest` or `guest` is true, or `type` or `userType` is
    /// `guest`. Ids are judged by the setting `sesamy.guest_user_id_prefixes`.
    fn is_guest(&self) -> bool {
        let is_true = |mark: &Option<Value>| mark == &Some(Value::Bool(true));
        let is_called_guest = |kind: &Option<Value>| {
            kind.as_ref().and_then(Value::as_str).is_some_and(|kind| kind.eq_ignore_ascii_case("guest"))
        };
        is_true(&self.is_guest)
            || is_true(&self.guest)
            || is_called_guest(&self.kind)
            || is_called_guest(&self.user_type)
    }

    /// Mobile, default, work, home: the first that is not blank.
    ///
    /// Source: the order is the publisher's wish; that the default phone is `phone_number`, or `phone` or `phoneNumber`
    /// where one of these is sent, is assumed.
    fn first_phone(&self) -> Option<Personal> {
        first_present([
            &self.mobile_phone,
            &self.phone_number_openid,
            &self.phone,
            &self.phone_number,
            &self.work_phone,
            &self.home_phone,
        ])
    }
}

impl From<ProfileJson> for Profile {
    fn from(json: ProfileJson) -> Self {
        Self {
            email: first_present([&json.email]),
            first_name: first_present([&json.first_name, &json.given_name]),
            last_name: first_present([&json.last_name, &json.family_name]),
            phone: json.first_phone(),
            is_guest: json.is_guest(),
            created_at: json.created_at.as_ref().and_then(Value::as_str).and_then(moment),
            email_verified: json.email_verified.as_ref().and_then(true_or_false),
            company: json.company.and_then(|company| text(company.as_json())),
            billing: postal_address(json.billing_address.as_ref()),
            delivery: postal_address(json.delivery_address.as_ref()),
            tags: json.tags.unwrap_or_default(),
            user_id: json.user_id.or(json.id),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ContractJson {
    id: Option<String>,
    /// Whose contract it is.
    pub(super) user_id: Option<String>,
    status: Option<String>,
    #[serde(deserialize_with = "not_null")]
    is_active: Option<bool>,
    contract_duration: Option<String>,
    #[serde(deserialize_with = "objects")]
    items: Option<Vec<ItemJson>>,
    #[serde(deserialize_with = "moment_if_any")]
    created_at: Option<Timestamp>,
    #[serde(deserialize_with = "moment_if_any")]
    next_bill_at: Option<Timestamp>,
    #[serde(deserialize_with = "moment_if_any")]
    expires_at: Option<Timestamp>,
    #[serde(deserialize_with = "moment_if_any")]
    will_cancel_at: Option<Timestamp>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ItemJson {
    purchase_type: Option<String>,
}

impl From<ContractJson> for Contract {
    fn from(json: ContractJson) -> Self {
        let item = |item: ItemJson| Item { is_single: item.purchase_type.as_deref() == Some("SINGLE") };
        Self {
            id: json.id,
            status: json.status,
            is_active: json.is_active.unwrap_or(false),
            duration: match json.contract_duration.as_deref() {
                Some("RECURRING" | "RENEWABLE") => Some(ContractDuration::Recurring),
                Some("PERPETUAL") => Some(ContractDuration::Perpetual),
                _ => None,
            },
            items: json.items.into_iter().flatten().map(item).collect(),
            created_at: json.created_at,
            next_bill_at: json.next_bill_at,
            expires_at: json.expires_at,
            will_cancel_at: json.will_cancel_at,
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct EntitlementJson {
    id: Option<String>,
    sku: Option<String>,
    title: Option<String>,
    purchase_option: Option<String>,
    /// For instance `article`, `pass`, `publication`.
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(deserialize_with = "not_null")]
    has_access: Option<bool>,
    #[serde(deserialize_with = "object")]
    origin: Option<OriginJson>,
    expires_at: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct OriginJson {
    #[serde(rename = "type")]
    kind: Option<String>,
    contract_id: Option<String>,
}

impl From<EntitlementJson> for Entitlement {
    fn from(json: EntitlementJson) -> Self {
        let ends_at = json.expires_at.as_deref().and_then(end);
        let has_access = json.has_access.unwrap_or(false);
        if has_access && ends_at.is_none() && json.expires_at.is_some() {
            tracing::warn!(
                entitlement_id = json.id.as_deref().unwrap_or("none"),
                "an entitlement's expiresAt cannot be read; it is taken as without an end"
            );
        }
        Self {
            id: json.id,
            sku: json.sku,
            title: json.title,
            purchase_option: json.purchase_option,
            is_article: json.kind.as_deref() == Some("article"),
            has_access,
            origin: json.origin.and_then(|origin| match origin.kind.as_deref() {
                Some("EXTERNAL") => Some(Origin::External),
                Some("PAYMENTS") => Some(Origin::Payments { contract_id: origin.contract_id }),
                _ => None,
            }),
            ends_at,
        }
    }
}

/// The end of access that Sesamy means by `expiresAt`: a moment, or, where it is a date without a time, the end of that
/// day in UTC. `None` where it cannot be read, so that a new spelling takes nobody's tags away.
fn end(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    match Pieces::parse(text).ok().filter(|pieces| pieces.time().is_none()) {
        Some(day) => Offset::UTC.to_timestamp(day.date().tomorrow().ok()?.into()).ok(),
        None => moment(text),
    }
}

/// The moment that Sesamy means by `text`: RFC 3339, or the same without an offset, which is taken as UTC.
fn moment(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let in_utc = || text.parse::<DateTime>().and_then(|civil| Offset::UTC.to_timestamp(civil));
    text.parse().or_else(|_| in_utc()).ok()
}

/// For a field that is absent or has a value: to read null as "no" would take tags away upon an answer that says neither.
fn not_null<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// For a field that no tag depends on: what is not the text of a moment is as if absent, and not worth failing a sync for.
fn moment_if_any<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    Ok(Value::deserialize(deserializer)?.as_str().and_then(moment))
}

fn postal_address(address: Option<&PersonalValue>) -> PostalAddress {
    let part = |names: &[&str]| {
        let address = address?.as_json();
        names.iter().find_map(|name| address.get(name).and_then(text))
    };
    PostalAddress { country: part(COUNTRY), city: part(CITY), postal_code: part(POSTAL_CODE) }
}

fn true_or_false(value: &Value) -> Option<bool> {
    text(value)?.as_str().to_lowercase().parse().ok()
}

/// A text, a number or a boolean as text that is not blank.
fn text(value: &Value) -> Option<Personal> {
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(_) | Value::Bool(_) => value.to_string(),
        Value::Null | Value::Array(_) | Value::Object(_) => return None,
    };
    (!text.is_empty()).then(|| Personal::new(text))
}

/// A user from JSON, for the tests of the rooms that know no JSON.
#[cfg(test)]
pub(crate) fn user_of(profile: Value, contracts: Value, entitlements: Value) -> crate::model::SesamyUser {
    let contracts: Vec<ContractJson> = serde_json::from_value(contracts).unwrap();
    let entitlements: Vec<EntitlementJson> = serde_json::from_value(entitlements).unwrap();
    crate::model::SesamyUser {
        profile: serde_json::from_value::<ProfileJson>(profile).unwrap().into(),
        contracts: contracts.into_iter().map(Contract::from).collect(),
        entitlements: entitlements.into_iter().map(Entitlement::from).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn profile(value: Value) -> Profile {
        user_of(value, json!([]), json!([])).profile
    }

    #[test]
    fn names_come_from_sesamys_fields_then_from_openids_and_never_from_a_whole_name() {
        for (value, first, last) in [
            (json!({"firstName": "Kari", "given_name": "K", "lastName": " Moe "}), Some("Kari"), Some("Moe")),
            (json!({"firstName": " ", "given_name": "K", "family_name": "M"}), Some("K"), Some("M")),
            (json!({"name": "Kari Moe"}), None, None),
            (json!({"firstName": null}), None, None),
        ] {
            let profile = profile(value);
            assert_eq!(profile.first_name, first.map(Personal::new));
            assert_eq!(profile.last_name, last.map(Personal::new));
        }
    }

    #[test]
    fn the_phone_is_the_first_of_mobile_default_work_home_that_is_not_blank() {
        for (value, phone) in [
            (json!({"mobilePhone": "1", "phone_number": "2", "workPhone": "3", "homePhone": "4"}), Some("1")),
            (json!({"mobilePhone": " ", "phone_number": "2", "workPhone": "3", "homePhone": "4"}), Some("2")),
            (json!({"phone": "5", "workPhone": "3"}), Some("5")),
            (json!({"phoneNumber": "6", "workPhone": "3"}), Some("6")),
            (json!({"mobilePhone": null, "workPhone": "3", "homePhone": "4"}), Some("3")),
            (json!({"homePhone": "4"}), Some("4")),
            (json!({}), None),
        ] {
            assert_eq!(profile(value).phone, phone.map(Personal::new));
        }
    }

    #[test]
    fn guests_are_known_by_each_of_the_assumed_marks() {
        for (value, guest) in [
            (json!({"isGuest": true}), true),
            (json!({"guest": true}), true),
            (json!({"type": "guest"}), true),
            (json!({"userType": "GUEST"}), true),
            (json!({"isGuest": false, "type": "user"}), false),
            (json!({"isGuest": null, "guest": {}}), false),
            (json!({}), false),
        ] {
            assert_eq!(profile(value.clone()).is_guest, guest, "{value}");
        }
    }

    #[test]
    fn a_profile_that_names_another_user_or_nobody_is_not_this_users() {
        let user = UserId::new("u1").unwrap();
        for (value, expected) in [
            (json!({"userId": "u1", "id": "row-7"}), true),
            (json!({"id": "u1"}), true),
            (json!({"userId": "u2"}), false),
            (json!({}), false),
        ] {
            let profile: ProfileJson = serde_json::from_value(value.clone()).unwrap();
            assert_eq!(profile.is_of(&user), expected, "{value}");
        }
    }

    #[test]
    fn numbers_where_strings_were_are_the_wrong_shape() {
        for wrong in
            [json!({"email": 5}), json!({"tags": "vip"}), json!({"tags": [1]}), json!({"firstName": {}})]
        {
            assert!(serde_json::from_value::<ProfileJson>(wrong).is_err());
        }
        assert!(serde_json::from_value::<ContractJson>(json!({"isActive": "yes"})).is_err());
        assert!(serde_json::from_value::<ContractJson>(json!({"isActive": null})).is_err());
        assert!(serde_json::from_value::<ContractJson>(json!({})).is_ok());
        assert!(serde_json::from_value::<EntitlementJson>(json!({"hasAccess": null})).is_err());
        assert!(serde_json::from_value::<EntitlementJson>(json!({"expiresAt": 1})).is_err());
    }

    #[test]
    fn what_no_tag_depends_on_is_read_where_it_is_a_moment_and_passed_over_where_it_is_not() {
        let read: ContractJson = serde_json::from_value(json!({"createdAt": "2025-01-01", "nextBillAt": 5,
            "expiresAt": null, "willCancelAt": {"at": "2026-01-01"}}))
        .unwrap();
        assert_eq!(read.created_at, moment("2025-01-01"));
        assert_eq!((read.next_bill_at, read.expires_at, read.will_cancel_at), (None, None, None));
    }

    #[test]
    fn access_ends_at_its_moment_and_a_date_without_a_time_ends_with_that_day() {
        for (text, expected) in [
            (json!("2026-01-31T12:00:00+01:00"), Some("2026-01-31T11:00:00Z")),
            (json!("2026-01-31T00:00:00Z"), Some("2026-01-31T00:00:00Z")),
            (json!("2026-01-31T00:00"), Some("2026-01-31T00:00:00Z")),
            (json!("2026-01-31"), Some("2026-02-01T00:00:00Z")),
            (json!(" 20261231 "), Some("2027-01-01T00:00:00Z")),
            (json!("9999-12-31"), None),
            (json!("2026-02-30"), None),
            (json!("31.01.2026"), None),
            (json!(""), None),
            (json!(null), None),
        ] {
            let user = user_of(json!({}), json!([]), json!([{"expiresAt": text}]));
            assert_eq!(user.entitlements[0].ends_at, expected.map(|it| it.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn a_moment_has_an_offset_or_is_in_utc() {
        for (text, expected) in [
            ("2026-01-01T00:30:00+01:00", Some("2025-12-31T23:30:00Z")),
            (" 2026-01-01T00:30:00.5Z ", Some("2026-01-01T00:30:00.5Z")),
            ("2026-01-01T00:30:00", Some("2026-01-01T00:30:00Z")),
            ("2026-01-01", Some("2026-01-01T00:00:00Z")),
            ("1. januar", None),
            ("", None),
        ] {
            assert_eq!(moment(text), expected.map(|it| it.parse().unwrap()), "{text}");
        }
    }
}
