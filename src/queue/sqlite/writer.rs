//! The only thread that writes: it takes all commands that wait, runs them in one transaction, and answers once that is
//! committed and synced. While it waits for the disk, the next batch gathers by itself.

use std::fs::File;
use std::io;
use std::slice;
use std::thread;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior, params};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};

use super::checkpoints::{Checkpoints, empty_the_log};
use super::file::{DatabaseFile, Tuning};
use super::open_files::OpenFiles;
use super::{integrity, rows, shared_clock};
use crate::clock::{Clock, Millis};
use crate::queue::accepting::Accepting;
use crate::queue::store::{Change, Look, Push, Seen, coalesced};
use crate::queue::{OpenError, QueueError};

/// The most commands in one transaction. Larger ones were not faster.
const BATCH: usize = 1_024;

/// One thing for the writer to do.
pub(super) enum Command {
    /// An event.
    Push(Push, Reply<()>),
    /// A transaction, of whatever answer.
    Transact(Box<dyn Transact>),
    /// A small write that finds out whether events can be kept again.
    Probe,
    /// The last command: what was sent before it is still done.
    Close,
}

/// Where the answer to a command goes.
pub(super) type Reply<A> = oneshot::Sender<Result<A, QueueError>>;

/// A transaction that waits for the writer.
pub(super) trait Transact: Send {
    /// Loads, decides and saves. It is called again if the commit failed for another command's fault.
    fn run(&mut self, connection: &Connection, clock: &Clock) -> rusqlite::Result<Written>;

    /// Answers, after the commit or its failure.
    fn reply(self: Box<Self>, committed: Result<(), QueueError>);
}

/// What a transaction has written.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Written {
    any: bool,
    /// Whether a user was erased, and is still in the log.
    erased: bool,
}

/// See [`crate::queue::store::Store::transact`].
pub(super) struct Decision<A, D> {
    pub(super) look: Look,
    pub(super) decide: D,
    pub(super) answer: Option<A>,
    pub(super) reply: Reply<A>,
}

impl<A, D> Transact for Decision<A, D>
where
    A: Send,
    D: Fn(&Seen) -> (Change, A) + Send,
{
    fn run(&mut self, connection: &Connection, clock: &Clock) -> rusqlite::Result<Written> {
        let seen = rows::load(connection, &self.look, clock)?;
        let (change, answer) = (self.decide)(&seen);
        self.answer = Some(answer);
        rows::save(connection, &change, seen.now)?;
        let erased = !change.erased.is_empty() || !change.removed_tombstones.is_empty();
        Ok(Written { any: !change.is_empty(), erased })
    }

    fn reply(self: Box<Self>, committed: Result<(), QueueError>) {
        let Self { answer, reply, .. } = *self;
        // The caller may be gone, and what is done stays done.
        let _ = reply.send(committed.and_then(|()| answer.ok_or(QueueError::Closed)));
    }
}

impl Command {
    /// Whether its success shows that events can be kept.
    fn keeps_events(&self) -> bool {
        matches!(self, Self::Push(..) | Self::Probe)
    }

    fn reply(self, committed: Result<(), QueueError>) {
        match self {
            Self::Push(_, reply) => drop(reply.send(committed)),
            Self::Transact(transaction) => transaction.reply(committed),
            Self::Probe | Self::Close => {}
        }
    }
}

/// What is left to do before anything else is written.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Unready {
    /// To check the whole file.
    pub(super) check: bool,
    /// To save the clock that all processes share.
    pub(super) clock: bool,
}

pub(super) struct Writer {
    pub(super) connection: Connection,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) checkpoints: Checkpoints,
    pub(super) file: DatabaseFile,
    pub(super) files: OpenFiles,
    /// None beside a service: the log is left to it.
    pub(super) lock: Option<File>,
    pub(super) clock: Clock,
    pub(super) debounce: Duration,
    pub(super) unready: Unready,
    /// Why the file is left alone: it was found damaged, or was moved away.
    pub(super) unusable: Option<QueueError>,
    pub(super) has_erased: bool,
    /// The runtime on which callers wait, if there is one.
    pub(super) callers: Option<Handle>,
    pub(super) accepting: Accepting,
    /// Set to true once everything is released.
    pub(super) closed: watch::Sender<bool>,
}

/// Starts the thread. It ends after [`Command::Close`], or when the last sender of commands is dropped.
pub(super) fn start(writer: Writer, tuning: Tuning) -> io::Result<()> {
    thread::Builder::new().name("queue-writer".to_owned()).spawn(move || writer.run(tuning)).map(drop)
}

impl Writer {
    fn run(mut self, tuning: Tuning) {
        if self.unready.check {
            self.check(tuning);
        }
        let mut batch = Vec::new();
        while self.commands.blocking_recv_many(&mut batch, BATCH) > 0 {
            if batch.iter().any(|command| matches!(command, Command::Close)) {
                self.commands.close(); // what has been sent is still received
            }
            if self.checkpoints.has_ended() {
                tracing::error!(
                    "the thread that keeps the queue's log short has ended by itself; the queue closes"
                );
                self.commands.close();
            }
            if self.unusable.is_none()
                && let Err(moved) = self.files.check()
            {
                self.leave_alone(moved.into());
            }
            self.commit(&mut batch);
        }
        self.finish();
    }

    fn check(&mut self, tuning: Tuning) {
        match integrity::whole(&self.file, tuning) {
            Ok(()) => {}
            Err(OpenError::Damaged(damage)) => self.leave_alone(QueueError::Damaged(damage)),
            // Not the file's fault; if it is, a statement will fail.
            Err(error) => tracing::warn!(%error, "the queue could not be checked whole"),
        }
    }

    /// All commands in one transaction; if that fails, each in its own, so that none fails for another's fault.
    fn commit(&mut self, batch: &mut Vec<Command>) {
        match self.commit_together(batch) {
            Err(failed) if batch.len() > 1 && !failed.for_all => {
                for mut command in batch.drain(..) {
                    let committed = self.commit_together(slice::from_mut(&mut command));
                    self.answer(vec![command], committed.map_err(|failed| failed.error));
                }
            }
            together => self.answer(std::mem::take(batch), together.map_err(|failed| failed.error)),
        }
    }

    fn commit_together(&mut self, commands: &mut [Command]) -> Result<(), Failed> {
        if let Some(why) = &self.unusable {
            return Err(Failed { error: why.clone(), for_all: true });
        }
        match self.write(commands) {
            Ok(written) => {
                self.has_erased |= written.erased;
                if written.any {
                    self.checkpoints.written(written.erased);
                }
                Ok(())
            }
            Err(error) => {
                let failed = Failed::new(&error, &self.file);
                if let QueueError::Damaged(_) = &failed.error {
                    self.leave_alone(failed.error.clone());
                }
                Err(failed)
            }
        }
    }

    /// No small write can show that the file is usable again: this holds until the end of the process.
    fn leave_alone(&mut self, why: QueueError) {
        tracing::error!("{why}");
        self.accepting.end();
        self.checkpoints.refusing(false);
        self.unusable = Some(why);
    }

    /// Answers commands that share a fate.
    fn answer(&self, commands: Vec<Command>, committed: Result<(), QueueError>) {
        if self.unusable.is_none()
            && commands.iter().any(Command::keeps_events)
            && self.accepting.note(&committed)
        {
            self.checkpoints.refusing(committed.is_err());
        }
        let answer = move || commands.into_iter().for_each(|command| command.reply(committed.clone()));
        // To wake a caller's task from this thread takes system calls; among tasks it takes next to nothing.
        match &self.callers {
            Some(callers) => drop(callers.spawn(async { answer() })),
            None => answer(),
        }
    }

    /// The log goes into the database, so that the one file is all there is. A command leaves that to the service, unless
    /// it has erased a user, who may still be in the log.
    fn finish(self) {
        let Self { connection, checkpoints, file, lock, unusable, has_erased, closed, .. } = self;
        drop(checkpoints);
        if unusable.is_none()
            && lock.is_none()
            && has_erased
            && let Err(error) = empty_the_log(&connection)
        {
            tracing::warn!(%error, "an erased user may be in the queue's log until the next start");
        }
        if unusable.is_none()
            && lock.is_some()
            && let Err(error) = copy_the_log(&connection)
        {
            if let QueueError::Damaged(damage) = file.explain_later(&error) {
                tracing::error!("{damage}");
            }
            tracing::warn!(%error, "the queue's log stays beside the database until the next start");
        }
        drop(connection);
        drop(lock);
        closed.send_replace(true);
    }

    fn write(&mut self, commands: &mut [Command]) -> rusqlite::Result<Written> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut written = Written { any: self.unready.clock, erased: false };
        if self.unready.clock {
            shared_clock::join_or_begin(&transaction, &self.clock)?;
        }
        written.any |= push(&transaction, commands, self.clock.now().plus(self.debounce))?;
        for command in commands {
            match command {
                Command::Push(..) | Command::Close => {}
                Command::Probe => {
                    rows::probe(&transaction)?;
                    written.any = true;
                }
                Command::Transact(decision) => {
                    let Written { any, erased } = decision.run(&transaction, &self.clock)?;
                    written = Written { any: written.any | any, erased: written.erased | erased };
                }
            }
        }
        transaction.commit()?;
        self.unready.clock = false;
        Ok(written)
    }
}

/// Keeps the events of `commands`, due at `due` or sooner, before all else, wherever they are among the others; whether there
/// are any. One write per user, in the order of the key, which finds each page once.
fn push(transaction: &Transaction<'_>, commands: &[Command], due: Millis) -> rusqlite::Result<bool> {
    let events = coalesced(commands.iter().filter_map(|command| match command {
        Command::Push(push, _) => Some(push),
        _ => None,
    }));
    if events.is_empty() {
        return Ok(false);
    }
    let mut onto = transaction.prepare_cached(rows::PUSH_ONTO)?;
    let mut anew = transaction.prepare_cached(rows::PUSH)?;
    for (user, count, cause) in events {
        let row = params![user, count, due.0, cause];
        if onto.execute(row)? == 0 {
            anew.execute(row)?;
        }
    }
    Ok(true)
}

/// Empties the log, so that the last connection to close removes it.
fn copy_the_log(connection: &Connection) -> rusqlite::Result<()> {
    empty_the_log(connection)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false).map(drop)
}

/// Why a transaction was not committed.
struct Failed {
    error: QueueError,
    /// Another process's transaction, or damage, fails all commands alike, each after the whole wait for it. A row that is
    /// refused or a disk that is full may fail one command and not the next.
    for_all: bool,
}

impl Failed {
    fn new(error: &rusqlite::Error, file: &DatabaseFile) -> Self {
        let is_busy = error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy);
        let error = file.explain_later(error);
        Self { for_all: is_busy || matches!(error, QueueError::Damaged(_)), error }
    }
}
