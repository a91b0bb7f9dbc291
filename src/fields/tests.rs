//! A table for each source, and what holds for any answer.

use proptest::prelude::*;
use serde_json::{Value, json};

use strum::{VariantArray, VariantNames};

use super::*;
use crate::sesamy::json::user_of;

const NOW: &str = "2026-01-15T12:00:00Z";

fn value(source: Source, profile: Value, contracts: Value, entitlements: Value) -> Option<String> {
    source.value(&user_of(profile, contracts, entitlements), NOW.parse().unwrap())
}

fn of_profile(source: Source, profile: Value) -> Option<String> {
    value(source, profile, json!([]), json!([]))
}

fn of_contracts(source: Source, contracts: Value) -> Option<String> {
    value(source, json!({}), contracts, json!([]))
}

fn of_entitlements(source: Source, entitlements: Value) -> Option<String> {
    value(source, json!({}), json!([]), entitlements)
}

#[test]
fn every_source_has_one_name_and_the_names_in_an_error_are_all_there_are() {
    assert_eq!(<Source as VariantNames>::VARIANTS.join(", "), source::NAMES);
    for source in <Source as VariantArray>::VARIANTS {
        assert_eq!(source.to_string().parse(), Ok(*source));
        assert_eq!(json!(source), source.to_string());
    }
    assert!("User_Id".parse::<Source>().is_err());
}

#[test]
fn the_profiles_own_fields() {
    use Source::{Company, CreatedAt, EmailVerified, UserId};
    for (source, profile, expected) in [
        (UserId, json!({"userId": "u1", "id": "row-7"}), Some("u1")),
        (UserId, json!({"id": "u1"}), Some("u1")),
        (UserId, json!({}), None),
        (CreatedAt, json!({"createdAt": "2025-12-31T23:59:59.999Z"}), Some("2025-12-31")),
        (CreatedAt, json!({"createdAt": "2026-01-01T00:30:00+01:00"}), Some("2025-12-31")),
        (CreatedAt, json!({"createdAt": "long ago"}), None),
        (CreatedAt, json!({"createdAt": 1_735_689_600}), None),
        (EmailVerified, json!({"emailVerified": true}), Some("true")),
        (EmailVerified, json!({"emailVerified": false}), Some("false")),
        (EmailVerified, json!({"emailVerified": "True"}), Some("true")),
        (EmailVerified, json!({"emailVerified": "2025-01-01"}), None),
        (EmailVerified, json!({"emailVerified": null}), None),
        (Company, json!({"company": " Avisa AS "}), Some("Avisa AS")),
        (Company, json!({"company": "  "}), None),
        (Company, json!({"company": {"name": "Avisa AS"}}), None),
    ] {
        assert_eq!(of_profile(source, profile.clone()).as_deref(), expected, "{source} of {profile}");
    }
}

#[test]
fn the_parts_of_an_address_in_each_assumed_spelling() {
    use Source::{BillingCity, BillingCountry, BillingPostalCode, DeliveryCountry};
    for (source, address, expected) in [
        (BillingCountry, json!({"country": "NO"}), Some("NO")),
        (BillingCountry, json!({"country": " ", "countryCode": "NO"}), Some("NO")),
        (BillingCountry, json!({"country_code": "NO"}), Some("NO")),
        (BillingCountry, json!({"country": {"code": "NO"}}), None),
        (BillingCity, json!({"city": "Tromsø"}), Some("Tromsø")),
        (BillingCity, json!({"locality": "Tromsø"}), Some("Tromsø")),
        (BillingCity, json!({"town": "Tromsø"}), Some("Tromsø")),
        (BillingPostalCode, json!({"postalCode": "0150"}), Some("0150")),
        (BillingPostalCode, json!({"postal_code": 9008}), Some("9008")),
        (BillingPostalCode, json!({"postcode": "0150"}), Some("0150")),
        (BillingPostalCode, json!({"zip": "0150"}), Some("0150")),
        (BillingPostalCode, json!({"zipCode": "0150"}), Some("0150")),
        (BillingPostalCode, json!({"zip_code": "0150"}), Some("0150")),
        (BillingPostalCode, json!("Storgata 1, 0150 Oslo"), None),
        (BillingPostalCode, json!(null), None),
        (DeliveryCountry, json!({"country": "NO"}), None),
    ] {
        let found = of_profile(source, json!({"billingAddress": address}));
        assert_eq!(found.as_deref(), expected, "{source} of {address}");
    }
    let delivery = json!({"deliveryAddress": {"country": "SE"}, "billingAddress": {"country": "NO"}});
    assert_eq!(of_profile(DeliveryCountry, delivery).as_deref(), Some("SE"));
}

#[test]
fn active_subscriptions_are_counted_and_none_is_a_number_too() {
    let count = |contracts| of_contracts(Source::ActiveSubscriptionCount, contracts).unwrap();
    assert_eq!(count(json!([])), "0");
    assert_eq!(
        count(json!([
            {"isActive": true, "contractDuration": "RECURRING"},
            {"isActive": true, "contractDuration": "RENEWABLE"},
            {"isActive": true, "contractDuration": "PERPETUAL"},
            {"isActive": false, "contractDuration": "RECURRING"},
            {"isActive": true, "items": [{}]},
        ])),
        "3"
    );
}

#[test]
fn the_status_is_that_of_the_active_subscription_made_last_or_else_of_the_last_subscription() {
    let made = |id: &str, at: &str, status: &str, active: bool| json!({"id": id, "createdAt": at, "status": status, "isActive": active, "contractDuration": "RECURRING"});
    let single = json!({"createdAt": "2026-01-01", "status": "PAID", "isActive": true,
        "contractDuration": "PERPETUAL"});
    for (contracts, expected) in [
        (json!([]), None),
        (json!([single]), None),
        (json!([made("a", "2025-01-01", "ACTIVE", true), single]), Some("ACTIVE")),
        (
            json!([made("a", "2024-01-01", "OVERDUE", true), made("b", "2025-01-01", "CANCELLED", false)]),
            Some("OVERDUE"),
        ),
        (
            json!([made("a", "2025-01-01", "ACTIVE", true), made("b", "2025-01-02", "OVERDUE", true)]),
            Some("OVERDUE"),
        ),
        (
            json!([made("a", "2024-01-01", "EXPIRED", false), made("b", "2025-01-01", "CANCELLED", false)]),
            Some("CANCELLED"),
        ),
        (json!([made("a", "2024-01-01", "ACTIVE", true), made("b", "?", "OVERDUE", true)]), Some("ACTIVE")),
        (json!([made("b", "?", "OVERDUE", true), made("a", "?", "ACTIVE", true)]), Some("OVERDUE")),
        (json!([{"isActive": true, "contractDuration": "RECURRING"}]), None),
    ] {
        let found = of_contracts(Source::SubscriptionStatus, contracts.clone());
        assert_eq!(found.as_deref(), expected, "{contracts}");
    }
}

#[test]
fn a_date_is_the_next_to_come_of_an_active_subscription() {
    for (source, field) in [
        (Source::NextBillAt, "nextBillAt"),
        (Source::ExpiresAt, "expiresAt"),
        (Source::WillCancelAt, "willCancelAt"),
    ] {
        let contract =
            |at: Value, active: bool| json!({"isActive": active, "contractDuration": "RECURRING", field: at});
        for (contracts, expected) in [
            (json!([]), None),
            (json!([contract(json!("2026-02-01T08:00:00Z"), true)]), Some("2026-02-01")),
            (
                json!([contract(json!("2026-03-01"), true), contract(json!("2026-02-01"), true)]),
                Some("2026-02-01"),
            ),
            (
                json!([contract(json!("2026-01-01"), true), contract(json!("2026-02-01"), true)]),
                Some("2026-02-01"),
            ),
            (json!([contract(json!(NOW), true)]), None), // this very moment is not to come
            (json!([contract(json!("2026-01-15T12:00:01Z"), true)]), Some("2026-01-15")),
            (json!([contract(json!("2026-02-01"), false)]), None),
            (json!([contract(json!("soon"), true), contract(json!(7), true)]), None),
        ] {
            assert_eq!(of_contracts(source, contracts.clone()).as_deref(), expected, "{contracts}");
        }
    }
}

#[test]
fn products_are_those_with_access_sorted_each_once_and_no_articles() {
    let entitlements = json!([
        {"title": " Pluss ", "sku": "plus", "hasAccess": true, "type": "pass"},
        {"title": "Avis", "sku": "paper", "hasAccess": true, "expiresAt": "2026-02-01"},
        {"title": "Pluss", "sku": "plus-2", "hasAccess": true, "expiresAt": "some day"},
        {"title": "Over", "sku": "over", "hasAccess": true, "expiresAt": NOW},
        {"title": "Pluss", "sku": "to-night", "hasAccess": true, "expiresAt": &NOW[..10]},
        {"title": "Over", "sku": "since-midnight", "hasAccess": true, "expiresAt": "2026-01-14"},
        {"title": "Gone", "sku": "gone", "hasAccess": false},
        {"title": "Article", "sku": "article", "hasAccess": true, "type": "article"},
        {"title": " ", "hasAccess": true},
    ]);
    let found = |source| of_entitlements(source, entitlements.clone());
    assert_eq!(found(Source::ActiveProducts).as_deref(), Some("Avis, Pluss"));
    assert_eq!(found(Source::ActiveSkus).as_deref(), Some("paper, plus, plus-2, to-night"));
    assert_eq!(of_entitlements(Source::ActiveProducts, json!([])), None);
}

#[test]
fn each_field_has_its_name_its_source_and_its_value() {
    let fields = [("town", Source::BillingCity), ("id", Source::UserId)];
    let fields = CustomFields::new(fields.map(|(name, source)| (name.to_owned(), source)).into());
    let user = user_of(json!({"userId": "u1"}), json!([]), json!([]));
    let wanted = fields.wanted(&user, NOW.parse().unwrap());
    let id = CustomField { name: "id".to_owned(), source: Source::UserId, value: Some(Personal::new("u1")) };
    let town = CustomField { name: "town".to_owned(), source: Source::BillingCity, value: None };
    assert_eq!(wanted, [id, town]);
}

const TIMES: &[&str] =
    &["2026-01-15T12:00:00Z", "2026-02-01", "2025-02-01", "2026-02-01T00:00:00+14:00", "?", "", " "];

#[test]
fn a_value_changes_by_itself_at_the_very_moment_that_is_named() {
    let contracts = json!([{"isActive": true, "contractDuration": "RECURRING",
        "nextBillAt": "2026-01-20T08:00:00Z", "expiresAt": "2026-01-19", "willCancelAt": "2025-01-01"}]);
    let entitlements = json!([
        {"title": "Pluss", "sku": "plus", "hasAccess": true, "expiresAt": "2026-01-18T00:00:00.001Z"},
        {"title": "Article", "hasAccess": true, "type": "article", "expiresAt": "2026-01-16"},
        {"title": "Gone", "hasAccess": false, "expiresAt": "2026-01-17"},
    ]);
    let user = user_of(json!({}), contracts, entitlements);
    let now = NOW.parse().unwrap();
    for (source, expected) in [
        (Source::NextBillAt, Some("2026-01-20T08:00:00Z")),
        (Source::ExpiresAt, Some("2026-01-19T00:00:00Z")),
        (Source::WillCancelAt, None),
        (Source::ActiveProducts, Some("2026-01-18T00:00:00.001Z")),
        (Source::ActiveSkus, Some("2026-01-18T00:00:00.001Z")),
        (Source::SubscriptionStatus, None),
    ] {
        let moment: Option<Timestamp> = expected.map(|at| at.parse().unwrap());
        assert_eq!(source.changes_at(&user, now), moment, "{source}");
        let Some(moment) = moment else { continue };
        let before = moment.checked_sub(jiff::SignedDuration::from_millis(1)).unwrap();
        assert_eq!(source.value(&user, before), source.value(&user, now), "{source}");
        assert_ne!(source.value(&user, moment), source.value(&user, now), "{source}");
    }
    let fields = [("a", Source::NextBillAt), ("b", Source::ActiveSkus), ("c", Source::Company)];
    let fields = CustomFields::new(fields.map(|(name, source)| (name.to_owned(), source)).into());
    assert_eq!(fields.changes_at(&user, now), Some("2026-01-18T00:00:00.001Z".parse().unwrap()));
    assert_eq!(CustomFields::default().changes_at(&user, now), None);
}

#[test]
fn a_field_of_contracts_or_entitlements_is_taken_away_by_no_value_or_a_count_of_nothing() {
    for (source, value, expected) in [
        (Source::ActiveProducts, None, true),
        (Source::ActiveProducts, Some("Plus"), false),
        (Source::SubscriptionStatus, None, true),
        (Source::ActiveSubscriptionCount, Some("0"), true),
        (Source::ActiveSubscriptionCount, Some("1"), false),
        (Source::Company, None, false),
    ] {
        let field = CustomField { name: "plan".to_owned(), source, value: value.map(Personal::new) };
        assert_eq!(field.takes_away(), expected, "{field:?}");
    }
}

fn any_text() -> impl Strategy<Value = Value> {
    prop_oneof![
        proptest::sample::select(TIMES).prop_map(Value::from),
        "\\PC{0,4}".prop_map(Value::from),
        Just(Value::Null),
    ]
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf =
        prop_oneof![any_text(), any::<bool>().prop_map(Value::from), any::<i64>().prop_map(Value::from)];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            (inner.clone(), inner).prop_map(|(country, city)| json!({"country": country, "city": city})),
        ]
    })
}

prop_compose! {
    fn any_contract()(
        id in "[ab]", active: bool, times in proptest::array::uniform4(any_json()),
        (status, duration) in (proptest::option::of("[ab]"),
            proptest::sample::select(&["RECURRING", "PERPETUAL", "?"][..])),
    ) -> Value {
        let [created, bill, expires, cancel] = times;
        json!({"id": id, "isActive": active, "status": status, "contractDuration": duration, "createdAt": created,
            "nextBillAt": bill, "expiresAt": expires, "willCancelAt": cancel})
    }
}

prop_compose! {
    fn any_entitlement()(
        title in any_text(), sku in any_text(), expires in any_text(), has_access: bool,
        kind in proptest::sample::select(&["pass", "article"][..]),
    ) -> Value {
        json!({"title": title, "sku": sku, "expiresAt": expires, "hasAccess": has_access, "type": kind})
    }
}

prop_compose! {
    fn any_user()(
        values in proptest::array::uniform5(any_json()),
        contracts in proptest::collection::vec(any_contract(), 0..4),
        entitlements in proptest::collection::vec(any_entitlement(), 0..4),
    ) -> SesamyUser {
        let [created, verified, company, billing, delivery] = values;
        let profile = json!({"userId": "u1", "createdAt": created, "emailVerified": verified,
            "company": company, "billingAddress": billing, "deliveryAddress": delivery});
        user_of(profile, contracts.into(), entitlements.into())
    }
}

proptest! {
    #[test]
    fn no_answer_is_too_odd(user in any_user()) {
        for source in <Source as VariantArray>::VARIANTS {
            let value = source.value(&user, NOW.parse().unwrap());
            let is_clean = value.as_deref().is_none_or(|it| !it.is_empty() && it.trim() == it);
            prop_assert!(is_clean, "{} is {:?}", source, value);
        }
    }

    #[test]
    fn the_order_of_lists_makes_no_difference(
        (user, contracts, entitlements) in any_user().prop_flat_map(|user| {
            let (contracts, entitlements) = (user.contracts.clone(), user.entitlements.clone());
            (Just(user), Just(contracts).prop_shuffle(), Just(entitlements).prop_shuffle())
        }),
    ) {
        let now = NOW.parse().unwrap();
        let other = SesamyUser { profile: user.profile.clone(), contracts, entitlements };
        for source in <Source as VariantArray>::VARIANTS {
            prop_assert_eq!(source.value(&user, now), source.value(&other, now), "{}", source);
        }
    }

    #[test]
    fn nothing_changes_by_itself_before_the_moment_that_is_named(user in any_user(), seconds in 1_i64..40_000_000) {
        let now: Timestamp = NOW.parse().unwrap();
        let later = Timestamp::from_second(now.as_second() + seconds).unwrap();
        for source in <Source as VariantArray>::VARIANTS {
            let changes_at = source.changes_at(&user, now);
            prop_assert!(changes_at.is_none_or(|at| at > now));
            if changes_at.is_none_or(|at| later < at) {
                prop_assert_eq!(source.value(&user, now), source.value(&user, later), "{}", source);
            }
        }
    }
}
