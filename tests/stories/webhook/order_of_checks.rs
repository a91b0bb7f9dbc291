//! The order of checks: where several things are wrong with a request, the earlier check answers.

use crate::support::harness::{TOKEN, Town};
use crate::support::http::{Answer, ask, post};

/// What can be wrong, in the order of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrong {
    TooLarge,
    NoCredentials,
    NoEvent,
    OtherVendor,
    UnknownType,
    NoUser,
    BadUser,
}

use Wrong::{BadUser, NoCredentials, NoEvent, NoUser, OtherVendor, TooLarge, UnknownType};

const ORDER: [Wrong; 7] = [TooLarge, NoCredentials, NoEvent, OtherVendor, UnknownType, NoUser, BadUser];

/// What makes a body no event while all its fields can be read.
const NO_EVENT: [&str; 3] = [r#","a":1,"a":2"#, r#","a":{"b":1,"b":1}"#, r#","a":1} {"#];

fn request(wrong: &[Wrong], no_event: &str) -> Vec<u8> {
    let is = |one| wrong.contains(&one);
    let event_type = if is(UnknownType) { "contract.9#odd" } else { "contract.1#update" };
    let vendor = if is(OtherVendor) { "vendor_2" } else { "vendor_1" };
    let user = match (is(NoUser), is(BadUser)) {
        (true, _) => "null",
        (_, true) => r#""..""#,
        _ => r#""u1""#,
    };
    let odd = if is(NoEvent) { no_event } else { "" };
    let spaces = " ".repeat(if is(TooLarge) { 1_000 } else { 0 });
    let body =
        format!(r#"{{"eventType":"{event_type}","vendorId":"{vendor}","userId":{user}{odd}}}{spaces}"#);
    let token = if is(NoCredentials) { "somebody-elses-token" } else { TOKEN };
    post(format!("Authorization: Bearer {token}\r\n"), body)
}

fn status(first: Wrong) -> u16 {
    match first {
        TooLarge => 413,
        NoCredentials => 401,
        NoEvent | BadUser => 400,
        OtherVendor => 403,
        UnknownType | NoUser => 200,
    }
}

#[track_caller]
fn assert_answers(answer: &Answer, first: Wrong, wrong: &[Wrong]) {
    assert_eq!(answer.status, status(first), "to {wrong:?}: {answer:?}");
    match first {
        TooLarge => answer.is_problem(413, "body-too-large"),
        NoCredentials => answer.is_problem(401, "unauthorized"),
        NoEvent | BadUser => answer.is_problem(400, "invalid-event"),
        OtherVendor => answer.is_problem(403, "other-vendor"),
        UnknownType => answer.is_ignored_for("unknown_event_type"),
        NoUser => answer.is_ignored_for("no_user_id"),
    }
    // The two 400s tell by their words which check it was.
    match first {
        NoEvent => assert!(answer.body.contains("the body"), "{answer:?}"),
        BadUser => assert!(answer.body.contains("userId"), "{answer:?}"),
        _ => {}
    }
}

#[tokio::test]
async fn each_check_comes_before_all_that_follow_it() {
    let town = Town::with(&[("SESAMY__VENDOR_ID", "vendor_1"), ("SERVER__BODY_LIMIT_BYTES", "1000")]).await;
    for (place, first) in ORDER.into_iter().enumerate() {
        let later = &ORDER[place + 1..];
        let alone = std::iter::once(vec![first]);
        let pairs = later.iter().map(|second| vec![first, *second]);
        let all_that_follow = std::iter::once([&[first], later].concat());
        for wrong in alone.chain(pairs).chain(all_that_follow) {
            for no_event in NO_EVENT {
                let answer = ask(&town.service, request(&wrong, no_event)).await;
                assert_answers(&answer, first, &wrong);
            }
        }
    }
    ask(&town.service, request(&[], "")).await.is_accepted();
    assert_eq!(town.query("SELECT generation FROM users WHERE user_id = 'u1'"), Ok(1));
}
