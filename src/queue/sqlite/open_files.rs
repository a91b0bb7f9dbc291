//! Whether the files of the queue are still where they were opened.
//!
//! A file that was moved, replaced or deleted stays open in this process, and SQLite goes on writing into it: events would
//! be committed, and be in no queue that any later process opens. So every transaction and every read checks this first. It
//! costs a `stat` of each file, some microseconds beside a commit that waits for the disk.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;

use super::file::DatabaseFile;
use crate::queue::Moved;

/// The files as they were when the queue was opened.
#[derive(Debug, Clone)]
pub(super) struct OpenFiles(Arc<[OpenFile]>);

#[derive(Debug)]
struct OpenFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl OpenFiles {
    /// Remembers the database, its log, the log's index in shared memory, and with `has_lock` the lock file: without any of
    /// them the next process would not find what this one has written, or would be let in beside it.
    ///
    /// # Errors
    /// The system's, where one of the files cannot be found.
    pub(super) fn of(file: &DatabaseFile, has_lock: bool) -> io::Result<Self> {
        // The database by the name that the next process goes by: a link on the way may lead elsewhere by then.
        let mut paths = vec![file.named().to_owned(), file.log(), file.shared_memory()];
        if has_lock {
            paths.push(file.lock_file());
        }
        paths.into_iter().map(OpenFile::at).collect::<io::Result<Arc<[_]>>>().map(Self)
    }

    /// # Errors
    /// [`Moved`], with the first file that is not in its place.
    pub(super) fn check(&self) -> Result<(), Moved> {
        self.0.iter().try_for_each(OpenFile::check)
    }
}

impl OpenFile {
    fn at(path: PathBuf) -> io::Result<Self> {
        let found = fs::metadata(&path)?;
        Ok(Self { device: found.dev(), inode: found.ino(), path })
    }

    fn check(&self) -> Result<(), Moved> {
        let is_it = |found: &Metadata| (found.dev(), found.ino()) == (self.device, self.inode);
        let what = match fs::metadata(&self.path) {
            Ok(found) if is_it(&found) => return Ok(()),
            Ok(_) => "another file is in its place",
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                "it was moved or deleted"
            }
            // It may well be there: a folder that may not be read, for instance, says nothing about it.
            Err(_) => return Ok(()),
        };
        Err(Moved { path: self.path.clone(), what })
    }
}
