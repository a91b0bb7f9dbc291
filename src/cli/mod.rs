//! The commands, a file each: they parse, ask `app`, and print. `bootstrap` and `service` put the rooms together.

mod backfill;
mod bootstrap;
mod check;
mod demo;
mod error;
mod forget;
mod healthcheck;
mod output;
mod preview;
mod queue;
mod serve;
mod service;
mod shutdown;
mod sync;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::error::CommandError;
use self::output::Output;
use crate::config::{self, Loaded, Settings};
use crate::telemetry::{LogTarget, start_logging};

/// The exit code for settings that cannot be used, as for a wrong command line.
const WRONG_SETTINGS: u8 = 2;

/// Keeps a Mailmojo list in step with Sesamy.
#[derive(Debug, Parser)]
#[command(name = "sesamy-mailmojo", version, about, arg_required_else_help = false)]
struct Cli {
    /// The settings file (TOML); the environment is read after it. Default: the file named by CONFIG_FILE, if any.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Take events and keep the list in step (the default).
    #[command(after_help = "Example:\n  sesamy-mailmojo --config publisher.toml serve")]
    Serve,
    /// Show the whole service at work against a pretended Sesamy and Mailmojo on this machine: needs no account, no
    /// network and no settings.
    #[command(after_help = "Example:\n  sesamy-mailmojo demo --keep")]
    Demo(demo::DemoArgs),
    /// Check the settings, then make one harmless call to each API: credentials, scopes, the list's name.
    #[command(after_help = "Example:\n  sesamy-mailmojo --config publisher.toml check --json")]
    Check(Output),
    /// Sync users now, and report the outcome: through the queue, so never beside a running service's sync of the same
    /// user.
    #[command(after_help = "Example:\n  sesamy-mailmojo sync 'email|84cccf985de28a2a84824786'")]
    Sync(sync::SyncArgs),
    /// Show the state of the queue; list, show and retry users; pause and resume syncs.
    #[command(
        after_help = "Examples:\n  sesamy-mailmojo queue\n  sesamy-mailmojo queue list --state parked\n  \
                            sesamy-mailmojo queue pause"
    )]
    Queue(queue::QueueArgs),
    /// Show what a sync of these users would change, field by field and tag by tag, and why; writes nothing.
    #[command(
        after_help = "Examples:\n  sesamy-mailmojo --config publisher.toml preview 'email|84cccf985de28a2a84824786'\n  \
        sesamy-mailmojo --config publisher.toml preview --email kari@example.com --json"
    )]
    Preview(preview::PreviewArgs),
    /// Make every Sesamy user due, and wait until all are synced: by the service that runs beside it or, without one, by this
    /// command. It can be stopped at any moment, and goes on where it was.
    #[command(after_help = "Examples:\n  sesamy-mailmojo --config publisher.toml backfill --dry-run\n  \
        sesamy-mailmojo --config publisher.toml backfill --updated-since 2h --yes")]
    Backfill(backfill::Options),
    /// Erase users from the queue, history included, for good: later events of theirs are dropped, and no backfill touches them.
    ///
    /// What is left is a keyed hash of the id. The lines that the log has of them already are not erased: how long those are
    /// kept is up to where you keep the log. `sync --again USER` takes a user up again.
    #[command(after_help = "Examples:\n  sesamy-mailmojo forget 'email|84cccf985de28a2a84824786'\n  \
        sesamy-mailmojo --config publisher.toml forget --mailmojo --yes 'email|84cccf985de28a2a84824786'")]
    Forget(forget::ForgetArgs),
    /// Ask a running service on this machine whether it is healthy: for Docker's HEALTHCHECK.
    #[command(after_help = "Example:\n  PORT=8080 sesamy-mailmojo healthcheck")]
    Healthcheck,
}

/// Parses the command line and runs the command. Exit codes: 0 if all is well, 2 for wrong settings or a wrong command
/// line, else 1.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            anstream::eprintln!("cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(run(cli));
    // A name resolution that hangs must not keep the process from ending.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(CommandError::Reported) => ExitCode::FAILURE,
        Err(error) => {
            anstream::eprintln!("{error}");
            ExitCode::from(if matches!(error, CommandError::Settings(_)) { WRONG_SETTINGS } else { 1 })
        }
    }
}

async fn run(cli: Cli) -> Result<(), CommandError> {
    let config = cli.config.as_deref();
    match cli.command.unwrap_or(Command::Serve) {
        Command::Serve => serve::run(load(config, LogTarget::Stdout)?).await,
        Command::Demo(options) => Ok(demo::run(options).await?),
        Command::Check(output) => match load(config, LogTarget::Stderr) {
            Ok(settings) => check::run(settings, output).await,
            Err(error) => Err(check::without_settings(error, output)?),
        },
        Command::Sync(options) => sync::run(load_quietly(config)?, options).await,
        Command::Queue(options) => queue::run(load_quietly(config)?, options).await,
        Command::Preview(options) => preview::run(load_quietly(config)?, options).await,
        Command::Backfill(options) => backfill::run(load_quietly(config)?, options).await,
        Command::Forget(options) => forget::run(load_quietly(config)?, options).await,
        Command::Healthcheck => healthcheck::run(config, environment()).await,
    }
}

/// The same for a command whose answer says it all: at the default `log.level`, only warnings are logged.
fn load_quietly(config: Option<&Path>) -> Result<Settings, CommandError> {
    let Loaded { mut settings, warnings } = config::load(config, environment())?;
    if settings.log.level == "info" {
        settings.log.level = "warn".to_owned();
    }
    log(&settings, LogTarget::Stderr, warnings)?;
    Ok(settings)
}

/// The settings, and the log that they ask for, in which their warnings come first.
fn load(config: Option<&Path>, target: LogTarget) -> Result<Settings, CommandError> {
    let Loaded { settings, warnings } = config::load(config, environment())?;
    log(&settings, target, warnings)?;
    Ok(settings)
}

fn log(settings: &Settings, target: LogTarget, warnings: Vec<String>) -> Result<(), CommandError> {
    start_logging(&settings.log.level, settings.log.format, target)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    Ok(())
}

/// The environment; a variable that is not Unicode is no setting.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn serve_is_the_default_and_config_stands_before_or_after_the_command() {
        let cli = |args: &[&str]| Cli::try_parse_from([&["sesamy-mailmojo"], args].concat()).unwrap();
        assert!(cli(&[]).command.is_none());
        for args in [["--config", "a.toml", "serve"], ["serve", "--config", "a.toml"]] {
            assert_eq!(cli(&args).config.as_deref(), Some(Path::new("a.toml")));
        }
    }
}
