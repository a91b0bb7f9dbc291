//! Access to the page and the API: the tokens, the sessions that are opened with them, and the forms of a session.
//!
//! Pure: time and randomness are passed in. A session is a signed cookie and nothing else: `1.EXPIRY.NONCE.SIGNATURE`,
//! with the HMAC-SHA256 of everything before the signature, under a key derived from the token. So every replica with the
//! same tokens verifies it, nothing is stored, the token itself is nowhere in it, and removing a token from `admin.tokens`
//! ends the sessions that were opened with it.
//!
//! A form's token is the HMAC of the session's nonce under another key made of the same token: another site cannot know it,
//! and one session's form is no good in another.

use std::fmt;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use crate::clock::Millis;
use crate::fingerprint::Fingerprint;

/// How long a session lasts.
pub(super) const LASTS: Duration = Duration::from_secs(12 * 60 * 60);

const VERSION: &str = "1";
/// What each key is for, so that a signature for one purpose is not valid for another.
const OF_SESSIONS: &[u8] = b"sesamy-mailmojo admin session 1";
const OF_FORMS: &[u8] = b"sesamy-mailmojo admin form 1";

/// The tokens of `admin.tokens`, as keys.
pub(super) struct Keys(Vec<Key>);

struct Key {
    token: Fingerprint,
    sessions: Hmac<Sha256>,
    forms: Hmac<Sha256>,
}

/// A session that is open.
#[derive(Clone)]
pub(super) struct Session {
    form_token: Fingerprint,
}

impl Keys {
    /// Derives the keys of each token. An empty token opens nothing.
    pub(super) fn new(tokens: &[SecretString]) -> Self {
        let tokens = tokens.iter().map(|token| token.expose_secret().as_bytes());
        Self(tokens.filter(|token| !token.is_empty()).filter_map(Key::new).collect())
    }

    /// Whether `sent` is one of the tokens. The time that it takes says nothing about how close a guess was.
    pub(super) fn admit(&self, sent: &[u8]) -> bool {
        self.key_of(sent).is_some()
    }

    /// The cookie's value of a new session, if `sent` is one of the tokens. `nonce` is random.
    pub(super) fn open(&self, sent: &[u8], now: Millis, nonce: [u8; 16]) -> Option<String> {
        let expiry = now.plus(LASTS).0 / 1_000;
        let signed = format!("{VERSION}.{expiry}.{}", hex::encode(nonce));
        let signature = self.key_of(sent)?.sign(&signed);
        Some(format!("{signed}.{}", signature.to_hex()))
    }

    fn key_of(&self, sent: &[u8]) -> Option<&Key> {
        let at = Fingerprint::of(sent).find_in(self.0.iter().map(|key| &key.token))?;
        self.0.get(at)
    }

    /// The session that a cookie's value names, if we have made it and its time is not over.
    pub(super) fn session(&self, cookie: &str, now: Millis) -> Option<Session> {
        let (signed, signature) = cookie.rsplit_once('.')?;
        let sent = Fingerprint::from_hex(signature.as_bytes())?;
        let right: Vec<_> = self.0.iter().map(|key| key.sign(signed)).collect();
        let key = self.0.get(sent.find_in(&right)?)?;

        let mut parts = signed.split('.');
        let (version, expiry, nonce) = (parts.next()?, parts.next()?, parts.next()?);
        let in_time = expiry.parse::<i64>().is_ok_and(|expiry| now.0 / 1_000 < expiry);
        (version == VERSION && in_time && parts.next().is_none())
            .then(|| Session { form_token: key.form(nonce) })
    }
}

impl Session {
    /// What every form of the session carries.
    pub(super) fn form_token(&self) -> String {
        self.form_token.to_hex()
    }

    /// Whether `sent` is it.
    pub(super) fn has_form(&self, sent: &str) -> bool {
        Fingerprint::from_hex(sent.as_bytes()).is_some_and(|sent| sent.find_in([&self.form_token]).is_some())
    }
}

impl Key {
    fn new(token: &[u8]) -> Option<Self> {
        let whole = Hmac::<Sha256>::new_from_slice(token).ok()?; // a key of any length is taken
        let derive = |purpose: &[u8]| {
            let key = whole.clone().chain_update(purpose).finalize().into_bytes();
            Hmac::<Sha256>::new_from_slice(&key).ok()
        };
        Some(Self { token: Fingerprint::of(token), sessions: derive(OF_SESSIONS)?, forms: derive(OF_FORMS)? })
    }

    fn sign(&self, signed: &str) -> Fingerprint {
        hmac(&self.sessions, signed)
    }

    fn form(&self, nonce: &str) -> Fingerprint {
        hmac(&self.forms, nonce)
    }
}

fn hmac(key: &Hmac<Sha256>, of: &str) -> Fingerprint {
    let bytes: [u8; 32] = key.clone().chain_update(of).finalize().into_bytes().into();
    bytes.into()
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Keys").field(&self.0.len()).finish()
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Session")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Millis = Millis(1_762_776_000_000);
    const OLD: &str = "an-admin-token-of-old";
    const NEW: &str = "an-admin-token-of-today";

    fn keys(tokens: &[&str]) -> Keys {
        Keys::new(&tokens.iter().map(|token| SecretString::from(*token)).collect::<Vec<_>>())
    }

    fn cookie(keys: &Keys, token: &str) -> String {
        keys.open(token.as_bytes(), NOON, [7; 16]).unwrap()
    }

    #[test]
    fn only_a_token_of_the_list_is_admitted() {
        let keys = keys(&[OLD, NEW, ""]);
        assert!(keys.admit(OLD.as_bytes()) && keys.admit(NEW.as_bytes()));
        for wrong in ["", "an-admin-token-of-ol", "an-admin-token-of-old ", "AN-ADMIN-TOKEN-OF-OLD"] {
            assert!(!keys.admit(wrong.as_bytes()), "{wrong:?}");
            assert_eq!(keys.open(wrong.as_bytes(), NOON, [7; 16]), None, "{wrong:?}");
        }
        assert!(!super::Keys::new(&[]).admit(b""));
    }

    #[test]
    fn a_session_is_good_on_every_replica_until_its_time_is_over() {
        let value = cookie(&keys(&[OLD, NEW]), NEW);
        let replica = keys(&[NEW]);
        assert!(replica.session(&value, NOON).is_some());
        let end = NOON.plus(LASTS);
        assert!(replica.session(&value, Millis(end.0 - 1_000)).is_some());
        assert!(replica.session(&value, end).is_none());
    }

    #[test]
    fn taking_a_token_out_ends_its_sessions_and_no_other() {
        let both = keys(&[OLD, NEW]);
        let (of_old, of_new) = (cookie(&both, OLD), cookie(&both, NEW));
        let rotated = keys(&[NEW]);
        assert!(rotated.session(&of_old, NOON).is_none());
        assert!(rotated.session(&of_new, NOON).is_some());
    }

    #[test]
    fn a_cookie_has_no_token_in_it_and_a_change_of_any_character_spoils_it() {
        let keys = keys(&[OLD]);
        let value = cookie(&keys, OLD);
        assert!(!value.contains(OLD) && !value.contains(&hex::encode(OLD)));
        for at in 0..value.len() {
            let mut bytes = value.clone().into_bytes();
            bytes[at] = if bytes[at] == b'1' { b'2' } else { b'1' };
            let changed = String::from_utf8(bytes).unwrap();
            assert!(keys.session(&changed, NOON).is_none(), "{changed}");
        }
        for wrong in ["", ".", "...", "1.9999999999.00", OLD, &value[..value.len() - 1], &format!("{value}0")]
        {
            assert!(keys.session(wrong, NOON).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_form_is_good_in_its_own_session_only() {
        let keys = keys(&[OLD]);
        let open = |nonce| {
            let value = keys.open(OLD.as_bytes(), NOON, [nonce; 16]).unwrap();
            keys.session(&value, NOON).unwrap()
        };
        let (one, other) = (open(1), open(2));
        assert!(one.has_form(&one.form_token()));
        assert!(!one.has_form(&other.form_token()));
        for wrong in ["", "00", &"00".repeat(32), OLD] {
            assert!(!one.has_form(wrong), "{wrong}");
        }
    }

    #[test]
    fn nothing_secret_is_in_a_debug_print() {
        let keys = keys(&[OLD]);
        let session = keys.session(&cookie(&keys, OLD), NOON).unwrap();
        assert_eq!(format!("{keys:?} {session:?}"), "Keys(1) Session");
    }
}
