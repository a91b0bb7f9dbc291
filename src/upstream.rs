//! What the clients of both APIs share: tokens, pacing, rests, time limits and the classes of errors.
//!
//! [`Upstream::call`] makes one request and answers with JSON, "not found", or a [`Failure`] whose [`Class`] says what
//! the worker does next. Which path means what is known to [`crate::sesamy`] and [`crate::mailmojo`] alone.

pub(crate) mod answer;
mod attempt;
mod client;
mod http;
mod object;
mod pace;
mod per_api;
mod quota;
pub mod rest;
mod token;

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

pub use attempt::Attempt;
pub use client::{Answer, Body, Call, Options, Upstream};
pub use http::{ClientError, client as http_client};
pub use object::{Object, object, objects};
pub use pace::{Meter, OwnMeter, Turn};
pub use per_api::PerApi;
pub use quota::{Quota, Used};
pub use token::Credentials;

use crate::personal::Mask;

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
    /// The API rests, for everybody; never a user's fault.
    Resting,
    /// No retry can mend it: 400, 409, 422 and other 4xx.
    Permanent,
}

/// Why a call failed.
///
/// The text may quote personal data, so it is shown only through [`Failure::message`].
#[derive(Clone)]
pub struct Failure {
    /// Which API.
    pub api: Api,
    /// What follows.
    pub class: Class,
    /// The status of the answer, where there was one.
    pub status: Option<u16>,
    text: String,
    /// What of ours the text may quote.
    secrets: Mask,
}

impl Failure {
    /// A failure with a text that still has to be masked.
    pub(crate) fn new(api: Api, class: Class, text: impl Into<String>) -> Self {
        Self { api, class, status: None, text: text.into(), secrets: Mask::default() }
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

    /// The same, with `secret` taken out of every message too.
    pub(crate) fn with_secret(mut self, secret: &str) -> Self {
        self.secrets.add(secret);
        self
    }

    /// What failed, without personal data and secrets.
    #[must_use]
    pub fn message(&self, mask: &Mask) -> String {
        let mut all = self.secrets.clone();
        all.add_all(mask);
        format!("{}: {}", self.api, all.apply(&self.text))
    }

    /// What is the same for all users who fail for the same reason: the status and the masked message, with every word
    /// that has a digit (an id, a time, a request number) left out.
    #[must_use]
    pub fn answer(&self, mask: &Mask) -> String {
        let message = self.message(mask);
        let words = message.split_whitespace().filter(|word| !word.contains(|c: char| c.is_ascii_digit()));
        let words: Vec<&str> = words.collect();
        format!("{} {}", self.status.unwrap_or_default(), words.join(" "))
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

    #[test]
    fn a_failure_shows_its_text_only_through_a_mask() {
        let failure =
            Failure::new(Api::Mailmojo, Class::Permanent, "kari@example.com is no address").with_status(422);
        assert!(!format!("{failure:?}").contains("kari"));
        assert_eq!(failure.message(&Mask::default()), "mailmojo: [masked] is no address");
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
        let answer = |text: &str| {
            Failure::new(Api::Mailmojo, Class::Permanent, text).with_status(400).answer(&Mask::default())
        };
        assert_eq!(answer("list 7 is closed (request 91f)"), answer("list 7 is closed (request a22)"));
        assert_ne!(answer("list is closed"), answer("list is full"));
    }
}
