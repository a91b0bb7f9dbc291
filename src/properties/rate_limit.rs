//! Whatever an answer says about when to come back, the circuit is open for a second to an hour.
//!
//! Input: the status, header lines, an empty line, the body.

use std::time::{Duration, UNIX_EPOCH};

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::head_and_body;
use crate::clock::Millis;
use crate::upstream::Class;
use crate::upstream::answer::{Verdict, judge};
use crate::upstream::circuit_breaker::{Admission, Backoff, Breaker, CallKind, FailedCall};

const NOW: u64 = 1_000_000_000; // 2001-09-09T01:46:40Z

pub fn hold(data: &[u8]) {
    let (lines, body) = head_and_body(data);
    let Some((first, lines)) = lines.split_first() else { return };
    let status = std::str::from_utf8(first).ok().and_then(|text| text.parse().ok());
    let Some(status) = status.and_then(|code| StatusCode::from_u16(code).ok()) else { return };
    let mut headers = HeaderMap::new();
    for line in lines.iter().take(20) {
        let Some(at) = line.windows(2).position(|two| two == b": ") else { continue };
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(&line[..at]), HeaderValue::from_bytes(&line[at + 2..]))
        {
            headers.append(name, value);
        }
    }
    let verdict = judge(status, &headers, body, UNIX_EPOCH + Duration::from_secs(NOW));
    match status.as_u16() {
        200..=299 => assert_eq!(verdict, Verdict::Success),
        401 => assert_eq!(verdict, Verdict::Unauthorized),
        403 => assert_eq!(verdict, Verdict::Forbidden),
        404 => assert!(matches!(verdict, Verdict::NotFound | Verdict::Transient)),
        300..=399 | 405 | 415 => assert_eq!(verdict, Verdict::WrongPlace),
        429 => assert!(matches!(verdict, Verdict::RateLimited(_))),
        408 | 425 => assert_eq!(verdict, Verdict::Transient),
        400..=499 => assert_eq!(verdict, Verdict::Permanent),
        _ => assert_eq!(verdict, Verdict::Transient),
    }
    let Verdict::RateLimited(asked) = verdict else { return };

    // A plain number in `Retry-After` is what counts, whatever else there is.
    let plain = headers.get("retry-after").and_then(|value| value.to_str().ok()).map(str::trim);
    let seconds = plain.filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()));
    if let Some(seconds) = seconds.and_then(|text| text.parse::<u64>().ok()) {
        assert_eq!(asked, Some(Duration::from_secs(seconds)));
    }
    // Without any of the words there is no time.
    let has_word = String::from_utf8_lossy(body).contains('r'); // of `retry_after`; keys may be escaped but for letters
    if plain.is_none() && headers.get("x-ratelimit-reset").is_none() && !has_word && !body.contains(&b'\\') {
        assert_eq!(asked, None);
    }

    let backoff = Backoff { base: Duration::from_secs(2), cap: Duration::from_secs(900) };
    let call = FailedCall {
        kind: CallKind::Read,
        class: Class::RateLimited(asked),
        message: String::new(),
        answer: String::new(),
        is_api_well: None,
    };
    let (mut breaker, now) = (Breaker::default(), Millis(0));
    breaker.failed("a", &call, now, &backoff);
    let Admission::NotBefore(until) = breaker.admission(now) else { panic!("a 429 opens the circuit") };
    let length = until.since(now);
    let bounds = if asked.is_some() { 1_000..=3_600_000 } else { 2_000..=900_000 };
    assert!(bounds.contains(&length.as_millis()), "{asked:?} became {length:?}");
}
