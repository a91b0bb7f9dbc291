//! Logs and metrics.
//!
//! The names here are a contract: dashboards and alerts are built on them. No metric has a user in a label, and no log
//! line has an address, a name, a phone number or a token in it.

mod catalogue;
mod logging;

use std::time::Duration;

use metrics::{
    Counter, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use metrics_exporter_prometheus::{
    BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};

use strum::IntoEnumIterator;

use crate::clock::Millis;
use crate::outcome::Outcome;
use catalogue::*;
pub use catalogue::{Kind, Label, METRICS, Metric, WebhookResult};
pub use logging::{Format, LogTarget, LoggingError, filter, start_logging};

/// Upper bounds of the histograms' buckets, in seconds: from one quick call to a whole `sync.deadline`.
const SECONDS: [f64; 12] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 90.0];

/// Begins to collect metrics for the whole process; the handle renders them as Prometheus text. Called again, it returns
/// a handle of its own that stays empty.
///
/// # Errors
/// [`BuildError`] if the buckets are wrong, which a test rules out.
pub fn start_metrics() -> Result<PrometheusHandle, BuildError> {
    let recorder = recorder()?;
    let handle = recorder.handle();
    if metrics::set_global_recorder(recorder).is_ok() {
        describe();
        begin_at_zero();
    }
    Ok(handle)
}

fn recorder() -> Result<PrometheusRecorder, BuildError> {
    let builder = PrometheusBuilder::new();
    Ok(builder.set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?.build_recorder())
}

fn describe() {
    for metric in METRICS {
        match metric.kind {
            Kind::Counter => describe_counter!(metric.name, metric.meaning),
            Kind::Gauge if metric.name.ends_with("_seconds") => {
                describe_gauge!(metric.name, Unit::Seconds, metric.meaning);
            }
            Kind::Gauge => describe_gauge!(metric.name, metric.meaning),
            Kind::Histogram => describe_histogram!(metric.name, Unit::Seconds, metric.meaning),
        }
    }
}

/// What an alert is built on has to be there before it first happens: Prometheus sees no rise in a counter that begins
/// at 1.
fn begin_at_zero() {
    for api in APIS {
        for why in WHYS {
            circuit_open(api, why, false);
        }
    }
    for status in STATUSES {
        counter!(SUBSCRIBE_WITHHELD.name, "status" => status).absolute(0);
    }
    for result in WebhookResult::iter() {
        for event_type in EVENT_TYPES {
            let can_be = match event_type {
                "none" => !result.has_event_type(),
                "unknown" => result == WebhookResult::Ignored,
                _ => result.has_event_type(),
            };
            if can_be {
                webhook_requests(result, event_type).absolute(0);
            }
        }
    }
    for (outcome, reason) in Outcome::ALL.map(Outcome::words) {
        counter!(SYNCS.name, "outcome" => outcome, "reason" => reason).absolute(0);
    }
    counter!(DRIFT_REPAIRED.name).absolute(0);
    gauge!(RESYNC_LATE.name).set(0.0);
    gauge!(QUEUE_ACCEPTING.name).set(1.0); // a service that could not open its queue has not started
    gauge!(QUEUE_PAUSED.name).set(0.0);
    gauge!(TAGS_KEPT.name).set(0.0);
    gauge!(REMOVALS_ALLOWED_UNTIL.name).set(0.0);
}

/// Counts a webhook request; `event_type` is one of the eight, or `unknown`, or `none` if no event was read.
pub fn webhook_answered(result: WebhookResult, event_type: &'static str) {
    debug_assert!(EVENT_TYPES.contains(&event_type), "{event_type}");
    webhook_requests(result, event_type).increment(1);
}

fn webhook_requests(result: WebhookResult, event_type: &'static str) -> Counter {
    counter!(WEBHOOK_REQUESTS.name, "result" => <&str>::from(result), "event_type" => event_type)
}

/// Sets whether the circuit of `api` is open for the reason `why`.
pub fn circuit_open(api: &'static str, why: &'static str, is_open: bool) {
    gauge!(UPSTREAM_RESTING.name, "api" => api, "why" => why).set(f64::from(u8::from(is_open)));
}

/// Counts a call to an API, and the time that it took; `status` is `None` if there was no answer.
pub fn upstream_called(api: &'static str, route: &'static str, status: Option<u16>, took: Duration) {
    let status = status.map_or_else(|| "none".to_owned(), |status| status.to_string());
    counter!(UPSTREAM_REQUESTS.name, "api" => api, "route" => route, "status" => status).increment(1);
    histogram!(UPSTREAM_DURATION.name, "api" => api, "route" => route).record(took);
}

/// Counts a sync, and the time that it took.
pub fn sync_ended(outcome: Outcome, took: Duration) {
    let (outcome, reason) = outcome.words();
    counter!(SYNCS.name, "outcome" => outcome, "reason" => reason).increment(1);
    histogram!(SYNC_DURATION.name).record(took);
}

/// Counts a contact that is not subscribed because of its `status`.
pub fn subscribe_withheld(status: &str) {
    // A label must not grow with whatever an API answers.
    let status = STATUSES.into_iter().find(|known| *known == status).unwrap_or("other");
    counter!(SUBSCRIBE_WITHHELD.name, "status" => status).increment(1);
}

/// Counts a contact that a drift check found changed and corrected.
pub fn drift_repaired() {
    counter!(DRIFT_REPAIRED.name).increment(1);
}

/// Sets how long the oldest row of the background lane has been due.
pub fn resync_late(late: Duration) {
    gauge!(RESYNC_LATE.name).set(late.as_secs_f64());
}

/// Sets how many rows are in each state, and how long the oldest due one has waited.
pub fn queue_counted(rows: [(&'static str, u64); 6], oldest_due: Duration) {
    for (state, count) in rows {
        #[expect(clippy::cast_precision_loss, reason = "counted to 10,000 at the most")]
        gauge!(QUEUE_ROWS.name, "state" => state).set(count as f64);
    }
    gauge!(QUEUE_OLDEST.name).set(oldest_due.as_secs_f64());
}

/// Sets whether events can be kept.
pub fn queue_accepting(accepting: bool) {
    gauge!(QUEUE_ACCEPTING.name).set(f64::from(u8::from(accepting)));
}

/// Sets whether syncing is paused by hand.
pub fn queue_paused(paused: bool) {
    gauge!(QUEUE_PAUSED.name).set(f64::from(u8::from(paused)));
}

/// Sets until when the removal guard is off by an operator's word.
pub fn removals_allowed_until(until: Option<Millis>) {
    #[expect(clippy::cast_precision_loss, reason = "seconds since 1970")]
    gauge!(REMOVALS_ALLOWED_UNTIL.name).set(until.map_or(0.0, |until| (until.0 / 1_000) as f64));
}

/// Sets whether the removal guard keeps writes from taking tags away.
pub fn tags_kept(kept: bool) {
    gauge!(TAGS_KEPT.name).set(f64::from(u8::from(kept)));
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use strum::VariantNames;

    use super::*;
    use crate::outcome::Reason;

    #[test]
    fn every_metric_has_its_name_and_no_user() {
        // Its own recorder: the process has one already where another test has started a service.
        let recorder = recorder().unwrap();
        metrics::with_local_recorder(&recorder, || {
            webhook_answered(WebhookResult::Accepted, "contract#cancelRequest");
            upstream_called("sesamy", "/management/users/{id}", None, Duration::from_millis(3));
            sync_ended(Outcome::Skipped(Reason::Guest), Duration::from_millis(3));
            drift_repaired();
            resync_late(Duration::from_secs(7));
            subscribe_withheld("u");
            subscribe_withheld("whatever");
            queue_counted(
                [("due", 1), ("leased", 0), ("scheduled", 0), ("failing", 0), ("held", 0), ("parked", 2)],
                Duration::from_secs(3),
            );
            queue_accepting(true);
            queue_paused(true);
            tags_kept(true);
            removals_allowed_until(Some(Millis(1_700_000_000_123)));
        });
        let text = recorder.handle().render();
        for line in [
            r#"sesamy_mailmojo_webhook_requests_total{result="accepted",event_type="contract#cancelRequest"} 1"#,
            r#"sesamy_mailmojo_upstream_requests_total{api="sesamy",route="/management/users/{id}",status="none"} 1"#,
            r#"sesamy_mailmojo_syncs_total{outcome="skipped",reason="guest"} 1"#,
            r#"sesamy_mailmojo_sync_duration_seconds_bucket{le="0.01"} 1"#,
            r#"sesamy_mailmojo_subscribe_withheld_total{status="other"} 1"#,
            "sesamy_mailmojo_drift_repaired_total 1",
            "sesamy_mailmojo_resync_late_seconds 7",
            r#"sesamy_mailmojo_queue_rows{state="parked"} 2"#,
            "sesamy_mailmojo_queue_oldest_due_seconds 3",
            "sesamy_mailmojo_queue_accepting 1",
            "sesamy_mailmojo_queue_paused 1",
            "sesamy_mailmojo_tags_kept 1",
            "sesamy_mailmojo_removals_allowed_until_timestamp_seconds 1700000000",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn what_begins_at_zero_is_all_that_a_label_can_be() {
        let (outcomes, reasons): (BTreeSet<_>, BTreeSet<_>) =
            Outcome::ALL.map(Outcome::words).into_iter().unzip();
        assert_eq!(outcomes, Outcome::VARIANTS.iter().copied().collect());
        assert_eq!(reasons, REASONS.into());
    }
}
