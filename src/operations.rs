//! What an operator asks for: the same for the commands, the admin API and the page.
//!
//! Promises, each told by a story: nobody is synced by hand beside a running sync of the same user; what is asked of the
//! queue is logged with what it was, and with nobody's address.

pub(crate) mod backfill;
pub mod find;
mod forget;
mod now;
pub mod preview;
mod remembered;
mod status;

use std::sync::Arc;
use std::time::Duration;

use crate::memory::Memory;
use crate::queue::{ParkedGroup, Queue, QueueError, Retry};
use crate::sync::Syncer;
use crate::upstream::{Api, PerApi};
use crate::user::UserId;
use crate::worker::SyncRunner;

pub use crate::upstream::circuit_breaker::ApiStatus;
pub use forget::{FORGOTTEN, Forgot, Forgotten, NotForgotten};
pub use now::{Again, NotSynced, Patience, Synced};
pub use remembered::{Remembered, SeenContact};
pub use status::{BackfillStatus, Resync, Status};

/// What an operator's wishes are carried out with. Clones share it all.
#[derive(Debug, Clone)]
pub struct Operator {
    /// The queue, and how a sync ends.
    pub hand: SyncRunner,
    /// How a user is synced.
    pub syncer: Arc<Syncer>,
    /// How many calls a sync usually makes: its lease takes them from the rates.
    pub calls: PerApi<u32>,
}

impl Operator {
    fn queue(&self) -> &Queue {
        &self.hand.queue
    }

    /// What is remembered of `user`; nothing of one who is not known.
    ///
    /// # Errors
    /// The store could not be read.
    pub async fn memory_of(&self, user: &UserId) -> Result<Memory, QueueError> {
        let rows = self.queue().rows_of(std::slice::from_ref(user)).await?;
        Ok(rows.into_iter().next().map(|row| row.memory).unwrap_or_default())
    }

    /// Whether an operator has had `user` forgotten.
    ///
    /// # Errors
    /// The store could not be read.
    pub async fn is_forgotten(&self, user: &UserId) -> Result<bool, QueueError> {
        Ok(!self.queue().forgotten(std::slice::from_ref(user)).await?.is_empty())
    }

    /// Pauses all syncs until [`Operator::resume`]; events are kept.
    ///
    /// # Errors
    /// The store failed; nothing was changed.
    pub async fn pause(&self) -> Result<Status, QueueError> {
        self.queue().pause().await?;
        tracing::info!("an operator has paused syncs");
        self.status().await
    }

    /// Lets syncs go on, closes the circuits of both APIs, and releases the removal guard; with `allow_removals`, the guard stays
    /// off for so long.
    ///
    /// # Errors
    /// The store failed; nothing was changed.
    pub async fn resume(&self, allow_removals: Option<Duration>) -> Result<Status, QueueError> {
        let known = self.queue().resume(allow_removals).await?;
        Api::ALL.into_iter().for_each(|api| self.hand.gates.of(api).release());
        self.hand.adopt(&known);
        tracing::info!("an operator has resumed syncs");
        self.status().await
    }

    /// Makes users due at once; how many.
    ///
    /// # Errors
    /// The store failed; nobody was.
    pub async fn retry(&self, whom: Retry) -> Result<u64, QueueError> {
        let users = self.queue().retry(whom).await?;
        tracing::info!(users, "an operator has made users due");
        Ok(users)
    }

    /// Who is parked for what, the largest group first.
    ///
    /// # Errors
    /// The store could not be read.
    pub async fn parked(&self) -> Result<Vec<ParkedGroup>, QueueError> {
        const GROUPS: usize = 100;
        self.queue().parked(GROUPS).await
    }
}
