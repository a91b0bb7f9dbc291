//! Accepted events: what is taken, in whatever form it comes, and that each makes a sync.

use sesamy_mailmojo::sandbox::user;

use crate::support::harness::Town;
use crate::support::http::{Caller, ask, event, post, webhook};

const EIGHT: [&str; 8] = [
    "userVendor.1#new",
    "userVendor.1#update",
    "contract.1#purchased",
    "contract.1#update",
    "contract#cancelRequest",
    "checkout.1#confirm",
    "entitlement.1#new",
    "entitlement.1#update",
];

#[tokio::test]
async fn every_one_of_the_eight_event_types_makes_a_sync() {
    let town = Town::start().await;
    for (number, event_type) in EIGHT.into_iter().enumerate() {
        let id = format!("u{number}");
        town.sandbox.sesamy.put_user(user(&id).email(&format!("u{number}@example.com")));
        let body = serde_json::json!({
            "eventType": event_type, "vendorId": "vendor_1", "userId": id, "occured_at": "2025-11-10T12:00:00Z",
            "contractId": "c1", "entitlementId": null, "checkoutId": {"nested": [1, 2.5, true]},
        });
        ask(&town.service, webhook(body.to_string())).await.is_accepted();
    }
    town.settled().await;
    for (number, event_type) in EIGHT.into_iter().enumerate() {
        // The queue's file is faster than the log's line, which has to be waited for too.
        let user = format!("u{number}");
        let is_its = |line: &serde_json::Value| line["user_id"] == user && line["outcome"].is_string();
        let sync = town.service.output.wait_for("of the sync", is_its).await;
        assert_eq!((&sync["event_type"], &sync["outcome"]), (&event_type.into(), &"created".into()));
        town.contact(&format!("u{number}@example.com"));
    }
}

#[tokio::test]
async fn an_event_that_needs_no_sync_is_answered_200_with_the_reason_and_leaves_nothing_behind() {
    let town = Town::start().await;
    for (reason, body) in [
        ("unknown_event_type", r#"{"eventType":"contract.2#purchased","vendorId":"vendor_1","userId":"u1"}"#),
        ("unknown_event_type", r#"{"eventType":"contract.1#Purchased","userId":"u1"}"#),
        ("unknown_event_type", r#"{"eventType":" contract.1#update","userId":"u1"}"#),
        ("unknown_event_type", r#"{"eventType":"contract.1#cancelRequest","userId":"u1"}"#),
        ("unknown_event_type", r#"{"eventType":"userVendor.1#delete"}"#),
        ("no_user_id", r#"{"eventType":"contract.1#update","vendorId":"vendor_1"}"#),
        ("no_user_id", r#"{"eventType":"contract.1#update","userId":null}"#),
        ("no_user_id", r#"{"eventType":"contract.1#update","userId":""}"#),
    ] {
        ask(&town.service, webhook(body)).await.is_ignored_for(reason);
    }
    // What was kept before this one is in the file by now.
    ask(&town.service, webhook(event("contract.1#update", "u2"))).await.is_accepted();
    assert_eq!(town.query("SELECT count(*) FROM users"), Ok(1));
}

#[tokio::test]
async fn any_content_type_and_any_spelling_of_the_json_is_read() {
    let town = Town::start().await;
    let token = format!("Authorization: Bearer {}\r\n", crate::support::harness::TOKEN);
    for headers in [
        "User-Agent: curl/8.5.0\r\nAccept: */*\r\nContent-Type: application/x-www-form-urlencoded\r\n",
        "",
        "Content-Type: application/json; charset=utf-8\r\n",
        "Content-Type: text/plain;charset=iso-8859-1\r\n",
        "Content-Type: application/xml\r\n",
        "Content-Type: multipart/form-data; boundary=x\r\n",
        "Content-Type: no type at all\r\n",
    ] {
        let body = event("contract.1#update", "u1");
        ask(&town.service, post(format!("{token}{headers}"), body)).await.is_accepted();
    }
    for body in [
        "\r\n\t {\n\"userId\" : \"u1\" ,\n\"eventType\":\"contract.1#update\"} \n",
        r#"{"eventType":"contract.1\u0023update","user\u0049d":"u\u0031"}"#,
    ] {
        ask(&town.service, webhook(body)).await.is_accepted();
    }
    assert_eq!(town.query("SELECT generation FROM users WHERE user_id = 'u1'"), Ok(9));
}

#[tokio::test]
async fn the_vendor_is_only_checked_and_never_part_of_the_key() {
    let town = Town::with(&[("SYNC__DEBOUNCE", "1h")]).await;
    for vendor in [r#""vendorId":"vendor_1","#, r#""vendorId":"vendor_2","#, r#""vendorId":7,"#, ""] {
        let body = format!(r#"{{"eventType":"contract.1#update",{vendor}"userId":"u1"}}"#);
        ask(&town.service, webhook(body)).await.is_accepted();
    }
    assert_eq!(town.query("SELECT count(*) FROM users"), Ok(1));
    assert_eq!(town.query("SELECT generation FROM users"), Ok(4));
}

#[tokio::test]
async fn with_a_vendor_set_events_of_others_and_of_nobody_are_turned_away() {
    let town = Town::with(&[("SESAMY__VENDOR_ID", "vendor_1")]).await;
    for vendor in [
        r#""vendorId":"vendor_2","#,
        r#""vendorId":"Vendor_1","#,
        r#""vendorId":"vendor_1 ","#,
        r#""vendorId":"","#,
        r#""vendorId":null,"#,
        r#""vendorId":["vendor_1"],"#,
        r#""vendor":"vendor_1","#,
        "",
    ] {
        let body = format!(r#"{{"eventType":"contract.1#update",{vendor}"userId":"u1"}}"#);
        ask(&town.service, webhook(body)).await.is_problem(403, "other-vendor");
    }
    ask(&town.service, webhook(event("contract.1#update", "u2"))).await.is_accepted();
    assert_eq!(town.query("SELECT count(*) FROM users"), Ok(1));
}

/// Ids are opaque: each must reach the very user, however it looks in a URL.
#[tokio::test]
async fn a_user_id_of_any_allowed_shape_reaches_that_users_profile() {
    let town = Town::start().await;
    let ids = [
        "email|84cccf985de28a2a84824786".to_owned(),
        "a/b?c=d&e#f".to_owned(),
        "%2e%2E".to_owned(),
        "../u1".to_owned(),
        "...".to_owned(),
        " spaced out ".to_owned(),
        "blåbær🫐;:@+,\"\\".to_owned(),
        "ø".repeat(128),
        "x".repeat(256),
    ];
    for (number, id) in ids.iter().enumerate() {
        town.sandbox.sesamy.put_user(user(id).email(&format!("n{number}@example.com")));
        ask(&town.service, webhook(event("userVendor.1#new", id))).await.is_accepted();
    }
    town.settled().await;
    for (number, id) in ids.iter().enumerate() {
        let there = town.sandbox.mailmojo.contact(&format!("n{number}@example.com")).is_some();
        assert!(there, "{id} was not synced; the log:\n{}", town.service.output.tail());
    }
}

#[tokio::test]
async fn requests_sent_ahead_of_the_answers_are_all_answered_in_their_order() {
    let town = Town::with(&[("SYNC__DEBOUNCE", "1h")]).await;
    let mut caller = Caller::to(&town.service).await;
    let mut requests = Vec::new();
    for number in 0..50 {
        requests.extend(webhook(event("contract.1#update", &format!("u{number}"))));
        requests.extend(webhook(r#"{"eventType":"odd"}"#));
        requests.extend(webhook("not json"));
        requests.extend(crate::support::http::bare("GET /healthz"));
    }
    caller.send(requests).await;
    // Who has said everything, and closed that direction, is answered all the same.
    caller.says_no_more().await;
    for _ in 0..50 {
        caller.answer().await.is_accepted();
        caller.answer().await.is_ignored_for("unknown_event_type");
        caller.answer().await.is_problem(400, "invalid-event");
        assert_eq!(caller.answer().await.body, r#"{"status":"ok"}"#);
    }
    assert_eq!(town.query("SELECT count(*) FROM users"), Ok(50));
}
