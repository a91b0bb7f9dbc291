//! The JSON API, for programs: `Authorization: Bearer` with one of `admin.tokens`. A session's cookie does not open it, so
//! no page of another site can use it through an operator's browser.
//!
//! Errors are problem documents. The names in here are a contract; the README has them.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, RawQuery, Request, State};
use axum::http::request::Parts;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::error;
use super::extract::user_of_path;
use super::fields::Fields;
use super::pages::chart::Span;
use super::state::{AdminState, Shared};
use crate::app::{Again, AppError, Forgotten, Page, Preview, ServiceStatus, Synced, User};
use crate::config::{self, duration};
use crate::queue::{Filter, Retry, RowState, UserRow};
use crate::server::problem::{Kind, problem};
use crate::server::{BodyError, bearer, whole};
use crate::user::UserId;

/// The most rows of one answer, and the default.
const MOST_ROWS: usize = 500;
const ROWS: usize = 100;
/// The longest body, in bytes.
const BODY_LIMIT: usize = 16 * 1024;

pub(super) fn router(state: Arc<AdminState>) -> Router {
    Router::new()
        .route("/status", get(status))
        .route("/users", get(users))
        .route("/users/{id}", get(user))
        .route("/users/{id}/preview", get(preview))
        .route("/users/{id}/sync", post(sync))
        .route("/users/{id}/retry", post(retry_one))
        .route("/users/{id}/forget", post(forget))
        .route("/parked", get(parked))
        .route("/queue/retry", post(retry_many))
        .route("/queue/pause", post(pause))
        .route("/queue/resume", post(resume))
        .route("/counts", get(counts))
        .route("/settings", get(settings))
        .fallback(no_such_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(state.clone(), only_with_a_token))
        .with_state(state)
}

/// The first check, so that without a token not even the existence of a path shows.
async fn only_with_a_token(State(state): Shared, request: Request, next: Next) -> Response {
    let lines = request.headers().get_all(axum::http::header::AUTHORIZATION);
    let is_admitted =
        lines.iter().filter_map(|line| bearer(line.as_bytes())).any(|token| state.keys.admit(token));
    if is_admitted {
        next.run(request).await
    } else {
        problem(Kind::Unauthorized, "send the header Authorization: Bearer with one of admin.tokens")
    }
}

/// Why a request was not answered as asked.
enum Refusal {
    Wrong(&'static str),
    Body(BodyError),
    Failed(AppError),
}

type JsonResult<T> = Result<Json<T>, Refusal>;

impl<E: Into<AppError>> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Wrong(detail) => problem(Kind::InvalidRequest, detail),
            Self::Body(BodyError::TooLarge { .. }) => problem(Kind::BodyTooLarge, "the body is over 16 KiB"),
            Self::Body(error @ BodyError::Late) => problem(Kind::BodyTimeout, &error.to_string()),
            Self::Body(error @ BodyError::CutShort) => problem(Kind::InvalidRequest, &error.to_string()),
            Self::Failed(error) => problem(error::kind(&error), &error.to_string()),
        }
    }
}

/// The user id of a path.
struct PathUser(UserId);

impl<S: Send + Sync> FromRequestParts<S> for PathUser {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        user_of_path(parts, state).await.map(Self).map_err(Refusal::Wrong)
    }
}

/// A body within the limit.
struct Body(Bytes);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refusal> {
        let (parts, body) = request.into_parts();
        whole(body, &parts.headers, BODY_LIMIT).await.map(Self).map_err(Refusal::Body)
    }
}

impl Body {
    /// The value of `name`, which has to be the only field; `None` for an empty body. Read by hand: a derived reader would
    /// take `[true]` for an object.
    fn only_field<T>(
        &self,
        name: &str,
        read: impl FnOnce(&Value) -> Option<T>,
        wanted: &'static str,
    ) -> Result<Option<T>, Refusal> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let fields: Option<Map<String, Value>> = serde_json::from_slice(&self.0).ok();
        let value = fields.filter(|fields| fields.len() == 1).and_then(|mut fields| fields.remove(name));
        value.as_ref().and_then(read).map(Some).ok_or(Refusal::Wrong(wanted))
    }
}

/// The fields of a query that has no other names than `known`; `wrong` says so if it has.
fn query(query: Option<&str>, known: &[&str], wrong: &'static str) -> Result<Fields, Refusal> {
    let fields = Fields::parse(query.unwrap_or_default().as_bytes());
    if fields.unknown(known) { Err(Refusal::Wrong(wrong)) } else { Ok(fields) }
}

async fn status(State(state): Shared) -> Json<ServiceStatus> {
    Json(state.app.service_status().await)
}

async fn users(State(state): Shared, RawQuery(query): RawQuery) -> JsonResult<Page<UserRow>> {
    Ok(Json(state.app.users(filter(query.as_deref())?).await?))
}

fn filter(sent: Option<&str>) -> Result<Filter, Refusal> {
    let wrong = "the query has a name that is none of state, reason, after and limit";
    let fields = query(sent, &["state", "reason", "after", "limit"], wrong)?;
    let state = fields.get("state").map(|word| {
        RowState::named(word)
            .ok_or(Refusal::Wrong("state is none of due, leased, scheduled, failing, held, parked and idle"))
    });
    let limit = fields.get("limit").map_or(Ok(ROWS), |limit| {
        let number = limit.parse().ok().filter(|number| (1..=MOST_ROWS).contains(number));
        number.ok_or(Refusal::Wrong("limit is not a whole number from 1 to 500"))
    })?;
    Ok(Filter {
        state: state.transpose()?,
        reason: fields.get("reason").map(str::to_owned),
        after: fields.get("after").map(str::to_owned),
        limit,
    })
}

async fn user(State(state): Shared, PathUser(user): PathUser) -> JsonResult<User> {
    Ok(Json(state.app.user(&user).await?))
}

async fn preview(State(state): Shared, PathUser(user): PathUser) -> JsonResult<Preview> {
    Ok(Json(state.app.preview(&user).await?))
}

async fn sync(
    State(state): Shared,
    PathUser(user): PathUser,
    RawQuery(sent): RawQuery,
) -> JsonResult<Synced> {
    let fields = query(sent.as_deref(), &["again"], "the query has a name that is not again")?;
    let again = match fields.get("again") {
        None | Some("false") => Again::No,
        Some("true") => Again::Yes,
        Some(_) => return Err(Refusal::Wrong("again is neither true nor false")),
    };
    Ok(Json(state.sync(user, again).await?))
}

async fn retry_one(State(state): Shared, PathUser(user): PathUser) -> JsonResult<Value> {
    state.app.user(&user).await?;
    Ok(retried(state.app.retry_one(user).await?))
}

async fn forget(State(state): Shared, PathUser(user): PathUser, body: Body) -> JsonResult<Forgotten> {
    let wanted = r#"the body is neither empty nor {"mailmojo": true} or {"mailmojo": false}"#;
    let mailmojo = body.only_field("mailmojo", Value::as_bool, wanted)?.unwrap_or(false);
    Ok(Json(state.forget(user, mailmojo).await?))
}

async fn parked(State(state): Shared) -> JsonResult<Value> {
    Ok(Json(json!({ "reasons": state.app.parked().await? })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RetryBody {
    /// A part of the error or the answer.
    reason: Option<String>,
    /// The whole answer.
    answer: Option<String>,
    all_parked: Option<bool>,
}

async fn retry_many(State(state): Shared, Body(body): Body) -> JsonResult<Value> {
    const WANTED: &str = r#"the body is none of {"reason":"…"}, {"answer":"…"} and {"all_parked":true}"#;
    let asked: RetryBody = serde_json::from_slice(&body).map_err(|_| Refusal::Wrong(WANTED))?;
    let is_given = |text: &String| !text.trim().is_empty();
    let retry = match (asked.reason, asked.answer, asked.all_parked) {
        (Some(reason), None, None) if is_given(&reason) => Retry::Reason(reason),
        (None, Some(answer), None) if is_given(&answer) => Retry::Answer(answer),
        (None, None, Some(true)) => Retry::AllParked,
        _ => return Err(Refusal::Wrong(WANTED)),
    };
    Ok(retried(state.app.retry(retry).await?))
}

fn retried(users: u64) -> Json<Value> {
    Json(json!({ "retried": users }))
}

async fn pause(State(state): Shared) -> JsonResult<ServiceStatus> {
    state.app.pause().await?;
    Ok(Json(state.app.service_status().await))
}

async fn resume(State(state): Shared, body: Body) -> JsonResult<ServiceStatus> {
    let wanted = r#"the body is neither empty nor {"allow_removals": "24h"}"#;
    let time = |value: &Value| -> Option<Duration> { duration(value.as_str()?).ok() };
    state.app.resume(body.only_field("allow_removals", time, wanted)?).await?;
    Ok(Json(state.app.service_status().await))
}

async fn counts(State(state): Shared, RawQuery(sent): RawQuery) -> JsonResult<Value> {
    let fields = query(sent.as_deref(), &["span"], "the query has a name that is not span")?;
    let (word, span) = match fields.get("span") {
        None | Some("hour") => ("hour", Span::Hour),
        Some("day") => ("day", Span::Day),
        Some(_) => return Err(Refusal::Wrong("span is neither hour nor day")),
    };
    let since = span.since(state.app.now());
    let minutes = state.app.counts_since(since).await?;
    Ok(Json(json!({ "span": word, "since": since, "minutes": minutes })))
}

async fn settings(State(state): Shared) -> Json<Value> {
    let in_force = state.in_force.iter().map(|one| {
        let (value, hidden) = match &one.value {
            config::Value::Shown(value) => (Some(value), 0),
            config::Value::Hidden(count) => (None, *count),
            config::Value::Unset => (None, 0),
        };
        json!({ "name": one.name, "value": value, "hidden": hidden, "origin": one.origin })
    });
    Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": state.app.now().since(state.began).as_secs(),
        "settings": in_force.collect::<Vec<_>>(),
    }))
}

async fn no_such_path() -> Response {
    problem(Kind::NotFound, "there is no such path in this API; the README lists them")
}

async fn wrong_method() -> Response {
    problem(
        Kind::MethodNotAllowed,
        "this path does not take this method; the header Allow names those it takes",
    )
}
