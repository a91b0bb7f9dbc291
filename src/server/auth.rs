//! Authentication of webhooks: bearer tokens and HMAC-SHA256 signatures, several of each.
//!
//! Promises, each a test: one valid credential of either kind is enough; the time that a refusal takes does not
//! depend on how close a guess was; no secret and no guess is in an error, a log or a `Debug` print.

use std::fmt;

use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderName};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use crate::fingerprint::Fingerprint;

/// Checks the credentials of a request.
pub struct Authenticator {
    tokens: Vec<Fingerprint>,
    /// Keyed once; a request works on a clone.
    keys: Vec<Hmac<Sha256>>,
    signature_header: HeaderName,
    /// Whether every request passes: nothing is configured, and that was asked for.
    open: bool,
}

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// It has neither of the headers that could have let it in.
    #[error("no credentials: send {accepted}")]
    Missing {
        /// What is accepted, as far as configured.
        accepted: String,
    },
    /// It has such a header, but none that is right.
    #[error(
        "wrong credentials: no token is one of webhook.bearer_tokens, and no signature is the hex HMAC-SHA256 of the \
         raw body under one of webhook.hmac_secrets"
    )]
    Wrong,
}

impl Authenticator {
    /// Takes what is configured.
    ///
    /// `allow_unauthenticated` counts only where there are neither tokens nor secrets; with neither, and without it,
    /// every request is refused. An empty token or secret matches nothing.
    #[must_use]
    pub fn new(
        bearer_tokens: Vec<SecretString>,
        hmac_secrets: Vec<SecretString>,
        signature_header: HeaderName,
        allow_unauthenticated: bool,
    ) -> Self {
        let open = allow_unauthenticated && bearer_tokens.is_empty() && hmac_secrets.is_empty();
        let bytes =
            |secrets: Vec<SecretString>| secrets.into_iter().filter(|one| !one.expose_secret().is_empty());
        let tokens =
            bytes(bearer_tokens).map(|one| Fingerprint::of(one.expose_secret().as_bytes())).collect();
        let keys = bytes(hmac_secrets)
            .filter_map(|one| Hmac::new_from_slice(one.expose_secret().as_bytes()).ok()) // a key of any length is taken
            .collect();
        Self { tokens, keys, signature_header, open }
    }

    /// Checks a request before its body is parsed.
    ///
    /// Shapes: `body` is the raw bytes. Every line of a header that comes several times is looked at.
    ///
    /// # Errors
    /// [`AuthError`], to be answered with 401.
    pub fn check(&self, headers: &HeaderMap, body: &[u8]) -> Result<(), AuthError> {
        if self.open {
            return Ok(());
        }
        // Which *kind* let a request in is no secret, so a good token spares the work of the signature.
        if self.has_token(headers) || self.has_signature(headers, body) {
            return Ok(());
        }
        let tried = !self.tokens.is_empty() && headers.contains_key(AUTHORIZATION)
            || !self.keys.is_empty() && headers.contains_key(&self.signature_header);
        Err(if tried { AuthError::Wrong } else { AuthError::Missing { accepted: self.accepted() } })
    }

    fn has_token(&self, headers: &HeaderMap) -> bool {
        if self.tokens.is_empty() {
            return false;
        }
        let lines = headers.get_all(AUTHORIZATION).iter();
        let mut sent = lines.filter_map(|line| bearer(line.as_bytes())).map(Fingerprint::of);
        sent.any(|sent| sent.find_in(&self.tokens).is_some())
    }

    fn has_signature(&self, headers: &HeaderMap, body: &[u8]) -> bool {
        let lines = headers.get_all(&self.signature_header);
        let sent: Vec<_> = lines.iter().filter_map(|line| signature(line.as_bytes())).collect();
        if sent.is_empty() {
            return false;
        }
        // One HMAC for each secret and not for each line: a hundred lines must not cost a hundred times as much.
        let sign = |key: &Hmac<Sha256>| -> [u8; 32] {
            key.clone().chain_update(body).finalize().into_bytes().into()
        };
        let right: Vec<_> = self.keys.iter().map(sign).map(Fingerprint::from).collect();
        sent.iter().any(|sent| sent.find_in(&right).is_some())
    }

    fn accepted(&self) -> String {
        let mut ways = Vec::new();
        if !self.tokens.is_empty() {
            ways.push("the header Authorization: Bearer with one of webhook.bearer_tokens".to_owned());
        }
        if !self.keys.is_empty() {
            ways.push(format!(
                "the header {} with the hex HMAC-SHA256 of the raw body",
                self.signature_header
            ));
        }
        if ways.is_empty() {
            return "nothing, as neither webhook.bearer_tokens nor webhook.hmac_secrets is set".to_owned();
        }
        ways.join(", or ")
    }
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticator")
            .field("tokens", &self.tokens.len())
            .field("keys", &self.keys.len())
            .field("signature_header", &self.signature_header)
            .field("open", &self.open)
            .finish()
    }
}

/// The token of an `Authorization` line; `None` if its scheme is not `Bearer` (in any case) or it is empty.
pub(crate) fn bearer(line: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = line.split_at(line.iter().position(|byte| *byte == b' ')?);
    let token = rest.trim_ascii();
    (scheme.eq_ignore_ascii_case(b"bearer") && !token.is_empty()).then_some(token)
}

/// The signature of a line, `<hex>` or `sha256=<hex>` in any case; `None` if it is not 64 hex digits.
///
/// Source: assumed, as GitHub and others do it; how Sesamy would sign events is not published.
fn signature(line: &[u8]) -> Option<Fingerprint> {
    const PREFIX: &[u8] = b"sha256=";
    let line = line.trim_ascii();
    let digits = match line.split_at_checked(PREFIX.len()) {
        Some((prefix, digits)) if prefix.eq_ignore_ascii_case(PREFIX) => digits,
        _ => line,
    };
    Fingerprint::from_hex(digits)
}

#[cfg(test)]
mod tests;
