//! `demo`: the whole service at work, against the sandbox, on this machine alone.
//!
//! Nothing of it is pretended but the two APIs: events go over HTTP to the real server, wait in a real queue file, and
//! are synced by the real worker; each contact is read back over HTTP. The sandbox checks every write as it comes, and
//! anything that it objects to fails the demo.

mod playground;
mod render;
mod setup;
mod story;

use std::io;

use clap::Args;

use super::error::DemoError;
use super::output::{GOOD, line};
use super::shutdown::{Signals, Timetable};
use setup::Stage;

#[derive(Debug, Clone, Args)]
pub(super) struct DemoArgs {
    /// Leave everything running after the story, and print curl lines to play with.
    #[arg(long)]
    keep: bool,
    /// The service's port; any that is free if not given.
    #[arg(long, default_value_t = 0)]
    port: u16,
}

/// Tells the story; succeeds if every chapter ended as it should and the sandbox objects to nothing.
pub(super) async fn run(args: DemoArgs) -> Result<(), DemoError> {
    let mut signals = Signals::listen()?;
    let mut stage = Stage::build(args.port).await?;
    let told = tokio::select! {
        told = story::tell(&stage) => told,
        signal = signals.next() => Err(io::Error::other(format!("{signal} before the story was over")).into()),
    };
    // Taken before anybody plays: what is read or written by hand beside a sync looks like a second sync.
    let findings: Vec<String> = stage.sandbox.findings().iter().map(ToString::to_string).collect();
    if told.is_ok() && args.keep {
        playground::print(&stage)?;
        tokio::select! {
            _ = signals.next() => line("\nStopping.")?,
            broken = stage.service.broken() => return Err(DemoError::Broken(broken)),
        }
    }
    stage.service.stop(Timetable::prompt()).await;
    told?;
    if !findings.is_empty() {
        return Err(DemoError::Findings(findings.join("\n  ")));
    }
    if !args.keep {
        let good = GOOD.bold();
        line(&format!(
            "\n{good}Every contact is as it should be, and the sandbox objected to no write.{good:#}"
        ))?;
        line("Leave it running and play with it by curl: sesamy-mailmojo demo --keep")?;
    }
    Ok(())
}
