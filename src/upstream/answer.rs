//! What an HTTP answer means: a pure judgement of status, headers and body.

use std::borrow::Cow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::StatusCode;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::Object;
use super::error_body::error_json;
use super::http::describe;
use crate::clock::Millis;
use crate::surrogates;

/// The longest answer that is read, in bytes. A page of 100 rows is a few hundred kilobytes at the most.
const MAX_ANSWER_BYTES: usize = 8 * 1024 * 1024;

/// What an answer means, before anybody knows what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// 2xx.
    Success,
    /// 404 with JSON: the API knows the path, and has nothing there.
    NotFound,
    /// 401.
    Unauthorized,
    /// 403.
    Forbidden,
    /// A redirect, 405, 415: we ask at the wrong place.
    WrongPlace,
    /// 429, and for how long to stay away where that was said.
    RateLimited(Option<Duration>),
    /// May work later.
    Transient,
    /// Will not work later.
    Permanent,
}

/// Judges an answer. `now` is needed where it names a moment and does not say what time it is at the API.
pub(crate) fn judge(status: StatusCode, headers: &HeaderMap, body: &[u8], now: SystemTime) -> Verdict {
    match status.as_u16() {
        200..=299 => Verdict::Success,
        401 => Verdict::Unauthorized,
        403 => Verdict::Forbidden,
        300..=399 | 405 | 415 => Verdict::WrongPlace,
        429 => Verdict::RateLimited(rest_asked_for(headers, body, system_time(headers).unwrap_or(now))),
        // A proxy's or load balancer's own page says nothing about the user.
        404 if !is_json(body) => Verdict::Transient,
        404 => Verdict::NotFound,
        408 | 425 => Verdict::Transient,
        400..=499 => Verdict::Permanent,
        _ => Verdict::Transient,
    }
}

/// Whether `body` is the JSON of an error. A number alone is not taken for it: a plain `404` is some proxy's text.
fn is_json(body: &[u8]) -> bool {
    error_json(body).is_some_and(|value| !value.is_number())
}

/// Whether the body of a 2xx reports an error: `{"data": [], "error": …}` is not an empty list. Null is no error.
pub(super) fn has_error(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Marked {
        error: Option<IgnoredAny>,
    }
    serde_json::from_slice::<Object<Marked>>(body).is_ok_and(|marked| marked.0.error.is_some())
}

/// For how long a 429 asks to stay away: `Retry-After` in seconds or as a date, else the body's `error.retry_after`
/// (seconds, a number or its digits), else `X-RateLimit-Reset` (unix seconds). Decimals are rounded up. What cannot be read
/// is passed over.
///
/// Source: RFC 9110, 10.2.3, and Sesamy's published rate limit.
fn rest_asked_for(headers: &HeaderMap, body: &[u8], now: SystemTime) -> Option<Duration> {
    let header = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let until = |moment: SystemTime| moment.duration_since(now).unwrap_or_default();
    let in_header = header(RETRY_AFTER.as_str())
        .and_then(|value| seconds(value).or_else(|| httpdate::parse_http_date(value).ok().map(until)));
    let in_body = || {
        let answer = error_json(body)?;
        let asked = answer.get("error").and_then(|error| error.get("retry_after"));
        let asked = asked.or_else(|| answer.get("retry_after"))?;
        asked.as_str().map_or_else(|| rounded_up(asked.as_f64()?), seconds)
    };
    let at_reset = || UNIX_EPOCH.checked_add(header("x-ratelimit-reset").and_then(seconds)?).map(until);
    in_header.or_else(in_body).or_else(at_reset)
}

/// What time it was at the API when it answered, in whole seconds; `None` where its `Date` is missing or unreadable.
///
/// Source: RFC 9110, 6.6.1.
pub(super) fn date(headers: &HeaderMap) -> Option<Millis> {
    let since_1970 = system_time(headers)?.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since_1970.as_millis()).ok().map(Millis)
}

fn system_time(headers: &HeaderMap) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?.trim()).ok()
}

/// Seconds in digits, with a fraction or without.
fn seconds(text: &str) -> Option<Duration> {
    let text = text.trim();
    let is_decimal = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let decimal = || text.parse().ok().filter(|_| is_decimal).and_then(rounded_up);
    text.parse().map(Duration::from_secs).ok().or_else(decimal)
}

/// None where it is below 0, or more than a duration holds.
fn rounded_up(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds.ceil()).ok()
}

/// Reads a body, up to [`MAX_ANSWER_BYTES`]. What is no character in it, bytes that are no UTF-8 or half of an escaped
/// emoji, is U+FFFD then: it must not cost a user the whole answer.
pub(super) async fn read_limited(mut response: reqwest::Response) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| describe(&error))? {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(format!("the answer is longer than {MAX_ANSWER_BYTES} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(with_whole_characters(body))
}

fn with_whole_characters(body: Vec<u8>) -> Vec<u8> {
    let text = String::from_utf8(body)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
        .into_bytes();
    match surrogates::without_lone_ones(&text) {
        Cow::Owned(changed) => changed,
        Cow::Borrowed(_) => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, headers: &[(&'static str, &str)], body: &str) -> Verdict {
        let headers = headers
            .iter()
            .map(|(name, value)| (reqwest::header::HeaderName::from_static(name), value.parse().unwrap()));
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000_000); // 2001-09-09T01:46:40Z
        judge(StatusCode::from_u16(status).unwrap(), &headers.collect(), body.as_bytes(), now)
    }

    #[test]
    fn every_status_has_its_class() {
        for (status, body, expected) in [
            (200, "{}", Verdict::Success),
            (201, "", Verdict::Success),
            (301, "", Verdict::WrongPlace),
            (304, "", Verdict::WrongPlace),
            (400, "{}", Verdict::Permanent),
            (401, "{}", Verdict::Unauthorized),
            (402, "{}", Verdict::Permanent),
            (403, "{}", Verdict::Forbidden),
            (404, r#"{"error": {"code": "not_found"}}"#, Verdict::NotFound),
            (404, r#""not found""#, Verdict::NotFound),
            (404, "null", Verdict::NotFound),
            (404, "<html>", Verdict::Transient),
            (404, "", Verdict::Transient),
            (404, "404", Verdict::Transient),
            (405, "{}", Verdict::WrongPlace),
            (408, "{}", Verdict::Transient),
            (409, "{}", Verdict::Permanent),
            (410, "{}", Verdict::Permanent),
            (415, "{}", Verdict::WrongPlace),
            (422, "{}", Verdict::Permanent),
            (425, "{}", Verdict::Transient),
            (429, "{}", Verdict::RateLimited(None)),
            (500, "{}", Verdict::Transient),
            (503, "", Verdict::Transient),
            (599, "", Verdict::Transient),
        ] {
            assert_eq!(judged(status, &[], body), expected, "{status} {body}");
        }
    }

    #[test]
    fn a_429_is_asked_for_its_time_in_this_order_and_what_cannot_be_read_is_passed_over() {
        let body = r#"{"error": {"code": "rate_limit_exceeded", "retry_after": 60}}"#;
        for (headers, body, seconds) in [
            (vec![("retry-after", "7"), ("x-ratelimit-reset", "1000000030")], body, Some(7)),
            (vec![("retry-after", "Sun, 09 Sep 2001 01:47:00 GMT")], body, Some(20)),
            (vec![("retry-after", "Sun, 09 Sep 2001 01:00:00 GMT")], body, Some(0)),
            (vec![("retry-after", "2.5")], body, Some(3)),
            (vec![("retry-after", "0.001")], body, Some(1)),
            (vec![("retry-after", "3.0")], body, Some(3)),
            (
                // By the API's clock, which is an hour behind ours.
                vec![
                    ("date", "Sun, 09 Sep 2001 00:46:40 GMT"),
                    ("retry-after", "Sun, 09 Sep 2001 00:47:00 GMT"),
                ],
                body,
                Some(20),
            ),
            (
                vec![("date", "Sun, 09 Sep 2001 00:46:40 GMT"), ("x-ratelimit-reset", "999996430")],
                "",
                Some(30),
            ),
            (vec![("retry-after", "soon")], body, Some(60)),
            (vec![("retry-after", "1e2")], body, Some(60)),
            (vec![("retry-after", "inf")], body, Some(60)),
            (vec![("retry-after", "1.2.3")], body, Some(60)),
            (vec![("retry-after", ".")], body, Some(60)),
            (vec![("retry-after", "")], body, Some(60)),
            (vec![("retry-after", "-5"), ("x-ratelimit-reset", "1000000030")], "", Some(30)),
            (vec![("x-ratelimit-reset", "1000000030")], body, Some(60)),
            (vec![("x-ratelimit-reset", "999999999")], "", Some(0)),
            (vec![("x-ratelimit-reset", "1000000029.5")], "", Some(30)),
            (vec![("x-ratelimit-reset", "99999999999999999999")], "{}", None),
            (vec![], r#"{"error": {"retry_after": 1.5}}"#, Some(2)),
            (vec![], r#"{"error": {"retry_after": "3"}}"#, Some(3)),
            (vec![], r#"{"retry_after": " 2.5 "}"#, Some(3)),
            (vec![], r#"{"retry_after": "soon"}"#, None),
            (vec![], r#"{"retry_after": null}"#, None),
            (vec![], r#"{"error": {"retry_after": -1}}"#, None),
            (vec![], r#"{"error": {"retry_after": 1e300}}"#, None),
            (vec![], r#"{"error": "slow down"}"#, None),
            (vec![], "", None),
        ] {
            let expected = Verdict::RateLimited(seconds.map(Duration::from_secs));
            assert_eq!(judged(429, &headers, body), expected, "{headers:?} {body}");
        }
    }

    #[test]
    fn an_answer_says_what_time_it_is_as_far_as_that_can_be_read() {
        for (text, read) in [
            (" Sun, 09 Sep 2001 01:46:40 GMT", Some(1_000_000_000_000)),
            ("Sunday, 09-Sep-01 01:46:40 GMT", Some(1_000_000_000_000)),
            ("Sun Sep  9 01:46:40 2001", Some(1_000_000_000_000)),
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some(253_402_300_799_000)),
            ("2001-09-09T01:46:40Z", None),
            ("soon", None),
            ("", None),
        ] {
            let headers = HeaderMap::from_iter([(DATE, text.parse().unwrap())]);
            assert_eq!(date(&headers), read.map(Millis), "{text}");
        }
        assert_eq!(date(&HeaderMap::new()), None);
    }

    #[test]
    fn an_error_in_a_good_answer_is_seen_and_null_is_none() {
        for (body, expected) in [
            (r#"{"data": [], "error": {"code": "odd"}}"#, true),
            (r#"{"error": "odd"}"#, true),
            (r#"{"error": {}, "data": []}"#, true),
            (r#"{"\u0065rror": [1]}"#, true),
            (r#"{"data": [], "error": null}"#, false),
            (r#"{"data": {"error": "of the row"}, "errors": null}"#, false),
            (r#"[{"error": "of the row"}]"#, false),
            (r#"["odd"]"#, false),
            (r#""error""#, false),
            ("null", false),
            ("{}", false),
            ("<html>", false),
            ("", false),
        ] {
            assert_eq!(has_error(body.as_bytes()), expected, "{body}");
        }
    }

    #[test]
    fn what_is_no_character_costs_itself_alone() {
        for (body, expected) in [
            (&b"{\"name\": \"K\xe5ri\"}"[..], "{\"name\": \"K\u{fffd}ri\"}"),
            (b"{\"name\": \"K\xc3\xa5ri \\ud83d\"}", "{\"name\": \"K\u{e5}ri \\ufffd\"}"),
            (b"\"\xff\\ude00\"", "\"\u{fffd}\\ufffd\""),
            (b"[]", "[]"),
        ] {
            assert_eq!(with_whole_characters(body.to_vec()), expected.as_bytes(), "{expected}");
        }
    }

    #[test]
    fn what_is_too_long_for_an_error_is_not_judged_as_one() {
        let long = |length: usize| format!(r#"{{"message":"{}"}}"#, "x".repeat(length));
        assert_eq!(judged(404, &[], &long(1_000)), Verdict::NotFound);
        assert_eq!(judged(404, &[], &long(64 * 1024)), Verdict::Transient);
    }
}
