//! What can go wrong with a queue: while it is opened, where an operator reads it, and later.

use std::path::PathBuf;

use super::PostgresError;

/// Why the queue could not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum QueueError {
    /// The store refused; the text is its own message.
    #[error("the queue's store failed: {0}")]
    Store(String),
    /// The store's file was found damaged: nothing is written into it any more.
    #[error(transparent)]
    Damaged(Damage),
    /// A file of the store is not where it was opened: nothing is written into the store any more.
    #[error(transparent)]
    Moved(#[from] Moved),
    /// The store did not answer in the time that the caller has.
    #[error("the queue's store does not answer; does its disk hang?")]
    Late,
    /// The queue has been closed.
    #[error("the queue is closed")]
    Closed,
}

impl QueueError {
    /// A store gave the answer to another question, which none does.
    pub(super) fn mismatch(answer: &super::store::Answer) -> Self {
        Self::Store(format!("it answered another question: {answer:?}"))
    }
}

/// A damaged database, and what to do. It reads the same whether it is found at the start or later.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the queue {} is damaged: {why}. It is left as it is, and no event is kept in it. Stop the service and put a backup \
     in its place; or move it away, together with the files beside it whose names begin alike, to start with an empty \
     queue, which forgets who was waiting for a sync",
    path.display()
)]
pub struct Damage {
    /// The database.
    pub path: PathBuf,
    /// SQLite's finding.
    pub why: String,
}

/// A file of the queue that is not where it was opened, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the queue's file {} is not the one that this process opened: {what}. No event is kept and no user is synced from now \
     on. Put the file back, together with the files beside it whose names begin alike, and restart the service. To go on \
     with another file, or with an empty queue, which forgets who was waiting for a sync, just restart it",
    path.display()
)]
pub struct Moved {
    /// The file: the database, or one beside it.
    pub path: PathBuf,
    /// What has become of it.
    pub what: &'static str,
}

/// Why a queue could not be opened. Each message names the file and what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder or a file in it cannot be made or written.
    #[error(
        "cannot write {}: {why}. This process runs as user id {uid}: let that user own the folder and its files \
         (chown -R {uid} {}), mount a volume there that it may write to, or set queue.url to another place",
        path.display(), folder.display()
    )]
    NotWritable {
        /// What could not be written.
        path: PathBuf,
        /// The database's folder.
        folder: PathBuf,
        /// The user id of this process.
        uid: String,
        /// The system's reason.
        why: String,
    },
    /// Another process has the queue: the database, and the file whose lock is taken.
    #[error(
        "the queue {} is in use: another process holds {}. Stop that one first, or set queue.url to a file of \
         this one's own",
        .0.display(), .1.display()
    )]
    InUse(PathBuf, PathBuf),
    /// The system cannot lock this file; with its reason.
    #[error(
        "cannot lock {}: {}. The queue needs a file system with locks: a local disk, not a network share",
        .0.display(), .1
    )]
    NoLock(PathBuf, String),
    /// The file is something else.
    #[error(
        "{} is not an SQLite database. It was left as it is: set queue.url to another file, or put a backup in its \
         place",
        .0.display()
    )]
    NotADatabase(PathBuf),
    /// The file is another program's database.
    #[error(
        "{} is a database of another program. It was left as it is: set queue.url to a file of the queue's own",
        .0.display()
    )]
    Foreign(PathBuf),
    /// The database was damaged.
    #[error(transparent)]
    Damaged(Damage),
    /// Another program keeps all others from reading the database.
    #[error(
        "{} is locked by another program: a backup, or an open sqlite3 shell? Let it end, or stop it, and start again",
        .0.display()
    )]
    Locked(PathBuf),
    /// The database's disk has no room, or fails; with SQLite's own message.
    #[error(
        "cannot open the queue {}: {}. Is there room on its disk, and is the disk sound? Put \
         that right and start again",
        .0.display(), .1
    )]
    Disk(PathBuf, String),
    /// A newer version of this program has changed the schema.
    #[error(
        "the queue {} has schema version {found}, and this program knows none after {known}: run the version that \
         wrote it or a later one, or put a backup of the older schema in its place",
        path.display()
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// The file's schema version.
        found: u32,
        /// The latest one known.
        known: u32,
    },
    /// An older version of this program is running on the file, and keeps its schema from being changed.
    #[error(
        "the queue {} has schema version {found}, and this program needs {known}: it is a service's of another version. \
         Run the program of that version; or stop that service, if it runs, and start this version in its place",
        path.display()
    )]
    Older {
        /// The database.
        path: PathBuf,
        /// The file's schema version.
        found: u32,
        /// The one that this program needs.
        known: u32,
    },
    /// There is no queue at this path, and the caller may not make one.
    #[error(
        "there is no queue at {} yet: the service makes it when it first starts (`sesamy-mailmojo serve`). If it has, \
         set queue.url to the service's: this command looks elsewhere, maybe from another folder",
        .0.display()
    )]
    NoQueue(PathBuf),
    /// Anything else that SQLite says of the database.
    #[error("cannot open the queue {}: {}", .0.display(), .1)]
    Store(PathBuf, String),
    /// What is wrong with a Postgres database.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    /// No thread could be started.
    #[error("cannot start the queue's thread: {0}. The limit on processes or memory may be too low")]
    Thread(#[source] std::io::Error),
}
