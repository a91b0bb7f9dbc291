use std::collections::HashSet;

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::sesamy::models::{Entitlement, Profile};
use crate::tags;

fn user(id: &str) -> UserId {
    UserId::new(id).unwrap()
}

fn row(of: &str, contract: Value, updated_at: Option<&str>) -> ContractRow {
    ContractRow {
        user: user(of),
        updated_at: updated_at.map(|at| at.parse().unwrap()),
        contract: serde_json::from_value(contract).ok(),
    }
}

fn listed(rows: Vec<ContractRow>) -> Contracts {
    let mut contracts = Contracts::new(Millis(0));
    contracts.take(rows);
    contracts
}

#[test]
fn contracts_are_kept_by_user_and_a_row_that_comes_twice_once() {
    let mut contracts = listed(vec![
        row("a", json!({"id": "c1", "status": "ACTIVE"}), None),
        row("b", json!({"id": "c2", "status": "ACTIVE"}), Some("2026-01-01T00:00:00Z")),
    ]);
    contracts.take(vec![
        row("a", json!({"id": "c1", "status": "OVERDUE"}), Some("2026-01-01T00:00:01Z")),
        row("a", json!({"status": "ACTIVE"}), None),
        row("a", json!({"status": "ACTIVE"}), None),
    ]);
    let of_a = contracts.of(&user("a")).unwrap();
    let told: Vec<_> = of_a.iter().map(|it| (it.id.as_deref(), it.status.as_deref())).collect();
    assert_eq!(told, [(Some("c1"), Some("OVERDUE")), (None, Some("ACTIVE")), (None, Some("ACTIVE"))]);
    assert_eq!(contracts.of(&user("b")).unwrap().len(), 1);
    assert_eq!(contracts.of(&user("nobody")).map(|none| none.len()), Some(0));
    assert_eq!(contracts.changed_at(&user("a")), Some(1_767_225_601_000));
    assert_eq!((contracts.changed_at(&user("nobody")), contracts.count(), contracts.pages), (None, 4, 2));
}

#[test]
fn of_a_user_with_a_row_of_other_types_only_the_own_list_can_tell() {
    let contracts = listed(vec![
        row("a", json!({"id": "c1"}), None),
        row("a", json!({"id": "c2", "isActive": "yes"}), None),
    ]);
    assert!(contracts.of(&user("a")).is_none());
    assert_ne!(
        contracts.fingerprint(&user("a")),
        listed(vec![row("a", json!({"id": "c1"}), None)]).fingerprint(&user("a"))
    );
}

#[test]
fn a_fingerprint_changes_with_a_contract_and_not_with_the_order() {
    let (one, two) =
        (json!({"id": "c1", "status": "ACTIVE"}), json!({"id": "c2", "items": [{"purchaseType": "SINGLE"}]}));
    let of = |rows: Vec<Value>, at| {
        listed(rows.into_iter().map(|it| row("a", it, at)).collect()).fingerprint(&user("a"))
    };
    let whole = of(vec![one.clone(), two.clone()], None);
    assert_eq!(whole, of(vec![two.clone(), one.clone()], None));
    for other in [
        of(vec![one.clone()], None),
        of(vec![], None),
        of(vec![one.clone(), json!({"id": "c2"})], None),
        of(vec![one.clone(), json!({"id": "c3", "items": [{"purchaseType": "SINGLE"}]})], None),
        of(vec![json!({"id": "c1", "status": "OVERDUE"}), two.clone()], None),
        of(vec![json!({"id": "c1", "status": "ACTIVE", "expiresAt": "2026-01-01"}), two.clone()], None),
        of(vec![one, two], Some("2026-01-01T00:00:00Z")),
    ] {
        assert_ne!(whole, other);
    }
}

#[test]
fn the_times_of_a_contract_are_kept_as_far_as_they_can_be_read() {
    let times = json!({"id": "c1", "createdAt": "2025-01-01T01:00:00.250+01:00", "nextBillAt": "2026-02-01",
        "expiresAt": "soon", "willCancelAt": 5});
    let kept = listed(vec![row("a", times, None)]).of(&user("a")).unwrap().remove(0);
    assert_eq!(kept.created_at.as_deref(), Some("2025-01-01T00:00:00.25Z"));
    assert_eq!(kept.next_bill_at.as_deref(), Some("2026-02-01T00:00:00Z"));
    assert_eq!((kept.expires_at, kept.will_cancel_at), (None, None));
}

fn contract() -> impl Strategy<Value = Value> {
    let one_of = |all: &'static [&'static str]| proptest::option::of(proptest::sample::select(all));
    let item =
        one_of(&["SINGLE", "RECURRING", "single"]).prop_map(|kind| json!({"purchaseType": kind, "sku": "s"}));
    (
        "c[0-9]",
        one_of(&["ACTIVE", "OVERDUE", "RETRYING", "CANCELLED"]),
        one_of(&["RECURRING", "RENEWABLE", "PERPETUAL", "OTHER"]),
        proptest::option::of(any::<bool>()),
        proptest::option::of(proptest::collection::vec(item, 0..3)),
    )
        .prop_map(|(id, status, duration, active, items)| {
            let mut contract =
                json!({"id": id, "status": status, "contractDuration": duration, "items": items});
            if let Some(active) = active {
                contract["isActive"] = active.into();
            }
            contract
        })
}

proptest! {
    /// What is left out of a contract makes no difference to a tag.
    #[test]
    fn the_same_tags_follow_from_what_is_kept(contracts in proptest::collection::vec(contract(), 0..4)) {
        let mut unique = contracts;
        unique.dedup_by(|one, two| one["id"] == two["id"]);
        let mut ids = HashSet::new();
        unique.retain(|it| ids.insert(it["id"].to_string()));
        let whole: Vec<Contract> = unique.iter().map(|it| serde_json::from_value(it.clone()).unwrap()).collect();
        let kept = listed(unique.into_iter().map(|it| row("a", it, None)).collect()).of(&user("a")).unwrap();
        let gift: Entitlement = serde_json::from_value(
            json!({"id": "e", "sku": "s", "type": "pass", "hasAccess": true, "origin": {"type": "PAYMENTS", "contractId": "c1"}}),
        ).unwrap();
        let wanted = |contracts: &[Contract]| {
            tags::reasons(&Profile::default(), contracts, std::slice::from_ref(&gift), Timestamp::UNIX_EPOCH)
        };
        prop_assert_eq!(format!("{:?}", wanted(&whole)), format!("{:?}", wanted(&kept)));
    }
}
