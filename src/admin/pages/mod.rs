//! The pages: what each shows. They are made whole on the server, and whatever comes from elsewhere is escaped by the
//! templates.

pub(super) mod chart;
pub(super) mod flash;
pub(super) mod login;
pub(super) mod overview;
pub(super) mod parked;
mod people;
mod preview;
pub(super) mod settings;
pub(super) mod user;
pub(super) mod users;
mod words;

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};

use self::flash::Flash;
pub(super) use self::people::page_of;
use super::api::user_of_path;
use super::failure::Failure;
use super::office::Office;
use super::session::Session;
use crate::user::UserId;

/// Which of the pages in the menu one is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Overview,
    Parked,
    Users,
    Settings,
    Nowhere,
}

/// A page that can be sent.
#[derive(Debug)]
pub(super) struct Page(Markup);

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        ([(CONTENT_TYPE, "text/html; charset=utf-8")], self.0.into_string()).into_response()
    }
}

/// What all pages have around them. Without a session there is no menu.
fn page(title: &str, at: At, session: Option<&Session>, flash: Option<Flash>, body: Markup) -> Page {
    let menu = [
        (At::Overview, "/admin", "Overview"),
        (At::Parked, "/admin/parked", "Parked"),
        (At::Users, "/admin/users", "Users"),
        (At::Settings, "/admin/settings", "Settings"),
    ];
    Page(html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · sesamy-mailmojo" }
                link rel="icon" href="/admin/assets/icon.svg" type="image/svg+xml";
                link rel="stylesheet" href="/admin/assets/style.css";
                @if at == At::Overview { script src="/admin/assets/refresh.js" defer {} }
            }
            body {
                a.skip href="#content" { "Skip to the content" }
                header.top {
                    a.brand href="/admin" {
                        img src="/admin/assets/icon.svg" alt="" width="22" height="22";
                        span { "sesamy-mailmojo" }
                    }
                    @if let Some(session) = session {
                        nav aria-label="Pages" {
                            @for (page, href, name) in menu {
                                a href=(href) aria-current=[(page == at).then_some("page")] { (name) }
                            }
                        }
                        form.logout method="post" action="/admin/logout" {
                            (form_token(session))
                            button.quiet type="submit" { "Log out" }
                        }
                    }
                }
                main #content tabindex="-1" {
                    @if let Some(flash) = flash {
                        p.flash.{ (flash.tone()) } role="status" { (flash.text()) }
                    }
                    (body)
                }
            }
        }
    })
}

/// What makes a form ours.
fn form_token(session: &Session) -> Markup {
    html! { input type="hidden" name="form" value=(session.form_token()); }
}

/// A form of one button. `back` is where its answer leads.
fn button(
    session: &Session,
    action: &str,
    back: &str,
    extra: &[(&str, &str)],
    class: &str,
    label: Markup,
) -> Markup {
    html! {
        form.inline method="post" action=(action) {
            (form_token(session))
            input type="hidden" name="back" value=(back);
            @for (name, value) in extra { input type="hidden" name=(name) value=(value); }
            button class=(class) type="submit" { (label) }
        }
    }
}

/// A page that only says what went wrong.
pub(super) fn error(status: StatusCode, title: &str, text: &str) -> Response {
    (status, page(title, At::Nowhere, None, None, sorry(title, text))).into_response()
}

fn sorry(title: &str, text: &str) -> Markup {
    html! {
        section.card.sorry {
            h1 { (title) }
            p { (text) }
            p { a href="/admin" { "To the overview" } }
        }
    }
}

/// What could not be done, and why.
pub(super) fn failed(session: &Session, failure: &Failure) -> Response {
    let (status, title) = failure.headline();
    (status, page(title, At::Nowhere, Some(session), None, sorry(title, &failure.to_string())))
        .into_response()
}

pub(super) async fn no_such_page() -> Response {
    error(StatusCode::NOT_FOUND, "There is no such page", "The address is not one of ours.")
}

pub(super) async fn wrong_method() -> Response {
    error(
        StatusCode::METHOD_NOT_ALLOWED,
        "Not with this method",
        "What changes something is a form on one of the pages, and is sent by POST.",
    )
}

/// The user id of a path.
#[derive(Debug)]
pub(super) struct Whom(pub UserId);

impl FromRequestParts<Arc<Office>> for Whom {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, office: &Arc<Office>) -> Result<Self, Response> {
        let user = user_of_path(parts, office).await;
        user.map(Self).map_err(|what| error(StatusCode::BAD_REQUEST, "That is no user id", what))
    }
}
