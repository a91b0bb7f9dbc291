//! What is left of a forgotten user: a hash, which reveals the user only if the same id is given again.
//!
//! It is keyed, as ids can be guessed: without the key, which lies beside the hashes in the store, guesses cannot be checked.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::model::ContactKeys;

/// The first part of each hash: it keeps these apart from the hashes of addresses, which have the same secret.
const CONTEXT: &[u8] = b"default";

/// The key of a store, drawn when the store was made.
#[derive(Clone)]
pub(super) struct ErasureKey(Hmac<Sha256>);

impl ErasureKey {
    /// The key of these bytes.
    pub(super) fn new(bytes: &[u8]) -> Self {
        // HMAC takes a key of any length, so that this cannot fail.
        Self(Hmac::new_from_slice(bytes).unwrap_or_else(|_| Hmac::new(&Default::default())))
    }

    /// The key whose bytes are the text in a document; `None` if there is no document or no text in it.
    pub(super) fn of_document(json: Option<String>) -> Option<Self> {
        let text = serde_json::from_str::<String>(&json?).ok()?;
        Some(text).filter(|text| !text.is_empty()).map(|text| Self::new(text.as_bytes()))
    }

    /// The keys of contacts on the list of this name, which have the same secret.
    pub(super) fn contact_keys(&self, list: String) -> ContactKeys {
        ContactKeys::new(self.0.clone(), list)
    }

    /// What is kept of `user`: HMAC-SHA256 of a constant, a zero byte and the id, as lower-case hex.
    pub(super) fn hash(&self, user: &str) -> String {
        let Self(key) = self;
        let whole = key.clone().chain_update(CONTEXT).chain_update([0]).chain_update(user);
        hex::encode(whole.finalize().into_bytes())
    }
}

impl fmt::Debug for ErasureKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ErasureKey([REDACTED])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_the_same_each_time_and_another_for_each_user_and_key() {
        let key = |byte: u8| ErasureKey::new(&[byte; 32]);
        let hash = key(1).hash("email|kari");
        assert_eq!(hash, key(1).hash("email|kari"));
        assert_ne!(hash, key(1).hash("email|ola"));
        assert_ne!(hash, key(2).hash("email|kari"));
    }

    /// What is in the stores has to be found by every later version.
    #[test]
    fn a_hash_is_what_it_always_was() {
        let hash = ErasureKey::new(b"key").hash("email|kari");
        assert_eq!(hash, "2586d5d7482fae615309484d22fd1e47464d90c2471779709aed8fcfad5a4105");
    }

    #[test]
    fn a_key_is_not_printed() {
        let printed = format!("{:?}", ErasureKey::new(b"secret"));
        assert_eq!(printed, "ErasureKey([REDACTED])");
    }
}
