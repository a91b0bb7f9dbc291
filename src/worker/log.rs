//! The one line, and the counts, that every sync leaves.

use std::time::Duration;

use crate::personal::Mask;
use crate::queue::{Job, Settlement};
use crate::sync::{Report, SyncError};
use crate::telemetry;
use crate::upstream::Class;

/// Logs and counts a sync. Lists are joined by commas.
pub(super) fn sync_ended(
    job: &Job,
    result: &Result<Report, SyncError>,
    settlement: &Settlement,
    took: Duration,
) {
    let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    let attempt = job.attempts.saturating_add(1);
    match result {
        Ok(report) => {
            let (outcome, reason) = (report.outcome.as_str(), report.outcome.reason().unwrap_or_default());
            tracing::info!(
                user_id = %job.user,
                event_type = job.event_type,
                outcome,
                reason,
                changed = report.changed.join(","),
                tags_added = shown(&report.tags_added),
                tags_removed = shown(&report.tags_removed),
                ms,
                attempt,
                dry_run = report.held_back,
                "{}",
                if report.held_back { "sync: would have written this (sync.dry_run)" } else { "sync" },
            );
            if let Some(status) = &report.withheld {
                telemetry::subscribe_withheld(status);
            }
            telemetry::sync_ended(outcome, reason, took);
        }
        Err(error) => {
            let outcome = match settlement {
                Settlement::Park { .. } => "parked",
                Settlement::Retry { counts: true, .. } => "failed",
                _ => "postponed",
            };
            let reason = match error.class {
                Class::Transient => "transient",
                Class::Permanent => "permanent",
                Class::Resting => "resting",
            };
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
                _ => line!(info), // one line at error has told of the rest
            }
            telemetry::sync_ended(outcome, reason, took);
        }
    }
}

/// Tags for a log line. A publisher's custom tag can be anything, even an address.
fn shown(tags: &[String]) -> String {
    let mask = Mask::default();
    tags.iter().map(|tag| mask.apply(tag)).collect::<Vec<_>>().join(",")
}
