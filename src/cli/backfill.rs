//! `backfill`: everybody in step, beside a service that may be running.

mod progress;
mod told;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use jiff::SignedDuration;

use super::shutdown::Signals;
use super::wiring::{clients, open_queue, operator_with, quotas};
use super::{CommandError, Output, answer};
use crate::clock::Clock;
use crate::config::{QueueUrl, Settings};
use crate::operations::backfill::order::Order;
use crate::operations::backfill::{Audience, Backfill, BackfillError, Desk, Made, Pace, ReportFile, age};
use crate::operations::{self};
use crate::personal::Mask;
use crate::queue::{Lane, Role};
use crate::sync::usual_calls;
use crate::upstream::{Attempt, Meter, PerApi};
use crate::worker::Stop;

/// What syncs under way have to end, once it is to stop.
const GRACE: Duration = Duration::from_secs(8);
/// Calls of Sesamy's for each user beside the entitlements: pages of two looks at users and contracts.
const PAGES_EACH: f64 = 0.04;

#[derive(Debug, Clone, Args)]
pub(super) struct Options {
    /// Tell what would be done, and do nothing of it.
    #[arg(long, conflicts_with = "restart")]
    dry_run: bool,
    /// Keep contacts in step that Mailmojo has already: nobody is created, nobody subscribed.
    #[arg(long)]
    existing_only: bool,
    /// Only users who were changed, or a contract of theirs, in the time before it began: 30m, 2h, 3d.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    updated_since: Option<Duration>,
    /// Write a line of JSON per user into FILE, which must not exist yet. Without this option a dry run makes a file
    /// backfill-dry-run-….jsonl, here or, where nothing can be written here, beside the queue's file.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Begin anew, whatever was left unfinished.
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
    let wrong = || format!("{typed:?} is no time such as 30m, 2h or 3d");
    let days = typed.strip_suffix('d').and_then(|days| days.parse::<i64>().ok());
    let signed = match days {
        Some(days) => days.checked_mul(24).and_then(SignedDuration::try_from_hours),
        None => typed.parse().ok(),
    };
    let time = signed.and_then(|signed| Duration::try_from(signed).ok()).ok_or_else(wrong)?;
    if time.as_secs() == 0 { Err("it has to be a second or more".to_owned()) } else { Ok(time) }
}

/// Tells what it is about to do, asks, does it, and tells what it came to; fails where it was not finished, or anybody
/// failed.
pub(super) async fn run(settings: Settings, options: Options) -> Result<(), CommandError> {
    let stop = stop_on_signals()?;
    let clock = Clock::system();
    let queue = open_queue(&settings, &clock, Role::Command { may_create: true }).await?;
    let audience: Arc<dyn Audience> = progress::audience();
    let done = bring_in_step(&settings, &options, &clock, queue.clone(), audience, stop).await;
    queue.close().await;
    done
}

async fn bring_in_step(
    settings: &Settings,
    options: &Options,
    clock: &Clock,
    queue: crate::queue::Queue,
    audience: Arc<dyn Audience>,
    stop: Stop,
) -> Result<(), CommandError> {
    let made = Arc::new(Made::on(Arc::new(queue.meter(Lane::Background))));
    let meter: Arc<dyn Meter> = made.clone();
    let clients = clients(settings, &meter, clock).map_err(|error| CommandError::Service(error.into()))?;
    let attempt = Attempt::within(settings.sync.deadline, clock);
    let list = clients.mailmojo.list(&attempt).await.map_err(|failure| BackfillError::List {
        what: "the Mailmojo list".to_owned(),
        message: failure.message(&Mask::default()),
    })?;
    let desk =
        desk(settings, options, operator_with(settings, queue, clock.clone(), clients), made, audience, stop);
    let mut backfill = Backfill::prepare(desk, order(settings, options), options.restart).await?;
    let users = backfill.count_users().await?;
    told::plan(&told::Plan {
        dry_run: options.dry_run,
        held_back: settings.sync.dry_run,
        list_id: settings.mailmojo.list_id,
        list_name: list.name.as_deref(),
        existing_only: options.existing_only || !settings.sync.create_contacts,
        updated_since: options.updated_since,
        goes_on_from: backfill.goes_on_from(),
        users,
        shortest: age::shortest(
            usize::try_from(users).unwrap_or(usize::MAX),
            calls_each(settings, options),
            background(settings),
        ),
        now: clock.now(),
    })?;
    if !(options.dry_run || options.yes || answer::confirmed("Go on?")?) {
        anstream::eprintln!(
            "Nothing was done. Add --yes to go on without being asked, or --dry-run to see what would be done."
        );
        return Err(CommandError::Told);
    }
    let report = report(settings, options, backfill.goes_on_from().is_some())?;
    let path = report.map(|report| {
        let path = report.path().to_owned();
        backfill.report_to(report);
        path
    });
    let summary = backfill.run().await?;
    if options.output.json {
        answer::json(&summary)?;
        if let Some(path) = path {
            anstream::eprintln!("a line per user: {}", path.display());
        }
    } else {
        told::summary(&summary, path.as_deref())?;
    }
    if summary.ok { Ok(()) } else { Err(CommandError::Told) }
}

/// The report, open. That of a dry run is in the working directory, or, where nothing can be written there (as in the
/// image), beside the queue's file.
fn report(
    settings: &Settings,
    options: &Options,
    goes_on: bool,
) -> Result<Option<ReportFile>, BackfillError> {
    let report = match &options.report {
        Some(path) if goes_on => ReportFile::go_on(path)?,
        Some(path) => ReportFile::create(path)?,
        None if options.dry_run => ReportFile::create_in(Path::new(".")).or_else(|_| {
            let beside_the_queue = match &settings.queue.url {
                QueueUrl::Sqlite(path) => path.parent().unwrap_or(Path::new("/")).to_owned(),
                QueueUrl::Postgres(_) => std::env::temp_dir(),
            };
            ReportFile::create_in(&beside_the_queue)
        })?,
        None => return Ok(None),
    };
    Ok(Some(report))
}

fn order(settings: &Settings, options: &Options) -> Order {
    Order {
        list_id: settings.mailmojo.list_id,
        existing_only: options.existing_only,
        updated_since_seconds: options.updated_since.map(|time| time.as_secs()),
        held_back: settings.sync.dry_run,
    }
}

fn desk(
    settings: &Settings,
    options: &Options,
    mut operator: operations::Operator,
    made: Arc<Made>,
    audience: Arc<dyn Audience>,
    stop: Stop,
) -> Desk {
    if options.existing_only {
        operator.syncer = Arc::new(operator.syncer.in_manner(crate::sync::Manner::ExistingOnly));
    }
    let pace = Pace {
        concurrency: settings.sync.concurrency.get(),
        derive_tags: settings.sesamy.derive_tags,
        dry_run: options.dry_run,
        existing_only: options.existing_only,
        per_minute: background(settings),
    };
    Desk::new(operator, made, audience, pace, stop)
}

/// The background's share: half.
fn background(settings: &Settings) -> PerApi<u32> {
    let quotas = quotas(settings);
    let half = |rate: std::num::NonZeroU32| (rate.get() / 2).max(1);
    PerApi { sesamy: half(quotas.sesamy.per_minute), mailmojo: half(quotas.mailmojo.per_minute) }
}

/// The calls that a user costs who needs a write; a dry run makes none of those.
fn calls_each(settings: &Settings, options: &Options) -> PerApi<f64> {
    let own = if settings.sesamy.derive_tags { 1.0 } else { 0.0 };
    let usual = usual_calls(settings.sesamy.derive_tags).mailmojo - u32::from(options.dry_run);
    PerApi { sesamy: own + PAGES_EACH, mailmojo: usual.into() }
}

/// The first signal lets syncs under way end, for a while; the second ends the process at once.
fn stop_on_signals() -> Result<Stop, CommandError> {
    let mut signals = Signals::listen().map_err(CommandError::Signals)?;
    let stop = Stop::default();
    let token = stop.clone();
    tokio::spawn(async move {
        signals.next().await;
        anstream::eprintln!(
            "\nstopping: syncs under way have {} s to end; again to stop at once",
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
