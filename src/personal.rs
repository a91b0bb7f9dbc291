//! Personal data: values whose `Debug` shows nothing, and the mask that takes them out of text that others have written.
//!
//! No sentence of an API is logged or kept, but identifiers of its errors and a publisher's own tags are, and either may be
//! somebody's name. The [`Mask`] of a sync knows that sync's own values and finds them in any letter case, Unicode form and
//! encoding, together with every word that holds an `@`.

mod escapes;
mod mask;
mod value;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use mask::Mask;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_personal_value_shows_nothing_when_printed() {
        assert_eq!(format!("{:?}", Some(Personal::new("kari@example.com"))), "Some([masked])");
    }
}
