//! How an error of [`crate::app`] is answered: as a problem document by the API, as a page of its own by the page.

use axum::http::StatusCode;

use crate::app::AppError;
use crate::server::problem::Kind;

/// The kind of problem document.
pub(super) const fn kind(error: &AppError) -> Kind {
    match error {
        AppError::UnknownUser => Kind::UnknownUser,
        AppError::Forgotten => Kind::UserForgotten,
        AppError::NotAnAddress => Kind::InvalidRequest,
        AppError::Busy { .. } => Kind::UserBusy,
        AppError::Paused
        | AppError::CircuitOpen { .. }
        | AppError::NoCalls { .. }
        | AppError::Stopped(_)
        | AppError::LeaseLost => Kind::NotNow,
        AppError::Api { .. } | AppError::Panicked => Kind::UpstreamFailed,
        AppError::Queue(_) | AppError::QueueDuringSync(_) => Kind::QueueUnavailable,
    }
}

/// The status and the title of a page.
pub(super) fn headline(error: &AppError) -> (StatusCode, &'static str) {
    let kind = kind(error);
    let title = match kind {
        Kind::UnknownUser => "No such user",
        Kind::UserForgotten => "The user was forgotten",
        Kind::UserBusy => "The user is being synced",
        Kind::NotNow => "Not now",
        Kind::QueueUnavailable => "The queue cannot be asked just now",
        _ => "An API did not do as asked",
    };
    (kind.status(), title)
}
