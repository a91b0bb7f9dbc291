//! Slow callers: connections that are opened and left, and requests that come drop by drop, keep nobody out.

use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::time::{Instant, timeout};

use crate::town::{TOKEN, Town};
use crate::wire::{Caller, ask, event, webhook};

/// A caller is answered at once: within a second, or a few on a busy machine. Far less than the 10 s after which slow
/// ones are shown out, so that who had to wait for them would be seen.
const AT_ONCE: Duration = Duration::from_secs(5);

#[tokio::test]
async fn hundreds_of_connections_that_are_left_half_open_keep_nobody_out() {
    allow_many_open_files();
    let town = Town::start().await;
    let half_a_body = format!(
        "POST /webhooks/sesamy HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 90\r\n\r\n{{\"ev"
    );
    let starts = ["", "PO", "POST /webhooks/sesamy HTTP/1.1\r\nHost: x\r\nX-Slow: ", &half_a_body];
    let mut left_open = Vec::new();
    for number in 0..600 {
        let mut caller = Caller::to(&town.service).await;
        caller.send(starts[number % starts.len()]).await;
        left_open.push(caller);
    }
    for number in 0..10 {
        let request = webhook(event("contract.1#update", &format!("u{number}")));
        timeout(AT_ONCE, ask(&town.service, request))
            .await
            .expect("slow callers keep others out")
            .is_accepted();
    }
    assert_eq!(timeout(AT_ONCE, town.service.get("/healthz")).await.unwrap().0, 200);
    assert_eq!(town.query("SELECT count(*) FROM users"), Ok(10));
    assert_eq!(left_open.len(), 600);
}

/// Some systems allow a process 256 of them unless it asks; the service inherits what is allowed here.
fn allow_many_open_files() {
    const ENOUGH: u64 = 2_048;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < ENOUGH) {
        let current = limit.maximum.map_or(ENOUGH, |most| most.min(ENOUGH));
        setrlimit(Resource::Nofile, Rlimit { current: Some(current), ..limit }).unwrap();
    }
}

/// As long as the real limits are: ten seconds.
#[tokio::test]
async fn headers_and_bodies_that_come_drop_by_drop_are_answered_408_and_idle_connections_closed() {
    let town = Town::start().await;
    let began = Instant::now();
    let in_time = || {
        let passed = began.elapsed();
        assert!((5..40).contains(&passed.as_secs()), "{passed:?} instead of about 10 s");
    };
    let headers = async {
        let mut caller = Caller::to(&town.service).await;
        caller.send("POST /webhooks/sesamy HTTP/1.1\r\nHost: x\r\n").await;
        caller.answer_to_a_drip(b"X-Slow: y\r\n").await.is_problem(408, "headers-timeout");
        in_time();
    };
    let body = async {
        let mut caller = Caller::to(&town.service).await;
        let start = format!("Authorization: Bearer {TOKEN}\r\nContent-Length: 60000\r\n\r\n{{");
        caller.send(format!("POST /webhooks/sesamy HTTP/1.1\r\nHost: x\r\n{start}")).await;
        caller.answer_to_a_drip(b" ").await.is_problem(408, "body-timeout");
        in_time();
        assert!(caller.try_answer().await.is_none(), "the connection goes on in the middle of a body");
    };
    let idle = async {
        let mut caller = Caller::to(&town.service).await;
        caller.send(webhook(event("contract.1#update", "u1"))).await;
        caller.answer().await.is_accepted();
        assert!(caller.try_answer().await.is_none(), "an idle connection is closed without a word");
        in_time();
    };
    let others = async {
        while began.elapsed() < Duration::from_secs(6) {
            let request = webhook(event("contract.1#update", "u2"));
            timeout(AT_ONCE, ask(&town.service, request))
                .await
                .expect("slow callers keep others out")
                .is_accepted();
            tokio::time::sleep(Duration::from_millis(500)).await; // spread over the time in which the others are slow
        }
    };
    tokio::join!(headers, body, idle, others);
}
