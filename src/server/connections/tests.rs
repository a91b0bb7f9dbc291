use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use futures_util::FutureExt;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::limit::{ConnectionLimit, Permit};
use super::{Limits, listen};
use crate::server::tests::client::{Caller, Server};

const QUICK: &[u8] = b"GET /quick HTTP/1.1\r\nHost: x\r\n\r\n";
const SLOW: &[u8] = b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n";
const SLOW_WITH_BODY: &[u8] =
    b"POST /slow HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n";

/// A server whose `/slow` answers only when the test lets it; it and `/body` read their body first.
struct Inn {
    server: Server,
    begun: Arc<Semaphore>,
    may_end: Arc<Semaphore>,
}

impl Inn {
    async fn with(limits: Limits) -> Self {
        let (begun, may_end) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let (begins, ends) = (Arc::clone(&begun), Arc::clone(&may_end));
        let slow = move |_body: String| async move {
            begins.add_permits(1);
            ends.acquire().await.unwrap().forget();
            "done"
        };
        let router = Router::new()
            .route("/quick", get(|| async { "quick" }))
            .route("/slow", get(slow.clone()).post(slow))
            .route("/body", post(|body: String| async move { body }));
        Self { server: Server::start(router, limits).await, begun, may_end }
    }

    async fn with_seats(connections: usize) -> Self {
        Self::with(Limits { connections, ..Limits::default() }).await
    }

    /// A caller whose request is being answered.
    async fn busy_caller(&self) -> Caller {
        self.busy_caller_with(SLOW).await
    }

    async fn busy_caller_with(&self, request: &[u8]) -> Caller {
        let mut caller = self.server.connect().await;
        caller.send(request).await;
        self.begun.acquire().await.unwrap().forget();
        caller
    }

    /// A caller who has been served and stays connected.
    async fn idle_caller(&self) -> Caller {
        let mut caller = self.server.connect().await;
        caller.send(QUICK).await;
        assert_eq!(caller.answer().await.body, "quick");
        caller
    }

    async fn serves_somebody_new(&self) {
        assert_eq!(self.server.ask_bytes(QUICK).await.body, "quick");
    }
}

#[tokio::test(start_paused = true)]
async fn headers_that_do_not_come_whole_in_time_are_answered_408() {
    let inn = Inn::with(Limits::default()).await;
    let mut caller = inn.server.connect().await;
    let began = Instant::now();
    for byte in b"GET /q" {
        caller.send(&[*byte]).await; // each of them in time, but not the whole
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let answer = caller.answer().await;
    assert_eq!(answer.status, 408);
    assert_eq!(answer.json()["status"], 408);
    assert!(caller.is_closed().await);
    assert!((10..12).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn who_stands_idle_is_shown_out_without_a_word() {
    let inn = Inn::with(Limits::default()).await;
    let mut silent = inn.server.connect().await;
    let began = Instant::now();
    assert!(silent.is_closed().await);
    assert!((10..11).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());

    let mut served = inn.idle_caller().await;
    let began = Instant::now();
    assert!(served.is_closed().await);
    assert!((10..11).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_answer_may_take_longer_than_headers_may() {
    let inn = Inn::with(Limits::default()).await;
    let mut caller = inn.busy_caller().await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    inn.may_end.add_permits(1);
    assert_eq!(caller.answer().await.body, "done");
}

/// Linux alone: others may allow fewer, and say so nowhere.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn hundreds_who_come_before_anybody_is_let_in_are_not_dropped() {
    let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let mut callers = Vec::new();
    for number in 0..600 {
        // Who is dropped is only let in when somebody accepts, and nobody does.
        let caller = tokio::time::timeout(Duration::from_secs(10), TcpStream::connect(address)).await;
        callers.push(caller.unwrap_or_else(|_| panic!("caller {number} was dropped")).unwrap());
    }
}

#[tokio::test]
async fn headers_too_large_are_answered_431_and_a_path_too_long_414() {
    let inn = Inn::with(Limits::default()).await;
    let one = format!("GET /quick HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n", "x".repeat(20_000));
    assert_eq!(inn.server.ask(&one).await.status, 431);
    let huge = format!("GET /quick HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n", "x".repeat(20_000_000));
    assert_eq!(inn.server.ask(&huge).await.status, 431);
    let many = format!("GET /quick HTTP/1.1\r\nHost: x\r\n{}\r\n", "X: y\r\n".repeat(101));
    assert_eq!(inn.server.ask(&many).await.status, 431);
    inn.serves_somebody_new().await;
}

#[tokio::test]
async fn what_is_no_http_is_answered_400_and_stops_nobody() {
    let inn = Inn::with(Limits::default()).await;
    for nonsense in
        [&b"nonsense\r\n\r\n"[..], b"\x16\x03\x01\x02\x00\x01", b"GET /quick HTTP/1.1\r\nA\x00: b\r\n\r\n"]
    {
        assert_eq!(inn.server.ask_bytes(nonsense).await.status, 400);
    }
    let twice = b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxy";
    assert_eq!(inn.server.ask_bytes(twice).await.status, 400);
    inn.serves_somebody_new().await;
}

#[tokio::test]
async fn requests_on_one_connection_are_answered_in_their_order() {
    let inn = Inn::with(Limits::default()).await;
    let mut caller = inn.server.connect().await;
    let body = b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc";
    caller.send(&[QUICK, body, QUICK].concat()).await;
    for expected in ["quick", "abc", "quick"] {
        assert_eq!(caller.answer().await.body, expected);
    }
}

#[tokio::test]
async fn who_has_said_everything_and_hung_up_halfway_is_answered() {
    let inn = Inn::with(Limits::default()).await;
    let mut caller = inn.busy_caller().await;
    caller.says_no_more().await;
    inn.serves_somebody_new().await; // by then that has been heard
    inn.may_end.add_permits(1);
    assert_eq!(caller.answer().await.body, "done");
    assert!(caller.is_closed().await);
}

#[tokio::test]
async fn thousands_of_connections_opened_and_left_keep_nobody_out() {
    let inn = Inn::with_seats(8).await;
    let mut left = vec![];
    for _ in 0..400 {
        left.push(TcpStream::connect(inn.server.address).await.unwrap());
    }
    inn.serves_somebody_new().await;
}

#[tokio::test]
async fn requests_whose_bodies_never_come_keep_nobody_out() {
    let inn = Inn::with_seats(4).await;
    let mut left = vec![];
    for _ in 0..40 {
        let mut caller = inn.server.connect().await;
        caller.send(b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx").await;
        left.push(caller);
    }
    inn.serves_somebody_new().await;
    assert!(left[0].is_closed().await);
}

#[tokio::test]
async fn at_the_cap_who_has_been_idle_longest_makes_room() {
    let inn = Inn::with_seats(3).await;
    let (mut first, mut second, mut third) =
        (inn.idle_caller().await, inn.idle_caller().await, inn.idle_caller().await);
    first.send(QUICK).await; // now the second is the one that has been idle longest
    first.answer().await;
    inn.serves_somebody_new().await;
    assert!(second.is_closed().await);
    for stays in [&mut first, &mut third] {
        stays.send(QUICK).await;
        assert_eq!(stays.answer().await.body, "quick");
    }
}

#[tokio::test]
async fn at_the_cap_a_request_in_hand_is_never_cut_off() {
    let inn = Inn::with_seats(2).await;
    let mut one = inn.busy_caller().await;
    let mut other = inn.busy_caller_with(SLOW_WITH_BODY).await;
    let mut waiting = inn.server.connect().await;
    waiting.send(QUICK).await;
    let too_early = tokio::time::timeout(Duration::from_millis(50), waiting.answer()).await;
    assert!(too_early.is_err(), "{too_early:?}");
    inn.may_end.add_permits(1); // whoever is done makes room
    assert_eq!(waiting.answer().await.body, "quick");
    inn.may_end.add_permits(1);
    assert_eq!(one.answer().await.body, "done");
    assert_eq!(other.answer().await.body, "done");
}

#[tokio::test]
async fn at_the_cap_an_idle_caller_makes_room_before_a_busy_one() {
    let inn = Inn::with_seats(2).await;
    let mut busy = inn.busy_caller().await;
    let mut idle = inn.idle_caller().await;
    inn.serves_somebody_new().await;
    assert!(idle.is_closed().await);
    inn.may_end.add_permits(1);
    assert_eq!(busy.answer().await.body, "done");
}

#[tokio::test(start_paused = true)]
async fn a_stop_answers_what_has_begun_and_waits_for_nobody_else() {
    let inn = Inn::with(Limits::default()).await;
    let mut busy = inn.busy_caller().await;
    let mut idle = inn.idle_caller().await;
    let mut half = inn.server.connect().await;
    half.send(b"GET /qui").await;
    inn.serves_somebody_new().await; // by then the half has been read
    let began = Instant::now();
    inn.server.stop.cancel();
    assert!(idle.is_closed().await);
    assert!(half.is_closed().await);
    assert!(TcpStream::connect(inn.server.address).await.is_err());
    inn.may_end.add_permits(1);
    let answer = busy.answer().await;
    assert_eq!(answer.body, "done");
    assert_eq!(answer.header("connection"), Some("close"));
    inn.server.running.await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_after_its_time_whatever_is_in_hand() {
    let inn = Inn::with(Limits { drain: Duration::from_secs(3), ..Limits::default() }).await;
    let mut busy = inn.busy_caller().await;
    let began = Instant::now();
    inn.server.stop.cancel();
    inn.server.running.await.unwrap();
    assert_eq!(began.elapsed().as_secs(), 3);
    assert!(busy.is_closed().await);
}

#[tokio::test]
async fn who_begins_a_request_just_when_asked_to_leave_stays_and_another_leaves() {
    let limit = ConnectionLimit::new(2);
    let (older, younger) = (limit.admit().await, limit.admit().await);
    let mut cx = Context::from_waker(Waker::noop());
    let must_close = |permit: &Permit| permit.must_close().now_or_never().is_some();
    let mut next = pin!(limit.admit());
    assert!(next.as_mut().poll(&mut cx).is_pending());
    assert_eq!((must_close(&older), must_close(&younger)), (true, false));

    older.request_begins(false);
    assert!(next.as_mut().poll(&mut cx).is_pending());
    assert_eq!((must_close(&older), must_close(&younger)), (false, true));

    drop(younger);
    next.await;
}

#[tokio::test]
async fn a_body_read_to_its_end_after_the_answer_does_not_make_the_connection_busy() {
    let permit = ConnectionLimit::new(1).admit().await;
    permit.request_begins(true);
    permit.request_ends();
    permit.body_ends();
    assert!(permit.is_between_requests());
}
