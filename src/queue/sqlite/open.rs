//! Opening the file: folder, lock, connections, and a clear word where one of them cannot be had.
//!
//! Nothing is written into a file before it is known to be whole. What can be seen at once (header, length, schema, both
//! ends of every table and index) is looked at in any case; the rest by [`check`](super::check).

use std::ffi::OsString;
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::{Tuning, check, schema};
use crate::queue::{Damage, OpenError, QueueError};

/// Where the database is.
#[derive(Debug, Clone)]
pub(super) struct Place {
    path: PathBuf,
    folder: PathBuf,
}

impl Place {
    /// Makes the folder if it is missing.
    pub(super) fn new(path: &Path) -> Result<Self, OpenError> {
        // An absolute path is a file for SQLite too, whatever its name: never `:memory:`.
        let path = std::path::absolute(path)
            .map_err(|error| OpenError::Store { path: path.to_owned(), why: error.to_string() })?;
        let folder = path.parent().unwrap_or(Path::new("/")).to_owned();
        let mut place = Self { path, folder };
        std::fs::create_dir_all(&place.folder)
            .map_err(|error| place.not_writable(&place.folder, error.to_string()))?;
        place.follow_links();
        Ok(place)
    }

    /// The same for a command, which makes nothing unless it may.
    pub(super) fn beside_others(path: &Path, may_create: bool) -> Result<Self, OpenError> {
        // A file that cannot be looked at is told of by the opening.
        if !may_create && matches!(path.try_exists(), Ok(false)) {
            return Err(OpenError::NoQueue { path: path.to_owned() });
        }
        Self::new(path)
    }

    /// Two links to one file are one queue, and one lock.
    fn follow_links(&mut self) {
        if let Ok(file) = self.path.canonicalize() {
            self.folder = file.parent().unwrap_or(Path::new("/")).to_owned();
            self.path = file;
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the lock that keeps a second service out. It is free again when the file is dropped or the process dies.
    pub(super) fn lock(&self) -> Result<File, OpenError> {
        let lock = beside(&self.path, ".lock");
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock)
            .map_err(|error| self.not_writable(&lock, error.to_string()))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: self.path.clone(), lock }),
            Err(TryLockError::Error(error)) => Err(OpenError::NoLock { lock, why: error.to_string() }),
        }
    }

    /// The writer's connection, with the schema of this version. For who has the lock.
    pub(super) fn connect(&self, tuning: Tuning) -> Result<Connection, OpenError> {
        let (mut connection, found) = self.look(tuning)?;
        self.prepare(&connection, tuning)?;
        if found < schema::KNOWN {
            if found > 0 {
                check::whole(self, tuning)?; // a change of the schema rewrites it
            }
            schema::migrate(&mut connection).map_err(|error| self.explain(&error))?;
        }
        if found == 0 {
            // Where a queue was expected, a volume may be missing.
            tracing::info!(path = %self.path.display(), "a new queue, with nobody in it");
        }
        check::ends(&connection).map_err(|error| self.explain_unfit(&error))?;
        Ok(connection)
    }

    /// The same beside a service, which is left alone: only where there is none, the lock is taken for as long as the
    /// schema is made or changed.
    pub(super) fn connect_beside(&self, may_create: bool, tuning: Tuning) -> Result<Connection, OpenError> {
        let (connection, found) = self.look(tuning)?;
        if found == schema::KNOWN {
            self.prepare(&connection, tuning)?;
            check::ends(&connection).map_err(|error| self.explain_unfit(&error))?;
            return Ok(connection);
        }
        drop(connection);
        match found {
            0 if !may_create => return Err(OpenError::NoQueue { path: self.path.clone() }),
            0 => {}
            // A command that only looks must not keep the service of that version from ever starting again.
            _ if !may_create => {
                return Err(OpenError::Older { path: self.path.clone(), found, known: schema::KNOWN });
            }
            _ => {}
        }
        let _lock = self.lock().map_err(|error| match error {
            OpenError::InUse { path, .. } => OpenError::Older { path, found, known: schema::KNOWN },
            error => error,
        })?;
        self.connect(tuning)
    }

    /// A connection, and the version of the schema that it finds; 0 where there is none yet. Looked at first: what is not
    /// ours stays as it is, its page size and journal included.
    fn look(&self, tuning: Tuning) -> Result<(Connection, u32), OpenError> {
        self.refuse_a_log_without_its_database()?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = self.open(flags, tuning)?;
        match schema::version(&connection).map_err(|error| self.explain(&error))? {
            schema::Version::Foreign => Err(OpenError::Foreign { path: self.path.clone() }),
            schema::Version::Ours(found) if found > schema::KNOWN => {
                Err(OpenError::Newer { path: self.path.clone(), found, known: schema::KNOWN })
            }
            schema::Version::Ours(found) => Ok((connection, found)),
        }
    }

    fn prepare(&self, connection: &Connection, tuning: Tuning) -> Result<(), OpenError> {
        if prepare(connection, tuning).map_err(|error| self.explain(&error))? == "wal" {
            return Ok(());
        }
        let why = "its file system has no shared memory; the queue needs a local disk".to_owned();
        Err(OpenError::Store { path: self.path.clone(), why })
    }

    /// How many bytes the database and its log have.
    pub(super) fn bytes(&self) -> u64 {
        length(&self.path) + length(&self.log())
    }

    fn log(&self) -> PathBuf {
        beside(&self.path, "-wal")
    }

    /// SQLite would make a new database, and throw the log away, events in it and all.
    fn refuse_a_log_without_its_database(&self) -> Result<(), OpenError> {
        if length(&self.path) == 0 && length(&self.log()) > 0 {
            let why = format!("the file is empty or gone, but not its log {}", self.log().display());
            return Err(OpenError::Damaged(self.damage(why)));
        }
        Ok(())
    }

    /// A connection beside the writer's, for checkpoints and for the check.
    pub(super) fn second_connection(&self, tuning: Tuning) -> Result<Connection, OpenError> {
        self.open(OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX, tuning)
    }

    fn open(&self, flags: OpenFlags, tuning: Tuning) -> Result<Connection, OpenError> {
        let connection =
            Connection::open_with_flags(&self.path, flags).map_err(|error| self.explain(&error))?;
        // Before it is read, which would leave a log beside it that is as read-only.
        if connection.is_readonly("main").map_err(|error| self.explain(&error))? {
            return Err(self.not_writable(&self.path, "it is read-only".to_owned()));
        }
        set_up(&connection, tuning).map_err(|error| self.explain(&error))?;
        Ok(connection)
    }

    /// SQLite's error, as an operator needs it.
    pub(super) fn explain(&self, error: &rusqlite::Error) -> OpenError {
        let (path, why) = (self.path.clone(), error.to_string());
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => OpenError::NotADatabase { path },
            Some(ErrorCode::DatabaseCorrupt) => OpenError::Damaged(Damage { path, why }),
            Some(ErrorCode::DatabaseBusy) => OpenError::Locked { path },
            Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure) => OpenError::Disk { path, why },
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
                self.not_writable(&self.path, why)
            }
            _ => OpenError::Store { path, why },
        }
    }

    /// The same, of a statement that a whole file of this version cannot refuse: a part of the schema is missing.
    fn explain_unfit(&self, error: &rusqlite::Error) -> OpenError {
        match error.sqlite_error_code() {
            Some(ErrorCode::Unknown) => OpenError::Damaged(self.damage(error.to_string())),
            _ => self.explain(error),
        }
    }

    /// The same, where the file was sound when it was opened.
    pub(super) fn later(&self, error: &rusqlite::Error) -> QueueError {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                QueueError::Damaged(self.damage(error.to_string()))
            }
            _ => QueueError::Store(error.to_string()),
        }
    }

    pub(super) fn damage(&self, why: String) -> Damage {
        Damage { path: self.path.clone(), why }
    }

    fn not_writable(&self, path: &Path, why: String) -> OpenError {
        let uid = uid().map_or_else(|_| "unknown".to_owned(), |uid| uid.to_string());
        OpenError::NotWritable { path: path.to_owned(), folder: self.folder.clone(), uid, why }
    }
}

/// What every connection needs.
fn set_up(connection: &Connection, tuning: Tuning) -> rusqlite::Result<()> {
    // First, and before anything is read: whoever closes a file that is refused leaves it as it is. The writer copies
    // the log by itself.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.busy_timeout(tuning.busy)?;
    connection.pragma_update(None, "synchronous", "FULL")
}

/// Sets the writer's connection up; gives the kind of journal that the file system allows.
fn prepare(connection: &Connection, tuning: Tuning) -> rusqlite::Result<String> {
    // The page size counts only while the file is empty, and only before the log exists. With small pages an event of
    // a random user writes little more than the row itself.
    connection.pragma_update(None, "page_size", 1_024)?;
    let journal = connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    // A ceiling: while events never pause, the keeper's checkpoints alone would let the log grow without end.
    connection.pragma_update(None, "wal_autocheckpoint", 16_384)?;
    connection.pragma_update(None, "cache_size", -32_768)?; // in KiB
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    // What is erased is overwritten, pages that are given up included. It costs a page's write where a table shrinks by
    // one, which no event makes.
    connection.pragma_update_and_check(None, "secure_delete", "ON", |row| row.get::<_, bool>(0))?;
    if let Some(pages) = tuning.most_pages {
        connection.pragma_update_and_check(None, "max_page_count", pages, |row| row.get::<_, i64>(0))?;
    }
    connection.set_prepared_statement_cache_capacity(64);
    Ok(journal)
}

/// The file of that ending beside `path`.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    PathBuf::from(name)
}

/// In bytes; 0 where there is no such file.
fn length(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |file| file.len())
}

/// The user id that this process runs as.
#[cfg(unix)]
fn uid() -> io::Result<u32> {
    use std::os::unix::fs::MetadataExt;
    Ok(std::fs::metadata("/proc/self")?.uid())
}

#[cfg(not(unix))]
fn uid() -> io::Result<u32> {
    Err(io::ErrorKind::Unsupported.into())
}
