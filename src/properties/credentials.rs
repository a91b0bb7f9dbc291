//! A request is let in by a right token or a right signature, and by nothing else.
//!
//! Input: header lines, an empty line, the body. `{signature}` in a line stands for the right one and `{token}` for a
//! right token, as nobody finds them by trying.

use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::SecretString;
use sha2::Sha256;

use super::{MARK, head_and_body};
use crate::server::Authenticator;

const TOKENS: [&str; 2] = ["canary-token-of-today", "canary-token-of-yesterday"];
const SECRETS: [&str; 2] = ["canary-secret-of-today", "canary-secret-of-yesterday"];
const SIGNATURE: HeaderName = HeaderName::from_static("x-sesamy-signature");

pub fn hold(data: &[u8]) {
    let (lines, body) = head_and_body(data);
    let right: Vec<String> = SECRETS.iter().map(|secret| signature(secret, body)).collect();
    let mut headers = HeaderMap::new();
    for line in lines.into_iter().take(20) {
        let line = String::from_utf8_lossy(line);
        let (name, value) = line.split_once(": ").unwrap_or(("", &line));
        let value = value.replace("{signature}", &right[0]).replace("{old}", &right[1]);
        let value = value.replace("{token}", TOKENS[0]).replace("{SIGNATURE}", &right[0].to_uppercase());
        let name = if name.eq_ignore_ascii_case("authorization") { AUTHORIZATION } else { SIGNATURE };
        if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
            headers.append(name, value);
        }
    }
    let has_token = headers.get_all(AUTHORIZATION).iter().any(is_right_token);
    let is_signed = headers.get_all(SIGNATURE).iter().any(|value| is_right_signature(value, &right));

    for (tokens, secrets) in
        [(&TOKENS[..], &SECRETS[..]), (&TOKENS[..], &[]), (&[], &SECRETS[..]), (&[], &[])]
    {
        let auth = Authenticator::new(secret(tokens), secret(secrets), SIGNATURE, false);
        let expected = !tokens.is_empty() && has_token || !secrets.is_empty() && is_signed;
        let checked = auth.check(&headers, body);
        assert_eq!(checked.is_ok(), expected, "{checked:?}");
        if let Err(refusal) = checked {
            assert!(!format!("{refusal} {refusal:?} {auth:?}").contains(MARK), "{refusal}");
        }
    }
    // A signature is good for one body alone.
    let signed = Authenticator::new(vec![], secret(&SECRETS), SIGNATURE, false);
    let longer = [body, b" "].concat();
    assert!(!is_signed || signed.check(&headers, &longer).is_err());
}

fn secret(values: &[&str]) -> Vec<SecretString> {
    values.iter().map(|value| SecretString::from(*value)).collect()
}

fn signature(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body);
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The scheme, one space or more, the token, as text and not as bytes.
fn is_right_token(value: &HeaderValue) -> bool {
    let Ok(text) = std::str::from_utf8(value.as_bytes()) else { return false };
    let Some((scheme, token)) = text.split_once(' ') else { return false };
    let token = token.trim_matches(|c: char| c.is_ascii_whitespace());
    scheme.eq_ignore_ascii_case("bearer") && TOKENS.contains(&token)
}

fn is_right_signature(value: &HeaderValue, right: &[String]) -> bool {
    let Ok(text) = std::str::from_utf8(value.as_bytes()) else { return false };
    let text = text.trim_matches(|c: char| c.is_ascii_whitespace()).to_ascii_lowercase();
    right.iter().any(|right| text == *right || text == format!("sha256={right}"))
}
