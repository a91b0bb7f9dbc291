//! `demo`: the whole service at work, against the sandbox, on this machine alone.
//!
//! Nothing of it is pretended but the two APIs: events go over HTTP to the real server, wait in a real queue file, and
//! are synced by the real worker; each contact is read back over HTTP. The sandbox checks every write as it comes, and
//! anything that it objects to fails the demo.

mod keep;
mod picture;
mod stage;
mod story;

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use clap::Args;

use super::service::ServiceError;
use super::shutdown::{Signals, Timetable};
use crate::config::SettingsError;
use stage::Stage;

#[derive(Debug, Clone, Args)]
pub(super) struct Options {
    /// Leave everything running after the story, and print curl lines to play with.
    #[arg(long)]
    keep: bool,
    /// The service's port; any that is free if not given.
    #[arg(long, default_value_t = 0)]
    port: u16,
}

/// Why the demo failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum DemoError {
    #[error("the demo cannot start: {0}")]
    Start(#[from] io::Error),
    #[error("the demo's settings are wrong, a fault of this program: {0}")]
    Settings(#[from] SettingsError),
    #[error("the demo's service cannot start: {0}")]
    Service(#[from] ServiceError),
    #[error("the demo's service has failed: {0}")]
    Broken(#[source] ServiceError),
    #[error("the demo cannot speak to its own service: {0}")]
    Http(#[from] reqwest::Error),
    #[error("{0}")]
    Client(#[from] crate::upstream::ClientError),
    #[error("the service answered an event with {0}")]
    NotAccepted(u16),
    #[error("a sync did not end within {0} s")]
    NeverIdle(u64),
    #[error("{what}: expected {expected}, and it is {found}")]
    Unexpected { what: &'static str, expected: String, found: String },
    #[error("the sandbox objects to what the service did:\n  {0}")]
    Findings(String),
}

/// Tells the story; succeeds if every chapter ended as it should and the sandbox objects to nothing.
pub(super) async fn run(options: Options) -> Result<(), DemoError> {
    let mut signals = Signals::listen()?;
    let mut stage = Stage::build(options.port).await?;
    let told = tokio::select! {
        told = story::tell(&stage) => told,
        signal = signals.next() => Err(io::Error::other(format!("{signal} before the story was over")).into()),
    };
    // Taken before anybody plays: what is read or written by hand beside a sync looks like a second sync.
    let findings: Vec<String> = stage.sandbox.findings().iter().map(ToString::to_string).collect();
    if told.is_ok() && options.keep {
        keep::print(&stage)?;
        tokio::select! {
            _ = signals.next() => say("\nStopping.")?,
            broken = stage.service.broken() => return Err(DemoError::Broken(broken)),
        }
    }
    stage.service.stop(Timetable::prompt()).await;
    told?;
    if !findings.is_empty() {
        return Err(DemoError::Findings(findings.join("\n  ")));
    }
    if !options.keep {
        let good = Style::new().bold().fg_color(Some(AnsiColor::Green.into()));
        say(&format!(
            "\n{good}Every contact is as it should be, and the sandbox objected to no write.{good:#}"
        ))?;
        say("Leave it running and play with it by curl: sesamy-mailmojo demo --keep")?;
    }
    Ok(())
}

/// Prints a line; colours only where standard output is a terminal.
fn say(line: &str) -> io::Result<()> {
    writeln!(anstream::stdout(), "{line}")
}
