//! `queue log`: the latest syncs of all users.

use std::time::Duration;

use clap::Args;
use clap::builder::PossibleValuesParser;
use strum::VariantNames;

use super::show::entry_text;
use crate::app::{App, Log};
use crate::cli::error::CommandError;
use crate::cli::output::{self, Output, QUIET, STRONG};
use crate::clock::Millis;
use crate::config;
use crate::outcome::Outcome;
use crate::queue::LogFilter;

#[derive(Debug, Clone, Args)]
pub(super) struct LogArgs {
    /// Only syncs with this outcome.
    #[arg(long, value_parser = PossibleValuesParser::new(Outcome::VARIANTS))]
    outcome: Option<String>,
    /// Only syncs by which a contact lost tags.
    #[arg(long)]
    lost_tags: bool,
    /// Only syncs of this time up to now: 30m, 24h, 2d.
    #[arg(long, value_name = "TIME", value_parser = config::duration)]
    since: Option<Duration>,
    /// The next page: only entries before this one.
    #[arg(long, value_name = "NUMBER")]
    before: Option<i64>,
    /// The most entries to list.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    limit: u16,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn run(app: &App, args: LogArgs) -> Result<(), CommandError> {
    let now = app.now();
    let since = args
        .since
        .map(|time| Millis(now.0.saturating_sub(i64::try_from(time.as_millis()).unwrap_or(i64::MAX))));
    let (outcome, lost_tags, before) = (args.outcome, args.lost_tags, args.before);
    let log = app.log(LogFilter { outcome, lost_tags, since, before, limit: args.limit.into() }).await?;
    if args.output.json {
        return Ok(output::json(&log)?);
    }
    let Log { entries, next } = log;
    for one in &entries {
        output::line(&format!("{STRONG}{}{STRONG:#}  {}", one.user_id, entry_text(&one.entry, now)))?;
    }
    if entries.is_empty() {
        output::line("no sync")?;
    }
    if let Some(next) = next {
        output::line(&format!("{QUIET}and more: add --before {next}{QUIET:#}"))?;
    }
    Ok(())
}
