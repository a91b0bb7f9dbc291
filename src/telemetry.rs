//! Logs and metrics (to come).

/// Counts a webhook request: `result` is `accepted`, `ignored`, or the problem's short name; `event_type` is one of the
/// eight, or `unknown`, or `none`.
pub fn webhook_answered(result: &'static str, event_type: &'static str) {
    metrics::counter!("sesamy_mailmojo_webhook_requests_total", "result" => result, "event_type" => event_type)
        .increment(1);
}
