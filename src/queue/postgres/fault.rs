//! What went wrong with a statement, sorted by what to do about it.

use sqlx::Error;

use crate::queue::QueueError;

/// A statement that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// The connection is gone, or never came about; whether the statement was carried out is unknown.
    Lost(String),
    /// No answer in time; likewise unknown.
    Late,
    /// Two were in each other's way, and this one was undone.
    Crossed(String),
    /// A row may be at fault, and another one not.
    Row(String),
    /// Somebody else holds a row, or the table, and may hold it for long.
    Held(String),
    /// All would be refused alike.
    Refused(String),
}

impl Fault {
    /// Whether the connection is of no more use.
    pub(super) fn ends_connection(&self) -> bool {
        matches!(self, Self::Lost(_) | Self::Late)
    }

    /// Whether other rows may fare better.
    pub(super) fn may_be_one_rows(&self) -> bool {
        matches!(self, Self::Row(_) | Self::Held(_))
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::from(&error)
    }
}

impl From<&Error> for Fault {
    fn from(error: &Error) -> Self {
        let Error::Database(refusal) = error else {
            return match error {
                Error::ColumnDecode { .. } | Error::Decode(_) | Error::Encode(_) => {
                    Self::Refused(error.to_string())
                }
                _ => Self::Lost(error.to_string()),
            };
        };
        let code = refusal.code().unwrap_or_default();
        let why = format!("{} (SQLSTATE {code})", refusal.message());
        match &*code {
            "40001" | "40P01" => Self::Crossed(why),
            "55P03" => Self::Held(why),
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
            Fault::Lost(why)
            | Fault::Crossed(why)
            | Fault::Row(why)
            | Fault::Held(why)
            | Fault::Refused(why) => Self::Store(why),
        }
    }
}
