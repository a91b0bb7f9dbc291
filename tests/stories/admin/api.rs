//! The JSON API of the operations page.

use serde_json::{Value, json};
use sesamy_mailmojo::sandbox::{Fault, Route, Rule, user};

use crate::support::admin::{KARI, OTHER_TOKEN, Office, TOKEN, WORDS, bearer};
use crate::support::http::{Answer, Caller};

#[tokio::test]
async fn only_a_token_opens_the_api_and_never_a_session() {
    let office = Office::open().await;
    let cookie = office.login(TOKEN).await;
    for headers in [
        String::new(),
        cookie,
        bearer("an-admin-token-of-some-lengt"),
        bearer(crate::support::harness::TOKEN),
        bearer(""),
        format!("Authorization: Basic {TOKEN}\r\n"),
        format!("X-Token: {TOKEN}\r\n"),
    ] {
        for path in ["status", "users", "users/x", "users/%ff", "settings", "nowhere"] {
            let answer = office.get(&format!("/admin/api/{path}"), &headers).await;
            answer.is_problem(401, "unauthorized");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
            assert!(!answer.body.contains("an-admin"), "{answer:?}");
        }
        for path in ["queue/pause", "users/x/sync", "queue/retry"] {
            office.post(&format!("/admin/api/{path}"), &headers, "{}").await.is_problem(401, "unauthorized");
        }
    }
    assert!(!office.is_paused().await);
    for token in [TOKEN, OTHER_TOKEN] {
        let line = format!("Authorization: bEaReR {token}\r\n");
        assert_eq!(office.get("/admin/api/status", &line).await.status, 200);
    }
}

#[tokio::test]
async fn the_status_and_the_counts_are_told() {
    let office = Office::with_somebody_parked().await;
    let status = office.api("GET status", "").await.json();
    assert_eq!((&status["accepting"], &status["dry_run"]), (&json!(true), &json!(false)));
    assert_eq!((&status["paused_since"], &status["trouble"]), (&json!(null), &json!(null)));
    assert_eq!(status["rows"]["parked"], 1);
    assert_eq!(status["resync"], json!({"due": 0, "oldest_overdue_seconds": 0}));
    assert_eq!(status["apis"][1], json!({"api": "mailmojo", "state": "ok", "why": null, "until": null}));

    for span in ["counts", "counts?span=hour", "counts?span=day"] {
        let told = office.api(&format!("GET {span}"), "").await.json();
        let of = |outcome: &str| -> i64 {
            let all = told["minutes"].as_array().unwrap().iter().filter(|it| it["outcome"] == outcome);
            all.map(|it| it["count"].as_i64().unwrap()).sum()
        };
        assert_eq!((of("parked"), of("created")), (1, 1), "{told}");
        assert!(told["since"].as_str().unwrap() < told["minutes"][0]["minute"].as_str().unwrap(), "{told}");
    }
    for wrong in ["counts?span=week", "counts?spam=day"] {
        office.api(&format!("GET {wrong}"), "").await.is_problem(400, "invalid-request");
    }
}

fn ids(answer: &Answer) -> Vec<Value> {
    answer.json()["users"].as_array().unwrap().iter().map(|row| row["user_id"].clone()).collect()
}

#[tokio::test]
async fn users_are_listed_by_state_and_reason_and_page_by_page() {
    let office = Office::with_somebody_parked().await;
    let parked = office.api("GET users?state=parked", "").await;
    assert_eq!((ids(&parked), &parked.json()["next"]), (vec![json!("email|kari")], &json!(null)));
    assert_eq!(ids(&office.api("GET users?reason=FIELDS+phone", "").await), ["email|kari"]);
    assert_eq!(ids(&office.api("GET users?reason=another", "").await), [""; 0]);
    let first = office.api("GET users?limit=1", "").await;
    assert_eq!((ids(&first), &first.json()["next"]), (vec![json!("email|kari")], &json!("email|kari")));
    let second = office.api("GET users?limit=1&after=email%7Ckari", "").await;
    assert_eq!((ids(&second), &second.json()["next"]), (vec![json!("email|ola")], &json!(null)));
    for (query, says) in [
        ("state=asleep", "none of due, leased"),
        ("limit=0", "from 1 to 500"),
        ("limit=501", "from 1 to 500"),
        ("limit=many", "from 1 to 500"),
        ("stat=parked", "none of state, reason, after and limit"),
    ] {
        let answer = office.api(&format!("GET users?{query}"), "").await;
        answer.is_problem(400, "invalid-request");
        assert!(answer.json()["detail"].as_str().unwrap().contains(says), "{answer:?}");
    }
}

#[tokio::test]
async fn a_user_is_told_with_its_history_and_its_preview() {
    let office = Office::with_somebody_parked().await;
    let user = office.user(KARI).await;
    assert_eq!((&user["user_id"], &user["state"]), (&json!("email|kari"), &json!("parked")));
    assert!(user["answer"].as_str().unwrap().contains(WORDS) && user["parked_at"].is_string(), "{user}");
    let last = &user["history"][0];
    assert_eq!(
        (&last["outcome"], &last["reason"], &last["times"]),
        (&json!("parked"), &json!("permanent"), &json!(1))
    );
    let preview = office.api(&format!("GET users/{KARI}/preview"), "").await.json();
    assert_eq!((&preview["outcome"], &preview["request"]["method"]), (&json!("updated"), &json!("PATCH")));
    let reasons = office.api("GET parked", "").await.json();
    assert_eq!(
        (&reasons["reasons"][0]["answer"], &reasons["reasons"][0]["users"]),
        (&user["answer"], &json!(1))
    );
    assert_eq!(reasons["reasons"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn odd_user_ids_are_refused_with_a_clear_word_and_unknown_ones_are_not_found() {
    let office = Office::open().await;
    let long = "x".repeat(257);
    for (id, says) in [
        ("%0a", "control characters"),
        ("%2E", "relative path"),
        ("..%00", "control characters"),
        ("%ff%fe", "not UTF-8"),
        (long.as_str(), "longer than 256 bytes"),
    ] {
        for path in ["GET users/ID", "GET users/ID/preview", "POST users/ID/sync", "POST users/ID/retry"] {
            let answer = office.api(&path.replace("ID", id), "").await;
            answer.is_problem(400, "invalid-request");
            assert!(answer.json()["detail"].as_str().unwrap().contains(says), "{path} {id}: {answer:?}");
        }
    }
    for unknown in ["GET users/nobody", "GET users/a%2Fb", "POST users/nobody/retry"] {
        office.api(unknown, "").await.is_problem(404, "unknown-user");
    }
    for wrong in ["GET users/a/b", "GET users/", "GET nowhere"] {
        office.api(wrong, "").await.is_problem(404, "not-found");
    }
    let answer = office.api("GET queue/pause", "").await;
    answer.is_problem(405, "method-not-allowed");
    assert_eq!(answer.header("allow"), Some("POST"));
}

#[tokio::test]
async fn users_are_synced_and_retried_by_id() {
    let office = Office::with_somebody_parked().await;
    assert_eq!(office.api("POST users/email%7Cola/retry", "").await.json(), json!({"retried": 0}));
    assert_eq!(office.api(&format!("POST users/{KARI}/retry"), "").await.json(), json!({"retried": 1}));
    office.user_is(KARI, "idle").await;
    let synced = office.api(&format!("POST users/{KARI}/sync"), "").await.json();
    assert_eq!((&synced["outcome"], &synced["error"]), (&json!("unchanged"), &json!(null)));
    assert_eq!(office.user(KARI).await["history"][0]["unchanged_times"], 1);
}

#[tokio::test]
async fn many_are_retried_by_reason_by_answer_or_all_and_only_if_it_is_said_whom() {
    for how in ["reason", "answer", "all_parked"] {
        let office = Office::with_somebody_parked().await;
        let answer = office.user(KARI).await["answer"].clone();
        for body in [
            "",
            "{}",
            "[]",
            "all",
            r#"{"all_parked":false}"#,
            r#"{"reason":""}"#,
            r#"{"reason":" "}"#,
            r#"{"reason":"x","all_parked":true}"#,
            r#"{"all":true}"#,
            r#"{"reason":5}"#,
        ] {
            office.api("POST queue/retry", body).await.is_problem(400, "invalid-request");
        }
        let huge = json!({ "reason": "x".repeat(20_000) }).to_string();
        office.api("POST queue/retry", &huge).await.is_problem(413, "body-too-large");
        let none = json!({ "answer": "422" }).to_string();
        assert_eq!(office.api("POST queue/retry", &none).await.json(), json!({"retried": 0}));
        assert_eq!(office.user(KARI).await["state"], "parked");

        let body = match how {
            "reason" => json!({ "reason": "Fields Phone" }),
            "answer" => json!({ "answer": answer }),
            _ => json!({ "all_parked": true }),
        };
        let done = office.api("POST queue/retry", &body.to_string()).await;
        assert_eq!(done.json(), json!({"retried": 1}), "{how}");
        office.user_is(KARI, "idle").await;
    }
}

#[tokio::test]
async fn syncs_are_paused_and_resumed() {
    let office = Office::open().await;
    assert!(office.api("POST queue/pause", "").await.json()["paused_since"].is_string());
    office.api("POST users/u1/sync", "").await.is_problem(503, "not-now");
    assert_eq!(office.api("POST queue/resume", "").await.json()["paused_since"], json!(null));
    assert_eq!(office.api("POST users/u1/sync", "").await.json()["reason"], "user_not_found");
}

#[tokio::test]
async fn a_user_who_is_being_synced_is_waited_for_but_not_for_ever() {
    let office = Office::with(&[("SYNC__REQUEST_TIMEOUT", "40s"), ("SYNC__DEADLINE", "60s")]).await;
    office.town.sandbox.sesamy.put_user(user("u1").email("kari@example.com"));
    let held = office.town.sandbox.mailmojo.hold_answer(Route::ContactGet);
    assert_eq!(office.town.event("contract.1#update", "u1").await, 202);
    held.arrived().await;
    office.api("POST users/u1/sync", "").await.is_problem(409, "user-busy");
    held.release();
    office.user_is("u1", "idle").await;
}

#[tokio::test]
async fn an_api_that_fails_is_told_and_parks_nobody() {
    let office = Office::open().await;
    office.town.sandbox.sesamy.put_user(user("u1").email("kari@example.com"));
    office.town.sandbox.sesamy.inject(Rule::on(Route::Profile, Fault::status(500)).times(2));
    let answer = office.api("GET users/u1/preview", "").await;
    answer.is_problem(502, "upstream-failed");
    assert!(answer.body.contains("sesamy: GET /management/users/{id}"), "{answer:?}");
    let synced = office.api("POST users/u1/sync", "").await.json();
    assert_eq!((&synced["outcome"], &synced["reason"]), (&json!("failed"), &json!("transient")));
    office.user_is("u1", "idle").await;
}

#[tokio::test]
async fn whoever_asks_for_a_sync_and_goes_away_has_it_all_the_same() {
    let office = Office::open().await;
    office.town.sandbox.sesamy.put_user(user("u1").email("kari@example.com"));
    let held = office.town.sandbox.mailmojo.hold_answer(Route::Subscribe);
    let mut caller = Caller::at(office.page).await;
    let head = format!(
        "POST /admin/api/users/u1/sync HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n{}",
        bearer(TOKEN)
    );
    caller.send(format!("{head}\r\n")).await;
    held.arrived().await;
    drop(caller);
    held.release();
    office.user_is("u1", "idle").await;
    assert_eq!(office.user("u1").await["history"][0]["outcome"], "created");
}

#[tokio::test]
async fn the_settings_are_told_without_secrets() {
    let office = Office::open().await;
    let told = office.api("GET settings", "").await.json();
    assert_eq!(told["version"], env!("CARGO_PKG_VERSION"));
    assert!(told["uptime_seconds"].is_u64());
    let of = |name: &str| {
        told["settings"].as_array().unwrap().iter().find(|it| it["name"] == name).unwrap().clone()
    };
    let tokens = json!({"name": "admin.tokens", "value": null, "hidden": 2, "origin": "in the environment"});
    assert_eq!(of("admin.tokens"), tokens);
    assert_eq!(
        (&of("sync.debounce")["value"], &of("sync.deadline")["origin"]),
        (&json!("0s"), &json!("in the environment"))
    );
}
