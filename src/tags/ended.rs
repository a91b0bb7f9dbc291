//! What has ended by its time, told from what was taken away. Pure.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{is_article, is_subscription, paid_by, product_tags, standard};
use crate::sesamy::models::{Contract, Entitlement, moment};

/// The `sesamy_active_` tags that somebody may have lost because their time is over: those of entitlements whose `expiresAt`
/// is past, or that were paid by a contract whose time is over; and `sesamy_active_subscriber` of a subscription whose
/// `willCancelAt` or `expiresAt` is past. Whatever else goes has been taken away, by somebody or by a fault.
///
/// What is still wanted may be among them, where something else asks for it too. A time that cannot be read is none.
#[must_use]
pub fn ended(contracts: &[Contract], entitlements: &[Entitlement], now: Timestamp) -> BTreeSet<String> {
    let is_past = |at: &Option<String>| at.as_deref().and_then(moment).is_some_and(|at| at <= now);
    let is_over = |it: &Entitlement| it.ends_at().is_some_and(|end| end <= now);
    let over: Vec<&Contract> =
        contracts.iter().filter(|it| is_past(&it.will_cancel_at) || is_past(&it.expires_at)).collect();
    let is_paid_by_one = |it: &Entitlement| {
        paid_by(it).is_some_and(|id| over.iter().any(|contract| contract.id.as_deref() == Some(id)))
    };
    let mut tags: BTreeSet<String> = entitlements
        .iter()
        .filter(|it| !is_article(it) && (is_over(it) || is_paid_by_one(it)))
        .flat_map(product_tags)
        .collect();
    if over.iter().any(|contract| is_subscription(contract)) {
        tags.insert(standard("active_subscriber"));
    }
    tags
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const BEFORE: &str = "2026-01-31T23:59:59.999Z";
    const NOW: &str = "2026-02-01T00:00:00Z";
    const AFTER: &str = "2026-02-01T00:00:00.001Z";

    fn ended_of(contracts: Value, entitlements: Value) -> Vec<String> {
        let contracts: Vec<Contract> = serde_json::from_value(contracts).unwrap();
        let entitlements: Vec<Entitlement> = serde_json::from_value(entitlements).unwrap();
        ended(&contracts, &entitlements, NOW.parse().unwrap()).into_iter().collect()
    }

    #[test]
    fn what_ends_by_its_time_is_told_from_what_is_taken_away() {
        let subscriber = &["sesamy_active_subscriber"][..];
        for (contract, tags) in [
            (json!({"contractDuration": "RECURRING", "willCancelAt": BEFORE}), subscriber),
            (json!({"contractDuration": "RECURRING", "willCancelAt": NOW}), subscriber),
            (json!({"contractDuration": "RECURRING", "willCancelAt": AFTER}), &[]),
            (json!({"contractDuration": "RENEWABLE", "expiresAt": NOW, "isActive": true}), subscriber),
            (json!({"items": [{"purchaseType": "RECURRING"}], "expiresAt": BEFORE}), subscriber),
            (json!({"contractDuration": "RECURRING", "expiresAt": "soon", "willCancelAt": null}), &[]),
            (json!({"contractDuration": "RECURRING", "status": "CANCELLED", "isActive": false}), &[]),
            (json!({"contractDuration": "PERPETUAL", "expiresAt": BEFORE}), &[]),
        ] {
            assert_eq!(ended_of(json!([contract]), json!([])), tags, "{contract}");
        }
        let of_plus = &["sesamy_active_entitlement_pluss", "sesamy_active_sku_plus"][..];
        let plus = |more: Value| {
            let mut plus = json!({"sku": "plus", "title": "Pluss", "type": "pass"});
            plus.as_object_mut().unwrap().append(&mut more.as_object().unwrap().clone());
            plus
        };
        let paid_by =
            |id: &str| json!({"origin": {"type": "PAYMENTS", "contractId": id}, "hasAccess": false});
        for (entitlement, tags) in [
            (plus(json!({"hasAccess": true, "expiresAt": BEFORE})), of_plus),
            (plus(json!({"hasAccess": false, "expiresAt": NOW})), of_plus),
            (plus(json!({"hasAccess": false, "expiresAt": AFTER})), &[]),
            (plus(json!({"hasAccess": false, "expiresAt": "2026-01-31"})), of_plus),
            (plus(json!({"hasAccess": false, "expiresAt": "2026-02-01"})), &[]),
            (plus(json!({"hasAccess": false})), &[]),
            (plus(json!({"hasAccess": false, "expiresAt": "soon"})), &[]),
            (plus(json!({"type": "article", "expiresAt": BEFORE})), &[]),
            (plus(paid_by("over")), of_plus),
            (plus(paid_by("runs")), &[]),
            (plus(paid_by("unknown")), &[]),
        ] {
            let contracts =
                json!([{"id": "over", "willCancelAt": NOW}, {"id": "runs", "willCancelAt": AFTER}]);
            assert_eq!(ended_of(contracts, json!([entitlement])), tags, "{entitlement}");
        }
    }

    #[test]
    fn lists_that_are_suddenly_empty_explain_nothing() {
        assert!(ended_of(json!([]), json!([])).is_empty());
    }
}
