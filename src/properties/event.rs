//! A body is read as serde_json reads it, or refused: never otherwise.
//!
//! Input: the body.

use serde_json::Value;

use crate::event::{self, EventError, EventType, MAX_DEPTH, Reading, Reason};
use crate::user::UserIdError;

pub fn hold(body: &[u8]) {
    let read = event::read(body, None);
    let text = std::str::from_utf8(body).map(with_whole_emojis);
    let value: Option<Value> = text.as_ref().ok().and_then(|text| serde_json::from_str(text).ok());
    let (Ok(text), Some(value)) = (text, value) else {
        // Where plain serde_json can read nothing, nothing was read. (It gives up at 128 levels.)
        assert!(read.is_err(), "{read:?}");
        return;
    };
    let text = text.as_str(); // JSON by now, so scanning it is simple
    let had_halves = serde_json::from_slice::<Value>(body).is_err();
    let lost_a_sign = value["userId"].as_str().is_some_and(|id| id.contains(char::REPLACEMENT_CHARACTER));
    if had_halves && lost_a_sign {
        assert!(read.is_err(), "{read:?}");
        return;
    }
    let (depth, keys) = depth_and_keys(text);
    let has_twins = keys != keys_in(&value);
    match (depth > MAX_DEPTH, has_twins) {
        (true, true) => assert!(matches!(
            read,
            Err(EventError::TooDeep | EventError::DuplicateKey | EventError::NotAnObject)
        )),
        (true, false) => {
            assert!(matches!(read, Err(EventError::TooDeep | EventError::NotAnObject)), "{read:?}")
        }
        (false, true) => {
            assert!(matches!(read, Err(EventError::DuplicateKey | EventError::NotAnObject)), "{read:?}");
        }
        (false, false) => {
            assert_eq!(read, expected(&value, None), "{text}");
            assert_eq!(event::read(body, Some("vendor_1")), expected(&value, Some("vendor_1")), "{text}");
        }
    }
}

/// The contract, over a value that is known to be plain.
fn expected(value: &Value, vendor: Option<&str>) -> Result<Reading, EventError> {
    let fields = value.as_object().ok_or(EventError::NotAnObject)?;
    let name = fields.get("eventType").ok_or(EventError::NoEventType)?;
    let name = name.as_str().ok_or(EventError::EventTypeNotAString)?;
    if name.is_empty() {
        return Err(EventError::EmptyEventType);
    }
    if vendor.is_some() && fields.get("vendorId").and_then(Value::as_str) != vendor {
        return Err(EventError::OtherVendor);
    }
    let Some(event_type) = EventType::ALL.into_iter().find(|it| it.as_str() == name) else {
        return Ok(Reading::Ignored(Reason::UnknownEventType));
    };
    let id = match fields.get("userId") {
        None | Some(Value::Null) => return Ok(Reading::Ignored(Reason::NoUserId(event_type))),
        Some(Value::String(id)) if id.is_empty() => {
            return Ok(Reading::Ignored(Reason::NoUserId(event_type)));
        }
        Some(Value::String(id)) => id,
        Some(_) => return Err(EventError::UserIdNotAString),
    };
    let fault = if id.len() > 256 {
        Some(UserIdError::TooLong)
    } else if id.chars().any(|c| matches!(c, '\0'..='\x1f' | '\x7f'..='\u{9f}')) {
        Some(UserIdError::ControlCharacters)
    } else if matches!(id.as_str(), "." | "..") {
        Some(UserIdError::RelativePath)
    } else {
        None
    };
    match fault {
        Some(fault) => Err(EventError::UserId(fault)),
        None => Ok(Reading::Event { user: crate::user::UserId::new(id.as_str()).unwrap(), event_type }),
    }
}

/// The same with each run of `\uXXXX` decoded and written anew, halves of emojis as U+FFFD.
fn with_whole_emojis(text: &str) -> String {
    let (mut written, mut rest) = (String::new(), text);
    loop {
        let mut units = Vec::new();
        while let Some(unit) = escaped_unit(rest) {
            units.push(unit);
            rest = &rest[6..];
        }
        for c in char::decode_utf16(units) {
            let mut both = [0; 2];
            let c = c.unwrap_or(char::REPLACEMENT_CHARACTER);
            c.encode_utf16(&mut both).iter().for_each(|unit| written += &format!("\\u{unit:04x}"));
        }
        let mut chars = rest.chars();
        let Some(next) = chars.next() else { return written };
        written.push(next);
        if next == '\\' {
            written.extend(chars.next());
        }
        rest = chars.as_str();
    }
}

fn escaped_unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then(|| u16::from_str_radix(digits, 16).unwrap())
}

/// How deep valid JSON is nested, and how many keys are written in it.
fn depth_and_keys(text: &str) -> (usize, usize) {
    let (mut depth, mut deepest, mut keys) = (0_usize, 0, 0);
    let (mut in_string, mut escaped) = (false, false);
    for c in text.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if in_string => escaped = true,
            '"' => in_string = !in_string,
            _ if in_string => {}
            '[' | '{' => depth += 1,
            ']' | '}' => depth -= 1,
            ':' => keys += 1, // outside of strings it is nowhere else
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    (deepest, keys)
}

/// How many keys are left of them once one has taken its twin's place.
fn keys_in(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.iter().map(keys_in).sum(),
        Value::Object(fields) => fields.len() + fields.values().map(keys_in).sum::<usize>(),
        _ => 0,
    }
}
