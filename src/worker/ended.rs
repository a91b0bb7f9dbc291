//! What every sync leaves: one line in the log, counts, and an entry in the user's history.

use std::time::Duration;

use crate::outcome::{FailureReason, Outcome};
use crate::personal::without_addresses;
use crate::queue::{DRIFT, Entry, Job, POISON_PILL, Settlement, outcome_of_failure};
use crate::sync::{Report, SyncError};
use crate::telemetry;

/// How a user ends who is parked without a sync.
pub(super) const POISON: Outcome = Outcome::Parked(FailureReason::Poison);

/// How a sync ends that the queue itself has kept from being decided: no API and no user is to blame.
const OF_THE_QUEUE: Outcome = Outcome::Postponed(FailureReason::Transient);

/// How a failed sync ended that was settled so.
pub(super) fn outcome_of(error: &SyncError, settlement: &Settlement) -> Outcome {
    match error {
        SyncError::Api(failure) => outcome_of_failure(failure.class, settlement),
        SyncError::Queue(_) => OF_THE_QUEUE,
    }
}

/// Logs and counts a sync that ended well. Lists are joined by commas.
pub(super) fn log_report(job: &Job, report: &Report, took: Duration) {
    let (ms, attempt) = (millis(took), job.attempts.saturating_add(1));
    let (outcome, reason) = report.outcome.words();
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
    telemetry::sync_ended(report.outcome, took);
}

/// Logs and counts a sync that failed and was settled by `settlement`.
pub(super) fn log_failure(job: &Job, error: &SyncError, settlement: &Settlement, took: Duration) {
    let (ms, attempt) = (millis(took), job.attempts.saturating_add(1));
    let end = outcome_of(error, settlement);
    let (outcome, reason) = end.words();
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
                error = %error,
                "sync"
            )
        };
    }
    match end {
        Outcome::Parked(_) => line!(error),
        Outcome::Failed(_) => line!(warn),
        _ => line!(info), // the open circuit has a line of its own
    }
    telemetry::sync_ended(end, took);
}

fn millis(took: Duration) -> u64 {
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}

/// The entry in the user's history.
pub(super) fn entry(job: &Job, result: &Result<Report, SyncError>, took: Duration) -> Entry {
    let common = Entry {
        event_type: job.event_type.clone(),
        attempt: job.attempts.saturating_add(1),
        ms: millis(took),
        ..Entry::default()
    };
    let (outcome, reason) = match result {
        Ok(report) => report.outcome.words(),
        Err(SyncError::Queue(_)) => OF_THE_QUEUE.words(),
        Err(SyncError::Api(_)) => Default::default(), // decided as the lease ends
    };
    match result {
        Ok(report) => Entry {
            outcome,
            reason,
            held_back: report.held_back,
            changed: report.changed.iter().map(|&field| field.to_owned()).collect(),
            tags_added: without_addresses(&report.tags_added),
            tags_removed: without_addresses(&report.tags_removed),
            old_tags_removed: without_addresses(&report.old_tags_removed),
            tags_held: without_addresses(&report.tags_held),
            ..common
        },
        Err(error) => Entry { outcome, reason, error: Some(error.to_string()), ..common },
    }
}

/// The history's entry of a user who is parked without a sync.
pub(super) fn entry_of_a_poison_pill(job: &Job) -> Entry {
    let (outcome, reason) = POISON.words();
    Entry {
        event_type: job.event_type.clone(),
        outcome,
        reason,
        attempt: job.attempts,
        error: Some(POISON_PILL.to_owned()),
        ..Entry::default()
    }
}

/// Tags for a log line. A publisher's custom tag can be anything, even an address.
fn shown(tags: &[String]) -> String {
    without_addresses(tags).join(",")
}
