//! One user: what is to be done, what was done, and what a sync would do now.

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use super::flash::Flash;
use super::layout::{self, At, button, form_token};
use super::{format, preview, user_table};
use crate::admin::extract::{LoggedIn, PageUser};
use crate::admin::fields::Fields;
use crate::admin::session::Session;
use crate::admin::state::Shared;
use crate::app::{AppError, FORGOTTEN, Preview, User};
use crate::clock::Millis;
use crate::queue::HistoryRow;

pub(crate) async fn show(
    LoggedIn(session): LoggedIn,
    State(state): Shared,
    PageUser(id): PageUser,
    RawQuery(query): RawQuery,
) -> Response {
    let fields = Fields::parse(query.unwrap_or_default().as_bytes());
    let (user, is_forgotten) = match state.app.user(&id).await {
        Ok(user) => (Some(user), false),
        Err(AppError::Forgotten) => (None, true),
        Err(AppError::UnknownUser) => (None, false),
        Err(error) => return layout::failed(&session, &error),
    };
    // Only on request: it costs calls to both APIs.
    let preview = match fields.get("preview") {
        Some(_) => Some(state.app.preview(&id).await),
        None => None,
    };
    let status = match (&user, &preview) {
        _ if is_forgotten => StatusCode::GONE,
        (None, None) => StatusCode::NOT_FOUND,
        _ => StatusCode::OK,
    };
    let shown = Shown { id: id.as_str(), user: user.as_ref(), is_forgotten, now: state.app.now() };
    let body = body(&session, &shown, preview.as_ref());
    let title = format!("User {}", id.as_str());
    (status, layout::page(&title, At::Users, Some(&session), Flash::of(&fields), body)).into_response()
}

/// The user of the page.
struct Shown<'a> {
    id: &'a str,
    /// `None` if the queue does not know the user.
    user: Option<&'a User>,
    is_forgotten: bool,
    now: Millis,
}

fn body(session: &Session, shown: &Shown<'_>, preview: Option<&Result<Preview, AppError>>) -> Markup {
    let Shown { id, user, is_forgotten, now } = *shown;
    let address = user_table::page_of(id);
    html! {
        section.card aria-label="State" {
            div.verdict {
                h1.id { (id) }
                @if let Some(user) = user { (user_table::badge(user.row.state)) }
                div.buttons {
                    @if !is_forgotten {
                        (button(session, &format!("{address}/sync"), &address, &[], "primary", html! { "Sync now" }))
                    }
                    @if let Some(user) = user.filter(|user| user_table::can_be_retried(&user.row)) {
                        (user_table::retry(&user.row, session, &address))
                    }
                    @if !is_forgotten { a.button href={ (address) "?preview=1#preview" } { "Preview" } }
                }
            }
            @match user {
                Some(user) => { (state(user, now)) }
                None if is_forgotten => p { "This user " (FORGOTTEN) "." },
                None => p { (AppError::UnknownUser.to_string()) "." },
            }
            @if let Some(why) = shown.why_again() {
                div.again {
                    p { (why) }
                    (button(session, &format!("{address}/sync"), &address, &[("again", "true")], "", html! { "Sync again" }))
                }
            }
        }
        @if let Some(preview) = preview {
            section #preview.card aria-labelledby="preview-title" {
                h2 #preview-title { "What a sync would do now" }
                @match preview {
                    Ok(preview) => { (preview::shown(preview)) }
                    Err(error) => {
                        p.bad { (error.to_string()) }
                        @if let Some(words) = error.own_words() {
                            p { "The API's own words, which are kept nowhere: " q { (words) } }
                        }
                    }
                }
            }
        }
        @if !is_forgotten {
            section.card aria-labelledby="history" {
                h2 #history { "History" }
                @match user.map(|user| user.history.as_slice()) {
                    None | Some([]) => p.empty { "No sync is remembered." },
                    Some(history) => { (table(history, now)) }
                }
            }
        }
        section.card aria-labelledby="forget" {
            h2 #forget { "Forget" }
            (forget(session, &address, is_forgotten))
        }
    }
}

impl Shown<'_> {
    /// Why an ordinary sync would not put the user on the list, if so.
    fn why_again(&self) -> Option<&'static str> {
        let history = self.user.map_or(&[][..], |user| &user.history);
        let last = history.first().map_or("", |entry| entry.reason.as_str());
        match (self.is_forgotten, last) {
            (true, _) => Some("To sync again takes the user up again, as one who was never known."),
            (_, "removed_in_mailmojo") => Some(
                "Somebody has removed the contact in Mailmojo, so it is not made again. To sync again makes it after all.",
            ),
            _ if last == "left_under_old_address" || self.user.is_some_and(|user| user.memory.has_left) => {
                Some(
                    "The user has left under an address of before, so the new one is not put on the list. To sync again does so after all.",
                )
            }
            _ => None,
        }
    }
}

/// Behind a fold and with a box to tick, because there is no way back.
fn forget(session: &Session, address: &str, is_forgotten: bool) -> Markup {
    let fold = if is_forgotten { "Take our tags off in Mailmojo" } else { "Erase this user for good" };
    html! {
        details {
            summary { (fold) }
            form method="post" action={ (address) "/forget" } {
                (form_token(session))
                input type="hidden" name="back" value=(address);
                @if is_forgotten {
                    p { "The address is forgotten: whatever address Sesamy has of the user now is looked at." }
                    input type="hidden" name="mailmojo" value="true";
                } @else {
                    p {
                        "The row and the history are erased, and later events are dropped. A keyed hash of the id is left. "
                        "The lines that the log has already are not erased."
                    }
                    p.tick {
                        input #mailmojo type="checkbox" name="mailmojo" value="true";
                        label for="mailmojo" {
                            "Take our tags off the contact in Mailmojo first; the contact itself, and everything else of it, stays"
                        }
                    }
                }
                p.tick {
                    input #sure type="checkbox" name="sure" value="true" required;
                    label for="sure" { "I am sure" }
                }
                button type="submit" { @if is_forgotten { "Take our tags off" } @else { "Forget this user" } }
            }
        }
    }
}

fn state(user: &User, now: Millis) -> Markup {
    let User { row, memory, .. } = user;
    html! {
        @if let Some(error) = &row.error {
            p.error.bad {
                (error)
                @if row.attempts > 0 { " (" (format::plural(row.attempts.into(), "failure", "failures")) ")" }
            }
        }
        dl.facts {
            @if let Some(at) = row.parked_at { div { dt { "Parked" } dd { (format::when(at, now)) } } }
            @if let Some(at) = row.due_at { div { dt { "Due" } dd { (format::when(at, now)) } } }
            @if let Some(at) = row.failing_since { div { dt { "Failing since" } dd { (format::when(at, now)) } } }
            div { dt { "Last synced" } dd { @match row.synced_at { Some(at) => (format::when(at, now)), None => "never" } } }
            div { dt { "Last asked by" } dd { code { (row.event_type) } } }
            div { dt { "Asked for" } dd { (format::plural(u64::try_from(row.generation).unwrap_or(0), "time", "times")) } }
            @for (name, fact) in memory.facts() { div { dt { (capital(name)) } dd { (fact) } } }
            @if let Some(at) = memory.missing_since { div { dt { "No usable address" } dd { "since " (format::when(at, now)) } } }
            @if let Some(at) = row.check_at { div { dt { "Looked at again" } dd { (format::when(at, now)) } } }
            @if row.held_back { div { dt { "Held back" } dd { "a change, by sync.dry_run or the removal guard" } } }
            @if !row.tags_held.is_empty() { div { dt { "Tags held" } dd { (row.tags_held.join(", ")) } } }
        }
    }
}

/// `address` as `Address`.
fn capital(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
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
                                (format::when(row.last_at, now))
                                @if row.times > 1 {
                                    p.muted { (format::number(row.times.into())) " times since " (format::when(row.first_at, now)) }
                                }
                                @if row.unchanged_times > 0 {
                                    p.muted { "then " (format::number(row.unchanged_times.into())) " times unchanged" }
                                }
                            }
                            td data-label="Outcome" {
                                (user_table::outcome(&row.outcome, &row.reason))
                                @if row.held_back { p.muted { "held back by sync.dry_run or the removal guard" } }
                                @if let Some(error) = &row.error {
                                    p.error { (error) }
                                }
                            }
                            td data-label="Changed" { (changes(row)) }
                            td data-label="Because of" { code { (row.event_type) } }
                            td.number data-label="Try" { (row.attempt) }
                            td.number data-label="ms" { (format::number(row.ms)) }
                        }
                    }
                }
            }
        }
    }
}

fn changes(row: &HistoryRow) -> Markup {
    let fields: Vec<&str> = row.changed.iter().map(String::as_str).filter(|field| *field != "tags").collect();
    let nothing = fields.is_empty()
        && row.tags_added.is_empty()
        && row.tags_removed.is_empty()
        && row.tags_held.is_empty();
    html! {
        @if nothing { "–" } @else {
            ul.changes {
                @for field in fields { li { (field) } }
                @for tag in &row.tags_added { li { ins { (tag) } } }
                @for tag in &row.tags_removed { li { del { (tag) } } }
                @for tag in &row.tags_held { li { "held: " (tag) } }
            }
        }
    }
}
