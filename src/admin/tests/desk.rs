//! A desk that is not connected to anything: it keeps what it is told, and knows a few people.

use std::sync::Mutex;

use serde_json::json;

use crate::admin::desk::*;
use crate::clock::Millis;
use crate::queue::Census;
use crate::user::UserId;

pub(super) const NOW: Millis = Millis(1_762_776_030_000);
pub(super) const REASON: &str = "mailmojo PATCH /v1/contacts/{email}/ was answered 422: phone: is too short";

/// What it is asked to do, in words.
#[derive(Default)]
pub(super) struct Drawer {
    pub(super) orders: Mutex<Vec<String>>,
    /// What every question fails with.
    pub(super) error: Mutex<Option<DeskError>>,
}

impl Drawer {
    fn told<'a, T: Send + 'a>(&self, answer: T) -> Told<'a, T> {
        let error = self.error.lock().unwrap().clone();
        Box::pin(async move { error.map_or(Ok(answer), Err) })
    }

    fn order<'a, T: Send + 'a>(&self, order: String, answer: T) -> Told<'a, T> {
        self.orders.lock().unwrap().push(order);
        self.told(answer)
    }

    pub(super) fn ordered(&self) -> Vec<String> {
        self.orders.lock().unwrap().clone()
    }
}

fn ago(seconds: i64) -> Millis {
    Millis(NOW.0 - seconds * 1_000)
}

fn row(user: &str, state: State) -> Row {
    let parked = state == State::Parked;
    Row {
        user: UserId::new(user).unwrap(),
        state,
        lane: 0,
        due_at: matches!(state, State::Due | State::Scheduled | State::Leased)
            .then(|| Millis(NOW.0 + 45_000)),
        generation: 4,
        event_type: "contract.1#purchased".to_owned(),
        attempts: u32::from(state == State::Scheduled) * 3 + u32::from(parked),
        failing_since: matches!(state, State::Scheduled | State::Parked).then(|| ago(7_300)),
        error: match state {
            State::Parked => Some(format!("{REASON} (request 7f1c)")),
            State::Scheduled => Some("sesamy GET /management/users/{id} was answered 503".to_owned()),
            _ => None,
        },
        parked_at: parked.then(|| ago(7_200)),
        answer: parked.then(|| REASON.to_owned()),
        held_back: false,
        synced_at: Some(ago(90_000)),
    }
}

/// Everybody that it knows, in the order of their ids.
pub(super) fn everybody() -> Vec<Row> {
    vec![
        row("<b>odd</b>", State::Parked),
        row("auth0|65f1c0ffee", State::Scheduled),
        row("email|84cccf985de28a2a84824786", State::Parked),
        row("email|9001", State::Idle),
        row("google-oauth2|117", State::Due),
    ]
}

impl Desk for Drawer {
    fn status(&self) -> Told<'_, Status> {
        let api = |api: &str| ApiStatus { api: api.into(), state: "ok".into(), why: None, until: None };
        let rest = ApiStatus {
            state: "resting".into(),
            why: Some("rate_limit".into()),
            until: Some(Millis(NOW.0 + 42_000)),
            ..api("mailmojo")
        };
        let rows = Census { due: 12, leased: 8, scheduled: 3, parked: 7, oldest_due_ms: 4_200 };
        let paused = self.ordered().last().is_some_and(|order| order == "pause");
        self.told(Status {
            now: NOW,
            accepting: true,
            paused_at: paused.then(|| ago(65)),
            dry_run: false,
            apis: vec![api("sesamy"), rest],
            rows: Some(rows),
        })
    }

    fn counts(&self, since: Millis) -> Told<'_, Vec<MinuteCount>> {
        let mut counts = Vec::new();
        let first = NOW.0.div_euclid(60_000) - 24 * 60;
        for minute in first..=NOW.0.div_euclid(60_000) {
            let at = Millis(minute * 60_000);
            let of_day = (minute - first) as f64 / 230.0;
            let wave = 1.0 + of_day.sin();
            let noise = (minute * 7_919 % 13) as f64 / 13.0;
            let mut add = |outcome: &str, count: f64| {
                if at >= since && count >= 1.0 {
                    counts.push(MinuteCount { minute: at, outcome: outcome.into(), count: count as u64 });
                }
            };
            add("updated", 9.0 * wave * (0.5 + noise));
            add("created", 2.0 * noise);
            add("unchanged", 6.0 * wave * noise);
            if (minute - first) % 331 < 9 {
                add("failed", 1.0 + 6.0 * noise);
            }
        }
        self.told(counts)
    }

    fn parked(&self) -> Told<'_, Vec<ParkedReason>> {
        let reason = |answer: &str, count, first, last| ParkedReason {
            answer: answer.to_owned(),
            count,
            first_at: ago(first),
            last_at: ago(last),
            example: format!("{answer} (request 7f1c)"),
        };
        self.told(vec![
            reason(REASON, 5, 180_000, 7_200),
            reason("mailmojo: there is no list 99; check mailmojo.list_id", 2, 4_000, 3_600),
        ])
    }

    fn users(&self, filter: Filter) -> Told<'_, Vec<Row>> {
        let mut rows = everybody();
        rows.retain(|row| filter.state.is_none_or(|state| row.state == state));
        rows.retain(|row| filter.reason.is_none() || row.answer == filter.reason);
        rows.retain(|row| filter.after.as_ref().is_none_or(|after| row.user > *after));
        rows.truncate(filter.limit);
        self.told(rows)
    }

    fn user<'a>(&'a self, user: &'a UserId) -> Told<'a, Option<Row>> {
        self.told(everybody().into_iter().find(|row| row.user == *user))
    }

    fn history<'a>(&'a self, _: &'a UserId) -> Told<'a, Vec<HistoryRow>> {
        let line = |seconds: i64, outcome: &str| HistoryRow {
            first_at: ago(seconds),
            last_at: ago(seconds),
            times: 1,
            unchanged_times: 0,
            event_type: "contract.1#purchased".into(),
            outcome: outcome.into(),
            reason: None,
            changed: vec![],
            tags_added: vec![],
            tags_removed: vec![],
            attempt: 1,
            ms: 412,
            error_class: None,
            error: None,
        };
        self.told(vec![
            HistoryRow {
                reason: Some("permanent".into()),
                error_class: Some("permanent".into()),
                error: Some(REASON.into()),
                ..line(7_200, "parked")
            },
            HistoryRow {
                times: 4,
                first_at: ago(7_260),
                attempt: 4,
                error: Some("mailmojo GET /v1/contacts/{email}/ was answered 503".into()),
                reason: Some("transient".into()),
                ..line(7_210, "failed")
            },
            HistoryRow {
                changed: vec!["phone".into(), "tags".into()],
                tags_added: vec!["sesamy_active_subscriber".into(), "sesamy_active_entitlement_plus".into()],
                tags_removed: vec!["sesamy_overdue_contract".into()],
                unchanged_times: 31,
                ms: 1_204,
                ..line(90_000, "updated")
            },
            HistoryRow { changed: vec!["first_name".into(), "tags".into()], ..line(900_000, "created") },
        ])
    }

    fn preview<'a>(&'a self, user: &'a UserId) -> Told<'a, Preview> {
        let field = |field: &str, now: Option<&str>, then: Option<&str>, why: &str| FieldPreview {
            field: field.into(),
            now: now.map(str::to_owned),
            then: then.map(str::to_owned),
            why: why.into(),
        };
        let tag = |tag: &str, change, why: &str| TagPreview { tag: tag.into(), change, why: why.into() };
        self.order(
            format!("preview {}", user.as_str()),
            Preview {
                plan: "update".into(),
                summary: "the contact is on the list and gets a phone number and a tag".into(),
                facts: vec![
                    ("E-mail".into(), "kari@example.com".into()),
                    ("Contracts".into(), "1, in force".into()),
                    ("Entitlements".into(), "2, of which 1 gives access".into()),
                ],
                fields: vec![
                    field("first_name", Some("Kari"), None, "kept: the contact has one"),
                    field("last_name", Some("Nordmann"), None, "kept: the contact has one"),
                    field(
                        "phone",
                        None,
                        Some("+47 999 99 999"),
                        "the contact has none; Sesamy's mobile phone",
                    ),
                ],
                tags: vec![
                    tag("vip", TagChange::Kept, "not ours: never touched"),
                    tag(
                        "sesamy_active_subscriber",
                        TagChange::Added,
                        "contract c1 is in force and recurring",
                    ),
                    tag("sesamy_overdue_contract", TagChange::Removed, "no contract is overdue any more"),
                    tag("sesamy_made_single_purchase", TagChange::Kept, "kept for ever by sync.keep_tags"),
                ],
                request: Some(RequestPreview {
                    method: "PATCH".into(),
                    path: "/v1/contacts/kari%40example.com/".into(),
                    body: json!({"phone": "+47 999 99 999", "tags": ["vip", "sesamy_active_subscriber"]}),
                }),
            },
        )
    }

    fn sync<'a>(&'a self, user: &'a UserId) -> Told<'a, Synced> {
        let synced = Synced {
            outcome: "updated".into(),
            reason: None,
            changed: vec!["phone".into()],
            tags_added: vec![],
            tags_removed: vec![],
            error: None,
        };
        self.order(format!("sync {}", user.as_str()), synced)
    }

    fn retry(&self, whom: Retry) -> Told<'_, u64> {
        let (order, count) = match whom {
            Retry::One(user) => (format!("retry {}", user.as_str()), 1),
            Retry::Reason(reason) => (format!("retry reason {reason}"), 5),
            Retry::AllParked => ("retry all".to_owned(), 7),
        };
        self.order(order, count)
    }

    fn pause(&self) -> Told<'_, ()> {
        self.order("pause".to_owned(), ())
    }

    fn resume(&self) -> Told<'_, ()> {
        self.order("resume".to_owned(), ())
    }

    fn find<'a>(&'a self, text: &'a str) -> Told<'a, Option<UserId>> {
        let found = if text == "kari@example.com" { "email|9001" } else { text };
        self.told(everybody().into_iter().map(|row| row.user).find(|user| user.as_str() == found))
    }
}
