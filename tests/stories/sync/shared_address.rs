//! Two accounts, one address: the contact has the tags of both, whichever of them is synced, and neither strips the other.

use serde_json::Value;
use sesamy_mailmojo::sandbox::{Fault, Route, Rule, contract, entitlement, user};

use crate::backfill::command::backfill;
use crate::support::harness::Town;

const EMAIL: &str = "kari@example.com";
const PAYING: [&str; 3] =
    ["sesamy_active_entitlement_plus", "sesamy_active_sku_plus", "sesamy_active_subscriber"];

/// A paying account and an empty one, both with the same address and both in step.
async fn two_accounts() -> Town {
    let town = Town::start().await;
    let paying = user("paying").email(EMAIL).contract(contract("c1")).entitlement(entitlement("e1", "plus"));
    town.sandbox.sesamy.put_user(paying);
    town.sandbox.sesamy.put_user(user("empty").email("KARI@example.com"));
    town.sync("paying").await;
    town.sync("empty").await;
    assert_eq!(town.contact(EMAIL).tags, PAYING);
    town
}

fn loses_its_access(town: &Town) {
    town.sandbox.sesamy.set_contracts("paying", Vec::<Value>::new());
    town.sandbox.sesamy.set_entitlements("paying", Vec::<Value>::new());
}

#[tokio::test]
async fn an_event_or_a_backfill_of_the_empty_account_takes_nothing_from_the_paying_one() {
    let town = two_accounts().await;
    town.sandbox.clear_calls();
    assert_eq!(town.sync_told("empty").await["outcome"], "unchanged");
    assert_eq!((town.sandbox.count(Route::Profile), town.sandbox.writes()), (2, 0), "both were read");
    let (ended, _) = backfill(&town, &[]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(town.contact(EMAIL).tags, PAYING);
}

#[tokio::test]
async fn tags_go_once_neither_account_has_them_whichever_is_synced() {
    for synced in ["paying", "empty"] {
        let town = two_accounts().await;
        town.sandbox.sesamy.set_field("empty", "tags", serde_json::json!(["Early bird"]));
        town.sync("empty").await;
        assert_eq!(town.contact(EMAIL).tags, [&PAYING[..], &["sesamy_tag_early-bird"]].concat());
        loses_its_access(&town);
        assert_eq!(town.sync_told(synced).await["outcome"], "updated", "{synced}");
        assert_eq!(town.contact(EMAIL).tags, ["sesamy_tag_early-bird"], "{synced}");
    }
}

#[tokio::test]
async fn an_account_that_has_moved_away_or_is_gone_keeps_no_tags_at_the_address() {
    for gone in [true, false] {
        let town = two_accounts().await;
        match gone {
            true => town.sandbox.sesamy.remove_user("paying"),
            false => town.sandbox.sesamy.set_field("paying", "email", "kari@example.org"),
        };
        assert_eq!(town.sync_told("empty").await["outcome"], "updated");
        assert!(town.contact(EMAIL).tags.is_empty());
    }
}

#[tokio::test]
async fn nothing_is_taken_where_sesamy_will_not_speak_of_the_other_account() {
    let town = two_accounts().await;
    loses_its_access(&town);
    town.sandbox.sesamy.inject(Rule::on(Route::Profile, Fault::status(422)).about("paying"));
    town.sync("empty").await;
    assert_eq!(town.contact(EMAIL).tags, PAYING);
    town.sandbox.sesamy.clear_faults();
    // A fault in passing is waited out.
    town.sandbox.sesamy.inject(Rule::on(Route::Profile, Fault::status(500)).about("paying").times(2));
    town.sync("empty").await;
    assert!(town.contact(EMAIL).tags.is_empty());
}

#[tokio::test]
async fn with_more_than_five_accounts_tags_are_only_added() {
    let town = two_accounts().await;
    for n in 0..4 {
        let id = format!("more-{n}");
        town.sandbox.sesamy.put_user(user(&id).email(EMAIL));
        town.sync(&id).await;
    }
    loses_its_access(&town);
    town.sandbox.sesamy.set_field("empty", "tags", serde_json::json!(["Early bird"]));
    town.sandbox.clear_calls();
    town.sync("empty").await;
    assert_eq!(town.contact(EMAIL).tags, [&PAYING[..], &["sesamy_tag_early-bird"]].concat());
    assert_eq!(town.sandbox.count(Route::Profile), 1, "the others are not read");
}

#[tokio::test]
async fn a_user_who_shares_nothing_costs_no_call_more() {
    let town = Town::start().await;
    let paying = user("paying").email(EMAIL).contract(contract("c1")).entitlement(entitlement("e1", "plus"));
    town.sandbox.sesamy.put_user(paying);
    town.sync("paying").await;
    loses_its_access(&town);
    town.sandbox.clear_calls();
    town.sync("paying").await;
    assert!(town.contact(EMAIL).tags.is_empty());
    let read = [Route::Profile, Route::Contracts, Route::Entitlements, Route::Users, Route::ContactGet];
    assert_eq!(read.map(|route| town.sandbox.count(route)), [1, 1, 1, 0, 1]);
}
