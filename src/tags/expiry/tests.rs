//! The very second, and what holds for any input.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::wanted;
use super::*;
use crate::sesamy::json::user_of;

/// A moment so many milliseconds after the noon at which things end here.
fn noon(ms: i64) -> Timestamp {
    let noon: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
    noon.checked_add(SignedDuration::from_millis(ms)).unwrap()
}

const HOUR: i64 = 3_600_000;

fn next(contracts: Value, entitlements: Value, now: Timestamp) -> Option<Timestamp> {
    next_change(&user_of(json!({}), contracts, entitlements), now)
}

fn tags_at(contracts: &Value, entitlements: &Value, now: Timestamp) -> BTreeSet<String> {
    let user = user_of(json!({"tags": ["vip"]}), contracts.clone(), entitlements.clone());
    wanted(&user, now).into_keys().collect()
}

#[test]
fn access_is_looked_at_when_it_ends_and_not_a_millisecond_before_or_after() {
    let plus =
        json!([{"type": "pass", "sku": "plus", "hasAccess": true, "expiresAt": "2026-01-01T12:00:00Z"}]);
    for (now, expected) in
        [(-HOUR, Some(0)), (-1_000, Some(0)), (-1, Some(0)), (0, None), (1, None), (1_000, None)]
    {
        assert_eq!(next(json!([]), plus.clone(), noon(now)), expected.map(noon), "{now} ms");
    }
    assert!(tags_at(&json!([]), &plus, noon(-1)).contains("sesamy_active_sku_plus"));
    assert!(!tags_at(&json!([]), &plus, noon(0)).contains("sesamy_active_sku_plus"));
}

#[test]
fn only_access_with_a_tag_and_an_end_that_can_be_read_is_looked_at() {
    let at_noon = Some(0);
    for (entitlement, expected) in [
        (json!({"hasAccess": true, "expiresAt": "2026-01-01T12:00:00Z"}), at_noon),
        (json!({"hasAccess": true, "expiresAt": " 2026-01-01T13:00:00+01:00 "}), at_noon),
        (json!({"hasAccess": true, "expiresAt": "2026-01-01T12:00:00"}), at_noon),
        (json!({"hasAccess": false, "expiresAt": "2026-01-01T12:00:00Z"}), None),
        (json!({"expiresAt": "2026-01-01T12:00:00Z"}), None),
        (json!({"hasAccess": true}), None),
        (json!({"hasAccess": true, "expiresAt": null}), None),
        (json!({"hasAccess": true, "expiresAt": "2026-01-01"}), Some(12 * HOUR)),
        (json!({"hasAccess": true, "expiresAt": "2025-12-31"}), None),
        (json!({"hasAccess": true, "expiresAt": "next summer"}), None),
        (json!({"hasAccess": true, "expiresAt": "99999-01-01T00:00:00Z"}), None),
        (json!({"hasAccess": true, "type": "article", "expiresAt": "2026-01-01T12:00:00Z"}), None),
        (
            json!({"hasAccess": true, "type": "article", "expiresAt": "2026-01-01T12:00:00Z",
                "origin": {"type": "PAYMENTS", "contractId": "c"}}),
            None,
        ),
        (
            json!({"hasAccess": true, "type": "article", "expiresAt": "2026-01-01T12:00:00Z",
                "origin": {"type": "EXTERNAL"}}),
            at_noon,
        ),
    ] {
        let found = next(json!([]), json!([entitlement]), noon(-HOUR));
        assert_eq!(found, expected.map(noon), "{entitlement}");
    }
}

#[test]
fn a_contract_in_force_is_looked_at_when_it_ends_and_then_hourly_for_a_day() {
    let running =
        json!([{"isActive": true, "contractDuration": "RECURRING", "expiresAt": "2026-01-01T12:00:00Z"}]);
    for (now, expected) in [
        (-1, Some(0)),
        (0, Some(HOUR)),
        (1, Some(HOUR)),
        (HOUR - 1, Some(HOUR)),
        (HOUR, Some(2 * HOUR)),
        (23 * HOUR, Some(24 * HOUR)),
        (24 * HOUR - 1, Some(24 * HOUR)),
        (24 * HOUR, None),
        (1_000 * HOUR, None),
    ] {
        assert_eq!(next(running.clone(), json!([]), noon(now)), expected.map(noon), "{now} ms");
    }
}

#[test]
fn only_a_contract_in_force_is_looked_at_and_the_earlier_of_its_two_ends_counts() {
    let (one, two) = ("2026-01-01T13:00:00Z", "2026-01-01T14:00:00Z");
    for (contract, expected) in [
        (json!({"isActive": true, "expiresAt": two, "willCancelAt": one}), Some(HOUR)),
        (json!({"isActive": true, "expiresAt": one, "willCancelAt": two}), Some(HOUR)),
        (json!({"isActive": true, "willCancelAt": two}), Some(2 * HOUR)),
        (json!({"isActive": false, "status": "OVERDUE", "expiresAt": one}), Some(HOUR)),
        (json!({"status": "RETRYING", "willCancelAt": one}), Some(HOUR)),
        (json!({"isActive": false, "status": "CANCELLED", "expiresAt": one}), None),
        (json!({"expiresAt": one}), None),
        (json!({"isActive": true, "expiresAt": "soon", "willCancelAt": null}), None),
        (json!({"isActive": true, "expiresAt": 5, "willCancelAt": two}), Some(2 * HOUR)),
    ] {
        assert_eq!(next(json!([contract]), json!([]), noon(0)), expected.map(noon), "{contract}");
    }
}

#[test]
fn the_end_of_time_does_no_harm() {
    let last = Timestamp::MAX.to_string();
    let entitlements = json!([{"hasAccess": true, "expiresAt": last}]);
    let contracts = json!([{"isActive": true, "expiresAt": last}]);
    assert_eq!(next(contracts.clone(), entitlements.clone(), noon(0)), Some(Timestamp::MAX));
    assert_eq!(next(contracts, entitlements, Timestamp::MAX), None, "there is no hour after it");
}

fn moment_text() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => (-30 * HOUR..30 * HOUR).prop_map(|ms| json!(noon(ms).to_string())),
        2 => (-30i64..30).prop_map(|hours| json!(noon(hours * HOUR).to_string())),
        1 => Just(json!("some day")),
        1 => Just(Value::Null),
    ]
}

fn entitlement() -> impl Strategy<Value = Value> {
    let kind = prop::sample::select(vec!["pass", "article", "publication"]);
    let origin = prop::sample::select(vec![
        Value::Null,
        json!({"type": "EXTERNAL"}),
        json!({"type": "PAYMENTS", "contractId": "elsewhere"}),
    ]);
    let sku = prop::sample::select(vec!["a", "b"]);
    (kind, origin, sku, any::<bool>(), moment_text()).prop_map(|(kind, origin, sku, access, end)| {
        json!({"type": kind, "origin": origin, "sku": sku, "hasAccess": access, "expiresAt": end})
    })
}

fn contract() -> impl Strategy<Value = Value> {
    let status = prop::sample::select(vec!["ACTIVE", "OVERDUE", "CANCELLED"]);
    (status, any::<bool>(), moment_text(), moment_text()).prop_map(|(status, active, expires, cancels)| {
        json!({"status": status, "isActive": active, "contractDuration": "RECURRING",
            "expiresAt": expires, "willCancelAt": cancels})
    })
}

fn lists() -> impl Strategy<Value = (Value, Value)> {
    let of = |one: BoxedStrategy<Value>| prop::collection::vec(one, 0..4).prop_map(Value::from);
    (of(contract().boxed()), of(entitlement().boxed()))
}

proptest! {
    #[test]
    fn until_the_next_change_the_wanted_tags_never_change(
        (contracts, entitlements) in lists(),
        now in -40 * HOUR..40 * HOUR,
        part in 0.0..1.0,
    ) {
        let next = next(contracts.clone(), entitlements.clone(), noon(now));
        let until = next.map_or(100 * HOUR, |next| next.as_millisecond() - noon(0).as_millisecond());
        prop_assert!(until > now, "never in the past");
        #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "hours in milliseconds")]
        let between = now + ((until - 1 - now) as f64 * part) as i64;
        let before = tags_at(&contracts, &entitlements, noon(now));
        prop_assert_eq!(&tags_at(&contracts, &entitlements, noon(between)), &before);
        prop_assert_eq!(&tags_at(&contracts, &entitlements, noon(until - 1)), &before);
    }

    #[test]
    fn whoever_looks_again_whenever_it_says_so_comes_to_an_end_and_has_missed_nothing(
        (contracts, entitlements) in lists(),
    ) {
        let mut now = noon(-40 * HOUR);
        let mut looks = 0;
        while let Some(then) = next(contracts.clone(), entitlements.clone(), now) {
            prop_assert!(then > now, "each look is later than the one before");
            (now, looks) = (then, looks + 1);
            prop_assert!(looks <= 3 + 3 * 2 * 25, "so many ends there are, and a day's hours after a contract's");
        }
        prop_assert_eq!(
            tags_at(&contracts, &entitlements, now),
            tags_at(&contracts, &entitlements, noon(10_000 * HOUR)),
            "nothing changes after the last look"
        );
    }
}
