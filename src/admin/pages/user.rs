//! One user: what is to be done, what was done, and what a sync would do now.

use axum::extract::{RawQuery, State as Shared};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use super::flash::Flash;
use super::{At, Whom, button, failed, people, preview, words};
use crate::admin::failure::Failure;
use crate::admin::fields::Fields;
use crate::admin::guard::{Here, Visitor};
use crate::admin::session::Session;
use crate::clock::Millis;
use crate::operations::preview::Preview;
use crate::queue::{HistoryRow, UserRow};
use crate::user::UserId;

pub(crate) async fn show(
    Visitor(session): Visitor,
    Shared(office): Here,
    Whom(user): Whom,
    RawQuery(query): RawQuery,
) -> Response {
    let fields = Fields::parse(query.unwrap_or_default().as_bytes());
    let (row, history) = match office.user(&user).await {
        Ok(told) => told,
        Err(failure) => return failed(&session, &failure),
    };
    // Only when it is asked for: it costs calls to both APIs.
    let preview = match fields.get("preview") {
        Some(_) => Some(office.preview(&user).await),
        None => None,
    };
    let status = if row.is_none() && preview.is_none() { StatusCode::NOT_FOUND } else { StatusCode::OK };
    let body = body(&session, &user, row.as_ref(), &history, preview.as_ref(), office.now());
    let title = format!("User {}", user.as_str());
    (status, super::page(&title, At::Users, Some(&session), Flash::of(&fields), body)).into_response()
}

fn body(
    session: &Session,
    user: &UserId,
    row: Option<&UserRow>,
    history: &[HistoryRow],
    preview: Option<&Result<Preview, Failure>>,
    now: Millis,
) -> Markup {
    let address = people::page_of(user.as_str());
    html! {
        section.card aria-label="State" {
            div.verdict {
                h1.id { (user.as_str()) }
                @if let Some(row) = row { (people::badge(row.state)) }
                div.buttons {
                    (button(session, &format!("{address}/sync"), &address, &[], "primary", html! { "Sync now" }))
                    @if let Some(row) = row.filter(|row| people::can_be_retried(row)) {
                        (people::retry(row, session, &address))
                    }
                    a.button href={ (address) "?preview=1#preview" } { "Preview" }
                }
            }
            @match row {
                Some(row) => { (state(row, now)) }
                None => p { (Failure::UnknownUser.to_string()) "." },
            }
        }
        @if let Some(preview) = preview {
            section #preview.card aria-labelledby="preview-title" {
                h2 #preview-title { "What a sync would do now" }
                @match preview {
                    Ok(preview) => { (preview::shown(preview)) }
                    Err(error) => p.bad { (error.to_string()) },
                }
            }
        }
        section.card aria-labelledby="history" {
            h2 #history { "History" }
            @if history.is_empty() { p.empty { "No sync is remembered." } } @else { (table(history, now)) }
        }
    }
}

fn state(row: &UserRow, now: Millis) -> Markup {
    html! {
        @if let Some(error) = &row.error {
            p.error.bad {
                (error)
                @if row.attempts > 0 { " (" (words::plural(row.attempts.into(), "failure", "failures")) ")" }
            }
        }
        dl.facts {
            @if let Some(at) = row.parked_at { div { dt { "Parked" } dd { (words::when(at, now)) } } }
            @if let Some(at) = row.due_at { div { dt { "Due" } dd { (words::when(at, now)) } } }
            @if let Some(at) = row.failing_since { div { dt { "Failing since" } dd { (words::when(at, now)) } } }
            div { dt { "Last synced" } dd { @match row.synced_at { Some(at) => (words::when(at, now)), None => "never" } } }
            div { dt { "Last asked by" } dd { code { (row.event_type) } } }
            div { dt { "Asked for" } dd { (words::plural(u64::try_from(row.generation).unwrap_or(0), "time", "times")) } }
            @if row.held_back { div { dt { "Held back" } dd { "a change, by sync.dry_run or the brake" } } }
        }
    }
}

fn table(history: &[HistoryRow], now: Millis) -> Markup {
    html! {
        div.scroll {
            table.history {
                caption.unseen { "Syncs, the latest first" }
                thead { tr {
                    th scope="col" { "When" } th scope="col" { "Outcome" } th scope="col" { "Changed" }
                    th scope="col" { "Because of" } th.number scope="col" { "Try" } th.number scope="col" { "ms" }
                } }
                tbody {
                    @for row in history {
                        tr {
                            th scope="row" {
                                (words::when(row.last_at, now))
                                @if row.times > 1 {
                                    p.muted { (words::number(row.times.into())) " times since " (words::when(row.first_at, now)) }
                                }
                                @if row.unchanged_times > 0 {
                                    p.muted { "then " (words::number(row.unchanged_times.into())) " times unchanged" }
                                }
                            }
                            td data-label="Outcome" {
                                (people::outcome(&row.outcome, &row.reason))
                                @if row.held_back { p.muted { "held back by sync.dry_run or the brake" } }
                                @if let Some(error) = &row.error {
                                    p.error { (error) }
                                }
                            }
                            td data-label="Changed" { (changes(row)) }
                            td data-label="Because of" { code { (row.event_type) } }
                            td.number data-label="Try" { (row.attempt) }
                            td.number data-label="ms" { (words::number(row.ms)) }
                        }
                    }
                }
            }
        }
    }
}

fn changes(row: &HistoryRow) -> Markup {
    let fields: Vec<&str> = row.changed.iter().map(String::as_str).filter(|field| *field != "tags").collect();
    let nothing = fields.is_empty() && row.tags_added.is_empty() && row.tags_removed.is_empty();
    html! {
        @if nothing { "–" } @else {
            ul.changes {
                @for field in fields { li { (field) } }
                @for tag in &row.tags_added { li { ins { (tag) } } }
                @for tag in &row.tags_removed { li { del { (tag) } } }
            }
        }
    }
}
