//! The first page: how the service is, at a glance.

use std::time::Duration;

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use super::chart::{self, Span};
use super::flash::Flash;
use super::{At, button, form_token, words};
use crate::admin::fields::Fields;
use crate::admin::guard::{Here, Visitor};
use crate::admin::office::Glance;
use crate::admin::session::Session;
use crate::operations::{ApiStatus, BackfillStatus, Resync};
use crate::queue::MinuteCount;

pub(crate) async fn show(
    Visitor(session): Visitor,
    State(office): Here,
    RawQuery(query): RawQuery,
) -> Response {
    let flash = Flash::of(&Fields::parse(query.unwrap_or_default().as_bytes()));
    let glance = office.glance().await;
    // A chart that cannot be drawn is no reason to say nothing at all.
    let counts =
        office.operator.hand.queue.counts_since(chart::LONGEST.since(glance.now)).await.unwrap_or_default();
    let body = overview(&session, &glance, &counts);
    super::page("Overview", At::Overview, Some(&session), flash, body).into_response()
}

fn overview(session: &Session, status: &Glance, counts: &[MinuteCount]) -> Markup {
    html! {
        h1.unseen { "Overview" }
        section #status.card.{ (tone(status)) } data-live aria-label="Status" {
            div.verdict {
                h2 { (verdict(status)) }
                p.muted { "As of " time datetime=(status.now) { (words::clock(status.now)) } }
                @if status.tags_kept_since.is_some() && status.paused_since.is_none() {
                    (button(session, "/admin/queue/resume", "/admin", &[], "primary", html! { "Take tags away again" }))
                }
                @if status.paused_since.is_some() {
                    (button(session, "/admin/queue/resume", "/admin", &[], "primary", html! { "Resume syncs" }))
                } @else {
                    (button(session, "/admin/queue/pause", "/admin", &[], "", html! { "Pause syncs" }))
                }
            }
            (parts(status))
            @if let Some(trouble) = &status.trouble { p.bad { (trouble) } }
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
fn verdict(status: &Glance) -> String {
    let resting: Vec<&str> =
        status.apis.iter().filter(|api| api.state != "ok").map(|api| api_name(api.api)).collect();
    if !status.accepting {
        "Events are turned away".to_owned()
    } else if status.trouble.is_some() {
        "The queue cannot be asked".to_owned()
    } else if status.paused_since.is_some() {
        "Syncs are paused".to_owned()
    } else if status.tags_kept_since.is_some() {
        "Tags are kept: look at Sesamy".to_owned()
    } else if !resting.is_empty() {
        format!("Waiting for {}", resting.join(" and "))
    } else if status.rows.is_some_and(|rows| rows.parked > 0) {
        "In step, but for those who are parked".to_owned()
    } else if status.rows.is_some_and(|rows| rows.due + rows.leased > 0) {
        "Syncing".to_owned()
    } else {
        "All in step".to_owned()
    }
}

fn tone(status: &Glance) -> &'static str {
    if !status.accepting || status.trouble.is_some() {
        "bad"
    } else if status.paused_since.is_some()
        || status.tags_kept_since.is_some()
        || status.apis.iter().any(|api| api.state != "ok")
    {
        "warn"
    } else {
        "good"
    }
}

/// Each part of the service, with a sign beside its colour.
fn parts(status: &Glance) -> Markup {
    html! {
        dl.parts {
            div.{ (if status.accepting { "good" } else { "bad" }) } {
                dt { "Events" }
                dd { @if status.accepting { "are taken" } @else { "cannot be kept and are answered 503: look at the log" } }
            }
            div.{ (if status.paused_since.is_some() { "warn" } else { "good" }) } {
                dt { "Syncs" }
                dd {
                    @if let Some(at) = status.paused_since { "paused " (words::when(at, status.now)) }
                    @else { "running" }
                    @if status.dry_run { ", as a dry run: nothing is written" }
                }
            }
            @if let Some(at) = status.tags_kept_since {
                div.warn {
                    dt { "Tags" }
                    dd {
                        "Tags are kept: too many users at once would have lost theirs, " (words::when(at, status.now))
                        ". See whether Sesamy still tells of all contracts and users."
                    }
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

fn api_state(api: &ApiStatus, status: &Glance) -> Markup {
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
                "rests"
                @if let Some(until) = api.until {
                    " until " (words::clock(until)) ", " (words::when(until, status.now))
                }
                ": " (why)
            }
        }
    }
}

/// How far everybody has been looked at again.
fn resync_state(resync: Resync) -> Markup {
    let late = Duration::from_secs(resync.oldest_overdue_seconds);
    html! { (words::plural(resync.due, "user", "users")) " due, the oldest for " (words::span(late)) }
}

/// How far a backfill has come that has not ended.
fn backfill_state(status: &BackfillStatus, glance: &Glance) -> Markup {
    html! {
        (words::plural(status.listed, "user", "users")) " listed"
        @if !status.is_listed { " so far" }
        ", " (words::number(status.due)) " made due, begun " (words::when(status.started_at, glance.now))
    }
}

fn tiles(status: &Glance, counts: &[MinuteCount]) -> Markup {
    let rows = status.rows;
    let of = |count: Option<u64>| count.map_or("?".to_owned(), words::counted);
    let oldest = rows
        .filter(|rows| rows.due > 0)
        .map(|rows| words::span(std::time::Duration::from_millis(rows.oldest_due_ms)));
    html! {
        ul.tiles {
            li { a href="/admin/users?state=due" { b { (of(rows.map(|rows| rows.due))) } span { "due" } } }
            li { a href="/admin/users?state=leased" { b { (of(rows.map(|rows| rows.leased))) } span { "leased" } } }
            li { a href="/admin/users?state=scheduled" { b { (of(rows.map(|rows| rows.scheduled))) } span { "scheduled" } } }
            li.{ (if rows.is_some_and(|rows| rows.parked > 0) { "warn" } else { "" }) } {
                a href="/admin/parked" { b { (of(rows.map(|rows| rows.parked))) } span { "parked" } }
            }
            li { div { b { (oldest.as_deref().unwrap_or("–")) } span { "oldest due" } } }
            li { div { b { (words::number(chart::a_minute(status.now, counts))) } span { "syncs a minute" } } }
        }
    }
}
