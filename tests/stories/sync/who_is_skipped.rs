//! Who is not synced at all: quietly, for none of it is an error, and without a look at anything but the profile.

use serde_json::{Value, json};
use sesamy_mailmojo::sandbox::{Route, User, contact, contract, user};

use crate::support::harness::{LIST, Town};

/// Each of `stories` is a user and the reason for which the user is skipped; the call to the profile aside, no API is
/// asked anything.
async fn are_skipped(town: &Town, stories: Vec<(User, &str)>) {
    for (user, reason) in &stories {
        // What would follow, were the user not skipped.
        town.sandbox.sesamy.put_user(user.clone().first_name("Kari").tags(["new"]).contract(contract("c1")));
        if *reason == "user_not_found" {
            town.sandbox.sesamy.remove_user(user.id());
        }
    }
    town.sync_all(stories.iter().map(|(user, _)| user.id())).await;
    for (user, reason) in &stories {
        let line = town.end_of_sync(user.id(), 1).await;
        assert_eq!((&line["outcome"], &line["reason"]), (&json!("skipped"), &json!(reason)), "{}", user.id());
        assert_eq!((&line["level"], &line["attempt"]), (&json!("INFO"), &json!(1)), "{line}");
        assert_eq!(town.service.output.syncs_of(user.id()).len(), 1, "{}", user.id());
    }
    for route in [Route::Contracts, Route::Entitlements, Route::ContactGet, Route::ListMember] {
        assert_eq!(town.sandbox.count(route), 0, "{route:?}");
    }
    assert_eq!(town.sandbox.writes(), 0);
    assert_eq!(town.query("SELECT count(*) FROM users WHERE parked_at IS NOT NULL OR attempts > 0"), Ok(0));
    assert_eq!(town.query("SELECT count(*) FROM users WHERE error IS NOT NULL"), Ok(0));
}

#[tokio::test]
async fn who_has_no_address_to_sync_is_skipped() {
    let town = Town::start().await;
    let stories = vec![
        (user("gone").email("kari@example.com"), "user_not_found"),
        (user("absent"), "no_email"),
        (user("null").field("email", Value::Null), "no_email"),
        (user("empty").email(""), "no_email"),
        (user("blank").email(" \t "), "no_email"),
        (user("no-at").email("kari.example.com"), "bad_email"),
        (user("space").email("kari nordmann@example.com"), "bad_email"),
        (user("wide-space").email("kari@exam\u{a0}ple.com"), "bad_email"),
        (user("tab").email("kari@exam\tple.com"), "bad_email"),
        (user("line").email("kari@example.com\nola@example.com"), "bad_email"),
        (user("control").email("kari@exam\u{7}ple.com"), "bad_email"),
        (user("deleted").email("kari@exam\u{7f}ple.com"), "bad_email"),
        (user("soft-hyphen").email("kari@exam\u{ad}ple.com"), "bad_email"),
        (user("zero-width-space").email("kari\u{200b}@example.com"), "bad_email"),
        (user("byte-order-mark").email("\u{feff}kari@example.com"), "bad_email"),
    ];
    let users = stories.len() as u64;
    are_skipped(&town, stories).await;
    assert_eq!(town.sandbox.count(Route::Profile), users);

    let metrics = town.service.metrics().await;
    for (reason, count) in [("user_not_found", 1), ("no_email", 4), ("bad_email", 10)] {
        let line =
            format!("sesamy_mailmojo_syncs_total{{outcome=\"skipped\",reason=\"{reason}\"}} {count}\n");
        assert!(metrics.contains(&line), "{line} is not in\n{metrics}");
    }
    for level in ["WARN", "ERROR"] {
        assert!(town.service.output.lines().iter().all(|line| line["level"] != level));
    }
}

#[tokio::test]
async fn a_guest_is_skipped_by_any_mark_and_by_the_id_without_a_call() {
    let town = Town::start().await;
    // The guest's address is somebody's: that contact is left alone.
    town.sandbox.mailmojo.put_contact(contact("kari@example.com").tags(["vip", "sesamy_old"]).on_list(LIST));
    let before = town.contact("kari@example.com");
    let kari = |id: &str| user(id).email("kari@example.com");
    are_skipped(
        &town,
        vec![
            (kari("is-guest").guest(), "guest"),
            (kari("guest").field("guest", true), "guest"),
            (kari("type").field("type", "guest"), "guest"),
            (kari("user-type").field("userType", "guest"), "guest"),
            // A guest first, whatever the address.
            (user("nobody").guest(), "guest"),
            (user("odd").email("kari").guest(), "guest"),
        ],
    )
    .await;
    assert_eq!(town.sandbox.count(Route::Profile), 6);

    are_skipped(&town, vec![(kari("guest|84cc"), "guest"), (kari("guest_84cc"), "guest")]).await;
    assert_eq!(town.sandbox.count(Route::Profile), 6, "nobody is asked about an id that says it all");
    assert_eq!(town.contact("kari@example.com"), before);
}

#[tokio::test]
async fn who_only_looks_like_a_guest_is_synced() {
    let town = Town::with(&[("SESAMY__GUEST_USER_ID_PREFIXES", "temp-,anon|")]).await;
    let kari = |id: &str| user(id).email(&format!("kari+{id}@example.com"));
    let users = [
        kari("a").field("isGuest", false).field("guest", false),
        kari("b").field("isGuest", Value::Null).field("type", Value::Null),
        kari("c").field("type", "subscriber").field("userType", "user"),
        kari("guest-book-author"),
        kari("guest|84cc"), // not a prefix any more
        kari("my-temp-"),
    ];
    for user in users {
        town.sandbox.sesamy.put_user(user.clone());
        assert_eq!(town.sync_told(user.id()).await["outcome"], "created", "{}", user.id());
    }
    for id in ["temp-1", "anon|2"] {
        town.sandbox.sesamy.put_user(kari(id));
        let told = town.sync_told(id).await;
        assert_eq!((&told["outcome"], &told["reason"]), (&json!("skipped"), &json!("guest")), "{id}");
    }
    assert_eq!(town.sandbox.count(Route::Profile), 6);
}

#[tokio::test]
async fn who_was_skipped_is_synced_by_the_next_event_once_there_is_a_reason_to() {
    let town = Town::start().await;
    assert_eq!(town.sync_told("u1").await["reason"], "user_not_found");
    town.sandbox.sesamy.put_user(user("u1"));
    assert_eq!(town.sync_told("u1").await["reason"], "no_email");
    town.sandbox.sesamy.set_field("u1", "email", "  kari@example.com  ");
    assert_eq!(town.sync_told("u1").await["outcome"], "created");
    assert_eq!(town.contact("kari@example.com").email, "kari@example.com");
    // A user who is gone leaves the contact as it is: there is nothing to bring it in step with.
    town.sandbox.sesamy.remove_user("u1");
    let before = town.contact("kari@example.com");
    assert_eq!(town.sync_told("u1").await["reason"], "user_not_found");
    assert_eq!(town.contact("kari@example.com"), before);
}

#[tokio::test]
async fn with_create_contacts_off_nobody_is_created_or_subscribed_and_who_is_there_is_kept_in_step() {
    let town = Town::with(&[("SYNC__CREATE_CONTACTS", "false")]).await;
    let put = |id: &str| {
        let email = format!("{id}@example.com");
        town.sandbox.sesamy.put_user(user(id).email(&email).first_name("Kari").tags(["new"]));
        contact(&email).tags(["vip", "sesamy_old"])
    };
    let _nowhere = put("nowhere");
    town.sandbox.mailmojo.put_contact(put("off-list"));
    town.sandbox.mailmojo.put_contact(put("on-list").on_list(LIST));
    town.sandbox.mailmojo.put_contact(put("left").on_list_as(LIST, "u"));
    town.sandbox.mailmojo.put_contact(put("in-step").first_name("K.").tags(["sesamy_tag_new"]));

    let told = town.sync_told("nowhere").await;
    assert_eq!((&told["outcome"], &told["reason"]), (&json!("skipped"), &json!("not_in_mailmojo")));
    assert_eq!((&told["changed"], &told["level"]), (&json!(""), &json!("INFO")));
    assert_eq!(town.sandbox.mailmojo.contact("nowhere@example.com"), None);

    for (id, status) in [("off-list", None), ("on-list", Some("a")), ("left", Some("u"))] {
        assert_eq!(town.sync_told(id).await["outcome"], "updated", "{id}");
        let after = town.contact(&format!("{id}@example.com"));
        assert_eq!(after.list_status(LIST), status, "{id}");
        assert_eq!(after.first_name.as_deref(), Some("Kari"), "{id}");
        assert_eq!(after.tags, ["vip", "sesamy_tag_new"], "{id}");
    }
    assert_eq!(town.sync_told("in-step").await["outcome"], "unchanged");
    assert_eq!(town.sandbox.count(Route::Subscribe), 0);
    assert_eq!(town.sandbox.count(Route::ContactPatch), 3);
}
