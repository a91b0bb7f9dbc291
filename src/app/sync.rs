//! One user's sync, at once: under the queue's lease, so that it never runs beside another sync of that user.

use serde::Serialize;

use super::error::AppError;
use super::lease::{WaitLimit, lease};
use crate::queue::{AGAIN, Lane, LeaseRequest};
use crate::sync::{SyncMode, Syncer};
use crate::upstream::{OwnWords, PerApi};
use crate::user::UserId;
use crate::worker::{Ended, SyncRunner};

/// The cause in the history.
const CAUSE: &str = "sync";
const NOT_DONE: &str = "the sync was over; the user is due and will be synced by the service";

/// Whether to sync users again who were removed, have left under an older address, or were forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Again {
    No,
    Yes,
}

/// What a sync by hand came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Synced {
    #[serde(rename = "user_id")]
    pub user: String,
    /// `created`, `subscribed`, `updated`, `unchanged` or `skipped`; `failed`, `postponed` or `parked` if it failed.
    pub outcome: &'static str,
    /// Why it was skipped; `transient`, `permanent` or `resting` if it failed; else empty.
    pub reason: &'static str,
    /// Whether `sync.dry_run` kept the change from being written.
    pub dry_run: bool,
    /// Whether the removal guard kept tags from being removed. The fields below have what was written all the same.
    pub braked: bool,
    pub changed: Vec<&'static str>,
    pub tags_added: Vec<String>,
    pub tags_removed: Vec<String>,
    /// Tags that the contact of the user's earlier address lost.
    pub old_tags_removed: Vec<String>,
    /// Tags that the removal guard kept from being removed.
    pub tags_held: Vec<String>,
    pub error: Option<String>,
    /// The API's own words about the error, for the operator who has just asked.
    #[serde(skip)]
    pub own_words: Option<OwnWords>,
}

impl Synced {
    /// Whether the user is in step.
    pub(crate) fn is_good(&self) -> bool {
        self.error.is_none()
    }

    fn new(user: &UserId, ended: Ended) -> Self {
        let (outcome, reason) = ended.outcome().words();
        let synced = Self { user: user.as_str().to_owned(), outcome, reason, ..Self::default() };
        match ended.result {
            Ok(report) => Self {
                dry_run: report.held_back && !report.braked,
                braked: report.braked,
                changed: report.changed,
                tags_added: report.tags_added,
                tags_removed: report.tags_removed,
                old_tags_removed: report.old_tags_removed,
                tags_held: report.tags_held,
                ..synced
            },
            Err(error) => {
                Self { error: Some(error.to_string()), own_words: error.own_words().cloned(), ..synced }
            }
        }
    }
}

/// Syncs `user` now with `calls` taken from the rates, due or not, parked or not.
///
/// # Errors
/// Why it did not begin, or was cut off. A sync that began and failed is not an error: [`Synced`] says so.
pub(super) async fn sync(
    runner: &SyncRunner,
    syncer: &Syncer,
    calls: PerApi<u32>,
    user: &UserId,
    again: Again,
    wait: &WaitLimit,
) -> Result<Synced, AppError> {
    let (cause, mode) = match again {
        Again::No => (CAUSE, SyncMode::Normal),
        Again::Yes => (AGAIN, SyncMode::Override),
    };
    let again = again == Again::Yes;
    let request = LeaseRequest { user: user.clone(), cause, lane: Lane::Events, calls, again };
    let job = lease(runner, &request, wait, NOT_DONE).await?;
    tracing::info!(user_id = %user, "an operator has asked for a sync");
    let context = runner.context(&job);
    let syncer = syncer.in_mode(mode);
    let work = syncer.sync(user, &context);
    tokio::select! {
        ended = runner.run(job.clone(), context.clone(), work) => Ok(Synced::new(user, ended)),
        () = wait.stop.cancelled() => {
            runner.cut_off(job, &context).await;
            Err(AppError::Stopped(NOT_DONE))
        }
    }
}
