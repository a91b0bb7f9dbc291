//! Every metric there is: the contract that dashboards and alerts are built on.
//!
//! What is not in [`METRICS`] is not collected. A label either has a closed set of values, which is then all that it can
//! have, or is open: then the code or an API's answers bound it, never a user.

use strum::VariantNames;

use crate::outcome::Outcome;

/// How a metric counts, by Prometheus's own names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A label, and all values that it can have; none where they are open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label {
    /// Its name.
    pub name: &'static str,
    /// All values, where they are a closed set.
    pub values: Option<&'static [&'static str]>,
}

impl Label {
    const fn one_of(name: &'static str, values: &'static [&'static str]) -> Self {
        Self { name, values: Some(values) }
    }

    const fn open(name: &'static str) -> Self {
        Self { name, values: None }
    }

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

/// All of them.
pub const METRICS: [Metric; 15] = [
    Metric {
        name: WEBHOOK_REQUESTS,
        kind: Kind::Counter,
        labels: &[Label::one_of("result", &RESULTS), Label::one_of("event_type", &EVENT_TYPES)],
        meaning: "webhook requests by how they were answered, and by the type of the event",
    },
    Metric {
        name: QUEUE_ROWS,
        kind: Kind::Gauge,
        labels: &[Label::one_of("state", &STATES)],
        meaning: "users in the queue by state, counted to 10,000 and at most every 15 s",
    },
    Metric {
        name: QUEUE_OLDEST,
        kind: Kind::Gauge,
        labels: &[],
        meaning: "how long the user who waits longest has been due; a backfill, which may wait, left out",
    },
    Metric {
        name: QUEUE_ACCEPTING,
        kind: Kind::Gauge,
        labels: &[],
        meaning: "1 while events can be kept, 0 while they are answered 503",
    },
    Metric {
        name: QUEUE_PAUSED,
        kind: Kind::Gauge,
        labels: &[],
        meaning: "1 while syncing is paused by hand",
    },
    Metric {
        name: TAGS_KEPT,
        kind: Kind::Gauge,
        labels: &[],
        meaning: "1 while the removal guard has tripped: too many users at once would have lost their tags, and no write takes one away",
    },
    Metric {
        name: REMOVALS_ALLOWED_UNTIL,
        kind: Kind::Gauge,
        labels: &[],
        meaning: "the time in seconds since 1970 until which an operator has switched the removal guard off; 0 where nobody has",
    },
    Metric {
        name: SYNCS,
        kind: Kind::Counter,
        labels: &[Label::one_of("outcome", Outcome::VARIANTS), Label::one_of("reason", &REASONS)],
        meaning: "syncs by outcome and, where there is one, reason",
    },
    Metric { name: SYNC_DURATION, kind: Kind::Histogram, labels: &[], meaning: "how long a sync took" },
    Metric {
        name: DRIFT_REPAIRED,
        kind: Kind::Counter,
        labels: &[],
        meaning: "contacts that a drift check found changed and corrected",
    },
    Metric {
        name: RESYNC_LATE,
        kind: Kind::Gauge,
        labels: &[],
        meaning: "how long the oldest row of the background lane has been due: drift checks and backfills",
    },
    Metric {
        name: UPSTREAM_REQUESTS,
        kind: Kind::Counter,
        labels: &[API, Label::open("route"), Label::open("status")],
        meaning: "calls to the two APIs by route and status, which is none where there was no answer",
    },
    Metric {
        name: UPSTREAM_DURATION,
        kind: Kind::Histogram,
        labels: &[API, Label::open("route")],
        meaning: "how long a call to an API took",
    },
    Metric {
        name: UPSTREAM_RESTING,
        kind: Kind::Gauge,
        labels: &[API, Label::one_of("why", &WHYS)],
        meaning: "1 while an API's circuit is open, by the reason",
    },
    Metric {
        name: SUBSCRIBE_WITHHELD,
        kind: Kind::Counter,
        labels: &[Label::one_of("status", &STATUSES)],
        meaning: "syncs of contacts whom their status keeps from being subscribed",
    },
];

pub(super) const WEBHOOK_REQUESTS: &str = "sesamy_mailmojo_webhook_requests_total";
pub(super) const UPSTREAM_REQUESTS: &str = "sesamy_mailmojo_upstream_requests_total";
pub(super) const UPSTREAM_DURATION: &str = "sesamy_mailmojo_upstream_request_duration_seconds";
pub(super) const SYNCS: &str = "sesamy_mailmojo_syncs_total";
pub(super) const SYNC_DURATION: &str = "sesamy_mailmojo_sync_duration_seconds";
pub(super) const SUBSCRIBE_WITHHELD: &str = "sesamy_mailmojo_subscribe_withheld_total";
pub(super) const DRIFT_REPAIRED: &str = "sesamy_mailmojo_drift_repaired_total";
pub(super) const RESYNC_LATE: &str = "sesamy_mailmojo_resync_late_seconds";
pub(super) const QUEUE_ROWS: &str = "sesamy_mailmojo_queue_rows";
pub(super) const QUEUE_OLDEST: &str = "sesamy_mailmojo_queue_oldest_due_seconds";
pub(super) const QUEUE_ACCEPTING: &str = "sesamy_mailmojo_queue_accepting";
pub(super) const QUEUE_PAUSED: &str = "sesamy_mailmojo_queue_paused";
pub(super) const TAGS_KEPT: &str = "sesamy_mailmojo_tags_kept";
pub(super) const REMOVALS_ALLOWED_UNTIL: &str = "sesamy_mailmojo_removals_allowed_until_timestamp_seconds";
/// 1 while an API's circuit is open, by `api` and `why`.
pub const UPSTREAM_RESTING: &str = "sesamy_mailmojo_upstream_resting";

/// The results of a webhook whose event was read: they come with its type.
pub(super) const WITH_A_TYPE: [&str; 3] = ["accepted", "ignored", "unavailable"];
/// The results of a webhook that was turned away before: there is no type then. None of them is sent again.
pub(super) const WITHOUT_A_TYPE: [&str; 5] = ["unauthorized", "forbidden", "invalid", "too_large", "timeout"];
pub(super) const RESULTS: [&str; 8] =
    ["accepted", "ignored", "unavailable", "unauthorized", "forbidden", "invalid", "too_large", "timeout"];
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
const API: Label = Label::one_of("api", &APIS);
pub(super) const APIS: [&str; 2] = ["sesamy", "mailmojo"];
pub(super) const WHYS: [&str; 4] = ["rate_limit", "credentials", "configuration", "outage"];
/// A contact's status, as Mailmojo tells it: unsubscribed, bounced, deleted, or any that is none of these.
pub(super) const STATUSES: [&str; 4] = ["u", "b", "d", "other"];
