//! `queue show`: one user's row and history.

use clap::Args;
use serde::Serialize;

use crate::cli::answer::{self, BAD, GOOD, QUIET, STRONG};
use crate::cli::{CommandError, Output};
use crate::clock::Millis;
use crate::operations::{Operator, Remembered};
use crate::queue::{HistoryRow, RowState, UserRow};
use crate::user::UserId;

/// How much of the history is shown.
const HISTORY: usize = 100;

#[derive(Debug, Clone, Args)]
pub(super) struct Options {
    /// The user's id.
    #[arg(value_name = "USER", value_parser = answer::user)]
    user: UserId,
    #[command(flatten)]
    output: Output,
}

/// The answer of `queue show --json`.
#[derive(Debug, Serialize)]
struct Answer {
    #[serde(flatten)]
    row: UserRow,
    /// What is remembered between syncs.
    memory: Remembered,
    /// The latest first.
    history: Vec<HistoryRow>,
}

pub(super) async fn run(operator: &Operator, options: Options) -> Result<(), CommandError> {
    let user = options.user;
    let queue = &operator.hand.queue;
    let Some(row) = queue.rows_of(std::slice::from_ref(&user)).await?.pop() else {
        let name = user.as_str().to_owned();
        let is_forgotten = operator.is_forgotten(&user).await?;
        return Err(if is_forgotten { CommandError::Forgotten(name) } else { CommandError::Unknown(name) });
    };
    let history = queue.history(&user, HISTORY).await?;
    let memory = Remembered::from(&row.memory);
    if options.output.json {
        return Ok(answer::json(&Answer { row, memory, history })?);
    }
    let now = operator.hand.clock.now();
    print_row(&row, &memory, now)?;
    if history.is_empty() {
        answer::line("no sync is remembered")?;
    }
    history.iter().try_for_each(|entry| print_entry(entry, now))?;
    Ok(())
}

fn print_row(row: &UserRow, memory: &Remembered, now: Millis) -> std::io::Result<()> {
    let moment = |at: Option<Millis>| {
        at.map_or_else(|| "never".to_owned(), |at| format!("{at} ({})", answer::seen_from(now, at)))
    };
    let style = if row.state == RowState::Parked { BAD } else { GOOD };
    answer::line(&format!("{STRONG}{}{STRONG:#}  {style}{}{style:#}", row.user, row.state.as_str()))?;
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
    facts.iter().try_for_each(|(name, fact)| answer::line(&format!("  {QUIET}{name:<14}{QUIET:#}{fact}")))
}

fn print_entry(entry: &HistoryRow, now: Millis) -> std::io::Result<()> {
    let is_bad = entry.error.is_some();
    let style = if is_bad { BAD } else { GOOD };
    let mut line = format!("\n{}  {style}{}{style:#}", entry.first_at, entry.outcome);
    if !entry.reason.is_empty() {
        line += &format!(" ({})", entry.reason);
    }
    line += &format!(" after {}, in {} ms", entry.event_type, entry.ms);
    if entry.held_back {
        line += ", held back by sync.dry_run or the removal guard";
    }
    if entry.times > 1 {
        line += &format!("; {} times, last {}", entry.times, answer::seen_from(now, entry.last_at));
    }
    if entry.unchanged_times > 0 {
        line += &format!("; nothing to do {} times since", entry.unchanged_times);
    }
    for field in entry.changed.iter().filter(|field| *field != "tags") {
        line += &format!("\n    {QUIET}set{QUIET:#} {field}");
    }
    for tag in &entry.tags_added {
        line += &format!("\n    {GOOD}+{GOOD:#} {tag}");
    }
    for tag in &entry.tags_removed {
        line += &format!("\n    {BAD}-{BAD:#} {tag}");
    }
    for tag in &entry.tags_held {
        line += &format!("\n    {QUIET}held{QUIET:#} {tag}");
    }
    if let Some(error) = &entry.error {
        line += &format!("\n    {error}");
    }
    answer::line(&line)
}
