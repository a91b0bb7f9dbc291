//! The report of a dry run: a file with a line of JSON per user.
//!
//! It holds users' ids, and other users of the machine may be able to write into its folder. So this process always creates
//! the file itself, readable by its owner only, and never follows a link or writes into an existing file.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::personal::without_addresses;
use crate::sync::Report;
use crate::user::UserId;

/// The mode of a file that only its owner may read and write.
const OWNER_ONLY: u32 = 0o600;

#[derive(Debug)]
pub(crate) struct ReportFile {
    path: PathBuf,
    file: File,
}

#[derive(Debug, thiserror::Error)]
#[error(
    "cannot write the report {}: {error}. Choose another file with --report, or move away what has that name",
    path.display()
)]
pub(crate) struct ReportError {
    path: PathBuf,
    error: io::Error,
}

/// What a dry run found about one user.
#[derive(Debug, Serialize)]
pub(super) struct Line<'a> {
    user_id: &'a str,
    /// As in the log; `forgotten` if an operator has had the user forgotten, `failed` if no decision could be made.
    pub(super) outcome: &'a str,
    /// Why the user would be skipped, or what failed.
    pub(super) reason: &'a str,
    changed: &'a [&'static str],
    /// Masked, as a publisher's own tag can be anything, even an address.
    pub(super) tags_added: Vec<String>,
    /// Masked too.
    pub(super) tags_removed: Vec<String>,
    /// Whether the removal guard would keep tags.
    #[serde(skip)]
    pub(super) keeps_tags: bool,
}

impl<'a> Line<'a> {
    /// For a user without a change.
    pub(super) fn unchanged(user: &'a UserId, outcome: &'a str, reason: &'a str) -> Self {
        Self {
            user_id: user.as_str(),
            outcome,
            reason,
            changed: &[],
            tags_added: Vec::new(),
            tags_removed: Vec::new(),
            keeps_tags: false,
        }
    }

    pub(super) fn of_sync(user: &'a UserId, report: &'a Report) -> Self {
        let (outcome, reason) = report.outcome.words();
        Self {
            changed: &report.changed,
            tags_added: without_addresses(&report.tags_added),
            tags_removed: without_addresses(&report.tags_removed),
            keeps_tags: report.braked,
            ..Self::unchanged(user, outcome, reason)
        }
    }
}

impl ReportFile {
    /// Fails if `path` exists: that file may be the only record of an earlier run.
    pub(crate) fn create(path: &Path) -> Result<Self, ReportError> {
        let path = path.to_owned();
        match File::options().write(true).create_new(true).mode(OWNER_ONLY).open(&path) {
            Ok(file) => Ok(Self { path, file }),
            Err(error) => Err(ReportError { path, error }),
        }
    }

    /// Creates a file with a random name in `folder`.
    pub(crate) fn create_in(folder: &Path) -> Result<Self, ReportError> {
        let mut name = tempfile::Builder::new(); // its files are readable by their owner only
        let created = name.prefix("backfill-dry-run-").suffix(".jsonl").rand_bytes(8).tempfile_in(folder);
        match created.and_then(|file| file.keep().map_err(|error| error.error)) {
            Ok((file, path)) => Ok(Self { path, file }),
            Err(error) => Err(ReportError { path: folder.join("backfill-dry-run-….jsonl"), error }),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a line. Unbuffered, so that a kill loses none.
    pub(super) fn add(&self, line: &Line<'_>) -> Result<(), ReportError> {
        let text = serde_json::to_string(line).map_err(io::Error::from);
        let written = text.and_then(|text| (&self.file).write_all(format!("{text}\n").as_bytes()));
        written.map_err(|error| ReportError { path: self.path.clone(), error })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn add(report: ReportFile, user: &str) -> PathBuf {
        report.add(&Line::unchanged(&UserId::new(user).unwrap(), "updated", "")).unwrap();
        report.path().to_owned()
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn only_its_owner_may_read_a_report() {
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
    fn an_existing_file_is_neither_overwritten_nor_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        let (dangling, nowhere) = (folder.path().join("dangling"), folder.path().join("nowhere"));
        fs::write(&file, "not ours").unwrap();
        symlink(&file, &link).unwrap();
        symlink(&nowhere, &dangling).unwrap();
        for path in [&file, &link, &dangling] {
            let error = ReportFile::create(path).unwrap_err();
            assert_eq!(error.error.kind(), io::ErrorKind::AlreadyExists);
            assert!(error.to_string().contains("--report"), "{error}");
        }
        assert_eq!((fs::read_to_string(&file).unwrap(), nowhere.exists()), ("not ours".to_owned(), false));
    }
}
