//! The contract over a real socket, in raw bytes. What needs a queue that keeps is told in `tests/`.

pub(crate) mod client;
mod log;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderName;
use secrecy::SecretString;

use self::client::{Answer, Server};
use super::*;
use crate::clock::Millis;
use crate::queue::Role;
use crate::queue::{QueuePolicy, Rates};
use crate::upstream::{PerApi, Quota};

const TOKEN: &str = "a-token-of-some-length";
const EVENT: &str =
    r#"{"eventType":"contract.1#purchased","vendorId":"vendor_1","userId":"email|kari@example.com"}"#;

/// A queue that is closed and keeps nothing.
async fn closed_queue() -> Queue {
    let folder = tempfile::tempdir().unwrap();
    let second = Duration::from_secs(1);
    let quota = Quota { per_minute: NonZeroU32::MIN, burst: NonZeroU32::MIN };
    let rates =
        Rates { quotas: PerApi { sesamy: quota, mailmojo: quota }, calls: PerApi { sesamy: 1, mailmojo: 1 } };
    let options = QueuePolicy {
        debounce: second,
        lease: second,
        request_timeout: second,
        furthest_due: second,
        dry_run: false,
        rates,
    };
    let queue =
        Queue::open_sqlite(&folder.path().join("queue.db"), Role::Service, options, Clock::system(), 1)
            .unwrap();
    queue.close().await;
    queue
}

async fn app() -> ServerState {
    let header = HeaderName::from_static("x-sesamy-signature");
    let auth =
        Authenticator::new(vec![SecretString::from(TOKEN)], vec![SecretString::from("s")], header, false);
    ServerState {
        queue: closed_queue().await,
        auth: Arc::new(auth),
        vendor_id: Some(Arc::from("vendor_1")),
        body_limit_bytes: 1_000,
        heartbeat: Heartbeat::default(),
        pause: Pause::default(),
        gates: crate::worker::Gates::each(|api| Arc::new(crate::upstream::Gate::new(api, Clock::system()))),
        metrics: Arc::new(|| "sesamy_mailmojo_up 1\n".to_owned()),
        draining: CancellationToken::new(),
        clock: Clock::manual(Millis(1_762_776_000_000)),
    }
}

async fn server() -> Server {
    Server::start(router(app().await), Limits::default()).await
}

/// A webhook with the right token and this body.
fn webhook(body: &str) -> String {
    post(&format!("Authorization: Bearer {TOKEN}\r\nContent-Length: {}\r\n", body.len()), body)
}

fn post(headers: &str, body: &str) -> String {
    format!("POST /webhooks/sesamy HTTP/1.1\r\nHost: x\r\n{headers}\r\n{body}")
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")
}

#[track_caller]
fn assert_problem(answer: &Answer, status: u16, kind: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{answer:?}");
    let document = answer.json();
    assert_eq!(document["type"], format!("urn:sesamy-mailmojo:problem:{kind}"));
    assert_eq!(document["status"], status);
    assert!(document["title"].as_str().is_some_and(|title| !title.is_empty()), "{document}");
    assert!(document["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{document}");
    assert!(!answer.body.contains("kari"), "{document}");
}

#[tokio::test]
async fn an_event_that_cannot_be_kept_is_answered_503_and_when_to_come_back() {
    let answer = server().await.ask(&webhook(EVENT)).await;
    assert_problem(&answer, 503, "queue-unavailable");
    assert_eq!(answer.header("retry-after"), Some("5"));
}

#[tokio::test]
async fn events_that_need_no_sync_are_answered_200_with_the_reason() {
    let server = server().await;
    for (body, reason) in [
        (r#"{"eventType":"odd","vendorId":"vendor_1","userId":7}"#, "unknown_event_type"),
        (r#"{"eventType":"contract.1#update","vendorId":"vendor_1"}"#, "no_user_id"),
    ] {
        let answer = server.ask(&webhook(body)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.body, format!(r#"{{"status":"ignored","reason":"{reason}"}}"#));
    }
}

#[tokio::test]
async fn bad_bodies_are_answered_by_what_is_wrong() {
    let server = server().await;
    let long_user = EVENT.replace("email|kari@example.com", &"x".repeat(257));
    for (body, status, kind) in [
        ("", 400, "invalid-event"),
        ("kari", 400, "invalid-event"),
        ("[]", 400, "invalid-event"),
        (r#"{"eventType":"","vendorId":"vendor_1"}"#, 400, "invalid-event"),
        (r#"{"eventType":"contract.1#update","userId":"kari"}"#, 403, "other-vendor"),
        (r#"{"eventType":"contract.1#update","vendorId":"vendor_1","userId":5}"#, 400, "invalid-event"),
        (r#"{"eventType":"contract.1#update","vendorId":"vendor_1","userId":"a\nb"}"#, 400, "invalid-event"),
        (&long_user, 400, "invalid-event"),
    ] {
        assert_problem(&server.ask(&webhook(body)).await, status, kind);
    }
}

#[tokio::test]
async fn nobody_gets_in_without_a_valid_credential() {
    let server = server().await;
    let length = format!("Content-Length: {}\r\n", EVENT.len());
    for credentials in [
        &b""[..],
        b"Authorization: Bearer wrong\r\n",
        b"Authorization: Bearer \xff\xfe\r\n",
        b"X-Sesamy-Signature: abcd\r\n",
        b"X-Sesamy-Signature: \xe6\xf8\r\n",
        b"Authorization: Bearer\r\n",
    ] {
        let start = [b"POST /webhooks/sesamy HTTP/1.1\r\nHost: x\r\n", length.as_bytes()].concat();
        let answer = server.ask_bytes(&[&start, credentials, b"\r\n", EVENT.as_bytes()].concat()).await;
        assert_problem(&answer, 401, "unauthorized");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    }
    // Refused before the body is looked at.
    let answer = server.ask(&post("Content-Length: 8\r\n", "not json")).await;
    assert_problem(&answer, 401, "unauthorized");
}

#[tokio::test]
async fn a_signature_over_the_raw_bytes_lets_in() {
    use hmac::{Hmac, KeyInit, Mac};
    let body = r#"{ "eventType" : "odd", "vendorId": "vendor_1" }"#;
    let mac = Hmac::<sha2::Sha256>::new_from_slice(b"s").unwrap().chain_update(body);
    let signature = hex::encode(mac.finalize().into_bytes());
    let headers = format!("X-Sesamy-Signature: sha256={signature}\r\nContent-Length: {}\r\n", body.len());
    assert_eq!(server().await.ask(&post(&headers, body)).await.status, 200);
}

#[tokio::test]
async fn a_body_over_the_limit_is_answered_413_before_anything_else() {
    let server = server().await;
    let announced_only = server.ask(&post("Content-Length: 1001\r\n", "")).await;
    assert_problem(&announced_only, 413, "body-too-large");
    let unbelievable = server.ask(&post("Content-Length: 18446744073709551000\r\n", "")).await;
    assert_problem(&unbelievable, 413, "body-too-large");
    let asked_first = server.ask(&post("Content-Length: 1001\r\nExpect: 100-continue\r\n", "")).await;
    assert_problem(&asked_first, 413, "body-too-large");
    let chunk = format!("1f4\r\n{}\r\n", "x".repeat(500));
    let chunked =
        server.ask(&post("Transfer-Encoding: chunked\r\n", &format!("{}0\r\n\r\n", chunk.repeat(3)))).await;
    assert_problem(&chunked, 413, "body-too-large");
}

#[tokio::test]
async fn a_huge_body_is_answered_413_however_much_of_it_is_sent_first() {
    let server = server().await;
    let body = "x".repeat(20_000_000);
    for headers in
        [format!("Content-Length: {}\r\n", body.len()), "Transfer-Encoding: chunked\r\n".to_owned()]
    {
        let body = if headers.starts_with('T') {
            format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len())
        } else {
            body.clone()
        };
        assert_problem(&server.ask(&post(&headers, &body)).await, 413, "body-too-large");
    }
}

#[tokio::test]
async fn a_body_of_exactly_the_limit_is_read_whole_or_chunked() {
    let server = server().await;
    let body = format!("{}{}", r#"{"eventType":"odd","vendorId":"vendor_1"}"#, " ".repeat(1_000 - 41));
    assert_eq!(body.len(), 1_000);
    assert_eq!(server.ask(&webhook(&body)).await.status, 200);
    let chunks: String = body
        .as_bytes()
        .chunks(7)
        .map(|c| format!("{:x}\r\n{}\r\n", c.len(), str::from_utf8(c).unwrap()))
        .collect();
    let headers = format!("Authorization: Bearer {TOKEN}\r\nTransfer-Encoding: chunked\r\n");
    assert_eq!(server.ask(&post(&headers, &format!("{chunks}0\r\n\r\n"))).await.status, 200);
}

#[tokio::test]
async fn who_waits_to_be_asked_for_the_body_is_asked() {
    let body = r#"{"eventType":"odd","vendorId":"vendor_1"}"#;
    let headers = format!(
        "Authorization: Bearer {TOKEN}\r\nExpect: 100-continue\r\nContent-Length: {}\r\n",
        body.len()
    );
    let mut caller = server().await.connect().await;
    caller.send(post(&headers, "").as_bytes()).await;
    assert_eq!(caller.answer().await.status, 100);
    caller.send(body.as_bytes()).await;
    assert_eq!(caller.answer().await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_answered_408_in_ten_seconds() {
    let mut caller = server().await.connect().await;
    let began = tokio::time::Instant::now();
    caller
        .send(post(&format!("Authorization: Bearer {TOKEN}\r\nContent-Length: 100\r\n"), "{").as_bytes())
        .await;
    assert_problem(&caller.answer().await, 408, "body-timeout");
    assert!((10..11).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    assert!(caller.is_closed().await);
}

#[tokio::test]
async fn a_body_that_ends_too_early_is_answered_400() {
    let mut caller = server().await.connect().await;
    caller
        .send(post(&format!("Authorization: Bearer {TOKEN}\r\nContent-Length: 100\r\n"), "{}").as_bytes())
        .await;
    caller.says_no_more().await;
    assert_problem(&caller.answer().await, 400, "invalid-event");
}

#[tokio::test]
async fn unknown_paths_and_methods_are_problems_and_405_names_what_is_allowed() {
    let server = server().await;
    for path in
        ["/", "/webhooks", "/webhooks/sesamy/", "/healthz/", "/kari@example.com?token=kari", "//", "/%ff"]
    {
        assert_problem(&server.ask(&get(path)).await, 404, "not-found");
    }
    for (line, allow) in [
        ("GET /webhooks/sesamy", "POST"),
        ("PUT /webhooks/sesamy", "POST"),
        ("ODD /webhooks/sesamy", "POST"),
        ("POST /healthz", "GET,HEAD"),
        ("DELETE /readyz", "GET,HEAD"),
        ("OPTIONS /metrics", "GET,HEAD"),
    ] {
        let answer = server.ask(&format!("{line} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        assert_problem(&answer, 405, "method-not-allowed");
        assert_eq!(answer.header("allow"), Some(allow), "{line}");
    }
    let answer = server.ask_head("HEAD /webhooks/sesamy HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")));
}

#[tokio::test]
async fn health_and_metrics_are_answered_also_to_head() {
    let server = server().await;
    let health = server.ask(&get("/healthz")).await;
    assert_eq!((health.status, health.body.as_str()), (200, r#"{"status":"ok"}"#));
    assert_eq!(health.header("content-type"), Some("application/json"));
    let metrics = server.ask(&get("/metrics")).await;
    assert_eq!((metrics.status, metrics.body.as_str()), (200, "sesamy_mailmojo_up 1\n"));
    assert_eq!(metrics.header("content-type"), Some("text/plain; version=0.0.4"));
    for path in ["/healthz", "/metrics"] {
        let head = server.ask_head(&format!("HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        assert_eq!(head.status, 200);
        assert_ne!(head.header("content-length"), Some("0"));
    }
}

#[tokio::test(start_paused = true)]
async fn health_is_503_once_the_workers_loop_has_not_turned_for_thirty_seconds() {
    let server = server().await;
    tokio::time::advance(Duration::from_secs(29)).await;
    assert_eq!(server.ask(&get("/healthz")).await.status, 200);
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_problem(&server.ask(&get("/healthz")).await, 503, "worker-stalled");
}

#[tokio::test]
async fn readiness_tells_the_state_also_where_it_is_bad() {
    let app = app().await;
    let server = Server::start(router(app.clone()), Limits::default()).await;
    let not_accepting = server.ask(&get("/readyz")).await;
    assert_eq!(not_accepting.status, 503);
    let state = not_accepting.json();
    assert_eq!(state["status"], "not_accepting");
    assert_eq!(state["queue"]["accepting"], false);
    assert!(state["queue"]["rows"].is_null(), "{state}");
    assert_eq!(state["now"], "2025-11-10T12:00:00Z");
    assert!(state["apis"].is_array(), "{state}");

    app.draining.cancel();
    let draining = server.ask(&get("/readyz")).await;
    assert_eq!((draining.status, &draining.json()["status"]), (503, &"draining".into()));
}

#[tokio::test]
async fn a_panic_is_answered_500_and_the_next_request_is_served() {
    let mut app = app().await;
    app.metrics = Arc::new(|| panic!("kari"));
    let server = Server::start(router(app), Limits::default()).await;
    assert_problem(&server.ask(&get("/metrics")).await, 500, "internal");
    assert_eq!(server.ask(&get("/healthz")).await.status, 200);
}
