//! Slow callers: connections that are opened and left, and requests that come drop by drop, keep nobody out.

use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::time::{Instant, timeout};

use crate::support::harness::{TOKEN, Town};
use crate::support::http::{Caller, ask, event, webhook};

/// A caller is answered at once: half of them within a second, and all within a few on a busy machine. Far less than the
/// 10 s after which slow ones are shown out, so that who had to wait for them would be seen.
const AT_ONCE: Duration = Duration::from_secs(5);
const HALF_OF_THEM: Duration = Duration::from_secs(1);

#[tokio::test]
async fn thousands_of_connections_that_are_left_half_open_keep_nobody_out() {
    let many = allow_open_files(8_192).saturating_sub(1_024).min(3_000);
    let town = Town::start().await;
    let half_a_body = format!(
        "POST /webhooks/sesamy HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 90\r\n\r\n{{\"ev"
    );
    let starts = ["", "PO", "POST /webhooks/sesamy HTTP/1.1\r\nHost: x\r\nX-Slow: ", &half_a_body];
    let mut left_open = Vec::new();
    let mut times = Vec::new();
    for number in 0..many {
        let mut caller = Caller::to(&town.service).await;
        caller.try_send(starts[number % starts.len()]).await; // it may have had to make room already
        left_open.push(caller);
        if number % 100 == 99 {
            times.push(waits_among_them(&town, number).await);
        }
    }
    for number in 0..10 {
        times.push(waits_among_them(&town, many + number).await);
    }
    times.sort();
    assert!(times[times.len() / 2] <= HALF_OF_THEM, "{times:?}");
    assert_eq!(timeout(AT_ONCE, town.service.get("/healthz")).await.unwrap().0, 200);
    assert_eq!(town.query("SELECT count(*) FROM users"), Ok(times.len().try_into().unwrap()));
    assert_eq!(left_open.len(), many);
}

/// How long a caller with an event of its own has to wait among the slow ones.
async fn waits_among_them(town: &Town, number: usize) -> Duration {
    let began = Instant::now();
    let request = webhook(event("contract.1#update", &format!("u{number}")));
    timeout(AT_ONCE, ask(&town.service, request)).await.expect("slow callers keep others out").is_accepted();
    began.elapsed()
}

/// Some systems allow a process 256 open files unless it asks; the service inherits what is allowed here. How many there
/// may be now: `enough`, or as many as the system lets us have.
fn allow_open_files(enough: u64) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let mut current = limit.current.unwrap_or(enough);
    if current < enough {
        current = limit.maximum.map_or(enough, |most| most.min(enough));
        setrlimit(Resource::Nofile, Rlimit { current: Some(current), ..limit }).unwrap();
    }
    current.try_into().unwrap_or(usize::MAX)
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
