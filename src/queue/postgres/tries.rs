//! How long a statement may take, and whether it is worth another try.

use std::time::Duration;

use tokio::time::timeout;

use super::Tuning;
use super::fault::Fault;

/// More often than this two cannot be in each other's way by chance.
const MOST_CROSSED: u32 = 8;

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
            Fault::Late | Fault::Row(_) | Fault::Refused(_) => false,
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
