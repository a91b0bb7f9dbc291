//! The seam between the queue's rules and where rows are kept. Above it everything is pure or a loop; below it a store
//! loads rows, saves rows and keeps events, and knows no rule.
//!
//! A transaction is what to look at, a pure decision, and what to save. A store may run the decision more than once: after
//! a deadlock, or when another transaction of the same commit failed.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;

use super::QueueError;
use super::history::{HistoryRow, LogFilter};
use super::lane::Lane;
use super::row::Row;
use super::views::{Census, Filter, ParkedGroup};
use crate::clock::Millis;
use crate::user::UserId;

/// Keeps rows, the history, documents and tombstones. All or nothing of a [`Change`] is saved, and is synced to disk when the
/// call returns.
pub(super) trait Store: Send + Sync + 'static {
    /// Keeps an event ([`Row::pushed`], due at now + debounce), together with all others that wait.
    ///
    /// # Errors
    /// The event was not kept, as far as the store can tell.
    fn push(&self, event: Push) -> impl Future<Output = Result<(), QueueError>> + Send;

    /// Looks, decides and saves, in one transaction.
    ///
    /// # Errors
    /// Nothing was saved, as far as the store can tell.
    fn transact<A, D>(&self, look: Look, decide: D) -> impl Future<Output = Result<A, QueueError>> + Send
    where
        A: Send + 'static,
        D: Fn(&Seen) -> (Change, A) + Send + Sync + 'static;

    /// Answers a question beside the writer: no event waits for it. All that one question reads is of one moment.
    ///
    /// # Errors
    /// The store could not be read.
    fn ask(&self, question: Question) -> impl Future<Output = Result<Answer, QueueError>> + Send;

    /// Whether the last event could be kept. While not, a small write every 2 s finds out when events can be kept again.
    fn accepting(&self) -> bool;

    /// Finishes what waits and releases everything. Later calls fail with [`QueueError::Closed`].
    fn close(&self) -> impl Future<Output = ()> + Send;
}

/// An event to keep.
#[derive(Debug, Clone)]
pub(super) struct Push {
    pub(super) user: UserId,
    /// The event's type.
    pub(super) cause: &'static str,
}

/// The events of each user as one, in the order of the ids: the user, how many, and the cause of the last.
pub(super) fn coalesced<'a>(events: impl Iterator<Item = &'a Push>) -> Vec<(&'a str, i64, &'static str)> {
    let mut events: Vec<&Push> = events.collect();
    events.sort_by(|a, b| a.user.cmp(&b.user)); // stable: of one user's events the last stays last
    let of_users = events.chunk_by(|a, b| a.user == b.user);
    let of_users = of_users.filter_map(|events| Some((events.last()?, events.len())));
    of_users
        .map(|(last, count)| (last.user.as_str(), i64::try_from(count).unwrap_or(i64::MAX), last.cause))
        .collect()
}

/// What a transaction looks at. Rows that are named are locked in the order of their ids, and waited for; then documents,
/// in the order of their names. If rows are taken by an index, documents are locked first, and a row that another
/// transaction has locked is skipped. So two transactions never wait for each other.
#[derive(Debug, Clone, Default)]
pub(super) struct Look {
    /// Rows by id, with the last entry of each one's history where `last_entries` says so.
    pub(super) rows: Vec<String>,
    pub(super) last_entries: bool,
    /// The first rows of these, each in the order of its index. A look has `rows` or `first`, never both.
    pub(super) first: Vec<First>,
    /// The names of documents.
    pub(super) documents: Vec<String>,
    /// Hashes of forgotten users, as lower-case hex.
    pub(super) tombstones: Vec<String>,
    /// The ids of history entries whose last sync was before this time, the oldest first; and the most of them.
    pub(super) entries_before: Option<(Millis, usize)>,
    /// The earliest `due_at` after now of each lane (lease ends included).
    pub(super) next_due: bool,
}

/// The first rows of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct First {
    pub(super) of: Index,
    pub(super) most: usize,
}

/// Rows in an order; [`Index::search`] says which and in which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Index {
    /// Due now in this lane. Leases that have ended are among them.
    Due(Lane),
    /// A check has come by the wall clock, and the row is not leased.
    CheckDue,
    /// A check for this cause comes after this time.
    CheckAfter { cause: &'static str, at: Millis },
    /// A change is held back, and the row is not leased.
    HeldBack,
    /// A service's lease ends after this time.
    LeasedByServiceBeyond(Millis),
    /// Due after this time, and not leased.
    DueBeyond(Millis),
    /// Parked with this answer.
    ParkedWith(String),
    /// Without an address since before this time, and with nothing to do.
    MissingBefore(Millis),
}

/// How the rows of an [`Index`] are found, in the SQL of both stores. The parameters `$1` and so on are `numbers` and then
/// `text`.
pub(super) struct Search<'a> {
    /// The name of the table's index that has them.
    pub(super) index: &'static str,
    pub(super) condition: &'static str,
    /// The id decides between equals, as it does in the index.
    pub(super) order: &'static str,
    pub(super) numbers: Vec<i64>,
    pub(super) text: Option<&'a str>,
}

impl Index {
    /// How to find the rows at `now`, by the queue's time, and at `wall`, by the time of day.
    pub(super) fn search(&self, now: Millis, wall: Millis) -> Search<'_> {
        let (index, condition, order, numbers) = match self {
            Self::Due(lane) => {
                ("users_due", "lane = $1 AND due_at <= $2", "due_at, user_id", vec![lane.number(), now.0])
            }
            Self::CheckDue => {
                ("users_checked", "check_at <= $1 AND lease IS NULL", "check_at, user_id", vec![wall.0])
            }
            Self::CheckAfter { at, .. } => {
                ("users_checked", "check_at > $1 AND check_cause = $2", "check_at, user_id", vec![at.0])
            }
            Self::HeldBack => ("users_held_back", "held_back = 1 AND lease IS NULL", "user_id", vec![]),
            Self::LeasedByServiceBeyond(at) => (
                "users_leased",
                "lease IS NOT NULL AND lease LIKE 'service-%' AND due_at > $1",
                "due_at, user_id",
                vec![at.0],
            ),
            // The lanes are named so that the condition on `due_at` is a range of the index.
            Self::DueBeyond(at) => (
                "users_due",
                "lane IN (0, 1, 2) AND due_at > $1 AND lease IS NULL",
                "lane, due_at, user_id",
                vec![at.0],
            ),
            Self::ParkedWith(_) => {
                ("users_parked", "parked_at IS NOT NULL AND answer = $1", "user_id", vec![])
            }
            Self::MissingBefore(at) => (
                "users_missing",
                "missing_since < $1 AND address_key IS NULL AND due_at IS NULL AND held_back = 0",
                "missing_since, user_id",
                vec![at.0],
            ),
        };
        let text = match self {
            Self::CheckAfter { cause, .. } => Some(*cause),
            Self::ParkedWith(answer) => Some(answer.as_str()),
            _ => None,
        };
        Search { index, condition, order, numbers, text }
    }
}

impl Search<'_> {
    /// The parameter after the search's own: how many rows at the most.
    pub(super) fn limit(&self) -> String {
        format!("${}", self.numbers.len() + usize::from(self.text.is_some()) + 1)
    }
}

/// What a transaction has found.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    /// The queue's time, which leases and due times go by.
    pub(super) now: Millis,
    /// The time of day, which checks go by.
    pub(super) wall: Millis,
    /// The rows of [`Look::rows`] that exist, by id.
    pub(super) rows: BTreeMap<String, Row>,
    /// The rows of each of [`Look::first`].
    pub(super) first: Vec<Vec<Row>>,
    /// The documents that exist: JSON text by name.
    pub(super) documents: BTreeMap<String, String>,
    /// The last history entry of each row, by user id.
    pub(super) last_entries: BTreeMap<String, HistoryRow>,
    /// The tombstones that exist.
    pub(super) tombstones: BTreeSet<String>,
    /// The ids of [`Look::entries_before`].
    pub(super) entries: Vec<i64>,
    /// The earliest of [`Look::next_due`], by lane.
    pub(super) next_due: BTreeMap<Lane, Millis>,
}

/// What a transaction saves. Empty: nothing is written.
#[derive(Debug, Clone, Default)]
pub(super) struct Change {
    /// Rows to insert or replace, whole.
    pub(super) rows: Vec<Row>,
    /// Users whose row and history are erased. SQLite overwrites them on disk.
    pub(super) erased: Vec<String>,
    /// History entries of a user: a new one where its `id` is 0, else in place of the one with that id.
    pub(super) entries: Vec<(String, HistoryRow)>,
    /// History entries to remove, by id.
    pub(super) removed_entries: Vec<i64>,
    /// Documents to save, JSON text by name; an empty text removes one.
    pub(super) documents: BTreeMap<String, String>,
    /// Tombstones to add, and to remove.
    pub(super) tombstones: Vec<String>,
    pub(super) removed_tombstones: Vec<String>,
}

/// A question beside the writer. Each has its own [`Answer`].
#[derive(Debug, Clone)]
pub(super) enum Question {
    /// [`Answer::Rows`]: the rows that the filter lets pass, by id.
    Rows(Filter),
    /// [`Answer::Rows`]: these rows, by id.
    RowsOf(Vec<String>),
    /// [`Answer::Rows`]: rows with this key of an address, by id, at most this number.
    RowsAt(String, usize),
    /// [`Answer::Census`].
    Census,
    /// [`Answer::Parked`]: the largest groups first.
    Parked(usize),
    /// [`Answer::Entries`]: the latest entries of a user, the latest first.
    History(String, usize),
    /// [`Answer::Entries`]: the latest entries of all users, the latest first.
    Log(LogFilter),
    /// [`Answer::Documents`]: documents whose name begins so.
    Documents(String),
    /// [`Answer::Tombstones`]: which of these hashes there are.
    Tombstones(Vec<String>),
    /// [`Answer::Ended`]: how many rows were last synced since then (`synced_at` or `parked_at`), by outcome and reason.
    EndedSince(Millis),
}

/// The answer to a [`Question`].
#[derive(Debug, Clone)]
pub(super) enum Answer {
    Rows(Vec<Row>),
    Census(Census),
    Parked(Vec<ParkedGroup>),
    /// With the user's id.
    Entries(Vec<(String, HistoryRow)>),
    Documents(BTreeMap<String, String>),
    Tombstones(BTreeSet<String>),
    Ended(Vec<(String, String, u64)>),
}

impl Look {
    /// Rows by id.
    pub(super) fn rows<T: Into<String>>(ids: impl IntoIterator<Item = T>) -> Self {
        Self { rows: ids.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// The first `most` rows of an index.
    pub(super) fn first(of: Index, most: usize) -> Self {
        Self { first: vec![First { of, most }], ..Self::default() }
    }

    /// With a document.
    pub(super) fn with(mut self, document: &str) -> Self {
        self.documents.push(document.to_owned());
        self
    }
}

impl Change {
    /// Saves rows.
    pub(super) fn rows(rows: impl IntoIterator<Item = Row>) -> Self {
        Self { rows: rows.into_iter().collect(), ..Self::default() }
    }

    /// The earliest time at which a row is due that is saved without a lease.
    pub(super) fn made_due(&self) -> Option<Millis> {
        self.rows.iter().filter(|row| row.lease.is_none()).filter_map(|row| row.due_at).min()
    }

    /// Whether there is nothing to save.
    pub(super) fn is_empty(&self) -> bool {
        let Self { rows, erased, entries, removed_entries, documents, tombstones, removed_tombstones } = self;
        rows.is_empty()
            && erased.is_empty()
            && entries.is_empty()
            && removed_entries.is_empty()
            && documents.is_empty()
            && tombstones.is_empty()
            && removed_tombstones.is_empty()
    }
}
