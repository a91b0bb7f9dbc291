//! Where the value of a custom field comes from: one function per source, over documented fields of Sesamy's alone.

use std::collections::BTreeSet;
use std::fmt;

use jiff::Timestamp;
use jiff::tz::Offset;
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::Facts;
use crate::personal::PersonalValue;
use crate::sesamy::models::{Contract, Entitlement, moment};
use crate::tags;

/// What an address calls its country, city and postal code: the first that is not blank counts.
///
/// Source: assumed, for the fields of an address are not published.
const COUNTRY: &[&str] = &["country", "countryCode", "country_code"];
const CITY: &[&str] = &["city", "locality", "town"];
const POSTAL_CODE: &[&str] = &["postalCode", "postal_code", "postcode", "zip", "zipCode", "zip_code"];

/// A fact about a user that a custom field can hold. Dates are days in UTC, as `2026-01-31`; one that cannot be read is
/// as if absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// Sesamy's id of the user.
    UserId,
    /// The day on which the user's account was made.
    CreatedAt,
    /// `true` or `false`: whether the address is known to be the user's.
    EmailVerified,
    /// The company.
    Company,
    /// The country of the billing address, as Sesamy spells it.
    BillingCountry,
    /// The city of the billing address.
    BillingCity,
    /// The postal code of the billing address.
    BillingPostalCode,
    /// The country of the delivery address.
    DeliveryCountry,
    /// How many subscriptions are active, `0` included: those that the tag `sesamy_active_subscriber` comes from.
    ActiveSubscriptionCount,
    /// The `status` of the active subscription that was made last; where none is active, of the subscription that was
    /// made last.
    SubscriptionStatus,
    /// The next day, still to come, on which an active subscription is billed.
    NextBillAt,
    /// The next day, still to come, on which an active subscription expires.
    ExpiresAt,
    /// The next day, still to come, on which an active subscription ends because it was cancelled.
    WillCancelAt,
    /// The titles of all products that there is access to, articles left out: sorted, joined by `, `, each once.
    ActiveProducts,
    /// Their SKUs, likewise.
    ActiveSkus,
}

/// Which of Sesamy's answers a source is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The user's profile.
    Profile,
    /// The user's contracts.
    Contracts,
    /// The user's entitlements.
    Entitlements,
}

/// The names of all sources, as an error tells them.
pub const NAMES: &str = "user_id, created_at, email_verified, company, billing_country, billing_city, \
    billing_postal_code, delivery_country, active_subscription_count, subscription_status, next_bill_at, expires_at, \
    will_cancel_at, active_products, active_skus";

impl Source {
    /// All of them, in the order of [`NAMES`].
    pub const ALL: [Self; 15] = [
        Self::UserId,
        Self::CreatedAt,
        Self::EmailVerified,
        Self::Company,
        Self::BillingCountry,
        Self::BillingCity,
        Self::BillingPostalCode,
        Self::DeliveryCountry,
        Self::ActiveSubscriptionCount,
        Self::SubscriptionStatus,
        Self::NextBillAt,
        Self::ExpiresAt,
        Self::WillCancelAt,
        Self::ActiveProducts,
        Self::ActiveSkus,
    ];

    /// The name in the settings.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::UserId => "user_id",
            Self::CreatedAt => "created_at",
            Self::EmailVerified => "email_verified",
            Self::Company => "company",
            Self::BillingCountry => "billing_country",
            Self::BillingCity => "billing_city",
            Self::BillingPostalCode => "billing_postal_code",
            Self::DeliveryCountry => "delivery_country",
            Self::ActiveSubscriptionCount => "active_subscription_count",
            Self::SubscriptionStatus => "subscription_status",
            Self::NextBillAt => "next_bill_at",
            Self::ExpiresAt => "expires_at",
            Self::WillCancelAt => "will_cancel_at",
            Self::ActiveProducts => "active_products",
            Self::ActiveSkus => "active_skus",
        }
    }

    /// The source of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|source| source.name() == name)
    }

    /// Which answer it is read from.
    #[must_use]
    pub fn answer(self) -> Answer {
        match self {
            Self::UserId
            | Self::CreatedAt
            | Self::EmailVerified
            | Self::Company
            | Self::BillingCountry
            | Self::BillingCity
            | Self::BillingPostalCode
            | Self::DeliveryCountry => Answer::Profile,
            Self::ActiveSubscriptionCount
            | Self::SubscriptionStatus
            | Self::NextBillAt
            | Self::ExpiresAt
            | Self::WillCancelAt => Answer::Contracts,
            Self::ActiveProducts | Self::ActiveSkus => Answer::Entitlements,
        }
    }

    /// The value for the user of `facts`; none where there is none, or none but blanks.
    #[must_use]
    pub fn value(self, facts: &Facts<'_>) -> Option<String> {
        let Facts { profile, contracts, .. } = facts;
        let value = match self {
            Self::UserId => profile.user_id.clone().or_else(|| profile.id.clone()),
            Self::CreatedAt => profile.created_at.as_ref().and_then(Value::as_str).and_then(moment).map(day),
            Self::EmailVerified => profile.email_verified.as_ref().and_then(yes_or_no),
            Self::Company => profile.company.as_ref().and_then(|it| text(it.as_json())),
            Self::BillingCountry => part(&profile.billing_address, COUNTRY),
            Self::BillingCity => part(&profile.billing_address, CITY),
            Self::BillingPostalCode => part(&profile.billing_address, POSTAL_CODE),
            Self::DeliveryCountry => part(&profile.delivery_address, COUNTRY),
            Self::ActiveSubscriptionCount => {
                Some(contracts.iter().filter(|it| tags::is_active_subscription(it)).count().to_string())
            }
            Self::SubscriptionStatus => subscription_status(contracts),
            Self::NextBillAt => next(facts, |contract| &contract.next_bill_at).map(day),
            Self::ExpiresAt => next(facts, |contract| &contract.expires_at).map(day),
            Self::WillCancelAt => next(facts, |contract| &contract.will_cancel_at).map(day),
            Self::ActiveProducts => products(facts, |entitlement| &entitlement.title),
            Self::ActiveSkus => products(facts, |entitlement| &entitlement.sku),
        };
        value.map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }
}

impl Source {
    /// The next moment, after that of `facts`, at which the value may become another by itself; none where it never does.
    #[must_use]
    pub fn changes_at(self, facts: &Facts<'_>) -> Option<Timestamp> {
        match self {
            Self::NextBillAt => next(facts, |contract| &contract.next_bill_at),
            Self::ExpiresAt => next(facts, |contract| &contract.expires_at),
            Self::WillCancelAt => next(facts, |contract| &contract.will_cancel_at),
            Self::ActiveProducts | Self::ActiveSkus => {
                let active =
                    facts.entitlements.iter().filter(|it| tags::gives_access_to_product(it, facts.now));
                active.filter_map(Entitlement::ends_at).min()
            }
            Self::UserId
            | Self::CreatedAt
            | Self::EmailVerified
            | Self::Company
            | Self::BillingCountry
            | Self::BillingCity
            | Self::BillingPostalCode
            | Self::DeliveryCountry
            | Self::ActiveSubscriptionCount
            | Self::SubscriptionStatus => None,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Source {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

fn day(moment: Timestamp) -> String {
    Offset::UTC.to_datetime(moment).date().to_string()
}

fn yes_or_no(value: &Value) -> Option<String> {
    let text = text(value)?.to_lowercase();
    Some(text).filter(|text| text == "true" || text == "false")
}

/// A text, a number or a boolean as text that is not blank.
fn text(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(_) | Value::Bool(_) => value.to_string(),
        Value::Null | Value::Array(_) | Value::Object(_) => return None,
    };
    Some(text).filter(|text| !text.is_empty())
}

/// The first of `spellings` that an address has.
fn part(address: &Option<PersonalValue>, spellings: &[&str]) -> Option<String> {
    let address = address.as_ref()?.as_json();
    spellings.iter().find_map(|spelling| address.get(spelling).and_then(text))
}

/// Of contracts made at the same time, or at none that can be read, the one with the greatest id counts as the last.
fn subscription_status(contracts: &[Contract]) -> Option<String> {
    let made = |contract: &&Contract| {
        let at = contract.created_at.as_deref().and_then(moment);
        (at, contract.id.clone(), contract.status.clone())
    };
    let active = contracts.iter().filter(|it| tags::is_active_subscription(it)).max_by_key(made);
    let last = active.or_else(|| contracts.iter().filter(|it| tags::is_subscription(it)).max_by_key(made));
    last.and_then(|contract| contract.status.clone())
}

/// The first of the moments to come that `of` finds among the active subscriptions.
fn next(facts: &Facts<'_>, of: impl Fn(&Contract) -> &Option<String>) -> Option<Timestamp> {
    let active = facts.contracts.iter().filter(|contract| tags::is_active_subscription(contract));
    let moments = active.filter_map(|contract| of(contract).as_deref().and_then(moment));
    moments.filter(|at| *at > facts.now).min()
}

fn products(facts: &Facts<'_>, of: impl Fn(&Entitlement) -> &Option<String>) -> Option<String> {
    let active = facts.entitlements.iter().filter(|it| tags::gives_access_to_product(it, facts.now));
    let names = active.filter_map(|entitlement| of(entitlement).as_deref().map(str::trim));
    let names: BTreeSet<&str> = names.filter(|name| !name.is_empty()).collect();
    Some(names.into_iter().collect::<Vec<_>>().join(", "))
}
