//! Reads a body whole, within a size and a time.

use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::HeaderMap;
use axum::http::header::EXPECT;
use http_body_util::BodyExt;
use tokio::time::timeout;

/// How long a whole body may take to come. Sesamy's are a few hundred bytes.
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// Why there is no whole body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("the body is over {limit_bytes} bytes (server.body_limit_bytes)")]
    TooLarge { limit_bytes: usize },
    #[error("the body did not come whole within 10 s")]
    Late,
    #[error("the body ends before its announced length, or is not chunked as it should be")]
    CutShort,
}

/// The whole body, of `limit_bytes` at the most.
///
/// A body that is too large is refused as soon as that is known, by its announced length or while it comes; what is still
/// coming of it is read and dropped for a while, because a caller that is cut off in the middle of sending may never
/// look at its answer.
pub(crate) async fn whole(
    mut body: Body,
    headers: &HeaderMap,
    limit_bytes: usize,
) -> Result<Bytes, BodyError> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    let read = if announced > limit_bytes {
        Err(BodyError::TooLarge { limit_bytes })
    } else {
        timeout(TIME_LIMIT, read(&mut body, limit_bytes)).await.unwrap_or(Err(BodyError::Late))
    };
    // A caller that waits for "100 Continue" has not sent the body, and reading would ask for it.
    if matches!(read, Err(BodyError::TooLarge { .. })) && !headers.contains_key(EXPECT) {
        tokio::spawn(timeout(TIME_LIMIT, async move { while let Some(Ok(_)) = body.frame().await {} }));
    }
    read
}

async fn read(body: &mut Body, limit_bytes: usize) -> Result<Bytes, BodyError> {
    let mut first = Bytes::new(); // nearly always the only piece, and then never copied
    let mut joined = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(piece) = frame.map_err(|_| BodyError::CutShort)?.into_data() else { continue }; // trailers
        if first.len().max(joined.len()) + piece.len() > limit_bytes {
            return Err(BodyError::TooLarge { limit_bytes });
        }
        if first.is_empty() {
            first = piece;
            continue;
        }
        if joined.is_empty() {
            joined.extend_from_slice(&first);
        }
        joined.extend_from_slice(&piece);
    }
    Ok(if joined.is_empty() { first } else { joined.into() })
}
