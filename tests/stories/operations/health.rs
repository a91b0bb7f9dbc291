//! Health: what operators and their machines are told.

use sesamy_mailmojo::sandbox::{ComeAgain, Fault, Route, Rule, user};

use crate::support::harness::Town;
use crate::support::http::{Caller, ask, bare, event, webhook};

#[tokio::test]
async fn readyz_tells_the_state_of_the_queue_and_of_each_api_and_a_resting_api_is_no_503() {
    let town = Town::start().await;
    let (status, ready) = town.service.get("/readyz").await;
    assert_eq!(status, 200, "{ready}");
    assert_eq!(ready["status"], "ok");
    assert_eq!(ready["queue"]["accepting"], true);
    for state in ["due", "leased", "scheduled", "parked"] {
        assert_eq!(ready["queue"]["rows"][state], 0, "{ready}");
    }
    let apis = ready["apis"].as_array().unwrap();
    assert_eq!(apis.iter().map(|api| &api["api"]).collect::<Vec<_>>(), ["sesamy", "mailmojo"]);
    assert!(apis.iter().all(|api| api["state"] == "ok" && api["why"].is_null()), "{ready}");

    let rest = Fault::too_many_requests(ComeAgain::Seconds(600));
    town.sandbox.mailmojo.inject(Rule::on(Route::ContactGet, rest).times(1));
    town.sandbox.sesamy.put_user(user("u1").email("kari@example.com"));
    assert_eq!(town.event("contract.1#update", "u1").await, 202);
    town.service.output.wait_for("the sync's end", |line| line["outcome"] == "postponed").await;

    let answer = ask(&town.service, bare("GET /readyz")).await;
    let ready = answer.json();
    assert_eq!((answer.status, &ready["status"]), (200, &"ok".into()), "{ready}");
    assert_eq!(ready["apis"][0]["state"], "ok", "{ready}");
    let mailmojo = &ready["apis"][1];
    assert_eq!((&mailmojo["state"], &mailmojo["why"]), (&"resting".into(), &"rate_limit".into()), "{ready}");
    let time = |value: &serde_json::Value| value.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let rests = time(&mailmojo["until"]).duration_since(time(&ready["now"])).as_secs();
    assert!((500..=600).contains(&rests), "{ready}");
    assert!(!answer.body.contains("kari") && !answer.body.contains("u1"), "{ready}");
    // Events are kept all the same, and whoever asks after health is told of none of this.
    assert_eq!(town.event("contract.1#update", "u2").await, 202);
    assert_eq!(ask(&town.service, bare("GET /healthz")).await.body, r#"{"status":"ok"}"#);
}

#[tokio::test]
async fn while_the_service_stops_readyz_is_503_and_events_are_still_taken() {
    let mut town = Town::start().await;
    // Opened before, as a load balancer's connections are.
    let mut balancer = Caller::to(&town.service).await;
    balancer.send(bare("GET /readyz")).await;
    assert_eq!(balancer.answer().await.status, 200);

    town.service.terminate();
    town.service.output.wait_for("that it stops", |line| line["signal"] == "SIGTERM").await;
    // The line comes a moment before the state; a service that never tells hangs up on this loop.
    let answer = loop {
        balancer.send(bare("GET /readyz")).await;
        let answer = balancer.answer().await;
        if answer.status != 200 {
            break answer;
        }
    };
    assert_eq!((answer.status, &answer.json()["status"]), (503, &"draining".into()));
    balancer.send(webhook(event("contract.1#update", "u1"))).await;
    balancer.answer().await.is_accepted();
    ask(&town.service, webhook(event("contract.1#update", "u2"))).await.is_accepted();
    assert_eq!(ask(&town.service, bare("GET /healthz")).await.status, 200);

    assert_eq!(town.service.ended().await.code(), Some(0));
    assert_eq!(town.query("SELECT count(*) FROM users WHERE due_at IS NOT NULL"), Ok(2));
}
