//! The queue in one SQLite file, for one service and the commands beside it.
//!
//! A thread of its own writes ([`writer`]), another keeps the log short ([`checkpoints`]), and each question is read on a
//! connection of its own ([`reader`]). An operating-system lock beside the file keeps a second service out ([`file`]); a
//! command takes turns with the service by SQLite's own lock, a transaction each, and by a clock that they share
//! ([`shared_clock`]). A damaged file is refused ([`open`](mod@open)), or left alone from the moment the damage is found
//! ([`integrity`]); so is one that was moved away ([`open_files`]).
//!
//! What made it fast, measured: one transaction for all that waits; one trip to the writer's thread per event;
//! checkpoints beside the writer; small pages; a batch in the order of its keys. What did not, and is left out: waiting
//! for a batch to fill, and statements with several rows.

mod checkpoints;
mod file;
mod integrity;
mod open;
mod open_files;
mod reader;
mod rows;
mod schema;
mod shared_clock;
#[cfg(test)]
mod tests;
mod writer;

use std::path::Path;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};

use super::accepting::Accepting;
use super::erasure_key::ErasureKey;
use super::store::{Answer, Change, Look, Push, Question, Seen, Store};
use super::{OpenError, QueueError, Role};
use crate::clock::Clock;
pub(super) use file::Tuning;
use open::Opened;
use open_files::OpenFiles;
use reader::Reader;
use writer::{Command, Decision, Writer};

/// How many commands may wait for the writer. Beyond it, callers wait for room.
const WAITING: usize = 4_096;

/// An open file. When it is dropped, the writer finishes what waits, and closes the file.
#[derive(Debug)]
pub(super) struct SqliteStore {
    commands: mpsc::Sender<Command>,
    reader: Reader,
    accepting: Accepting,
    closed: watch::Receiver<bool>,
}

/// Opens the file at `path` and starts the threads. Blocks: for the length of a few file operations, and longer if a schema
/// changes.
///
/// # Errors
/// [`OpenError`] says what is wrong with the file and what to do. Nothing is replaced, ever.
pub(super) fn open(
    path: &Path,
    role: Role,
    debounce: Duration,
    clock: Clock,
    tuning: Tuning,
) -> Result<(SqliteStore, ErasureKey), OpenError> {
    let opened = match role {
        Role::Service => open::alone(path, &clock, tuning)?,
        Role::Command { may_create } => open::beside(path, may_create, &clock, tuning)?,
    };
    let Opened { file, connection, erasure_key, lock, unready } = opened;
    let of_checkpoints = file.connect(tuning)?;
    let files = OpenFiles::of(&file, lock.is_some())
        .map_err(|error| OpenError::Store(file.path().to_owned(), error.to_string()))?;

    let (sender, commands) = mpsc::channel(WAITING);
    let (set_closed, closed) = watch::channel(false);
    let accepting = Accepting::default();
    let weak = sender.downgrade(); // a strong one would keep the store open
    let probe = move || {
        if let Some(sender) = weak.upgrade() {
            // If there is no room, events wait, and they show as well whether they can be kept.
            let _ = sender.try_send(Command::Probe);
        }
    };
    let checkpoints = checkpoints::start(of_checkpoints, probe, tuning).map_err(OpenError::Thread)?;
    let reader = Reader::new(file.clone(), files.clone(), clock.clone());
    let writer = Writer {
        connection,
        commands,
        checkpoints,
        file,
        files,
        lock,
        clock,
        debounce,
        unready,
        unusable: None,
        has_erased: false,
        callers: Handle::try_current().ok(),
        accepting: accepting.clone(),
        closed: set_closed,
    };
    writer::start(writer, tuning).map_err(OpenError::Thread)?;
    Ok((SqliteStore { commands: sender, reader, accepting, closed }, erasure_key))
}

impl SqliteStore {
    async fn send<A>(
        &self,
        command: Command,
        reply: oneshot::Receiver<Result<A, QueueError>>,
    ) -> Result<A, QueueError> {
        self.commands.send(command).await.map_err(|_| QueueError::Closed)?;
        // The writer answers everything that it takes; if it does not, it is gone.
        reply.await.unwrap_or(Err(QueueError::Closed))
    }
}

impl Store for SqliteStore {
    async fn push(&self, event: Push) -> Result<(), QueueError> {
        let (reply, receiver) = oneshot::channel();
        self.send(Command::Push(event, reply), receiver).await
    }

    async fn transact<A, D>(&self, look: Look, decide: D) -> Result<A, QueueError>
    where
        A: Send + 'static,
        D: Fn(&Seen) -> (Change, A) + Send + Sync + 'static,
    {
        let (reply, receiver) = oneshot::channel();
        let decision = Decision { look, decide, answer: None, reply };
        self.send(Command::Transact(Box::new(decision)), receiver).await
    }

    async fn ask(&self, question: Question) -> Result<Answer, QueueError> {
        if self.commands.is_closed() {
            return Err(QueueError::Closed);
        }
        self.reader.ask(question).await
    }

    fn accepting(&self) -> bool {
        !self.commands.is_closed() && self.accepting.get()
    }

    async fn close(&self) {
        // An error means that it is closing already; the other, that the writer ended by a panic.
        let _ = self.commands.send(Command::Close).await;
        let _ = self.closed.clone().wait_for(|closed| *closed).await;
    }
}
