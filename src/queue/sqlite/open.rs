//! Opening the file: folder, lock, connections, and a clear word where one of them cannot be had.
//!
//! Nothing is written into a file before it is known to be whole. What can be seen at once (header, length, schema, both
//! ends of every table and index) is looked at in any case; the rest by [`check`](super::check).

use std::ffi::OsString;
use std::fs::{self, File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::{Tuning, check, keeper, schema};
use crate::queue::{Damage, OpenError, QueueError};

/// The mode of a file that only its owner may read and write.
const OWNER_ONLY: u32 = 0o600;
/// The mode bits of everybody but the owner.
const OTHERS: u32 = 0o077;
/// As many symbolic links as Linux follows before it gives up.
const MOST_LINKS: usize = 40;

/// Where the database is.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// As `queue.url` names it, made absolute.
    named: PathBuf,
    /// The file itself, behind all symbolic links. Lock and log are beside it.
    path: PathBuf,
    folder: PathBuf,
}

impl Place {
    /// Makes the folder if it is missing.
    pub(super) fn new(path: &Path) -> Result<Self, OpenError> {
        // An absolute path is a file for SQLite too, whatever its name: never `:memory:`.
        let named = std::path::absolute(path)
            .map_err(|error| OpenError::Store { path: path.to_owned(), why: error.to_string() })?;
        let path = behind_links(&named);
        let folder = path.parent().unwrap_or(Path::new("/")).to_owned();
        let mut place = Self { named, path, folder };
        fs::create_dir_all(&place.folder)
            .map_err(|error| place.not_writable(&place.folder, error.to_string()))?;
        // The folder may be a link as well, or be reached through one.
        if let Ok(folder) = place.folder.canonicalize()
            && let Some(name) = place.path.file_name()
        {
            place.path = folder.join(name);
            place.folder = folder;
        }
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

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The path that `queue.url` names, symbolic links in it and all.
    pub(super) fn named(&self) -> &Path {
        &self.named
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
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: self.path.clone(), lock }),
            Err(TryLockError::Error(error)) => Err(OpenError::NoLock { lock, why: error.to_string() }),
        }
    }

    /// Takes from everybody but the owner what the modes of the queue's files allow them: an earlier version left files that
    /// all users of the machine could read. Files of another owner are logged and left alone.
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

    /// The writer's connection, with the schema of this version. The caller holds the lock.
    pub(super) fn connect(&self, tuning: Tuning) -> Result<Connection, OpenError> {
        let (mut connection, found) = self.look(true, tuning)?;
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
        let (connection, found) = self.look(may_create, tuning)?;
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
    fn look(&self, may_create: bool, tuning: Tuning) -> Result<(Connection, u32), OpenError> {
        self.refuse_a_log_without_its_database()?;
        if may_create {
            self.create()?;
        }
        let connection = self.open(tuning)?;
        match schema::version(&connection).map_err(|error| self.explain(&error))? {
            schema::Version::Foreign => Err(OpenError::Foreign { path: self.path.clone() }),
            schema::Version::Ours(found) if found > schema::KNOWN => {
                Err(OpenError::Newer { path: self.path.clone(), found, known: schema::KNOWN })
            }
            schema::Version::Ours(found) => Ok((connection, found)),
        }
    }

    /// Makes an empty file where there is none, for its owner alone. SQLite gives its log the same mode. It is never SQLite
    /// that makes the file: that would be with the mode that the process's umask leaves of 0644.
    fn create(&self) -> Result<(), OpenError> {
        match File::options().write(true).create_new(true).mode(OWNER_ONLY).open(&self.path) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                Err(OpenError::Disk { path: self.path.clone(), why: error.to_string() })
            }
            Err(error) => Err(self.not_writable(&self.path, error.to_string())),
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

    pub(super) fn log(&self) -> PathBuf {
        beside(&self.path, "-wal")
    }

    pub(super) fn shared_memory(&self) -> PathBuf {
        beside(&self.path, "-shm")
    }

    pub(super) fn lock_file(&self) -> PathBuf {
        beside(&self.path, ".lock")
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
        self.open(tuning)
    }

    fn open(&self, tuning: Tuning) -> Result<Connection, OpenError> {
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
        let uid = rustix::process::geteuid().as_raw().to_string();
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
    // A log that a reader has made long is cut back when it begins anew.
    let limit = keeper::LONG_LOG.cast_signed();
    connection.pragma_update_and_check(None, "journal_size_limit", limit, |row| row.get::<_, i64>(0))?;
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

/// The path that `named` leads to: where it is a symbolic link, its target, and that target's, whether there is a file or
/// not. A first start through a link makes the target, which is the path that a second start finds.
fn behind_links(named: &Path) -> PathBuf {
    let mut path = named.to_owned();
    for _ in 0..MOST_LINKS {
        let Ok(target) = fs::read_link(&path) else { break };
        path = path.parent().unwrap_or(Path::new("/")).join(target); // an absolute target takes the place of all before it
    }
    path
}

/// The file of that ending beside `path`.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    PathBuf::from(name)
}

/// In bytes; 0 where there is no such file.
fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |file| file.len())
}
