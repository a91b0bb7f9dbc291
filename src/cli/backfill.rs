//! `backfill`: every Sesamy user made due and synced, beside a service that may be running.

mod output;
mod progress;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use jiff::SignedDuration;

use super::shutdown::Signals;
use super::wiring::{clients, open_queue, operator_with};
use super::{CommandError, Output, answer};
use crate::clock::Clock;
use crate::config::{QueueUrl, Settings};
use crate::operations::backfill::progress::{Progress, Spec};
use crate::operations::backfill::{self, Backfill, BackfillError, ReportFile};
use crate::queue::{Lane, Queue, Role};
use crate::sync::SyncMode;
use crate::upstream::{Attempt, Meter};
use crate::worker::Stop;
use progress::Display;

/// How long running syncs have to end once it is to stop.
const GRACE: Duration = Duration::from_secs(8);

#[derive(Debug, Clone, Args)]
pub(super) struct Options {
    /// Decide for each user, write nothing, and print what would be done.
    #[arg(long, conflicts_with = "restart")]
    dry_run: bool,
    /// Update contacts that Mailmojo has already: nobody is created or subscribed.
    #[arg(long)]
    existing_only: bool,
    /// Only users who, or a contract of whom, were updated in the time before it began: 30m, 2h, 3d.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    updated_since: Option<Duration>,
    /// Write a dry run's line of JSON per user into FILE, which must not exist yet. By default it makes a file
    /// backfill-dry-run-….jsonl, here or, if nothing can be written here, beside the queue's file.
    #[arg(long, value_name = "FILE", requires = "dry_run")]
    report: Option<PathBuf>,
    /// Begin anew, even if the last backfill did not end.
    #[arg(long)]
    restart: bool,
    /// Go on without asking.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    output: Output,
}

/// A time such as 30m, 2h or 3d.
fn duration(typed: &str) -> Result<Duration, String> {
    let wrong = || format!("{typed:?} is not a time such as 30m, 2h or 3d");
    let days = typed.strip_suffix('d').and_then(|days| days.parse::<i64>().ok());
    let signed = match days {
        Some(days) => days.checked_mul(24).and_then(SignedDuration::try_from_hours),
        None => typed.parse().ok(),
    };
    let time = signed.and_then(|signed| Duration::try_from(signed).ok()).ok_or_else(wrong)?;
    if time.as_secs() == 0 { Err("it has to be a second or more".to_owned()) } else { Ok(time) }
}

/// Prints what it is about to do, asks, does it, and prints what it came to. Fails if it was not finished, or if anybody
/// failed.
pub(super) async fn run(settings: Settings, options: Options) -> Result<(), CommandError> {
    let stop = stop_on_signals()?;
    let clock = Clock::system();
    let queue = open_queue(&settings, &clock, Role::Command { may_create: true }).await?;
    let done = list_and_sync(&settings, &options, clock, queue.clone(), stop).await;
    queue.close().await;
    done
}

async fn list_and_sync(
    settings: &Settings,
    options: &Options,
    clock: Clock,
    queue: Queue,
    stop: Stop,
) -> Result<(), CommandError> {
    let meter: Arc<dyn Meter> = Arc::new(queue.meter(Lane::Background));
    let clients = clients(settings, &meter, &clock).map_err(|error| CommandError::Service(error.into()))?;
    let list = clients.mailmojo.list(&Attempt::within(settings.sync.deadline, &clock)).await;
    let list = list.map_err(|failure| BackfillError::List("the Mailmojo list", failure.to_string()))?;
    let mut operator = operator_with(settings, queue.clone(), clock.clone(), clients);
    if options.dry_run && options.existing_only {
        operator.syncer = operator.syncer.in_mode(SyncMode::ExistingOnly).into();
    }
    let begins_anew = options.dry_run || options.restart;
    let last = if begins_anew { None } else { Progress::load(&queue).await? };
    let spec = Spec {
        list_id: settings.mailmojo.list_id,
        existing_only: options.existing_only,
        updated_since_seconds: options.updated_since.map(|time| time.as_secs()),
        held_back: settings.sync.dry_run,
    };
    let how = backfill::Options {
        spec,
        dry_run: options.dry_run,
        concurrency: settings.sync.concurrency.get(),
        derive_tags: settings.sesamy.derive_tags,
    };
    let backfill = Backfill::new(operator, how, last, stop);
    let users = backfill.count_users().await;
    let began_before = backfill.goes_on_from();
    output::plan(&spec, options.dry_run, list.name.as_deref(), users, began_before, clock.now())?;
    if !(options.dry_run || options.yes || answer::confirmed("Go on?")?) {
        anstream::eprintln!(
            "Nothing was done. Add --yes to go on without being asked, or --dry-run to see what would be done."
        );
        return Err(CommandError::Told);
    }
    let report = if options.dry_run { Some(report(settings, options)?) } else { None };
    let path = report.as_ref().map(|report| report.path().to_owned());
    let mut display = Display::new();
    let ended = backfill.run(report, |snapshot| display.show(snapshot)).await;
    drop(display);
    let summary = ended?;
    if options.output.json {
        answer::json(&summary)?;
        if let Some(path) = path {
            anstream::eprintln!("a line per user: {}", path.display());
        }
    } else {
        output::summary(&summary, path.as_deref())?;
    }
    if summary.ok { Ok(()) } else { Err(CommandError::Told) }
}

/// The report of a dry run, open: in the working directory, or, if nothing can be written there (as in the image), beside
/// the queue's file.
fn report(settings: &Settings, options: &Options) -> Result<ReportFile, BackfillError> {
    let report = match &options.report {
        Some(path) => ReportFile::create(path)?,
        None => ReportFile::create_in(Path::new(".")).or_else(|_| {
            let beside_the_queue = match &settings.queue.url {
                QueueUrl::Sqlite(path) => path.parent().unwrap_or(Path::new("/")).to_owned(),
                QueueUrl::Postgres(_) => std::env::temp_dir(),
            };
            ReportFile::create_in(&beside_the_queue)
        })?,
    };
    Ok(report)
}

/// The first signal ends the listing and lets running syncs end, for a while; the second ends the process at once.
fn stop_on_signals() -> Result<Stop, CommandError> {
    let mut signals = Signals::listen().map_err(CommandError::Signals)?;
    let stop = Stop::default();
    let token = stop.clone();
    tokio::spawn(async move {
        signals.next().await;
        anstream::eprintln!(
            "\nstopping: no more users are listed, and syncs of this process have {} s to end; again to stop at once",
            GRACE.as_secs()
        );
        token.leasing.cancel();
        tokio::select! {
            () = tokio::time::sleep(GRACE) => token.running.cancel(),
            _ = signals.next() => std::process::exit(130),
        }
        signals.next().await;
        std::process::exit(130);
    });
    Ok(stop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_unit() {
        for (typed, seconds) in
            [("2h", 7_200), ("30m", 1_800), ("90s", 90), ("3d", 259_200), ("1h30m", 5_400)]
        {
            assert_eq!(duration(typed).unwrap().as_secs(), seconds);
        }
        for wrong in ["", "2", "h", "-2h", "0s", "10ms", "99999999999999999d", "two hours"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
