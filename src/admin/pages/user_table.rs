//! Tables of users, as several pages show them.

use maud::{Markup, html};

use super::format::{self, Tone, tone_of};
use super::layout::button;
use crate::admin::session::Session;
use crate::clock::Millis;
use crate::queue::{RowState, UserRow};
use crate::upstream::encoded;

/// The address of a user's page.
pub(crate) fn page_of(user: &str) -> String {
    format!("/admin/users/{}", encoded(user))
}

/// A state, by a sign and a word.
pub(super) fn badge(state: RowState) -> Markup {
    let tone = match state {
        RowState::Due | RowState::Leased | RowState::Scheduled => Tone::Plain,
        RowState::Failing | RowState::Held | RowState::Parked => Tone::Warn,
        RowState::Idle => Tone::Good,
    };
    html! { span.badge.{ (tone.class()) } { (state.as_str()) } }
}

/// How a sync ended, by a sign and a word.
pub(super) fn outcome(outcome: &str, reason: &str) -> Markup {
    html! {
        span.badge.{ (tone_of(outcome).class()) } { (outcome) }
        @if !reason.is_empty() { " " span.muted { (reason) } }
    }
}

/// A table of users. A user who is parked or waits for a retry can be retried from it.
pub(super) fn table(caption: &str, rows: &[UserRow], session: &Session, back: &str, now: Millis) -> Markup {
    html! {
        div.scroll {
            table {
                caption.unseen { (caption) }
                thead { tr {
                    th scope="col" { "User" } th scope="col" { "State" } th scope="col" { "When" }
                    th scope="col" { "What failed" } th scope="col" { span.unseen { "Action" } }
                } }
                tbody {
                    @for row in rows {
                        tr {
                            th scope="row" { a.id href=(page_of(&row.user)) { (row.user) } }
                            td data-label="State" { (badge(row.state)) }
                            td data-label="When" { (since(row, now)) }
                            td.error data-label="What failed" { (row.error.as_deref().unwrap_or("–")) }
                            td.action { @if can_be_retried(row) { (retry(row, session, back)) } }
                        }
                    }
                }
            }
        }
    }
}

/// Whether "retry" would change anything.
pub(super) fn can_be_retried(row: &UserRow) -> bool {
    matches!(row.state, RowState::Parked | RowState::Failing)
}

pub(super) fn retry(row: &UserRow, session: &Session, back: &str) -> Markup {
    let action = format!("{}/retry", page_of(&row.user));
    let label = html! { "Retry" span.unseen { " " (row.user) } };
    button(session, &action, back, &[], "", label)
}

fn since(row: &UserRow, now: Millis) -> Markup {
    html! {
        @match (row.parked_at, row.due_at, row.synced_at) {
            (Some(at), _, _) => { (format::when(at, now)) }
            (None, Some(at), _) => { (format::when(at, now)) }
            (None, None, Some(at)) => { span { "synced " (format::when(at, now)) } }
            (None, None, None) => "–",
        }
    }
}
