//! Finding a user by address.

use crate::address;
use crate::sesamy::Client;
use crate::upstream::{Attempt, OwnWords};
use crate::user::UserId;

/// Why nobody was found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FindError {
    /// What was asked for is no address.
    #[error("that is no e-mail address: it has no @, or white space or an invisible character in it")]
    NoAddress,
    /// Sesamy could not be asked.
    #[error("{message}")]
    Sesamy {
        /// What failed; nothing personal is in it.
        message: String,
        /// Sesamy's own words about it, for the operator who has just asked.
        own_words: Option<OwnWords>,
    },
}

/// All users whom Sesamy knows by `address`, however it is spelled (see [`address::is_same`]): none, one or several.
///
/// # Errors
/// [`FindError`].
pub async fn users_by_email(
    sesamy: &Client,
    address: &str,
    attempt: &Attempt,
) -> Result<Vec<UserId>, FindError> {
    let address = address.trim();
    if !address::is_usable(address) {
        return Err(FindError::NoAddress);
    }
    sesamy.find_by_email(address, attempt).await.map_err(|failure| FindError::Sesamy {
        message: failure.to_string(),
        own_words: failure.own_words().cloned(),
    })
}
