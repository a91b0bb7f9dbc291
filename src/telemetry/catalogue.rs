//! Every metric there is: the contract that dashboards and alerts are built on.
//!
//! What is not in [`METRICS`] is not collected. A label either has a closed set of values, which is then all that it can
//! have, or is open: then the code or an API's answers bound it, never a user.

use strum::{EnumIter, IntoStaticStr, VariantNames};

use crate::outcome::Outcome;

/// How a metric counts, by Prometheus's own names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum Kind {
    /// Only ever rises, from zero at the start of the process.
    Counter,
    /// What holds now.
    Gauge,
    /// Times in seconds, in buckets.
    Histogram,
}

impl Kind {
    /// The word in Prometheus's text.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// A label, and all values that it can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label {
    /// Its name.
    pub name: &'static str,
    /// `None`: they are no closed set.
    pub values: Option<&'static [&'static str]>,
}

const fn one_of(name: &'static str, values: &'static [&'static str]) -> Label {
    Label { name, values: Some(values) }
}

const fn open(name: &'static str) -> Label {
    Label { name, values: None }
}

impl Label {
    /// Whether it can have this value.
    #[must_use]
    pub fn takes(&self, value: &str) -> bool {
        self.values.is_none_or(|values| values.contains(&value))
    }
}

/// A metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Its whole name; a counter's ends in `_total`, a histogram's in `_seconds`.
    pub name: &'static str,
    /// How it counts.
    pub kind: Kind,
    /// Its labels.
    pub labels: &'static [Label],
    /// What it counts, for people: also in `/metrics` and in the README.
    pub meaning: &'static str,
}

/// Declares the metrics, and [`METRICS`] in the same order.
macro_rules! metrics {
    ($($name:ident: $kind:ident($labels:expr) = $full_name:literal, $meaning:literal;)*) => {
        $(pub(super) const $name: Metric =
            Metric { name: $full_name, kind: Kind::$kind, labels: &$labels, meaning: $meaning };)*

        /// All of them.
        pub const METRICS: [Metric; 15] = [$($name),*];
    };
}

metrics! {
    WEBHOOK_REQUESTS: Counter([one_of("result", WebhookResult::VARIANTS), one_of("event_type", &EVENT_TYPES)]) = "sesamy_mailmojo_webhook_requests_total",
        "webhook requests by how they were answered, and by the type of the event";
    QUEUE_ROWS: Gauge([one_of("state", &STATES)]) = "sesamy_mailmojo_queue_rows",
        "users in the queue by state, counted to 10,000 and at most every 15 s";
    QUEUE_OLDEST: Gauge([]) = "sesamy_mailmojo_queue_oldest_due_seconds",
        "how long the user who waits longest has been due; a backfill, which may wait, left out";
    QUEUE_ACCEPTING: Gauge([]) = "sesamy_mailmojo_queue_accepting",
        "1 while events can be kept, 0 while they are answered 503";
    QUEUE_PAUSED: Gauge([]) = "sesamy_mailmojo_queue_paused",
        "1 while syncing is paused by hand";
    TAGS_KEPT: Gauge([]) = "sesamy_mailmojo_tags_kept",
        "1 while the removal guard has tripped: too many users at once would have lost their tags, and no write \
         takes one away";
    REMOVALS_ALLOWED_UNTIL: Gauge([]) = "sesamy_mailmojo_removals_allowed_until_timestamp_seconds",
        "the time in seconds since 1970 until which an operator has switched the removal guard off; 0 where \
         nobody has";
    SYNCS: Counter([one_of("outcome", Outcome::VARIANTS), one_of("reason", &REASONS)]) = "sesamy_mailmojo_syncs_total",
        "syncs by outcome and, where there is one, reason";
    SYNC_DURATION: Histogram([]) = "sesamy_mailmojo_sync_duration_seconds",
        "how long a sync took";
    DRIFT_REPAIRED: Counter([]) = "sesamy_mailmojo_drift_repaired_total",
        "contacts that a drift check found changed and corrected";
    RESYNC_LATE: Gauge([]) = "sesamy_mailmojo_resync_late_seconds",
        "how long the oldest row of the background lane has been due: drift checks and backfills";
    UPSTREAM_REQUESTS: Counter([API, open("route"), open("status")]) = "sesamy_mailmojo_upstream_requests_total",
        "calls to the two APIs by route and status, which is none where there was no answer";
    UPSTREAM_DURATION: Histogram([API, open("route")]) = "sesamy_mailmojo_upstream_request_duration_seconds",
        "how long a call to an API took";
    UPSTREAM_RESTING: Gauge([API, one_of("why", &WHYS)]) = "sesamy_mailmojo_upstream_resting",
        "1 while an API's circuit is open, by the reason";
    SUBSCRIBE_WITHHELD: Counter([one_of("status", &STATUSES)]) = "sesamy_mailmojo_subscribe_withheld_total",
        "syncs of contacts whom their status keeps from being subscribed";
}

/// How a webhook was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumIter, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum WebhookResult {
    /// 202: its event is stored.
    Accepted,
    /// 200: its event needs no sync.
    Ignored,
    /// 503: its event could not be stored, and is sent again.
    Unavailable,
    /// 401.
    Unauthorized,
    /// 403: another vendor's.
    Forbidden,
    /// 400.
    Invalid,
    /// 413.
    TooLarge,
    /// 408.
    Timeout,
}

impl WebhookResult {
    /// Whether an event was read, so that it is counted by its type.
    pub(super) const fn has_event_type(self) -> bool {
        matches!(self, Self::Accepted | Self::Ignored | Self::Unavailable)
    }
}

/// The types of an event that is read; `unknown` is any that is none of the eight.
pub(super) const EVENT_TYPES: [&str; 10] = [
    "userVendor.1#new",
    "userVendor.1#update",
    "contract.1#purchased",
    "contract.1#update",
    "contract#cancelRequest",
    "checkout.1#confirm",
    "entitlement.1#new",
    "entitlement.1#update",
    "unknown",
    "none",
];
const STATES: [&str; 6] = ["due", "leased", "scheduled", "failing", "held", "parked"];
/// The reasons of all outcomes; empty for an outcome without one.
pub(super) const REASONS: [&str; 13] = [
    "",
    "user_not_found",
    "guest",
    "no_email",
    "bad_email",
    "not_in_mailmojo",
    "removed_in_mailmojo",
    "left_under_old_address",
    "brake",
    "transient",
    "permanent",
    "poison",
    "resting",
];
const API: Label = one_of("api", &APIS);
pub(super) const APIS: [&str; 2] = ["sesamy", "mailmojo"];
pub(super) const WHYS: [&str; 4] = ["rate_limit", "credentials", "configuration", "outage"];
/// A contact's status, as Mailmojo has it: unsubscribed, bounced, deleted, or any that is none of these.
pub(super) const STATUSES: [&str; 4] = ["u", "b", "d", "other"];
