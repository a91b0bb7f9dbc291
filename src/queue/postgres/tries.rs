//! How long a statement may take, and whether it is worth another try.

use std::time::Duration;

use tokio::time::timeout;

use super::Tuning;
use super::fault::Fault;

/// More often than this two cannot be in each other's way by chance.
const MOST_CROSSED: u32 = 8;

/// So many rows that somebody holds are waited for, one after the other: more of them are the whole table, or might as
/// well be, and nobody can wait for each.
const MOST_HELD: u32 = 2;

/// Rows that are tried each alone, after all together failed for one of them.
#[derive(Debug, Default)]
pub(super) struct Alone(u32);

impl Alone {
    /// Whether the next row may be tried; else what comes of it.
    pub(super) fn may_try(&self) -> Result<(), Fault> {
        if self.0 < MOST_HELD {
            return Ok(());
        }
        Err(Fault::Refused("somebody else holds too many rows, or the table".to_owned()))
    }

    /// What came of a row.
    pub(super) fn came<T>(&mut self, came: &Result<T, Fault>) {
        self.0 += u32::from(matches!(came, Err(Fault::Held(_))));
    }
}

/// How often a piece of work has failed so far.
#[derive(Debug, Default)]
pub(super) struct Tries {
    lost: bool,
    crossed: u32,
}

impl Tries {
    /// Whether `fault` is one that another try may not meet: the first lost connection, or a deadlock.
    pub(super) fn another(&mut self, fault: &Fault) -> bool {
        match fault {
            Fault::Lost(_) => !std::mem::replace(&mut self.lost, true),
            Fault::Crossed(_) => {
                self.crossed += 1;
                self.crossed <= MOST_CROSSED
            }
            Fault::Late | Fault::Row(_) | Fault::Held(_) | Fault::Refused(_) => false,
        }
    }
}

/// What comes of `work`, or [`Fault::Late`]: a little after the server should have given it up by itself.
pub(super) async fn within<T>(
    tuning: Tuning,
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, Fault> {
    match timeout(tuning.answer + Duration::from_millis(500), work).await {
        Ok(came) => came.map_err(Fault::from),
        Err(_) => Err(Fault::Late),
    }
}
