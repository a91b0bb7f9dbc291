//! The JSON API, for programs: `Authorization: Bearer` with one of `admin.tokens`. A session's cookie does not open it, so
//! that no page of another site can use it through an operator's browser.
//!
//! Errors are problem documents. The names in here are stable; the README has them.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequestParts, RawPathParams, RawQuery, Request, State};
use axum::http::request::Parts;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::failure::Failure;
use super::fields::Fields;
use super::guard::Here;
use super::office::{Glance, Office};
use super::pages::chart::Span;
use crate::config::{Value, duration};
use crate::operations::preview::Preview;
use crate::operations::{Again, Forgotten, Remembered, Synced};
use crate::queue::{Filter, HistoryRow, Retry, RowState, UserRow};
use crate::server::problem::{Kind, problem};
use crate::server::{BodyError, bearer, whole};
use crate::user::UserId;

/// The most rows of one answer, and as many as come unasked.
const MOST_ROWS: usize = 500;
const ROWS: usize = 100;
/// The longest body, in bytes.
const BODY_LIMIT: usize = 16 * 1024;

pub(super) fn router(office: Arc<Office>) -> Router {
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
        .layer(middleware::from_fn_with_state(office.clone(), only_with_a_token))
        .with_state(office)
}

/// Before anything else is looked at, so that without a token not even a path can be told from another.
async fn only_with_a_token(State(office): Here, request: Request, next: Next) -> Response {
    let lines = request.headers().get_all(axum::http::header::AUTHORIZATION);
    let admitted = lines
        .iter()
        .filter_map(|line| bearer(line.as_bytes()))
        .any(|token| office.keys.admit(token).is_some());
    if admitted {
        next.run(request).await
    } else {
        problem(Kind::Unauthorized, "send the header Authorization: Bearer with one of admin.tokens")
    }
}

/// Why a request was not answered as asked.
enum Refusal {
    Wrong(&'static str),
    Body(BodyError),
    Failed(Failure),
}

type Answer<T> = Result<Json<T>, Refusal>;

impl<E: Into<Failure>> From<E> for Refusal {
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
            Self::Failed(failure) => problem(failure.kind(), &failure.to_string()),
        }
    }
}

/// The user id of a path.
struct Whom(UserId);

impl<S: Send + Sync> FromRequestParts<S> for Whom {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        user_of_path(parts, state).await.map(Self).map_err(Refusal::Wrong)
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
        crate::user::UserIdError::Empty => "the user id in the path is empty",
        crate::user::UserIdError::TooLong => "the user id in the path is longer than 256 bytes",
        crate::user::UserIdError::ControlCharacters => "the user id in the path has control characters",
        crate::user::UserIdError::RelativePath => "the user id in the path is a relative path",
    })
}

async fn status(State(office): Here) -> Json<Glance> {
    Json(office.glance().await)
}

#[derive(Serialize)]
struct Users {
    users: Vec<UserRow>,
    /// What `after` has to be for the next page; null on the last.
    next: Option<String>,
}

async fn users(State(office): Here, RawQuery(query): RawQuery) -> Answer<Users> {
    let filter = filter(query.as_deref().unwrap_or_default())?;
    let (limit, filter) = (filter.limit, Filter { limit: filter.limit + 1, ..filter });
    let mut users = office.operator.hand.queue.rows(&filter).await?;
    let is_more = users.len() > limit;
    users.truncate(limit);
    let next = users.last().filter(|_| is_more).map(|last| last.user.clone());
    Ok(Json(Users { users, next }))
}

fn filter(query: &str) -> Result<Filter, Refusal> {
    let fields = Fields::parse(query.as_bytes());
    if fields.unknown(&["state", "reason", "after", "limit"]) {
        return Err(Refusal::Wrong("the query has a name that is none of state, reason, after and limit"));
    }
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

#[derive(Serialize)]
struct User {
    #[serde(flatten)]
    row: UserRow,
    memory: Remembered,
    history: Vec<HistoryRow>,
}

async fn user(State(office): Here, Whom(user): Whom) -> Answer<User> {
    let (row, history) = office.user(&user).await?;
    let Some(row) = row else { return Err(office.stranger(&user).await.into()) };
    Ok(Json(User { memory: Remembered::from(&row.memory), row, history }))
}

async fn preview(State(office): Here, Whom(user): Whom) -> Answer<Preview> {
    Ok(Json(office.preview(&user).await?))
}

async fn sync(State(office): Here, Whom(user): Whom, RawQuery(query): RawQuery) -> Answer<Synced> {
    let fields = Fields::parse(query.as_deref().unwrap_or_default().as_bytes());
    if fields.unknown(&["again"]) {
        return Err(Refusal::Wrong("the query has a name that is not again"));
    }
    let again = match fields.get("again") {
        None | Some("false") => Again::No,
        Some("true") => Again::Yes,
        Some(_) => return Err(Refusal::Wrong("again is neither true nor false")),
    };
    Ok(Json(office.sync(&user, again).await?))
}

async fn retry_one(State(office): Here, Whom(user): Whom) -> Answer<serde_json::Value> {
    let (row, _) = office.user(&user).await?;
    if row.is_none() {
        return Err(office.stranger(&user).await.into());
    }
    tracing::info!(user_id = %user, "an operator asks for a retry");
    let retried = office.operator.retry(Retry::Users(vec![user])).await?;
    Ok(Json(json!({ "retried": retried })))
}

async fn forget(State(office): Here, Whom(user): Whom, request: Request) -> Answer<Forgotten> {
    const WANTED: &str = r#"the body is neither empty nor {"mailmojo": true} or {"mailmojo": false}"#;
    let (parts, body) = request.into_parts();
    let body = whole(body, &parts.headers, BODY_LIMIT).await.map_err(Refusal::Body)?;
    let mailmojo = match body.is_empty() {
        true => Some(false),
        false => with_mailmojo(&body),
    };
    let mailmojo = mailmojo.ok_or(Refusal::Wrong(WANTED))?;
    Ok(Json(office.forget(&user, mailmojo).await?))
}

/// Read by hand: a derived reader would take `[true]` for it.
fn with_mailmojo(body: &[u8]) -> Option<bool> {
    let fields: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(body).ok()?;
    fields.get("mailmojo").filter(|_| fields.len() == 1)?.as_bool()
}

async fn parked(State(office): Here) -> Answer<serde_json::Value> {
    Ok(Json(json!({ "reasons": office.operator.parked().await? })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RetryBody {
    /// Words of the error or the answer.
    reason: Option<String>,
    /// Exactly this answer.
    answer: Option<String>,
    all_parked: Option<bool>,
}

async fn retry_many(State(office): Here, request: Request) -> Answer<serde_json::Value> {
    const WANTED: &str = r#"the body is none of {"reason":"…"}, {"answer":"…"} and {"all_parked":true}"#;
    let (parts, body) = request.into_parts();
    let body = whole(body, &parts.headers, BODY_LIMIT).await.map_err(Refusal::Body)?;
    let asked: RetryBody = serde_json::from_slice(&body).map_err(|_| Refusal::Wrong(WANTED))?;
    let given = |text: &String| !text.trim().is_empty();
    let whom = match (asked.reason, asked.answer, asked.all_parked) {
        (Some(reason), None, None) if given(&reason) => Retry::Reason(reason),
        (None, Some(answer), None) if given(&answer) => Retry::Answer(answer),
        (None, None, Some(true)) => Retry::AllParked,
        _ => return Err(Refusal::Wrong(WANTED)),
    };
    let retried = office.operator.retry(whom).await?;
    Ok(Json(json!({ "retried": retried })))
}

async fn pause(State(office): Here) -> Answer<Glance> {
    office.operator.pause().await?;
    Ok(Json(office.glance().await))
}

async fn resume(State(office): Here, request: Request) -> Answer<Glance> {
    const WANTED: &str = r#"the body is neither empty nor {"allow_removals": "24h"}"#;
    let (parts, body) = request.into_parts();
    let body = whole(body, &parts.headers, BODY_LIMIT).await.map_err(Refusal::Body)?;
    let allow = match body.is_empty() {
        true => None,
        false => Some(allowance(&body).ok_or(Refusal::Wrong(WANTED))?),
    };
    office.operator.resume(allow).await?;
    Ok(Json(office.glance().await))
}

fn allowance(body: &[u8]) -> Option<Duration> {
    let fields: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(body).ok()?;
    let text = fields.get("allow_removals").filter(|_| fields.len() == 1)?.as_str()?;
    duration(text).ok()
}

async fn counts(State(office): Here, RawQuery(query): RawQuery) -> Answer<serde_json::Value> {
    const WANTED: &str = "span is neither hour nor day";
    let fields = Fields::parse(query.as_deref().unwrap_or_default().as_bytes());
    if fields.unknown(&["span"]) {
        return Err(Refusal::Wrong("the query has a name that is not span"));
    }
    let (word, span) = match fields.get("span") {
        None | Some("hour") => ("hour", Span::Hour),
        Some("day") => ("day", Span::Day),
        Some(_) => return Err(Refusal::Wrong(WANTED)),
    };
    let since = span.since(office.now());
    let minutes = office.operator.hand.queue.counts_since(since).await?;
    Ok(Json(json!({ "span": word, "since": since, "minutes": minutes })))
}

async fn settings(State(office): Here) -> Json<serde_json::Value> {
    let settings: Vec<_> = office
        .in_force
        .iter()
        .map(|one| {
            let (value, hidden) = match &one.value {
                Value::Shown(value) => (Some(value), 0),
                Value::Hidden(count) => (None, *count),
                Value::Unset => (None, 0),
            };
            json!({ "name": one.name, "value": value, "hidden": hidden, "origin": one.origin })
        })
        .collect();
    Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": office.now().since(office.began).as_secs(),
        "settings": settings,
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
