//! The queue in one SQLite file, for one service and the commands beside it.
//!
//! A thread of its own writes ([`writer`], [`hand`]), another keeps the log short ([`keeper`]), and each question is read
//! on a connection of its own ([`reader`]). An operating-system lock beside the file keeps a second service out
//! ([`open`]); a command takes turns with it by SQLite's own lock, a transaction each. A damaged file is refused, or left alone
//! from the moment it is found so ([`check`]); so is one that was moved away ([`open_files`]).
//!
//! What made it fast, measured: one transaction for all that waits; one trip to the writer's thread per event;
//! checkpoints beside the writer; small pages; a batch in the order of its keys. What did not, and is left out: waiting
//! for a batch to fill, and statements with several rows.

mod apis;
mod check;
mod clockwork;
mod errand;
mod forget;
mod hand;
mod history;
mod keeper;
mod lease;
mod memory;
mod open;
mod open_files;
mod reader;
mod retry;
mod round;
mod schema;
mod settle;
mod statements;
#[cfg(test)]
mod tests;
mod writer;

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, TransactionBehavior};

use super::command::Ends;
use super::{OpenError, Options, Role};
use crate::clock::{Clock, Millis};

pub(super) use reader::Reader;

/// What only tests set otherwise. The times are the machine's, not the queue's clock's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tuning {
    /// How long after a write the log is copied into the database.
    pub(super) checkpoint_after: Duration,
    /// How often a small write tries whether events can be kept again.
    pub(super) probe_every: Duration,
    /// How long to wait for somebody else's transaction: a backup, or an operator's look into the file.
    pub(super) busy: Duration,
    /// The longest file, in bytes, that is checked before the start is over.
    pub(super) check_first: u64,
    /// A limit on the file's size, in pages.
    pub(super) most_pages: Option<u32>,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            checkpoint_after: Duration::from_millis(100),
            probe_every: Duration::from_secs(2),
            busy: Duration::from_secs(2), // a sender waits a few seconds for its answer
            check_first: check::MORE_THAN_AT_ONCE,
            most_pages: None,
        }
    }
}

/// Opens the file at `path` and starts the threads. Blocks.
pub(super) fn open(
    path: &Path,
    role: Role,
    options: Options,
    clock: Clock,
    seed: u64,
    tuning: Tuning,
) -> Result<(Ends, Reader), OpenError> {
    let opened = match role {
        Role::Service => open_alone(path, &options, clock.now(), tuning)?,
        Role::Command { may_create } => open_beside(path, may_create, tuning)?,
    };
    let Opened { place, connection, lock, unready } = opened;
    let next_due = statements::next_due(&connection).map_err(|error| place.explain(&error))?;
    let forgetting = forget::key(&connection).map_err(|error| place.explain(&error))?;
    let gone = || OpenError::Damaged(place.damage("the table `forgetting` has lost its key".to_owned()));
    let forgetting = forgetting.ok_or_else(gone)?;
    let second = place.second_connection(tuning)?;
    let files = open_files::OpenFiles::of(&place, lock.is_some())
        .map_err(|error| OpenError::Store { path: place.path().to_owned(), why: error.to_string() })?;

    let (ends, writer_end) = Ends::new(next_due);
    let keeper = keeper::start(second, writer_end.to_self.clone(), tuning).map_err(OpenError::Thread)?;
    let hand = hand::Hand::new(options, clock, seed, lock.is_none(), unready.since, forgetting.clone());
    let writer = writer::Writer::new(connection, writer_end, keeper, hand, place.clone(), files.clone());
    writer::start(writer, unready.check.then_some(tuning), lock).map_err(OpenError::Thread)?;
    Ok((ends, Reader::new(place, files, forgetting)))
}

struct Opened {
    place: open::Place,
    connection: Connection,
    /// None beside a service.
    lock: Option<File>,
    unready: Unready,
}

/// For a service, which has the file to itself but for commands.
fn open_alone(path: &Path, options: &Options, now: Millis, tuning: Tuning) -> Result<Opened, OpenError> {
    let place = open::Place::new(path)?;
    let lock = place.lock()?;
    place.close_to_others();
    let mut connection = place.connect(tuning)?;
    let mut unready = Unready { check: place.bytes() > tuning.check_first, since: Some(now) };
    if !unready.check {
        check::whole(&place, tuning)?;
        match start(&mut connection, now, options) {
            Ok(()) => unready.since = None,
            // Somebody else's transaction: the service starts, and refuses events until it is over.
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {}
            Err(error) => return Err(place.explain(&error)),
        }
    }
    Ok(Opened { place, connection, lock: Some(lock), unready })
}

/// For a command: nothing is made ready, and nothing checked whole, which a service has done or will do.
fn open_beside(path: &Path, may_create: bool, tuning: Tuning) -> Result<Opened, OpenError> {
    let place = open::Place::beside_others(path, may_create)?;
    let connection = place.connect_beside(may_create, tuning)?;
    Ok(Opened { place, connection, lock: None, unready: Unready { check: false, since: None } })
}

fn start(connection: &mut Connection, now: Millis, options: &Options) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    statements::start(&transaction, now, options)?;
    transaction.commit()
}

/// What the writer has to do before anything else.
#[derive(Debug, Clone, Copy)]
struct Unready {
    /// To check the whole file.
    check: bool,
    /// To make ready what the process before left behind, at this time of the start.
    since: Option<Millis>,
}
