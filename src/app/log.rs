//! The latest syncs of all users.

use serde::Serialize;

use crate::queue::{HistoryRow, LogFilter, Queue, QueueError};

/// Some entries of the history of all users, the latest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Log {
    pub entries: Vec<LogEntry>,
    /// What [`LogFilter::before`] has to be for the next ones; null on the last page.
    pub next: Option<i64>,
}

/// An entry, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct LogEntry {
    pub user_id: String,
    #[serde(flatten)]
    pub entry: HistoryRow,
}

impl Log {
    pub(super) async fn load(queue: &Queue, filter: LogFilter) -> Result<Self, QueueError> {
        let limit = filter.limit;
        let mut rows = queue.log(LogFilter { limit: limit + 1, ..filter }).await?;
        let is_more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| is_more).map(|(_, last)| last.id);
        let entries = rows.into_iter().map(|(user_id, entry)| LogEntry { user_id, entry }).collect();
        Ok(Self { entries, next })
    }
}
