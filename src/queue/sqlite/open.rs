//! Opening the file, for a service or for a command beside one.
//!
//! Nothing is written into a file before it is known to be the queue's and whole: what is refused stays as it is. What can be
//! seen at once (header, length, schema, both ends of every table and index) is checked in any case, and a small file is read
//! whole. The writer checks a large one.

use std::fs::File;
use std::path::Path;

use rusqlite::{Connection, ErrorCode, TransactionBehavior};

use super::file::{DatabaseFile, Tuning};
use super::schema::{self, Version};
use super::writer::Unready;
use super::{integrity, rows, shared_clock};
use crate::clock::Clock;
use crate::queue::OpenError;
use crate::queue::erasure_key::ErasureKey;

pub(super) struct Opened {
    pub(super) file: DatabaseFile,
    pub(super) connection: Connection,
    pub(super) erasure_key: ErasureKey,
    /// None beside a service.
    pub(super) lock: Option<File>,
    pub(super) unready: Unready,
}

/// For a service, which has the file to itself but for commands.
pub(super) fn alone(path: &Path, clock: &Clock, tuning: Tuning) -> Result<Opened, OpenError> {
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
pub(super) fn beside(
    path: &Path,
    may_create: bool,
    clock: &Clock,
    tuning: Tuning,
) -> Result<Opened, OpenError> {
    // A file that cannot be looked up is reported by the opening.
    if !may_create && matches!(path.try_exists(), Ok(false)) {
        return Err(OpenError::NoQueue(path.to_owned()));
    }
    let tuning = Tuning { busy: tuning.busy_of_command, ..tuning };
    let file = DatabaseFile::at(path)?;
    let connection = connect_beside(&file, schema::STEPS, may_create, clock, tuning)?;
    let erasure_key = erasure_key(&file, &connection)?;
    shared_clock::join(&connection, clock).map_err(|error| file.explain(&error))?;
    let unready = Unready::default();
    Ok(Opened { file, connection, erasure_key, lock: None, unready })
}

/// The writer's connection, after all of `steps`. The caller holds the lock.
pub(super) fn connect(file: &DatabaseFile, steps: &[&str], tuning: Tuning) -> Result<Connection, OpenError> {
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
pub(super) fn connect_beside(
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
        0 if !may_create => return Err(OpenError::NoQueue(path)),
        0 => {}
        // A command that only reads must not keep the service of that version from ever starting again.
        _ if !may_create => return Err(OpenError::Older { path, found, known }),
        _ => {}
    }
    let _lock = file.lock().map_err(|error| match error {
        OpenError::InUse(path, _) => OpenError::Older { path, found, known },
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
        Version::Foreign => Err(OpenError::Foreign(file.path().to_owned())),
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

/// The first step of the schema writes it.
fn erasure_key(file: &DatabaseFile, connection: &Connection) -> Result<ErasureKey, OpenError> {
    let json = rows::document(connection, "erasure_key").map_err(|error| file.explain(&error))?;
    ErasureKey::of_document(json).ok_or_else(|| {
        OpenError::Damaged(file.damage("the document `erasure_key` is missing or is not a text".to_owned()))
    })
}
