//! The id of a Sesamy user: checked once where it comes in, and never written whole into a log if it could be an
//! address or a number.

use std::borrow::Cow;
use std::fmt;

use sha2::{Digest, Sha256};

/// A Sesamy user id: opaque, for instance `email|84cccf985de28a2a84824786`.
///
/// Shape: 1 to 256 bytes, without control characters, neither `.` nor `..` (they would vanish from a URL's path even
/// when percent-encoded). `Display` and `Debug` print [`UserId::for_log`]; only [`UserId::as_str`] gives the id itself.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId(String);

/// Why a string is no user id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UserIdError {
    /// No characters at all.
    #[error("the user id is empty")]
    Empty,
    /// More than [`UserId::MAX_BYTES`].
    #[error("the user id is longer than 256 bytes")]
    TooLong,
    /// A character that no id has and that could forge a log line.
    #[error("the user id has control characters")]
    ControlCharacters,
    /// `.` or `..`, which name another path.
    #[error("the user id is a relative path")]
    RelativePath,
}

impl UserId {
    /// The longest id that is taken, in bytes.
    pub const MAX_BYTES: usize = 256;

    /// Checks `id`.
    ///
    /// # Errors
    /// [`UserIdError`] names the rule that `id` breaks.
    pub fn new(id: impl Into<String>) -> Result<Self, UserIdError> {
        let id = id.into();
        if id.is_empty() {
            return Err(UserIdError::Empty);
        }
        if id.len() > Self::MAX_BYTES {
            return Err(UserIdError::TooLong);
        }
        if id.chars().any(char::is_control) {
            return Err(UserIdError::ControlCharacters);
        }
        if id == "." || id == ".." {
            return Err(UserIdError::RelativePath);
        }
        Ok(Self(id))
    }

    /// The id as Sesamy knows it: for requests and the queue, never for a log.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What a log may show: the id, or a hash of it where it has an `@` or a `+` and so could be an address or a
    /// phone number. The hash is the same each time, so that the lines of one user can still be found.
    #[must_use]
    pub fn for_log(&self) -> Cow<'_, str> {
        if self.0.contains(['@', '+']) {
            let digest = hex::encode(Sha256::digest(self.0.as_bytes()));
            Cow::Owned(format!("sha256:{}", &digest[..16]))
        } else {
            Cow::Borrowed(&self.0)
        }
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.for_log())
    }
}

impl fmt::Debug for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UserId({})", self.for_log())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ordinary_id_is_taken_and_logged_as_it_is() {
        let id = UserId::new("email|84cccf985de28a2a84824786").unwrap();
        assert_eq!(id.as_str(), "email|84cccf985de28a2a84824786");
        assert_eq!(id.to_string(), "email|84cccf985de28a2a84824786");
    }

    #[test]
    fn an_id_that_could_be_an_address_or_a_number_is_logged_as_a_hash() {
        for personal in ["email|kari@example.com", "sms|+4799999999"] {
            let id = UserId::new(personal).unwrap();
            assert!(id.to_string().starts_with("sha256:"), "{id}");
            assert!(!format!("{id:?}").contains(personal));
            assert_eq!(id.to_string(), UserId::new(personal).unwrap().to_string());
        }
    }

    #[test]
    fn what_is_no_id_is_refused_with_its_reason() {
        let long = "x".repeat(257);
        for (bad, why) in [
            ("", UserIdError::Empty),
            (long.as_str(), UserIdError::TooLong),
            ("a\nb", UserIdError::ControlCharacters),
            ("a\u{85}b", UserIdError::ControlCharacters),
            (".", UserIdError::RelativePath),
            ("..", UserIdError::RelativePath),
        ] {
            assert_eq!(UserId::new(bad), Err(why));
        }
        assert!(UserId::new("x".repeat(256)).is_ok());
        assert!(UserId::new("...").is_ok());
    }
}
