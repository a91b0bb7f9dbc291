//! Replaced by the SQLite store.
use std::path::Path;

use super::store::{Answer, Change, Look, Push, Question, Seen, Store};
use super::{OpenError, QueueError, Role, StoreOptions};
use crate::clock::Clock;

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tuning;

#[derive(Debug)]
pub(super) struct SqliteStore;

pub(super) fn open(
    path: &Path,
    _role: Role,
    _options: StoreOptions,
    _clock: Clock,
    _tuning: Tuning,
) -> Result<SqliteStore, OpenError> {
    Err(OpenError::NoQueue { path: path.to_owned() })
}

impl SqliteStore {
    pub(super) fn erasure_key(&self) -> &[u8] {
        b"key"
    }
}

impl Store for SqliteStore {
    async fn push(&self, _: Push) -> Result<(), QueueError> {
        Err(QueueError::Closed)
    }

    async fn transact<A, D>(&self, _: Look, _: D) -> Result<A, QueueError>
    where
        A: Send + 'static,
        D: Fn(&Seen) -> (Change, A) + Send + Sync + 'static,
    {
        Err(QueueError::Closed)
    }

    async fn ask(&self, _: Question) -> Result<Answer, QueueError> {
        Err(QueueError::Closed)
    }

    fn accepting(&self) -> bool {
        false
    }

    async fn close(&self) {}
}
