//! The operations page: the state of the service, which users wait, what failed and why, and what to do about it; as pages
//! for people, and as a JSON API for programs (`/admin/api/…`).
//!
//! On a listener of its own, never on the webhook's port, and only if `admin.tokens` is set. Everything works without a
//! script; the one there is only refreshes the first page.
//!
//! Promises, each a test: nobody without a token or a session sees or changes anything, and the session opens the pages but
//! not the API; no other site's form is taken; a change is always a POST, and is logged; nothing is loaded from elsewhere;
//! whatever a user, an API or an event is called, it is shown as text.
//!
//! [`crate::app`] does what is asked for. The stories that hold the promises are in `tests/stories/admin`.

mod actions;
mod api;
mod assets;
mod error;
mod extract;
mod fields;
mod login_throttle;
mod pages;
mod session;
mod state;

use axum::Router;
use axum::middleware;
use axum::response::Redirect;
use axum::routing::{get, post};
use tower_http::catch_panic::CatchPanicLayer;

pub(crate) use state::AdminOptions;

use self::state::AdminState;
use crate::server::access_log::log;
use crate::server::problem::panicked;

/// The routes, complete with error answers. `metrics` is the router of `/metrics`.
pub(crate) fn router(options: AdminOptions, metrics: Router) -> Router {
    let state = AdminState::new(options);
    let pages = Router::new()
        .route("/", get(|| async { Redirect::to("/admin") }))
        .route("/admin", get(pages::overview::show))
        .route("/admin/login", get(pages::login::show).post(actions::login))
        .route("/admin/logout", post(actions::logout))
        .route("/admin/parked", get(pages::parked::show))
        .route("/admin/users", get(pages::users::show))
        .route("/admin/users/{id}", get(pages::user::show))
        .route("/admin/users/{id}/sync", post(actions::sync))
        .route("/admin/users/{id}/retry", post(actions::retry_one))
        .route("/admin/users/{id}/forget", post(actions::forget))
        .route("/admin/queue/retry", post(actions::retry_many))
        .route("/admin/queue/pause", post(actions::pause))
        .route("/admin/queue/resume", post(actions::resume))
        .route("/admin/find", post(actions::find))
        .route("/admin/settings", get(pages::settings::show))
        .route("/admin/assets/{name}", get(assets::serve))
        .method_not_allowed_fallback(pages::layout::wrong_method)
        .fallback(pages::layout::no_such_page)
        .with_state(state.clone());
    pages
        .nest("/admin/api", api::router(state))
        .merge(metrics)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn(extract::every_answer))
        .layer(middleware::from_fn_with_state("operations request", log))
}
