//! The login: one field for one of the tokens.

use axum::extract::RawQuery;
use axum::response::{Html, IntoResponse, Redirect, Response};
use maud::html;

use super::layout::{self, At};
use crate::admin::fields::{Fields, local, with_query};

pub(crate) async fn show(RawQuery(query): RawQuery) -> Html<String> {
    let fields = Fields::parse(query.unwrap_or_default().as_bytes());
    page(None, fields.get("back"))
}

/// Leads to the login, and from there to the page that was `wanted`.
pub(crate) fn redirect(wanted: Option<&str>) -> Response {
    let back = wanted.filter(|wanted| *wanted != "/admin").map(Into::into);
    Redirect::to(&with_query("/admin/login", [("back", back)])).into_response()
}

/// The page, with the reason why the last try failed.
pub(crate) fn page(why: Option<&str>, back: Option<&str>) -> Html<String> {
    let body = html! {
        section.card.login {
            h1 { "Log in" }
            p.muted { "With one of the tokens in " code { "admin.tokens" } "." }
            form method="post" action="/admin/login" {
                input type="hidden" name="back" value=(local(back));
                input type="text" name="username" value="operator" autocomplete="username" hidden; // for password managers
                label for="token" { "Token" }
                input #token type="password" name="token" required autofocus autocomplete="current-password"
                    spellcheck="false" aria-describedby=[why.map(|_| "why")] aria-invalid=[why.map(|_| "true")];
                @if let Some(why) = why { p.bad #why role="alert" { (why) } }
                button.primary type="submit" { "Log in" }
            }
        }
    };
    layout::page("Log in", At::Nowhere, None, None, body)
}
