//! The token endpoint of either API, and the check of a bearer token.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use axum::http::header;
use serde_json::{Value, json};

use super::reply::Reply;
use super::wire::{Request, form};

/// Who may have a token, and which tokens there are.
#[derive(Debug)]
pub(super) struct Tokens {
    name: &'static str,
    pub(super) client_id: String,
    pub(super) client_secret: String,
    /// What `audience` must be; none: it is not asked for.
    pub(super) audience: Option<String>,
    /// What the client may ask for; empty where the API has no scopes.
    pub(super) client_scopes: Vec<String>,
    /// How long a new token lasts.
    pub(super) expires_in: Duration,
    /// Whether a request needs a token at all.
    pub(super) required: bool,
    tokens: HashMap<String, Token>,
    issued: u64,
}

#[derive(Debug)]
struct Token {
    scopes: Vec<String>,
    until: Option<Instant>,
}

/// Why a request may not be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refused {
    /// No token, or none that is good.
    Unauthorized,
    /// A good token without this scope.
    Scope(&'static str),
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
            required: true,
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

    /// Ends every token that came from the token endpoint.
    pub(super) fn revoke_issued(&mut self) {
        self.tokens.retain(|_, token| token.until.is_none());
    }

    /// How many tokens the endpoint has given out.
    pub(super) fn issued(&self) -> u64 {
        self.issued
    }

    /// Whether `request` may be done; `scope` is what it needs.
    pub(super) fn check(
        &self,
        request: &Request,
        scope: Option<&'static str>,
        now: Instant,
    ) -> Result<(), Refused> {
        if !self.required {
            return Ok(());
        }
        let token = request.header(&header::AUTHORIZATION).and_then(|value| value.split_once(' '));
        let token = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let known = token.and_then(|(_, token)| self.tokens.get(token.trim()));
        let good = known.filter(|token| token.until.is_none_or(|until| now < until));
        match (good, scope) {
            (None, _) => Err(Refused::Unauthorized),
            (Some(token), Some(scope)) if !token.scopes.iter().any(|own| own == scope) => {
                Err(Refused::Scope(scope))
            }
            (Some(_), _) => Ok(()),
        }
    }

    /// Answers the token endpoint.
    pub(super) fn answer(&mut self, request: &Request, now: Instant) -> Reply {
        match self.grant(request) {
            Ok(scopes) => self.issue(scopes, now),
            Err((status, code, why)) => Reply::json(status, json!({"error": code, "error_description": why})),
        }
    }

    fn issue(&mut self, scopes: Vec<String>, now: Instant) -> Reply {
        self.issued += 1;
        let token = format!("sandbox-{}-token-{}", self.name, self.issued);
        let mut body = json!({
            "access_token": token, "token_type": "Bearer", "expires_in": self.expires_in.as_secs(),
        });
        if !scopes.is_empty() {
            body["scope"] = Value::from(scopes.join(" "));
        }
        self.tokens.insert(token, Token { scopes, until: Some(now + self.expires_in) });
        Reply::json(200, body)
    }

    /// The scopes that the asked-for token gets.
    fn grant(&self, request: &Request) -> Result<Vec<String>, (u16, &'static str, &'static str)> {
        let content_type = request.header(&header::CONTENT_TYPE).unwrap_or_default();
        if !content_type.starts_with("application/x-www-form-urlencoded") {
            return Err((400, "invalid_request", "the body must be form-encoded"));
        }
        let fields: HashMap<_, _> = form(&String::from_utf8_lossy(&request.body)).into_iter().collect();
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
        let asked: Vec<_> = field("scope").split_whitespace().map(str::to_owned).collect();
        Ok(asked.into_iter().filter(|scope| self.client_scopes.contains(scope)).collect())
    }
}
