//! `queue`: its state, the users in it, and what to do about them.

mod list;
mod log;
mod show;

use std::time::Duration;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::bootstrap;
use super::error::CommandError;
use super::output::{self, BAD, GOOD, Output, QUIET, STRONG, TAGS_KEPT};
use crate::app::{App, BackfillStatus, FORGOTTEN, Status};
use crate::config::{self, Settings};
use crate::queue::{Census, Retry};
use crate::upstream::circuit_breaker::ApiStatus;
use crate::user::UserId;

#[derive(Debug, Clone, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct QueueArgs {
    #[command(subcommand)]
    command: Option<QueueCommand>,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Clone, Subcommand)]
enum QueueCommand {
    /// List users by their ids.
    #[command(after_help = "Example:\n  sesamy-mailmojo queue list --state parked --reason 422")]
    List(list::ListArgs),
    /// List the latest syncs of all users, the latest first.
    #[command(after_help = "Examples:\n  sesamy-mailmojo queue log --lost-tags --since 24h\n  \
                            sesamy-mailmojo queue log --outcome parked --json")]
    Log(log::LogArgs),
    /// Show one user: the row, and the history of syncs.
    #[command(after_help = "Example:\n  sesamy-mailmojo queue show 'email|84cccf985de28a2a84824786'")]
    Show(show::ShowArgs),
    /// Make users due at once, with no attempts counted. All parked users, or those parked for a reason, are counted first.
    #[command(after_help = "Examples:\n  sesamy-mailmojo queue retry 'email|84cccf985de28a2a84824786'\n  \
                            sesamy-mailmojo queue retry --reason 422 --yes")]
    Retry(RetryArgs),
    /// Pause all syncs; events are still accepted and kept.
    #[command(after_help = "Example:\n  sesamy-mailmojo queue pause")]
    Pause(Output),
    /// Let syncs go on, close the circuits of both APIs, and release the removal guard: what it has held back goes through.
    #[command(after_help = "Examples:\n  sesamy-mailmojo queue resume\n  \
                            sesamy-mailmojo queue resume --allow-removals 24h")]
    Resume(ResumeArgs),
}

#[derive(Debug, Clone, Args)]
struct ResumeArgs {
    /// Switch the removal guard off for this time, as 30m, 24h or 2d: many readers are about to lose tags rightly. 0s switches
    /// it on again.
    #[arg(long, value_name = "TIME", value_parser = config::duration)]
    allow_removals: Option<Duration>,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Clone, Args)]
#[group(id = "whom", required = true, multiple = false, args = ["users", "all_parked", "reason"])]
struct RetryArgs {
    /// The users' ids.
    #[arg(value_name = "USER", value_parser = |id: &str| UserId::new(id))]
    users: Vec<UserId>,
    /// All parked users.
    #[arg(long)]
    all_parked: bool,
    /// All parked users whose error has this text in it, in any letter case.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Go on without asking.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    output: Output,
}

/// The answer of `queue retry --json`.
#[derive(Debug, Serialize)]
struct Retried {
    /// How many would be, or have been, made due.
    users: u64,
    /// Whether they have.
    done: bool,
    /// The users named who were forgotten, and so are not made due; left out if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    forgotten: Vec<String>,
}

/// Does what was asked for, beside a service that may be running.
pub(super) async fn run(settings: Settings, args: QueueArgs) -> Result<(), CommandError> {
    let app = bootstrap::app(&settings, false).await?;
    let done = match args.command {
        None => status(&app, args.output).await,
        Some(QueueCommand::List(args)) => list::run(&app, args).await,
        Some(QueueCommand::Log(args)) => log::run(&app, args).await,
        Some(QueueCommand::Show(args)) => show::run(&app, args).await,
        Some(QueueCommand::Retry(args)) => retry(&app, args).await,
        Some(QueueCommand::Pause(output)) => match app.pause().await {
            Ok(()) => status(&app, output).await,
            Err(error) => Err(error.into()),
        },
        Some(QueueCommand::Resume(args)) => match app.resume(args.allow_removals).await {
            Ok(()) => status(&app, args.output).await,
            Err(error) => Err(error.into()),
        },
    };
    app.close().await;
    done
}

async fn retry(app: &App, args: RetryArgs) -> Result<(), CommandError> {
    let named = args.users.clone();
    let retry = match args.reason {
        Some(reason) => Retry::Reason(reason),
        None if args.all_parked => Retry::AllParked,
        None => Retry::Users(args.users),
    };
    let users = app.count_retry(&retry).await?;
    let json = args.output.json;
    let is_confirmed = !named.is_empty()
        || args.yes
        || users == 0
        || (!json && output::confirmed(&format!("{} will be made due. Go on?", in_words(users)))?);
    if !is_confirmed {
        if json {
            output::json(&Retried { users, done: false, forgotten: Vec::new() })?;
        } else {
            output::line(&format!(
                "{} would be made due; nothing was changed. Add --yes to go on.",
                in_words(users)
            ))?;
        }
        return Err(CommandError::Reported);
    }
    let users = app.retry(retry).await?;
    let forgotten = app.forgotten(&named).await?;
    let forgotten: Vec<String> = forgotten.iter().map(|user| user.as_str().to_owned()).collect();
    if json {
        output::json(&Retried { users, done: true, forgotten })?;
    } else {
        forgotten.iter().try_for_each(|user| output::line(&format!("{BAD}{user}{BAD:#} {FORGOTTEN}")))?;
        output::line(&match users {
            0 => "No matching user is parked or waiting for a retry.".to_owned(),
            _ => format!("{GOOD}{} made due{GOOD:#}", in_words(users)),
        })?;
    }
    let has_missed = users < u64::try_from(named.len()).unwrap_or(u64::MAX);
    if has_missed { Err(CommandError::Reported) } else { Ok(()) }
}

fn in_words(users: u64) -> String {
    match users {
        1 => "1 user".to_owned(),
        Census::LIMIT.. => format!("{} users or more", Census::LIMIT),
        _ => format!("{users} users"),
    }
}

async fn status(app: &App, output: Output) -> Result<(), CommandError> {
    let status = app.status().await?;
    if output.json {
        output::json(&status)?;
    } else {
        lines(&status).iter().try_for_each(|line| output::line(line))?;
    }
    Ok(())
}

fn lines(status: &Status) -> Vec<String> {
    let ago = |at| output::seen_from(status.now, at);
    let mut lines = vec![match status.paused_since {
        Some(since) => format!(
            "{BAD}paused{BAD:#} since {since} ({}); events are kept. `queue resume` lets syncs go on",
            ago(since)
        ),
        None => format!("{GOOD}syncing{GOOD:#}"),
    }];
    if let Some(since) = status.tags_kept_since {
        lines.push(format!("{BAD}tag removal stopped{BAD:#} since {since} ({})", ago(since)));
        lines.push(format!("  {TAGS_KEPT}"));
    }
    if let Some(until) = status.removals_allowed_until {
        lines.push(format!(
            "{BAD}removal guard off{BAD:#} until {until}: `queue resume --allow-removals 0s` switches it on again"
        ));
    }
    lines.extend(status.rows.iter().flat_map(rows));
    lines.extend(status.apis.iter().map(|api| api_line(status, api)));
    if let Some(resync) = status.resync.filter(|resync| resync.due > 0) {
        let late = output::length(Duration::from_secs(resync.oldest_overdue_seconds));
        let due = resync.due;
        lines.push(format!(
            "background: {due} users wait for a drift check or a backfill, the oldest for {late}"
        ));
    }
    lines.extend(status.backfill.iter().map(|backfill| backfill_line(status, backfill)));
    lines
}

fn rows(rows: &Census) -> Vec<String> {
    let counts = [
        ("due", rows.due, "waiting to be synced"),
        ("leased", rows.leased, "being synced"),
        ("scheduled", rows.scheduled, "due later: a burst's window"),
        ("failing", rows.failing, "failed, and due later for the next try"),
        ("held", rows.held, "a change is held back, by sync.dry_run or the removal guard"),
        ("parked", rows.parked, "given up until the next event, or `queue retry`"),
    ];
    let mut lines: Vec<String> = counts
        .iter()
        .map(|(state, count, meaning)| {
            let or_more = if *count >= Census::LIMIT { "+" } else { "" };
            format!("{state:<10}{STRONG}{count:>7}{STRONG:#}{or_more:<2}{QUIET}{meaning}{QUIET:#}")
        })
        .collect();
    if rows.oldest_due_ms > 0 {
        let waits = output::length(Duration::from_millis(rows.oldest_due_ms));
        lines.push(format!("the oldest has been due for {waits}"));
    }
    lines
}

fn backfill_line(status: &Status, backfill: &BackfillStatus) -> String {
    let BackfillStatus { started_at, listed, due, is_listed } = *backfill;
    let users = if is_listed { "all users" } else { "users so far" };
    let began = output::seen_from(status.now, started_at);
    format!("{:<10}{GOOD}on{GOOD:#}  {listed} {users} listed, {due} made due, begun {began}", "backfill")
}

fn api_line(status: &Status, api: &ApiStatus) -> String {
    let style = if api.state == "ok" { GOOD } else { BAD };
    let mut line = format!("{:<10}{style}{}{style:#}", api.api, api.state);
    if let Some(why) = api.why {
        line += &format!(" ({why})");
    }
    if let Some(until) = api.until {
        line += &format!(" until {until}, {}", output::seen_from(status.now, until));
    }
    line
}
