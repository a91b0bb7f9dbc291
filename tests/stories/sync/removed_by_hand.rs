//! What somebody does in Mailmojo by hand stands: a contact that is removed is not made again, one that is taken off the list
//! is not put there again, until an operator says so.

use serde_json::json;
use sesamy_mailmojo::sandbox::{Route, contact, contract, user};

use crate::support::harness::{LIST, Town};
use crate::support::shell::run;

const KARI: &str = "kari@example.com";

async fn kari() -> Town {
    let town = Town::start().await;
    town.sandbox.sesamy.put_user(user("u1").email(KARI).first_name("Kari").contract(contract("c1")));
    town.sync("u1").await;
    town
}

#[tokio::test]
async fn a_contact_that_somebody_has_removed_is_not_made_again() {
    let mut town = kari().await;
    town.sandbox.mailmojo.delete(KARI);
    let told = town.sync_told("u1").await;
    assert_eq!((&told["outcome"], &told["reason"]), (&json!("skipped"), &json!("removed_in_mailmojo")));
    town.crash_and_restart(&[]).await;
    town.sync("u1").await;
    assert!(town.sandbox.mailmojo.contact(KARI).is_none());
    let preview = run(&["preview", "u1"], town.settings()).await;
    assert!(
        preview.stdout.contains("removed_in_mailmojo") && preview.stdout.contains("sync --again"),
        "{preview:?}"
    );
    let backfill = run(&["backfill", "--yes"], town.settings()).await;
    assert_eq!(backfill.code, Some(0), "{backfill:?}");
    assert!(town.sandbox.mailmojo.contact(KARI).is_none());

    let by_hand = run(&["sync", "u1"], town.settings()).await;
    assert!(by_hand.stdout.contains("removed_in_mailmojo"), "{by_hand:?}");
    let again = run(&["sync", "--again", "u1"], town.settings()).await;
    assert!(again.stdout.contains("created"), "{again:?}");
    assert_eq!(town.contact(KARI).tags, ["sesamy_active_subscriber"]);
    town.sandbox.sesamy.set_contracts("u1", Vec::<serde_json::Value>::new());
    town.sync("u1").await;
    assert!(town.contact(KARI).tags.is_empty(), "in step as ever");
}

#[tokio::test]
async fn a_contact_that_somebody_made_anew_is_kept_in_step_again() {
    let town = kari().await;
    town.sandbox.mailmojo.delete(KARI);
    town.sync("u1").await;
    town.sandbox.mailmojo.put_contact(contact(KARI).tags(["own"]));
    town.sync("u1").await;
    assert_eq!(town.contact(KARI).tags, ["own", "sesamy_active_subscriber"]);
    assert_eq!(town.contact(KARI).list_status(LIST), None, "and not put on the list, which it was taken off");
    town.sandbox
        .mailmojo
        .edit(KARI, |it| it.associations.push(contact(KARI).on_list(LIST).associations[0].clone()));
    town.sync("u1").await;
    assert_eq!(town.contact(KARI).list_status(LIST), Some("a"));
}

#[tokio::test]
async fn a_contact_that_is_taken_off_the_list_is_updated_only() {
    let mut town = kari().await;
    town.sandbox.mailmojo.edit(KARI, |it| it.associations.clear());
    town.sandbox.sesamy.set_field("u1", "tags", json!(["Early bird"]));
    town.sync("u1").await;
    assert_eq!(town.contact(KARI).tags, ["sesamy_active_subscriber", "sesamy_tag_early-bird"]);
    town.crash_and_restart(&[]).await;
    town.sync("u1").await;
    town.sync("u1").await;
    assert_eq!((town.contact(KARI).list_status(LIST), town.sandbox.count(Route::Subscribe)), (None, 1));

    let again = run(&["sync", "--again", "--json", "u1"], town.settings()).await;
    let again: serde_json::Value = serde_json::from_str(&again.stdout).unwrap();
    assert_eq!(again["users"][0]["outcome"], "subscribed");
    assert_eq!(town.contact(KARI).list_status(LIST), Some("a"));
}

#[tokio::test]
async fn again_subscribes_nobody_against_their_status() {
    for status in ["u", "b", "d"] {
        let town = kari().await;
        town.sandbox.mailmojo.set_list_status(KARI, LIST, status);
        let again = run(&["sync", "--again", "u1"], town.settings()).await;
        assert_eq!(again.code, Some(0), "{again:?}");
        assert_eq!(town.contact(KARI).list_status(LIST), Some(status));
        assert_eq!(town.sandbox.count(Route::Subscribe), 1, "the first sync's alone");
    }
}

#[tokio::test]
async fn who_was_never_seen_is_made_as_ever() {
    let mut town = Town::with(&[("SYNC__CREATE_CONTACTS", "false")]).await;
    town.sandbox.sesamy.put_user(user("u1").email(KARI).contract(contract("c1")));
    let told = town.sync_told("u1").await;
    assert_eq!(told["reason"], "not_in_mailmojo");
    town.service.terminate();
    town.service.ended().await;
    town.restart(&[("SYNC__CREATE_CONTACTS", "true")]).await;
    town.sync("u1").await;
    assert_eq!(town.contact(KARI).list_status(LIST), Some("a"));
}

#[tokio::test]
async fn a_create_whose_answer_was_lost_is_known_as_seen_by_the_next_look() {
    let town = Town::start().await;
    town.sandbox.sesamy.put_user(user("u1").email(KARI).contract(contract("c1")));
    let lost = sesamy_mailmojo::sandbox::Fault::done_then(sesamy_mailmojo::sandbox::Fault::status(502));
    town.sandbox.mailmojo.inject(sesamy_mailmojo::sandbox::Rule::on(Route::Subscribe, lost).times(1));
    town.sync("u1").await;
    town.sandbox.mailmojo.delete(KARI);
    town.sync("u1").await;
    assert!(town.sandbox.mailmojo.contact(KARI).is_none());
}

#[tokio::test]
async fn a_contact_that_was_removed_is_not_made_for_another_user_with_its_address() {
    let town = kari().await;
    town.sandbox.mailmojo.delete(KARI);
    town.sandbox.sesamy.put_user(user("u2").email("Kari@Example.com").contract(contract("c2")));
    assert_eq!(town.sync_told("u2").await["reason"], "removed_in_mailmojo");
    assert!(town.sandbox.mailmojo.contact(KARI).is_none());
    let again = run(&["sync", "--again", "u2"], town.settings()).await;
    assert_eq!(again.code, Some(0), "{again:?}");
    assert_eq!(town.contact(KARI).tags, ["sesamy_active_subscriber"]);
}

#[tokio::test]
async fn an_operators_word_holds_for_the_sync_that_was_asked_for_and_for_no_later_try() {
    let town = kari().await;
    town.sandbox.mailmojo.delete(KARI);
    let refuse = sesamy_mailmojo::sandbox::Fault::status(503);
    town.sandbox.mailmojo.inject(sesamy_mailmojo::sandbox::Rule::on(Route::Subscribe, refuse).times(1));
    let again = run(&["sync", "--again", "u1"], town.settings()).await;
    assert_eq!(again.code, Some(1), "{again:?}");
    town.settled().await;
    assert!(town.sandbox.mailmojo.contact(KARI).is_none(), "the service tries again, and makes nobody");
    let again = run(&["sync", "--again", "u1"], town.settings()).await;
    assert_eq!(again.code, Some(0), "{again:?}");
    assert_eq!(town.contact(KARI).tags, ["sesamy_active_subscriber"]);
}
