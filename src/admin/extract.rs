//! What stands before every handler: the headers of each answer, the session, the forms, and the user id of a path.

use std::sync::Arc;

use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, COOKIE, HOST, ORIGIN, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;

use super::fields::Fields;
use super::pages::{layout, login};
use super::session::{LASTS, Session};
use super::state::AdminState;
use crate::server::{BodyError, whole};
use crate::user::{UserId, UserIdError};

/// The cookie that holds a session.
const COOKIE_NAME: &str = "sesamy_mailmojo_admin";

/// The longest form, in bytes: a user id or a reason, percent-encoded, and the form's token.
const FORM_LIMIT: usize = 16 * 1024;

/// Only our own style, script and pictures; forms go nowhere else; no other site may frame a page of ours.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; \
     frame-ancestors 'none'; base-uri 'none'",
);

/// Puts the headers on every answer.
pub(super) async fn every_answer(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// A request with a session; without one it is sent to the login.
#[derive(Debug)]
pub(super) struct LoggedIn(pub Session);

impl FromRequestParts<Arc<AdminState>> for LoggedIn {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<AdminState>) -> Result<Self, Response> {
        session(&parts.headers, state).map(Self).ok_or_else(|| {
            let wanted = (parts.method == Method::GET).then(|| parts.uri.path_and_query()).flatten();
            login::redirect(wanted.map(|path| path.as_str()))
        })
    }
}

/// A form that was sent from a page of ours, in the session that it was made for.
#[derive(Debug)]
pub(super) struct SignedForm {
    pub session: Session,
    pub fields: Fields,
}

impl FromRequest<Arc<AdminState>> for SignedForm {
    type Rejection = Response;

    async fn from_request(request: Request, state: &Arc<AdminState>) -> Result<Self, Response> {
        let (parts, body) = request.into_parts();
        if let Some(refusal) = refusal_of_other_sites(&parts.headers) {
            return Err(refusal);
        }
        let session = session(&parts.headers, state).ok_or_else(|| login::redirect(None))?;
        let fields = form(body, &parts.headers).await?;
        if fields.get("form").is_some_and(|sent| session.has_form(sent)) {
            Ok(Self { session, fields })
        } else {
            Err(layout::error(
                StatusCode::FORBIDDEN,
                "This form is not valid any more",
                "It was made for another session. Nothing was changed. Go back, load the page again, and send it once more.",
            ))
        }
    }
}

/// The login's form, which needs no session.
#[derive(Debug)]
pub(super) struct LoginForm(pub Fields);

impl<S: Send + Sync> FromRequest<S> for LoginForm {
    type Rejection = Response;

    async fn from_request(request: Request, _: &S) -> Result<Self, Response> {
        let (parts, body) = request.into_parts();
        if let Some(refusal) = refusal_of_other_sites(&parts.headers) {
            return Err(refusal);
        }
        form(body, &parts.headers).await.map(Self)
    }
}

/// The user id in the path of a page.
#[derive(Debug)]
pub(super) struct PageUser(pub UserId);

impl<S: Send + Sync> FromRequestParts<S> for PageUser {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let user = user_of_path(parts, state).await;
        user.map(Self).map_err(|why| layout::error(StatusCode::BAD_REQUEST, "That is no user id", why))
    }
}

/// The user id of a path, or what is wrong with it.
pub(super) async fn user_of_path<S: Send + Sync>(
    parts: &mut Parts,
    state: &S,
) -> Result<UserId, &'static str> {
    const NOT_TEXT: &str = "the user id in the path is not UTF-8 when it is percent-decoded";
    let params = RawPathParams::from_request_parts(parts, state).await.map_err(|_| NOT_TEXT)?;
    let id = params.iter().find(|(name, _)| *name == "id").map(|(_, id)| id.to_owned()).unwrap_or_default();
    UserId::new(id).map_err(|error| match error {
        UserIdError::Empty => "the user id in the path is empty",
        UserIdError::TooLong => "the user id in the path is longer than 256 bytes",
        UserIdError::ControlCharacters => "the user id in the path has control characters",
        UserIdError::RelativePath => "the user id in the path is a relative path",
    })
}

async fn form(body: axum::body::Body, headers: &HeaderMap) -> Result<Fields, Response> {
    let body = whole(body, headers, FORM_LIMIT).await.map_err(|error| {
        let status = match error {
            BodyError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            BodyError::Late => StatusCode::REQUEST_TIMEOUT,
            BodyError::CutShort => StatusCode::BAD_REQUEST,
        };
        layout::error(
            status,
            "The form did not come whole",
            "Nothing was changed. Go back and send it once more.",
        )
    })?;
    Ok(Fields::parse(&body))
}

/// The answer to a form that another site has sent.
fn refusal_of_other_sites(headers: &HeaderMap) -> Option<Response> {
    if is_from_here(headers) {
        return None;
    }
    tracing::warn!("refused a form that another site has sent to the operations page");
    Some(layout::error(
        StatusCode::FORBIDDEN,
        "This form came from another site",
        "Nothing was changed. Forms are taken from these pages only.",
    ))
}

/// Whether a request that may change something comes from a page of ours.
///
/// `Sec-Fetch-Site` is what the browser itself says; without it, `Origin` has to name the host that was asked. A client
/// that is not a browser sends neither, and needs the session and the form's token all the same.
fn is_from_here(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    match (text("sec-fetch-site"), text(ORIGIN.as_str())) {
        (Some(site), _) => site == "same-origin",
        (None, None) => true,
        (None, Some(origin)) => {
            let host = origin.split_once("://").map(|(_, host)| host);
            host.is_some() && host == text(HOST.as_str())
        }
    }
}

fn session(headers: &HeaderMap, state: &AdminState) -> Option<Session> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut values = lines
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(name, _)| *name == COOKIE_NAME);
    let now = state.app.now();
    values.find_map(|(_, value)| state.keys.session(value, now))
}

/// `Set-Cookie` for a session with this value; without one, it ends the session.
pub(super) fn set_cookie(value: Option<&str>, state: &AdminState) -> String {
    let lasts = if value.is_some() { LASTS.as_secs() } else { 0 };
    let secure = if state.cookie_is_secure { "; Secure" } else { "" };
    let value = value.unwrap_or_default();
    format!("{COOKIE_NAME}={value}; Path=/admin; Max-Age={lasts}; HttpOnly; SameSite=Strict{secure}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_comes_from_our_own_pages_may_change_anything() {
        for (headers, expected) in [
            (&[][..], true),
            (&[("sec-fetch-site", "same-origin"), ("origin", "null")], true),
            (&[("sec-fetch-site", "cross-site")], false),
            (&[("sec-fetch-site", "same-site"), ("origin", "https://ops.example.com")], false),
            (&[("sec-fetch-site", "none")], false),
            (&[("origin", "https://ops.example.com")], true),
            (&[("origin", "https://evil.example.com")], false),
            (&[("origin", "https://ops.example.com.evil.example")], false),
            (&[("origin", "null")], false),
            (&[("origin", "ops.example.com")], false),
        ] {
            let mut map = HeaderMap::new();
            map.insert(HOST, HeaderValue::from_static("ops.example.com"));
            for (name, value) in headers {
                map.insert(*name, HeaderValue::from_static(value));
            }
            assert_eq!(is_from_here(&map), expected, "{headers:?}");
        }
    }
}
