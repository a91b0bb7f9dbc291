//! Bad input: whatever callers send gets its clear answer, is never a 5xx, keeps nothing and stops nobody.

use std::fmt::Write as _;

use sesamy_mailmojo::sandbox::user;

use crate::support::harness::{Town, signature};
use crate::support::http::{Caller, ask, bare, event, post, webhook};

/// Bodies that are no event, with a word of the answer's detail.
fn no_events() -> Vec<(Vec<u8>, &'static str)> {
    let of = |fields: &str| format!(r#"{{{fields},"vendorId":"vendor_1","userId":"kari-nordmann"}}"#);
    let nested = |depth: usize| {
        format!(
            r#"{{"eventType":"contract.1#update","userId":"kari-nordmann","x":{}1{}}}"#,
            "[".repeat(depth - 1),
            "]".repeat(depth - 1)
        )
    };
    let whole = of(r#""eventType":"contract.1#update""#);
    let mut many_keys = String::from("{");
    (0..5_000).for_each(|key| write!(many_keys, r#""{key}":0,"#).unwrap());
    let texts = [
        (String::new(), "empty"),
        (" \r\n\t".to_owned(), "not JSON"),
        ("\0".to_owned(), "not JSON"),
        (format!("{whole}\0"), "not JSON"),
        (whole.replace("kari", "ka\0ri"), "not JSON"),
        (whole.replace("kari", "ka\nri"), "not JSON"),
        (format!("\u{feff}{whole}"), "not JSON"),
        (whole[..whole.len() - 1].to_owned(), "not JSON"),
        (format!("{whole}{whole}"), "not JSON"),
        (format!("{whole},"), "not JSON"),
        (whole.replace('"', "'"), "not JSON"),
        (whole.replace("kari", r"\ud800kari"), "not JSON"),
        ("eventType=contract.1%23update&userId=kari-nordmann".to_owned(), "not JSON"),
        ("<event><userId>kari-nordmann</userId></event>".to_owned(), "not JSON"),
        ("null".to_owned(), "not an object"),
        ("7".to_owned(), "not an object"),
        (r#""contract.1#update""#.to_owned(), "not an object"),
        (format!("[{whole}]"), "not an object"),
        ("{}".to_owned(), "eventType is missing"),
        (of(r#""eventtype":"contract.1#update""#), "eventType is missing"),
        (of(r#""eventType":"""#), "eventType is empty"),
        (of(r#""eventType":null"#), "eventType is not a string"),
        (of(r#""eventType":1"#), "eventType is not a string"),
        (of(r#""eventType":["contract.1#update"]"#), "eventType is not a string"),
        (of(r#""eventType":"contract.1#update","eventType":"contract.1#update""#), "same key twice"),
        (of(r#""eventType":"contract.1#update","userId":"ola""#), "same key twice"),
        (of(r#""eventType":"contract.1#update","user\u0049d":"ola""#), "same key twice"),
        (of(r#""eventType":"contract.1#update","x":[{"y":{"z":1,"z":1}}]"#), "same key twice"),
        (format!(r#"{many_keys}"4999":0}}"#), "same key twice"),
        (nested(65), "deeper than 64"),
        (nested(20_000), "deeper than 64"),
        ("[".repeat(60_000), "deeper than 64"),
        (r#"{"x":"#.repeat(10_000), "deeper than 64"),
    ];
    let mut bodies: Vec<_> = texts.into_iter().map(|(text, word)| (text.into_bytes(), word)).collect();
    for wrong in [&b"\xff"[..], b"\xc3", b"\xed\xa0\x80", b"\xc0\xaf"] {
        let (before, after) = whole.as_bytes().split_at(30);
        bodies.push(([before, wrong, after].concat(), "not UTF-8"));
    }
    bodies
}

/// Values of `userId` that no event may have.
fn no_user_ids() -> Vec<String> {
    let mut values: Vec<String> =
        ["7", "0", "true", "false", "1.5", "[]", "{}", r#"["kari"]"#, r#"{"id":"kari"}"#]
            .map(str::to_owned)
            .into();
    let control =
        [r"kari\u0000", r"\u0000", r"ka\nri", r"\tkari", r"kari\r", r"\u001b[2J", r"\u007f", r"\u0085"];
    values.extend([".", ".."].into_iter().chain(control).map(|id| format!("\"{id}\"")));
    let long = ["x".repeat(257), "ø".repeat(129), "kari".repeat(2_500)];
    values.extend(long.map(|id| format!("\"{id}\"")));
    values
}

#[tokio::test]
async fn a_body_that_is_no_event_is_answered_400_and_nothing_of_it_is_kept_or_repeated() {
    let town = Town::start().await;
    town.sandbox.sesamy.put_user(user("ola").email("ola@example.com"));
    let mut caller = Caller::to(&town.service).await;
    for (body, word) in no_events() {
        // On one connection, so that a wrong body is seen not to spoil the next request.
        caller.send(webhook(&body)).await;
        let answer = caller.answer().await;
        answer.is_problem(400, "invalid-event");
        let start = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
        assert!(answer.body.contains(word), "{start}: {}", answer.body);
        assert!(!answer.body.contains("nordmann"), "{}", answer.body);
    }
    for value in no_user_ids() {
        caller.send(webhook(format!(r#"{{"eventType":"contract.1#update","userId":{value}}}"#))).await;
        let answer = caller.answer().await;
        answer.is_problem(400, "invalid-event");
        assert!(answer.body.contains("userId") && !answer.body.contains("kari"), "{}", answer.body);
    }
    // What is odd but allowed: the deepest nesting, and a NUL as JSON writes it where nobody reads it.
    let deepest = format!(
        r#"{{"eventType":"contract.1#update","userId":"ola","n":"\u0000","x":{}1{}}}"#,
        "[".repeat(63),
        "]".repeat(63)
    );
    caller.send(webhook(deepest)).await;
    caller.answer().await.is_accepted();
    town.settled().await;
    town.contact("ola@example.com");
    assert_eq!(town.query("SELECT count(*) FROM users"), Ok(1));
    town.service.output.wait_for("of the last sync", |line| line["outcome"] == "created").await;
    let log = town.service.output.text();
    assert!(!log.contains("kari") && !log.contains("nordmann") && !log.contains("panic"), "{log}");
}

#[tokio::test]
async fn the_body_limit_is_64_kib_to_the_byte_and_a_setting_changes_it() {
    for (setting, limit) in [("", 65_536), ("3000", 3_000)] {
        let town = Town::with(&[("SERVER__BODY_LIMIT_BYTES", setting)]).await;
        let of_length = |length: usize| {
            let start = r#"{"eventType":"contract.1#update","userId":"u1","x":""#;
            format!("{start}{}\"}}", "x".repeat(length - start.len() - 2))
        };
        ask(&town.service, webhook(of_length(limit))).await.is_accepted();
        for length in [limit + 1, 10_000_000] {
            ask(&town.service, webhook(of_length(length))).await.is_problem(413, "body-too-large");
        }
        let token = format!("Authorization: Bearer {}\r\n", crate::support::harness::TOKEN);
        let chunk = of_length(limit + 1);
        let chunked = format!(
            "POST /webhooks/sesamy HTTP/1.1\r\nHost: x\r\n{token}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{chunk}\r\n",
            chunk.len()
        );
        ask(&town.service, chunked).await.is_problem(413, "body-too-large");
        assert_eq!(town.query("SELECT generation FROM users"), Ok(1));
    }
}

/// A signature is over the bytes as they came: a body that is signed right and is no event is a 400, not a 401.
#[tokio::test]
async fn a_body_that_is_no_text_can_be_signed_and_is_then_answered_400() {
    let town = Town::start().await;
    for body in [&b"\xff\xfe\0"[..], b"", b"{\"eventType\":"] {
        let header = format!("X-Sesamy-Signature: {}\r\n", signature(crate::support::harness::SECRET, body));
        ask(&town.service, post(&header, body)).await.is_problem(400, "invalid-event");
    }
}

#[tokio::test]
async fn what_is_no_proper_request_is_refused_and_stops_nobody() {
    let town = Town::start().await;
    let two_lengths =
        "POST /webhooks/sesamy HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxy";
    let long_header = format!("GET /healthz HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    for nonsense in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"[..],
        b"\0\0\0\0\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-\0: y\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n",
        b"GET /healthz HTTP/9.9\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /webhooks/sesamy HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        two_lengths.as_bytes(),
        long_header.as_bytes(),
    ] {
        let mut caller = Caller::to(&town.service).await;
        caller.send(nonsense).await;
        caller.says_no_more().await;
        // HTTP/2 may be met with silence; nothing may be met with a 2xx or a 5xx.
        let status = caller.try_answer().await.map_or(400, |answer| answer.status);
        assert!((400..500).contains(&status), "{status} to {:?}", String::from_utf8_lossy(nonsense));
    }
    // Who sends half a body, or half an answer's worth of patience, and goes.
    for half in
        ["", "POST /webhooks/sesamy HT", "POST /webhooks/sesamy HTTP/1.1\r\nContent-Length: 9\r\n\r\n{"]
    {
        drop_after(&town, half.as_bytes()).await;
    }
    drop_after(&town, &webhook(event("contract.1#update", "u1"))).await;
    ask(&town.service, webhook(event("contract.1#update", "u2"))).await.is_accepted();
    assert_eq!(town.query("SELECT count(*) FROM users WHERE user_id = 'u2'"), Ok(1));
    let output = &town.service.output;
    output.wait_for("of the last request", |line| line["status"] == 202 && line["user_id"] == "u2").await;
    assert!(!output.text().contains("panic"));
}

async fn drop_after(town: &Town, bytes: &[u8]) {
    Caller::to(&town.service).await.send(bytes).await;
}

#[tokio::test]
async fn unknown_paths_and_wrong_methods_are_problems_too() {
    let town = Town::start().await;
    for path in ["/", "/webhooks", "/webhooks/sesamy/", "/Healthz", "/../healthz", "/%00", "/kari?token=kari"]
    {
        let answer = ask(&town.service, bare(&format!("GET {path}"))).await;
        answer.is_problem(404, "not-found");
        assert!(!answer.body.contains("kari"), "{answer:?}");
    }
    ask(&town.service, bare("POST /webhooks/other")).await.is_problem(404, "not-found");
    for (request, allow) in [
        ("GET /webhooks/sesamy", "POST"),
        ("PUT /webhooks/sesamy?x=y", "POST"),
        ("OPTIONS /webhooks/sesamy", "POST"),
        ("BREW /webhooks/sesamy", "POST"),
        ("POST /healthz", "GET,HEAD"),
        ("DELETE /readyz", "GET,HEAD"),
        ("PATCH /metrics", "GET,HEAD"),
    ] {
        let answer = ask(&town.service, bare(request)).await;
        answer.is_problem(405, "method-not-allowed");
        assert_eq!(answer.header("allow"), Some(allow), "{request}");
    }
    let mut caller = Caller::to(&town.service).await;
    for (request, status) in [
        ("HEAD /healthz", 200),
        ("HEAD /readyz", 200),
        ("HEAD /metrics", 200),
        ("HEAD /webhooks/sesamy", 405),
        ("HEAD /x", 404),
    ] {
        // On one connection: a body behind a HEAD's answer would be taken for the next answer.
        caller.send(bare(request)).await;
        let answer = caller.answer_to_head().await;
        assert_eq!(answer.status, status, "{request}");
        assert_ne!(answer.header("content-length"), Some("0"), "{request}");
    }
    let is_last = |line: &serde_json::Value| line["method"] == "HEAD" && line["status"] == 404;
    town.service.output.wait_for("of the last request", is_last).await;
    assert!(!town.service.output.text().contains("kari"));
}
