//! A user forgotten on request: row and history erased and, if asked for, our tags taken off the contact first.
//!
//! All of it happens under the user's lease, so no sync runs meanwhile. A lease without calls waits for no API and no
//! pause, so a broken API keeps nobody from being forgotten. With Mailmojo the tags come off first, because the address
//! is forgotten with everything else. If that fails, nothing is forgotten; if the process ends between the two, asking
//! again does what is left. The stories are in `tests/stories/forget/command.rs`.

use serde::Serialize;

use super::error::AppError;
use super::lease::{WaitLimit, lease};
use crate::model::LastSeen;
use crate::queue::{FORGET, Job, Lane, LeaseRequest, Queue, RowState, Settlement, UserRow};
use crate::sync::{Context, SyncError, Syncer, TagsRemoved};
use crate::upstream::{Attempt, PerApi};
use crate::user::UserId;
use crate::worker::SyncRunner;

/// The most rows of history that are counted.
const COUNTED: usize = 10_000;
const NOT_DONE: &str = "anything was forgotten; ask again";

/// What became of a user who was to be forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Forgot {
    /// Row and history are erased; later events are dropped.
    Forgotten,
    /// The user was forgotten before.
    AlreadyForgotten,
    /// Nothing was changed: `sync.dry_run` is on, or this only says what there is to erase.
    WouldBeForgotten,
}

impl Forgot {
    pub(crate) const ALL: [Self; 3] = [Self::Forgotten, Self::AlreadyForgotten, Self::WouldBeForgotten];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Forgotten => "forgotten",
            Self::AlreadyForgotten => "already_forgotten",
            Self::WouldBeForgotten => "would_be_forgotten",
        }
    }
}

/// What was erased.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Forgotten {
    #[serde(rename = "user_id")]
    pub user: String,
    pub outcome: Forgot,
    /// Whether there was a row.
    pub was_known: bool,
    /// How many rows of history there were, counted to 10,000.
    pub history_rows: usize,
    /// What became of the user's contacts, one for each known address; null if Mailmojo was not asked for.
    pub mailmojo: Option<Vec<TagsRemoved>>,
}

/// What there is to erase of `user`, and the row. Asks neither API.
///
/// # Errors
/// The store could not be read.
pub(super) async fn would_forget(
    queue: &Queue,
    user: &UserId,
) -> Result<(Forgotten, Option<UserRow>), AppError> {
    let is_forgotten = !queue.forgotten(std::slice::from_ref(user)).await?.is_empty();
    let row = queue.rows_of(std::slice::from_ref(user)).await?.pop().filter(|_| !is_forgotten);
    let found = Forgotten {
        user: user.as_str().to_owned(),
        outcome: if is_forgotten { Forgot::AlreadyForgotten } else { Forgot::WouldBeForgotten },
        was_known: row.is_some(),
        history_rows: if is_forgotten { 0 } else { queue.history(user, COUNTED).await?.len() },
        mailmojo: None,
    };
    Ok((found, row))
}

/// Forgets `user`; with `mailmojo` after our tags are taken off the user's contacts. Under `sync.dry_run` only says what
/// would be done. A user who is forgotten already stays so.
///
/// # Errors
/// The user is as before, but for tags that were taken off.
pub(super) async fn forget(
    runner: &SyncRunner,
    syncer: &Syncer,
    user: &UserId,
    mailmojo: bool,
    wait: &WaitLimit,
) -> Result<Forgotten, AppError> {
    let (found, row) = would_forget(&runner.queue, user).await?;
    if found.outcome == Forgot::AlreadyForgotten || syncer.is_dry_run() {
        let memory = row.map(|row| row.memory).unwrap_or_default();
        let taken_off = match mailmojo {
            true => Some(remove_tags_unleased(runner, syncer, &found, user, memory, wait).await?),
            false => None,
        };
        return Ok(Forgotten { mailmojo: taken_off, ..found });
    }
    let calls = if mailmojo { Syncer::calls_to_remove_tags() } else { PerApi::default() };
    let request = LeaseRequest { user: user.clone(), cause: FORGET, lane: Lane::Events, calls, again: false };
    let job = match lease(runner, &request, wait, NOT_DONE).await {
        // Another command has forgotten the user meanwhile, which the next call finds at once.
        Err(AppError::Forgotten) => return Box::pin(forget(runner, syncer, user, mailmojo, wait)).await,
        leased => leased?,
    };
    tracing::info!(user_id = %user, mailmojo, "an operator wants a user forgotten");
    let (job, taken_off) = match mailmojo {
        true => remove_tags_leased(runner, syncer, job, row.as_ref(), wait).await?,
        false => (job, None),
    };
    let history_rows = runner.queue.history(user, COUNTED).await?.len();
    if !runner.queue.forget(&job).await? {
        // The lease is lost. A settlement reports it if something was written.
        runner.settle(&job, Settlement::Release { at: runner.clock.now() }, None).await;
        return Err(AppError::LeaseLost);
    }
    tracing::info!(user_id = %user, mailmojo, history_rows, "a user was forgotten");
    let was_known = job.generation > 1; // a row created by this lease has generation 1
    Ok(Forgotten { outcome: Forgot::Forgotten, was_known, history_rows, mailmojo: taken_off, ..found })
}

/// Nobody syncs a forgotten user, and a dry run writes nothing, so neither needs a lease.
async fn remove_tags_unleased(
    runner: &SyncRunner,
    syncer: &Syncer,
    found: &Forgotten,
    user: &UserId,
    memory: LastSeen,
    wait: &WaitLimit,
) -> Result<Vec<TagsRemoved>, AppError> {
    let context = Context::new(Attempt::within(runner.limits.deadline, &runner.clock), memory);
    let taken = tokio::select! {
        taken = syncer.remove_tags(user, &context) => taken,
        () = wait.stop.cancelled() => return Err(AppError::Stopped(NOT_DONE)),
    };
    taken.map_err(|error| tags_remain(found.outcome, &error))
}

/// The job with the calls that are left of it, and what was taken off.
async fn remove_tags_leased(
    runner: &SyncRunner,
    syncer: &Syncer,
    job: Job,
    row: Option<&UserRow>,
    wait: &WaitLimit,
) -> Result<(Job, Option<Vec<TagsRemoved>>), AppError> {
    let context = runner.context(&job);
    let taken = tokio::select! {
        taken = syncer.remove_tags(&job.user, &context) => taken,
        () = wait.stop.cancelled() => {
            give_back(runner, job, row, &context).await;
            return Err(AppError::Stopped(NOT_DONE));
        }
    };
    match taken {
        Ok(taken) => {
            runner.record(&job.user, &context, None).await;
            Ok((SyncRunner::after(job, &context), Some(taken)))
        }
        Err(error) => {
            runner.record(&job.user, &context, Some(&error)).await;
            tracing::warn!(user_id = %job.user, %error, "a user was not forgotten");
            give_back(runner, job, row, &context).await;
            Err(tags_remain(Forgot::WouldBeForgotten, &error))
        }
    }
}

fn tags_remain(found: Forgot, error: &SyncError) -> AppError {
    let message = match found {
        Forgot::AlreadyForgotten => {
            format!("the user was forgotten before, but our tags could not be taken off: {error}. Ask again")
        }
        Forgot::Forgotten | Forgot::WouldBeForgotten => format!(
            "our tags could not be taken off, so nothing was forgotten: {error}. Ask again; without Mailmojo it needs no API"
        ),
    };
    match error {
        SyncError::Api(_) => AppError::Api { message, own_words: None },
        SyncError::Queue(_) => AppError::QueueDuringSync(message),
    }
}

/// Ends the lease with the row as it was: a parked user stays parked, one that waited for its next try waits again. Any
/// other user is due, as after a sync that was cut off.
async fn give_back(runner: &SyncRunner, job: Job, row: Option<&UserRow>, context: &Context) {
    match row.filter(|_| !context.attempt.is_writing()).and_then(as_before) {
        Some(settlement) => runner.settle(&SyncRunner::after(job, context), settlement, None).await,
        None => runner.cut_off(job, context).await,
    }
}

fn as_before(row: &UserRow) -> Option<Settlement> {
    let (error, due_at) = (row.error.clone()?, row.due_at);
    match (row.state, &row.answer, due_at) {
        (RowState::Parked, Some(answer), _) => Some(Settlement::Park { error, answer: answer.clone() }),
        (RowState::Failing, _, Some(at)) => Some(Settlement::Retry { at, counts: false, error }),
        _ => None,
    }
}
