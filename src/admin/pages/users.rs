//! Users by state, page by page.

use axum::extract::{self, RawQuery};
use axum::response::{Html, IntoResponse, Response};
use maud::{Markup, html};

use super::flash::Flash;
use super::layout::{self, At};
use super::user_table;
use crate::admin::extract::LoggedIn;
use crate::admin::fields::{Fields, with_query};
use crate::admin::session::Session;
use crate::admin::state::Shared;
use crate::queue::{Filter, RowState};
use crate::user::UserId;

/// The users of one page.
pub(super) const ON_A_PAGE: usize = 50;

pub(crate) async fn show(
    LoggedIn(session): LoggedIn,
    extract::State(admin): Shared,
    RawQuery(query): RawQuery,
) -> Response {
    let fields = Fields::parse(query.unwrap_or_default().as_bytes());
    let state = fields.get("state").and_then(RowState::named);
    let after = fields.get("after");
    let filter = Filter { state, reason: None, after: after.map(str::to_owned), limit: ON_A_PAGE };
    let page = match admin.app.users(filter).await {
        Ok(page) => page,
        Err(error) => return layout::failed(&session, &error.into()),
    };
    let address = |after: Option<&str>| {
        with_query(
            "/admin/users",
            [("state", state.map(|it| it.as_str().into())), ("after", after.map(Into::into))],
        )
    };
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
            @if page.users.is_empty() { p.empty { "Nobody." } }
            @else { (user_table::table("Users", &page.users, &session, &address(after), admin.app.now())) }
            @if let Some(next) = &page.next { (more(&address(Some(next)))) }
        }
    };
    layout::page("Users", At::Users, Some(&session), Flash::of(&fields), body).into_response()
}

/// The way to the next page.
pub(super) fn more(address: &str) -> Markup {
    html! { p.more { a href=(address) rel="next" { "More" } } }
}

/// Several users who have the same address.
pub(crate) fn choice(session: &Session, users: &[UserId]) -> Html<String> {
    let body = html! {
        section.card aria-labelledby="several" {
            h1 #several { "Several users have this address" }
            ul {
                @for user in users {
                    li { a.id href=(user_table::page_of(user.as_str())) { (user.as_str()) } }
                }
            }
        }
    };
    layout::page("Several users", At::Users, Some(session), None, body)
}
