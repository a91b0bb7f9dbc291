//! `queue show`: one user's row and history.

use clap::Args;

use crate::app::{App, User};
use crate::cli::error::CommandError;
use crate::cli::output::{self, BAD, GOOD, Output, QUIET, STRONG, add_marked};
use crate::clock::Millis;
use crate::queue::{HistoryRow, RowState};
use crate::user::UserId;

#[derive(Debug, Clone, Args)]
pub(super) struct ShowArgs {
    /// The user's id.
    #[arg(value_name = "USER", value_parser = |id: &str| UserId::new(id))]
    user: UserId,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn run(app: &App, args: ShowArgs) -> Result<(), CommandError> {
    let user = app.user(&args.user).await?;
    if args.output.json {
        return Ok(output::json(&user)?);
    }
    let now = app.now();
    print_row(&user, now)?;
    if user.history.is_empty() {
        output::line("no sync is remembered")?;
    }
    Ok(user.history.iter().try_for_each(|entry| output::line(&format!("\n{}", entry_text(entry, now))))?)
}

fn print_row(user: &User, now: Millis) -> std::io::Result<()> {
    let User { row, memory, .. } = user;
    let moment = |at: Option<Millis>| {
        at.map_or_else(|| "never".to_owned(), |at| format!("{at} ({})", output::seen_from(now, at)))
    };
    let style = if row.state == RowState::Parked { BAD } else { GOOD };
    output::line(&format!("{STRONG}{}{STRONG:#}  {style}{}{style:#}", row.user, row.state.as_str()))?;
    let mut facts = vec![("synced", moment(row.synced_at)), ("last asked by", row.event_type.clone())];
    match row.state {
        RowState::Due | RowState::Scheduled | RowState::Failing => facts.push(("due", moment(row.due_at))),
        RowState::Leased => facts.push(("lease ends", moment(row.due_at))),
        RowState::Parked => facts.push(("parked", moment(row.parked_at))),
        RowState::Idle | RowState::Held => {}
    }
    if row.due_at.is_some() {
        facts.push(("lane", row.lane.as_str().to_owned()));
    }
    if row.attempts > 0 {
        facts.push(("failed", format!("{} times, since {}", row.attempts, moment(row.failing_since))));
    }
    if row.held_back {
        facts.push(("held back", "a change, by sync.dry_run or the removal guard".to_owned()));
    }
    if !row.tags_held.is_empty() {
        facts.push(("tags held", row.tags_held.join(", ")));
    }
    facts.extend(memory.facts());
    if memory.missing_since.is_some() {
        facts.push(("no usable address", format!("since {}", moment(memory.missing_since))));
    }
    if row.check_at.is_some() {
        let cause = row.check_cause.as_deref().unwrap_or_default();
        facts.push(("next check", format!("{} ({cause})", moment(row.check_at))));
    }
    if let Some(error) = &row.error {
        facts.push(("error", error.clone()));
    }
    facts.iter().try_for_each(|(name, fact)| output::line(&format!("  {QUIET}{name:<14}{QUIET:#}{fact}")))
}

/// An entry of the history, and what it changed in lines below.
pub(super) fn entry_text(entry: &HistoryRow, now: Millis) -> String {
    let style = if entry.error.is_some() { BAD } else { GOOD };
    let mut line = format!("{}  {style}{}{style:#}", entry.first_at, entry.outcome);
    if !entry.reason.is_empty() {
        line += &format!(" ({})", entry.reason);
    }
    line += &format!(" after {}, in {} ms", entry.event_type, entry.ms);
    if entry.held_back {
        line += ", held back by sync.dry_run or the removal guard";
    }
    if entry.times > 1 {
        line += &format!("; {} times, last {}", entry.times, output::seen_from(now, entry.last_at));
    }
    if entry.unchanged_times > 0 {
        line += &format!("; nothing to do {} times since", entry.unchanged_times);
    }
    add_marked(&mut line, 4, (QUIET, "set"), entry.changed.iter().filter(|field| *field != "tags"));
    add_marked(&mut line, 4, (GOOD, "+"), &entry.tags_added);
    add_marked(&mut line, 4, (BAD, "-"), &entry.tags_removed);
    add_marked(&mut line, 4, (QUIET, "held"), &entry.tags_held);
    if let Some(error) = &entry.error {
        line += &format!("\n    {error}");
    }
    line
}
