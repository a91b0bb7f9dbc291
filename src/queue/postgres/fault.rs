//! What went wrong with a statement, how long one may take, and whether it is worth another try.

use std::time::Duration;

use sqlx::Error;
use tokio::time::timeout;

use super::Tuning;
use crate::queue::QueueError;

/// More often than this two transactions cannot be in each other's way by chance.
const MOST_CONFLICTS: u32 = 8;

/// A statement that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// The connection is gone, or never came about. Where it was not a COMMIT, nothing was changed.
    Lost(String),
    /// The connection was lost after COMMIT was sent: whether it was carried out is unknown.
    InDoubt(String),
    /// No answer in time; whether the statement was carried out is unknown.
    Late,
    /// Two transactions were in each other's way, and this one was undone.
    Conflict(String),
    /// A row may be at fault, and another one not.
    Row(String),
    /// Another session has locked a row, or the table, and may keep it locked for long.
    Locked(String),
    /// Every statement would fail alike.
    Refused(String),
    /// The pool is closed.
    Closed,
}

impl Fault {
    /// What a failed COMMIT means.
    pub(super) fn of_commit(error: Error) -> Self {
        match Self::from(error) {
            Self::Lost(why) => Self::InDoubt(why),
            fault => fault,
        }
    }

    /// Whether the connection is of no more use.
    pub(super) fn ends_connection(&self) -> bool {
        matches!(self, Self::Lost(_) | Self::InDoubt(_) | Self::Late)
    }

    /// Whether the statement may succeed for other rows.
    pub(super) fn may_be_one_rows(&self) -> bool {
        matches!(self, Self::Row(_) | Self::Locked(_))
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::from(&error)
    }
}

impl From<&Error> for Fault {
    fn from(error: &Error) -> Self {
        let refusal = match error {
            Error::Database(refusal) => refusal,
            Error::PoolClosed => return Self::Closed,
            // Of a decoding error its text would quote the value.
            Error::ColumnDecode { .. } | Error::Decode(_) | Error::Encode(_) => {
                return Self::Refused("a value in the database cannot be read".to_owned());
            }
            // The pool has tried again and again by itself.
            Error::PoolTimedOut => return Self::Refused("no connection to the database in time".to_owned()),
            other => return Self::Lost(other.to_string()),
        };
        let code = refusal.code().unwrap_or_default();
        let why = format!("{} (SQLSTATE {code})", refusal.message());
        match &*code {
            "40001" | "40P01" => Self::Conflict(why),
            "55P03" => Self::Locked(why),
            // Stopped or failed over (its standby is read-only), or behind a pooler that has mixed up sessions.
            "57P01" | "57P02" | "57P03" | "57P05" | "25006" | "25P03" | "26000" | "0A000" => Self::Lost(why),
            _ => match code.get(..2) {
                Some("08") => Self::Lost(why),
                Some("22" | "23" | "54" | "P0" | "44") => Self::Row(why),
                _ => Self::Refused(why),
            },
        }
    }
}

impl From<Fault> for QueueError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Late => Self::Late,
            Fault::Closed => Self::Closed,
            Fault::InDoubt(why) => Self::Store(format!("the connection was lost during a commit: {why}")),
            Fault::Lost(why)
            | Fault::Conflict(why)
            | Fault::Row(why)
            | Fault::Locked(why)
            | Fault::Refused(why) => Self::Store(why),
        }
    }
}

/// Counts how often a piece of work has failed.
#[derive(Debug, Default)]
pub(super) struct Tries {
    has_lost: bool,
    conflicts: u32,
}

impl Tries {
    /// Whether another try may not meet `fault` again: the first lost connection, or a deadlock.
    pub(super) fn another(&mut self, fault: &Fault) -> bool {
        match fault {
            Fault::Lost(_) => !std::mem::replace(&mut self.has_lost, true),
            Fault::Conflict(_) => {
                self.conflicts += 1;
                self.conflicts <= MOST_CONFLICTS
            }
            _ => false,
        }
    }
}

/// The result of `work`, or [`Fault::Late`]: a little after the server should have given it up by itself.
pub(super) async fn within<T, E: Into<Fault>>(
    tuning: Tuning,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, Fault> {
    match timeout(tuning.answer + Duration::from_millis(500), work).await {
        Ok(result) => result.map_err(Into::into),
        Err(_) => Err(Fault::Late),
    }
}
