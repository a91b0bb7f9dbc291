//! A file with a line per user: what came of each, or would.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::personal::Mask;
use crate::sync::Report as Synced;
use crate::user::UserId;

/// The file, open.
#[derive(Debug)]
pub struct ReportFile {
    path: PathBuf,
    file: BufWriter<File>,
}

/// The file cannot be made or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the report {}: {error}; choose another file with --report", path.display())]
pub struct ReportError {
    path: PathBuf,
    error: io::Error,
}

/// A line of it. Whoever is synced twice has two.
#[derive(Debug, Serialize)]
pub struct Line<'a> {
    /// Sesamy's id of the user.
    pub user_id: &'a str,
    /// As in the log; `left_to_events` where somebody else has the user in hand, `forgotten` where an operator has
    /// had the user forgotten.
    pub outcome: &'a str,
    /// Why it was skipped, or what failed.
    pub reason: &'a str,
    /// The fields that changed.
    pub changed: &'a [&'static str],
    /// Which of our tags the contact gained, addresses masked: a publisher's custom tag can be anything.
    pub tags_added: Vec<String>,
    /// Which of our tags the contact lost, likewise.
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
            tags_added: masked(&synced.tags_added),
            tags_removed: masked(&synced.tags_removed),
            ..Self::of(user, synced.outcome.as_str(), synced.outcome.reason().unwrap_or_default())
        }
    }
}

fn masked(tags: &[String]) -> Vec<String> {
    let mask = Mask::default();
    tags.iter().map(|tag| mask.apply(tag)).collect()
}

impl ReportFile {
    /// Makes the file, for nobody else to read; one that is there is emptied, unless it is to be gone `on` with.
    ///
    /// # Errors
    /// [`ReportError`].
    pub fn open(path: &Path, on: bool) -> Result<Self, ReportError> {
        let mut options = File::options();
        options.create(true).write(true).append(on).truncate(!on);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(path).map_err(|error| ReportError { path: path.to_owned(), error })?;
        Ok(Self { path: path.to_owned(), file: BufWriter::new(file) })
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
