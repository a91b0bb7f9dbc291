//! What stands before every page: the headers of each answer, the cookie, the forms, and where a request comes from.

use std::sync::Arc;

use axum::extract::{FromRequest, FromRequestParts, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, COOKIE, HOST, ORIGIN, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;

use super::fields::Fields;
use super::office::Office;
use super::pages;
use super::session::Session;
use crate::server::{BodyError, whole};

/// The cookie that holds a session.
const COOKIE_NAME: &str = "sesamy_mailmojo_admin";

/// The longest form, in bytes: a user id or a reason, percent-encoded, and the form's token.
const FORM_LIMIT: usize = 16 * 1024;

/// Only our own style, script and pictures; forms go nowhere else; nobody may put a page of ours into one of theirs.
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
pub(super) struct Visitor(pub Session);

impl FromRequestParts<Arc<Office>> for Visitor {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, office: &Arc<Office>) -> Result<Self, Response> {
        session(&parts.headers, office).map(Self).ok_or_else(|| {
            let wanted = (parts.method == Method::GET).then(|| parts.uri.path_and_query()).flatten();
            pages::login::first(wanted.map(|path| path.as_str()))
        })
    }
}

/// A form that was sent from a page of ours, in the session that it was made for.
#[derive(Debug)]
pub(super) struct Submitted {
    /// Whose session.
    pub session: Session,
    /// What is in it.
    pub fields: Fields,
}

impl FromRequest<Arc<Office>> for Submitted {
    type Rejection = Response;

    async fn from_request(request: Request, office: &Arc<Office>) -> Result<Self, Response> {
        let (parts, body) = request.into_parts();
        if let Some(refusal) = refusal_of_other_sites(&parts.headers) {
            return Err(refusal);
        }
        let session = session(&parts.headers, office).ok_or_else(|| pages::login::first(None))?;
        let fields = form(body, &parts.headers).await?;
        if fields.get("form").is_some_and(|sent| session.has_form(sent)) {
            Ok(Self { session, fields })
        } else {
            Err(pages::error(
                StatusCode::FORBIDDEN,
                "This form is not valid any more",
                "It was made for another session. Nothing was changed. Go back, load the page again, and send it once more.",
            ))
        }
    }
}

/// A form that needs no session: the login's.
#[derive(Debug)]
pub(super) struct Unsigned(pub Fields);

impl FromRequest<Arc<Office>> for Unsigned {
    type Rejection = Response;

    async fn from_request(request: Request, _: &Arc<Office>) -> Result<Self, Response> {
        let (parts, body) = request.into_parts();
        if let Some(refusal) = refusal_of_other_sites(&parts.headers) {
            return Err(refusal);
        }
        form(body, &parts.headers).await.map(Self)
    }
}

async fn form(body: axum::body::Body, headers: &HeaderMap) -> Result<Fields, Response> {
    let body = whole(body, headers, FORM_LIMIT).await.map_err(|error| {
        let status = match error {
            BodyError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            BodyError::Late => StatusCode::REQUEST_TIMEOUT,
            BodyError::CutShort => StatusCode::BAD_REQUEST,
        };
        pages::error(
            status,
            "The form did not come whole",
            "Nothing was changed. Go back and send it once more.",
        )
    })?;
    Ok(Fields::parse(&body))
}

/// The answer to a form that does not come from a page of ours.
fn refusal_of_other_sites(headers: &HeaderMap) -> Option<Response> {
    if is_from_here(headers) {
        return None;
    }
    tracing::warn!("refused a form that another site has sent to the operations page");
    Some(pages::error(
        StatusCode::FORBIDDEN,
        "This form came from another site",
        "Nothing was changed. Forms are taken from these pages only.",
    ))
}

/// Whether a request that may change something comes from a page of ours.
///
/// `Sec-Fetch-Site` is what the browser itself says; where it says nothing, `Origin` has to name the host that was asked.
/// What is no browser sends neither, and needs the session and the form's token all the same.
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

fn session(headers: &HeaderMap, office: &Office) -> Option<Session> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut values = lines
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(name, _)| *name == COOKIE_NAME);
    let now = office.now();
    values.find_map(|(_, value)| office.keys.session(value, now))
}

/// `Set-Cookie` for a session with this value; one that is over at once where there is none.
pub(super) fn set_cookie(value: Option<&str>, office: &Office) -> String {
    let lasts = if value.is_some() { super::session::LASTS.as_secs() } else { 0 };
    let secure = if office.cookie_is_secure { "; Secure" } else { "" };
    let value = value.unwrap_or_default();
    format!("{COOKIE_NAME}={value}; Path=/admin; Max-Age={lasts}; HttpOnly; SameSite=Strict{secure}")
}

/// What every handler works with.
pub(super) type Here = State<Arc<Office>>;

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
