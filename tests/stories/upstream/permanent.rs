//! What no retry can mend: the user is parked with status, code and fields, visible, until the next event.

use serde_json::json;
use sesamy_mailmojo::sandbox::{Fault, Route, Rule, contact, contract, entitlement, user};

use crate::support::faults::{address, events, lines_at, people, synced, text, told};
use crate::support::harness::{LIST, Town};

const AT_ONCE: (&str, &str) = ("SYNC__DEBOUNCE", "0s");

#[tokio::test]
async fn a_user_whom_an_api_will_not_have_is_parked_with_the_reason_until_the_next_event() {
    let town = Town::with(&[AT_ONCE]).await;
    let (sesamy, mailmojo) = (&town.sandbox.sesamy, &town.sandbox.mailmojo);
    let status = |status: u16, message: &str| -> Fault { Fault::status(status).message(message).into() };
    let odd = json!({"errors": {"phone": ["is too short", "is odd"]}, "message": "check your data", "request_id": "r-7"});
    let sesamys: Vec<(Route, Fault, &str)> = vec![
        (Route::Profile, status(400, "no such region"), "answered 400 (code bad_request)"),
        (Route::Contracts, status(409, "they are merging"), "answered 409 (code error)"),
        (
            Route::Entitlements,
            Fault::status(410).html().into(),
            "GET /management/entitlements was answered 410",
        ),
    ];
    let mailmojos: Vec<(Route, Fault, &str)> = vec![
        (Route::ContactGet, status(402, "pay the bill"), "GET /v1/contacts/{email}/ was answered 402"),
        (
            Route::Subscribe,
            Fault::status(422).json(odd).into(),
            "POST /v1/lists/{id}/subscribers/ was answered 422 (request_id r-7; fields phone)",
        ),
        (Route::ContactPatch, status(451, "by law"), "PATCH /v1/contacts/{email}/ was answered 451"),
    ];
    let count = i64::try_from(sesamys.len() + mailmojos.len()).unwrap();
    let mut expected = Vec::new();
    for (at, (route, fault, error)) in sesamys.into_iter().chain(mailmojos).enumerate() {
        let user = format!("u{at}");
        people(&town, &[&user]);
        let rule = Rule::on(route, fault).times(1);
        match route {
            Route::Profile | Route::Contracts | Route::Entitlements => sesamy.inject(rule),
            _ => mailmojo.inject(rule),
        }
        if route == Route::ContactPatch {
            mailmojo.put_contact(contact(&address(&user)).tags(["sesamy_old"]).on_list(LIST));
        }
        town.sync(&user).await;

        assert_eq!(told(&town, &user, "outcome"), ["parked"], "{error}");
        let line = &town.service.output.syncs_of(&user)[0];
        assert_eq!((&line["reason"], &line["level"]), (&"permanent".into(), &"ERROR".into()));
        assert!(line["error"].as_str().unwrap().contains(error), "{error:?} is not in {line}");
        let kept = text(&town, &format!("SELECT error FROM users WHERE user_id = '{user}'")).unwrap();
        assert_eq!(line["error"], kept);
        expected.push(user);
    }
    town.parked(count).await;
    // The first count of this service, so it is not one from before.
    let (status, ready) = town.service.get("/readyz").await;
    assert_eq!(status, 200, "users who are parked are no reason to send events elsewhere");
    assert_eq!(ready["queue"]["rows"]["parked"], count);
    let metrics = town.service.metrics().await;
    for line in [
        format!(r#"sesamy_mailmojo_syncs_total{{outcome="parked",reason="permanent"}} {count}"#),
        format!(r#"sesamy_mailmojo_queue_rows{{state="parked"}} {count}"#),
    ] {
        assert!(metrics.contains(&line), "{line} is not in\n{metrics}");
    }

    let all: Vec<&str> = expected.iter().map(String::as_str).collect();
    events(&town, &all).await;
    town.settled().await;
    for user in all {
        let line = town.service.output.syncs_of(user)[1].clone();
        assert!(line["outcome"] == "created" || line["outcome"] == "updated", "{line}");
        assert_eq!(line["attempt"], 1);
    }
    let traces =
        "SELECT count(*) FROM users WHERE parked_at IS NOT NULL OR error IS NOT NULL OR answer IS NOT NULL";
    assert_eq!(town.query(traces), Ok(0));
}

#[tokio::test]
async fn an_event_starts_a_parked_user_afresh_and_no_retry_does() {
    let town = Town::with(&[AT_ONCE]).await;
    people(&town, &["a", "b"]);
    let profile = |fault: Fault| Rule::on(Route::Profile, fault).about("a");
    town.sandbox.sesamy.inject(profile(Fault::status(500).into()).times(2));
    town.sandbox.sesamy.inject(profile(Fault::status(422).into()).times(1));
    town.sync("a").await;
    assert_eq!(told(&town, "a", "attempt"), [1, 2, 3]);
    assert_eq!(told(&town, "a", "outcome"), ["failed", "failed", "parked"]);
    town.sync("b").await;

    town.sandbox.sesamy.inject(profile(Fault::status(500).into()).times(1));
    town.sync("a").await;
    assert_eq!(told(&town, "a", "attempt"), [1, 2, 3, 1, 2], "no attempts are counted any more");
    assert_eq!(told(&town, "a", "outcome")[3..], ["failed", "created"]);
}

#[tokio::test]
async fn an_event_during_the_sync_that_parks_makes_the_user_due_instead() {
    let town = Town::with(&[AT_ONCE]).await;
    people(&town, &["a"]);
    town.sandbox.mailmojo.inject(Rule::on(Route::Subscribe, Fault::status(422)).times(1));
    let held = town.sandbox.mailmojo.hold_answer(Route::Subscribe);
    events(&town, &["a"]).await;
    held.arrived().await;
    events(&town, &["a"]).await;
    held.release();
    synced(&town, "a", "created", 1).await;
    town.settled().await;
    assert_eq!(told(&town, "a", "outcome")[1..], ["created"]);
    assert_eq!(told(&town, "a", "attempt"), [1, 1]);
}

#[tokio::test]
async fn a_404_in_json_is_an_answer_wherever_there_can_be_nothing() {
    let town = Town::with(&[AT_ONCE]).await;
    let kari = user("kari").email(&address("kari")).contract(contract("c1"));
    town.sandbox.sesamy.put_user(kari.entitlement(entitlement("e1", "plus")));
    town.sandbox.sesamy.inject(Rule::on(Route::Contracts, Fault::status(404)).times(1));
    town.sync("kari").await;
    assert_eq!(
        town.contact(&address("kari")).tags,
        ["sesamy_active_entitlement_plus", "sesamy_active_sku_plus"],
        "no contracts"
    );
    town.sandbox.sesamy.inject(Rule::on(Route::Entitlements, Fault::status(404)).times(1));
    town.sync("kari").await;
    assert_eq!(town.contact(&address("kari")).tags, ["sesamy_active_subscriber"], "no entitlements");

    town.sync("nobody").await;
    assert_eq!(told(&town, "nobody", "reason"), ["user_not_found"]);
    assert_eq!(told(&town, "kari", "outcome"), ["created", "updated"]);
    assert!(
        lines_at(&town, "WARN").iter().all(|line| line["outcome"].is_null()),
        "none of these is a failure"
    );
}

#[tokio::test]
async fn a_list_that_is_not_there_parks_and_names_the_setting() {
    let town = Town::with(&[AT_ONCE, ("MAILMOJO__LIST_ID", "99")]).await;
    people(&town, &["a"]);
    town.sync("a").await;
    let line = synced(&town, "a", "parked", 1).await;
    assert_eq!(line["error"], "mailmojo: there is no list 99; check mailmojo.list_id");
    assert_eq!(town.sandbox.count(Route::Subscribe), 1);
}
