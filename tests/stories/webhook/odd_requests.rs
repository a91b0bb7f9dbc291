//! Odd requests: lengths that lie, requests inside of requests, other protocols, and connections that are used to the
//! full. Each gets a 4xx, or an answer to what it plainly says, or is hung up on; never a 5xx, and nothing that somebody
//! has hidden in another request is kept.

use crate::support::harness::{TOKEN, Town};
use crate::support::http::{Answer, Caller, ask, bare, event, post, webhook};

/// What a caller gets who sends `request` and says no more, until the service hangs up.
async fn answers(town: &Town, request: impl AsRef<[u8]>) -> Vec<Answer> {
    let mut caller = Caller::to(&town.service).await;
    let mut answers = Vec::new();
    // It may hang up while somebody is still sending.
    if caller.try_send(request).await {
        caller.try_say_no_more().await;
    }
    while let Some(answer) = caller.try_answer().await {
        answers.push(answer);
    }
    answers
}

fn statuses(answers: &[Answer]) -> Vec<u16> {
    answers.iter().map(|answer| answer.status).collect()
}

/// A webhook with these header lines and this body as it is: no length is added.
fn raw(headers: &str, body: &str) -> String {
    format!(
        "POST /webhooks/sesamy HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n{headers}\r\n{body}"
    )
}

fn chunked(body: &str) -> String {
    format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len())
}

#[tokio::test]
async fn a_request_inside_of_another_is_never_taken_for_one() {
    let town = Town::start().await;
    let own = event("contract.1#update", "u1");
    let length = own.len();
    // What a front server that reads lengths in another way than we do would take for the body.
    let hidden = String::from_utf8(webhook(event("contract.1#update", "hidden"))).unwrap();
    let both = format!("0\r\n\r\n{hidden}");
    for request in [
        raw(
            &format!("Content-Length: {}\r\nContent-Length: {length}\r\n", length + 1),
            &format!("{own}{hidden}"),
        ),
        raw(&format!("Content-Length: {length}, {}\r\n", length + 1), &format!("{own}{hidden}")),
        raw("Transfer-Encoding: xchunked\r\n", &both),
        raw("Transfer-Encoding: chunked, identity\r\n", &both),
        raw("Transfer-Encoding: identity\r\n", &both),
        raw("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", &both),
        raw("Transfer-Encoding:\u{b}chunked\r\n", &both),
        raw("Transfer-Encoding : chunked\r\n", &both),
        raw("Transfer-Encoding\t: chunked\r\n", &both),
        raw(&format!("Content-Length : {length}\r\n"), &format!("{own}{hidden}")),
        raw("X: y\r\n Content-Length: 0\r\n", &both),
        raw(&format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n", both.len()), &both),
        raw(&format!("Transfer-Encoding: chunked\r\nContent-Length: {}\r\n", both.len()), &both),
        raw("X: a\rContent-Length: 0\r\n", &both),
    ] {
        let got = statuses(&answers(&town, &request).await);
        assert!(got.iter().all(|status| (400..500).contains(status)), "{got:?} to {request:?}");
        assert_eq!(town.query("SELECT count(*) FROM users"), Ok(0), "{request:?}");
    }
}

#[tokio::test]
async fn a_length_that_lies_spoils_nothing_but_its_own_request() {
    let town = Town::start().await;
    let own = event("contract.1#update", "u1");
    let of = |length: &str| raw(&format!("Content-Length: {length}\r\n"), &own);
    let too_long = (own.len() + 1).to_string();
    let cut_chunk = format!("{:x}\r\n{own}", own.len() + 1);
    for (request, expected) in [
        (of("-1"), 400),
        (of("+5"), 400),
        (of("0x5"), 400),
        (of("5.0"), 400),
        (of(""), 400),
        (of("five"), 400),
        (of("18446744073709551000"), 413),
        (of("18446744073709551615"), 431),
        (of("18446744073709551616"), 400),
        (of("99999999999999999999999999"), 400),
        (of("0"), 400),
        (of(&too_long), 400),
        (raw("Transfer-Encoding: chunked\r\n", &cut_chunk), 400),
        (raw("Transfer-Encoding: chunked\r\n", &format!("xyz\r\n{own}\r\n0\r\n\r\n")), 400),
        (raw("Transfer-Encoding: chunked\r\n", &format!("-5\r\n{own}\r\n0\r\n\r\n")), 400),
        (raw("Transfer-Encoding: chunked\r\n", &format!("fffffffffffffffff\r\n{own}\r\n0\r\n\r\n")), 400),
        (raw("Transfer-Encoding: chunked\r\n", &format!("2\r\n{own}\r\n0\r\n\r\n")), 400),
        (
            raw("Transfer-Encoding: chunked\r\n", &format!("1;{}\r\n{{\r\n0\r\n\r\n", "x".repeat(100_000))),
            400,
        ),
        (raw("", &own), 400),
    ] {
        let got = answers(&town, &request).await;
        assert_eq!(got.first().map(|it| it.status), Some(expected), "{request:.200?}");
        assert!(got.iter().all(|it| (400..500).contains(&it.status)), "{got:?}");
    }
    assert_eq!(town.query("SELECT count(*) FROM users"), Ok(0));

    // Too short: what it announces is an event, and what follows is no request.
    let request = raw(&format!("Content-Length: {}\r\n", own.len()), &format!("{own}trailing words\r\n\r\n"));
    assert_eq!(statuses(&answers(&town, request).await), [202, 400]);
    ask(&town.service, raw("Transfer-Encoding: Chunked\r\n", &chunked(&own))).await.is_accepted();
    assert_eq!(town.query("SELECT generation FROM users"), Ok(2));
}

#[tokio::test]
async fn a_connection_may_be_used_to_the_full_and_each_request_is_answered_in_its_order() {
    let town = Town::start().await;
    let mut caller = Caller::to(&town.service).await;
    let mut all = Vec::new();
    for number in 0..300 {
        all.extend(webhook(event("contract.1#update", &format!("u{number}"))));
        all.extend(bare("GET /nowhere"));
        all.extend(post("", "{}"));
    }
    // Sent whole before the first answer is looked at.
    caller.send(&all).await;
    for _ in 0..300 {
        caller.answer().await.is_accepted();
        caller.answer().await.is_problem(404, "not-found");
        caller.answer().await.is_problem(401, "unauthorized");
    }
    for _ in 0..1_000 {
        caller.send(bare("GET /healthz")).await;
        assert_eq!(caller.answer().await.status, 200);
    }
    assert_eq!(town.query("SELECT count(*) FROM users"), Ok(300));

    // What is in order before something that is not is done; what comes after it is not.
    let event = |user: &str| String::from_utf8(webhook(event("contract.1#update", user))).unwrap();
    let spoilt = format!("{}NONSENSE\r\n\r\n{}", event("before"), event("behind"));
    assert_eq!(statuses(&answers(&town, spoilt).await), [202, 400]);
    let closing = event("last").replace("Host: x", "Host: x\r\nConnection: close");
    assert_eq!(statuses(&answers(&town, format!("{closing}{}", event("behind"))).await), [202]);
    let names = "SELECT count(*) FROM users WHERE user_id";
    assert_eq!(town.query(&format!("{names} IN ('before', 'last')")), Ok(2));
    assert_eq!(town.query(&format!("{names} = 'behind'")), Ok(0));
}

#[tokio::test]
async fn what_speaks_another_protocol_or_an_odd_dialect_is_answered_by_what_it_plainly_says() {
    let town = Town::start().await;
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".repeat(40);
    let many: String = (0..101).map(|n| format!("X-{n}: y\r\n")).collect();
    let long = "x".repeat(70_000);
    let asks = |line: &str, headers: &str| format!("{line}\r\n{headers}\r\n").into_bytes();
    for (request, expected) in [
        (asks("GET /healthz HTTP/1.0", ""), &[200][..]),
        (asks("GET /healthz HTTP/1.0", "Connection: keep-alive\r\n"), &[200]),
        (asks("GET /healthz HTTP/1.1", ""), &[200]), // no Host: nothing here depends on it
        (asks("GET http://elsewhere.example.com/healthz HTTP/1.1", "Host: x\r\n"), &[200]),
        (asks("GET http://elsewhere.example.com HTTP/1.1", "Host: x\r\n"), &[404]),
        (asks("CONNECT elsewhere.example.com:443 HTTP/1.1", "Host: x\r\n"), &[404]),
        (asks("OPTIONS * HTTP/1.1", "Host: x\r\n"), &[404]),
        (asks("GET /healthz HTTP/1.1", "Host: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"), &[200]),
        (asks("GET /healthz HTTP/1.1", "Host: x\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"), &[200]),
        (asks("GET /healthz HTTP/1.1", "Host: x\r\nExpect: the-unexpected\r\n"), &[200]),
        (asks("\r\n\r\nGET /healthz HTTP/1.1", "Host: x\r\n"), &[200]),
        (b"GET /healthz HTTP/1.1\nHost: x\n\n".to_vec(), &[200]),
        (asks("GET healthz HTTP/1.1", "Host: x\r\n"), &[404]),
        (asks("GET /health\0z HTTP/1.1", "Host: x\r\n"), &[400]),
        (asks("GET /healthz HTTP/1.1", "Host: x\r\nX: a\0b\r\n"), &[400]),
        (asks("GET  /healthz HTTP/1.1", "Host: x\r\n"), &[400]),
        (asks("GET /healthz", ""), &[400]),
        (asks("GET /healthz HTTP/1.1", &many), &[431]),
        (asks("GET /healthz HTTP/1.1", &format!("X: {long}\r\n")), &[431]),
        (asks(&format!("GET /{long} HTTP/1.1"), ""), &[431]),
        (asks(&format!("{long} / HTTP/1.1"), ""), &[431]),
        (hello, &[400]),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec(), &[]),
        (b"\0".repeat(1_000), &[400]),
        (b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(), &[400]),
        (b"EHLO example.com\r\n".to_vec(), &[400]),
    ] {
        let got = statuses(&answers(&town, &request).await);
        assert_eq!(got, expected, "{:.200?}", String::from_utf8_lossy(&request));
    }
    ask(&town.service, webhook(event("contract.1#update", "u1"))).await.is_accepted();
    assert!(!town.service.output.text().contains("panic"));
}
