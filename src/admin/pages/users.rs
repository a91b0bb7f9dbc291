//! Users by state, page by page.

use axum::extract::{RawQuery, State as Shared};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use super::flash::Flash;
use super::{At, failed, people};
use crate::admin::desk::{Filter, Row, State};
use crate::admin::fields::{Fields, with_query};
use crate::admin::guard::{Here, Visitor};
use crate::user::UserId;

/// So many users on a page.
pub(super) const ON_A_PAGE: usize = 50;

pub(crate) async fn show(
    Visitor(session): Visitor,
    Shared(office): Here,
    RawQuery(query): RawQuery,
) -> Response {
    let fields = Fields::parse(query.unwrap_or_default().as_bytes());
    let state =
        fields.get("state").and_then(|word| State::ALL.into_iter().find(|state| state.as_str() == word));
    let after = fields.get("after").and_then(|id| UserId::new(id).ok());
    let filter = Filter { state, reason: None, after: after.clone(), limit: ON_A_PAGE + 1 };
    let rows = match office.desk.users(filter).await {
        Ok(rows) => rows,
        Err(error) => return failed(&session, &error),
    };
    let name = |state: State| (state.as_str().into(), after.as_ref().map(|id| id.as_str().into()));
    let (of_state, of_after) = state.map_or((None, None), |state| {
        let (a, b) = name(state);
        (Some(a), b)
    });
    let back = with_query("/admin/users", [("state", of_state), ("after", of_after)]);
    let (rows, more) = pages(&rows, |last| {
        with_query(
            "/admin/users",
            [("state", state.map(|it| it.as_str().into())), ("after", Some(last.into()))],
        )
    });
    let body = html! {
        h1 { "Users" }
        nav.filter aria-label="State" {
            a href="/admin/users" aria-current=[state.is_none().then_some("true")] { "all" }
            @for one in State::ALL {
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
pub(super) fn pages(rows: &[Row], next: impl FnOnce(&str) -> String) -> (&[Row], Markup) {
    let Some((shown, _)) = rows.split_at_checked(ON_A_PAGE).filter(|(_, rest)| !rest.is_empty()) else {
        return (rows, html! {});
    };
    let href = shown.last().map(|last| next(last.user.as_str())).unwrap_or_default();
    (shown, html! { p.more { a href=(href) rel="next" { "More" } } })
}
