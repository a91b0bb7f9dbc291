//! Nobody is put on the list again who has left it: not by a shared address, not by a sync that failed, not by an address that
//! comes back, not by a retry. And another list or account is a fresh start.

use serde_json::{Value, json};
use sesamy_mailmojo::sandbox::{
    Associations, Fault, Mailmojo, Route, Rule, Sandbox, contact, contract, user,
};

use crate::support::faults::synced;
use crate::support::harness::{LIST, PATIENCE, Town};
use crate::support::shell::{changed, run};

const OLD: &str = "kari@example.com";
const NEW: &str = "kari@example.org";
const OUTCOMES: [&str; 5] =
    ["unsubscribed", "unsubscribed from everything", "deleted", "removed", "taken off the list"];

/// What a person does to the contact of [`OLD`].
fn leaves(town: &Town, how: &str) {
    let mailmojo = &town.sandbox.mailmojo;
    match how {
        "unsubscribed" => mailmojo.unsubscribe(OLD, LIST),
        "unsubscribed from everything" => mailmojo.unsubscribe_everywhere(OLD),
        "deleted" => mailmojo.set_status(OLD, "d"),
        "removed" => mailmojo.delete(OLD),
        _ => mailmojo.edit(OLD, |it| it.associations.clear()),
    };
}

fn is_skipped(told: &Value, reason: &str) -> bool {
    (&told["outcome"], &told["reason"]) == (&json!("skipped"), &json!(reason))
}

/// Kari, a subscriber who is in step.
async fn kari() -> Town {
    let town = Town::start().await;
    town.sandbox.sesamy.put_user(user("u1").email(OLD).first_name("Kari").contract(contract("c1")));
    town.sync("u1").await;
    town
}

#[tokio::test]
async fn a_user_who_left_while_sharing_the_address_is_not_made_under_a_new_one() {
    for how in OUTCOMES {
        let town = kari().await;
        town.sandbox.sesamy.put_user(user("u2").email(OLD).contract(contract("c2")));
        town.sync("u2").await;
        leaves(&town, how);
        town.sandbox.sesamy.set_field("u1", "email", NEW);
        let told = town.sync_told("u1").await;
        assert!(is_skipped(&told, "left_under_old_address"), "{how}: {told}");
        assert!(town.sandbox.mailmojo.contact(NEW).is_none(), "{how}");
        // And the user who keeps the address is not put back either.
        town.sync("u2").await;
        assert_eq!(town.sandbox.count(Route::Subscribe), 1, "{how}");
    }
}

#[tokio::test]
async fn a_contact_that_another_users_sync_saw_on_the_list_is_not_put_back_by_this_one() {
    let town = kari().await;
    town.sandbox.mailmojo.edit(OLD, |it| it.associations.clear());
    town.sandbox.sesamy.put_user(user("u2").email("KARI@example.com").contract(contract("c2")));
    town.sync("u2").await;
    assert_eq!(town.contact(OLD).list_status(LIST), None);
    assert_eq!(town.sandbox.count(Route::Subscribe), 1, "the first sync's alone");
}

#[tokio::test]
async fn a_contact_that_a_failed_sync_has_seen_is_not_made_again_once_somebody_removes_it() {
    // It was there, and to change it was refused for good.
    let town = Town::start().await;
    town.sandbox.mailmojo.put_contact(contact(OLD).tags(["vip"]).on_list(LIST));
    town.sandbox.sesamy.put_user(user("u1").email(OLD).contract(contract("c1")));
    town.sandbox.mailmojo.inject(Rule::on(Route::ContactPatch, Fault::status(422)));
    town.event("userVendor.1#update", "u1").await;
    town.parked(1).await;
    is_not_made_again(&town).await;

    // We made it, and the patch after it was refused: somebody had made it a moment before, without our tags.
    let town = Town::start().await;
    town.sandbox.sesamy.put_user(user("u1").email(OLD).contract(contract("c1")));
    let without_tags = Fault::edit(|answer| answer["tags"] = json!([]));
    town.sandbox.mailmojo.inject(Rule::on(Route::Subscribe, without_tags));
    town.sandbox.mailmojo.inject(Rule::on(Route::ContactPatch, Fault::status(422)));
    town.event("userVendor.1#update", "u1").await;
    town.parked(1).await;
    assert_eq!(town.sandbox.count(Route::Subscribe), 1);
    is_not_made_again(&town).await;

    // It was on the account, and to subscribe it failed in passing, until somebody removed it.
    let town = Town::with(&[("SYNC__BACKOFF_BASE", "1h"), ("SYNC__BACKOFF_CAP", "1h")]).await;
    town.sandbox.mailmojo.put_contact(contact(OLD).tags(["vip"]));
    town.sandbox.sesamy.put_user(user("u1").email(OLD).contract(contract("c1")));
    town.sandbox.mailmojo.inject(Rule::on(Route::Subscribe, Fault::status(500)));
    town.event("userVendor.1#update", "u1").await;
    synced(&town, "u1", "failed", 1).await;
    is_not_made_again(&town).await;

    // It was there, and then the list could not be asked whether it is on it.
    let town = Town::with(&[("SYNC__BACKOFF_BASE", "1h"), ("SYNC__BACKOFF_CAP", "1h")]).await;
    town.sandbox.mailmojo.answer_associations_as(Associations::Absent);
    town.sandbox.mailmojo.put_contact(contact(OLD).tags(["vip"]));
    town.sandbox.sesamy.put_user(user("u1").email(OLD).contract(contract("c1")));
    town.sandbox.mailmojo.inject(Rule::on(Route::ListMember, Fault::status(500)));
    town.event("userVendor.1#update", "u1").await;
    synced(&town, "u1", "failed", 1).await;
    is_not_made_again(&town).await;
}

async fn is_not_made_again(town: &Town) {
    town.sandbox.mailmojo.clear_faults();
    town.sandbox.mailmojo.delete(OLD);
    town.sandbox.clear_calls();
    town.event("userVendor.1#update", "u1").await;
    let told = synced(town, "u1", "skipped", 1).await;
    assert!(is_skipped(&told, "removed_in_mailmojo"), "{told}");
    assert_eq!(town.sandbox.writes(), 0);
}

#[tokio::test]
async fn what_a_sync_had_seen_when_it_was_cut_off_is_known_to_the_next() {
    let mut town = Town::with(&[("SYNC__REQUEST_TIMEOUT", "60s"), ("SYNC__DEADLINE", "120s")]).await;
    town.sandbox.mailmojo.put_contact(contact(OLD).tags(["vip"]));
    town.sandbox.sesamy.put_user(user("u1").email(OLD).contract(contract("c1")));
    town.sandbox.mailmojo.inject(Rule::on(Route::Subscribe, Fault::Hang));
    town.event("userVendor.1#update", "u1").await;
    let is_writing = |sandbox: &Sandbox| sandbox.count(Route::ContactGet) == 1 && sandbox.in_flight() == 1;
    town.sandbox.wait_until(PATIENCE, is_writing).await.unwrap();
    town.service.terminate();
    town.service.ended().await;
    town.sandbox.mailmojo.clear_faults();
    town.sandbox.mailmojo.delete(OLD);
    town.restart(&[("SYNC__REQUEST_TIMEOUT", "1s"), ("SYNC__DEADLINE", "10s")]).await;
    let told = synced(&town, "u1", "skipped", 1).await;
    assert!(is_skipped(&told, "removed_in_mailmojo"), "{told}");
    assert!(town.sandbox.mailmojo.contact(OLD).is_none());
}

#[tokio::test]
async fn back_at_an_earlier_address_what_was_done_to_its_contact_meanwhile_stands() {
    for how in ["removed", "taken off the list"] {
        let mut town = kari().await;
        town.sandbox.sesamy.set_field("u1", "email", NEW);
        assert_eq!(town.sync_told("u1").await["outcome"], "created");
        leaves(&town, how);
        town.crash_and_restart(&[]).await;
        town.sandbox.sesamy.set_field("u1", "email", OLD);
        town.sandbox.clear_calls();
        let told = town.sync_told("u1").await;
        assert_eq!(town.sandbox.count(Route::Subscribe), 0, "{how}");
        match town.sandbox.mailmojo.contact(OLD) {
            None => assert!(is_skipped(&told, "removed_in_mailmojo"), "{told}"),
            Some(old) => {
                assert_eq!(old.list_status(LIST), None);
                assert_eq!(old.tags, ["sesamy_active_subscriber"], "updated only");
            }
        }
        assert!(town.contact(NEW).tags.is_empty(), "{how}: our tags have gone from the address in between");
        // No earlier address is kept in the open.
        let kept =
            crate::support::faults::text(&town, "SELECT json_extract(last_seen, '$.earlier') FROM users")
                .unwrap();
        assert!(kept.contains("key") && !kept.contains('@'), "{kept}");
    }
}

#[tokio::test]
async fn a_retry_of_a_backfill_that_creates_nobody_creates_nobody() {
    let town = Town::start().await;
    town.sandbox.sesamy.put_user(user("u1").email(OLD).contract(contract("c1")));
    town.sandbox.mailmojo.inject(Rule::on(Route::ContactGet, Fault::status(422)));
    let backfill = run(&["backfill", "--existing-only", "--yes"], town.settings()).await;
    assert_ne!(backfill.code, None, "{backfill:?}");
    town.parked(1).await;
    town.sandbox.mailmojo.clear_faults();
    let retry = run(&["queue", "retry", "u1"], town.settings()).await;
    assert_eq!(retry.code, Some(0), "{retry:?}");
    let told = synced(&town, "u1", "skipped", 1).await;
    assert!(is_skipped(&told, "not_in_mailmojo"), "{told}");
    assert!(town.sandbox.mailmojo.contact(OLD).is_none());
    // An event asks for the whole of it.
    assert_eq!(town.sync_told("u1").await["outcome"], "created");
}

#[tokio::test]
async fn another_list_is_a_fresh_start_and_the_one_before_is_still_known_when_it_comes_back() {
    let mut town = kari().await;
    town.sandbox.sesamy.put_user(user("u2").email("ola@example.com").contract(contract("c2")));
    town.sync("u2").await;
    town.sandbox.mailmojo.delete("ola@example.com");
    town.sync("u2").await;
    let other = LIST + 1;
    town.sandbox.mailmojo.put_list(other, "Weekend");
    town.crash_and_restart(&[("MAILMOJO__LIST_ID", &other.to_string())]).await;
    assert_eq!(town.sync_told("u1").await["outcome"], "subscribed");
    assert_eq!(town.contact(OLD).list_status(other), Some("a"));
    assert_eq!(town.sync_told("u2").await["outcome"], "created");
    let lines = town.service.output.lines();
    let is_warning = |line: &&Value| line["message"].to_string().contains("another Mailmojo list");
    assert_eq!(lines.iter().filter(is_warning).count(), 1, "once, not for each user");

    town.sandbox.mailmojo.delete("ola@example.com");
    town.crash_and_restart(&[("MAILMOJO__LIST_ID", &LIST.to_string())]).await;
    assert!(is_skipped(&town.sync_told("u2").await, "removed_in_mailmojo"), "as it was known on this list");
    assert_eq!(town.sync_told("u1").await["outcome"], "unchanged");
}

#[tokio::test]
async fn another_account_is_a_fresh_start() {
    let mut town = kari().await;
    let elsewhere = Sandbox::start().await.unwrap();
    let there =
        [("MAILMOJO__API_URL", elsewhere.mailmojo.url()), ("MAILMOJO__API_TOKEN", Mailmojo::FIXED_TOKEN)];
    town.crash_and_restart(&there).await;
    assert_eq!(town.sync_told("u1").await["outcome"], "created");
    assert_eq!(elsewhere.mailmojo.contact(OLD).unwrap().tags, ["sesamy_active_subscriber"]);
    elsewhere.assert_no_findings();
}

#[tokio::test]
async fn where_nobody_is_created_the_contact_of_the_old_address_is_kept_in_step() {
    for by_backfill in [false, true] {
        let mut town = kari().await;
        town.sandbox.mailmojo.edit(OLD, |it| it.tags.insert(0, "vip".to_owned()));
        town.sandbox.sesamy.set_field("u1", "email", NEW);
        town.sandbox.sesamy.set_field("u1", "tags", json!(["Early bird"]));
        if by_backfill {
            let backfill = run(&["backfill", "--existing-only", "--yes"], town.settings()).await;
            assert_eq!(backfill.code, Some(0), "{backfill:?}");
        } else {
            town.service.terminate();
            town.service.ended().await;
            town.restart(&[("SYNC__CREATE_CONTACTS", "false")]).await;
            assert_eq!(town.sync_told("u1").await["outcome"], "updated");
        }
        assert_eq!(town.contact(OLD).tags, ["vip", "sesamy_active_subscriber", "sesamy_tag_early-bird"]);
        assert!(town.sandbox.mailmojo.contact(NEW).is_none());
        // Where the new address has a contact, that one is kept in step, and the old one loses our tags.
        town.sandbox.mailmojo.put_contact(contact(NEW).tags(["own"]));
        let existing_only = changed(town.settings(), &[("SYNC__CREATE_CONTACTS", "false")]);
        let sync = run(&["sync", "u1"], &existing_only).await;
        assert_eq!(sync.code, Some(0), "{sync:?}");
        assert_eq!(town.contact(OLD).tags, ["vip"]);
        assert_eq!(town.contact(NEW).tags, ["own", "sesamy_active_subscriber", "sesamy_tag_early-bird"]);
    }
}

#[tokio::test]
async fn an_answer_that_leaves_fields_out_takes_nothing_from_a_contact() {
    for left_out in
        [&["tags"][..], &["first_name", "last_name"], &["name"], &["phone"], &["tags", "phone", "first_name"]]
    {
        for is_on_list in [true, false] {
            let town = Town::start().await;
            let there = contact(OLD).phone("+4790000000").tags(["vip", "sesamy_tag_old"]);
            let there = if left_out == ["name"] {
                there.name("K. Moe")
            } else {
                there.first_name("K.").last_name("M.")
            };
            town.sandbox.mailmojo.put_contact(if is_on_list {
                there.on_list(LIST)
            } else {
                there.on_list(LIST + 1)
            });
            let kari = user("u1").email(OLD).first_name("Kari").last_name("Moe").mobile_phone("+4799988777");
            town.sandbox.sesamy.put_user(kari.contract(contract("c1")));
            let sparse = Fault::edit(move |answer| {
                let answer = answer.as_object_mut().unwrap();
                left_out.iter().for_each(|field| drop(answer.remove(*field)));
            });
            town.sandbox.mailmojo.inject(Rule::on(Route::ContactGet, sparse).times(1));
            town.sync("u1").await;
            let after = town.contact(OLD);
            assert_eq!(after.tags, ["vip", "sesamy_active_subscriber"], "{left_out:?} {is_on_list}");
            assert_eq!(after.phone.as_deref(), Some("+4790000000"), "{left_out:?} {is_on_list}");
            let names = (after.name.as_deref(), after.first_name.as_deref(), after.last_name.as_deref());
            match left_out {
                ["name"] => assert_eq!((names.1, names.2), (None, None), "the whole name stays alone"),
                _ => assert_eq!((names.1, names.2), (Some("K."), Some("M.")), "{left_out:?} {is_on_list}"),
            }
        }
    }
}

#[tokio::test]
async fn a_contact_under_the_other_form_of_the_domain_is_found_and_not_made_again() {
    let (unicode, ascii) = ("kari@blåbær.no", "kari@xn--blbr-roah.no");
    for (at_sesamy, at_mailmojo) in [(unicode, ascii), (ascii, unicode), ("Kari@BLÅBÆR.no", ascii)] {
        let town = Town::start().await;
        town.sandbox.mailmojo.put_contact(contact(at_mailmojo).tags(["vip"]).on_list(LIST));
        town.sandbox.mailmojo.unsubscribe(at_mailmojo, LIST);
        town.sandbox.sesamy.put_user(user("u1").email(at_sesamy).contract(contract("c1")));
        assert_eq!(town.sync_told("u1").await["outcome"], "updated", "{at_sesamy}");
        assert_eq!(town.contact(at_mailmojo).tags, ["vip", "sesamy_active_subscriber"], "{at_sesamy}");
        assert_eq!(town.sandbox.count(Route::Subscribe), 0, "{at_sesamy}");
    }
}

#[tokio::test]
async fn having_left_under_the_old_address_counts_though_the_sync_that_saw_it_failed() {
    let town = Town::with(&[("SYNC__BACKOFF_BASE", "1h"), ("SYNC__BACKOFF_CAP", "1h")]).await;
    town.sandbox.sesamy.put_user(user("u1").email(OLD).contract(contract("c1")));
    town.sandbox.sesamy.put_user(user("u2").email(OLD).contract(contract("c2")));
    town.sync("u1").await;
    town.sync("u2").await;
    town.sandbox.mailmojo.delete(OLD);
    town.sandbox.sesamy.set_field("u1", "email", NEW);
    town.sandbox.mailmojo.inject(Rule::on(Route::ContactGet, Fault::status(500)).about(NEW).times(1));
    town.event("userVendor.1#update", "u1").await;
    synced(&town, "u1", "failed", 1).await;
    // The other user of the address joins again, which says nothing about this one.
    town.sandbox.mailmojo.put_contact(contact(OLD).on_list(LIST));
    town.event("userVendor.1#update", "u1").await;
    let told = synced(&town, "u1", "skipped", 1).await;
    assert!(is_skipped(&told, "left_under_old_address"), "{told}");
    assert!(town.sandbox.mailmojo.contact(NEW).is_none());
}

#[tokio::test]
async fn a_contact_that_a_failed_sync_has_made_loses_our_tags_when_the_user_goes_back() {
    let town = kari().await;
    town.sandbox.sesamy.set_field("u1", "email", NEW);
    // Somebody had made the contact a moment before, without our tags; and to add them is refused.
    let without_tags = Fault::edit(|answer| answer["tags"] = json!([]));
    town.sandbox.mailmojo.inject(Rule::on(Route::Subscribe, without_tags));
    town.sandbox.mailmojo.inject(Rule::on(Route::ContactPatch, Fault::status(422)).about(NEW));
    town.event("userVendor.1#update", "u1").await;
    town.parked(1).await;
    assert!(town.contact(OLD).tags.is_empty() && !town.contact(NEW).tags.is_empty());

    town.sandbox.mailmojo.clear_faults();
    town.sandbox.sesamy.set_field("u1", "email", OLD);
    town.sync("u1").await;
    assert!(town.contact(NEW).tags.is_empty(), "the address is nobody's any more");
    assert_eq!(town.contact(OLD).tags, ["sesamy_active_subscriber"]);

    // And to have left there is to have left.
    town.sandbox.sesamy.set_field("u1", "email", NEW);
    town.sync("u1").await;
    town.sandbox.mailmojo.unsubscribe(NEW, LIST);
    town.sandbox.sesamy.set_field("u1", "email", "kari@example.net");
    assert!(is_skipped(&town.sync_told("u1").await, "left_under_old_address"));
}
