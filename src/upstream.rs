//! What the clients of both APIs share: tokens, pacing, circuit breakers, time limits and the classes of errors.
//!
//! [`Upstream::call`] makes one request and answers with JSON, "not found", or a [`Failure`] whose [`Class`] says what
//! the worker does next. Which path means what is known to [`crate::sesamy`] and [`crate::mailmojo`] alone.

pub(crate) mod answer;
mod attempt;
pub mod circuit_breaker;
mod client;
pub(crate) mod error_body;
mod gate;
mod http;
mod object;
mod pace;
mod per_api;
mod quota;
mod token;

use std::fmt;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

pub use attempt::Attempt;
pub use client::{Answer, Body, Call, Options, Upstream};
pub use error_body::OwnWords;
pub use gate::Gate;
pub(crate) use http::is_loopback;
pub use http::{ClientError, client as http_client};
pub use object::{Object, object, objects};
pub use pace::{Meter, OwnMeter, Turn};
pub use per_api::PerApi;
pub use quota::{Quota, Used};
pub use token::Credentials;

use crate::outcome::FailureReason;
use circuit_breaker::{CallKind, OpenReason};
use error_body::Said;

/// One of the two APIs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Api {
    /// Sesamy's Management API.
    Sesamy,
    /// Mailmojo's API.
    Mailmojo,
}

impl Api {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Sesamy, Self::Mailmojo];

    /// The name in logs, metrics and `/readyz`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sesamy => "sesamy",
            Self::Mailmojo => "mailmojo",
        }
    }
}

impl fmt::Display for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Everything but what RFC 3986 calls unreserved.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// `value`, percent-encoded as one segment of a path or one value of a query, whatever is in it.
#[must_use]
pub fn encoded(value: &str) -> String {
    utf8_percent_encode(value, SEGMENT).to_string()
}

/// What a failure means for the user whose sync it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// May well work later: network, time limit, 408, 425, 5xx, an answer of the wrong shape.
    Transient,
    /// No retry can fix it: 400, 409, 422 and other 4xx.
    Permanent,
    /// 429, with the wait that the API asks for.
    RateLimited(Option<Duration>),
    /// 401 or 403, also of the token endpoint (credentials); a redirect, 405 or 415 (configuration).
    Refused(OpenReason),
    /// The token endpoint cannot be reached, or answers 5xx or nonsense.
    NoToken,
    /// The call was not made, because the circuit is open.
    NotCalled,
}

impl Class {
    /// Whether the answer asks this process to stay away until it is settled what follows.
    #[must_use]
    pub fn holds_calls(self) -> bool {
        matches!(self, Self::RateLimited(_) | Self::Refused(_) | Self::NoToken)
    }

    /// The reason in logs, metrics and history.
    #[must_use]
    pub fn reason(self) -> FailureReason {
        match self {
            Self::Transient => FailureReason::Transient,
            Self::Permanent => FailureReason::Permanent,
            Self::RateLimited(_) | Self::Refused(_) | Self::NoToken | Self::NotCalled => {
                FailureReason::Resting
            }
        }
    }
}

/// Why a call failed.
///
/// `Display` names the API, what was called, the status and the identifiers of the API's error, and may be logged: no
/// sentence of an API is in it (see `error_body`).
#[derive(Clone)]
pub struct Failure {
    /// Which API.
    pub api: Api,
    /// What follows.
    pub class: Class,
    /// Which kind of call failed.
    pub kind: CallKind,
    /// The status of the answer, where there was one.
    pub status: Option<u16>,
    /// In our own words.
    text: String,
    said: Box<Said>,
}

impl Failure {
    /// A failure, described in our own words.
    pub(crate) fn new(api: Api, class: Class, text: impl Into<String>) -> Self {
        Self { api, class, kind: CallKind::Read, status: None, text: text.into(), said: Box::default() }
    }

    /// An answer that is JSON but not what was asked for.
    pub(crate) fn wrong_shape(api: Api, what: &str) -> Self {
        Self::new(api, Class::Transient, format!("the answer has the wrong shape: {what}"))
    }

    /// An answer that no retry can mend.
    pub(crate) fn permanent(api: Api, status: u16, text: &str) -> Self {
        Self::new(api, Class::Permanent, text).with_status(status)
    }

    pub(crate) fn with_status(self, status: u16) -> Self {
        Self { status: Some(status), ..self }
    }

    /// The same, of a write.
    pub(crate) fn of_write(self) -> Self {
        Self { kind: CallKind::Write, ..self }
    }

    /// The same, with what the API says about it.
    pub(crate) fn with_said(self, said: Said) -> Self {
        Self { said: Box::new(said), ..self }
    }

    /// What is the same for all users who fail for the same reason: the status, the error's code and the names of the fields;
    /// where there was no status, the message without every word that has a digit.
    #[must_use]
    pub fn answer(&self) -> String {
        let reason = match self.status {
            Some(status) => format!("{status}{}", self.said.reason()),
            None => {
                let has_digit = |word: &&str| word.contains(|c: char| c.is_ascii_digit());
                let words: Vec<&str> = self.text.split_whitespace().filter(|word| !has_digit(word)).collect();
                words.join(" ")
            }
        };
        format!("{}: {reason}", self.api)
    }

    /// The API's own words, for the operator who has just asked.
    #[must_use]
    pub fn own_words(&self) -> Option<&OwnWords> {
        self.said.words.as_ref()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}{}", self.api, self.text, self.said.facts())
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Failure({}, {:?}, status {:?})", self.api, self.class, self.status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, body: &str) -> Failure {
        let text = format!("GET /v1/lists/{{id}}/ was answered {status}");
        let said = Said::in_body(body.as_bytes(), &["phone"], &[]);
        Failure::new(Api::Mailmojo, Class::Permanent, text).with_status(status).with_said(said)
    }

    #[test]
    fn a_failure_names_the_call_and_identifiers_but_no_sentence_of_an_api() {
        let body = r#"{"code": "taken", "message": "belongs to Berit Q.", "errors": {"phone": "of Berit"}, "request_id": "r7"}"#;
        let failure = refused(409, body);
        let message =
            "mailmojo: GET /v1/lists/{id}/ was answered 409 (code taken; request_id r7; fields phone)";
        assert_eq!(failure.to_string(), message);
        assert_eq!(failure.answer(), "mailmojo: 409 (code taken; fields phone)");
        assert!(failure.own_words().unwrap().for_the_operator().contains("belongs to Berit Q."));
        assert!(!format!("{failure:?}").contains("Berit"));
    }

    #[test]
    fn a_value_is_one_path_segment_whatever_is_in_it() {
        assert_eq!(encoded("email|84cc"), "email%7C84cc");
        assert_eq!(encoded("a/b?c#d%2e&x=y ø"), "a%2Fb%3Fc%23d%252e%26x%3Dy%20%C3%B8");
        assert_eq!(encoded("kari+a@example.com"), "kari%2Ba%40example.com");
        assert_eq!(encoded("a-b_c.d~e"), "a-b_c.d~e");
    }

    #[test]
    fn one_reason_is_one_answer_whatever_the_ids_in_it() {
        let answer = |body: &str| refused(400, body).answer();
        let closed = |id: &str| {
            answer(&format!(r#"{{"code": "closed", "message": "to {id}", "request_id": "{id}"}}"#))
        };
        assert_eq!(closed("7"), closed("a22"));
        assert_ne!(closed("7"), answer(r#"{"code": "full"}"#));
        assert_ne!(answer("{}"), refused(409, "{}").answer());
        let odd = |at: u32| Failure::wrong_shape(Api::Sesamy, &format!("not JSON, at line {at}")).answer();
        assert_eq!(odd(1), odd(70));
    }
}
