//! What a backfill tells: its plan on standard error, before; its summary on standard output, after.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::time::Duration;

use crate::cli::answer::{BAD, GOOD, QUIET, STRONG, TAGS_KEPT, length, line, seen_from};
use crate::clock::Millis;
use crate::operations::backfill::tally::{Counts, Summary};

/// What it is about to do.
pub(super) struct Plan<'a> {
    pub(super) dry_run: bool,
    pub(super) held_back: bool,
    pub(super) list_id: u64,
    pub(super) list_name: Option<&'a str>,
    pub(super) existing_only: bool,
    pub(super) updated_since: Option<Duration>,
    pub(super) goes_on_from: Option<Millis>,
    pub(super) users: u64,
    pub(super) shortest: Duration,
    pub(super) now: Millis,
}

pub(super) fn plan(plan: &Plan<'_>) -> io::Result<()> {
    use io::Write;
    let mut out = anstream::stderr();
    let name = plan.list_name.map(|name| format!(" “{name}”")).unwrap_or_default();
    let what = if plan.dry_run { "Looks at" } else { "Brings in step" };
    let preposition = if plan.dry_run { "for" } else { "with" };
    writeln!(
        out,
        "{STRONG}{what} {} Sesamy users {preposition} list {}{name}{STRONG:#}",
        plan.users, plan.list_id
    )?;
    if plan.dry_run {
        writeln!(out, "  writes nothing: a dry run")?;
    } else if plan.held_back {
        writeln!(out, "  writes nothing: sync.dry_run is on, and the users are marked for when it is not")?;
    }
    if plan.existing_only {
        writeln!(out, "  only contacts that Mailmojo has: nobody is created or subscribed")?;
    }
    match plan.updated_since {
        Some(time) => writeln!(out, "  only who was changed in the last {} before it began", length(time))?,
        None => {
            writeln!(out, "  takes about {} at this pace, if everybody needs a write", length(plan.shortest))?
        }
    }
    if let Some(began) = plan.goes_on_from {
        let ago = seen_from(plan.now, began);
        writeln!(out, "  goes on with the one that began at {began} ({ago}); --restart begins anew")?;
    }
    Ok(())
}

pub(super) fn summary(summary: &Summary, report: Option<&Path>) -> io::Result<()> {
    let took = match summary.tally.seconds {
        0 => "less than a second".to_owned(),
        seconds => length(Duration::from_secs(seconds)),
    };
    let users = summary.users.map(|users| format!("{users} users, ")).unwrap_or_default();
    match (summary.finished, summary.dry_run) {
        (true, true) => line(&format!("{GOOD}dry run done{GOOD:#}: {users}{took}; nothing was written"))?,
        (true, false) => line(&format!("{GOOD}done{GOOD:#}: {users}{took}"))?,
        (false, true) => {
            line(&format!("{BAD}stopped{BAD:#} after {took}; a dry run begins at the beginning each time"))?
        }
        (false, false) => {
            line(&format!("{BAD}stopped{BAD:#} after {took}; the same command goes on where it ended"))?;
        }
    }
    outcomes(summary)?;
    tags(&summary.tally.tags_gained, &summary.tally.tags_lost)?;
    if summary.tally.tags_kept > 0 {
        line(&format!("{BAD}{TAGS_KEPT}{BAD:#}"))?;
    }
    failures(summary)?;
    let calls = summary.tally.calls;
    let each =
        summary.sesamy_calls_per_user.as_ref().map(|each| format!(" ({each} a user)")).unwrap_or_default();
    line(&format!(
        "{QUIET}calls{QUIET:#}  {} to Sesamy{each}, {} to Mailmojo",
        calls.sesamy, calls.mailmojo
    ))?;
    if summary.cut_short {
        line(&format!(
            "users changed as fast as they were looked at: after {} looks the rest is left to their events",
            summary.looks
        ))?;
    }
    match report {
        Some(path) => line(&format!("a line per user: {}", path.display())),
        None => Ok(()),
    }
}

fn outcomes(summary: &Summary) -> io::Result<()> {
    let tally = &summary.tally;
    for outcome in ["created", "subscribed", "updated", "unchanged", "skipped"] {
        let Some(count) = tally.outcomes.get(outcome) else { continue };
        let reasons: Vec<_> = match outcome {
            "skipped" => tally.skipped.iter().map(|(why, count)| format!("{why} {count}")).collect(),
            _ => Vec::new(),
        };
        let would = if summary.dry_run { "would be " } else { "" };
        let outcome = format!("{would}{outcome}");
        line(&format!(
            "  {outcome:<22}{STRONG}{count:>8}{STRONG:#}  {QUIET}{}{QUIET:#}",
            reasons.join(", ")
        ))?;
    }
    for (what, count) in [
        ("tags kept", tally.tags_kept),
        ("left to their events", tally.left_to_events),
        ("forgotten by an operator", tally.forgotten),
        ("not changed of late", tally.not_recent),
        ("unreadable rows", tally.left_out),
    ] {
        if count > 0 {
            line(&format!("  {what:<22}{STRONG}{count:>8}{STRONG:#}"))?;
        }
    }
    Ok(())
}

fn tags(gained: &Counts, lost: &Counts) -> io::Result<()> {
    let all: BTreeSet<&String> = gained.keys().chain(lost.keys()).collect();
    let of = |counts: &Counts, tag: &str| counts.get(tag).copied().unwrap_or(0);
    for tag in all {
        line(&format!("  {GOOD}+{:<7}{GOOD:#}{BAD}-{:<7}{BAD:#}{tag}", of(gained, tag), of(lost, tag)))?;
    }
    Ok(())
}

fn failures(summary: &Summary) -> io::Result<()> {
    for (why, count) in &summary.failed {
        line(&format!("  {BAD}{:<22}{BAD:#}{STRONG}{count:>8}{STRONG:#}  {why}", "failed"))?;
    }
    if !summary.failed.is_empty() && !summary.dry_run {
        line(
            "who failed: `queue list --state parked`, and `queue list --state scheduled` for who is tried again",
        )?;
    }
    Ok(())
}
