//! Logs and metrics.
//!
//! The names here are a contract: dashboards and alerts are built on them. No metric has a user in a label, and no log
//! line has an address, a name, a phone number or a token in it.

mod logging;

use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

pub use logging::{Format, LogTarget, LoggingError, filter, start_logging};

/// 1 while an API rests, by `api` and `why`.
pub const UPSTREAM_RESTING: &str = "sesamy_mailmojo_upstream_resting";
const WEBHOOK_REQUESTS: &str = "sesamy_mailmojo_webhook_requests_total";
const UPSTREAM_REQUESTS: &str = "sesamy_mailmojo_upstream_requests_total";
const UPSTREAM_DURATION: &str = "sesamy_mailmojo_upstream_request_duration_seconds";
const SYNCS: &str = "sesamy_mailmojo_syncs_total";
const SYNC_DURATION: &str = "sesamy_mailmojo_sync_duration_seconds";
const SUBSCRIBE_WITHHELD: &str = "sesamy_mailmojo_subscribe_withheld_total";
const QUEUE_ROWS: &str = "sesamy_mailmojo_queue_rows";
const QUEUE_OLDEST: &str = "sesamy_mailmojo_queue_oldest_due_seconds";

/// Upper bounds of the histograms' buckets, in seconds: from one quick call to a whole `sync.deadline`.
const SECONDS: [f64; 12] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 90.0];

/// Begins to collect metrics for the whole process; the handle renders them as Prometheus text. Called again, it hands
/// out a handle of its own, whose metrics nobody feeds.
///
/// # Errors
/// [`BuildError`] where the buckets are wrong, which a test rules out.
pub fn start_metrics() -> Result<PrometheusHandle, BuildError> {
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .build_recorder();
    let handle = recorder.handle();
    if metrics::set_global_recorder(recorder).is_ok() {
        describe();
        begin_at_zero();
    }
    Ok(handle)
}

fn describe() {
    describe_counter!(WEBHOOK_REQUESTS, "Webhook requests by result and event type");
    describe_gauge!(QUEUE_ROWS, "Rows of the queue by state, counted to 10,000 at the most");
    describe_gauge!(QUEUE_OLDEST, Unit::Seconds, "How long the row that waits longest has been due");
    describe_counter!(SYNCS, "Syncs by outcome and reason");
    describe_histogram!(SYNC_DURATION, Unit::Seconds, "How long a sync took");
    describe_counter!(UPSTREAM_REQUESTS, "Calls to the two APIs by route and status");
    describe_histogram!(UPSTREAM_DURATION, Unit::Seconds, "How long a call to an API took");
    describe_gauge!(UPSTREAM_RESTING, "1 while an API rests, by the reason");
    describe_counter!(SUBSCRIBE_WITHHELD, "Syncs of contacts whom their status keeps from being subscribed");
}

/// What an alert is built on has to be there before it first happens.
fn begin_at_zero() {
    for api in ["sesamy", "mailmojo"] {
        for why in ["rate_limit", "credentials", "configuration", "outage"] {
            gauge!(UPSTREAM_RESTING, "api" => api, "why" => why).set(0.0);
        }
    }
    for status in ["u", "b", "d", "other"] {
        counter!(SUBSCRIBE_WITHHELD, "status" => status).absolute(0);
    }
    counter!(WEBHOOK_REQUESTS, "result" => "unauthorized", "event_type" => "none").absolute(0);
}

/// Counts a webhook request: `result` is `accepted`, `ignored`, or the problem's short name; `event_type` is one of the
/// eight, or `unknown`, or `none`.
pub fn webhook_answered(result: &'static str, event_type: &'static str) {
    counter!(WEBHOOK_REQUESTS, "result" => result, "event_type" => event_type).increment(1);
}

/// Counts a call to an API, and the time that it took; `status` is none where there was no answer.
pub fn upstream_called(api: &'static str, route: &'static str, status: Option<u16>, took: Duration) {
    let status = status.map_or_else(|| "none".to_owned(), |status| status.to_string());
    counter!(UPSTREAM_REQUESTS, "api" => api, "route" => route, "status" => status).increment(1);
    histogram!(UPSTREAM_DURATION, "api" => api, "route" => route).record(took);
}

/// Counts a sync, and the time that it took; `reason` is empty where the outcome says it all.
pub fn sync_ended(outcome: &'static str, reason: &'static str, took: Duration) {
    counter!(SYNCS, "outcome" => outcome, "reason" => reason).increment(1);
    histogram!(SYNC_DURATION).record(took);
}

/// Counts a contact whom `status` keeps from being subscribed.
pub fn subscribe_withheld(status: &str) {
    // A label must not grow with whatever an API answers.
    let status = match status {
        "a" => "a",
        "u" => "u",
        "b" => "b",
        "d" => "d",
        _ => "other",
    };
    counter!(SUBSCRIBE_WITHHELD, "status" => status).increment(1);
}

/// Sets how many rows are in each state, and how long the oldest due one has waited.
pub fn queue_counted(rows: [(&'static str, u64); 4], oldest_due: Duration) {
    for (state, count) in rows {
        #[expect(clippy::cast_precision_loss, reason = "counted to 10,000 at the most")]
        gauge!(QUEUE_ROWS, "state" => state).set(count as f64);
    }
    gauge!(QUEUE_OLDEST).set(oldest_due.as_secs_f64());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_has_its_name_and_no_user() {
        let handle = start_metrics().unwrap();
        webhook_answered("accepted", "contract#cancelRequest");
        upstream_called("sesamy", "/management/users/{id}", None, Duration::from_millis(3));
        sync_ended("skipped", "guest", Duration::from_millis(3));
        subscribe_withheld("u");
        subscribe_withheld("whatever");
        queue_counted([("due", 1), ("leased", 0), ("scheduled", 0), ("parked", 2)], Duration::from_secs(3));
        let text = handle.render();
        for line in [
            r#"sesamy_mailmojo_webhook_requests_total{result="accepted",event_type="contract#cancelRequest"} 1"#,
            r#"sesamy_mailmojo_upstream_requests_total{api="sesamy",route="/management/users/{id}",status="none"} 1"#,
            r#"sesamy_mailmojo_syncs_total{outcome="skipped",reason="guest"} 1"#,
            r#"sesamy_mailmojo_sync_duration_seconds_bucket{le="0.01"} 1"#,
            r#"sesamy_mailmojo_subscribe_withheld_total{status="other"} 1"#,
            r#"sesamy_mailmojo_queue_rows{state="parked"} 2"#,
            "sesamy_mailmojo_queue_oldest_due_seconds 3",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
