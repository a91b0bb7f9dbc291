//! One user: what is to be done, what was done, and what a sync would do now.

use axum::extract::{RawQuery, State as Shared};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use super::flash::Flash;
use super::{At, Whom, button, failed, form_token, people, preview, words};
use crate::admin::failure::Failure;
use crate::admin::fields::Fields;
use crate::admin::guard::{Here, Visitor};
use crate::admin::session::Session;
use crate::clock::Millis;
use crate::operations::preview::Preview;
use crate::operations::{FORGOTTEN, Remembered};
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
    let is_forgotten = match row {
        Some(_) => false,
        None => match office.is_forgotten(&user).await {
            Ok(is_forgotten) => is_forgotten,
            Err(failure) => return failed(&session, &failure),
        },
    };
    // Only when it is asked for: it costs calls to both APIs.
    let preview = match fields.get("preview") {
        Some(_) => Some(office.preview(&user).await),
        None => None,
    };
    let status = match (&row, &preview) {
        _ if is_forgotten => StatusCode::GONE,
        (None, None) => StatusCode::NOT_FOUND,
        _ => StatusCode::OK,
    };
    let told = Told { user: &user, row: row.as_ref(), is_forgotten, history: &history, now: office.now() };
    let body = body(&session, &told, preview.as_ref());
    let title = format!("User {}", user.as_str());
    (status, super::page(&title, At::Users, Some(&session), Flash::of(&fields), body)).into_response()
}

/// What is known of the user.
struct Told<'a> {
    user: &'a UserId,
    row: Option<&'a UserRow>,
    is_forgotten: bool,
    /// The latest first.
    history: &'a [HistoryRow],
    now: Millis,
}

fn body(session: &Session, told: &Told<'_>, preview: Option<&Result<Preview, Failure>>) -> Markup {
    let Told { user, row, is_forgotten, history, now } = *told;
    let address = people::page_of(user.as_str());
    html! {
        section.card aria-label="State" {
            div.verdict {
                h1.id { (user.as_str()) }
                @if let Some(row) = row { (people::badge(row.state)) }
                div.buttons {
                    @if !is_forgotten {
                        (button(session, &format!("{address}/sync"), &address, &[], "primary", html! { "Sync now" }))
                    }
                    @if let Some(row) = row.filter(|row| people::can_be_retried(row)) {
                        (people::retry(row, session, &address))
                    }
                    @if !is_forgotten { a.button href={ (address) "?preview=1#preview" } { "Preview" } }
                }
            }
            @match row {
                Some(row) => { (state(row, now)) }
                None if is_forgotten => p { "This user " (FORGOTTEN) "." },
                None => p { (Failure::UnknownUser.to_string()) "." },
            }
            @if let Some(why) = told.why_again() {
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
                @if history.is_empty() { p.empty { "No sync is remembered." } } @else { (table(history, now)) }
            }
        }
        section.card aria-labelledby="forget" {
            h2 #forget { "Forget" }
            (forget(session, &address, is_forgotten))
        }
    }
}

impl Told<'_> {
    /// Why only a sync that takes the user up again would put anybody on the list; none where any sync would.
    fn why_again(&self) -> Option<&'static str> {
        let last = self.history.first().map_or("", |row| row.reason.as_str());
        match (self.is_forgotten, last) {
            (true, _) => Some("To sync again takes the user up again, as one who was never known."),
            (_, "removed_in_mailmojo") => Some(
                "Somebody has removed the contact in Mailmojo, so it is not made again. To sync again makes it after all.",
            ),
            _ if last == "left_under_old_address" || self.row.is_some_and(|row| row.memory.has_left) => Some(
                "The user has left under an address of before, so the new one is not put on the list. To sync again does so after all.",
            ),
            _ => None,
        }
    }
}

/// Behind a fold, so that nobody does it in passing, and with a box to tick, for there is no way back.
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
            @for (name, fact) in Remembered::from(&row.memory).facts() { div { dt { (capital(name)) } dd { (fact) } } }
            @if let Some(at) = row.memory.missing_since { div { dt { "No usable address" } dd { "since " (words::when(at, now)) } } }
            @if let Some(at) = row.check_at { div { dt { "Looked at again" } dd { (words::when(at, now)) } } }
            @if row.held_back { div { dt { "Held back" } dd { "a change, by sync.dry_run or the brake" } } }
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
