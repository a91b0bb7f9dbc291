//! The few files that the pages load: in the program, so that nothing has to be shipped or fetched from elsewhere.

use axum::extract::Path;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use super::pages::layout;

/// `/admin/assets/{name}`. Open to everyone: the login needs them.
pub(super) async fn serve(Path(name): Path<String>) -> Response {
    let (kind, text) = match name.as_str() {
        "style.css" => ("text/css; charset=utf-8", include_str!("assets/style.css")),
        "refresh.js" => ("text/javascript; charset=utf-8", include_str!("assets/refresh.js")),
        "icon.svg" => ("image/svg+xml", include_str!("assets/icon.svg")),
        _ => return layout::no_such_page().await,
    };
    ([(CONTENT_TYPE, kind)], text).into_response()
}
