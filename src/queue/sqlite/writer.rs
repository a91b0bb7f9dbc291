//! The only thread that writes: it takes all commands that wait, does them in one transaction, and answers once that
//! is committed and synced. While it waits for the disk, the next batch gathers by itself. An errand takes a step after each.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::slice;
use std::sync::atomic::Ordering;
use std::thread;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode};
use tokio::runtime::Handle;

use super::errand::Errand;
use super::hand::Hand;
use super::keeper::Keeper;
use super::open::Place;
use super::open_files::OpenFiles;
use super::{Tuning, check};
use crate::queue::command::{Command, WriterEnd};
use crate::queue::{Leased, NextDue, OpenError, QueueError};

/// The most commands in one transaction. Larger ones were not faster.
const BATCH: usize = 1_024;

pub(super) struct Writer {
    connection: Connection,
    end: WriterEnd,
    keeper: Keeper,
    hand: Hand,
    place: Place,
    files: OpenFiles,
    /// Why the file is left alone: it was found damaged, or was moved away.
    unusable: Option<QueueError>,
    /// Whether somebody was erased.
    has_erased: bool,
    /// The runtime on which callers wait, where there is one.
    callers: Option<Handle>,
}

/// Starts the thread, which begins with a check of the whole file where `check` says how. `lock` is let go when all else
/// is closed; who has none is beside others, and leaves the log to them.
pub(super) fn start(writer: Writer, check: Option<Tuning>, lock: Option<File>) -> io::Result<()> {
    thread::Builder::new().name("queue-writer".to_owned()).spawn(move || writer.run(check, lock)).map(drop)
}

impl Writer {
    pub(super) fn new(
        connection: Connection,
        end: WriterEnd,
        keeper: Keeper,
        hand: Hand,
        place: Place,
        files: OpenFiles,
    ) -> Self {
        let callers = Handle::try_current().ok();
        Self { connection, end, keeper, hand, place, files, unusable: None, has_erased: false, callers }
    }

    fn run(mut self, check: Option<Tuning>, lock: Option<File>) {
        if let Some(tuning) = check {
            self.check(tuning);
        }
        let (mut batch, mut errands) = (Vec::new(), VecDeque::new());
        while self.take(&mut batch, !errands.is_empty()) {
            if batch.iter().any(|command| matches!(command, Command::Close)) {
                self.end.commands.close(); // what has been sent is still received
            }
            if self.keeper.has_ended() {
                tracing::error!(
                    "the thread that keeps the queue's log short has ended by itself; the queue closes"
                );
                self.end.commands.close();
            }
            if self.unusable.is_none()
                && let Err(moved) = self.files.check()
            {
                self.leave_alone(moved.into());
            }
            errands.extend(batch.extract_if(.., |command| Errand::is(command)).filter_map(Errand::of));
            self.carry_out(&mut batch);
            if let Some(unfinished) = errands.pop_front().and_then(|errand| self.take_step(errand)) {
                errands.push_front(unfinished);
            }
        }
        self.finish(lock);
    }

    /// Takes what waits into `batch`; waits until there is something, but not where there `is_more` to do. False once all
    /// is done.
    fn take(&mut self, batch: &mut Vec<Command>, is_more: bool) -> bool {
        if !is_more {
            return self.end.commands.blocking_recv_many(batch, BATCH) > 0;
        }
        while batch.len() < BATCH
            && let Ok(command) = self.end.commands.try_recv()
        {
            batch.push(command);
        }
        true
    }

    /// Gives the errand back where there is more of it to do.
    fn take_step(&mut self, mut errand: Errand) -> Option<Errand> {
        let came = self.write(|hand, connection| hand.step(connection, &mut errand));
        if came.is_ok() && !errand.is_done() {
            return Some(errand);
        }
        errand.reply(came.map_err(|failed| failed.error));
        None
    }

    fn check(&mut self, tuning: Tuning) {
        match check::whole(&self.place, tuning) {
            Ok(()) => {}
            Err(OpenError::Damaged(damage)) => self.leave_alone(QueueError::Damaged(damage)),
            // Not the file's fault; if it is, the statements will tell.
            Err(error) => tracing::warn!(%error, "the queue could not be checked whole"),
        }
    }

    /// All commands in one transaction; where that fails each in its own, so that none fails for another's fault.
    fn carry_out(&mut self, batch: &mut Vec<Command>) {
        if batch.is_empty() {
            return;
        }
        if let Some(why) = &self.unusable {
            batch.drain(..).for_each(|command| refuse(command, why));
            return;
        }
        match self.commit_all(batch) {
            Err(failed) if batch.len() > 1 && failed.may_be_anothers_fault() => {
                for mut command in batch.drain(..) {
                    let committed = self.commit_all(slice::from_mut(&mut command));
                    self.answer(vec![command], committed.map_err(|failed| failed.error));
                }
            }
            together => self.answer(std::mem::take(batch), together.map_err(|failed| failed.error)),
        }
    }

    fn commit_all(&mut self, commands: &mut [Command]) -> Result<(), Failed> {
        self.write(|hand, connection| hand.commit(connection, commands).map(Some))
    }

    /// Does `work`, which gives the next due times where it has written.
    fn write(
        &mut self,
        work: impl FnOnce(&mut Hand, &mut Connection) -> rusqlite::Result<Option<NextDue>>,
    ) -> Result<(), Failed> {
        if let Some(why) = &self.unusable {
            return Err(Failed { error: why.clone(), for_all: true });
        }
        let next_due = work(&mut self.hand, &mut self.connection).map_err(|error| {
            let failed = Failed::new(&error, &self.place);
            if let QueueError::Damaged(_) = &failed.error {
                self.leave_alone(failed.error.clone());
            }
            failed
        })?;
        if let Some(next_due) = next_due {
            self.end.next_due.send_if_modified(|known| std::mem::replace(known, next_due) != next_due);
            let is_erasure = self.hand.has_erased();
            self.has_erased |= is_erasure;
            self.keeper.written(is_erasure);
        }
        Ok(())
    }

    /// No small write can show that the file is usable again: this stands until the end of the process.
    fn leave_alone(&mut self, why: QueueError) {
        tracing::error!("{why}");
        self.end.accepting.store(false, Ordering::Relaxed);
        self.end.next_due.send_replace(NextDue::default());
        self.keeper.refusing(false);
        self.unusable = Some(why);
    }

    /// Answers commands that share a fate.
    fn answer(&self, commands: Vec<Command>, committed: Result<(), QueueError>) {
        if self.unusable.is_none() && commands.iter().any(Command::keeps_events) {
            self.note_whether_accepting(&committed);
        }
        let answer = move || commands.into_iter().for_each(|command| command.reply(committed.clone()));
        // To wake a caller's task from this thread takes system calls; among tasks it takes next to nothing.
        match &self.callers {
            Some(callers) => drop(callers.spawn(async { answer() })),
            None => answer(),
        }
    }

    fn note_whether_accepting(&self, committed: &Result<(), QueueError>) {
        let before = self.end.accepting.swap(committed.is_ok(), Ordering::Relaxed);
        match committed {
            Err(error) if before => {
                tracing::error!(%error, "events cannot be kept and are refused; trying again every 2 s");
            }
            Ok(()) if !before => tracing::info!("events can be kept again"),
            _ => {}
        }
        if before != committed.is_ok() {
            self.keeper.refusing(before);
        }
    }

    /// The log goes into the database, so that the one file is all there is. A command leaves that to the service, unless
    /// it has erased somebody, who may still be in the log.
    fn finish(self, lock: Option<File>) {
        let Self { connection, end, keeper, place, unusable, has_erased, .. } = self;
        drop(keeper);
        if unusable.is_none()
            && lock.is_none()
            && has_erased
            && let Err(error) = empty_the_log(&connection)
        {
            tracing::warn!(%error, "who was erased may be in the queue's log until the next start");
        }
        if unusable.is_none()
            && lock.is_some()
            && let Err(error) = copy_the_log(&connection)
        {
            if let QueueError::Damaged(damage) = place.later(&error) {
                tracing::error!("{damage}");
            }
            tracing::warn!(%error, "the queue's log stays beside the database until the next start");
        }
        drop(connection);
        drop(lock);
        end.closed.send_replace(true);
    }
}

/// Nobody is leased from a file that is left alone. That is not reported as one more failure: the log has the reason once,
/// and each event is answered with it.
fn refuse(mut command: Command, why: &QueueError) {
    if let Command::Lease { answer, .. } = &mut command {
        answer.hold(Leased::default());
        return command.reply(Ok(()));
    }
    command.reply(Err(why.clone()));
}

fn empty_the_log(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |_| Ok(()))
}

fn copy_the_log(connection: &Connection) -> rusqlite::Result<()> {
    empty_the_log(connection)?;
    // Now whoever closes last takes the empty log away.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false).map(drop)
}

/// Why a transaction was not committed.
#[derive(Clone)]
struct Failed {
    error: QueueError,
    /// Somebody else's transaction, or damage, fails all commands alike, each after the whole wait for it. A row that is
    /// refused or a disk that is full may fail one command and not the next.
    for_all: bool,
}

impl Failed {
    fn new(error: &rusqlite::Error, place: &Place) -> Self {
        let is_busy = error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy);
        let error = place.later(error);
        Self { for_all: is_busy || matches!(error, QueueError::Damaged(_)), error }
    }

    fn may_be_anothers_fault(&self) -> bool {
        !self.for_all
    }
}
