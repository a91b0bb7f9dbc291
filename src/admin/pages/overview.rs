//! The first page: the state of the service.

use std::time::Duration;

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use super::chart::{self, Span};
use super::flash::Flash;
use super::format::{self, Tone};
use super::layout::{self, At, button, form_token};
use crate::admin::extract::LoggedIn;
use crate::admin::fields::Fields;
use crate::admin::session::Session;
use crate::admin::state::Shared;
use crate::app::{BackfillStatus, Resync, ServiceStatus, Status};
use crate::queue::{Census, MinuteCount};
use crate::upstream::circuit_breaker::ApiStatus;

pub(crate) async fn show(
    LoggedIn(session): LoggedIn,
    State(state): Shared,
    RawQuery(query): RawQuery,
) -> Response {
    let flash = Flash::of(&Fields::parse(query.unwrap_or_default().as_bytes()));
    let service = state.app.service_status().await;
    // Without counts the page still shows everything else.
    let since = chart::LONGEST.since(service.status.now);
    let counts = state.app.counts_since(since).await.unwrap_or_default();
    let body = overview(&session, &service, &counts);
    layout::page("Overview", At::Overview, Some(&session), flash, body).into_response()
}

fn overview(session: &Session, service: &ServiceStatus, counts: &[MinuteCount]) -> Markup {
    let status = &service.status;
    html! {
        h1.unseen { "Overview" }
        section #status.card.{ (tone(service).class()) } data-live aria-label="Status" {
            div.verdict {
                h2 { (verdict(service)) }
                p.muted { "As of " time datetime=(status.now) { (format::clock(status.now)) } }
                @if status.tags_kept_since.is_some() && status.paused_since.is_none() {
                    (button(session, "/admin/queue/resume", "/admin", &[], "primary", html! { "Let removals through" }))
                }
                @if status.paused_since.is_some() {
                    (button(session, "/admin/queue/resume", "/admin", &[], "primary", html! { "Resume syncs" }))
                } @else {
                    (button(session, "/admin/queue/pause", "/admin", &[], "", html! { "Pause syncs" }))
                }
            }
            (parts(service))
            @if let Some(trouble) = &service.trouble { p.bad { (trouble) } }
        }
        section #rows data-live aria-label="Queue" { (tiles(status, counts)) }
        section #charts.charts data-live aria-label="Syncs" {
            div.card { (chart::figure(Span::Hour, status.now, counts)) }
            div.card { (chart::figure(Span::Day, status.now, counts)) }
        }
        section.card aria-labelledby="find" {
            h2 #find { "Find a user" }
            form.find method="post" action="/admin/find" {
                (form_token(session))
                input type="hidden" name="back" value="/admin";
                label for="who" { "User id or e-mail address" }
                div.row {
                    input #who type="search" name="who" required autocomplete="off" spellcheck="false" maxlength="320";
                    button type="submit" { "Find" }
                }
            }
        }
    }
}

/// The service in one line: the worst first.
fn verdict(service: &ServiceStatus) -> String {
    let status = &service.status;
    let resting: Vec<&str> =
        status.apis.iter().filter(|api| api.state != "ok").map(|api| api_name(api.api)).collect();
    if !service.accepting {
        "Events are turned away".to_owned()
    } else if service.trouble.is_some() {
        "The queue cannot be asked".to_owned()
    } else if status.paused_since.is_some() {
        "Syncs are paused".to_owned()
    } else if status.tags_kept_since.is_some() {
        "Tag removal stopped: check Sesamy".to_owned()
    } else if !resting.is_empty() {
        format!("Waiting for {}", resting.join(" and "))
    } else if status.rows.is_some_and(|rows| rows.parked > 0) {
        "In step, but for parked users".to_owned()
    } else if status.rows.is_some_and(|rows| rows.due + rows.leased > 0) {
        "Syncing".to_owned()
    } else {
        "All in step".to_owned()
    }
}

fn tone(service: &ServiceStatus) -> Tone {
    let status = &service.status;
    if !service.accepting || service.trouble.is_some() {
        Tone::Bad
    } else if status.paused_since.is_some()
        || status.tags_kept_since.is_some()
        || status.apis.iter().any(|api| api.state != "ok")
    {
        Tone::Warn
    } else {
        Tone::Good
    }
}

/// Each part of the service, with a sign beside its colour.
fn parts(service: &ServiceStatus) -> Markup {
    let status = &service.status;
    html! {
        dl.parts {
            div.{ (if service.accepting { "good" } else { "bad" }) } {
                dt { "Events" }
                dd { @if service.accepting { "are taken" } @else { "cannot be kept and are answered 503: see the log" } }
            }
            div.{ (if status.paused_since.is_some() { "warn" } else { "good" }) } {
                dt { "Syncs" }
                dd {
                    @if let Some(at) = status.paused_since { "paused " (format::when(at, status.now)) }
                    @else { "running" }
                    @if status.dry_run { ", as a dry run: nothing is written" }
                }
            }
            @if let Some(at) = status.tags_kept_since {
                div.warn {
                    dt { "Tags" }
                    dd {
                        "No tag is removed: too many users at once would have lost theirs, " (format::when(at, status.now))
                        ". Check whether Sesamy still lists all contracts, entitlements and profiles. "
                        a href="/admin/users?state=held" { "What is held back" }
                    }
                }
            }
            @if let Some(until) = status.removals_allowed_until {
                div.warn {
                    dt { "Tags" }
                    dd { "The removal guard is off until " (format::clock(until)) ", by an operator's word." }
                }
            }
            @if let Some(resync) = status.resync.filter(|resync| resync.due > 0) {
                div.good {
                    dt { "Background" }
                    dd { (resync_state(resync)) }
                }
            }
            @if let Some(backfill) = &status.backfill {
                div.good {
                    dt { "Backfill" }
                    dd { (backfill_state(backfill, status)) }
                }
            }
            @for api in &status.apis {
                div.{ (if api.state == "ok" { "good" } else { "warn" }) } {
                    dt { (api_name(api.api)) }
                    dd { (api_state(api, status)) }
                }
            }
        }
    }
}

fn api_name(api: &str) -> &str {
    match api {
        "sesamy" => "Sesamy",
        "mailmojo" => "Mailmojo",
        other => other,
    }
}

fn api_state(api: &ApiStatus, status: &Status) -> Markup {
    let why = match api.why {
        Some("rate_limit") => "it asked us to slow down (429)",
        Some("credentials") => "it refuses our credentials",
        Some("configuration") => "a setting of its address looks wrong",
        Some("outage") => "users in a row failed alike: it seems to be down",
        _ => "it did not say why",
    };
    html! {
        @match api.state {
            "ok" => "answers",
            "probing" => { "is tried with one user: " (why) }
            _ => {
                "circuit open"
                @if let Some(until) = api.until {
                    " until " (format::clock(until)) ", " (format::when(until, status.now))
                }
                ": " (why)
            }
        }
    }
}

fn resync_state(resync: Resync) -> Markup {
    let late = Duration::from_secs(resync.oldest_overdue_seconds);
    html! { (format::plural(resync.due, "user", "users")) " due, the oldest for " (format::span(late)) }
}

fn backfill_state(backfill: &BackfillStatus, status: &Status) -> Markup {
    html! {
        (format::plural(backfill.listed, "user", "users")) " listed"
        @if !backfill.is_listed { " so far" }
        ", " (format::number(backfill.due)) " made due, begun " (format::when(backfill.started_at, status.now))
    }
}

fn tiles(status: &Status, counts: &[MinuteCount]) -> Markup {
    let rows = status.rows.as_ref();
    let counted =
        |count: fn(&Census) -> u64| rows.map_or("?".to_owned(), |rows| format::counted(count(rows)));
    let tiles = [
        ("due", counted(|rows| rows.due)),
        ("leased", counted(|rows| rows.leased)),
        ("scheduled", counted(|rows| rows.scheduled)),
    ];
    let has_parked = rows.is_some_and(|rows| rows.parked > 0);
    let oldest = rows.filter(|rows| rows.due > 0);
    let oldest = oldest.map(|rows| format::span(Duration::from_millis(rows.oldest_due_ms)));
    html! {
        ul.tiles {
            @for (state, count) in tiles {
                li { a href={ "/admin/users?state=" (state) } { b { (count) } span { (state) } } }
            }
            li.{ (if has_parked { "warn" } else { "" }) } {
                a href="/admin/parked" { b { (counted(|rows| rows.parked)) } span { "parked" } }
            }
            li { div { b { (oldest.as_deref().unwrap_or("–")) } span { "oldest due" } } }
            li { div { b { (format::number(chart::a_minute(status.now, counts))) } span { "syncs a minute" } } }
        }
    }
}
