use proptest::prelude::*;
use serde_json::json;

use super::*;

fn event(json: &str) -> Result<Reading, EventError> {
    read(json.as_bytes(), None)
}

fn read_as(user: &str, event_type: EventType) -> Result<Reading, EventError> {
    Ok(Reading::Event { user: UserId::new(user).unwrap(), event_type })
}

#[test]
fn each_of_the_eight_types_is_an_event() {
    for event_type in EventType::ALL {
        let body = json!({"eventType": event_type.as_str(), "vendorId": "v", "userId": "email|84cc",
            "occured_at": "2025-11-10T12:00:00Z", "contractId": "c1", "extra": {"deep": [1, -2, 2.5, true, null]}});
        assert_eq!(event(&body.to_string()), read_as("email|84cc", event_type));
    }
}

#[test]
fn a_type_is_known_letter_for_letter_only() {
    for name in
        ["contract.1#Purchased", "contract.1#cancelRequest", " contract.1#update", "contract.2#update"]
    {
        let body = json!({"eventType": name, "userId": "u"}).to_string();
        assert_eq!(event(&body), Ok(Reading::Ignored(Reason::UnknownEventType)), "{name}");
    }
}

#[test]
fn what_is_not_json_is_refused_by_its_place_and_without_a_quotation() {
    for (body, line, column) in [
        ("{", 1, 1),
        ("kari@example.com", 1, 1),
        ("{\"eventType\":\"contract.1#update\",\n\"userId\":kari@example.com}", 2, 10),
        ("{\"eventType\":\"contract.1#update\"} {}", 1, 35),
        ("{\"a\":1,}", 1, 8),
        ("{'a':1}", 1, 2),
        ("\u{feff}{}", 1, 1),
        ("{\"userId\":\"a\nb\"}", 2, 0),
        (" ", 1, 1),
        ("[1,", 1, 3),
    ] {
        let error = event(body).unwrap_err();
        assert_eq!(error, EventError::NotJson { line, column }, "{body}");
        assert!(!error.to_string().contains("kari"), "{error}");
    }
    assert_eq!(event(""), Err(EventError::Empty));
    assert_eq!(read(b"{\"userId\":\"\xff\"}", None), Err(EventError::NotUtf8 { at: 11 }));
    assert_eq!(read(b"{\"unread\":\"\xc3\"}", None), Err(EventError::NotUtf8 { at: 11 }));
}

#[test]
fn half_an_emoji_costs_its_character_and_not_the_event() {
    for field in [r#""note":"\ud83d""#, r#""no\ude00te":1"#, r#""deep":[{"\uD83D":"\ude00\ud83d"}]"#] {
        let body = format!(r#"{{"eventType":"contract.1#update",{field},"userId":"a"}}"#);
        assert_eq!(event(&body), read_as("a", EventType::ContractUpdate), "{body}");
    }
    let whole_one = r#"{"eventType":"contract.1#update","userId":"a\ud83d\ude00"}"#;
    assert_eq!(event(whole_one), read_as("a😀", EventType::ContractUpdate));
    let half = r#"{"eventType":"contract.1#update","userId":"a\ud83d"}"#;
    assert_eq!(event(half), Err(EventError::NotJson { line: 1, column: 51 }), "an id that lost a character");
    let same_sign = r#"{"eventType":"contract.1#update","userId":"a\ufffd"}"#;
    assert_eq!(event(same_sign), read_as("a\u{fffd}", EventType::ContractUpdate));
    for (body, error) in [
        (r#"{"a":"\ud83d","a":1}"#, EventError::DuplicateKey),
        (r#"{"a\ud83d":1,"a\ud83d":1}"#, EventError::DuplicateKey),
        (r#"{"a":"\ud83""#, EventError::NotJson { line: 1, column: 12 }),
    ] {
        assert_eq!(event(body), Err(error), "{body}");
    }
}

#[test]
fn json_that_is_no_object_is_refused() {
    for body in ["[]", "[{\"eventType\":\"x\"}]", "\"text\"", "1", "1.5", "-1", "null", "true"] {
        assert_eq!(event(body), Err(EventError::NotAnObject), "{body}");
    }
}

#[test]
fn a_key_that_comes_twice_is_refused_at_any_level_and_however_it_is_written() {
    for body in [
        r#"{"eventType":"contract.1#update","userId":"a","userId":"b"}"#,
        r#"{"eventType":"contract.1#update","userId":"a","user\u0049d":"a"}"#,
        r#"{"eventType":"contract.1#update","userId":"a","x":{"y":[{"z":1,"q":2,"z":1}]}}"#,
        r#"{"":1,"":2}"#,
        r#"[{"a":1,"a":1}]"#,
    ] {
        assert_eq!(event(body), Err(EventError::DuplicateKey), "{body}");
    }
    let same_key_in_two_objects =
        r#"{"eventType":"contract.1#update","userId":"a","x":{"userId":1},"y":{"userId":2}}"#;
    assert_eq!(event(same_key_in_two_objects), read_as("a", EventType::ContractUpdate));
}

#[test]
fn sixty_four_levels_are_read_and_sixty_five_are_not() {
    for (open, close) in [("[", "]"), ("{\"k\":", "}")] {
        let nested = |inner: usize| {
            let deep = format!("{}1{}", open.repeat(inner), close.repeat(inner));
            format!(r#"{{"eventType":"contract.1#update","userId":"a","x":{deep}}}"#)
        };
        assert_eq!(event(&nested(63)), read_as("a", EventType::ContractUpdate));
        assert_eq!(event(&nested(64)), Err(EventError::TooDeep));
        assert_eq!(event(&nested(20_000)), Err(EventError::TooDeep));
    }
    assert_eq!(event(&"[".repeat(60_000)), Err(EventError::TooDeep));
}

#[test]
fn an_event_type_must_be_there_and_be_a_string_with_something_in_it() {
    assert_eq!(event(r#"{"userId":"a"}"#), Err(EventError::NoEventType));
    assert_eq!(event("{}"), Err(EventError::NoEventType));
    assert_eq!(event(r#"{"eventType":"","userId":"a"}"#), Err(EventError::EmptyEventType));
    for value in ["null", "1", "true", "[]", "{}", "[\"contract.1#update\"]"] {
        let body = format!(r#"{{"eventType":{value},"userId":"a"}}"#);
        assert_eq!(event(&body), Err(EventError::EventTypeNotAString), "{value}");
    }
}

#[test]
fn with_a_vendor_set_only_that_vendors_events_are_taken() {
    let from = |vendor: &str| {
        let body = format!(r#"{{"eventType":"contract.1#update"{vendor},"userId":"a"}}"#);
        read(body.as_bytes(), Some("vendor_1"))
    };
    assert_eq!(from(r#","vendorId":"vendor_1""#), read_as("a", EventType::ContractUpdate));
    for other in
        ["", r#","vendorId":"vendor_2""#, r#","vendorId":null"#, r#","vendorId":1"#, r#","vendorId":"""#]
    {
        assert_eq!(from(other), Err(EventError::OtherVendor), "{other}");
    }
    assert_eq!(
        event(r#"{"eventType":"contract.1#update","vendorId":7,"userId":"a"}"#),
        read_as("a", EventType::ContractUpdate)
    );
}

#[test]
fn the_checks_come_in_the_order_of_the_contract() {
    let with_vendor = |body: &str| read(body.as_bytes(), Some("vendor_1"));
    assert_eq!(with_vendor(r#"{"vendorId":"x","userId":1}"#), Err(EventError::NoEventType));
    assert_eq!(with_vendor(r#"{"eventType":"odd","vendorId":"x","userId":1}"#), Err(EventError::OtherVendor));
    let unknown_type = r#"{"eventType":"odd","vendorId":"vendor_1","userId":1}"#;
    assert_eq!(with_vendor(unknown_type), Ok(Reading::Ignored(Reason::UnknownEventType)));
}

#[test]
fn an_event_without_a_user_is_ignored_and_one_with_an_odd_user_is_refused() {
    let of = |user: &str| event(&format!(r#"{{"eventType":"contract.1#update"{user}}}"#));
    for none in ["", r#","userId":null"#, r#","userId":"""#] {
        assert_eq!(of(none), Ok(Reading::Ignored(Reason::NoUserId(EventType::ContractUpdate))), "{none}");
    }
    for value in ["1", "true", "[]", r#"{"id":"a"}"#] {
        assert_eq!(of(&format!(r#","userId":{value}"#)), Err(EventError::UserIdNotAString), "{value}");
    }
    let long = format!(r#","userId":"{}""#, "x".repeat(10_000));
    assert_eq!(of(&long), Err(EventError::UserId(UserIdError::TooLong)));
    assert_eq!(of(r#","userId":"a\u0000b""#), Err(EventError::UserId(UserIdError::ControlCharacters)));
    assert_eq!(of(r#","userId":".""#), Err(EventError::UserId(UserIdError::RelativePath)));
    assert_eq!(of(r#","userId":"..""#), Err(EventError::UserId(UserIdError::RelativePath)));
    assert_eq!(of(r#","userId":"kar\u0069""#), read_as("kari", EventType::ContractUpdate));
}

#[test]
fn ten_thousand_keys_are_read_in_one_go() {
    let keys: String = (0..10_000).map(|n| format!(r#","k{n}":{n}"#)).collect();
    let body = format!(r#"{{"eventType":"contract.1#update","userId":"a"{keys}}}"#);
    assert_eq!(event(&body), read_as("a", EventType::ContractUpdate));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(&body, Some("v"));
    }

    #[test]
    fn no_text_of_json_signs_makes_it_panic(body in r#"[\[\]{}:,"a1e.\\u0-]{0,60}"#) {
        let _ = read(body.as_bytes(), None);
    }

    #[test]
    fn a_valid_event_is_always_read(
        which in 0..EventType::ALL.len(),
        user in "[^\\p{Cc}.]{1,60}",
        extra in proptest::collection::hash_map("x[a-zæøå\"\\\\]{0,8}", any::<(i64, f64, Option<String>)>(), 0..6),
    ) {
        let mut body = json!(extra);
        body["eventType"] = json!(EventType::ALL[which].as_str());
        body["userId"] = json!(user);
        prop_assert_eq!(event(&body.to_string()), read_as(&user, EventType::ALL[which]));
    }
}
