//! The queue in one SQLite file, for one service and the commands beside it.
//!
//! A thread of its own writes ([`writer`]), another keeps the log short ([`checkpoints`]), and each question is read on a
//! connection of its own ([`reader`]). An operating-system lock beside the file keeps a second service out ([`file`]); a
//! command takes turns with the service by SQLite's own lock, a transaction each, and by a clock that they share
//! ([`shared_clock`]). A damaged file is refused, or left alone from the moment the damage is found ([`integrity`]); so is one
//! that was moved away ([`open_files`]).
//!
//! What made it fast, measured: one transaction for all that waits; one trip to the writer's thread per event;
//! checkpoints beside the writer; small pages; a batch in the order of its keys. What did not, and is left out: waiting
//! for a batch to fill, and statements with several rows.

mod checkpoints;
mod file;
mod integrity;
mod open_files;
mod reader;
mod rows;
mod schema;
mod shared_clock;
#[cfg(test)]
mod tests;
mod writer;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::{Connection, ErrorCode, OptionalExtension, TransactionBehavior};
use tokio::sync::{mpsc, oneshot, watch};

use super::store::{Answer, Change, Look, Push, Question, Seen, Store};
use super::{OpenError, QueueError, Role, StoreOptions};
use crate::clock::Clock;
use file::DatabaseFile;
pub(super) use file::Tuning;
use open_files::OpenFiles;
use reader::Reader;
use schema::Version;
use writer::{Command, Decision, Unready, Writer};

/// How many commands may wait for the writer. Beyond it, callers wait for room.
const WAITING: usize = 4_096;

/// An open file. When it is dropped, the writer finishes what waits, and closes the file.
#[derive(Debug)]
pub(super) struct SqliteStore {
    commands: mpsc::Sender<Command>,
    reader: Reader,
    erasure_key: Vec<u8>,
    accepting: Arc<AtomicBool>,
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
    options: StoreOptions,
    clock: Clock,
    tuning: Tuning,
) -> Result<SqliteStore, OpenError> {
    let opened = match role {
        Role::Service => open_alone(path, &clock, tuning)?,
        Role::Command { may_create } => open_beside(path, may_create, &clock, tuning)?,
    };
    let Opened { file, connection, erasure_key, lock, unready } = opened;
    let of_checkpoints = file.connect(tuning)?;
    let files = OpenFiles::of(&file, lock.is_some())
        .map_err(|error| OpenError::Store { path: file.path().to_owned(), why: error.to_string() })?;

    let (sender, commands) = mpsc::channel(WAITING);
    let (set_closed, closed) = watch::channel(false);
    let accepting = Arc::new(AtomicBool::new(true));
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
        debounce: options.debounce,
        unready,
        accepting: Arc::clone(&accepting),
        closed: set_closed,
    };
    writer::start(writer, tuning).map_err(OpenError::Thread)?;
    Ok(SqliteStore { commands: sender, reader, erasure_key, accepting, closed })
}

impl SqliteStore {
    /// The secret of the hashes of this file.
    pub(super) fn erasure_key(&self) -> &[u8] {
        &self.erasure_key
    }

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
        !self.commands.is_closed() && self.accepting.load(Ordering::Relaxed)
    }

    async fn close(&self) {
        // An error means that it is closing already; the other, that the writer ended by a panic.
        let _ = self.commands.send(Command::Close).await;
        let _ = self.closed.clone().wait_for(|closed| *closed).await;
    }
}

struct Opened {
    file: DatabaseFile,
    connection: Connection,
    erasure_key: Vec<u8>,
    /// None beside a service.
    lock: Option<File>,
    unready: Unready,
}

/// For a service, which has the file to itself but for commands.
fn open_alone(path: &Path, clock: &Clock, tuning: Tuning) -> Result<Opened, OpenError> {
    let file = DatabaseFile::at(path)?;
    let lock = file.lock()?;
    file.close_to_others();
    let mut connection = connect(&file, schema::STEPS, tuning)?;
    let is_large = file.bytes() > tuning.check_first;
    if !is_large {
        integrity::whole(&file, tuning)?;
    }
    let erasure_key = erasure_key(&file, &connection)?;
    let has_joined = shared_clock::join(&connection, clock).map_err(|error| file.explain(&error))?;
    let mut unready = Unready { check: is_large, clock: !has_joined };
    if !is_large && !has_joined {
        match begin_clock(&mut connection, clock) {
            Ok(()) => unready.clock = false,
            // Another process's transaction: the service starts, and refuses events until that is over.
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {}
            Err(error) => return Err(file.explain(&error)),
        }
    }
    Ok(Opened { file, connection, erasure_key, lock: Some(lock), unready })
}

/// For a command. A service has checked the file whole, or will, and saves the clock that the command joins.
fn open_beside(path: &Path, may_create: bool, clock: &Clock, tuning: Tuning) -> Result<Opened, OpenError> {
    // A file that cannot be looked up is reported by the opening.
    if !may_create && matches!(path.try_exists(), Ok(false)) {
        return Err(OpenError::NoQueue { path: path.to_owned() });
    }
    let file = DatabaseFile::at(path)?;
    let connection = connect_beside(&file, schema::STEPS, may_create, clock, tuning)?;
    let erasure_key = erasure_key(&file, &connection)?;
    shared_clock::join(&connection, clock).map_err(|error| file.explain(&error))?;
    let unready = Unready { check: false, clock: false };
    Ok(Opened { file, connection, erasure_key, lock: None, unready })
}

/// The writer's connection, after all of `steps`. The caller holds the lock.
fn connect(file: &DatabaseFile, steps: &[&str], tuning: Tuning) -> Result<Connection, OpenError> {
    let known = schema::latest(steps);
    let (mut connection, found) = connect_to_ours(file, true, known, tuning)?;
    file.prepare_to_write(&connection, tuning)?;
    if found < known {
        if found > 0 {
            integrity::whole(file, tuning)?; // a change of the schema rewrites it
        }
        schema::migrate(&mut connection, steps).map_err(|error| file.explain(&error))?;
    }
    if found == 0 {
        // If a queue was expected there, a volume may be missing.
        tracing::info!(path = %file.path().display(), "a new queue, with nobody in it");
    }
    integrity::ends(&connection, steps).map_err(|error| file.explain_unfit(&error))?;
    Ok(connection)
}

/// The same for a command. The service is left alone, if there is one: the lock is taken only while the schema is made or
/// changed.
fn connect_beside(
    file: &DatabaseFile,
    steps: &[&str],
    may_create: bool,
    clock: &Clock,
    tuning: Tuning,
) -> Result<Connection, OpenError> {
    let known = schema::latest(steps);
    let (connection, found) = connect_to_ours(file, may_create, known, tuning)?;
    if found == known {
        file.prepare_to_write(&connection, tuning)?;
        integrity::ends(&connection, steps).map_err(|error| file.explain_unfit(&error))?;
        return Ok(connection);
    }
    drop(connection);
    let path = file.path().to_owned();
    match found {
        0 if !may_create => return Err(OpenError::NoQueue { path }),
        0 => {}
        // A command that only reads must not keep the service of that version from ever starting again.
        _ if !may_create => return Err(OpenError::Older { path, found, known }),
        _ => {}
    }
    let _lock = file.lock().map_err(|error| match error {
        OpenError::InUse { path, .. } => OpenError::Older { path, found, known },
        error => error,
    })?;
    let mut connection = connect(file, steps, tuning)?;
    begin_clock(&mut connection, clock).map_err(|error| file.explain(&error))?;
    Ok(connection)
}

/// A connection, and the version of the schema that it finds; 0 if there is none yet. Nothing is changed: another program's
/// file keeps its page size and journal.
fn connect_to_ours(
    file: &DatabaseFile,
    may_create: bool,
    known: u32,
    tuning: Tuning,
) -> Result<(Connection, u32), OpenError> {
    file.refuse_a_log_without_its_database()?;
    if may_create {
        file.create()?;
    }
    let connection = file.connect(tuning)?;
    match schema::version(&connection).map_err(|error| file.explain(&error))? {
        Version::Foreign => Err(OpenError::Foreign { path: file.path().to_owned() }),
        Version::Ours(found) if found > known => {
            Err(OpenError::Newer { path: file.path().to_owned(), found, known })
        }
        Version::Ours(found) => Ok((connection, found)),
    }
}

fn begin_clock(connection: &mut Connection, clock: &Clock) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    shared_clock::join_or_begin(&transaction, clock)?;
    transaction.commit()
}

/// The bytes of the text in the document, which the first step of the schema writes.
fn erasure_key(file: &DatabaseFile, connection: &Connection) -> Result<Vec<u8>, OpenError> {
    let json: Option<String> = connection
        .query_row(rows::DOCUMENT, ["erasure_key"], |row| row.get(0))
        .optional()
        .map_err(|error| file.explain(&error))?;
    let text = json.and_then(|json| serde_json::from_str::<String>(&json).ok());
    text.filter(|text| !text.is_empty()).map(String::into_bytes).ok_or_else(|| {
        OpenError::Damaged(file.damage("the document `erasure_key` is missing or is not a text".to_owned()))
    })
}
