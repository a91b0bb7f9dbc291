//! Every setting, where it comes from, and its check.
//!
//! From the weakest to the strongest: the defaults in `config/default.toml`, a settings file (`--config` or
//! `CONFIG_FILE`), the environment (`MAILMOJO__API_TOKEN`, for secrets also `MAILMOJO__API_TOKEN_FILE`; `PORT`
//! overrides the port). What comes out is plain typed data that has been checked once and for all.
//!
//! ```text
//!  sources, environment ──layers──▶ values ──▶ check ──▶ Settings
//!                                     ▲
//!                       table: a typed constant per setting
//! ```
//!
//! Promises, each a test: everything wrong is reported in one message; neither that message nor a debug print of
//! [`Settings`] shows a secret; every setting is in `config/default.toml`, with a comment, and in the README.

mod check;
mod credentials;
mod custom_fields;
mod environment;
mod error;
mod in_force;
mod nearest;
mod parse;
mod setting;
mod sources;
mod spec;
mod table;
#[cfg(test)]
mod tests;
mod values;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

pub(crate) use self::credentials::Credentials;
pub(crate) use self::error::SettingsError;
pub use self::in_force::{InForce, Value};
pub(crate) use self::parse::QueueUrl;
pub(crate) use self::table::{Settings, Sync, Webhook};

use self::environment::Environment;
use self::setting::{AnyField, Field};
use self::sources::Layer;
use self::table::server;
use self::values::Values;

/// A duration that is typed or sent, as the settings have them: `90s`, `24h`, `2d`; may be zero.
///
/// # Errors
/// What is wrong with it: the end of a sentence that begins with its name.
pub(crate) fn duration(typed: &str) -> Result<Duration, String> {
    parse::duration_or_zero(&::config::Value::from(typed))
}

/// Settings that can be used, and what needs attention all the same.
#[derive(Debug, Clone)]
pub(crate) struct Loaded {
    pub settings: Settings,
    /// A sentence each, without any secret: for the log, once it runs.
    pub warnings: Vec<String>,
}

/// Reads, merges and checks all settings.
///
/// Shapes: `file` is what `--config` names and goes before `CONFIG_FILE`; `env` are the variables of the process, of which
/// all that are not ours are ignored. Reads that file and those that `…_FILE` variables name, and nothing else.
///
/// # Errors
/// [`SettingsError`] holds everything that is wrong, each with how to fix it.
pub(crate) fn load(
    file: Option<&Path>,
    env: impl Iterator<Item = (String, String)>,
) -> Result<Loaded, SettingsError> {
    let mut values = merged(file, env);
    match check::settings(&mut values) {
        Some(settings) => Ok(Loaded { warnings: check::warnings(&settings), settings }),
        None => Err(SettingsError { problems: values.problems }),
    }
}

/// The address that a service with these settings listens on: for a health check, which has no use for the secrets and
/// must work if it cannot read them.
///
/// Shapes: as for [`load`]. Other settings may be missing or wrong.
///
/// # Errors
/// [`SettingsError`] if the file cannot be read, or `server.listen` or `PORT` is wrong.
pub(crate) fn listen_address(
    file: Option<&Path>,
    env: impl Iterator<Item = (String, String)>,
) -> Result<SocketAddr, SettingsError> {
    let spec = &server::listen.spec;
    let needed = ["PORT".to_owned(), "CONFIG_FILE".to_owned(), spec.variable()];
    let mut values = merged(file, env.filter(|(name, _)| needed.contains(&name.to_uppercase())));
    server::listen.check(&mut values);
    values.problems.retain(|problem| {
        let at_fault = problem.at_fault.as_str();
        ["server", spec.name, "PORT", "CONFIG_FILE"].contains(&at_fault)
            || at_fault.starts_with(sources::SETTINGS_FILE)
    });
    match server::listen.read(&values) {
        Some(address) if values.problems.is_empty() => Ok(address),
        _ => Err(SettingsError { problems: values.problems }),
    }
}

/// The defaults, then the file (`file`, or the one that `CONFIG_FILE` names), then the environment, then `PORT`: a later
/// one overrides.
fn merged(file: Option<&Path>, env: impl Iterator<Item = (String, String)>) -> Values {
    let mut values = Values::default();
    let environment = Environment::read(env, &mut values.problems);
    let defaults = sources::defaults(&mut values.problems);
    values.add(defaults);
    if let Some(path) = file.or(environment.config_file.as_deref()) {
        match sources::file(path, &mut values.problems) {
            Some(layer) => values.add(layer),
            None => values.is_incomplete = true,
        }
    }
    values.add(environment.layer);
    if let (Some(port), Some(mut listen)) = (environment.port, server::listen.read(&values)) {
        listen.set_port(port);
        let mut layer = Layer::default();
        layer.set(&server::listen.spec, "PORT in the environment", listen.to_string());
        values.add(layer);
    }
    values
}
