//! Credentials: who may send events, and how tokens and secrets are changed without losing one.

use std::fs;

use crate::support::harness::{Output, SECRET, Service, TOKEN, Town, command, signature};
use crate::support::http::{Answer, ask, event, post};

fn body() -> String {
    event("contract.1#update", "u1")
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

fn signed(secret: &str) -> String {
    format!("X-Sesamy-Signature: {}\r\n", signature(secret, body().as_bytes()))
}

async fn sent_with(service: &Service, headers: impl AsRef<[u8]>) -> Answer {
    ask(service, post(headers, body())).await
}

#[tokio::test]
async fn one_valid_credential_of_either_kind_is_enough() {
    let town = Town::with(&[
        ("WEBHOOK__BEARER_TOKENS", "first-token-of-two, second-token-of-two"),
        ("WEBHOOK__HMAC_SECRETS", "first-secret-of-two,second-secret-of-two"),
    ])
    .await;
    let hex = signature("first-secret-of-two", body().as_bytes());
    let upper = hex.to_uppercase();
    let mut accepted = 0;
    for headers in [
        bearer("first-token-of-two"),
        bearer("second-token-of-two"),
        "authorization: bearer first-token-of-two\r\n".to_owned(),
        "AUTHORIZATION: BEARER first-token-of-two\r\n".to_owned(),
        signed("first-secret-of-two"),
        signed("second-secret-of-two"),
        format!("x-sesamy-signature: sha256={hex}\r\n"),
        format!("X-Sesamy-Signature: {upper}\r\n"),
        format!("X-Sesamy-Signature: SHA256={upper}\r\n"),
        bearer("wrong-token-altogether") + signed("second-secret-of-two").as_str(),
        bearer("second-token-of-two") + signed("wrong-secret-altogether").as_str(),
    ] {
        sent_with(&town.service, &headers).await.is_accepted();
        accepted += 1;
    }
    assert_eq!(town.query("SELECT generation FROM users"), Ok(accepted));
}

#[tokio::test]
async fn a_wrong_or_missing_credential_is_answered_401_and_nothing_is_kept_or_told() {
    let town = Town::start().await;
    let hex = signature(SECRET, body().as_bytes());
    let of_another_body = signature(SECRET, event("contract.1#update", "u2").as_bytes());
    let other_bytes = signature(SECRET, format!("{} ", body()).as_bytes());
    for headers in [
        String::new(),
        bearer("guess-of-somebody"),
        bearer(""),
        bearer(&TOKEN[..TOKEN.len() - 1]),
        bearer(&format!("{TOKEN}x")),
        bearer(&TOKEN.to_uppercase()),
        bearer(SECRET),
        bearer(&format!("guess, {TOKEN}")),
        format!("Authorization: {TOKEN}\r\n"),
        format!("Authorization: Basic {TOKEN}\r\n"),
        format!("Authorization: Bearer{TOKEN}\r\n"),
        format!("X-Authorization: Bearer {TOKEN}\r\n"),
        signed("guess-of-somebody"),
        signed(TOKEN),
        format!("X-Sesamy-Signature: {}\r\n", &hex[..63]),
        format!("X-Sesamy-Signature: {}\r\n", &hex[..32]),
        format!("X-Sesamy-Signature: sha256={}\r\n", &hex[..62]),
        format!("X-Sesamy-Signature: {hex}00\r\n"),
        format!("X-Sesamy-Signature: sha512={hex}\r\n"),
        format!("X-Sesamy-Signature: sha256=sha256={hex}\r\n"),
        "X-Sesamy-Signature: sha256=\r\n".to_owned(),
        "X-Sesamy-Signature:\r\n".to_owned(),
        format!("X-Sesamy-Signature: {of_another_body}\r\n"),
        format!("X-Sesamy-Signature: {other_bytes}\r\n"),
        format!("X-Other-Signature: {hex}\r\n"),
    ] {
        let answer = sent_with(&town.service, &headers).await;
        answer.is_problem(401, "unauthorized");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{headers}");
        assert!(!answer.body.contains("guess"), "{headers}");
    }
    for headers in [&b"Authorization: Bearer \xe6\xf8\xe5\r\n"[..], b"X-Sesamy-Signature: \xc3\xa6\xff\r\n"] {
        sent_with(&town.service, headers).await.is_problem(401, "unauthorized");
    }
    // A header that is not ASCII is no obstacle where it says nothing about who sends.
    let odd = [b"X-Newsroom: bl\xe5b\xe6r \xff\r\n", bearer(TOKEN).as_bytes()].concat();
    ask(&town.service, post(odd, event("contract.1#update", "u2"))).await.is_accepted();
    assert_eq!(town.query("SELECT count(*) FROM users"), Ok(1));
    town.service.output.wait_for("of the last request", |line| line["result"] == "accepted").await;
    let log = town.service.output.text();
    for secret in ["guess", TOKEN, SECRET, &hex[..16]] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}

#[tokio::test]
async fn a_token_is_changed_through_a_file_that_holds_the_old_and_the_new() {
    let folder = tempfile::tempdir().unwrap();
    let (tokens, secrets) = (folder.path().join("tokens"), folder.path().join("secrets"));
    fs::write(&tokens, "  old-token-of-a-newsroom\t\r\n\r\nnew-token-of-a-newsroom").unwrap();
    fs::write(&secrets, "old-secret-of-a-newsroom\nshort\n").unwrap();
    let mut town = Town::with(&[
        ("WEBHOOK__BEARER_TOKENS", ""),
        ("WEBHOOK__BEARER_TOKENS_FILE", tokens.to_str().unwrap()),
        ("WEBHOOK__HMAC_SECRETS", ""),
        ("WEBHOOK__HMAC_SECRETS_FILE", secrets.to_str().unwrap()),
    ])
    .await;
    for headers in [
        bearer("old-token-of-a-newsroom"),
        bearer("new-token-of-a-newsroom"),
        signed("old-secret-of-a-newsroom"),
        signed("short"),
    ] {
        sent_with(&town.service, headers).await.is_accepted();
    }
    // Too short to be safe is told, and taken.
    let warnings: Vec<_> =
        town.service.output.lines().into_iter().filter(|line| line["level"] == "WARN").collect();
    assert!(warnings.len() == 1 && warnings[0].to_string().contains("webhook.hmac_secrets"), "{warnings:?}");
    assert!(!town.service.output.text().contains("newsroom"));

    fs::write(&tokens, "new-token-of-a-newsroom\n").unwrap();
    fs::write(&secrets, "new-secret-of-a-newsroom\n").unwrap();
    town.crash_and_restart(&[]).await;
    for gone in [bearer("old-token-of-a-newsroom"), signed("old-secret-of-a-newsroom"), signed("short")] {
        sent_with(&town.service, gone).await.is_problem(401, "unauthorized");
    }
    for good in [bearer("new-token-of-a-newsroom"), signed("new-secret-of-a-newsroom")] {
        sent_with(&town.service, good).await.is_accepted();
    }
}

#[tokio::test]
async fn the_signature_is_looked_for_where_the_setting_says() {
    let town =
        Town::with(&[("WEBHOOK__SIGNATURE_HEADER", "X-Hub-Signature-256"), ("WEBHOOK__BEARER_TOKENS", "")])
            .await;
    let hex = signature(SECRET, body().as_bytes());
    sent_with(&town.service, format!("x-hub-signature-256: sha256={hex}\r\n")).await.is_accepted();
    let answer = sent_with(&town.service, signed(SECRET)).await;
    answer.is_problem(401, "unauthorized");
    assert!(answer.body.contains("x-hub-signature-256"), "{answer:?}");
    // There are no tokens now, so none is right, an empty one neither.
    for headers in [bearer(TOKEN), bearer(""), bearer(SECRET)] {
        sent_with(&town.service, headers).await.is_problem(401, "unauthorized");
    }
}

#[tokio::test]
async fn without_tokens_and_secrets_the_service_starts_only_where_that_is_asked_for() {
    let town = Town::with(&[
        ("WEBHOOK__BEARER_TOKENS", ""),
        ("WEBHOOK__HMAC_SECRETS", ""),
        ("WEBHOOK__ALLOW_UNAUTHENTICATED", "true"),
        // PORT replaces the port, and nothing else of the address.
        ("SERVER__LISTEN", "127.0.0.1:1"),
        ("PORT", "0"),
    ])
    .await;
    assert_eq!(town.service.address.ip().to_string(), "127.0.0.1");
    assert_ne!(town.service.address.port(), 1);
    sent_with(&town.service, "").await.is_accepted();
    sent_with(&town.service, bearer("anything")).await.is_accepted();

    let mut settings = town.settings().clone();
    settings.remove("WEBHOOK__ALLOW_UNAUTHENTICATED");
    let mut child = command().envs(&settings).spawn().unwrap();
    let output = Output::read(child.stdout.take().unwrap(), child.stderr.take().unwrap());
    assert!(!child.wait().await.unwrap().success());
    let told = output.wait_for("what is missing", |line| line.to_string().contains("webhook.bearer_tokens"));
    told.await;
    for setting in ["WEBHOOK__BEARER_TOKENS", "webhook.hmac_secrets", "webhook.allow_unauthenticated"] {
        assert!(output.text().contains(setting), "{setting} is not in\n{}", output.text());
    }
}
