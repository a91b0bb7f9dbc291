//! What the pages' forms do. Each is a POST, checked by [`Submitted`], logged, and answered by 303 to where one was.

use axum::extract::State;
use axum::http::header::{RETRY_AFTER, SET_COOKIE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};

use super::failure::Failure;
use super::fields::local;
use super::guard::{Here, Submitted, Unsigned, set_cookie};
use super::pages::{self, Whom, flash::Flash, page_of};
use crate::operations::Again;
use crate::operations::find::{FindError, users_by_email};
use crate::queue::Retry;
use crate::user::UserId;

/// Lets somebody in who knows a token.
pub(super) async fn login(State(office): Here, Unsigned(fields): Unsigned) -> Response {
    let now = office.now();
    let token = fields.typed("token").unwrap_or_default();
    let admitted = {
        // Held over the comparison: of many guesses at once only ten may be looked at.
        let mut rest = office.login_rest.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(left) = rest.left(now) {
            drop(rest);
            return resting(left.as_secs() + 1);
        }
        let admitted = office.keys.admit(token.as_bytes());
        if admitted.is_none() {
            rest.failed(now);
        }
        admitted
    };
    let cookie = admitted.and_then(|admitted| office.keys.open(admitted, now, rand::random()));
    let back = fields.get("back");
    match cookie {
        Some(cookie) => {
            tracing::info!("an operator has logged in");
            ([(SET_COOKIE, set_cookie(Some(&cookie), &office))], Redirect::to(local(back))).into_response()
        }
        None => {
            tracing::warn!("somebody tried to log in to the operations page with a wrong token");
            let why = "That is none of the tokens in admin.tokens.";
            (StatusCode::UNAUTHORIZED, pages::login::page(Some(why), back)).into_response()
        }
    }
}

fn resting(seconds: u64) -> Response {
    let why = format!("Ten wrong tokens within a minute: the login rests for {seconds} s more.");
    let mut response = (StatusCode::TOO_MANY_REQUESTS, pages::login::page(Some(&why), None)).into_response();
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    response
}

pub(super) async fn logout(State(office): Here, _: Submitted) -> Response {
    ([(SET_COOKIE, set_cookie(None, &office))], Redirect::to("/admin/login")).into_response()
}

pub(super) async fn pause(State(office): Here, form: Submitted) -> Response {
    let done = office.operator.pause().await;
    answer(done.map(|_| Flash::Paused), &form, "/admin")
}

pub(super) async fn resume(State(office): Here, form: Submitted) -> Response {
    let done = office.operator.resume(None).await;
    answer(done.map(|_| Flash::Resumed), &form, "/admin")
}

pub(super) async fn sync(State(office): Here, Whom(user): Whom, form: Submitted) -> Response {
    let again = if form.fields.get("again") == Some("true") { Again::Yes } else { Again::No };
    let done = office.sync(&user, again).await;
    answer(done.map(|synced| Flash::synced(synced.outcome)), &form, &page_of(user.as_str()))
}

pub(super) async fn retry_one(State(office): Here, Whom(user): Whom, form: Submitted) -> Response {
    let back = page_of(user.as_str());
    tracing::info!(user_id = %user, "an operator asks for a retry");
    let done = office.operator.retry(Retry::Users(vec![user])).await;
    answer(done.map(Flash::Retried), &form, &back)
}

pub(super) async fn forget(State(office): Here, Whom(user): Whom, form: Submitted) -> Response {
    if form.fields.get("sure") != Some("true") {
        let text = "Tick the box that says that you are sure. Nothing was changed.";
        return pages::error(StatusCode::BAD_REQUEST, "Erase for good?", text);
    }
    let mailmojo = form.fields.get("mailmojo") == Some("true");
    let done = office.forget(&user, mailmojo).await;
    answer(done.map(|forgotten| Flash::Forgot(forgotten.outcome)), &form, &page_of(user.as_str()))
}

pub(super) async fn retry_many(State(office): Here, form: Submitted) -> Response {
    let whom = match (form.fields.get("answer"), form.fields.get("all_parked")) {
        (Some(answer), None) => Retry::Answer(answer.to_owned()),
        (None, Some("true")) => Retry::AllParked,
        _ => {
            let text = "The form names no reason. Nothing was changed.";
            return pages::error(StatusCode::BAD_REQUEST, "Retry whom?", text);
        }
    };
    let done = office.operator.retry(whom).await;
    answer(done.map(Flash::Retried), &form, "/admin/parked")
}

/// By POST, so that an address is in no URL. A user id is tried first: it may have an `@` in it.
pub(super) async fn find(State(office): Here, form: Submitted) -> Response {
    let Some(text) = form.fields.typed("who") else { return Redirect::to("/admin").into_response() };
    let is_address = text.contains('@');
    if let Ok(user) = UserId::new(text) {
        match office.user(&user).await {
            Ok((row, _)) if row.is_some() || !is_address => return to(&user),
            Ok(_) => {}
            Err(failure) => return pages::failed(&form.session, &failure),
        }
    }
    match users_by_email(office.operator.syncer.sesamy(), text, &office.attempt()).await {
        Ok(users) => match users.as_slice() {
            [] => answer(Ok::<_, Failure>(Flash::NotFound), &form, "/admin"),
            [user] => to(user),
            several => pages::users::choice(&form.session, several).into_response(),
        },
        Err(FindError::NoAddress) => answer(Ok::<_, Failure>(Flash::NotFound), &form, "/admin"),
        Err(error) => pages::failed(&form.session, &error.into()),
    }
}

fn to(user: &UserId) -> Response {
    Redirect::to(&page_of(user.as_str())).into_response()
}

/// Back to where one was, with what was done; an error is a page of its own, for it may have much to say.
fn answer(done: Result<Flash, impl Into<Failure>>, form: &Submitted, otherwise: &str) -> Response {
    match done {
        Ok(flash) => {
            let back = form.fields.get("back").map_or(otherwise, |back| local(Some(back)));
            Redirect::to(&flash.on(back)).into_response()
        }
        Err(error) => pages::failed(&form.session, &error.into()),
    }
}
