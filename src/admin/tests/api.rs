//! The JSON API.

use serde_json::json;

use super::*;
use crate::admin::desk::DeskError;
use crate::admin::tests::desk::REASON;

const KARI: &str = "email%7C84cccf985de28a2a84824786";

#[tokio::test]
async fn only_a_token_opens_the_api_and_never_a_session() {
    let stage = Stage::start().await;
    let cookie = stage.login(TOKEN).await;
    for headers in [
        String::new(),
        cookie,
        bearer("an-admin-token-of-some-lengt"),
        bearer(""),
        format!("Authorization: Basic {TOKEN}\r\n"),
        format!("X-Token: {TOKEN}\r\n"),
    ] {
        for path in ["status", "users", "users/x", "users/%ff", "settings", "nowhere"] {
            let answer = stage.get(&format!("/admin/api/{path}"), &headers).await;
            problem(&answer, 401, "unauthorized");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
            assert!(!answer.body.contains("an-admin"), "{answer:?}");
        }
        for path in ["queue/pause", "users/x/sync", "queue/retry"] {
            problem(&stage.post(&format!("/admin/api/{path}"), &headers, "{}").await, 401, "unauthorized");
        }
    }
    assert_eq!(stage.desk.ordered(), [""; 0]);
    for token in [TOKEN, OTHER_TOKEN] {
        let line = format!("Authorization: bEaReR {token}\r\n");
        assert_eq!(stage.get("/admin/api/status", &line).await.status, 200);
    }
}

#[tokio::test]
async fn the_status_and_the_counts_are_told() {
    let stage = Stage::start().await;
    let status = stage.api("GET status", "").await.json();
    assert_eq!(status["accepting"], true);
    assert_eq!(status["paused_at"], json!(null));
    assert_eq!(status["rows"]["parked"], 7);
    let mailmojo =
        json!({"api": "mailmojo", "state": "resting", "why": "rate_limit", "until": "2025-11-10T12:01:12Z"});
    assert_eq!(status["apis"][1], mailmojo);

    let hour = stage.api("GET counts", "").await.json();
    assert_eq!((&hour["span"], &hour["since"]), (&json!("hour"), &json!("2025-11-10T11:01:00Z")));
    assert_eq!(hour["minutes"][0]["minute"], "2025-11-10T11:01:00Z");
    let day = stage.api("GET counts?span=day", "").await.json();
    assert_eq!(day["since"], "2025-11-09T12:15:00Z");
    for wrong in ["counts?span=week", "counts?spam=day"] {
        problem(&stage.api(&format!("GET {wrong}"), "").await, 400, "invalid-request");
    }
}

#[tokio::test]
async fn users_are_listed_by_state_and_reason_and_page_by_page() {
    let stage = Stage::start().await;
    let ids = |answer: &Answer| {
        let users = answer.json()["users"].as_array().unwrap().clone();
        users.iter().map(|row| row["user"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let parked = stage.api("GET users?state=parked", "").await;
    assert_eq!(ids(&parked), ["<b>odd</b>", "email|84cccf985de28a2a84824786"]);
    assert_eq!(parked.json()["next"], json!(null));
    let first = stage.api("GET users?limit=2", "").await;
    assert_eq!(first.json()["next"], "auth0|65f1c0ffee");
    let rest = stage.api("GET users?limit=3&after=auth0%7C65f1c0ffee", "").await;
    assert_eq!((ids(&rest).len(), &rest.json()["next"]), (3, &json!(null)));
    assert_eq!(ids(&stage.api("GET users?reason=another", "").await).len(), 0);
    for (query, says) in [
        ("state=asleep", "none of due, leased"),
        ("limit=0", "from 1 to 500"),
        ("limit=501", "from 1 to 500"),
        ("limit=many", "from 1 to 500"),
        ("after=%0a", "after is no user id"),
        ("stat=parked", "none of state, reason, after and limit"),
    ] {
        let detail = problem(&stage.api(&format!("GET users?{query}"), "").await, 400, "invalid-request");
        assert!(detail.contains(says), "{detail}");
    }
}

#[tokio::test]
async fn a_user_is_told_with_its_history_and_its_preview() {
    let stage = Stage::start().await;
    let user = stage.api(&format!("GET users/{KARI}"), "").await.json();
    assert_eq!((&user["user"], &user["state"]), (&json!("email|84cccf985de28a2a84824786"), &json!("parked")));
    assert_eq!((&user["answer"], &user["parked_at"]), (&json!(REASON), &json!("2025-11-10T10:00:30Z")));
    assert_eq!(
        (&user["history"][0]["outcome"], &user["history"][2]["unchanged_times"]),
        (&json!("parked"), &json!(31))
    );
    let preview = stage.api(&format!("GET users/{KARI}/preview"), "").await.json();
    assert_eq!((&preview["plan"], &preview["tags"][1]["change"]), (&json!("update"), &json!("added")));
    assert_eq!(preview["request"]["method"], "PATCH");
    let reasons = stage.api("GET parked", "").await.json();
    assert_eq!(
        (&reasons["reasons"][0]["answer"], &reasons["reasons"][0]["count"]),
        (&json!(REASON), &json!(5))
    );
}

#[tokio::test]
async fn odd_user_ids_are_refused_with_a_clear_word_and_unknown_ones_are_not_found() {
    let stage = Stage::start().await;
    let long = "x".repeat(257);
    for (id, says) in [
        ("%0a", "control characters"),
        ("%2E", "relative path"),
        ("..%00", "control characters"),
        ("%ff%fe", "not UTF-8"),
        (long.as_str(), "longer than 256 bytes"),
    ] {
        for path in ["GET users/ID", "GET users/ID/preview", "POST users/ID/sync", "POST users/ID/retry"] {
            let answer = stage.api(&path.replace("ID", id), "").await;
            let detail = problem(&answer, 400, "invalid-request");
            assert!(detail.contains(says), "{path} {id}: {detail}");
        }
    }
    problem(&stage.api("GET users/nobody", "").await, 404, "unknown-user");
    problem(&stage.api("GET users/a%2Fb", "").await, 404, "unknown-user");
    problem(&stage.api("GET users/a/b", "").await, 404, "not-found");
    problem(&stage.api("GET users/", "").await, 404, "not-found");
    let answer = stage.api("GET queue/pause", "").await;
    problem(&answer, 405, "method-not-allowed");
    assert_eq!(answer.header("allow"), Some("POST"));
    assert_eq!(stage.desk.ordered(), [""; 0]);
}

#[tokio::test]
async fn what_is_ordered_is_done_and_counted() {
    let stage = Stage::start().await;
    let by_reason = json!({ "reason": REASON }).to_string();
    for (request, body, answer) in [
        ("POST queue/pause", "", json!({"status": "paused"})),
        ("POST queue/resume", "", json!({"status": "resumed"})),
        ("POST users/email%7C9001/retry", "", json!({"retried": 1})),
        ("POST queue/retry", &by_reason, json!({"retried": 5})),
        ("POST queue/retry", r#"{"all_parked":true}"#, json!({"retried": 7})),
    ] {
        assert_eq!(stage.api(request, body).await.json(), answer, "{request}");
    }
    assert_eq!(stage.api("POST users/email%7C9001/sync", "").await.json()["outcome"], "updated");
    let expected = [
        "pause",
        "resume",
        "retry email|9001",
        &format!("retry reason {REASON}"),
        "retry all",
        "sync email|9001",
    ];
    assert_eq!(stage.desk.ordered(), expected);
}

#[tokio::test]
async fn a_retry_of_many_has_to_say_of_whom() {
    let stage = Stage::start().await;
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
        problem(&stage.api("POST queue/retry", body).await, 400, "invalid-request");
    }
    let huge = json!({ "reason": "x".repeat(20_000) }).to_string();
    problem(&stage.api("POST queue/retry", &huge).await, 413, "body-too-large");
    assert_eq!(stage.desk.ordered(), [""; 0]);
}

#[tokio::test]
async fn what_cannot_be_done_is_a_problem_of_its_own_kind() {
    let stage = Stage::start().await;
    for (error, status, kind) in [
        (DeskError::UnknownUser, 404, "unknown-user"),
        (DeskError::Busy, 409, "user-busy"),
        (DeskError::Upstream("mailmojo rests".into()), 502, "upstream-failed"),
        (DeskError::Store("the disk is full".into()), 503, "queue-unavailable"),
    ] {
        *stage.desk.error.lock().unwrap() = Some(error);
        problem(&stage.api("POST users/email%7C9001/sync", "").await, status, kind);
        problem(&stage.api("GET status", "").await, status, kind);
    }
}

#[tokio::test]
async fn the_settings_are_told_without_secrets() {
    let stage = Stage::start().await;
    stage.passes(Duration::from_secs(90));
    let told = stage.api("GET settings", "").await.json();
    assert_eq!((&told["version"], &told["uptime_seconds"]), (&json!(env!("CARGO_PKG_VERSION")), &json!(90)));
    let expected = json!([
        {"name": "server.listen", "value": "0.0.0.0:8080", "hidden": 0, "origin": "in the defaults"},
        {"name": "admin.tokens", "value": null, "hidden": 2, "origin": "in the defaults"},
    ]);
    assert_eq!(told["settings"], expected);
}
