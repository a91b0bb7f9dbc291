//! What every sync leaves: one line in the log, counts, and an entry in the user's history.

use std::time::Duration;

use crate::personal::without_addresses;
use crate::queue::{DRIFT, Entry, Job, POISON_PILL, Settlement, words_of_failure};
use crate::sync::{Outcome, Report, SyncError};
use crate::telemetry;

/// Logs and counts a sync that ended well. Lists are joined by commas.
pub(super) fn log_report(job: &Job, report: &Report, took: Duration) {
    let (ms, attempt) = (millis(took), job.attempts.saturating_add(1));
    let (outcome, reason) = (report.outcome.as_str(), report.outcome.reason().unwrap_or_default());
    tracing::info!(
        user_id = %job.user,
        event_type = job.event_type,
        outcome,
        reason,
        changed = report.changed.join(","),
        tags_added = shown(&report.tags_added),
        tags_removed = shown(&report.tags_removed),
        old_tags_removed = shown(&report.old_tags_removed),
        tags_held = shown(&report.tags_held),
        ms,
        attempt,
        dry_run = report.held_back && !report.braked,
        braked = report.braked,
        "{}",
        match (report.held_back, report.braked) {
            (_, true) => "sync: the removal guard held a removal back",
            (true, false) => "sync: would have written this (sync.dry_run)",
            (false, false) => "sync",
        },
    );
    if let Some(status) = &report.withheld {
        telemetry::subscribe_withheld(status);
    }
    if job.event_type == DRIFT && report.outcome == Outcome::Updated && !report.held_back {
        telemetry::drift_repaired();
    }
    telemetry::sync_ended(outcome, reason, took);
}

/// Logs and counts a sync that failed and was settled by `settlement`.
pub(super) fn log_failure(job: &Job, error: &SyncError, settlement: &Settlement, took: Duration) {
    let (ms, attempt) = (millis(took), job.attempts.saturating_add(1));
    let (outcome, reason) = words_of_failure(error.class, settlement);
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                user_id = %job.user,
                event_type = job.event_type,
                outcome,
                reason,
                changed = "",
                tags_added = "",
                tags_removed = "",
                old_tags_removed = "",
                ms,
                attempt,
                error = error.message,
                "sync"
            )
        };
    }
    match outcome {
        "parked" => line!(error),
        "failed" => line!(warn),
        _ => line!(info), // the open circuit has a line of its own
    }
    telemetry::sync_ended(outcome, reason, took);
}

fn millis(took: Duration) -> u64 {
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}

/// The entry in the user's history. Outcome and reason of a failed sync are decided as its lease ends.
pub(super) fn entry(job: &Job, result: &Result<Report, SyncError>, took: Duration) -> Entry {
    let common = Entry {
        event_type: job.event_type.clone(),
        attempt: job.attempts.saturating_add(1),
        ms: millis(took),
        ..Entry::default()
    };
    match result {
        Ok(report) => Entry {
            outcome: report.outcome.as_str(),
            reason: report.outcome.reason().unwrap_or_default(),
            held_back: report.held_back,
            changed: report.changed.iter().map(|&field| field.to_owned()).collect(),
            tags_added: without_addresses(&report.tags_added),
            tags_removed: without_addresses(&report.tags_removed),
            old_tags_removed: without_addresses(&report.old_tags_removed),
            tags_held: without_addresses(&report.tags_held),
            ..common
        },
        Err(error) => Entry { error: Some(error.message.clone()), ..common },
    }
}

/// The history's entry of a user who is parked without a sync.
pub(super) fn entry_of_a_poison_pill(job: &Job) -> Entry {
    Entry {
        event_type: job.event_type.clone(),
        outcome: "parked",
        reason: "poison",
        attempt: job.attempts,
        error: Some(POISON_PILL.to_owned()),
        ..Entry::default()
    }
}

/// Tags for a log line. A publisher's custom tag can be anything, even an address.
fn shown(tags: &[String]) -> String {
    without_addresses(tags).join(",")
}
