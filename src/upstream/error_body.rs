//! What an API says about an error, in two parts that never meet: identifiers, which are logged and kept, and its own
//! words, which are shown to the operator who asks and then dropped.
//!
//! An API quotes other people too ("belongs to the contact …"), whom nothing here knows. So no sentence of an API is
//! kept: only what has the form of an identifier. Tests: `tests/stories/what_an_api_says.rs`.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::{Map, Value};

use crate::personal::MASKED;

/// The longest error, or answer of a token endpoint, that is parsed, in bytes: a few bytes of JSON may take many times
/// their number in memory.
pub(super) const MAX_ERROR_BYTES: usize = 64 * 1024;

/// The most that is shown of an API's own message, in characters.
const MAX_MESSAGE_CHARS: usize = 2_000;

/// The most separate texts that such a message is made of.
const MAX_TEXTS: usize = 100;

/// The longest identifier, in bytes. A UUID has 36.
const MAX_IDENTIFIER_BYTES: usize = 64;

/// That many digits could be a phone number.
const DIGITS_OF_A_NUMBER: usize = 7;

/// An API's own words about an error: for the operator who has just asked, and for nobody else.
///
/// They may quote anybody, so there is no way from here into a log or a store: no `Display`, no `Serialize`, and `Debug`
/// shows nothing. Our own credentials are taken out.
#[derive(Clone, PartialEq, Eq)]
pub struct OwnWords(String);

impl OwnWords {
    /// The words. Only for the answer to the person who asked.
    #[must_use]
    pub fn for_the_operator(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for OwnWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OwnWords(…)")
    }
}

/// What an API says about an error.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Said {
    /// The error's `code`.
    code: Option<String>,
    /// The names of the fields that it complains of, sorted.
    fields: BTreeSet<String>,
    /// The request's id, which the API's support asks for.
    request_id: Option<String>,
    pub(super) words: Option<OwnWords>,
}

impl Said {
    /// Reads the body of an error. Of the fields that it complains of only `field_names` are kept, which are published: a key
    /// of any other name may be somebody's name. `secrets` are our credentials, which an API may say back: they are in no
    /// part of it.
    pub(crate) fn in_body(body: &[u8], field_names: &[&str], secrets: &[&str]) -> Self {
        let Some(answer) = error_json(body) else { return Self::default() };
        let outer = answer.as_object();
        let error = answer.get("error").and_then(Value::as_object);
        let objects = || error.into_iter().chain(outer);
        let has_secret = |text: &String| secrets.iter().any(|secret| text.contains(secret));
        let identifier = |key: &str| {
            let text = objects().find_map(|object| text_of(object.get(key)?));
            text.filter(|text| is_identifier(text) && !has_secret(text))
        };
        let is_published = |name: &String| field_names.contains(&name.as_str());
        Self {
            code: identifier("code"),
            fields: objects().flat_map(fields_in).filter(is_published).collect(),
            request_id: identifier("request_id"),
            words: own_message(&answer, secrets).map(OwnWords),
        }
    }

    /// The identifiers, as they are put behind a message; nothing where there are none.
    pub(super) fn facts(&self) -> String {
        self.listed(self.request_id.as_deref())
    }

    /// What is the same for all users who are refused for the same reason: the identifiers without the request's.
    pub(super) fn reason(&self) -> String {
        self.listed(None)
    }

    fn listed(&self, request_id: Option<&str>) -> String {
        let code = self.code.as_deref().map(|code| format!("code {code}"));
        let request_id = request_id.map(|id| format!("request_id {id}"));
        let fields: Vec<&str> = self.fields.iter().map(String::as_str).collect();
        let fields = (!fields.is_empty()).then(|| format!("fields {}", fields.join(", ")));
        let all: Vec<String> = [code, request_id, fields].into_iter().flatten().collect();
        if all.is_empty() { String::new() } else { format!(" ({})", all.join("; ")) }
    }
}

/// The JSON of an error, where it is some and not too long.
pub(super) fn error_json(body: &[u8]) -> Option<Value> {
    if body.len() > MAX_ERROR_BYTES { None } else { serde_json::from_slice(body).ok() }
}

/// Whether `text` has the form of an identifier, and not that of a phone number.
fn is_identifier(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    (1..=MAX_IDENTIFIER_BYTES).contains(&text.len())
        && text.chars().all(fits)
        && (is_uuid(text) || !has_number(text))
}

/// Whether there are as many digits in a row as a phone number has, whatever separates them.
fn has_number(text: &str) -> bool {
    let digits = |part: &str| part.bytes().filter(u8::is_ascii_digit).count();
    text.split(|c: char| c.is_ascii_alphabetic()).any(|part| digits(part) >= DIGITS_OF_A_NUMBER)
}

/// Whether `text` is a UUID, in which any number of digits may stand in a row by chance.
fn is_uuid(text: &str) -> bool {
    text.split('-').map(str::len).eq([8, 4, 4, 4, 12])
        && text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
}

/// A text, or a number as text.
fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The fields that an error complains of, under `errors` or `details`: the keys of an object, or what each has as `field`.
///
/// Source: assumed. Published are only the names `errors` (Mailmojo) and `details` (Sesamy).
fn fields_in(error: &Map<String, Value>) -> Vec<String> {
    let field = |object: &Map<String, Value>| text_of(object.get("field")?);
    let of = |value: &Value| match value {
        Value::Object(object) => {
            field(object).map_or_else(|| object.keys().cloned().collect(), |it| vec![it])
        }
        Value::Array(items) => items.iter().filter_map(Value::as_object).filter_map(field).collect(),
        _ => Vec::new(),
    };
    ["errors", "details"].iter().filter_map(|key| error.get(*key)).flat_map(of).collect()
}

/// The API's own words about an error: `code`, `title`, `detail`, `message`, `error`, `errors` and `error_description`, as
/// far as they are there, without the `secrets`.
fn own_message(answer: &Value, secrets: &[&str]) -> Option<String> {
    let mut words = Vec::new();
    collect_words(answer, &mut words);
    // Masked before it is cut: half a secret at the end would not be found.
    let message = secrets.iter().fold(words.join("; "), |words, secret| words.replace(secret, MASKED));
    (!message.is_empty()).then(|| message.chars().take(MAX_MESSAGE_CHARS).collect())
}

fn collect_words(value: &Value, words: &mut Vec<String>) {
    const KEYS: [&str; 7] = ["code", "title", "detail", "message", "error", "error_description", "errors"];
    if words.len() >= MAX_TEXTS {
        return;
    }
    match value {
        Value::String(text) if !words.contains(text) => words.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| collect_words(item, words)),
        Value::Object(fields) => {
            for key in KEYS {
                match fields.get(key) {
                    // `errors` is often an object of field names, each with its own message.
                    Some(Value::Object(by_field)) if key == "errors" => {
                        for (field, message) in by_field.iter().take(MAX_TEXTS) {
                            let mut own = Vec::new();
                            collect_words(message, &mut own);
                            words.push(format!("{field}: {}", own.join(", ")));
                        }
                    }
                    Some(value) => collect_words(value, words),
                    None => {}
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    fn said(body: &str) -> Said {
        Said::in_body(body.as_bytes(), &["email", "phone", "tags"], &[])
    }

    fn words(body: &str) -> Option<String> {
        said(body).words.map(|words| words.for_the_operator().to_owned())
    }

    #[test]
    fn only_what_has_the_form_of_an_identifier_is_kept_of_an_error() {
        let long = format!(r#"{{"code": "{}"}}"#, "x".repeat(65));
        for (body, facts) in [
            (
                r#"{"error": {"code": "validation_error", "message": "Berit Q. has it", "request_id": "req-7.F"}}"#,
                " (code validation_error; request_id req-7.F)",
            ),
            (r#"{"code": 4012, "request_id": 4711}"#, " (code 4012; request_id 4711)"),
            (
                r#"{"errors": {"phone": ["belongs to Berit Q."], "email": "too"}, "message": "odd"}"#,
                " (fields email, phone)",
            ),
            (
                r#"{"error": {"code": "odd", "details": [{"field": "tags", "message": "Berit"}, {"field": "tags"}]}}"#,
                " (code odd; fields tags)",
            ),
            (r#"{"error": {"details": {"field": "phone", "owner": "Berit"}}}"#, " (fields phone)"),
            // Sentences, addresses and numbers of people in the places of identifiers.
            (r#"{"code": "belongs to Berit", "request_id": "of Berit Q."}"#, ""),
            (r#"{"code": "berit@example.com", "errors": {"berit@example.com": "odd", "Bjørg": 1}}"#, ""),
            (r#"{"code": "99887766", "errors": {"99.88.77.66": "odd", "+4799887766": "odd"}}"#, ""),
            (
                r#"{"errors": {"Berit": "odd", "phone": "odd"}, "request_id": "4799887766"}"#,
                " (fields phone)",
            ),
            (r#"{"code": {"of": "Berit"}, "errors": ["Berit", [["Berit"]]], "details": "Berit"}"#, ""),
            (r#"{"code": "", "request_id": ""}"#, ""),
            (&long, ""),
            (r#"{"error": "Berit", "title": "Berit", "detail": "Berit"}"#, ""),
            (r#""Berit""#, ""),
            ("<html>Berit</html>", ""),
            ("", ""),
        ] {
            assert_eq!(said(body).facts(), facts, "{body}");
        }
    }

    #[test]
    fn an_identifier_has_no_number_in_it_that_could_be_a_phone_but_a_uuid_has_any() {
        for (text, expected) in [
            ("validation_error", true),
            ("E-4012.7", true),
            ("req_20-ab-99", true),
            ("84cccf985de28a2a84824786", false),
            ("99887766", false),
            ("99-88-77-66", false),
            ("tel_99.88.77.66", false),
            ("12345678-1234-4123-8123-123456789012", true),
            ("12345678-1234-4123-8123-12345678901x", false),
            ("12345678-1234-4123-8123", false),
        ] {
            assert_eq!(is_identifier(text), expected, "{text}");
        }
    }

    #[test]
    fn a_credential_that_an_api_says_back_is_in_no_part() {
        let body = r#"{"error": {"code": "canary_secret", "message": "no: canary_secret!", "request_id": "r-canary_secret"}}"#;
        let said = Said::in_body(body.as_bytes(), &[], &["canary_secret"]);
        assert_eq!(said.facts(), "");
        assert_eq!(said.words.unwrap().for_the_operator(), "[masked]; no: [masked]!");

        let cut = format!(r#"{{"message": "{}canary_secret"}}"#, "x".repeat(MAX_MESSAGE_CHARS - 8));
        let said = Said::in_body(cut.as_bytes(), &[], &["canary_secret"]);
        assert!(said.words.unwrap().for_the_operator().ends_with("x[masked]"));
    }

    #[test]
    fn the_own_words_of_an_api_are_printed_by_no_debug() {
        let said = said(r#"{"message": "belongs to Berit Q."}"#);
        assert!(said.words.is_some() && !format!("{said:?}").contains("Berit"));
    }

    #[test]
    fn an_apis_own_words_are_found_wherever_it_puts_them() {
        for (body, expected) in [
            (r#"{"error": {"code": "bad", "message": "no such list"}}"#, Some("bad; no such list")),
            (r#"{"title": "Bad Request", "detail": "odd address"}"#, Some("Bad Request; odd address")),
            (r#"{"message": "odd"}"#, Some("odd")),
            (r#"{"errors": ["one", {"message": "two"}]}"#, Some("one; two")),
            (r#"{"errors": {"email": ["is odd"], "phone": "too"}}"#, Some("email: is odd; phone: too")),
            (r#"{"something": "else"}"#, None),
            ("<html>", None),
            ("", None),
        ] {
            assert_eq!(words(body).as_deref(), expected, "{body}");
        }
    }

    #[test]
    fn an_error_that_is_nested_deep_or_has_many_texts_is_read_in_no_time() {
        let deep = format!(r#"{}"odd"{}"#, r#"{"errors":"#.repeat(120), "}".repeat(120));
        let all = |one: &dyn Fn(u32) -> String| (0..4_000).map(one).collect::<Vec<_>>().join(",");
        let many = format!("[{}]", all(&|n| format!(r#""{n}""#)));
        let fields = format!(r#"{{"errors":{{{}}}}}"#, all(&|n| format!(r#""{n}":["odd"]"#)));
        let started = Instant::now();
        for body in [deep, many, fields] {
            assert!(body.len() <= MAX_ERROR_BYTES);
            let chars = words(&body).map_or(0, |message| message.chars().count());
            assert!(chars <= MAX_MESSAGE_CHARS);
        }
        assert!(started.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn what_is_too_long_for_an_error_is_not_looked_into() {
        let long = |length: usize| format!(r#"{{"code":"odd","message":"{}"}}"#, "x".repeat(length));
        assert_eq!(said(&long(1_000)).facts(), " (code odd)");
        assert_eq!(said(&long(MAX_ERROR_BYTES)), Said::default());
    }
}
