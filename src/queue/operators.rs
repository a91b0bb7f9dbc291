//! What an operator, or another process, asks of the whole queue.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::apis::{Apis, SharedState};
use super::documents::{APIS, BACKFILL, GUARD};
use super::lane::Lane;
use super::removal_guard::Guard;
use super::row::{Row, RowState};
use super::store::{Answer, Change, Index, Look, Question, Seen};
use super::views::{Census, Filter, ParkedGroup, Retry, UserRow};
use super::{HistoryRow, LogFilter, Queue, QueueError};
use crate::address;
use crate::clock::Millis;
use crate::model::{ContactKeys, SeenByOthers};
use crate::sync::AddressIndex;
use crate::upstream::{Api, Meter, Turn};
use crate::user::UserId;

/// The rows read or changed at a time: an event may have to wait a few milliseconds for them.
pub(super) const STEP: usize = 500;
/// At most this many users of one address are read.
const MOST_AT_AN_ADDRESS: usize = 1_000;

/// The result of `Queue::enqueue`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Enqueued {
    /// Users made due.
    pub due: u64,
    /// Users who were due anyhow, or synced or parked since.
    pub left_alone: u64,
}

/// How far the background lane has come (`Queue::backlog`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Rows of the background lane that are due or leased, whatever caused them; counted to [`Census::LIMIT`].
    pub waiting: u64,
    /// Rows last synced or parked since, by outcome and reason.
    pub ended: Vec<(String, String, u64)>,
    /// Rows that wait for their next try after a failure; counted to [`Census::LIMIT`].
    pub failing: u64,
}

impl Queue {
    /// The state that all processes share: both APIs, a pause, and the removal guard.
    pub(crate) async fn known(&self) -> Result<SharedState, QueueError> {
        let look = Look::default().with(APIS).with(GUARD);
        let known = self
            .transact(look, |seen| (Change::default(), seen.apis().known(seen.now, seen.guard().state())));
        known.await
    }

    /// Pauses all syncs until [`Queue::resume`], also over a restart. Events are kept, and running syncs go on.
    pub(crate) async fn pause(&self) -> Result<SharedState, QueueError> {
        self.announce(|apis, guard, seen| {
            apis.pause(seen.now);
            guard
        })
        .await
    }

    /// Lets syncs go on, closes the circuits of both APIs, and releases the removal guard. The next step of the scheduler makes
    /// the rows due that the guard held back, with a pass. With `allow_removals`, the guard stays off for so long.
    pub(crate) async fn resume(&self, allow_removals: Option<Duration>) -> Result<SharedState, QueueError> {
        self.announce(move |apis, guard, seen| {
            apis.resume();
            guard.released(allow_removals, seen.wall)
        })
        .await
    }

    /// Changes the state that all processes share.
    async fn announce(
        &self,
        change: impl Fn(&mut Apis, Guard, &Seen) -> Guard + Send + Sync + 'static,
    ) -> Result<SharedState, QueueError> {
        let known = self.transact(Look::default().with(APIS).with(GUARD), move |seen| {
            let mut apis = seen.apis();
            let guard = change(&mut apis, seen.guard(), seen);
            let known = apis.known(seen.now, guard.state());
            (Change::default().apis(seen, &apis).guard(seen, &guard), known)
        });
        let known = known.await?;
        self.0.wake.due_at(self.0.clock.now()); // an open circuit may have been closed
        Ok(known)
    }

    /// Makes users due at once, in the lane of retries and with no attempts counted; the result is their number.
    /// An error may leave some of them due.
    pub(crate) async fn retry(&self, whom: Retry) -> Result<u64, QueueError> {
        let mut retried = 0;
        let mut pages = Pages::of(whom);
        while let Some(ids) = pages.next(self).await? {
            retried += self
                .transact(Look::rows(ids), |seen| {
                    let rows: Vec<Row> =
                        seen.rows.values().filter_map(|row| row.clone().retried(seen.now)).collect();
                    let count = rows.len() as u64;
                    (Change::rows(rows), count)
                })
                .await?;
        }
        Ok(retried)
    }

    /// The number of rows that [`Queue::retry`] would make due, counted to [`Census::LIMIT`].
    pub(crate) async fn count_retry(&self, whom: &Retry) -> Result<u64, QueueError> {
        let now = self.0.clock.now();
        let (mut count, mut pages) = (0, Pages::of(whom.clone()));
        while count < Census::LIMIT
            && let Some(ids) = pages.next(self).await?
        {
            let rows = self.read_rows(Question::RowsOf(ids)).await?;
            count += rows.into_iter().filter_map(|row| row.retried(now)).count() as u64;
        }
        Ok(count.min(Census::LIMIT))
    }

    /// Makes users due in the background lane. Users who are due or leased, or were synced or parked since `since`, are left
    /// alone. A user who is not known yet gets a row; a forgotten user is dropped when it is leased.
    /// An error may leave some of them due.
    pub(crate) async fn enqueue(
        &self,
        users: Vec<UserId>,
        cause: &'static str,
        since: Millis,
    ) -> Result<Enqueued, QueueError> {
        let ids = sorted_ids(&users);
        let mut enqueued = Enqueued::default();
        for page in ids.chunks(STEP) {
            let ids = page.to_vec();
            let look = Look::rows(ids.clone());
            let due = self.transact(look, move |seen| {
                let row = |id: &String| seen.rows.get(id).cloned().unwrap_or_else(|| Row::new(id.as_str()));
                let rows: Vec<Row> =
                    ids.iter().filter_map(|id| row(id).enqueued(cause, since, seen.now)).collect();
                let due = rows.len() as u64;
                (Change::rows(rows), due)
            });
            let due = due.await?;
            enqueued.due += due;
            enqueued.left_alone += page.len() as u64 - due;
        }
        Ok(enqueued)
    }

    /// How much of the background lane is left, and the outcomes of the rows synced since `since`.
    pub(crate) async fn backlog(&self, since: Millis) -> Result<Backlog, QueueError> {
        let census = self.count().await?;
        let ended = match self.ask(Question::EndedSince(since)).await? {
            Answer::Ended(ended) => ended,
            other => return Err(QueueError::mismatch(&other)),
        };
        Ok(Backlog { waiting: census.background_waiting, ended, failing: census.failing })
    }

    /// Counts the rows, at most once in [`Census::EVERY`]; between, the last answer.
    pub(crate) async fn census(&self) -> Result<Census, QueueError> {
        if self.is_closed() {
            return Err(QueueError::Closed);
        }
        let now = self.0.clock.now();
        let last = || self.0.last_census.lock().unwrap_or_else(PoisonError::into_inner);
        let known = *last(); // the lock is not held while rows are counted
        if let Some((at, census)) = known
            && now.since(at) < Census::EVERY
        {
            return Ok(census);
        }
        let census = self.count().await?;
        *last() = Some((now, census));
        Ok(census)
    }

    /// Whether nothing is due, now or later, and nobody is being synced.
    pub(crate) async fn is_idle(&self) -> Result<bool, QueueError> {
        let census = self.count().await?;
        Ok(census.due + census.leased + census.scheduled + census.failing == 0)
    }

    async fn count(&self) -> Result<Census, QueueError> {
        match self.ask(Question::Census).await? {
            Answer::Census(census) => Ok(census),
            other => Err(QueueError::mismatch(&other)),
        }
    }

    /// The rows that `filter` lets pass, in the order of their ids.
    pub(crate) async fn rows(&self, filter: &Filter) -> Result<Vec<UserRow>, QueueError> {
        let rows = self.read_rows(Question::Rows(filter.clone())).await?;
        let now = self.0.clock.now();
        Ok(rows.into_iter().map(|row| UserRow::of(row, now)).collect())
    }

    /// The rows of `users`, in the order of their ids; a user who is not known has none.
    pub(crate) async fn rows_of(&self, users: &[UserId]) -> Result<Vec<UserRow>, QueueError> {
        let rows = self.read_rows(Question::RowsOf(sorted_ids(users))).await?;
        let now = self.0.clock.now();
        Ok(rows.into_iter().map(|row| UserRow::of(row, now)).collect())
    }

    pub(super) async fn read_rows(&self, question: Question) -> Result<Vec<Row>, QueueError> {
        match self.ask(question).await? {
            Answer::Rows(rows) => Ok(rows),
            other => Err(QueueError::mismatch(&other)),
        }
    }

    /// Those of `users` that an operator has had forgotten, each once, in order.
    pub(crate) async fn forgotten(&self, users: &[UserId]) -> Result<Vec<UserId>, QueueError> {
        let hash = |user: &UserId| self.0.erasure_key.hash(user.as_str());
        let found = self.tombstones(users.iter().map(hash).collect()).await?;
        let forgotten: BTreeSet<&UserId> = users.iter().filter(|user| found.contains(&hash(user))).collect();
        Ok(forgotten.into_iter().cloned().collect())
    }

    pub(super) async fn tombstones(&self, hashes: Vec<String>) -> Result<BTreeSet<String>, QueueError> {
        match self.ask(Question::Tombstones(hashes)).await? {
            Answer::Tombstones(found) => Ok(found),
            other => Err(QueueError::mismatch(&other)),
        }
    }

    async fn rows_at(&self, address: &str, most: usize) -> Result<Vec<Row>, String> {
        match address::key(address) {
            Some(key) => self.read_rows(Question::RowsAt(key, most)).await.map_err(|error| error.to_string()),
            None => Ok(Vec::new()),
        }
    }

    /// The latest `most` entries of the history of `user`, the latest first.
    pub(crate) async fn history(&self, user: &UserId, most: usize) -> Result<Vec<HistoryRow>, QueueError> {
        let entries = self.entries(Question::History(user.as_str().to_owned(), most)).await?;
        Ok(entries.into_iter().map(|(_, entry)| entry).collect())
    }

    /// The latest entries of all users, with the user's id, the latest first.
    pub async fn log(&self, filter: LogFilter) -> Result<Vec<(String, HistoryRow)>, QueueError> {
        self.entries(Question::Log(filter)).await
    }

    async fn entries(&self, question: Question) -> Result<Vec<(String, HistoryRow)>, QueueError> {
        match self.ask(question).await? {
            Answer::Entries(entries) => Ok(entries),
            other => Err(QueueError::mismatch(&other)),
        }
    }

    /// What rows are parked for, the largest group first, `most` groups at the most.
    pub(crate) async fn parked(&self, most: usize) -> Result<Vec<ParkedGroup>, QueueError> {
        match self.ask(Question::Parked(most)).await? {
            Answer::Parked(groups) => Ok(groups),
            other => Err(QueueError::mismatch(&other)),
        }
    }

    /// Stores the progress of a backfill, as JSON, in place of the one before.
    pub(crate) async fn keep_progress(&self, progress: String) -> Result<(), QueueError> {
        self.transact(Look::default().with(BACKFILL), move |_| {
            let documents = [(BACKFILL.to_owned(), progress.clone())].into();
            (Change { documents, ..Change::default() }, ())
        })
        .await
    }

    /// The progress of the last backfill, as JSON.
    pub(crate) async fn progress(&self) -> Result<Option<String>, QueueError> {
        Ok(self.documents(BACKFILL).await?.remove(BACKFILL).filter(|text| !text.is_empty()))
    }

    pub(super) async fn documents(&self, prefix: &str) -> Result<BTreeMap<String, String>, QueueError> {
        match self.ask(Question::Documents(prefix.to_owned())).await? {
            Answer::Documents(documents) => Ok(documents),
            other => Err(QueueError::mismatch(&other)),
        }
    }

    /// Changes every row of an index, [`STEP`] at a time. `change` has to take a row out of the index.
    pub(super) async fn change_all(
        &self,
        index: Index,
        change: impl Fn(Row, &Seen) -> Row + Clone + Send + Sync + 'static,
    ) -> Result<u64, QueueError> {
        let mut all = 0;
        loop {
            let change = change.clone();
            let look = Look::first(index.clone(), STEP);
            let changed = self.transact(look, move |seen| {
                let rows: Vec<Row> =
                    seen.first.iter().flatten().map(|row| change(row.clone(), seen)).collect();
                let count = rows.len();
                (Change::rows(rows), count)
            });
            let changed = changed.await?;
            all += changed as u64;
            if changed < STEP {
                return Ok(all);
            }
        }
    }

    /// The account of the calls that a sync of `lane` makes beside those that came with its lease.
    pub(crate) fn meter(&self, lane: Lane) -> LaneMeter {
        LaneMeter { queue: self.clone(), lane }
    }
}

fn sorted_ids(users: &[UserId]) -> Vec<String> {
    let ids: BTreeSet<&str> = users.iter().map(UserId::as_str).collect();
    ids.into_iter().map(str::to_owned).collect()
}

/// The ids of the rows that a [`Retry`] names, [`STEP`] at a time.
enum Pages {
    Users(Vec<String>),
    Parked { answer: Option<String>, reason: Option<String>, after: Option<String> },
}

impl Pages {
    fn of(whom: Retry) -> Self {
        let (answer, reason) = match whom {
            Retry::Users(users) => {
                return Self::Users(users.iter().map(|user| user.as_str().to_owned()).collect());
            }
            Retry::AllParked => (None, None),
            Retry::Answer(answer) => (Some(answer), None),
            Retry::Reason(reason) => (None, Some(reason)),
        };
        Self::Parked { answer, reason, after: None }
    }

    async fn next(&mut self, queue: &Queue) -> Result<Option<Vec<String>>, QueueError> {
        match self {
            Self::Users(ids) => {
                let page: Vec<String> = ids.drain(..ids.len().min(STEP)).collect();
                Ok(Some(page).filter(|page| !page.is_empty()))
            }
            Self::Parked { answer, reason, after } => {
                let (state, limit) = (Some(RowState::Parked), STEP);
                let filter = Filter { state, reason: reason.clone(), after: after.clone(), limit };
                let rows = queue.read_rows(Question::Rows(filter)).await?;
                let Some(last) = rows.last() else { return Ok(None) };
                *after = Some(last.user_id.clone());
                let rows = rows.into_iter().filter(|row| answer.is_none() || row.answer == *answer);
                Ok(Some(rows.map(|row| row.user_id).collect()))
            }
        }
    }
}

/// The account of calls that a lane makes beside those that came with its leases, kept in the store for all processes.
#[derive(Debug, Clone)]
pub struct LaneMeter {
    queue: Queue,
    lane: Lane,
}

impl Meter for LaneMeter {
    fn take_call(&self, api: Api) -> BoxFuture<'_, Result<Turn, String>> {
        let (lane, rates) = (self.lane, self.queue.0.options.rates);
        Box::pin(async move {
            let turn = self.queue.transact(Look::default().with(APIS), move |seen| {
                let mut apis = seen.apis().checked(seen.now, &rates);
                let turn = apis.take_call(api, lane, seen.now, &rates);
                (Change::default().apis(seen, &apis), turn)
            });
            turn.await.map_err(|error| error.to_string())
        })
    }
}

impl AddressIndex for Queue {
    fn others_at<'a>(
        &'a self,
        user: &'a UserId,
        address: &'a str,
        most: usize,
    ) -> BoxFuture<'a, Result<Vec<UserId>, String>> {
        Box::pin(async move {
            let rows = self.rows_at(address, most.saturating_add(1)).await?.into_iter();
            let others = rows.filter(|row| row.user_id != user.as_str());
            Ok(others.filter_map(|row| UserId::new(row.user_id).ok()).take(most).collect())
        })
    }

    fn seen_by_others<'a>(
        &'a self,
        user: &'a UserId,
        address: &'a str,
        list: &'a str,
    ) -> BoxFuture<'a, Result<SeenByOthers, String>> {
        Box::pin(async move {
            let rows = self.rows_at(address, MOST_AT_AN_ADDRESS).await?.into_iter();
            let others = rows.filter(|row| row.user_id != user.as_str()).map(|row| row.last_seen);
            let on_list = others.filter(|memory| memory.list.as_deref().is_none_or(|its| its == list));
            let contacts = on_list.filter_map(|memory| memory.contact);
            Ok(contacts.fold(SeenByOthers::default(), |seen, contact| SeenByOthers {
                contact: true,
                on_list: seen.on_list || contact.on_list,
            }))
        })
    }

    fn contact_keys(&self, list: String) -> ContactKeys {
        self.0.erasure_key.contact_keys(list)
    }

    fn holds_removals(&self) -> bool {
        self.guard().is_tripped()
    }
}
