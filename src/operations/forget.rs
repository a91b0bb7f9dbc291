//! A user forgotten by an operator's word: the row and the history erased, and, where asked for, our tags taken off first.
//!
//! All of it under the user's lease, so that no sync is under way meanwhile. A lease without calls waits for no API and no
//! pause: what is wrong with an API keeps nobody from being forgotten. With Mailmojo the tags come off first, for the address
//! is forgotten with the rest; where that fails nothing is forgotten, and where the process ends between the two, to ask again
//! does what is left. The stories are in `tests/stories/forget.rs`.

use serde::Serialize;

use super::{NotSynced, Operator, Patience};
use crate::memory::Memory;
use crate::queue::{FORGET, Job, Lane, LeaseRequest, QueueError, Settlement, State, UserRow};
use crate::sync::{Context, Syncer, TagsRemoved};
use crate::upstream::{Attempt, PerApi};
use crate::user::UserId;
use crate::worker::SyncRunner;

/// What is to be said of somebody who was forgotten, after who it is.
pub const FORGOTTEN: &str =
    "was forgotten: events are dropped, and nobody syncs this user; `sync --again` takes the user up again";

/// The most rows of history that are counted.
const COUNTED: usize = 10_000;

/// What became of a user who was to be forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Forgot {
    /// Row and history are erased; later events are dropped.
    Forgotten,
    /// They were before.
    AlreadyForgotten,
    /// They would be, but for `sync.dry_run`.
    WouldBeForgotten,
}

impl Forgot {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Forgotten, Self::AlreadyForgotten, Self::WouldBeForgotten];

    /// The word for people and programs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Forgotten => "forgotten",
            Self::AlreadyForgotten => "already_forgotten",
            Self::WouldBeForgotten => "would_be_forgotten",
        }
    }
}

/// What was erased.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Forgotten {
    /// Who.
    #[serde(rename = "user_id")]
    pub user: String,
    /// What became of the user.
    pub outcome: Forgot,
    /// Whether there was a row.
    pub was_known: bool,
    /// How many rows of history there were, counted to 10,000.
    pub history_rows: usize,
    /// What became of the user's contacts, one for each address that is known; null where Mailmojo was not asked for.
    pub mailmojo: Option<Vec<TagsRemoved>>,
}

/// Why nobody was forgotten.
#[derive(Debug, Clone, thiserror::Error)]
pub enum NotForgotten {
    /// The user could not be leased.
    #[error(transparent)]
    Lease(#[from] NotSynced),
    /// The tags could not be taken off; personal data masked.
    #[error(
        "our tags could not be taken off, so nothing was forgotten: {0}. Ask again; without Mailmojo it needs no API"
    )]
    Tags(String),
    /// The same of somebody who is forgotten.
    #[error("the user was forgotten before, but our tags could not be taken off: {0}. Ask again")]
    TagsOfForgotten(String),
    /// It was to be cut off.
    #[error("stopped before anything was forgotten; ask again")]
    Stopped,
    /// The lease ended before it was done.
    #[error("it took longer than the user's lease lasts, and nothing was forgotten; ask again")]
    LeaseLost,
    /// The store failed.
    #[error(transparent)]
    Queue(#[from] QueueError),
}

impl Operator {
    /// Has `user` forgotten; with `mailmojo` after our tags are taken off the user's contacts. Under `sync.dry_run` only tells
    /// what would be done. Who is forgotten already stays so.
    ///
    /// # Errors
    /// [`NotForgotten`]; the user is as before, but for tags that were taken off.
    pub async fn forget(
        &self,
        user: &UserId,
        mailmojo: bool,
        patience: &Patience,
    ) -> Result<Forgotten, NotForgotten> {
        let row = self.queue().rows_of(std::slice::from_ref(user)).await?.pop();
        if self.syncer.is_dry_run() {
            return self.would_forget(user, row, mailmojo, patience).await;
        }
        let request = LeaseRequest {
            user: user.clone(),
            cause: FORGET,
            lane: Lane::Events,
            calls: if mailmojo { Syncer::calls_to_remove_tags() } else { PerApi::default() },
            again: false,
        };
        let job = match self.lease(&request, patience).await {
            Ok(job) => job,
            Err(NotSynced::Forgotten) => return self.already_forgotten(user, mailmojo, patience).await,
            Err(NotSynced::Stopped) => return Err(NotForgotten::Stopped),
            Err(refused) => return Err(refused.into()),
        };
        tracing::info!(user_id = %user, mailmojo, "an operator wants a user forgotten");
        let (job, taken_off) = if mailmojo {
            let (job, taken_off) = self.take_off_under(job, row.as_ref(), patience).await?;
            (job, Some(taken_off))
        } else {
            (job, None)
        };
        let history_rows = self.queue().history(user, COUNTED).await?.len();
        if !self.queue().forget(&job).await? {
            self.hand.settle(&job, Settlement::Release, None).await; // its lease is lost: this tells of what was written
            return Err(NotForgotten::LeaseLost);
        }
        tracing::info!(user_id = %user, mailmojo, history_rows, "a user was forgotten");
        let was_known = job.generation > 1; // one that the lease itself has made known is at its first
        Ok(Forgotten::new(user, Forgot::Forgotten, was_known, history_rows, taken_off))
    }

    /// What there is to erase of `user`; Mailmojo is not asked.
    ///
    /// # Errors
    /// The store could not be read.
    pub async fn look_at_forgetting(&self, user: &UserId) -> Result<Forgotten, NotForgotten> {
        if self.is_forgotten(user).await? {
            return Ok(Forgotten::new(user, Forgot::AlreadyForgotten, false, 0, None));
        }
        let was_known = !self.queue().rows_of(std::slice::from_ref(user)).await?.is_empty();
        let history_rows = self.queue().history(user, COUNTED).await?.len();
        Ok(Forgotten::new(user, Forgot::WouldBeForgotten, was_known, history_rows, None))
    }

    async fn would_forget(
        &self,
        user: &UserId,
        row: Option<UserRow>,
        mailmojo: bool,
        patience: &Patience,
    ) -> Result<Forgotten, NotForgotten> {
        let looked = self.look_at_forgetting(user).await?;
        if looked.outcome == Forgot::AlreadyForgotten {
            return self.already_forgotten(user, mailmojo, patience).await;
        }
        let memory = row.map(|row| row.memory).unwrap_or_default();
        let taken_off =
            if mailmojo { Some(self.take_off_unleased(user, &memory, patience).await?) } else { None };
        Ok(Forgotten { mailmojo: taken_off, ..looked })
    }

    /// Nobody syncs the user, so no lease is needed for what is left to be done.
    async fn already_forgotten(
        &self,
        user: &UserId,
        mailmojo: bool,
        patience: &Patience,
    ) -> Result<Forgotten, NotForgotten> {
        let taken_off = if mailmojo {
            let taken_off = self.take_off_unleased(user, &Memory::default(), patience).await;
            Some(taken_off.map_err(|why| match why {
                NotForgotten::Tags(why) => NotForgotten::TagsOfForgotten(why),
                other => other,
            })?)
        } else {
            None
        };
        Ok(Forgotten::new(user, Forgot::AlreadyForgotten, false, 0, taken_off))
    }

    async fn take_off_unleased(
        &self,
        user: &UserId,
        memory: &Memory,
        patience: &Patience,
    ) -> Result<Vec<TagsRemoved>, NotForgotten> {
        let attempt = Attempt::within(self.hand.limits.deadline, &self.hand.clock);
        let context = Context::new(attempt, memory.clone());
        tokio::select! {
            taken = self.syncer.remove_tags(user, &context) => {
                taken.map_err(|error| NotForgotten::Tags(error.to_string()))
            }
            () = patience.stop.cancelled() => Err(NotForgotten::Stopped),
        }
    }

    /// The job with the calls that are left of it, and what was taken off.
    async fn take_off_under(
        &self,
        job: Job,
        row: Option<&UserRow>,
        patience: &Patience,
    ) -> Result<(Job, Vec<TagsRemoved>), NotForgotten> {
        let context = self.hand.context(&job);
        let taken = tokio::select! {
            taken = self.syncer.remove_tags(&job.user, &context) => taken,
            () = patience.stop.cancelled() => {
                self.give_back(job, row, &context).await;
                return Err(NotForgotten::Stopped);
            }
        };
        match taken {
            Ok(taken) => {
                self.hand.record(&job.user, &context, None).await;
                Ok((SyncRunner::after(job, &context), taken))
            }
            Err(error) => {
                self.hand.record(&job.user, &context, Some(&error)).await;
                tracing::warn!(user_id = %job.user, %error, "a user was not forgotten");
                self.give_back(job, row, &context).await;
                Err(NotForgotten::Tags(error.to_string()))
            }
        }
    }

    /// Ends the lease with the row as it was: who was parked is parked, who was to be tried again later is then. Anybody else
    /// is due, as after any sync that was cut off.
    async fn give_back(&self, job: Job, row: Option<&UserRow>, context: &Context) {
        let before = row.filter(|_| !context.attempt.is_writing()).and_then(as_before);
        let Some(settlement) = before else { return self.hand.cut_off(job, context).await };
        self.hand.settle(&SyncRunner::after(job, context), settlement, None).await;
    }
}

fn as_before(row: &UserRow) -> Option<Settlement> {
    let (error, due_at) = (row.error.clone()?, row.due_at);
    match (row.state, &row.answer, due_at) {
        (State::Parked, Some(answer), _) => Some(Settlement::Park { error, answer: answer.clone() }),
        (State::Scheduled, _, Some(at)) => Some(Settlement::Retry { at, counts: false, error }),
        _ => None,
    }
}

impl Forgotten {
    fn new(
        user: &UserId,
        outcome: Forgot,
        was_known: bool,
        history_rows: usize,
        mailmojo: Option<Vec<TagsRemoved>>,
    ) -> Self {
        Self { user: user.as_str().to_owned(), outcome, was_known, history_rows, mailmojo }
    }
}
