//! What Sesamy's Management API answers, as far as a sync needs it.
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

use crate::personal::{Personal, PersonalValue, first_present};
use crate::upstream::{object, objects};
use crate::user::UserId;

/// A user's profile.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Profile {
    /// The id, as the profile's own schema calls it.
    pub user_id: Option<String>,
    /// The id, as the list's schema calls it.
    pub id: Option<String>,
    /// The address.
    pub email: Option<Personal>,
    /// The first name.
    pub first_name: Option<Personal>,
    /// The last name.
    pub last_name: Option<Personal>,
    /// The first name in OpenID's spelling.
    #[serde(rename = "given_name")]
    pub given_name: Option<Personal>,
    /// The last name in OpenID's spelling.
    #[serde(rename = "family_name")]
    pub family_name: Option<Personal>,
    /// Mobile phone.
    pub mobile_phone: Option<Personal>,
    /// Phone at work.
    pub work_phone: Option<Personal>,
    /// Phone at home.
    pub home_phone: Option<Personal>,
    /// The default phone in OpenID's spelling.
    #[serde(rename = "phone_number")]
    pub phone_number_openid: Option<Personal>,
    /// The default phone (assumed spelling).
    pub phone: Option<Personal>,
    /// The default phone (assumed spelling).
    pub phone_number: Option<Personal>,
    /// Custom tags.
    pub tags: Option<Vec<String>>,
    /// Assumed mark of a guest.
    pub is_guest: Option<Value>,
    /// Assumed mark of a guest.
    pub guest: Option<Value>,
    /// Assumed mark of a guest, where it says `guest`.
    #[serde(rename = "type")]
    pub kind: Option<Value>,
    /// Assumed mark of a guest, where it says `guest`.
    pub user_type: Option<Value>,
    /// When the account was made, as text that [`moment`] reads. Read only for custom fields, as are all below, so that
    /// none of them has to be of a certain type.
    pub created_at: Option<Value>,
    /// Whether the address is known to be the user's.
    pub email_verified: Option<Value>,
    /// The company.
    pub company: Option<PersonalValue>,
    /// Where bills go, an object.
    pub billing_address: Option<PersonalValue>,
    /// Where paper goes, an object.
    pub delivery_address: Option<PersonalValue>,
}

impl Profile {
    /// Whether the profile names `user` as its own. One that names nobody is no profile.
    #[must_use]
    pub fn is_of(&self, user: &UserId) -> bool {
        self.user_id.as_deref().or(self.id.as_deref()) == Some(user.as_str())
    }

    /// Whether the profile is marked as a guest's: a temporary account made during a checkout.
    ///
    /// Source: assumed, for the marks are not published: `isGuest` or `guest` is true, or `type` or `userType` is
    /// `guest`. Ids are judged by the setting `sesamy.guest_user_id_prefixes`.
    #[must_use]
    pub fn is_guest(&self) -> bool {
        let says_so = |mark: &Option<Value>| mark == &Some(Value::Bool(true));
        let is_called_so = |kind: &Option<Value>| {
            kind.as_ref()
                .and_then(|kind| kind.as_str())
                .is_some_and(|kind| kind.eq_ignore_ascii_case("guest"))
        };
        says_so(&self.is_guest)
            || says_so(&self.guest)
            || is_called_so(&self.kind)
            || is_called_so(&self.user_type)
    }

    /// `firstName`, else `given_name`.
    #[must_use]
    pub fn wanted_first_name(&self) -> Option<Personal> {
        first_present([&self.first_name, &self.given_name])
    }

    /// `lastName`, else `family_name`.
    #[must_use]
    pub fn wanted_last_name(&self) -> Option<Personal> {
        first_present([&self.last_name, &self.family_name])
    }

    /// Mobile, default, work, home: the first that is not blank.
    ///
    /// Source: the order is the publisher's wish; that the default phone is `phone_number`, or `phone` or `phoneNumber`
    /// where one of these is sent, is assumed.
    #[must_use]
    pub fn wanted_phone(&self) -> Option<Personal> {
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

/// A contract: what a user has bought, now or ever.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Contract {
    /// The contract's id.
    pub id: Option<String>,
    /// Whose contract it is.
    pub user_id: Option<String>,
    /// For instance `ACTIVE`, `OVERDUE`, `RETRYING`.
    pub status: Option<String>,
    /// Whether it is in force.
    #[serde(deserialize_with = "not_null")]
    pub is_active: Option<bool>,
    /// `RECURRING`, `RENEWABLE` or `PERPETUAL`.
    pub contract_duration: Option<String>,
    /// What it covers.
    #[serde(deserialize_with = "objects")]
    pub items: Option<Vec<Item>>,
    /// When it was made, as text that [`moment`] reads.
    #[serde(deserialize_with = "text_or_nothing")]
    pub created_at: Option<String>,
    /// When the next payment is due, likewise.
    #[serde(deserialize_with = "text_or_nothing")]
    pub next_bill_at: Option<String>,
    /// When it ends, likewise.
    #[serde(deserialize_with = "text_or_nothing")]
    pub expires_at: Option<String>,
    /// When it ends because it has been cancelled, likewise.
    #[serde(deserialize_with = "text_or_nothing")]
    pub will_cancel_at: Option<String>,
}

/// One thing that a contract covers.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Item {
    /// `SINGLE` for a one-off purchase.
    pub purchase_type: Option<String>,
}

/// An entitlement: what a user may read.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Entitlement {
    /// The entitlement's id.
    pub id: Option<String>,
    /// The product's SKU.
    pub sku: Option<String>,
    /// The product's title.
    pub title: Option<String>,
    /// The purchase option of the SKU.
    pub purchase_option: Option<String>,
    /// For instance `article`, `pass`, `publication`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Whether it gives access.
    #[serde(deserialize_with = "not_null")]
    pub has_access: Option<bool>,
    /// Where it came from.
    #[serde(deserialize_with = "object")]
    pub origin: Option<Origin>,
    /// When it ends, as text that [`Entitlement::ends_at`] reads.
    pub expires_at: Option<String>,
}

impl Entitlement {
    /// The moment from which there is no access any more: that of `expiresAt`, or, where it is a date without a time, the
    /// end of that day in UTC. None where there is no end or none that can be read, so that a new spelling takes nobody's
    /// tags away.
    #[must_use]
    pub fn ends_at(&self) -> Option<Timestamp> {
        let text = self.expires_at.as_deref()?.trim();
        match Pieces::parse(text).ok().filter(|pieces| pieces.time().is_none()) {
            Some(day) => Offset::UTC.to_timestamp(day.date().tomorrow().ok()?.into()).ok(),
            None => moment(text),
        }
    }
}

/// Where an entitlement came from.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Origin {
    /// `EXTERNAL` or `PAYMENTS`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// The contract that paid for it.
    pub contract_id: Option<String>,
}

/// For a field that is absent or has a value: to read null as "no" would take tags away upon an answer that says neither.
fn not_null<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// For a field that no tag hangs on: what is not text is as if absent, and not worth failing a sync for.
fn text_or_nothing<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::String(text) => Some(text),
        _ => None,
    })
}

/// The moment that Sesamy means by `text`: RFC 3339, or the same without an offset, which is taken as UTC. None where it
/// is neither.
#[must_use]
pub fn moment(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let in_utc = || text.parse::<DateTime>().and_then(|civil| Offset::UTC.to_timestamp(civil));
    text.parse().or_else(|_| in_utc()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn profile(value: serde_json::Value) -> Profile {
        serde_json::from_value(value).unwrap()
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
            assert_eq!(profile.wanted_first_name(), first.map(Personal::new));
            assert_eq!(profile.wanted_last_name(), last.map(Personal::new));
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
            assert_eq!(profile(value).wanted_phone(), phone.map(Personal::new));
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
            assert_eq!(profile(value.clone()).is_guest(), guest, "{value}");
        }
    }

    #[test]
    fn a_profile_that_names_another_user_or_nobody_is_not_this_users() {
        let user = UserId::new("u1").unwrap();
        assert!(profile(json!({"userId": "u1", "id": "row-7"})).is_of(&user));
        assert!(profile(json!({"id": "u1"})).is_of(&user));
        assert!(!profile(json!({"userId": "u2"})).is_of(&user));
        assert!(!profile(json!({})).is_of(&user));
    }

    #[test]
    fn numbers_where_strings_were_are_the_wrong_shape() {
        for wrong in
            [json!({"email": 5}), json!({"tags": "vip"}), json!({"tags": [1]}), json!({"firstName": {}})]
        {
            assert!(serde_json::from_value::<Profile>(wrong).is_err());
        }
        assert!(serde_json::from_value::<Contract>(json!({"isActive": "yes"})).is_err());
        assert!(serde_json::from_value::<Contract>(json!({"isActive": null})).is_err());
        assert!(serde_json::from_value::<Contract>(json!({})).is_ok());
        assert!(serde_json::from_value::<Entitlement>(json!({"hasAccess": null})).is_err());
        assert!(serde_json::from_value::<Entitlement>(json!({"expiresAt": 1})).is_err());
    }

    #[test]
    fn what_no_tag_hangs_on_is_read_where_it_is_text_and_passed_over_where_it_is_not() {
        let contract = |value| serde_json::from_value::<Contract>(value).unwrap();
        let read = contract(json!({"createdAt": "2025-01-01", "nextBillAt": 5, "expiresAt": null,
            "willCancelAt": {"at": "2026-01-01"}}));
        assert_eq!(read.created_at.as_deref(), Some("2025-01-01"));
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
            let entitlement: Entitlement = serde_json::from_value(json!({"expiresAt": text})).unwrap();
            assert_eq!(entitlement.ends_at(), expected.map(|it| it.parse().unwrap()), "{text}");
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
