//! Reading, on a connection of its own that only reads and is opened for each question, on a thread where waiting for
//! the disk harms nobody: reading never holds up an event.

pub(super) mod counts;
pub(super) mod past;
pub(super) mod rows;

use rusqlite::{Connection, OpenFlags, Transaction};

use super::open::Place;
use super::open_files::OpenFiles;
use super::{forget, retry, round};
use crate::address;
use crate::clock::Millis;
use crate::memory::{ContactKeys, SeenByOthers};
use crate::queue::forgetting::ForgettingKey;
use crate::queue::{
    Backlog, Census, Filter, HistoryRow, MinuteCount, ParkedGroup, Progress, QueueError, Retry, Round, State,
    UserRow,
};
use crate::user::UserId;

/// Reads the database at its place.
#[derive(Debug, Clone)]
pub(in crate::queue) struct Reader {
    place: Place,
    files: OpenFiles,
    forgetting: ForgettingKey,
}

impl Reader {
    pub(super) fn new(place: Place, files: OpenFiles, forgetting: ForgettingKey) -> Self {
        Self { place, files, forgetting }
    }

    pub(in crate::queue) async fn count(&self, now: Millis) -> Result<Census, QueueError> {
        self.ask(move |store| counts::census(store, now)).await
    }

    pub(in crate::queue) async fn count_retry(&self, _now: Millis, whom: &Retry) -> Result<u64, QueueError> {
        let whom = whom.clone();
        self.ask(move |store| retry::count(store, &whom)).await
    }

    pub(in crate::queue) async fn rows(
        &self,
        now: Millis,
        filter: &Filter,
    ) -> Result<Vec<UserRow>, QueueError> {
        let filter = filter.clone();
        self.ask(move |store| rows::filtered(store, now, &filter)).await
    }

    pub(in crate::queue) async fn rows_of(
        &self,
        now: Millis,
        users: &[UserId],
    ) -> Result<Vec<UserRow>, QueueError> {
        let users = users.to_vec();
        self.ask(move |store| rows::of(store, now, &users)).await
    }

    pub(in crate::queue) async fn history(
        &self,
        user: &UserId,
        most: usize,
    ) -> Result<Vec<HistoryRow>, QueueError> {
        let user = user.clone();
        self.ask(move |store| past::history(store, &user, most)).await
    }

    pub(in crate::queue) async fn parked(&self, most: usize) -> Result<Vec<ParkedGroup>, QueueError> {
        self.ask(move |store| counts::parked(store, most)).await
    }

    pub(in crate::queue) async fn counts_since(&self, since: Millis) -> Result<Vec<MinuteCount>, QueueError> {
        self.ask(move |store| past::counts_since(store, since)).await
    }

    pub(in crate::queue) async fn progress(&self) -> Result<Option<Progress>, QueueError> {
        self.ask(past::progress).await
    }

    pub(in crate::queue) async fn backlog(&self, now: Millis, since: Millis) -> Result<Backlog, QueueError> {
        self.ask(move |store| past::backlog(store, now, since)).await
    }

    pub(in crate::queue) async fn forgotten(&self, users: &[UserId]) -> Result<Vec<UserId>, QueueError> {
        let (mut users, key) = (users.to_vec(), self.forgetting.clone());
        users.sort();
        users.dedup();
        self.ask(move |store| {
            let mut forgotten = Vec::new();
            for user in users {
                if forget::is_forgotten(store, &key, &user)? {
                    forgotten.push(user);
                }
            }
            Ok(forgotten)
        })
        .await
    }

    pub(in crate::queue) async fn others_at(
        &self,
        user: &UserId,
        address: &str,
        most: usize,
    ) -> Result<Vec<UserId>, QueueError> {
        let Some(key) = address::key(address) else { return Ok(Vec::new()) };
        let user = user.clone();
        self.ask(move |store| rows::others_at(store, &user, &key, most)).await
    }

    pub(in crate::queue) async fn seen_by_others(
        &self,
        user: &UserId,
        address: &str,
        list: &str,
    ) -> Result<SeenByOthers, QueueError> {
        let Some(key) = address::key(address) else { return Ok(SeenByOthers::default()) };
        let (user, list) = (user.clone(), list.to_owned());
        self.ask(move |store| rows::seen_by_others(store, &user, &key, &list)).await
    }

    pub(in crate::queue) fn contact_keys(&self, list: String) -> ContactKeys {
        self.forgetting.contact_keys(list)
    }

    pub(in crate::queue) async fn round(&self) -> Result<Option<Round>, QueueError> {
        self.ask(|store| Ok(round::read(store)?.map(|kept| kept.round))).await
    }

    /// All that one question reads is of one moment.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, QueueError> {
        let (place, files) = (self.place.clone(), self.files.clone());
        let answered = tokio::task::spawn_blocking(move || {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let opened = Connection::open_with_flags(place.path(), flags);
            files.check()?; // after the opening: a file that is replaced from now on is not the one that is read
            let answer = opened.and_then(|mut connection| question(&connection.transaction()?));
            answer.map_err(|error| place.later(&error))
        });
        match answered.await {
            Ok(answer) => answer,
            Err(stopped) => Err(QueueError::Store(format!("the queue was not read: {stopped}"))),
        }
    }
}

/// The rows in a state at `?1`, by the index that has them alone where there is one.
pub(super) const fn rows_in(state: Option<State>) -> &'static str {
    match state {
        None => "users WHERE ?1 IS NOT NULL",
        Some(State::Due) => "users INDEXED BY users_due WHERE lane IN (0, 1, 2) AND due_at <= ?1",
        Some(State::Leased) => "users INDEXED BY users_leased WHERE lease_owner IS NOT NULL AND due_at > ?1",
        Some(State::Scheduled) => {
            "users INDEXED BY users_due WHERE lane IN (0, 1, 2) AND due_at > ?1 AND lease_owner IS NULL"
        }
        Some(State::Parked) => "users INDEXED BY users_parked WHERE parked_at IS NOT NULL AND ?1 IS NOT NULL",
        Some(State::Idle) => "users WHERE due_at IS NULL AND parked_at IS NULL AND ?1 IS NOT NULL",
    }
}
