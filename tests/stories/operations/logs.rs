//! The log: one line for each sync and one for each request, for programs or for people.

use std::process::Stdio;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sesamy_mailmojo::sandbox::{Fault, Route, Rule, contact, contract, user};

use crate::support::harness::{LIST, Output, SECRET, TOKEN, Town, command, http, signature};
use crate::support::shell::{changed, run};

const FIELDS: [&str; 8] =
    ["event_type", "outcome", "reason", "changed", "tags_added", "tags_removed", "attempt", "level"];

#[tokio::test]
async fn every_sync_leaves_one_line_that_tells_what_it_did() {
    let town = Town::start().await;
    let email = |name: &str| format!("{name}@example.com");
    for name in ["creates", "updates", "fails", "parks"] {
        let who = user(name).email(&email(name)).first_name("Kari").last_name("Nordmann");
        town.sandbox.sesamy.put_user(who.mobile_phone("+4799988777").contract(contract("c1")));
    }
    let known = contact(&email("updates")).first_name("K.").tags(["vip", "sesamy_old", "sesamy_older"]);
    town.sandbox.mailmojo.put_contact(known.on_list(LIST));
    for (name, fault) in [("fails", Fault::status(503)), ("parks", Fault::status(422).message("odd"))] {
        town.sandbox.mailmojo.inject(Rule::on(Route::ContactGet, fault).about(&email(name)).times(1));
    }

    for name in ["creates", "updates", "fails", "guest|1", "parks"] {
        assert_eq!(town.event("contract.1#purchased", name).await, StatusCode::ACCEPTED);
        town.settled().await;
    }
    assert_eq!(town.event("contract#cancelRequest", "creates").await, StatusCode::ACCEPTED);
    town.settled().await;

    let all = "first_name,last_name,phone,tags";
    let tag = "sesamy_active_subscriber";
    let (bought, cancelled) = ("contract.1#purchased", "contract#cancelRequest");
    assert_eq!(
        told(&town, "creates"),
        [
            json!([bought, "created", "", all, tag, "", 1, "INFO"]),
            json!([cancelled, "unchanged", "", "", "", "", 1, "INFO"]),
        ]
    );
    let updated =
        json!([bought, "updated", "", "last_name,phone,tags", tag, "sesamy_old,sesamy_older", 1, "INFO"]);
    assert_eq!(told(&town, "updates"), [updated]);
    assert_eq!(
        told(&town, "fails"),
        [
            json!([bought, "failed", "transient", "", "", "", 1, "WARN"]),
            json!([bought, "created", "", all, tag, "", 2, "INFO"]),
        ]
    );
    assert_eq!(told(&town, "guest|1"), [json!([bought, "skipped", "guest", "", "", "", 1, "INFO"])]);
    assert_eq!(told(&town, "parks"), [json!([bought, "parked", "permanent", "", "", "", 1, "ERROR"])]);
    let error = town.service.output.syncs_of("parks")[0]["error"].to_string();
    assert!(
        error.contains("GET /v1/contacts/{email}/ was answered 422") && !error.contains("odd"),
        "{error}"
    );
}

#[tokio::test]
async fn every_request_leaves_one_line() {
    let town = Town::start().await;
    let event = json!({"eventType": "contract.1#update", "userId": "kari"}).to_string();
    let [signed, wrong] = [SECRET, "another secret"].map(|secret| signature(secret, event.as_bytes()));
    let bearer = ("authorization", format!("Bearer {TOKEN}"));
    let hook = "/webhooks/sesamy";
    let requests = [
        (Method::POST, hook, bearer.clone(), event.as_str(), "accepted"),
        (Method::POST, hook, ("x-sesamy-signature", signed), &event, "accepted"),
        (Method::POST, hook, ("x-sesamy-signature", wrong), &event, "unauthorized"),
        (Method::POST, hook, bearer.clone(), "{", "invalid"),
        (Method::POST, hook, bearer.clone(), r#"{"eventType": "contract.1#update"}"#, "ignored"),
        (Method::GET, "/healthz", bearer.clone(), "", "ok"),
        (Method::GET, "/readyz", bearer.clone(), "", "ok"),
        (Method::GET, "/metrics", bearer.clone(), "", "ok"),
        (Method::GET, "/webhooks/sesamy", bearer.clone(), "", "method_not_allowed"),
        (Method::GET, "/nothing/here", bearer, "", "not_found"),
    ];
    let mut statuses = Vec::new();
    for (method, path, (header, value), body, _) in &requests {
        let request = http().request(method.clone(), town.service.url(path)).header(*header, value);
        statuses.push(request.body((*body).to_owned()).send().await.unwrap().status().as_u16());
    }
    let is_request = |line: &Value| line["message"] == "request";
    town.service.output.wait_for_nth(requests.len(), "all requests", is_request).await;

    let lines: Vec<Value> = town.service.output.lines().into_iter().filter(is_request).collect();
    assert_eq!(lines.len(), requests.len());
    for ((line, (method, path, _, _, result)), status) in lines.iter().zip(&requests).zip(statuses) {
        assert_eq!(line["method"], method.as_str(), "{line}");
        assert_eq!(line["path"], if *path == "/nothing/here" { "unknown" } else { path }, "{line}");
        assert_eq!(line["status"], status, "{line}");
        assert_eq!(line["result"], *result, "{line}");
        assert!(line["ms"].is_number(), "{line}");
    }
    assert_eq!(lines[0]["user_id"], "kari");
    assert_eq!(lines[0]["event_type"], "contract.1#update");
    town.settled().await;
}

#[tokio::test]
async fn serve_logs_to_standard_output_and_commands_to_standard_error() {
    let town = Town::start().await;
    let queue = format!("sqlite://{}", town.folder.path().join("other.db").display());
    for (format, is_json) in [("json", true), ("", true), ("pretty", false)] {
        // A token that is worth a warning.
        let settings = [("LOG__FORMAT", format), ("QUEUE__URL", &queue), ("WEBHOOK__BEARER_TOKENS", "short")];
        let settings = changed(town.settings(), &settings);
        let mut service = command().envs(&settings).stdin(Stdio::null()).spawn().unwrap();
        let stdout = Output::read(service.stdout.take().unwrap(), tokio::io::empty());
        let stderr = Output::read(service.stderr.take().unwrap(), tokio::io::empty());
        stdout.wait_for("its start", |line| line.to_string().contains("takes events")).await;
        service.kill().await.unwrap();
        assert_eq!(stderr.text(), "");
        assert!(stdout.lines().iter().all(|line| line.is_object() == is_json), "{format}: {}", stdout.text());
        assert!(stdout.text().contains("webhook.bearer_tokens"), "the warning: {}", stdout.text());
        assert!(!stdout.text().contains('\u{1b}'), "colours in a pipe");

        let check = run(&["check", "--json"], &settings).await;
        let _: Value = serde_json::from_str(&check.stdout).expect("nothing but the answer");
        assert!(check.stderr.contains("webhook.bearer_tokens"), "{}", check.stderr);
        let is_object = |line: &str| serde_json::from_str::<Value>(line).is_ok_and(|line| line.is_object());
        assert!(check.stderr.lines().all(|line| is_object(line) == is_json), "{format}: {}", check.stderr);
    }
}

#[tokio::test]
async fn the_level_is_a_filter() {
    let town = Town::with(&[("LOG__LEVEL", "info,sesamy_mailmojo::worker=off")]).await;
    town.service.get("/healthz").await; // at debug
    town.sync("guest|1").await; // the worker's
    assert_eq!(town.event("contract.1#update", "guest|2").await, StatusCode::ACCEPTED);
    let output = &town.service.output;
    output
        .wait_for("the last event", |line| line["message"] == "request" && line["user_id"] == "guest|2")
        .await;
    assert!(
        output.lines().iter().all(|line| line["level"] != "DEBUG" && line["message"] != "sync"),
        "{}",
        output.text()
    );
    town.settled().await;
}

/// What the lines of the syncs of `user` tell, the time aside.
fn told(town: &Town, user: &str) -> Vec<Value> {
    let lines = town.service.output.syncs_of(user);
    assert!(lines.iter().all(|line| line["ms"].is_u64() && line["message"] == "sync"), "{lines:#?}");
    lines.iter().map(|line| FIELDS.iter().map(|field| line[field].clone()).collect()).collect()
}
