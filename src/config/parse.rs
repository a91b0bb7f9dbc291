//! From a raw value to a typed one, one function per kind of setting.
//!
//! Each takes numbers and booleans as such (TOML) or as text (the environment). An error is the end of a sentence that
//! begins with the setting's name. It shows the value where that helps, but never that of a secret, nor anything with
//! an `@` in it.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use ::config::{Value, ValueKind};
use axum::http::HeaderName;
use jiff::{SignedDuration, Span, SpanRelativeTo};
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};

use crate::queue::PostgresUrl;
use crate::telemetry::{self, Format};

/// What a parser returns.
pub(super) type Parsed<T> = Result<T, String>;

/// A shorter secret could be guessed.
pub(super) const SHORTEST_SAFE_SECRET: usize = 16;
/// The longest duration that is accepted: it can be added to any time without overflow.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// More users at a time gain nothing beside the APIs' rate limits, and cost a connection each.
const MOST_AT_A_TIME: usize = 1_000;
/// Longer than any question reaches back, and short enough to add to any time.
const MOST_DAYS: u16 = 3_650;
const SHOWN_CHARACTERS: usize = 60;

/// `value` in quotes as an error may show it: cut when long, and not at all where it could be an address or hold a
/// password.
pub(super) fn shown(value: &str) -> String {
    if value.contains('@') {
        return "a value with an @ in it".to_owned();
    }
    match value.char_indices().nth(SHOWN_CHARACTERS) {
        Some((end, _)) => format!("{:?}…", &value[..end]),
        None => format!("{value:?}"),
    }
}

/// Text that is not empty, white space around it taken off.
pub(super) fn text(value: &Value) -> Parsed<String> {
    let text = match &value.kind {
        ValueKind::String(text) => text.trim(),
        other => return Err(format!("is {}, but has to be text in quotes", kind(other))),
    };
    if text.is_empty() { Err("is empty".to_owned()) } else { Ok(text.to_owned()) }
}

/// A list of texts, none of them empty; the list itself may be.
pub(super) fn texts(value: &Value) -> Parsed<Vec<String>> {
    items(value, text)
}

/// A list, each item of it read by `item`.
fn items<T>(value: &Value, item: fn(&Value) -> Parsed<T>) -> Parsed<Vec<T>> {
    let numbered =
        |(at, value)| item(value).map_err(|what| format!("has a wrong item, number {}: it {what}", at + 1));
    match &value.kind {
        ValueKind::Array(items) => items.iter().enumerate().map(numbered).collect(),
        ValueKind::String(text) if text.trim().is_empty() => Err("is empty".to_owned()),
        other => Err(format!("is {}, but has to be a list: [\"one\", \"two\"]", kind(other))),
    }
}

/// A token or a secret as it can be sent in a header and in a form: visible ASCII without white space.
pub(super) fn secret(value: &Value) -> Parsed<SecretString> {
    client_id(value).map(SecretString::from)
}

/// A list of tokens or secrets.
pub(super) fn secrets(value: &Value) -> Parsed<Vec<SecretString>> {
    items(value, secret)
}

/// A list of tokens that cannot be guessed. A shorter one is an error here and not only a warning: whoever guesses it
/// rules the list.
pub(super) fn admin_tokens(value: &Value) -> Parsed<Vec<SecretString>> {
    items(value, |item| {
        let token = secret(item)?;
        if token.expose_secret().len() < SHORTEST_SAFE_SECRET {
            return Err(format!(
                "is shorter than {SHORTEST_SAFE_SECRET} characters and could be guessed; `openssl rand -hex 32` makes a \
                 good one"
            ));
        }
        Ok(token)
    })
}

/// As strict as a secret, so that one pasted with a line break is found.
pub(super) fn client_id(value: &Value) -> Parsed<String> {
    let text = text(value)?;
    if text.chars().any(char::is_whitespace) {
        Err("has white space inside (a line break pasted along with it?)".to_owned())
    } else if !text.chars().all(|c| c.is_ascii_graphic()) {
        Err("has characters that are not visible ASCII, which no header can carry".to_owned())
    } else {
        Ok(text)
    }
}

/// `true` or `false`; as text also `1`, `0`, `yes`, `no`, `on` and `off`.
pub(super) fn boolean(value: &Value) -> Parsed<bool> {
    if let ValueKind::Boolean(value) = value.kind {
        return Ok(value);
    }
    let text = text_of(value)?;
    let trimmed = Value::new(None, text.as_str());
    trimmed.into_bool().map_err(|_| format!("is {}, which is neither true nor false", shown(&text)))
}

/// A whole number above 0.
pub(super) fn positive<T: FromStr>(value: &Value) -> Parsed<T> {
    let text = text_of(value)?;
    let digits = text.chars().all(|c| c.is_ascii_digit());
    if !digits || text.chars().all(|c| c == '0') {
        return Err(format!("is {}, which is not a whole number above 0", shown(&text)));
    }
    text.parse().map_err(|_| format!("is {}, which is too large", shown(&text)))
}

/// How many users are synced at a time.
pub(super) fn concurrency(value: &Value) -> Parsed<NonZeroUsize> {
    let number: NonZeroUsize = positive(value)?;
    if number.get() > MOST_AT_A_TIME {
        return Err(format!("is {number}, more than {MOST_AT_A_TIME}"));
    }
    Ok(number)
}

/// For how many days something is remembered.
pub(super) fn days(value: &Value) -> Parsed<u16> {
    let days: u64 = positive(value)?;
    let within = u16::try_from(days).ok().filter(|days| *days <= MOST_DAYS);
    within.ok_or_else(|| format!("is {days}, more than {MOST_DAYS}"))
}

/// A duration of a millisecond to a year.
pub(super) fn duration(value: &Value) -> Parsed<Duration> {
    let duration = duration_or_zero(value)?;
    if duration.is_zero() { Err("is zero, but has to be longer".to_owned()) } else { Ok(duration) }
}

/// A duration of a millisecond to a year, or zero.
pub(super) fn duration_or_zero(value: &Value) -> Parsed<Duration> {
    let text = text_of(value)?;
    if text.parse::<f64>().is_ok() {
        return Err(format!("is {}, a number without a unit: {text}s, {text}m or {text}ms?", shown(&text)));
    }
    let signed = length(&text).ok_or_else(|| format!("is {}, which is no duration", shown(&text)))?;
    let duration =
        Duration::try_from(signed).map_err(|_| format!("is {}, which is below zero", shown(&text)))?;
    if duration > LONGEST {
        Err(format!("is {}, which is longer than a year", shown(&text)))
    } else if !duration.is_zero() && duration < Duration::from_millis(1) {
        Err(format!("is {}, which is shorter than a millisecond", shown(&text)))
    } else {
        Ok(duration)
    }
}

/// A length of time in units of up to weeks; a day has 24 hours.
fn length(text: &str) -> Option<SignedDuration> {
    let span: Span = text.parse().ok()?;
    span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()
}

/// How often something is done: a duration of a millisecond to a year; `None` if it is 0, with a unit or without.
pub(super) fn duration_or_never(value: &Value) -> Parsed<Option<Duration>> {
    if text_of(value)? == "0" {
        return Ok(None);
    }
    let every = duration_or_zero(value)?;
    Ok((!every.is_zero()).then_some(every))
}

/// The name of an HTTP header.
pub(super) fn header_name(value: &Value) -> Parsed<String> {
    let name = text(value)?;
    match HeaderName::from_bytes(name.as_bytes()) {
        Ok(_) => Ok(name),
        Err(_) => Err(format!("is {}, which is no name of an HTTP header", shown(&name))),
    }
}

/// The format of log lines.
pub(super) fn log_format(value: &Value) -> Parsed<Format> {
    let name = text(value)?;
    name.parse().map_err(|_| format!("is {}, which is neither json nor pretty", shown(&name)))
}

/// A level or filter of the log.
pub(super) fn log_filter(value: &Value) -> Parsed<String> {
    let filter = text(value)?;
    match telemetry::filter(&filter) {
        Ok(_) => Ok(filter),
        Err(error) => Err(format!("is {}, which is no filter: {error}", shown(&filter))),
    }
}

/// An IP address with its port.
pub(super) fn socket_address(value: &Value) -> Parsed<SocketAddr> {
    let text = text(value)?;
    text.parse().map_err(|_| format!("is {}, which is not an IP address and a port", shown(&text)))
}

/// The address of an API: http or https, with a host, and without a user, a query or a fragment.
pub(super) fn http_url(value: &Value) -> Parsed<Url> {
    let text = text(value)?;
    let shown =
        if text.contains(['?', '#']) { "an address with a ? or # in it".to_owned() } else { shown(&text) };
    let url = Url::parse(&text).map_err(|error| format!("is {shown}, which is not a URL: {error}"))?;
    let fault = if !matches!(url.scheme(), "http" | "https") {
        "which does not begin with https:// or http://"
    } else if url.host_str().is_none_or(str::is_empty) {
        "which names no host"
    } else if !url.username().is_empty() || url.password().is_some() {
        "which has a user name or password in it; credentials have settings of their own"
    } else if url.query().is_some() || url.fragment().is_some() {
        "and takes neither"
    } else {
        return Ok(url);
    };
    Err(format!("is {shown}, {fault}"))
}

/// Where the queue is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum QueueUrl {
    /// The path of an SQLite file; relative to the working directory, or absolute.
    Sqlite(PathBuf),
    Postgres(PostgresUrl),
}

/// The URL of the queue. Nothing of the value is shown: a database's address holds its password.
pub(super) fn queue_url(value: &Value) -> Parsed<QueueUrl> {
    let text = text(value)?;
    if text.contains(":memory:") {
        return Err("keeps the queue in memory, where a restart would lose events".to_owned());
    }
    if text.starts_with("postgres://") || text.starts_with("postgresql://") {
        return PostgresUrl::parse(&text).map(QueueUrl::Postgres);
    }
    let Some(path) = text.strip_prefix("sqlite://") else {
        return Err("does not begin with sqlite:// or postgres://".to_owned());
    };
    if path.is_empty() || path.ends_with('/') {
        return Err("names no file".to_owned());
    }
    if path.contains('?') || path.starts_with("file:") || path.chars().any(char::is_control) {
        return Err(
            "has more than a path after sqlite:// (parameters, file: or control characters)".to_owned()
        );
    }
    Ok(QueueUrl::Sqlite(PathBuf::from(path)))
}

/// A number, a boolean or text as text.
fn text_of(value: &Value) -> Parsed<String> {
    match &value.kind {
        ValueKind::I64(_) | ValueKind::U64(_) | ValueKind::Boolean(_) => Ok(value.kind.to_string()),
        ValueKind::Float(number) => Ok(format!("{number:?}")), // 5.0 stays 5.0, and is no whole number
        ValueKind::String(_) => text(value),
        other => Err(format!("is {}, but has to be a single value", kind(other))),
    }
}

/// What a value is, in words.
pub(super) fn kind(kind: &ValueKind) -> &'static str {
    match kind {
        ValueKind::Nil => "nothing",
        ValueKind::Boolean(_) => "true or false without quotes",
        ValueKind::Float(_) => "a number with a decimal point",
        ValueKind::String(_) => "a single text",
        ValueKind::Table(_) => "a table",
        ValueKind::Array(_) => "a list",
        ValueKind::I64(_) | ValueKind::I128(_) | ValueKind::U64(_) | ValueKind::U128(_) => {
            "a number without quotes"
        }
    }
}
