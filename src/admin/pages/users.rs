//! Users by state, page by page.

use axum::extract::{RawQuery, State as Shared};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use super::flash::Flash;
use super::{At, failed, people};
use crate::admin::fields::{Fields, with_query};
use crate::admin::guard::{Here, Visitor};
use crate::admin::session::Session;
use crate::queue::{Filter, RowState, UserRow};
use crate::user::UserId;

/// So many users on a page.
pub(super) const ON_A_PAGE: usize = 50;

pub(crate) async fn show(
    Visitor(session): Visitor,
    Shared(office): Here,
    RawQuery(query): RawQuery,
) -> Response {
    let fields = Fields::parse(query.unwrap_or_default().as_bytes());
    let state = fields.get("state").and_then(RowState::named);
    let after = fields.get("after");
    let filter = Filter { state, reason: None, after: after.map(str::to_owned), limit: ON_A_PAGE + 1 };
    let rows = match office.operator.hand.queue.rows(&filter).await {
        Ok(rows) => rows,
        Err(error) => return failed(&session, &error.into()),
    };
    let address = |after: Option<&str>| {
        with_query(
            "/admin/users",
            [("state", state.map(|it| it.as_str().into())), ("after", after.map(Into::into))],
        )
    };
    let back = address(after);
    let (rows, more) = pages(&rows, |last| address(Some(last)));
    let body = html! {
        h1 { "Users" }
        nav.filter aria-label="State" {
            a href="/admin/users" aria-current=[state.is_none().then_some("true")] { "all" }
            @for one in RowState::ALL {
                a href=(with_query("/admin/users", [("state", Some(one.as_str().into()))]))
                    aria-current=[(state == Some(one)).then_some("true")] { (one.as_str()) }
            }
        }
        section.card aria-label="Users" {
            @if rows.is_empty() { p.empty { "Nobody." } }
            @else { (people::table("Users", rows, &session, &back, office.now())) }
            (more)
        }
    };
    super::page("Users", At::Users, Some(&session), Flash::of(&fields), body).into_response()
}

/// Those that fit on a page, and the way to the next one.
pub(super) fn pages(rows: &[UserRow], next: impl FnOnce(&str) -> String) -> (&[UserRow], Markup) {
    let Some((shown, _)) = rows.split_at_checked(ON_A_PAGE).filter(|(_, rest)| !rest.is_empty()) else {
        return (rows, html! {});
    };
    let href = shown.last().map(|last| next(&last.user)).unwrap_or_default();
    (shown, html! { p.more { a href=(href) rel="next" { "More" } } })
}

/// Several users who have the same address.
pub(crate) fn choice(session: &Session, users: &[UserId]) -> super::Page {
    let body = html! {
        section.card aria-labelledby="several" {
            h1 #several { "Several users have this address" }
            ul { @for user in users { li { a.id href=(people::page_of(user.as_str())) { (user.as_str()) } } } }
        }
    };
    super::page("Several users", At::Users, Some(session), None, body)
}
