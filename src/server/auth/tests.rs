use axum::http::HeaderValue;

use super::*;

const BODY: &[u8] = br#"{"eventType":"contract.1#update"}"#;

fn secrets(all: &[&str]) -> Vec<SecretString> {
    all.iter().map(|one| SecretString::from(*one)).collect()
}

fn guard(tokens: &[&str], keys: &[&str]) -> Authenticator {
    let header = HeaderName::from_static("x-sesamy-signature");
    Authenticator::new(secrets(tokens), secrets(keys), header, false)
}

fn signed(key: &str, body: &[u8]) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap().chain_update(body);
    hex::encode(mac.finalize().into_bytes())
}

fn headers(lines: &[(&'static str, &[u8])]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, HeaderValue::from_bytes(value).unwrap());
    }
    headers
}

fn passes(guard: &Authenticator, lines: &[(&'static str, &[u8])]) -> bool {
    guard.check(&headers(lines), BODY).is_ok()
}

#[test]
fn the_signature_is_hmac_sha256_as_others_compute_it() {
    // RFC 4231, test case 2.
    let known = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
    let guard = guard(&[], &["Jefe"]);
    let headers = headers(&[("x-sesamy-signature", known.as_bytes())]);
    assert_eq!(guard.check(&headers, b"what do ya want for nothing?"), Ok(()));
    assert_eq!(guard.check(&headers, b"what do ya want for nothing!"), Err(AuthError::Wrong));
}

#[test]
fn each_of_several_tokens_lets_in_however_its_scheme_is_written() {
    let guard = guard(&["first-token", "second-token"], &[]);
    for right in [
        "Bearer first-token",
        "bearer second-token",
        "BEARER first-token",
        "bEaReR   second-token",
        "Bearer first-token ",
    ] {
        assert!(passes(&guard, &[("authorization", right.as_bytes())]), "{right}");
    }
    for wrong in [
        "Bearer",
        "Bearer ",
        "Bearer first",
        "Bearer first-token2",
        "Bearer FIRST-TOKEN",
        "first-token",
        "Basic first-token",
        "Bearerfirst-token",
        "Bearer first-token second-token",
        "Bearer\tfirst-token",
        "",
    ] {
        assert!(!passes(&guard, &[("authorization", wrong.as_bytes())]), "{wrong}");
    }
    assert!(!passes(&guard, &[("authorization", b"Bearer \xff\xfe")]));
    assert!(!passes(&guard, &[]));
}

#[test]
fn each_of_several_secrets_lets_in_in_both_forms_and_any_case() {
    let guard = guard(&[], &["old-secret", "new-secret"]);
    for key in ["old-secret", "new-secret"] {
        let hex = signed(key, BODY);
        for right in [
            hex.clone(),
            hex.to_uppercase(),
            format!("sha256={hex}"),
            format!("SHA256={hex}"),
            format!("Sha256={}", hex.to_uppercase()),
        ] {
            assert!(passes(&guard, &[("x-sesamy-signature", right.as_bytes())]), "{right}");
        }
        for wrong in [
            hex[..63].to_owned(),
            hex[..62].to_owned(),
            hex[..32].to_owned(),
            format!("{hex}00"),
            format!("sha1={hex}"),
            format!("sha256={}", &hex[..62]),
            format!("sha256=sha256={hex}"),
            format!("sha256 = {hex}"),
            String::new(),
            "sha256=".to_owned(),
            signed("third-secret", BODY),
            signed(key, b"another body"),
            "é".repeat(32),
        ] {
            assert!(!passes(&guard, &[("x-sesamy-signature", wrong.as_bytes())]), "{wrong}");
        }
    }
}

#[test]
fn one_valid_credential_among_many_lines_is_enough() {
    let guard = guard(&["the-token"], &["the-secret"]);
    let signature = signed("the-secret", BODY);
    assert!(passes(&guard, &[("authorization", b"Bearer the-token")]));
    assert!(passes(&guard, &[("x-sesamy-signature", signature.as_bytes())]));
    assert!(passes(
        &guard,
        &[("authorization", b"Bearer wrong"), ("x-sesamy-signature", signature.as_bytes())]
    ));
    assert!(passes(&guard, &[("authorization", b"Bearer the-token"), ("x-sesamy-signature", b"00")]));
    assert!(passes(&guard, &[("authorization", b"Basic a2FyaQ=="), ("authorization", b"Bearer the-token")]));
    assert!(passes(&guard, &[("x-sesamy-signature", b"\xff"), ("x-sesamy-signature", signature.as_bytes())]));
    assert!(!passes(&guard, &[("authorization", b"Bearer wrong"), ("x-sesamy-signature", b"00")]));
}

#[test]
fn a_secret_is_no_token_and_a_token_is_no_secret() {
    let guard = guard(&["the-token"], &["the-secret"]);
    assert!(!passes(&guard, &[("authorization", b"Bearer the-secret")]));
    assert!(!passes(&guard, &[("x-sesamy-signature", signed("the-token", BODY).as_bytes())]));
}

#[test]
fn everybody_passes_only_where_nothing_is_configured_and_that_was_asked_for() {
    let header = || HeaderName::from_static("x-sesamy-signature");
    let open = Authenticator::new(vec![], vec![], header(), true);
    assert!(passes(&open, &[]));
    assert!(passes(&open, &[("authorization", b"Bearer anything")]));
    let closed = Authenticator::new(vec![], vec![], header(), false);
    assert!(!passes(&closed, &[("authorization", b"Bearer anything")]));
    let required = Authenticator::new(secrets(&["the-token"]), vec![], header(), true);
    assert!(!passes(&required, &[]));
    let required = Authenticator::new(vec![], secrets(&["the-secret"]), header(), true);
    assert!(!passes(&required, &[]));
}

#[test]
fn an_empty_token_or_secret_lets_nobody_in() {
    let header = HeaderName::from_static("x-sesamy-signature");
    let guard = Authenticator::new(secrets(&[""]), secrets(&[""]), header, true);
    assert!(!passes(&guard, &[]));
    assert!(!passes(&guard, &[("authorization", b"Bearer ")]));
    assert!(!passes(&guard, &[("x-sesamy-signature", signed("", BODY).as_bytes())]));
}

#[test]
fn the_header_of_the_signature_is_a_setting() {
    let header = HeaderName::from_static("x-hub-signature");
    let guard = Authenticator::new(vec![], secrets(&["the-secret"]), header, false);
    let signature = signed("the-secret", BODY);
    assert!(passes(&guard, &[("x-hub-signature", signature.as_bytes())]));
    assert!(!passes(&guard, &[("x-sesamy-signature", signature.as_bytes())]));
}

#[test]
fn a_refusal_says_what_to_send_and_nothing_secret() {
    let guard = guard(&["the-token"], &["the-secret"]);
    let missing = guard.check(&headers(&[]), BODY).unwrap_err();
    assert!(missing.to_string().contains("Authorization: Bearer"), "{missing}");
    assert!(missing.to_string().contains("x-sesamy-signature"), "{missing}");
    let wrong = guard.check(&headers(&[("authorization", b"Bearer my-guess")]), BODY).unwrap_err();
    assert_eq!(wrong, AuthError::Wrong);
    for text in [missing.to_string(), wrong.to_string(), format!("{guard:?}")] {
        for secret in ["the-token", "the-secret", "my-guess"] {
            assert!(!text.contains(secret), "{text}");
        }
    }
}
