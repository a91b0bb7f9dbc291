//! `queue`: how it stands, who waits or is parked and why, and what to do about it.

mod list;
mod show;

use std::time::Duration;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::answer::{self, BAD, GOOD, QUIET, STRONG, TAGS_KEPT};
use super::wiring::{open_queue, operator};
use super::{CommandError, Output};
use crate::clock::Clock;
use crate::config::{self, Settings};
use crate::operations::{ApiStatus, BackfillStatus, FORGOTTEN, Operator, Status};
use crate::queue::{Census, Lane, Retry, Role};
use crate::user::UserId;

#[derive(Debug, Clone, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Options {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Clone, Subcommand)]
enum Command {
    /// List users by their ids.
    #[command(after_help = "Example:\n  sesamy-mailmojo queue list --state parked --reason 422")]
    List(list::Options),
    /// Show one user: the row, and the history of syncs.
    #[command(after_help = "Example:\n  sesamy-mailmojo queue show 'email|84cccf985de28a2a84824786'")]
    Show(show::Options),
    /// Make users due at once, with no attempts counted. All who are parked, or parked for a reason, are counted first.
    #[command(after_help = "Examples:\n  sesamy-mailmojo queue retry 'email|84cccf985de28a2a84824786'\n  \
                            sesamy-mailmojo queue retry --reason 422 --yes")]
    Retry(RetryOptions),
    /// Pause all syncs; events are still accepted and kept.
    #[command(after_help = "Example:\n  sesamy-mailmojo queue pause")]
    Pause(Output),
    /// Let syncs go on, end the rest of an API that is at rest, and release the removal guard: what it has held back goes
    /// through.
    #[command(after_help = "Examples:\n  sesamy-mailmojo queue resume\n  \
                            sesamy-mailmojo queue resume --allow-removals 24h")]
    Resume(ResumeOptions),
}

#[derive(Debug, Clone, Args)]
struct ResumeOptions {
    /// Switch the removal guard off for so long, as 30m, 24h or 2d: many readers are about to lose tags rightly. 0s switches it
    /// on again.
    #[arg(long, value_name = "TIME", value_parser = config::duration)]
    allow_removals: Option<Duration>,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Clone, Args)]
#[group(id = "whom", required = true, multiple = false, args = ["users", "all_parked", "reason"])]
struct RetryOptions {
    /// The users' ids.
    #[arg(value_name = "USER", value_parser = answer::user)]
    users: Vec<UserId>,
    /// Everybody who is parked.
    #[arg(long)]
    all_parked: bool,
    /// Everybody who is parked and whose error has this text in it, in any letter case.
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
    /// Who of those named was forgotten, and so is not; left out where nobody was.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    forgotten: Vec<String>,
}

/// Carries one of them out, beside a service that may be running.
pub(super) async fn run(settings: Settings, options: Options) -> Result<(), CommandError> {
    let clock = Clock::system();
    let queue = open_queue(&settings, &clock, Role::Command { may_create: false }).await?;
    let operator = operator(&settings, queue.clone(), clock, Lane::Events)?;
    let done = match options.command {
        None => tell(&operator.status().await?, options.output),
        Some(Command::List(list)) => list::run(&operator, list).await,
        Some(Command::Show(show)) => show::run(&operator, show).await,
        Some(Command::Retry(retry)) => self::retry(&operator, retry).await,
        Some(Command::Pause(output)) => tell(&operator.pause().await?, output),
        Some(Command::Resume(resume)) => tell(&operator.resume(resume.allow_removals).await?, resume.output),
    };
    queue.close().await;
    done
}

async fn retry(operator: &Operator, options: RetryOptions) -> Result<(), CommandError> {
    let by_name = options.users.len();
    let named = options.users.clone();
    let whom = match options.reason {
        Some(reason) => Retry::Reason(reason),
        None if options.all_parked => Retry::AllParked,
        None => Retry::Users(options.users),
    };
    let users = operator.hand.queue.count_retry(&whom).await?;
    let json = options.output.json;
    if !(by_name > 0
        || options.yes
        || users == 0
        || (!json && answer::confirmed(&format!("{} will be made due. Go on?", many(users)))?))
    {
        if json {
            answer::json(&Retried { users, done: false, forgotten: Vec::new() })?;
        } else {
            answer::line(&format!(
                "{} would be made due; nothing was changed. Add --yes to go on.",
                many(users)
            ))?;
        }
        return Err(CommandError::Told);
    }
    let users = operator.retry(whom).await?;
    let forgotten = operator.hand.queue.forgotten(&named).await?;
    let forgotten: Vec<String> = forgotten.iter().map(|user| user.as_str().to_owned()).collect();
    if !json {
        forgotten.iter().try_for_each(|user| answer::line(&format!("{BAD}{user}{BAD:#} {FORGOTTEN}")))?;
    }
    if json {
        answer::json(&Retried { users, done: true, forgotten })?;
    } else if users > 0 {
        answer::line(&format!("{GOOD}{} made due{GOOD:#}", many(users)))?;
    } else {
        answer::line("nobody was made due: nobody is parked or waiting for another try who was asked for")?;
    }
    let missed = users < u64::try_from(by_name).unwrap_or(u64::MAX);
    if missed { Err(CommandError::Told) } else { Ok(()) }
}

fn many(users: u64) -> String {
    match users {
        1 => "1 user".to_owned(),
        Census::LIMIT.. => format!("{} users or more", Census::LIMIT),
        _ => format!("{users} users"),
    }
}

fn tell(status: &Status, output: Output) -> Result<(), CommandError> {
    if output.json {
        return Ok(answer::json(status)?);
    }
    let rows = &status.rows;
    match status.paused_since {
        Some(since) => answer::line(&format!(
            "{BAD}paused{BAD:#} since {since} ({}); events are kept. `queue resume` lets syncs go on",
            answer::seen_from(status.now, since)
        ))?,
        None => answer::line(&format!("{GOOD}syncing{GOOD:#}"))?,
    }
    if let Some(since) = status.tags_kept_since {
        answer::line(&format!(
            "{BAD}tag removal stopped{BAD:#} since {since} ({})",
            answer::seen_from(status.now, since)
        ))?;
        answer::line(&format!("  {TAGS_KEPT}"))?;
    }
    if let Some(until) = status.removals_allowed_until {
        answer::line(&format!(
            "{BAD}removal guard off{BAD:#} until {until}: `queue resume --allow-removals 0s` switches it on again"
        ))?;
    }
    let counts = [
        ("due", rows.due, "waiting to be synced"),
        ("leased", rows.leased, "being synced"),
        ("scheduled", rows.scheduled, "due later: a burst's window"),
        ("failing", rows.failing, "failed, and due later for the next try"),
        ("held", rows.held, "a change is held back, by sync.dry_run or the removal guard"),
        ("parked", rows.parked, "given up until the next event, or `queue retry`"),
    ];
    for (state, count, meaning) in counts {
        let or_more = if count >= Census::LIMIT { "+" } else { "" };
        answer::line(&format!(
            "{state:<10}{STRONG}{count:>7}{STRONG:#}{or_more:<2}{QUIET}{meaning}{QUIET:#}"
        ))?;
    }
    if rows.oldest_due_ms > 0 {
        let waits = answer::length(std::time::Duration::from_millis(rows.oldest_due_ms));
        answer::line(&format!("the oldest has been due for {waits}"))?;
    }
    status.apis.iter().try_for_each(|api| answer::line(&api_line(status, api)))?;
    if status.resync.due > 0 {
        let (due, late) =
            (status.resync.due, std::time::Duration::from_secs(status.resync.oldest_overdue_seconds));
        let late = answer::length(late);
        answer::line(&format!(
            "background: {due} users wait for a drift check or a backfill, the oldest for {late}"
        ))?;
    }
    status.backfill.iter().try_for_each(|backfill| answer::line(&backfill_line(status, backfill)))?;
    Ok(())
}

fn backfill_line(status: &Status, backfill: &BackfillStatus) -> String {
    let BackfillStatus { started_at, listed, due, is_listed } = *backfill;
    let users = if is_listed { "all users" } else { "users so far" };
    let began = answer::seen_from(status.now, started_at);
    format!("{:<10}{GOOD}on{GOOD:#}  {listed} {users} listed, {due} made due, begun {began}", "backfill")
}

fn api_line(status: &Status, api: &ApiStatus) -> String {
    let style = if api.state == "ok" { GOOD } else { BAD };
    let mut line = format!("{:<10}{style}{}{style:#}", api.api, api.state);
    if let Some(why) = api.why {
        line += &format!(" ({why})");
    }
    if let Some(until) = api.until {
        line += &format!(" until {until}, {}", answer::seen_from(status.now, until));
    }
    line
}
