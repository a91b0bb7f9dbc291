//! What an API says about an error, in two parts that never meet: identifiers, which are logged and kept, and its own
//! words, which are shown to the operator who asks and then dropped.
//!
//! An API quotes other people too ("belongs to the contact …"), and no mask can know them. So no sentence of an API is
//! kept: only what has the form of an identifier. Tests: `tests/stories/privacy/what_an_api_says.rs`.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::{Map, Value};

use crate::personal::{MASKED, Mask};

/// The longest error, or answer of a token endpoint, that is looked into, in bytes. What is longer is no API's word, and
/// a few bytes of JSON may take many times their number in memory.
pub(super) const MAX_ERROR_BYTES: usize = 64 * 1024;

/// The longest part of an API's own message that is taken over, in characters.
pub(crate) const MAX_MESSAGE_CHARS: usize = 2_000;

/// The most separate texts that such a message is made of.
const MAX_TEXTS: usize = 100;

/// How deep inside an error's body its texts are looked for. What is below `errors` is looked at twice, so without an
/// end the work would double with every few levels.
const MAX_LEVELS: u32 = 8;

/// The longest identifier, in bytes. A UUID has 36.
const MAX_IDENTIFIER_BYTES: usize = 64;

/// A code or a field's name with as many digits could be a phone number.
const DIGITS_OF_A_NUMBER: usize = 7;

/// The most names of fields that are kept of one error.
const MAX_FIELDS: usize = 10;

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
    fields: Vec<String>,
    /// The request's id, which the API's support asks for.
    request_id: Option<String>,
    pub(super) words: Option<OwnWords>,
}

impl Said {
    /// Reads the body of an error. `secrets` are our credentials, which an API may say back: they are in no part of it.
    pub(crate) fn in_body(body: &[u8], secrets: &Mask) -> Self {
        let Some(answer) = error_json(body) else { return Self::default() };
        let outer = answer.as_object();
        let error = answer.get("error").and_then(Value::as_object);
        let objects = || error.into_iter().chain(outer);
        let harmless = |text: &String| secrets.apply(text) == *text;
        let first = |key: &str| objects().find_map(|object| text_of(object.get(key)?));
        let fields: BTreeSet<String> =
            objects().flat_map(fields_in).filter(|it| is_name(it)).filter(harmless).collect();
        Self {
            code: first("code").filter(|it| is_name(it)).filter(harmless),
            fields: fields.into_iter().take(MAX_FIELDS).collect(),
            request_id: first("request_id").filter(|it| is_identifier(it)).filter(harmless),
            words: own_message(&answer).map(|words| OwnWords(secrets.apply(&words))),
        }
    }

    /// The identifiers, as they are put behind a message, without those that are a value of `mask`; nothing where there are
    /// none.
    pub(super) fn facts(&self, mask: &Mask) -> String {
        // Any text can be in a request's id by chance, so nothing is lost with one that looks personal.
        self.listed(self.request_id.as_deref().filter(|id| mask.apply(id) == *id), mask)
    }

    /// What is the same for all users who are refused for the same reason: the identifiers without the request's.
    pub(super) fn reason(&self, mask: &Mask) -> String {
        self.listed(None, mask)
    }

    fn listed(&self, request_id: Option<&str>, mask: &Mask) -> String {
        let shown = |name: &&str| !is_value(name, mask);
        let code = self.code.as_deref().filter(shown).map(|code| format!("code {code}"));
        let request_id = request_id.map(|id| format!("request_id {id}"));
        let fields: Vec<&str> = self.fields.iter().map(String::as_str).filter(shown).collect();
        let fields = (!fields.is_empty()).then(|| format!("fields {}", fields.join(", ")));
        let all: Vec<String> = [code, request_id, fields].into_iter().flatten().collect();
        if all.is_empty() { String::new() } else { format!(" ({})", all.join("; ")) }
    }
}

/// Whether `name`, or a part of it, is a value of `mask`. A value within a word is none: `Per` is not meant by `permission`.
fn is_value(name: &str, mask: &Mask) -> bool {
    std::iter::once(name).chain(name.split(['_', '-', '.'])).any(|part| mask.apply(part) == MASKED)
}

/// The JSON of an error, where it is some and not too long.
pub(super) fn error_json(body: &[u8]) -> Option<Value> {
    if body.len() > MAX_ERROR_BYTES { None } else { serde_json::from_slice(body).ok() }
}

/// Whether `text` has the form of an identifier.
fn is_identifier(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    (1..=MAX_IDENTIFIER_BYTES).contains(&text.len()) && text.chars().all(fits)
}

/// Whether `text` may be the name of an error or a field: an identifier that is no phone number.
fn is_name(text: &str) -> bool {
    is_identifier(text) && text.bytes().filter(u8::is_ascii_digit).count() < DIGITS_OF_A_NUMBER
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
/// far as they are there.
fn own_message(answer: &Value) -> Option<String> {
    let mut words = Vec::new();
    collect_words(answer, MAX_LEVELS, &mut words);
    let message: String = words.join("; ").chars().take(MAX_MESSAGE_CHARS).collect();
    (!message.is_empty()).then_some(message)
}

fn collect_words(value: &Value, levels: u32, words: &mut Vec<String>) {
    const KEYS: [&str; 7] = ["code", "title", "detail", "message", "error", "errors", "error_description"];
    let Some(below) = levels.checked_sub(1) else { return };
    if words.len() >= MAX_TEXTS {
        return;
    }
    match value {
        Value::String(text) if !words.contains(text) => words.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| collect_words(item, below, words)),
        Value::Object(fields) => {
            let known = KEYS.iter().filter_map(|key| fields.get(*key));
            known.for_each(|field| collect_words(field, below, words));
            // `errors` is often an object of field names, each with its own message.
            if let Some(Value::Object(by_field)) = fields.get("errors") {
                for (field, message) in by_field.iter().take(MAX_TEXTS) {
                    let mut own = Vec::new();
                    collect_words(message, below, &mut own);
                    words.push(format!("{field}: {}", own.join(", ")));
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
        Said::in_body(body.as_bytes(), &Mask::default())
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
            (r#"{"code": {"of": "Berit"}, "errors": ["Berit", [["Berit"]]], "details": "Berit"}"#, ""),
            (r#"{"code": "", "request_id": ""}"#, ""),
            (&long, ""),
            (r#"{"error": "Berit", "title": "Berit", "detail": "Berit"}"#, ""),
            (r#""Berit""#, ""),
            ("<html>Berit</html>", ""),
            ("", ""),
        ] {
            assert_eq!(said(body).facts(&Mask::default()), facts, "{body}");
        }
    }

    #[test]
    fn an_identifier_that_is_a_name_is_left_out_and_one_that_only_has_its_letters_is_not() {
        let mut mask = Mask::default();
        ["Per", "Berit", "+47 99 88 77 66", "per.moe@example.com"].iter().for_each(|value| mask.add(value));
        for (body, facts) in [
            (r#"{"code": "insufficient_permissions"}"#, " (code insufficient_permissions)"),
            (r#"{"code": "per", "errors": {"of_BERIT": 1, "per.moe": 1, "phone": 1}}"#, " (fields phone)"),
            (r#"{"code": "Berit.Q", "request_id": "r99887766"}"#, ""),
        ] {
            assert_eq!(said(body).facts(&mask), facts, "{body}");
        }
    }

    #[test]
    fn of_many_fields_ten_are_kept() {
        let fields: Vec<String> = (0..100).map(|n| format!(r#""f{n}": "odd""#)).collect();
        let said = said(&format!(r#"{{"errors": {{{}}}}}"#, fields.join(",")));
        assert_eq!(said.fields.len(), MAX_FIELDS);
    }

    #[test]
    fn a_credential_that_an_api_says_back_is_in_no_part() {
        let mut secrets = Mask::default();
        secrets.add("canary_secret");
        let body = r#"{"error": {"code": "canary_secret", "message": "no: canary_secret", "request_id": "canary_secret",
            "details": {"canary_secret": 1, "email": 2}}}"#;
        let said = Said::in_body(body.as_bytes(), &secrets);
        assert_eq!(said.facts(&Mask::default()), " (fields email)");
        assert!(!said.words.unwrap().for_the_operator().contains("canary"));
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
        assert_eq!(said(&long(1_000)).facts(&Mask::default()), " (code odd)");
        assert_eq!(said(&long(MAX_ERROR_BYTES)), Said::default());
    }
}
