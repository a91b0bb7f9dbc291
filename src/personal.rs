//! Personal data: values whose `Debug` shows nothing.
//!
//! No such value is ever put into a message, so no message has to be masked. Tags are the exception: they are logged and kept
//! as a publisher wrote them, and [`without_addresses`] masks an address in one.

mod value;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use value::PersonalValue;

/// What stands where personal data stood.
pub const MASKED: &str = "[masked]";

/// An address, a name or a phone number. `Debug` prints [`MASKED`]; there is no `Display`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Personal(String);

impl Personal {
    /// Wraps `value`.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself: for requests and comparisons, never for a log.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The value without white space at its ends; none if nothing is left.
    #[must_use]
    pub fn trimmed(&self) -> Option<&str> {
        Some(self.0.trim()).filter(|value| !value.is_empty())
    }
}

impl fmt::Debug for Personal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASKED)
    }
}

/// The first of `candidates` that is not blank, trimmed.
pub fn first_present<'a>(candidates: impl IntoIterator<Item = &'a Option<Personal>>) -> Option<Personal> {
    candidates.into_iter().flatten().find_map(Personal::trimmed).map(Personal::new)
}

/// `tags` with [`MASKED`] in place of every word that holds an `@`: a publisher's own tag can be anything, even an address.
/// Control characters, which could forge a log line, become spaces.
#[must_use]
pub fn without_addresses(tags: &[String]) -> Vec<String> {
    let is_blank = |c: char| c.is_whitespace() || c.is_control();
    let masked = |tag: &String| {
        let words = tag.split(is_blank).map(|word| if word.contains('@') { MASKED } else { word });
        words.collect::<Vec<_>>().join(" ")
    };
    tags.iter().map(masked).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_personal_value_shows_nothing_when_printed() {
        assert_eq!(format!("{:?}", Some(Personal::new("kari@example.com"))), "Some([masked])");
    }

    #[test]
    fn an_address_in_a_tag_is_masked() {
        for (tag, shown) in [
            ("sesamy_tag_early-bird", "sesamy_tag_early-bird"),
            ("sesamy_tag_Kari@Example.com", "[masked]"),
            ("gift of <kari@example.com>, 2024", "gift of [masked] 2024"),
            ("a\u{1b}b\nc", "a b c"),
            ("", ""),
        ] {
            assert_eq!(without_addresses(&[tag.to_owned()]), [shown]);
        }
    }
}
