//! A table of examples for each rule, and what holds for any input.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::name::{MAX_CHARS, clean};
use super::*;
use crate::sesamy::json::user_of;

const NOW: &str = "2026-01-01T12:00:00Z";

fn tags_of(profile: Value, contracts: Value, entitlements: Value) -> Vec<String> {
    wanted(&user_of(profile, contracts, entitlements), NOW.parse().unwrap()).into_keys().collect()
}

fn has(tag: &str, contracts: Value, entitlements: Value) -> bool {
    tags_of(json!({}), contracts, entitlements).iter().any(|it| it == tag)
}

#[test]
fn an_active_subscriber_has_a_contract_in_force_that_is_a_subscription() {
    for (contract, expected) in [
        (json!({"isActive": true, "contractDuration": "RECURRING"}), true),
        (json!({"isActive": true, "contractDuration": "RENEWABLE"}), true),
        (
            json!({"isActive": true, "contractDuration": "RECURRING", "items": [{"purchaseType": "SINGLE"}]}),
            true,
        ),
        (json!({"isActive": false, "contractDuration": "RECURRING"}), false),
        (json!({"contractDuration": "RECURRING"}), false),
        (json!({"contractDuration": "RECURRING"}), false),
        (json!({"isActive": true, "contractDuration": "PERPETUAL"}), false),
        (json!({"isActive": true, "contractDuration": "PERPETUAL", "items": [{"sku": "a"}]}), false),
        (json!({"isActive": true, "items": [{"sku": "a"}]}), true),
        (json!({"isActive": true, "items": [{"purchaseType": "RECURRING"}]}), true),
        (json!({"isActive": true, "items": [{"purchaseType": "SINGLE"}]}), false),
        (json!({"isActive": true, "items": [{"purchaseType": "SINGLE"}, {"sku": "b"}]}), true),
        (json!({"isActive": true, "contractDuration": "SOMETHING_NEW", "items": [{"sku": "a"}]}), true),
        (json!({"isActive": true}), false),
        (json!({"isActive": true, "items": null}), false),
        (json!({"isActive": true, "items": []}), false),
    ] {
        assert_eq!(has("sesamy_active_subscriber", json!([contract]), json!([])), expected, "{contract}");
    }
}

#[test]
fn an_overdue_contract_is_one_whose_payment_failed() {
    for (status, expected) in
        [("OVERDUE", true), ("RETRYING", true), ("ACTIVE", false), ("CANCELLED", false), ("overdue?", false)]
    {
        let contracts = json!([{"status": status}]);
        assert_eq!(has("sesamy_overdue_contract", contracts, json!([])), expected, "{status}");
    }
}

#[test]
fn a_single_purchase_is_remembered_from_contracts_and_from_bought_articles() {
    for (contracts, entitlements, expected) in [
        (json!([{"contractDuration": "PERPETUAL", "isActive": false}]), json!([]), true),
        (json!([{"items": [{"purchaseType": "SINGLE"}]}]), json!([]), true),
        (json!([{"contractDuration": "RECURRING", "items": [{"purchaseType": "SINGLE"}]}]), json!([]), true),
        (json!([{"contractDuration": "RECURRING", "items": [{"sku": "a"}]}]), json!([]), false),
        (json!([]), json!([{"type": "article", "hasAccess": false, "origin": {"type": "PAYMENTS"}}]), true),
        (json!([]), json!([{"type": "article", "hasAccess": true, "origin": {"type": "EXTERNAL"}}]), false),
        (json!([]), json!([{"type": "article", "hasAccess": true}]), false),
        (json!([]), json!([{"type": "pass", "origin": {"type": "PAYMENTS"}}]), false),
    ] {
        assert_eq!(has("sesamy_made_single_purchase", contracts.clone(), entitlements.clone()), expected);
    }
}

#[test]
fn external_access_comes_from_a_partner_and_must_be_access_now() {
    for (entitlement, expected) in [
        (json!({"hasAccess": true, "origin": {"type": "EXTERNAL", "listId": "l"}}), true),
        (json!({"hasAccess": true, "type": "article", "origin": {"type": "EXTERNAL"}}), true),
        (json!({"hasAccess": false, "origin": {"type": "EXTERNAL"}}), false),
        (
            json!({"hasAccess": true, "origin": {"type": "EXTERNAL"}, "expiresAt": "2025-12-31T00:00:00Z"}),
            false,
        ),
        (json!({"hasAccess": true, "origin": {"type": "PAYMENTS"}}), false),
        (json!({"hasAccess": true, "origin": null}), false),
    ] {
        assert_eq!(
            has("sesamy_has_external_access", json!([]), json!([entitlement])),
            expected,
            "{entitlement}"
        );
    }
}

#[test]
fn a_gift_is_access_that_somebody_elses_contract_pays_for() {
    let own = json!([{"id": "c1"}]);
    for (entitlement, expected) in [
        (
            json!({"hasAccess": true, "type": "pass", "origin": {"type": "PAYMENTS", "contractId": "c9"}}),
            true,
        ),
        (json!({"hasAccess": true, "origin": {"type": "PAYMENTS", "contractId": "c9"}}), true),
        (
            json!({"hasAccess": true, "type": "pass", "origin": {"type": "PAYMENTS", "contractId": "c1"}}),
            false,
        ),
        (json!({"hasAccess": true, "type": "pass", "origin": {"type": "PAYMENTS"}}), false),
        (
            json!({"hasAccess": true, "type": "article", "origin": {"type": "PAYMENTS", "contractId": "c9"}}),
            false,
        ),
        (
            json!({"hasAccess": true, "type": "pass", "origin": {"type": "EXTERNAL", "contractId": "c9"}}),
            false,
        ),
        (
            json!({"hasAccess": false, "type": "pass", "origin": {"type": "PAYMENTS", "contractId": "c9"}}),
            false,
        ),
    ] {
        let given = has("sesamy_has_gifted_subscription", own.clone(), json!([entitlement]));
        assert_eq!(given, expected, "{entitlement}");
    }
}

#[test]
fn access_makes_a_tag_for_the_product_the_sku_and_the_purchase_option() {
    let full = json!({"hasAccess": true, "type": "publication", "title": "Dagens Nytt, Pluss", "sku": "DN-Plus",
                      "purchaseOption": "Monthly 99"});
    assert_eq!(
        tags_of(json!({}), json!([]), json!([full])),
        [
            "sesamy_active_entitlement_dagens-nytt-pluss",
            "sesamy_active_sku_dn-plus",
            "sesamy_active_sku_po_dn-plus-monthly-99",
        ]
    );
    let without_option = json!({"hasAccess": true, "title": " ", "sku": "a", "purchaseOption": " - "});
    assert_eq!(tags_of(json!({}), json!([]), json!([without_option])), ["sesamy_active_sku_a"]);
    let without_sku = json!({"hasAccess": true, "title": "T", "purchaseOption": "o"});
    assert_eq!(tags_of(json!({}), json!([]), json!([without_sku])), ["sesamy_active_entitlement_t"]);
    let article =
        json!({"hasAccess": true, "type": "article", "title": "T", "sku": "a", "purchaseOption": "o"});
    assert!(tags_of(json!({}), json!([]), json!([article])).is_empty());
}

#[test]
fn access_ends_at_the_very_moment_of_expires_at() {
    for (expires_at, expected) in [
        ("2026-01-01T12:00:00.001Z", true),
        ("2026-01-01T12:00:00Z", false),
        ("2026-01-01T13:00:00+01:00", false),
        ("2026-01-01T13:00:01+01:00", true),
        ("2026-01-01T11:59:59Z", false),
        ("2026-01-01T12:00:01", true),
        ("2026-01-02", true),
        // A date without a time ends with that day, UTC.
        ("2026-01-01", true),
        ("2025-12-31", false),
        ("next summer", true),
        ("", true),
    ] {
        let entitlements = json!([{"hasAccess": true, "sku": "a", "expiresAt": expires_at}]);
        assert_eq!(has("sesamy_active_sku_a", json!([]), entitlements), expected, "{expires_at}");
    }
    assert!(!has("sesamy_active_sku_a", json!([]), json!([{"sku": "a"}])), "no hasAccess is no access");
}

#[test]
fn profile_tags_become_custom_tags_and_our_own_are_taken_as_they_are() {
    assert_eq!(
        tags_of(
            json!({"tags": ["VIP", "Early  Bird", "sesamy_Beta, 2", " sesamy_tag_x ", "", " , "]}),
            json!([]),
            json!([])
        ),
        ["sesamy_Beta, 2", "sesamy_tag_early-bird", "sesamy_tag_vip", "sesamy_tag_x"]
    );
    assert!(tags_of(json!({"tags": null}), json!([]), json!([])).is_empty());
}

#[test]
fn names_are_lower_case_with_single_hyphens_and_none_at_the_ends() {
    for (name, cleaned) in [
        ("Ærlig Talt", "ærlig-talt"),
        ("  a\t\u{a0}b\u{3000}c  ", "a-b-c"),
        ("a,,b - c", "a-b-c"),
        ("--a--", "a"),
        ("a\u{0}\u{85}b", "a-b"),
        ("ΣΊΣΥΦΟΣ", "σίσυφος"),
        ("a_b.c/d", "a_b.c/d"),
        ("- ,", ""),
    ] {
        assert_eq!(clean(name), cleaned, "{name:?}");
    }
}

#[test]
fn a_tag_is_cut_at_99_characters_and_does_not_end_in_a_hyphen_then() {
    let cut = |title: String| named("sesamy_active_entitlement_", &[&title]).unwrap();
    assert_eq!(cut("æ".repeat(200)).chars().count(), 99);
    assert_eq!(cut("å".repeat(73)).chars().count(), 99);
    // 26 characters of prefix and 72 of the name: the hyphen would be the 99th.
    assert_eq!(cut(format!("{} b", "a".repeat(72))).chars().count(), 98);
}

/// The sentences for one tag.
fn why(tag: &str, profile: Value, contracts: Value, entitlements: Value) -> Vec<String> {
    let wanted = wanted(&user_of(profile, contracts, entitlements), NOW.parse().unwrap());
    wanted[tag].iter().map(ToString::to_string).collect()
}

#[test]
fn each_tag_tells_in_a_sentence_what_asks_for_it() {
    let contracts = json!([
        {"id": "c1", "isActive": true, "contractDuration": "RECURRING", "status": "RETRYING"},
        {"id": "c2", "contractDuration": "PERPETUAL"},
        {"isActive": true, "contractDuration": "RENEWABLE"},
    ]);
    let entitlements = json!([
        {"id": "e1", "type": "article", "title": "Long read", "origin": {"type": "PAYMENTS"}},
        {"id": "e2", "hasAccess": true, "sku": "plus", "expiresAt": "2027-01-01", "origin": {"type": "EXTERNAL"}},
        {"id": "e3", "hasAccess": true, "sku": "plus", "purchaseOption": "monthly", "title": "Plus",
         "expiresAt": "2027-01-01T10:30:00Z", "origin": {"type": "PAYMENTS", "contractId": "c9"}},
        {"hasAccess": true, "title": "Plus"},
    ]);
    let profile = json!({"tags": [" Early bird", "early  bird", "sesamy_beta"]});
    for (tag, expected) in [
        (
            "sesamy_active_subscriber",
            vec![
                "contract c1 is active and a subscription",
                "the contract without an id is active and a subscription",
            ],
        ),
        ("sesamy_overdue_contract", vec!["contract c1 is RETRYING: a payment has failed"]),
        (
            "sesamy_made_single_purchase",
            vec!["contract c2 is a single purchase", "entitlement e1 is the bought article “Long read”"],
        ),
        (
            "sesamy_has_external_access",
            vec!["entitlement e2 gives access to sku plus until 2027-01-02, from a partner or a code"],
        ),
        (
            "sesamy_has_gifted_subscription",
            vec![
                "entitlement e3 gives access to sku plus, option monthly, until 2027-01-01T10:30:00Z, paid by contract c9, \
                 which is not the user's own",
            ],
        ),
        (
            "sesamy_active_sku_plus",
            vec![
                "entitlement e2 gives access to sku plus until 2027-01-02",
                "entitlement e3 gives access to sku plus, option monthly, until 2027-01-01T10:30:00Z",
            ],
        ),
        (
            "sesamy_active_entitlement_plus",
            vec![
                "entitlement e3 gives access to sku plus, option monthly, until 2027-01-01T10:30:00Z",
                "the entitlement without an id gives access to “Plus”",
            ],
        ),
        (
            "sesamy_tag_early-bird",
            vec!["the profile has the tag Early bird", "the profile has the tag early  bird"],
        ),
        ("sesamy_beta", vec!["the profile has the tag sesamy_beta"]),
    ] {
        assert_eq!(why(tag, profile.clone(), contracts.clone(), entitlements.clone()), expected, "{tag}");
    }
}

#[test]
fn a_reason_is_an_object_with_its_rule_for_programs() {
    let access = Access {
        sku: Some("plus".into()),
        until: Some("2027-01-01T00:00:00Z".parse().unwrap()),
        ..Access::default()
    };
    let gift = TagReason::GiftedSubscription { access, contract_id: Some("c9".into()) };
    assert_eq!(
        serde_json::to_value(gift).unwrap(),
        json!({"rule": "gifted_subscription", "entitlement_id": null, "title": null, "sku": "plus",
               "purchase_option": null, "until": "2027-01-01T00:00:00Z", "contract_id": "c9"})
    );
    let tag = TagReason::ProfileTag { tag: "vip".into() };
    assert_eq!(serde_json::to_value(tag).unwrap(), json!({"rule": "profile_tag", "tag": "vip"}));
}

proptest! {
    #[test]
    fn whatever_the_names_a_tag_made_of_them_is_clean(name in "\\PC{0,150}", other in ".{0,150}") {
        for tag in [named(CUSTOM, &[&name]), named("sesamy_active_sku_po_", &[&name, &other])].into_iter().flatten() {
            prop_assert!(is_ours(&tag));
            prop_assert!(tag.chars().count() <= MAX_CHARS);
            prop_assert!(!tag.ends_with('-') && !tag.contains("--"));
            prop_assert!(!tag.contains(|c: char| c.is_whitespace() || c.is_control() || c == ','));
            prop_assert_eq!(tag.to_lowercase(), tag);
        }
    }

    #[test]
    fn cleaning_twice_is_cleaning_once(name in ".{0,100}") {
        prop_assert_eq!(clean(&clean(&name)), clean(&name));
    }
}
