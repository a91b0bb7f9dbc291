//! The store, as it is read: beside the writer, so that reading never holds up an event.

use super::{
    Backlog, Census, Filter, HistoryRow, MinuteCount, ParkedGroup, Progress, QueueError, Retry, Round,
    UserRow, postgres, sqlite,
};
use crate::clock::Millis;
use crate::memory::{ContactKeys, SeenByOthers};
use crate::user::UserId;

#[derive(Debug, Clone)]
pub(super) enum Reader {
    Sqlite(sqlite::Reader),
    Postgres(postgres::Reader),
}

impl Reader {
    pub(super) async fn count(&self, now: Millis) -> Result<Census, QueueError> {
        match self {
            Self::Sqlite(reader) => reader.count(now).await,
            Self::Postgres(reader) => reader.count(now).await,
        }
    }

    pub(super) async fn count_retry(&self, now: Millis, whom: &Retry) -> Result<u64, QueueError> {
        match self {
            Self::Sqlite(reader) => reader.count_retry(now, whom).await,
            Self::Postgres(reader) => reader.count_retry(now, whom).await,
        }
    }

    pub(super) async fn rows(&self, now: Millis, filter: &Filter) -> Result<Vec<UserRow>, QueueError> {
        match self {
            Self::Sqlite(reader) => reader.rows(now, filter).await,
            Self::Postgres(reader) => reader.rows(now, filter).await,
        }
    }

    pub(super) async fn rows_of(&self, now: Millis, users: &[UserId]) -> Result<Vec<UserRow>, QueueError> {
        match self {
            Self::Sqlite(reader) => reader.rows_of(now, users).await,
            Self::Postgres(reader) => reader.rows_of(now, users).await,
        }
    }

    pub(super) async fn history(&self, user: &UserId, most: usize) -> Result<Vec<HistoryRow>, QueueError> {
        match self {
            Self::Sqlite(reader) => reader.history(user, most).await,
            Self::Postgres(reader) => reader.history(user, most).await,
        }
    }

    pub(super) async fn parked(&self, most: usize) -> Result<Vec<ParkedGroup>, QueueError> {
        match self {
            Self::Sqlite(reader) => reader.parked(most).await,
            Self::Postgres(reader) => reader.parked(most).await,
        }
    }

    pub(super) async fn counts_since(&self, since: Millis) -> Result<Vec<MinuteCount>, QueueError> {
        match self {
            Self::Sqlite(reader) => reader.counts_since(since).await,
            Self::Postgres(reader) => reader.counts_since(since).await,
        }
    }

    pub(super) async fn forgotten(&self, users: &[UserId]) -> Result<Vec<UserId>, QueueError> {
        match self {
            Self::Sqlite(reader) => reader.forgotten(users).await,
            Self::Postgres(reader) => reader.forgotten(users).await,
        }
    }

    pub(super) async fn others_at(
        &self,
        user: &UserId,
        address: &str,
        most: usize,
    ) -> Result<Vec<UserId>, QueueError> {
        match self {
            Self::Sqlite(reader) => reader.others_at(user, address, most).await,
            Self::Postgres(reader) => reader.others_at(user, address, most).await,
        }
    }

    pub(super) async fn seen_by_others(
        &self,
        user: &UserId,
        address: &str,
        list: &str,
    ) -> Result<SeenByOthers, QueueError> {
        match self {
            Self::Sqlite(reader) => reader.seen_by_others(user, address, list).await,
            Self::Postgres(reader) => reader.seen_by_others(user, address, list).await,
        }
    }

    pub(super) fn contact_keys(&self, list: String) -> ContactKeys {
        match self {
            Self::Sqlite(reader) => reader.contact_keys(list),
            Self::Postgres(reader) => reader.contact_keys(list),
        }
    }

    pub(super) async fn round(&self) -> Result<Option<Round>, QueueError> {
        match self {
            Self::Sqlite(reader) => reader.round().await,
            Self::Postgres(reader) => reader.round().await,
        }
    }

    pub(super) async fn backlog(&self, now: Millis, since: Millis) -> Result<Backlog, QueueError> {
        match self {
            Self::Sqlite(reader) => reader.backlog(now, since).await,
            Self::Postgres(reader) => reader.backlog(now, since).await,
        }
    }

    pub(super) async fn progress(&self) -> Result<Option<Progress>, QueueError> {
        match self {
            Self::Sqlite(reader) => reader.progress().await,
            Self::Postgres(reader) => reader.progress().await,
        }
    }
}
