//! What there is one of in a store: JSON documents, each read and replaced whole.
//!
//! A replica of an older version must not lose what a newer one has written, so a document keeps the fields that it does
//! not know.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::store::{Change, Seen};

/// The state and pace of both APIs, and a pause: [`super::apis::Apis`].
pub(super) const APIS: &str = "apis";
/// The removal guard: [`super::removal_guard::Guard`].
pub(super) const GUARD: &str = "guard";
/// How far the last backfill has come.
pub(super) const BACKFILL: &str = "backfill";
/// Counts of one hour; the hour's number since 1970 follows.
pub(super) const ACTIVITY: &str = "activity/";

/// The document of this text; the default if there is no document, or it cannot be read.
pub(super) fn read<T: DeserializeOwned + Default>(text: Option<&String>) -> T {
    text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

impl Seen {
    /// The document of this name.
    pub(super) fn document<T: DeserializeOwned + Default>(&self, name: &str) -> T {
        read(self.documents.get(name))
    }
}

impl Change {
    /// Saves `document` where it is not `before`.
    pub(super) fn document<T: Serialize + PartialEq>(mut self, name: &str, before: &T, document: &T) -> Self {
        if before != document
            // Documents are plain data with text keys, which JSON can always hold.
            && let Ok(text) = serde_json::to_string(document)
        {
            self.documents.insert(name.to_owned(), text);
        }
        self
    }
}
