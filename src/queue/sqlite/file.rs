//! The file of the queue: its path, folder, lock and modes, and connections to it, with a clear message where one of them
//! cannot be had.

use std::ffi::OsString;
use std::fs::{self, File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::queue::{Damage, OpenError, QueueError};

/// The mode of a file that only its owner may read and write.
const OWNER_ONLY: u32 = 0o600;
/// The mode bits of all users but the owner.
const OTHERS: u32 = 0o077;
/// As many symbolic links as Linux follows before it gives up.
const MOST_LINKS: usize = 40;
/// In bytes. No load brings the log near this length. A program that reads the file without a pause does, for the log cannot
/// begin anew before its last reader has gone.
pub(super) const LONG_LOG: u64 = 64 * 1024 * 1024;

/// What only tests set otherwise. The times are the machine's, not the queue's clock's.
#[derive(Debug, Clone, Copy)]
pub(in crate::queue) struct Tuning {
    /// How long after a write the log is copied into the database.
    pub(in crate::queue) checkpoint_after: Duration,
    /// How often a small write finds out whether events can be kept again.
    pub(in crate::queue) probe_every: Duration,
    /// How long a service waits for another process's transaction: a command, a backup, or an open sqlite3 shell.
    pub(in crate::queue) busy: Duration,
    /// How long a command waits. A busy service leaves little time between its transactions, and no event waits for a
    /// command.
    pub(in crate::queue) busy_of_command: Duration,
    /// The longest file, in bytes, that is read whole before the start is over. The default takes less than a tenth of a
    /// second.
    pub(in crate::queue) check_first: u64,
    /// A limit on the file's size, in pages.
    pub(in crate::queue) most_pages: Option<u32>,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            checkpoint_after: Duration::from_millis(100),
            probe_every: Duration::from_secs(2),
            busy: Duration::from_secs(2), // a sender waits a few seconds for its answer
            busy_of_command: Duration::from_secs(30),
            check_first: 8 * 1024 * 1024,
            most_pages: None,
        }
    }
}

/// Where the database is.
#[derive(Debug, Clone)]
pub(super) struct DatabaseFile {
    /// As `queue.url` names it, made absolute.
    named: PathBuf,
    /// The file itself, behind all symbolic links. Lock and log are beside it.
    path: PathBuf,
    folder: PathBuf,
}

impl DatabaseFile {
    /// Makes the folder if it is missing.
    pub(super) fn at(path: &Path) -> Result<Self, OpenError> {
        // An absolute path is a file for SQLite too, whatever its name: never `:memory:`.
        let named = std::path::absolute(path)
            .map_err(|error| OpenError::Store(path.to_owned(), error.to_string()))?;
        let path = behind_links(&named);
        let folder = path.parent().unwrap_or(Path::new("/")).to_owned();
        let mut file = Self { named, path, folder };
        fs::create_dir_all(&file.folder)
            .map_err(|error| file.not_writable(&file.folder, error.to_string()))?;
        // The folder may be a link as well, or be reached through one.
        if let Ok(folder) = file.folder.canonicalize()
            && let Some(name) = file.path.file_name()
        {
            file.path = folder.join(name);
            file.folder = folder;
        }
        Ok(file)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The path that `queue.url` names, symbolic links and all.
    pub(super) fn named(&self) -> &Path {
        &self.named
    }

    pub(super) fn log(&self) -> PathBuf {
        beside(&self.path, "-wal")
    }

    pub(super) fn shared_memory(&self) -> PathBuf {
        beside(&self.path, "-shm")
    }

    pub(super) fn lock_file(&self) -> PathBuf {
        beside(&self.path, ".lock")
    }

    /// How many bytes the database and its log have.
    pub(super) fn bytes(&self) -> u64 {
        length(&self.path) + length(&self.log())
    }

    /// Takes the lock that keeps a second service out. It is free again when the file is dropped or the process dies.
    pub(super) fn lock(&self) -> Result<File, OpenError> {
        let lock = self.lock_file();
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(OWNER_ONLY)
            .open(&lock)
            .map_err(|error| self.not_writable(&lock, error.to_string()))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse(self.path.clone(), lock)),
            Err(TryLockError::Error(error)) => Err(OpenError::NoLock(lock, error.to_string())),
        }
    }

    /// Removes from the queue's files every permission of others than the owner. Files of another owner are logged and left
    /// alone.
    pub(super) fn close_to_others(&self) {
        for path in [self.path.clone(), self.log(), self.shared_memory(), self.lock_file()] {
            let Ok(found) = fs::symlink_metadata(&path) else { continue };
            if !found.is_file() || found.mode() & OTHERS == 0 {
                continue;
            }
            let closed = if found.uid() == rustix::process::geteuid().as_raw() {
                fs::set_permissions(&path, Permissions::from_mode(found.mode() & !OTHERS))
            } else {
                Err(io::Error::other("it belongs to another user"))
            };
            if let Err(error) = closed {
                let path = path.display();
                tracing::warn!(%path, %error, "other users of this machine may read this file of the queue, and it \
                    cannot be closed to them: run chmod 600 on it, as its owner");
            }
        }
    }

    /// Creates an empty file if there is none, for its owner alone. SQLite gives its log the same mode. SQLite itself must
    /// never create the file: it would have the mode that the process's umask leaves of 0644.
    pub(super) fn create(&self) -> Result<(), OpenError> {
        match File::options().write(true).create_new(true).mode(OWNER_ONLY).open(&self.path) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                Err(OpenError::Disk(self.path.clone(), error.to_string()))
            }
            Err(error) => Err(self.not_writable(&self.path, error.to_string())),
        }
    }

    /// SQLite would make a new database, and throw the log away, events in it and all.
    pub(super) fn refuse_a_log_without_its_database(&self) -> Result<(), OpenError> {
        if length(&self.path) == 0 && length(&self.log()) > 0 {
            let why = format!("the file is empty or gone, but not its log {}", self.log().display());
            return Err(OpenError::Damaged(self.damage(why)));
        }
        Ok(())
    }

    /// A connection that may write, and has written nothing yet.
    pub(super) fn connect(&self, tuning: Tuning) -> Result<Connection, OpenError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection =
            Connection::open_with_flags(&self.path, flags).map_err(|error| self.explain(&error))?;
        // Before it is read, which would leave a log beside it that is as read-only.
        if connection.is_readonly("main").map_err(|error| self.explain(&error))? {
            return Err(self.not_writable(&self.path, "it is read-only".to_owned()));
        }
        set_up(&connection, tuning).map_err(|error| self.explain(&error))?;
        Ok(connection)
    }

    /// Makes a connection the writer's, which may change the file's header.
    pub(super) fn prepare_to_write(&self, connection: &Connection, tuning: Tuning) -> Result<(), OpenError> {
        if set_up_writer(connection, tuning).map_err(|error| self.explain(&error))? == "wal" {
            return Ok(());
        }
        let why = "its file system has no shared memory; the queue needs a local disk".to_owned();
        Err(OpenError::Store(self.path.clone(), why))
    }

    /// A connection that only reads.
    pub(super) fn connect_to_read(&self) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        Connection::open_with_flags(&self.path, flags)
    }

    /// SQLite's error at the opening, as an operator needs it.
    pub(super) fn explain(&self, error: &rusqlite::Error) -> OpenError {
        let (path, why) = (self.path.clone(), error.to_string());
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => OpenError::NotADatabase(path),
            Some(ErrorCode::DatabaseCorrupt) => OpenError::Damaged(Damage { path, why }),
            Some(ErrorCode::DatabaseBusy) => OpenError::Locked(path),
            Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure) => OpenError::Disk(path, why),
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
                self.not_writable(&self.path, why)
            }
            _ => OpenError::Store(path, why),
        }
    }

    /// As [`explain`](Self::explain), of a statement that every whole file of this version accepts: part of the schema is
    /// missing.
    pub(super) fn explain_unfit(&self, error: &rusqlite::Error) -> OpenError {
        match error.sqlite_error_code() {
            Some(ErrorCode::Unknown) => OpenError::Damaged(self.damage(error.to_string())),
            _ => self.explain(error),
        }
    }

    /// SQLite's error after the opening, when the file was sound.
    pub(super) fn explain_later(&self, error: &rusqlite::Error) -> QueueError {
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
        let uid = rustix::process::geteuid().as_raw().to_string();
        OpenError::NotWritable { path: path.to_owned(), folder: self.folder.clone(), uid, why }
    }
}

/// What every connection that may write needs.
fn set_up(connection: &Connection, tuning: Tuning) -> rusqlite::Result<()> {
    // First, and before anything is read: to close a file that is refused leaves it as it is. The writer copies
    // the log by itself.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.busy_timeout(tuning.busy)?;
    // A commit is on disk when it is answered. With less, a machine that loses its power loses events that were answered
    // 202, which no kill of a process shows.
    connection.pragma_update(None, "synchronous", "FULL")
}

/// Returns the kind of journal that the file system allows.
fn set_up_writer(connection: &Connection, tuning: Tuning) -> rusqlite::Result<String> {
    // The page size counts only while the file is empty, and only before the log exists. With small pages an event of
    // a random user writes little more than the row itself.
    connection.pragma_update(None, "page_size", 1_024)?;
    let journal = connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    // A ceiling: while events never pause, the checkpoints beside the writer alone would let the log grow without end.
    connection.pragma_update(None, "wal_autocheckpoint", 16_384)?;
    // A log that a reader has made long is cut back when it begins anew.
    let limit = LONG_LOG.cast_signed();
    connection.pragma_update_and_check(None, "journal_size_limit", limit, |row| row.get::<_, i64>(0))?;
    connection.pragma_update(None, "cache_size", -32_768)?; // in KiB
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    // What is erased is overwritten, pages that become free included. It costs a page's write where a table shrinks by
    // one, which no event makes.
    connection.pragma_update_and_check(None, "secure_delete", "ON", |row| row.get::<_, bool>(0))?;
    if let Some(pages) = tuning.most_pages {
        connection.pragma_update_and_check(None, "max_page_count", pages, |row| row.get::<_, i64>(0))?;
    }
    connection.set_prepared_statement_cache_capacity(64);
    Ok(journal)
}

/// The path that `named` leads to: the target of a symbolic link, and that target's, whether there is a file or not. A first
/// start through a link makes the target, which is the path that a second start finds.
fn behind_links(named: &Path) -> PathBuf {
    let mut path = named.to_owned();
    for _ in 0..MOST_LINKS {
        let Ok(target) = fs::read_link(&path) else { break };
        path = path.parent().unwrap_or(Path::new("/")).join(target); // an absolute target replaces all before it
    }
    path
}

/// The file of that ending beside `path`.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    PathBuf::from(name)
}

/// In bytes; 0 if there is no such file.
fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |file| file.len())
}
