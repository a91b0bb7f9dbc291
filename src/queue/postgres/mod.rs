//! Replaced by the Postgres store.
mod open;
mod url;

use std::sync::Arc;

use super::store::{Answer, Change, Look, Push, Question, Seen, Store};
use super::wake::Wake;
use super::{QueueError, Role, StoreOptions};
use crate::clock::Clock;
pub use open::PostgresError;
pub use url::{Place, PostgresUrl};

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tuning;

#[derive(Debug)]
pub(super) struct PostgresStore;

pub(super) async fn open(
    url: &PostgresUrl,
    _role: Role,
    _options: StoreOptions,
    _clock: Clock,
    _wake: Arc<Wake>,
    _tuning: Tuning,
) -> Result<PostgresStore, PostgresError> {
    Err(PostgresError::NoQueue(url.place()))
}

impl PostgresStore {
    pub(super) fn erasure_key(&self) -> &[u8] {
        b"key"
    }
}

impl Store for PostgresStore {
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
