//! The token endpoint of either API, and the check of a bearer token.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use axum::http::header;
use serde_json::{Value, json};

use super::http::{Request, decode_form};
use super::reply::Reply;

/// The client that may request tokens, and all tokens that are valid.
#[derive(Debug)]
pub struct Tokens {
    name: &'static str,
    pub(super) client_id: String,
    pub(super) client_secret: String,
    /// What `audience` must be; `None` if the API does not check it.
    pub(super) audience: Option<String>,
    /// What the client may request; empty if the API has no scopes.
    pub(super) client_scopes: Vec<String>,
    /// How long a new token is valid.
    pub(super) expires_in: Duration,
    tokens: HashMap<String, Token>,
    issued: u64,
}

#[derive(Debug)]
struct Token {
    scopes: Vec<String>,
    until: Option<Instant>,
}

impl Tokens {
    pub(super) fn new(name: &'static str, client_id: &str, client_secret: &str) -> Self {
        Self {
            name,
            client_id: client_id.to_owned(),
            client_secret: client_secret.to_owned(),
            audience: None,
            client_scopes: Vec::new(),
            expires_in: Duration::from_secs(86_400),
            tokens: HashMap::new(),
            issued: 0,
        }
    }

    /// Accepts `token` with `scopes` until it is revoked.
    pub(super) fn accept(&mut self, token: &str, scopes: &[&str]) {
        let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        self.tokens.insert(token.to_owned(), Token { scopes, until: None });
    }

    pub(super) fn revoke(&mut self, token: &str) {
        self.tokens.remove(token);
    }

    /// Revokes every token that the token endpoint issued.
    pub(super) fn revoke_issued(&mut self) {
        self.tokens.retain(|_, token| token.until.is_none());
    }

    /// The number of tokens issued.
    pub(super) fn issued(&self) -> u64 {
        self.issued
    }

    /// Checks that the token of `request` is valid and has the `scope` that the request needs; the error is a status
    /// and a message.
    pub(super) fn check(
        &self,
        request: &Request,
        scope: Option<&str>,
        now: Instant,
    ) -> Result<(), (u16, String)> {
        let token = request.header(&header::AUTHORIZATION).and_then(|value| value.split_once(' '));
        let token = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let known = token.and_then(|(_, token)| self.tokens.get(token.trim()));
        let Some(token) = known.filter(|token| token.until.is_none_or(|until| now < until)) else {
            return Err((401, "the bearer token is missing, unknown or has ended".to_owned()));
        };
        match scope {
            Some(scope) if !token.scopes.iter().any(|own| own == scope) => {
                Err((403, format!("the token lacks the scope {scope}")))
            }
            _ => Ok(()),
        }
    }

    /// Answers a request to the token endpoint.
    pub(super) fn answer(&mut self, request: &Request, now: Instant) -> Reply {
        let scopes = match self.grant(request) {
            Ok(scopes) => scopes,
            Err((status, code, why)) => {
                return Reply::json(status, json!({"error": code, "error_description": why}));
            }
        };
        self.issued += 1;
        let token = format!("sandbox-{}-token-{}", self.name, self.issued);
        let expires_in = self.expires_in.as_secs();
        let mut body = json!({"access_token": token, "token_type": "Bearer", "expires_in": expires_in});
        if !scopes.is_empty() {
            body["scope"] = Value::from(scopes.join(" "));
        }
        self.tokens.insert(token, Token { scopes, until: Some(now + self.expires_in) });
        Reply::json(200, body)
    }

    /// The scopes of the requested token; the error is a status with OAuth's error code and description.
    fn grant(&self, request: &Request) -> Result<Vec<String>, (u16, &'static str, &'static str)> {
        let content_type = request.header(&header::CONTENT_TYPE).unwrap_or_default();
        if !content_type.starts_with("application/x-www-form-urlencoded") {
            return Err((400, "invalid_request", "the body must be form-encoded"));
        }
        let fields: HashMap<_, _> =
            decode_form(&String::from_utf8_lossy(&request.body)).into_iter().collect();
        let field = |name: &str| fields.get(name).map_or("", String::as_str);
        if field("grant_type") != "client_credentials" {
            return Err((400, "unsupported_grant_type", "grant_type must be client_credentials"));
        }
        if field("client_id") != self.client_id || field("client_secret") != self.client_secret {
            return Err((401, "invalid_client", "unknown client, or the wrong secret"));
        }
        if self.audience.as_deref().is_some_and(|audience| field("audience") != audience) {
            return Err((403, "access_denied", "this client has no access to that audience"));
        }
        let requested = field("scope").split_whitespace().map(str::to_owned);
        Ok(requested.filter(|scope| self.client_scopes.contains(scope)).collect())
    }
}
