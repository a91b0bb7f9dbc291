//! `queue list`.

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use crate::app::{App, Page};
use crate::cli::error::CommandError;
use crate::cli::output::{self, BAD, Output, QUIET};
use crate::clock::Millis;
use crate::queue::{Filter, RowState, UserRow};

#[derive(Debug, Clone, Args)]
pub(super) struct ListArgs {
    /// Only users in this state.
    #[arg(long, value_parser = states())]
    state: Option<RowState>,
    /// Only users whose error has this text in it, in any letter case.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Only users whose id comes after this one: the next page.
    #[arg(long, value_name = "USER")]
    after: Option<String>,
    /// The most users to list.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    limit: u16,
    #[command(flatten)]
    output: Output,
}

fn states() -> impl TypedValueParser<Value = RowState> {
    PossibleValuesParser::new(RowState::ALL.map(RowState::as_str))
        .try_map(|word| RowState::named(&word).ok_or("there is no such state"))
}

pub(super) async fn run(app: &App, args: ListArgs) -> Result<(), CommandError> {
    let limit = usize::from(args.limit);
    let filter = Filter { state: args.state, reason: args.reason, after: args.after, limit };
    let page = app.users(filter).await?;
    if args.output.json {
        return Ok(output::json(&page)?);
    }
    let Page { users, next } = page;
    let (now, width) = (app.now(), widest(&users));
    users.iter().try_for_each(|user| output::line(&line(user, now, width)))?;
    if users.is_empty() {
        output::line("nobody")?;
    }
    if let Some(next) = next {
        output::line(&format!("{QUIET}and more: add --after '{next}'{QUIET:#}"))?;
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
        at.map_or_else(|| "never synced".to_owned(), |at| format!("{what} {}", output::seen_from(now, at)));
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
