//! Where the value of a custom field comes from: one rule per source, over documented fields of Sesamy's alone.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::tz::Offset;
use serde::Serialize;
use strum::{Display, EnumString, IntoStaticStr, VariantArray, VariantNames};

use crate::model::{Contract, Entitlement, SesamyUser};
use crate::personal::Personal;

/// A fact about a user that a custom field can hold. Dates are days in UTC, as `2026-01-31`; one that cannot be read is
/// as if absent.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Display,
    EnumString,
    IntoStaticStr,
    VariantArray,
    VariantNames,
    Serialize,
)]
#[strum(serialize_all = "snake_case")]
#[serde(rename_all = "snake_case")]
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
    /// The SKUs of these products, in the same way.
    ActiveSkus,
}

/// Which of Sesamy's answers a source is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadFrom {
    /// The user's profile.
    Profile,
    /// The user's contracts.
    Contracts,
    /// The user's entitlements.
    Entitlements,
}

/// The names of all sources, as an error lists them.
pub const NAMES: &str = "user_id, created_at, email_verified, company, billing_country, billing_city, \
    billing_postal_code, delivery_country, active_subscription_count, subscription_status, next_bill_at, expires_at, \
    will_cancel_at, active_products, active_skus";

impl Source {
    /// Which answer it is read from.
    pub fn read_from(self) -> ReadFrom {
        match self {
            Self::UserId
            | Self::CreatedAt
            | Self::EmailVerified
            | Self::Company
            | Self::BillingCountry
            | Self::BillingCity
            | Self::BillingPostalCode
            | Self::DeliveryCountry => ReadFrom::Profile,
            Self::ActiveSubscriptionCount
            | Self::SubscriptionStatus
            | Self::NextBillAt
            | Self::ExpiresAt
            | Self::WillCancelAt => ReadFrom::Contracts,
            Self::ActiveProducts | Self::ActiveSkus => ReadFrom::Entitlements,
        }
    }

    /// The value for `user` at `now`; `None` where there is none, or none but blanks.
    pub fn value(self, user: &SesamyUser, now: Timestamp) -> Option<String> {
        let SesamyUser { profile, contracts, .. } = user;
        let text = |text: &Option<Personal>| text.as_ref().map(|text| text.as_str().to_owned());
        let value = match self {
            Self::UserId => profile.user_id.clone(),
            Self::CreatedAt => profile.created_at.map(day),
            Self::EmailVerified => profile.email_verified.map(|is_verified| is_verified.to_string()),
            Self::Company => text(&profile.company),
            Self::BillingCountry => text(&profile.billing.country),
            Self::BillingCity => text(&profile.billing.city),
            Self::BillingPostalCode => text(&profile.billing.postal_code),
            Self::DeliveryCountry => text(&profile.delivery.country),
            Self::ActiveSubscriptionCount => Some(active_subscriptions(user).count().to_string()),
            Self::SubscriptionStatus => subscription_status(contracts),
            Self::NextBillAt => next(user, now, |contract| contract.next_bill_at).map(day),
            Self::ExpiresAt => next(user, now, |contract| contract.expires_at).map(day),
            Self::WillCancelAt => next(user, now, |contract| contract.will_cancel_at).map(day),
            Self::ActiveProducts => Some(names(user, now, |entitlement| &entitlement.title)),
            Self::ActiveSkus => Some(names(user, now, |entitlement| &entitlement.sku)),
        };
        value.map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    /// The next moment after `now` at which the value may become another by itself; `None` where it never does.
    pub fn changes_at(self, user: &SesamyUser, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::NextBillAt => next(user, now, |contract| contract.next_bill_at),
            Self::ExpiresAt => next(user, now, |contract| contract.expires_at),
            Self::WillCancelAt => next(user, now, |contract| contract.will_cancel_at),
            Self::ActiveProducts | Self::ActiveSkus => {
                active_products(user, now).filter_map(|it| it.ends_at).min()
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

fn day(moment: Timestamp) -> String {
    Offset::UTC.to_datetime(moment).date().to_string()
}

fn active_subscriptions(user: &SesamyUser) -> impl Iterator<Item = &Contract> {
    user.contracts.iter().filter(|contract| contract.is_active_subscription())
}

fn active_products(user: &SesamyUser, now: Timestamp) -> impl Iterator<Item = &Entitlement> {
    user.entitlements.iter().filter(move |it| !it.is_article && it.gives_access_at(now))
}

/// Of contracts made at the same time, or at none that can be read, the one with the greatest id counts as the last.
fn subscription_status(contracts: &[Contract]) -> Option<String> {
    let made = |contract: &&Contract| (contract.created_at, contract.id.clone(), contract.status.clone());
    let active = contracts.iter().filter(|it| it.is_active_subscription()).max_by_key(made);
    let last = active.or_else(|| contracts.iter().filter(|it| it.is_subscription()).max_by_key(made));
    last.and_then(|contract| contract.status.clone())
}

/// The first of the moments to come that `of` finds among the active subscriptions.
fn next(user: &SesamyUser, now: Timestamp, of: impl Fn(&Contract) -> Option<Timestamp>) -> Option<Timestamp> {
    active_subscriptions(user).filter_map(of).filter(|at| *at > now).min()
}

fn names(user: &SesamyUser, now: Timestamp, of: impl Fn(&Entitlement) -> &Option<String>) -> String {
    let names =
        active_products(user, now).filter_map(|entitlement| of(entitlement).as_deref().map(str::trim));
    let names: BTreeSet<&str> = names.filter(|name| !name.is_empty()).collect();
    names.into_iter().collect::<Vec<_>>().join(", ")
}
