//! What is left of a user who was forgotten: a hash that tells who is meant only to whoever names the user again.
//!
//! It is keyed, as ids can be guessed: without the key, which lies beside the hashes in the store, nobody can try them out.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::memory::ContactKeys;

/// The one connection that there is; a part of each hash, so that another's would differ.
const CONNECTION: &[u8] = b"default";

/// The key of a store, which was drawn when its table `forgetting` was made.
#[derive(Clone)]
pub(super) struct ForgettingKey(Hmac<Sha256>);

impl ForgettingKey {
    /// The key of these bytes; none where they are none.
    pub(super) fn new(bytes: &[u8]) -> Option<Self> {
        // A key of any length is taken.
        Hmac::new_from_slice(bytes).ok().filter(|_| !bytes.is_empty()).map(Self)
    }

    /// The keys of contacts on the list of this name, which have the same secret.
    pub(super) fn contact_keys(&self, list: String) -> ContactKeys {
        ContactKeys::new(self.0.clone(), list)
    }

    /// What is kept of `user`: HMAC-SHA256 of the connection, a zero byte and the id.
    pub(super) fn hash(&self, user: &str) -> [u8; 32] {
        let Self(key) = self;
        key.clone()
            .chain_update(CONNECTION)
            .chain_update([0])
            .chain_update(user)
            .finalize()
            .into_bytes()
            .into()
    }
}

impl fmt::Debug for ForgettingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ForgettingKey([REDACTED])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_the_same_each_time_and_another_for_each_user_and_key() {
        let key = |byte: u8| ForgettingKey::new(&[byte; 32]).unwrap();
        let hash = key(1).hash("email|kari");
        assert_eq!(hash, key(1).hash("email|kari"));
        assert_ne!(hash, key(1).hash("email|ola"));
        assert_ne!(hash, key(2).hash("email|kari"));
        assert!(ForgettingKey::new(b"").is_none());
    }

    /// What is in the stores has to be found by every later version.
    #[test]
    fn a_hash_is_what_it_always_was() {
        let hash = ForgettingKey::new(b"key").unwrap().hash("email|kari");
        assert_eq!(hex::encode(hash), "2586d5d7482fae615309484d22fd1e47464d90c2471779709aed8fcfad5a4105");
    }

    #[test]
    fn a_key_is_not_printed() {
        let printed = format!("{:?}", ForgettingKey::new(b"secret").unwrap());
        assert_eq!(printed, "ForgettingKey([REDACTED])");
    }
}
