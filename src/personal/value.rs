//! JSON that may be about a person.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::MASKED;

/// A value of any JSON type, kept as it is. `Debug` prints [`MASKED`]; there is no `Display`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PersonalValue(Value);

impl PersonalValue {
    /// Wraps `value`.
    pub fn new(value: impl Into<Value>) -> Self {
        Self(value.into())
    }

    /// The value itself: for requests and comparisons, never for a log.
    #[must_use]
    pub fn as_json(&self) -> &Value {
        &self.0
    }

    /// A text as it is, and a number or a boolean as its text; none for null, an array or an object.
    #[must_use]
    pub fn text(&self) -> Option<Cow<'_, str>> {
        match &self.0 {
            Value::String(text) => Some(Cow::Borrowed(text)),
            Value::Number(_) | Value::Bool(_) => Some(Cow::Owned(self.0.to_string())),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        }
    }

    /// Whether there is nothing in it: null, or a text without a character.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_null() || self.0.as_str() == Some("")
    }
}

impl fmt::Debug for PersonalValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASKED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_value_shows_nothing_when_printed() {
        let value = PersonalValue::new(json!({"street": "Storgata 1"}));
        assert_eq!(format!("{:?}", Some(&value)), "Some([masked])");
    }

    #[test]
    fn texts_numbers_and_booleans_have_a_text_and_only_null_and_the_empty_text_are_empty() {
        for (value, text, is_empty) in [
            (json!(" 5 "), Some(" 5 "), false),
            (json!(5), Some("5"), false),
            (json!(0), Some("0"), false),
            (json!(false), Some("false"), false),
            (json!(""), Some(""), true),
            (json!(null), None, true),
            (json!([]), None, false),
            (json!({"a": 1}), None, false),
        ] {
            let value = PersonalValue::new(value);
            assert_eq!(
                (value.text().as_deref(), value.is_empty()),
                (text, is_empty),
                "{:?}",
                value.as_json()
            );
        }
    }
}
