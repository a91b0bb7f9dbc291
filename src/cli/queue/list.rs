//! `queue list`.

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde::Serialize;

use crate::cli::answer::{self, BAD, QUIET};
use crate::cli::{CommandError, Output};
use crate::clock::Millis;
use crate::operations::Operator;
use crate::queue::{Filter, RowState, UserRow};

#[derive(Debug, Clone, Args)]
pub(super) struct Options {
    /// Only users in this state.
    #[arg(long, value_parser = states())]
    state: Option<RowState>,
    /// Only users whose error has this text in it, in any letter case.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Only users whose id comes after this one: the next page.
    #[arg(long, value_name = "USER")]
    after: Option<String>,
    /// So many at the most.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    limit: u16,
    #[command(flatten)]
    output: Output,
}

fn states() -> impl TypedValueParser<Value = RowState> {
    PossibleValuesParser::new(RowState::ALL.map(RowState::as_str))
        .try_map(|word| RowState::named(&word).ok_or("there is no such state"))
}

/// The answer of `queue list --json`, and of the admin API.
#[derive(Debug, Serialize)]
struct Answer {
    users: Vec<UserRow>,
    /// What `--after` has to be for the next page; null on the last.
    next: Option<String>,
}

pub(super) async fn run(operator: &Operator, options: Options) -> Result<(), CommandError> {
    let limit = usize::from(options.limit);
    let filter =
        Filter { state: options.state, reason: options.reason, after: options.after, limit: limit + 1 };
    let mut users = operator.hand.queue.rows(&filter).await?;
    let more = users.len() > limit;
    users.truncate(limit);
    if options.output.json {
        let next = users.last().filter(|_| more).map(|last| last.user.clone());
        return Ok(answer::json(&Answer { users, next })?);
    }
    let (now, width) = (operator.hand.clock.now(), widest(&users));
    for user in &users {
        answer::line(&line(user, now, width))?;
    }
    match users.last() {
        None => answer::line("nobody")?,
        Some(last) if more => {
            answer::line(&format!("{QUIET}and more: add --after '{}'{QUIET:#}", last.user))?;
        }
        Some(_) => {}
    }
    Ok(())
}

fn widest(users: &[UserRow]) -> usize {
    users.iter().map(|user| user.user.chars().count()).max().unwrap_or(0).clamp(8, 48)
}

fn line(row: &UserRow, now: Millis, width: usize) -> String {
    let (at, what) = match row.state {
        RowState::Parked => (row.parked_at, "since"),
        RowState::Idle | RowState::Held => (row.synced_at, "synced"),
        RowState::Due | RowState::Leased | RowState::Scheduled | RowState::Failing => (row.due_at, "due"),
    };
    let when =
        at.map_or_else(|| "never synced".to_owned(), |at| format!("{what} {}", answer::seen_from(now, at)));
    let mut line = format!("{:<width$}  {:<9}  {when}", row.user, row.state.as_str());
    if row.attempts > 0 {
        line += &format!(", {} failed", row.attempts);
    }
    if !row.tags_held.is_empty() {
        line += &format!("\n{:width$}  {QUIET}held{QUIET:#} {}", "", row.tags_held.join(", "));
    }
    if let Some(error) = &row.error {
        line += &format!("\n{:width$}  {BAD}{error}{BAD:#}", "");
    }
    line
}
