//! What all pages have around them: the menu, the forms' parts, and the pages that only say what went wrong.

use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};

use super::flash::Flash;
use crate::admin::error::headline;
use crate::admin::session::Session;
use crate::app::AppError;

/// The page of the menu that is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    Overview,
    Parked,
    Users,
    Settings,
    Nowhere,
}

/// A whole page. Without a session there is no menu.
pub(super) fn page(
    title: &str,
    at: At,
    session: Option<&Session>,
    flash: Option<Flash>,
    body: Markup,
) -> Html<String> {
    let menu = [
        (At::Overview, "/admin", "Overview"),
        (At::Parked, "/admin/parked", "Parked"),
        (At::Users, "/admin/users", "Users"),
        (At::Settings, "/admin/settings", "Settings"),
    ];
    let page = html! {
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
                        p.flash.{ (flash.tone().class()) } role="status" { (flash.text()) }
                    }
                    (body)
                }
            }
        }
    };
    Html(page.into_string())
}

/// What makes a form ours.
pub(super) fn form_token(session: &Session) -> Markup {
    html! { input type="hidden" name="form" value=(session.form_token()); }
}

/// A form of one button. `back` is where its answer leads.
pub(super) fn button(
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
pub(crate) fn error(status: StatusCode, title: &str, text: &str) -> Response {
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
pub(crate) fn failed(session: &Session, error: &AppError) -> Response {
    let (status, title) = headline(error);
    let body = sorry(title, &error.to_string());
    (status, page(title, At::Nowhere, Some(session), None, body)).into_response()
}

pub(crate) async fn no_such_page() -> Response {
    error(StatusCode::NOT_FOUND, "There is no such page", "The address is not one of ours.")
}

pub(crate) async fn wrong_method() -> Response {
    error(
        StatusCode::METHOD_NOT_ALLOWED,
        "Not with this method",
        "What changes something is a form on one of the pages, and is sent by POST.",
    )
}
