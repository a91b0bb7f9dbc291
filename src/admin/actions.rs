//! What the pages' forms do. Each is a POST, checked by [`SignedForm`], logged, and answered by 303 back to its page.

use axum::extract::State;
use axum::http::header::{RETRY_AFTER, SET_COOKIE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};

use super::extract::{LoginForm, PageUser, SignedForm, set_cookie};
use super::fields::local;
use super::pages::{flash::Flash, layout, login, user_table, users};
use super::state::{LoginError, Shared};
use crate::app::{Again, AppError};
use crate::queue::Retry;
use crate::user::UserId;

/// Opens a session for one of the tokens.
pub(super) async fn login(State(state): Shared, LoginForm(fields): LoginForm) -> Response {
    let back = fields.get("back");
    match state.login(fields.typed("token").unwrap_or_default()) {
        Ok(cookie) => {
            tracing::info!("an operator has logged in");
            ([(SET_COOKIE, set_cookie(Some(&cookie), &state))], Redirect::to(local(back))).into_response()
        }
        Err(LoginError::WrongToken) => {
            tracing::warn!("somebody tried to log in to the operations page with a wrong token");
            let why = "That is none of the tokens in admin.tokens.";
            (StatusCode::UNAUTHORIZED, login::page(Some(why), back)).into_response()
        }
        Err(LoginError::Throttled(wait)) => {
            let seconds = wait.as_secs() + 1;
            let why = format!("Ten wrong tokens within a minute: try again in {seconds} s.");
            let retry_after = [(RETRY_AFTER, HeaderValue::from(seconds))];
            (StatusCode::TOO_MANY_REQUESTS, retry_after, login::page(Some(&why), None)).into_response()
        }
    }
}

pub(super) async fn logout(State(state): Shared, _: SignedForm) -> Response {
    ([(SET_COOKIE, set_cookie(None, &state))], Redirect::to("/admin/login")).into_response()
}

pub(super) async fn pause(State(state): Shared, form: SignedForm) -> Response {
    let done = state.app.pause().await;
    answer(done.map(|()| Flash::Paused), &form, "/admin")
}

pub(super) async fn resume(State(state): Shared, form: SignedForm) -> Response {
    let done = state.app.resume(None).await;
    answer(done.map(|()| Flash::Resumed), &form, "/admin")
}

pub(super) async fn sync(State(state): Shared, PageUser(user): PageUser, form: SignedForm) -> Response {
    let again = if form.fields.get("again") == Some("true") { Again::Yes } else { Again::No };
    let page = user_table::page_of(user.as_str());
    let done = state.sync(user, again).await;
    answer(done.map(|synced| Flash::synced(synced.outcome)), &form, &page)
}

pub(super) async fn retry_one(State(state): Shared, PageUser(user): PageUser, form: SignedForm) -> Response {
    let page = user_table::page_of(user.as_str());
    answer(state.app.retry_one(user).await.map(Flash::Retried), &form, &page)
}

pub(super) async fn forget(State(state): Shared, PageUser(user): PageUser, form: SignedForm) -> Response {
    if form.fields.get("sure") != Some("true") {
        let text = "Tick the box that says that you are sure. Nothing was changed.";
        return layout::error(StatusCode::BAD_REQUEST, "Erase for good?", text);
    }
    let mailmojo = form.fields.get("mailmojo") == Some("true");
    let page = user_table::page_of(user.as_str());
    let done = state.forget(user, mailmojo).await;
    answer(done.map(|forgotten| Flash::Forgot(forgotten.outcome)), &form, &page)
}

pub(super) async fn retry_many(State(state): Shared, form: SignedForm) -> Response {
    let retry = match (form.fields.get("answer"), form.fields.get("all_parked")) {
        (Some(answer), None) => Retry::Answer(answer.to_owned()),
        (None, Some("true")) => Retry::AllParked,
        _ => {
            let text = "The form names no reason. Nothing was changed.";
            return layout::error(StatusCode::BAD_REQUEST, "Retry whom?", text);
        }
    };
    answer(state.app.retry(retry).await.map(Flash::Retried), &form, "/admin/parked")
}

/// By POST, so that no URL has an address in it. A user id is tried first: it may have an `@` in it.
pub(super) async fn find(State(state): Shared, form: SignedForm) -> Response {
    let Some(text) = form.fields.typed("who") else { return Redirect::to("/admin").into_response() };
    let is_address = text.contains('@');
    if let Ok(user) = UserId::new(text) {
        match state.app.user(&user).await {
            Ok(_) => return to_page_of(&user),
            Err(AppError::UnknownUser | AppError::Forgotten) if !is_address => return to_page_of(&user),
            Err(AppError::UnknownUser | AppError::Forgotten) => {}
            Err(error) => return layout::failed(&form.session, &error),
        }
    }
    match state.app.find(text).await.as_deref() {
        Ok([user]) => to_page_of(user),
        Ok([]) | Err(AppError::NotAnAddress) => answer(Ok::<_, AppError>(Flash::NotFound), &form, "/admin"),
        Ok(several) => users::choice(&form.session, several).into_response(),
        Err(error) => layout::failed(&form.session, error),
    }
}

fn to_page_of(user: &UserId) -> Response {
    Redirect::to(&user_table::page_of(user.as_str())).into_response()
}

/// Back to the form's page with what was done; an error is a page of its own, because it may be long.
fn answer(done: Result<Flash, impl Into<AppError>>, form: &SignedForm, otherwise: &str) -> Response {
    match done {
        Ok(flash) => {
            let back = form.fields.get("back").map_or(otherwise, |back| local(Some(back)));
            Redirect::to(&flash.on(back)).into_response()
        }
        Err(error) => layout::failed(&form.session, &error.into()),
    }
}
