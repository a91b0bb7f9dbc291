//! The report of a dry run: a file with a line of JSON per user.
//!
//! It has ids of readers in it, and other users may be able to write into its folder. So it is always a file that this
//! process makes, for its owner alone; never one that is there already, nor a link to one.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::personal::without_addresses;
use crate::sync::Report as Synced;
use crate::user::UserId;

/// The mode of a file that only its owner may read and write.
const OWNER_ONLY: u32 = 0o600;

/// The file, open.
#[derive(Debug)]
pub struct ReportFile {
    path: PathBuf,
    file: BufWriter<File>,
}

/// The file cannot be made or written.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot write the report {}: {error}. Choose another file with --report, or move away what has that name",
    path.display()
)]
pub struct ReportError {
    path: PathBuf,
    error: io::Error,
}

/// A line of it.
#[derive(Debug, Serialize)]
pub struct Line<'a> {
    /// Sesamy's id of the user.
    pub user_id: &'a str,
    /// As in the log; `forgotten` if an operator has had the user forgotten, `failed` if no decision could be made.
    pub outcome: &'a str,
    /// Why it was skipped, or what failed.
    pub reason: &'a str,
    /// The fields that changed.
    pub changed: &'a [&'static str],
    /// Which of our tags the contact gained, addresses masked.
    pub tags_added: Vec<String>,
    /// Which of our tags the contact lost, addresses masked.
    pub tags_removed: Vec<String>,
}

impl<'a> Line<'a> {
    /// Of a user without a change.
    #[must_use]
    pub fn of(user: &'a UserId, outcome: &'a str, reason: &'a str) -> Self {
        Self {
            user_id: user.as_str(),
            outcome,
            reason,
            changed: &[],
            tags_added: Vec::new(),
            tags_removed: Vec::new(),
        }
    }

    /// Of a sync that ended so.
    #[must_use]
    pub fn of_sync(user: &'a UserId, synced: &'a Synced) -> Self {
        Self {
            changed: &synced.changed,
            tags_added: without_addresses(&synced.tags_added),
            tags_removed: without_addresses(&synced.tags_removed),
            ..Self::of(user, synced.outcome.as_str(), synced.outcome.reason().unwrap_or_default())
        }
    }
}

impl ReportFile {
    /// Makes the file. A file that is there stays: it may be the only record of an earlier run.
    ///
    /// # Errors
    /// [`ReportError`], also where the name is taken.
    pub fn create(path: &Path) -> Result<Self, ReportError> {
        let made = File::options().write(true).create_new(true).mode(OWNER_ONLY).open(path);
        Self::of(path, made)
    }

    /// Makes a file of a name of its own in `folder`: `backfill-dry-run-`, random letters, `.jsonl`.
    ///
    /// # Errors
    /// [`ReportError`].
    pub fn create_in(folder: &Path) -> Result<Self, ReportError> {
        let mut name = tempfile::Builder::new(); // its files are their owner's alone
        let made = name.prefix("backfill-dry-run-").suffix(".jsonl").rand_bytes(8).tempfile_in(folder);
        match made.and_then(|file| file.keep().map_err(|error| error.error)) {
            Ok((file, path)) => Self::of(&path, Ok(file)),
            Err(error) => Self::of(&folder.join("backfill-dry-run-….jsonl"), Err(error)),
        }
    }

    fn of(path: &Path, opened: io::Result<File>) -> Result<Self, ReportError> {
        match opened {
            Ok(file) => Ok(Self { path: path.to_owned(), file: BufWriter::new(file) }),
            Err(error) => Err(ReportError { path: path.to_owned(), error }),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a line.
    ///
    /// # Errors
    /// [`ReportError`].
    pub fn add(&mut self, line: &Line<'_>) -> Result<(), ReportError> {
        let written = serde_json::to_writer(&mut self.file, line).map_err(io::Error::from);
        written.and_then(|()| self.file.write_all(b"\n")).map_err(|error| self.failed(error))
    }

    /// Hands what was added to the system.
    ///
    /// # Errors
    /// [`ReportError`].
    pub fn flush(&mut self) -> Result<(), ReportError> {
        self.file.flush().map_err(|error| self.failed(error))
    }

    fn failed(&self, error: io::Error) -> ReportError {
        ReportError { path: self.path.clone(), error }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn add(mut report: ReportFile, user: &str) -> PathBuf {
        report.add(&Line::of(&UserId::new(user).unwrap(), "updated", "")).unwrap();
        report.flush().unwrap();
        report.path().to_owned()
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_report_is_its_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let named = folder.path().join("named.jsonl");
        assert_eq!(mode(&add(ReportFile::create(&named).unwrap(), "a")), 0o600);
        assert_eq!(mode(&add(ReportFile::create_in(folder.path()).unwrap(), "a")), 0o600);
    }

    #[test]
    fn each_report_without_a_name_gets_a_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let paths = [0, 1].map(|_| add(ReportFile::create_in(folder.path()).unwrap(), "a"));
        assert_ne!(paths[0], paths[1]);
        for path in paths {
            let name = path.file_name().unwrap().to_str().unwrap();
            assert!(name.starts_with("backfill-dry-run-") && name.ends_with(".jsonl"), "{name}");
            assert_eq!((path.parent().unwrap(), name.len()), (folder.path(), 31));
        }
        let missing = ReportFile::create_in(&folder.path().join("missing")).unwrap_err().to_string();
        assert!(missing.contains("missing/backfill-dry-run-"), "{missing}");
    }

    #[test]
    fn a_file_that_is_there_is_neither_overwritten_nor_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        let (dangling, nowhere) = (folder.path().join("dangling"), folder.path().join("nowhere"));
        fs::write(&file, "somebody's").unwrap();
        symlink(&file, &link).unwrap();
        symlink(&nowhere, &dangling).unwrap();
        for path in [&file, &link, &dangling] {
            let error = ReportFile::create(path).unwrap_err();
            assert_eq!(error.error.kind(), io::ErrorKind::AlreadyExists);
            assert!(error.to_string().contains("--report"), "{error}");
        }
        assert_eq!((fs::read_to_string(&file).unwrap(), nowhere.exists()), ("somebody's".to_owned(), false));
    }
}
