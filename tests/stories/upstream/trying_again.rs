//! Trying again: whatever may work later costs an attempt, is tried again with backoff, and heals.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use sesamy_mailmojo::sandbox::{Fault, Route, Rule, contact};
use tokio::net::{TcpSocket, TcpStream};

use crate::support::faults::{address, events, people, synced, told};
use crate::support::harness::{LIST, Town};

/// No debounce: each of these stories is of one event at a time.
const AT_ONCE: (&str, &str) = ("SYNC__DEBOUNCE", "0s");

#[tokio::test]
async fn what_may_work_later_is_tried_again_until_it_does() {
    let town = Town::with(&[AT_ONCE]).await;
    let status = |status: u16| -> Fault { Fault::status(status).into() };
    let odd = |json: Value| Fault::wrong_shape(json);
    // Which call, what is wrong with it, and what the log says of it.
    let table: Vec<(Route, Fault, &str)> = vec![
        (Route::Profile, status(408), "sesamy: GET /management/users/{id} was answered 408 ("),
        (Route::Profile, status(425), "was answered 425"),
        (Route::Contracts, status(500), "sesamy: GET /management/contracts was answered 500"),
        (Route::Entitlements, Fault::status(502).html().into(), "was answered 502"),
        (Route::ContactGet, Fault::status(503).empty().into(), "mailmojo: GET /v1/contacts/{email}/ was"),
        (Route::ContactGet, status(599), "was answered 599"),
        (Route::Subscribe, status(504), "mailmojo: POST /v1/lists/{id}/subscribers/ was answered 504"),
        (Route::Profile, Fault::status(404).html().into(), "was answered 404"),
        (Route::ContactGet, Fault::status(404).empty().into(), "was answered 404"),
        (Route::Subscribe, Fault::status(404).html().into(), "was answered 404"),
        (Route::Contracts, Fault::status(404).html().into(), "was answered 404"),
        (Route::ContactGet, Fault::status(200).html().into(), "wrong shape: not JSON, at line 1, column 1"),
        (Route::Profile, Fault::CutJson, "wrong shape: not JSON, at line 1, column"),
        (Route::Profile, odd(json!({"userId": "another"})), "wrong shape: the profile names another user"),
        (Route::Contracts, odd(json!({"data": 5})), "wrong shape: a list is neither an array nor"),
        (Route::ContactGet, odd(json!({"email": 5})), "not of the published types, at line 1"),
        (Route::Entitlements, Fault::CutConnection, "GET /management/entitlements: the connection failed"),
        (Route::ContactGet, Fault::Close, "mailmojo: GET /v1/contacts/{email}/: the connection failed"),
        (Route::Profile, Fault::Huge(9 * 1024 * 1024), "the answer is longer than 8388608 bytes"),
    ];
    for (at, (route, fault, error)) in table.into_iter().enumerate() {
        let user = format!("u{at}");
        people(&town, &[&user]);
        let sandbox = &town.sandbox;
        let rule = Rule::on(route, fault).times(2);
        match route {
            Route::ContactGet | Route::Subscribe => sandbox.mailmojo.inject(rule),
            _ => sandbox.sesamy.inject(rule),
        }
        town.sync(&user).await;

        assert_eq!(told(&town, &user, "outcome"), ["failed", "failed", "created"], "{error}");
        assert_eq!(told(&town, &user, "reason"), ["transient", "transient", ""], "{error}");
        assert_eq!(told(&town, &user, "attempt"), [1, 2, 3], "{error}");
        let line = &town.service.output.syncs_of(&user)[0];
        assert!(line["error"].as_str().unwrap().contains(error), "{error:?} is not in {line}");
        assert_eq!(line["level"], "WARN");
        assert_eq!(town.contact(&address(&user)).list_status(LIST), Some("a"));
    }
    assert_eq!(town.query("SELECT count(*) FROM users WHERE attempts > 0 OR error IS NOT NULL"), Ok(0));
}

#[tokio::test]
async fn an_answer_that_does_not_come_or_comes_by_drops_is_not_waited_for() {
    let town = Town::with(&[AT_ONCE, ("SYNC__REQUEST_TIMEOUT", "1s"), ("SYNC__DEADLINE", "10s")]).await;
    people(&town, &["hang", "drip"]);
    town.sandbox.sesamy.inject(Rule::on(Route::Profile, Fault::Hang).about("hang").times(1));
    // Each byte comes soon after the one before: only a limit on the whole answer ends it.
    let drip = Fault::Drip(Duration::from_millis(200));
    town.sandbox.mailmojo.inject(Rule::on(Route::ContactGet, drip).about(&address("drip")).times(1));
    events(&town, &["hang", "drip"]).await;
    town.settled().await;

    for (user, call) in
        [("hang", "sesamy: GET /management/users/{id}"), ("drip", "mailmojo: GET /v1/contacts/{email}/")]
    {
        let first = synced(&town, user, "failed", 1).await;
        assert_eq!(first["error"], format!("{call}: no answer within the time limit"));
        assert!((1_000..5_000).contains(&first["ms"].as_u64().unwrap()), "{first}");
        synced(&town, user, "created", 1).await;
    }
}

#[tokio::test]
async fn an_api_that_refuses_connections_is_tried_again_until_it_takes_them() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap(); // bound and not listening: nobody else gets the port
    let closed = socket.local_addr().unwrap();
    let town = Town::with(&[AT_ONCE, ("MAILMOJO__API_URL", &format!("http://{closed}"))]).await;
    people(&town, &["u1"]);
    events(&town, &["u1"]).await;
    let refused = synced(&town, "u1", "failed", 3).await;
    let error = refused["error"].as_str().unwrap();
    assert!(error.starts_with("mailmojo: GET /v1/contacts/{email}/: cannot connect: "), "{error}");
    assert_eq!(refused["attempt"], 3);

    let open = socket.listen(64).unwrap();
    let mailmojo: SocketAddr = town.sandbox.mailmojo.url().trim_start_matches("http://").parse().unwrap();
    let relay = tokio::spawn(async move {
        loop {
            let (mut near, _) = open.accept().await.unwrap();
            tokio::spawn(async move {
                let mut far = TcpStream::connect(mailmojo).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await; // until either end goes
            });
        }
    });
    town.settled().await;
    assert_eq!(town.service.output.syncs_of("u1").last().unwrap()["outcome"], "created");
    relay.abort();
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_found_done_by_the_next_try() {
    let town = Town::with(&[AT_ONCE]).await;
    people(&town, &["new", "known"]);
    town.sandbox.mailmojo.put_contact(contact(&address("known")).tags(["vip", "sesamy_old"]).on_list(LIST));
    town.sandbox.mailmojo.inject(Rule::on(Route::Subscribe, Fault::done_then(Fault::Close)).times(1));
    town.sandbox.mailmojo.inject(Rule::on(Route::ContactPatch, Fault::done_then(Fault::Close)).times(1));
    town.sync("new").await;
    town.sync("known").await;

    for user in ["new", "known"] {
        assert_eq!(told(&town, user, "outcome"), ["failed", "unchanged"]);
    }
    assert_eq!(town.sandbox.writes(), 2);
    assert_eq!(town.contact(&address("known")).tags, ["vip"]);
}

#[tokio::test]
async fn a_contact_that_has_gone_before_its_patch_is_looked_up_again() {
    let town = Town::with(&[AT_ONCE]).await;
    people(&town, &["u1"]);
    town.sandbox.mailmojo.put_contact(contact(&address("u1")).tags(["sesamy_old"]).on_list(LIST));
    let patch = town.sandbox.mailmojo.hold(Route::ContactPatch);
    events(&town, &["u1"]).await;
    patch.arrived().await;
    town.sandbox.mailmojo.delete(&address("u1"));
    patch.release();
    town.settled().await;

    // Somebody has removed it: it is not made again, though the sync that saw it failed.
    assert_eq!(told(&town, "u1", "outcome"), ["failed", "skipped"]);
    assert_eq!(told(&town, "u1", "reason"), ["transient", "removed_in_mailmojo"]);
    assert_eq!(town.sandbox.mailmojo.contact(&address("u1")), None);
}

#[tokio::test]
async fn retries_are_spread_at_random_and_an_event_cuts_the_wait_short() {
    const HOUR_MS: i64 = 3_600_000;
    let town = Town::with(&[AT_ONCE, ("SYNC__BACKOFF_BASE", "1h"), ("SYNC__BACKOFF_CAP", "2h")]).await;
    let all = ["a", "b", "c", "d"];
    people(&town, &all);
    town.sandbox.sesamy.inject(Rule::on(Route::Profile, Fault::status(500)).times(4));
    let before = jiff::Timestamp::now().as_millisecond();
    events(&town, &all).await;
    town.wait_for_queue("SELECT count(*) FROM users WHERE attempts = 1 AND lease IS NULL", |n| n == 4).await;

    let waits = |what: &str| town.query(&format!("SELECT {what} FROM users")).unwrap();
    assert!(waits("max(due_at)") <= jiff::Timestamp::now().as_millisecond() + HOUR_MS);
    assert!(waits("max(due_at)") > before + HOUR_MS / 60, "four draws out of an hour, none above a minute");
    assert_eq!(waits("count(DISTINCT due_at / 1000)"), 4, "all four come back in different seconds");
    assert_eq!(town.sandbox.sesamy.count(Route::Profile), 4);

    events(&town, &all).await;
    town.settled().await;
    for user in all {
        assert_eq!(told(&town, user, "outcome"), ["failed", "created"]);
        assert_eq!(told(&town, user, "attempt"), [1, 2], "an event takes no attempt back");
    }
}

#[tokio::test]
async fn a_write_that_was_not_answered_in_time_does_not_meet_the_next_one() {
    let limit = Duration::from_millis(400);
    let town = Town::with(&[AT_ONCE, ("SYNC__REQUEST_TIMEOUT", "400ms")]).await;
    people(&town, &["late"]);
    town.sandbox.sesamy.set_field("late", "tags", json!(["vip"]));
    town.sandbox.mailmojo.put_contact(contact(&address("late")).on_list(LIST));
    town.sandbox.mailmojo.inject(Rule::on(Route::ContactPatch, Fault::Hang).times(1));
    let patch = town.sandbox.mailmojo.hold(Route::ContactPatch);
    events(&town, &["late"]).await;
    patch.arrived().await;
    patch.release();
    events(&town, &["late"]).await; // which would be due at once
    town.settled().await;

    assert_eq!(town.contact(&address("late")).tags, ["sesamy_tag_vip"]);
    let hung = town.sandbox.calls_to(Route::ContactPatch)[0].came;
    let next = town.sandbox.calls_to(Route::Profile)[1].came;
    assert!(next - hung >= 2 * limit, "the next sync began {:?} after the write", next - hung);
}

#[tokio::test]
async fn a_write_that_is_not_answered_holds_its_user_and_no_place() {
    let settings = [AT_ONCE, ("SYNC__REQUEST_TIMEOUT", "3s"), ("SYNC__CONCURRENCY", "1")];
    let town = Town::with(&settings).await;
    people(&town, &["late", "other"]);
    town.sandbox.mailmojo.inject(Rule::on(Route::Subscribe, Fault::Hang).about(&address("late")).times(1));
    let write = town.sandbox.mailmojo.hold_for(Route::Subscribe, &address("late"));
    events(&town, &["late"]).await;
    write.arrived().await;
    write.release();
    events(&town, &["other"]).await;
    synced(&town, "other", "created", 1).await;
    assert!(told(&town, "late", "outcome").is_empty(), "its user is still held");
    synced(&town, "late", "failed", 1).await;
    town.settled().await;
    assert_eq!(told(&town, "late", "attempt"), [1, 2]);
}
