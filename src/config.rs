//! Every setting, where it comes from, and its check.
//!
//! From the weakest to the strongest: the defaults in `config/default.toml`, a settings file (`--config` or
//! `CONFIG_FILE`), the environment (`MAILMOJO__API_TOKEN`, for secrets also `MAILMOJO__API_TOKEN_FILE`; `PORT`
//! overrides the port). What comes out is plain typed data that has been checked; nobody needs to check it again.
//!
//! Promises, each a test: everything wrong is told in one message; neither that message nor a debug print of
//! [`Settings`] shows a secret; every setting is in `config/default.toml`, with a comment.

mod check;
mod custom_fields;
mod environment;
mod error;
mod in_force;
mod parse;
mod reader;
mod sources;
mod table;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::Url;
use secrecy::SecretString;

pub use self::error::{Problem, SettingsError};
pub use self::in_force::{InForce, Value};

use crate::fields::CustomFields;
use crate::queue::PostgresUrl;

use self::environment::Variables;
use self::reader::Reader;

/// A duration that is typed or sent, as the settings have them: `90s`, `24h`, `2d`; zero is one.
///
/// # Errors
/// What is wrong with it: the end of a sentence that begins with its name.
pub fn duration(typed: &str) -> Result<Duration, String> {
    parse::duration_or_zero(&::config::Value::from(typed))
}

const LISTEN: &str = "server.listen";

/// All settings. A debug print shows `[REDACTED]` for every secret.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The HTTP server.
    pub server: Server,
    /// Who may send events.
    pub webhook: Webhook,
    /// Where users come from.
    pub sesamy: Sesamy,
    /// Where contacts go.
    pub mailmojo: Mailmojo,
    /// Where the queue is kept.
    pub queue: Queue,
    /// How users are synced.
    pub sync: Sync,
    /// What is remembered of each user's syncs.
    pub history: History,
    /// The operations page.
    pub admin: Admin,
    /// What is logged.
    pub log: Log,
    /// All of them once more, as an operator may be shown them, in the order of `config/default.toml`.
    pub in_force: Vec<InForce>,
}

/// `[server]`
#[derive(Debug, Clone)]
pub struct Server {
    /// Where the service listens. Port 0: any that is free.
    pub listen: SocketAddr,
    /// The largest body that is read, in bytes, at least 1.
    pub body_limit_bytes: usize,
}

/// `[webhook]`. At least one token or secret, unless `allow_unauthenticated`.
#[derive(Debug, Clone)]
pub struct Webhook {
    /// The tokens that are accepted, each visible ASCII.
    pub bearer_tokens: Vec<SecretString>,
    /// The HMAC-SHA256 keys that are accepted, each visible ASCII.
    pub hmac_secrets: Vec<SecretString>,
    /// The header that carries the signature; a valid header name.
    pub signature_header: String,
    /// Whether everybody may send events. Means nothing where there is a token or a secret.
    pub allow_unauthenticated: bool,
}

/// How the service proves to an API who it is.
#[derive(Debug, Clone)]
pub enum Credentials {
    /// A fixed token.
    Token(SecretString),
    /// OAuth 2 client credentials, for which tokens are fetched.
    Client {
        /// The client's id.
        id: String,
        /// The client's secret.
        secret: SecretString,
    },
}

/// `[sesamy]`
#[derive(Debug, Clone)]
pub struct Sesamy {
    /// The Management API, without a query; may have a path.
    pub api_url: Url,
    /// Where tokens are fetched.
    pub token_url: Url,
    /// The audience that tokens are asked for.
    pub audience: String,
    /// The proof.
    pub credentials: Credentials,
    /// The only vendor whose events are taken; none: all.
    pub vendor_id: Option<String>,
    /// Whether tags are derived from contracts and entitlements, not from the profile alone.
    pub derive_tags: bool,
    /// What the user ids of guests start with.
    pub guest_user_id_prefixes: Vec<String>,
    /// Calls a minute in the long run.
    pub requests_per_minute: NonZeroU32,
    /// Calls at once after a pause.
    pub burst: NonZeroU32,
}

/// `[mailmojo]`
#[derive(Debug, Clone)]
pub struct Mailmojo {
    /// The API, without a query; may have a path.
    pub api_url: Url,
    /// The proof.
    pub credentials: Credentials,
    /// The list that is kept in step; at least 1.
    pub list_id: u64,
    /// The custom fields that are ours; none that needs more of Sesamy than `sesamy.derive_tags` asks for.
    pub custom_fields: CustomFields,
    /// Calls a minute in the long run.
    pub requests_per_minute: NonZeroU32,
    /// Calls at once after a pause.
    pub burst: NonZeroU32,
}

/// Where the queue is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QueueUrl {
    /// The path of an SQLite file; relative to the working directory, or absolute.
    Sqlite(PathBuf),
    /// A Postgres database.
    Postgres(PostgresUrl),
}

/// `[queue]`
#[derive(Debug, Clone)]
pub struct Queue {
    /// Where it is.
    pub url: QueueUrl,
}

/// `[sync]`. Durations are at most a year; all but `debounce` are a millisecond or more.
#[derive(Debug, Clone)]
pub struct Sync {
    /// Users synced at a time, at most 1000.
    pub concurrency: NonZeroUsize,
    /// How long after its first event a burst of one user is synced.
    pub debounce: Duration,
    /// The time limit of one call to an API.
    pub request_timeout: Duration,
    /// The time limit of a whole sync; longer than `request_timeout`.
    pub deadline: Duration,
    /// The first wait after a failure; at most `backoff_cap`.
    pub backoff_base: Duration,
    /// The longest wait after a failure.
    pub backoff_cap: Duration,
    /// Failures of one user before it is parked; at least 1.
    pub max_attempts: u32,
    /// How long a round takes that looks at everybody again; none: there are no rounds.
    pub resync_every: Option<Duration>,
    /// Whether everything is done but the write.
    pub dry_run: bool,
    /// Whether contacts are created and subscribed, not only kept in step.
    pub create_contacts: bool,
    /// `sesamy_` tags that are never removed; a `*` at the end stands for any rest.
    pub keep_tags: Vec<String>,
}

/// `[history]`
#[derive(Debug, Clone)]
pub struct History {
    /// For how many days the syncs of a user are remembered; 1 to 3650.
    pub days: u16,
}

/// `[admin]`
#[derive(Debug, Clone)]
pub struct Admin {
    /// Where the operations page listens. Port 0: any that is free.
    pub listen: SocketAddr,
    /// The tokens that open it, each visible ASCII of 16 characters or more; none: there is no page.
    pub tokens: Vec<SecretString>,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line, for programs.
    Json,
    /// For people.
    Pretty,
}

/// `[log]`
#[derive(Debug, Clone)]
pub struct Log {
    /// None: pretty on a terminal, JSON elsewhere.
    pub format: Option<LogFormat>,
    /// A `tracing` filter that is known to parse.
    pub level: String,
}

/// Settings that can be used, and what should be looked at all the same.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// A sentence each, without any secret: for the log, once it runs.
    pub warnings: Vec<String>,
}

impl Settings {
    /// Reads, merges and checks all settings.
    ///
    /// Shapes: `file` is what `--config` names and goes before `CONFIG_FILE`; `env` are the variables of the process,
    /// of which all that are not ours are passed over. Reads that file and those that `…_FILE` variables name, and
    /// nothing else.
    ///
    /// # Errors
    /// [`SettingsError`] holds everything that is wrong, each with how to mend it.
    pub fn load(
        file: Option<&Path>,
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<Loaded, SettingsError> {
        let mut problems = Vec::new();
        let variables = Variables::pick(env, &mut problems);
        let mut reader = merged(file, &variables, problems);
        let port = variables.port(&mut reader.problems);
        match check::settings(&mut reader) {
            Some(mut settings) if reader.problems.is_empty() => {
                settings.server.listen.set_port(port.unwrap_or(settings.server.listen.port()));
                settings.in_force = in_force::list(&reader, port.is_some().then_some(settings.server.listen));
                Ok(Loaded { settings, warnings: reader.warnings })
            }
            _ => Err(SettingsError::new(reader.problems)),
        }
    }
}

/// The address that a service with these settings listens on: for a health check, which has no use for the secrets and
/// must work where they are out of its reach.
///
/// Shapes: as for [`Settings::load`]. Other settings may be missing or wrong.
///
/// # Errors
/// [`SettingsError`] where the file cannot be read, or `server.listen` or `PORT` is wrong.
pub fn listen_address(
    file: Option<&Path>,
    env: impl Iterator<Item = (String, String)>,
) -> Result<SocketAddr, SettingsError> {
    let mut problems = Vec::new();
    let variables = Variables::pick(env, &mut problems).only(LISTEN);
    let mut reader = merged(file, &variables, problems);
    let port = variables.port(&mut reader.problems);
    let listen = reader.required(LISTEN, parse::socket_address);
    reader.problems.retain(hides_the_address);
    match listen {
        Some(listen) if reader.problems.is_empty() => {
            Ok(SocketAddr::new(listen.ip(), port.unwrap_or(listen.port())))
        }
        _ => Err(SettingsError::new(reader.problems)),
    }
}

fn hides_the_address(problem: &Problem) -> bool {
    let at_fault = problem.at_fault.as_str();
    ["server", LISTEN, "PORT", "CONFIG_FILE"].contains(&at_fault)
        || at_fault.starts_with(sources::SETTINGS_FILE)
}

fn merged(file: Option<&Path>, variables: &Variables, mut problems: Vec<Problem>) -> Reader {
    let defaults = sources::defaults(&mut problems);
    // `--config` goes before `CONFIG_FILE`, even before a wrong one.
    let path = file.map(Path::to_path_buf).or_else(|| variables.config_file(&mut problems));
    let file = path.as_deref().map(|path| sources::file(path, &mut problems));
    let incomplete = matches!(file, Some(None));
    let environment = variables.layer(&mut problems);
    let layers = [defaults, file.flatten().unwrap_or_default(), environment];
    let merged = sources::merge(layers).unwrap_or_else(|problem| {
        problems.push(problem);
        sources::Layer::default()
    });
    Reader::new(merged, incomplete, problems)
}
