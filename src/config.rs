//! Every setting, where it comes from, and its check.
//!
//! From the weakest to the strongest: the defaults in `config/default.toml`, a settings file (`--config` or
//! `CONFIG_FILE`), the environment (`MAILMOJO__API_TOKEN`, for secrets also `MAILMOJO__API_TOKEN_FILE`; `PORT`
//! overrides the port). What comes out is plain typed data that has been checked; nobody needs to check it again.
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
mod custom_fields;
mod environment;
mod error;
mod in_force;
mod nearest;
mod parse;
mod sections;
mod setting;
mod sources;
mod table;
#[cfg(test)]
mod tests;
mod values;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

pub(crate) use self::error::SettingsError;
pub use self::in_force::{InForce, Value};
pub(crate) use self::parse::QueueUrl;
pub(crate) use self::sections::{Credentials, Settings, Sync, Webhook};

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
    let mut values = Values::load(file, env);
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
    let listen = &table::LISTEN;
    let (section, _) = listen.spec.path();
    let needed = ["PORT".to_owned(), "CONFIG_FILE".to_owned(), listen.spec.variable()];
    let mut values = Values::load(file, env.filter(|(name, _)| needed.contains(&name.to_uppercase())));
    values.check(listen);
    values.problems.retain(|problem| {
        let at_fault = problem.at_fault.as_str();
        [section, listen.spec.name, "PORT", "CONFIG_FILE"].contains(&at_fault)
            || at_fault.starts_with(sources::SETTINGS_FILE)
    });
    match values.get(listen) {
        Some(address) if values.problems.is_empty() => Ok(address),
        _ => Err(SettingsError { problems: values.problems }),
    }
}
