//! The settings as the program uses them: plain typed data that has been checked, a struct per section. What each
//! setting is for stands at its constant in `table`.

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use reqwest::Url;
use secrecy::SecretString;

use super::in_force::InForce;
use super::parse::QueueUrl;
use crate::fields::CustomFields;
use crate::telemetry::Format;

/// All settings. A debug print shows `[REDACTED]` for every secret.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub server: Server,
    pub webhook: Webhook,
    pub sesamy: Sesamy,
    pub mailmojo: Mailmojo,
    pub queue: Queue,
    pub sync: Sync,
    pub history: History,
    pub admin: Admin,
    pub log: Log,
    /// All of them once more, as an operator may see them, in the order of `config/default.toml`.
    pub in_force: Vec<InForce>,
}

#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub listen: SocketAddr,
    /// At least 1.
    pub body_limit_bytes: usize,
}

/// At least one token or secret, unless `allow_unauthenticated`. Each is visible ASCII.
#[derive(Debug, Clone)]
pub(crate) struct Webhook {
    pub bearer_tokens: Vec<SecretString>,
    pub hmac_secrets: Vec<SecretString>,
    /// A valid header name.
    pub signature_header: String,
    /// Means nothing if there is a token or a secret.
    pub allow_unauthenticated: bool,
}

/// How the service authenticates to an API.
#[derive(Debug, Clone)]
pub(crate) enum Credentials {
    /// A fixed token.
    Token(SecretString),
    /// OAuth 2 client credentials, for which tokens are fetched.
    Client { id: String, secret: SecretString },
}

/// The URLs have no query, and may have a path.
#[derive(Debug, Clone)]
pub(crate) struct Sesamy {
    pub api_url: Url,
    pub token_url: Url,
    pub audience: String,
    pub credentials: Credentials,
    /// `None`: events of every vendor are accepted.
    pub vendor_id: Option<String>,
    pub derive_tags: bool,
    pub guest_user_id_prefixes: Vec<String>,
    pub requests_per_minute: NonZeroU32,
    pub burst: NonZeroU32,
}

#[derive(Debug, Clone)]
pub(crate) struct Mailmojo {
    /// Without a query; may have a path.
    pub api_url: Url,
    pub credentials: Credentials,
    /// At least 1.
    pub list_id: u64,
    /// No source among them needs more of Sesamy than `sesamy.derive_tags` asks for.
    pub custom_fields: CustomFields,
    pub requests_per_minute: NonZeroU32,
    pub burst: NonZeroU32,
}

#[derive(Debug, Clone)]
pub(crate) struct Queue {
    pub url: QueueUrl,
}

/// Durations are at most a year; all but `debounce` are a millisecond or more.
#[derive(Debug, Clone)]
pub(crate) struct Sync {
    /// At most 1000.
    pub concurrency: NonZeroUsize,
    pub debounce: Duration,
    pub request_timeout: Duration,
    /// Longer than `request_timeout`.
    pub deadline: Duration,
    /// At most `backoff_cap`.
    pub backoff_base: Duration,
    pub backoff_cap: Duration,
    /// At least 1.
    pub max_attempts: u32,
    /// `None`: never.
    pub resync_every: Option<Duration>,
    pub dry_run: bool,
    pub create_contacts: bool,
    /// A `*` at the end matches any ending.
    pub keep_tags: Vec<String>,
}

#[derive(Debug, Clone)]
pub(crate) struct History {
    /// 1 to 3650.
    pub days: u16,
}

#[derive(Debug, Clone)]
pub(crate) struct Admin {
    pub listen: SocketAddr,
    /// Each visible ASCII of 16 characters or more; without one there is no page.
    pub tokens: Vec<SecretString>,
}

#[derive(Debug, Clone)]
pub(crate) struct Log {
    /// `None`: pretty on a terminal, JSON elsewhere.
    pub format: Option<Format>,
    /// A `tracing` filter that is known to parse.
    pub level: String,
}
