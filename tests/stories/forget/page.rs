//! A user forgotten by the admin API and by the page; and who was removed, has left or was forgotten, taken up again there.

use serde_json::{Value, json};
use sesamy_mailmojo::sandbox::{Fault, Route, Rule, user};

use crate::forget::command::{events_come_to_nothing, rows_of};
use crate::support::admin::{KARI, OTHER_TOKEN, Office, TOKEN, bearer};

#[tokio::test]
async fn the_api_forgets_a_user_and_tells_what_it_did() {
    let office = Office::with_somebody_parked().await;
    let path = format!("POST users/{KARI}/forget");
    let told = office.api(&path, r#"{"mailmojo": true}"#).await;
    assert_eq!(told.status, 200, "{told:?}");
    assert_eq!(
        told.json(),
        json!({"user_id": "email|kari", "outcome": "forgotten", "was_known": true, "history_rows": 1,
            "mailmojo": [{"contact": "loses_our_tags", "tags_removed": ["sesamy_overdue_contract"]}]})
    );
    assert_eq!(office.town.contact("kari@example.com").tags, ["vip"]);
    events_come_to_nothing(&office.town, "email|kari").await;

    let again = office.api(&path, "").await;
    assert_eq!(
        (&again.json()["outcome"], &again.json()["mailmojo"]),
        (&json!("already_forgotten"), &Value::Null)
    );
    for gone in ["GET users/ID", "GET users/ID/preview", "POST users/ID/sync", "POST users/ID/retry"] {
        let answer = office.api(&gone.replace("ID", KARI), "").await;
        answer.is_problem(410, "user-forgotten");
        assert!(answer.json()["detail"].as_str().unwrap().contains("sync --again"), "{answer:?}");
    }
    assert_eq!(office.api(&format!("POST users/{KARI}/sync?again=true"), "").await.status, 200);
    assert_eq!(office.user(KARI).await["memory"]["email"], "kari@example.com");
    let log = office.town.service.output.text();
    assert!(log.contains("a user was forgotten") && !log.contains("example.com"), "{log}");
}

#[tokio::test]
async fn what_is_no_such_request_forgets_nobody() {
    let office = Office::with_somebody_parked().await;
    let path = format!("users/{KARI}/forget");
    let long = "x".repeat(20_000);
    for (body, status, kind) in [
        ("{}", 400, "invalid-request"),
        (r#"{"mailmojo": "true"}"#, 400, "invalid-request"),
        (r#"{"mailmojo": null}"#, 400, "invalid-request"),
        (r#"{"mailmojo": true, "user": "x"}"#, 400, "invalid-request"),
        ("mailmojo=true", 400, "invalid-request"),
        ("[true]", 400, "invalid-request"),
        (long.as_str(), 413, "body-too-large"),
    ] {
        office.api(&format!("POST {path}"), body).await.is_problem(status, kind);
    }
    office.api(&format!("GET {path}"), "").await.is_problem(405, "method-not-allowed");
    for odd in ["%0a", "%2E", "%ff%fe", &"x".repeat(257)] {
        office.api(&format!("POST users/{odd}/forget"), "").await.is_problem(400, "invalid-request");
    }
    let cookie = office.login(TOKEN).await;
    for headers in [String::new(), cookie, bearer("none-of-the-tokens-there-are")] {
        office.post(&format!("/admin/api/{path}"), &headers, "").await.is_problem(401, "unauthorized");
    }
    assert_eq!(office.user(KARI).await["state"], "parked");
    assert_eq!(office.post(&format!("/admin/api/{path}"), &bearer(OTHER_TOKEN), "").await.status, 200);
}

#[tokio::test]
async fn what_mailmojo_refuses_is_told_by_the_api_and_the_page_and_nobody_is_forgotten() {
    let office = Office::with_somebody_parked().await;
    office.town.sandbox.mailmojo.inject(Rule::on(Route::ContactPatch, Fault::status(500)));
    let answer = office.api(&format!("POST users/{KARI}/forget"), r#"{"mailmojo":true}"#).await;
    answer.is_problem(502, "upstream-failed");
    assert!(answer.json()["detail"].as_str().unwrap().contains("nothing was forgotten"), "{answer:?}");
    let cookie = office.login(TOKEN).await;
    let form = office.form_token(&cookie).await;
    let body = format!("form={form}&sure=true&mailmojo=true");
    let page = office.post(&format!("/admin/users/{KARI}/forget"), &cookie, &body).await;
    assert_eq!(page.status, 502, "{page:?}");
    assert!(page.body.contains("nothing was forgotten"), "{}", page.body);
    assert_eq!(office.user(KARI).await["state"], "parked");
}

#[tokio::test]
async fn the_page_forgets_only_who_is_sure_and_says_so_afterwards() {
    let office = Office::with_somebody_parked().await;
    let cookie = office.login(TOKEN).await;
    let form = office.form_token(&cookie).await;
    let (page, path) = (format!("/admin/users/{KARI}"), format!("/admin/users/{KARI}/forget"));
    for body in ["", "&mailmojo=true", "&sure=", "&sure=false"] {
        let answer = office.post(&path, &cookie, &format!("form={form}{body}")).await;
        assert_eq!(answer.status, 400, "{body}: {answer:?}");
    }
    assert_eq!(office.user(KARI).await["state"], "parked");
    let shown = office.get(&page, &cookie).await;
    assert!(shown.body.contains("Erase this user for good"), "{}", shown.body);

    let answer = office.post(&path, &cookie, &format!("form={form}&sure=true")).await;
    let there = format!("{page}?flash=forgotten");
    assert_eq!((answer.status, answer.header("location")), (303, Some(there.as_str())), "{answer:?}");
    let shown = office.get(&there, &cookie).await;
    assert_eq!(shown.status, 410);
    for told in ["The user is forgotten.", "was forgotten: events are dropped", "Sync again"] {
        assert!(shown.body.contains(told), "{told} is not in {}", shown.body);
    }
    assert!(!shown.body.contains("Sync now"), "{}", shown.body);
    assert_eq!(rows_of(&office.town, "email|kari"), 0);
    let tags = ["vip", "sesamy_overdue_contract"];
    assert_eq!(office.town.contact("kari@example.com").tags, tags, "the box for Mailmojo was not ticked");

    let body = format!("form={form}&sure=true&mailmojo=true");
    let answer = office.post(&path, &cookie, &body).await;
    let there = format!("{page}?flash=already_forgotten");
    assert_eq!((answer.status, answer.header("location")), (303, Some(there.as_str())), "{answer:?}");
    assert_eq!(office.town.contact("kari@example.com").tags, ["vip"]);

    let answer = office.post(&format!("{page}/sync"), &cookie, &format!("form={form}&again=true")).await;
    assert_eq!(
        answer.header("location"),
        Some(format!("{page}?flash=synced-updated").as_str()),
        "{answer:?}"
    );
    let shown = office.get(&page, &cookie).await;
    assert_eq!(shown.status, 200);
    assert!(shown.body.contains("Sync now") && !shown.body.contains("Sync again"), "{}", shown.body);
    assert!(
        shown.body.contains("kari@example.com") && shown.body.contains("active on the list"),
        "{}",
        shown.body
    );
}

#[tokio::test]
async fn whose_contact_somebody_has_removed_is_taken_up_again_from_the_page() {
    let office = Office::open().await;
    office.town.sandbox.sesamy.put_user(user("ola").email("ola@example.com"));
    office.town.sync("ola").await;
    let cookie = office.login(TOKEN).await;
    assert!(!office.get("/admin/users/ola", &cookie).await.body.contains("Sync again"));
    office.town.sandbox.mailmojo.delete("ola@example.com");
    office.town.sync("ola").await;
    let shown = office.get("/admin/users/ola", &cookie).await;
    assert!(
        shown.body.contains("Somebody has removed the contact") && shown.body.contains("Sync again"),
        "{}",
        shown.body
    );
    let form = office.form_token(&cookie).await;
    let answer = office.post("/admin/users/ola/sync", &cookie, &format!("form={form}&again=true")).await;
    assert_eq!(answer.header("location"), Some("/admin/users/ola?flash=synced-created"), "{answer:?}");
    assert!(!office.get("/admin/users/ola", &cookie).await.body.contains("Sync again"));
}

#[tokio::test]
async fn in_a_dry_run_the_page_says_that_nothing_was_changed() {
    let office = Office::with(&[("SYNC__DRY_RUN", "true")]).await;
    office.town.sync("nobody").await;
    let cookie = office.login(TOKEN).await;
    let form = office.form_token(&cookie).await;
    let answer = office.post("/admin/users/nobody/forget", &cookie, &format!("form={form}&sure=true")).await;
    let there = "/admin/users/nobody?flash=would_be_forgotten";
    assert_eq!(answer.header("location"), Some(there), "{answer:?}");
    assert!(office.get(there, &cookie).await.body.contains("Nothing was changed: sync.dry_run is on"));
    assert!(rows_of(&office.town, "nobody") > 0);
}
