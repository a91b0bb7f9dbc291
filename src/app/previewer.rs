//! Finds users, and previews their syncs: asks both APIs, writes nothing.

use std::sync::Arc;
use std::time::Duration;

use super::error::AppError;
use super::preview::{Preview, Request};
use crate::address;
use crate::clock::Clock;
use crate::model::LastSeen;
use crate::queue::{Queue, QueueError};
use crate::sync::{Context, Syncer};
use crate::upstream::Attempt;
use crate::user::UserId;

/// Works without a queue too, on a machine that has only the settings. Then nothing is remembered of any user.
#[derive(Debug)]
pub(crate) struct Previewer {
    pub(crate) syncer: Arc<Syncer>,
    pub(crate) queue: Option<Queue>,
    pub(crate) clock: Clock,
    /// `sync.deadline`, for each user.
    pub(crate) deadline: Duration,
}

impl Previewer {
    /// All users that Sesamy knows by `address`, in any spelling (see [`address::is_same`]).
    pub(crate) async fn find(&self, address: &str) -> Result<Vec<UserId>, AppError> {
        let address = address.trim();
        if !address::is_usable(address) {
            return Err(AppError::NotAnAddress);
        }
        Ok(self.syncer.sesamy().find_by_email(address, &self.attempt()).await?)
    }

    /// What a sync of `user` would do now.
    ///
    /// # Errors
    /// A call failed with which a sync would fail too, or the user was forgotten.
    pub(crate) async fn preview(&self, user: &UserId) -> Result<Preview, AppError> {
        let memory = self.memory_of(user).await?.ok_or(AppError::Forgotten)?;
        let context = Context::new(self.attempt(), memory);
        let decision = self.syncer.preview(user, &context).await?;
        Ok(Preview::new(user, &decision, |write| Request::from(&self.syncer.request(write))))
    }

    /// What is remembered of `user`; `None` if the user was forgotten.
    async fn memory_of(&self, user: &UserId) -> Result<Option<LastSeen>, QueueError> {
        let Some(queue) = &self.queue else { return Ok(Some(LastSeen::default())) };
        if !queue.forgotten(std::slice::from_ref(user)).await?.is_empty() {
            return Ok(None);
        }
        if let Err(error) = queue.known().await {
            tracing::warn!(%error, "cannot read whether the removal guard has tripped; the preview shows removals as allowed");
        }
        let rows = queue.rows_of(std::slice::from_ref(user)).await?;
        Ok(Some(rows.into_iter().next().map(|row| row.memory).unwrap_or_default()))
    }

    fn attempt(&self) -> Attempt {
        Attempt::within(self.deadline, &self.clock)
    }
}
