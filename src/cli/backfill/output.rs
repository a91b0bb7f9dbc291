//! What a backfill prints: its plan on standard error, before; its summary on standard output, after.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::time::Duration;

use crate::app::backfill::progress::Spec;
use crate::app::backfill::summary::{Summary, Tally};
use crate::cli::output::{BAD, GOOD, QUIET, STRONG, TAGS_KEPT, length, line, seen_from};
use crate::clock::Millis;

/// What it is about to do. `users` is `None` if Sesamy does not say how many there are; `continues_from` is when the backfill
/// began that this one continues.
pub(super) fn plan(
    spec: &Spec,
    dry_run: bool,
    list_name: Option<&str>,
    users: Option<u64>,
    continues_from: Option<Millis>,
    now: Millis,
) {
    let what = if dry_run { "Decides for" } else { "Syncs" };
    let users = users.map_or("all".to_owned(), |users| users.to_string());
    let name = list_name.map(|name| format!(" “{name}”")).unwrap_or_default();
    anstream::eprintln!("{STRONG}{what} {users} Sesamy users with list {}{name}{STRONG:#}", spec.list_id);
    if dry_run {
        anstream::eprintln!("  writes nothing: this is a dry run");
    } else if spec.held_back {
        anstream::eprintln!(
            "  writes nothing: sync.dry_run is on; users are marked, and synced once it is off"
        );
    }
    if spec.existing_only {
        anstream::eprintln!("  updates contacts that Mailmojo has: nobody is created or subscribed");
    }
    if let Some(seconds) = spec.updated_since_seconds {
        let time = length(Duration::from_secs(seconds));
        anstream::eprintln!("  takes users who were updated in the last {time} before it began");
    }
    if let Some(began) = continues_from {
        let ago = seen_from(now, began);
        anstream::eprintln!("  goes on with the one that began at {began} ({ago}); --restart begins anew");
    }
}

pub(super) fn summary(summary: &Summary, report: Option<&Path>) -> io::Result<()> {
    let took = match summary.seconds {
        0 => "less than a second".to_owned(),
        seconds => length(Duration::from_secs(seconds)),
    };
    let users = summary.users.map(|users| format!("{users} users, ")).unwrap_or_default();
    line(&match (summary.finished, summary.dry_run) {
        (true, true) => format!("{GOOD}dry run done{GOOD:#}: {users}{took}; nothing was written"),
        (true, false) => format!("{GOOD}done{GOOD:#}: {users}{took}"),
        (false, true) => {
            format!("{BAD}stopped{BAD:#} after {took}; a dry run begins at the beginning each time")
        }
        (false, false) => format!(
            "{BAD}stopped{BAD:#} after {took}; the same command goes on. A running service syncs the users who are due by now"
        ),
    })?;
    outcomes(summary)?;
    tags(&summary.tally)?;
    failures(summary)?;
    match report {
        Some(path) => line(&format!("a line per user: {}", path.display())),
        None => Ok(()),
    }
}

fn outcomes(summary: &Summary) -> io::Result<()> {
    let would = if summary.dry_run { "would be " } else { "" };
    for outcome in ["created", "subscribed", "updated", "unchanged", "skipped"] {
        let Some(count) = summary.tally.outcomes.get(outcome) else { continue };
        let mut reasons = String::new();
        if outcome == "skipped" {
            let each = summary.tally.skipped.iter().map(|(why, count)| format!("{why} {count}"));
            reasons = each.collect::<Vec<_>>().join(", ");
        }
        let outcome = format!("{would}{outcome}");
        line(&format!("  {outcome:<22}{STRONG}{count:>8}{STRONG:#}  {QUIET}{reasons}{QUIET:#}"))?;
    }
    let passed_over = &summary.passed_over;
    for (what, count) in [
        ("left to their events", passed_over.left_to_events),
        ("forgotten by an operator", passed_over.forgotten),
        ("not updated of late", passed_over.not_recent),
        ("unreadable rows", passed_over.left_out),
    ] {
        if count > 0 {
            line(&format!("  {what:<22}{STRONG}{count:>8}{STRONG:#}"))?;
        }
    }
    Ok(())
}

fn tags(tally: &Tally) -> io::Result<()> {
    let (Some(gained), Some(lost)) = (&tally.tags_gained, &tally.tags_lost) else { return Ok(()) };
    let all: BTreeSet<&String> = gained.keys().chain(lost.keys()).collect();
    for tag in all {
        let [gained, lost] = [gained, lost].map(|counts| counts.get(tag).copied().unwrap_or(0));
        line(&format!("  {GOOD}+{gained:<7}{GOOD:#}{BAD}-{lost:<7}{BAD:#}{tag}"))?;
    }
    match tally.tags_kept {
        Some(kept) if kept > 0 => line(&format!("{BAD}{kept} users keep tags: {TAGS_KEPT}{BAD:#}")),
        _ => Ok(()),
    }
}

fn failures(summary: &Summary) -> io::Result<()> {
    for (why, count) in &summary.tally.failed {
        line(&format!("  {BAD}{:<22}{BAD:#}{STRONG}{count:>8}{STRONG:#}  {why}", "failed"))?;
    }
    if !summary.tally.failed.is_empty() && !summary.dry_run {
        line(
            "`queue list --state parked` shows who failed for good, `queue list --state failing` who is tried again",
        )?;
    }
    Ok(())
}
