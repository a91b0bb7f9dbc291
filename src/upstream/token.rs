//! Bearer tokens: fixed ones, and those that client credentials are exchanged for.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use reqwest::{StatusCode, Url};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::answer::{Verdict, judge, read_limited};
use super::circuit_breaker::OpenReason;
use super::error_body::{MAX_ERROR_BYTES, Said};
use super::gate::Gate;
use super::http::describe;
use super::{Api, Attempt, Class, Failure};
use crate::telemetry;

/// How this service proves to an API who it is.
#[derive(Debug, Clone)]
pub enum Credentials {
    /// A token that somebody pasted.
    Token(SecretString),
    /// OAuth 2 client credentials, exchanged for a token at `token_url`.
    Client {
        /// Where.
        token_url: Url,
        /// The client's id.
        id: String,
        /// The client's secret.
        secret: SecretString,
        /// What else the form carries: Sesamy's `audience`, Mailmojo's `scope`.
        extra: (&'static str, String),
    },
}

/// Why there is no token. Never quotes what was sent.
struct TokenError {
    class: Class,
    text: String,
    said: Said,
}

impl TokenError {
    fn new(text: impl Into<String>) -> Self {
        Self { class: Class::NoToken, text: text.into(), said: Said::default() }
    }
}

/// A token in use; two of them are the same where their serial numbers are.
#[derive(Clone)]
pub(super) struct Token {
    pub(super) secret: SecretString,
    serial: u64,
}

/// Keeps one token, shared by all calls; fetched once, renewed before it ends.
pub(super) struct Tokens {
    credentials: Credentials,
    http: reqwest::Client,
    timeout: Duration,
    gate: Arc<Gate>,
    kept: Mutex<Kept>,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tokens({:?})", self.credentials)
    }
}

#[derive(Default)]
struct Kept {
    current: Option<(Token, Option<Instant>)>,
    serial: u64,
}

/// A token endpoint's answer.
#[derive(Deserialize)]
struct Issued {
    access_token: SecretString,
    #[serde(default)]
    expires_in: Value,
}

impl Issued {
    /// For how long the token is good; none where that is not told as a number above 0, or as its digits: such a token
    /// is used until it is refused.
    fn life(&self) -> Option<Duration> {
        let seconds = match &self.expires_in {
            Value::String(text) => text.trim().parse().ok(),
            other => other.as_f64(),
        };
        seconds.filter(|it| *it > 0.0).and_then(|it| Duration::try_from_secs_f64(it).ok())
    }
}

/// How long before its end a token is renewed, at the most; a short-lived one after nine tenths of its life.
const RENEW_BEFORE_END: Duration = Duration::from_secs(60);

impl Tokens {
    /// Keeps tokens for the API of `gate`; `http` reaches the token endpoint, which has `timeout` to answer.
    pub(super) fn new(
        credentials: Credentials,
        http: reqwest::Client,
        timeout: Duration,
        gate: Arc<Gate>,
    ) -> Self {
        Self { credentials, http, timeout, gate, kept: Mutex::default() }
    }

    /// Whether a token that was refused can be replaced.
    pub(super) fn renewable(&self) -> bool {
        matches!(self.credentials, Credentials::Client { .. })
    }

    /// The token, fetched if there is none or it is about to end. `refused` is one that the API answered 401 to: it is
    /// not handed out again. Callers wait for one another, so that one fetch serves all of them, and so does one failure. No fetch
    /// begins without the time that it may take.
    pub(super) async fn get(&self, refused: Option<&Token>, attempt: &Attempt) -> Result<Token, Failure> {
        self.gate.admit().await?;
        let (token_url, id, secret, extra) = match &self.credentials {
            Credentials::Token(secret) => return Ok(Token { secret: secret.clone(), serial: 0 }),
            Credentials::Client { token_url, id, secret, extra } => (token_url, id, secret, extra),
        };
        let mut kept = self.kept.lock().await;
        if let Some((token, renew_at)) = &kept.current
            && renew_at.is_none_or(|at| Instant::now() < at)
            && refused.is_none_or(|refused| refused.serial != token.serial)
        {
            return Ok(token.clone());
        }
        self.gate.admit().await?; // the caller before this one may have failed
        if attempt.left() < self.timeout {
            // A fetch cut short would look like a token endpoint that is down, and open the circuit.
            return Err(Failure::new(self.gate.api(), Class::Transient, "no time is left to fetch a token"));
        }
        kept.current = None;
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", id),
            ("client_secret", secret.expose_secret()),
            (extra.0, &extra.1),
        ];
        let request = self.http.post(token_url.clone()).form(&form).timeout(self.timeout);
        let secrets = [id, secret.expose_secret()];
        let issued = fetch(request, self.gate.api(), &secrets).await.map_err(|error| {
            self.gate.hold(error.class);
            Failure::new(self.gate.api(), error.class, error.text).with_said(error.said)
        })?;
        kept.serial += 1;
        let renew_at = issued.life().and_then(|life| {
            // A life longer than the clock can count never ends.
            Instant::now().checked_add(life - RENEW_BEFORE_END.min(life / 10))
        });
        let token = Token { secret: issued.access_token, serial: kept.serial };
        kept.current = Some((token.clone(), renew_at));
        Ok(token)
    }
}

async fn fetch(request: reqwest::RequestBuilder, api: Api, secrets: &[&str]) -> Result<Issued, TokenError> {
    let started = Instant::now();
    let response = request.send().await;
    let status = response.as_ref().ok().map(|response| response.status().as_u16());
    telemetry::upstream_called(api.as_str(), "token", status, started.elapsed());
    let response = response.map_err(|error| {
        TokenError::new(format!("the token endpoint did not answer: {}", describe(&error)))
    })?;
    let (status, headers) = (response.status(), response.headers().clone());
    let body = read_limited(response)
        .await
        .map_err(|error| TokenError::new(format!("the token endpoint's answer: {error}")))?;
    if body.len() > MAX_ERROR_BYTES {
        return Err(TokenError::new(format!(
            "the token endpoint's answer is longer than {MAX_ERROR_BYTES} bytes"
        )));
    }
    if !status.is_success() {
        let code = oauth_error(&body).map(|code| format!(" ({code})")).unwrap_or_default();
        let text = format!("the token endpoint answered {}{code}", status.as_u16());
        let class = match judge(status, &headers, &body, SystemTime::now()) {
            Verdict::Unauthorized | Verdict::Forbidden => Class::Refused(OpenReason::Credentials),
            // OAuth 2 refuses a client with 400 (RFC 6749, 5.2).
            Verdict::Permanent if status == StatusCode::BAD_REQUEST => {
                Class::Refused(OpenReason::Credentials)
            }
            Verdict::WrongPlace => Class::Refused(OpenReason::Configuration),
            Verdict::RateLimited(asked) => Class::RateLimited(asked),
            _ => Class::NoToken,
        };
        return Err(TokenError { class, text, said: Said::in_body(&body, &[], secrets) });
    }
    let issued: Issued = serde_json::from_slice(&body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        TokenError::new(format!(
            "the token endpoint's answer is not the JSON of a token (line {line}, column {column})"
        ))
    })?;
    let sendable = |c: char| c.is_ascii_graphic();
    if issued.access_token.expose_secret().is_empty()
        || !issued.access_token.expose_secret().chars().all(sendable)
    {
        return Err(TokenError::new("the token endpoint's token cannot be sent in a header".to_owned()));
    }
    Ok(issued)
}

/// The error code of OAuth 2; any other word could be the secret, said back.
///
/// Source: RFC 6749, 5.2, and the codes of 4.1.2.1 that authorization servers answer here too.
fn oauth_error(body: &[u8]) -> Option<&'static str> {
    const CODES: [&str; 9] = [
        "invalid_request",
        "invalid_client",
        "invalid_grant",
        "unauthorized_client",
        "unsupported_grant_type",
        "invalid_scope",
        "access_denied",
        "server_error",
        "temporarily_unavailable",
    ];
    let answer: Value = serde_json::from_slice(body).ok()?;
    let code = answer.get("error")?.as_str()?;
    CODES.into_iter().find(|known| *known == code)
}
