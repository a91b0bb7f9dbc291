//! A user's lease for what an operator asks for, so that nothing is done beside a running sync of the same user.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::error::AppError;
use crate::queue::{Job, LeaseRequest, UserLease};
use crate::upstream::Api;
use crate::upstream::circuit_breaker::{Admission, CallKind};
use crate::worker::SyncRunner;

/// How often to ask again for a user that another process syncs.
const ASK_AGAIN: Duration = Duration::from_millis(250);

/// How long to wait for a user's turn.
#[derive(Debug, Clone)]
pub(crate) struct WaitLimit {
    /// The longest wait for a running sync of the user, or for the pace.
    pub longest: Duration,
    /// Cancelled: what runs is cut off, and the user given back to the queue.
    pub stop: CancellationToken,
}

/// Waits for the lease that `request` asks for; `not_done` completes the error if `wait` is cancelled before.
pub(super) async fn lease(
    runner: &SyncRunner,
    request: &LeaseRequest,
    wait: &WaitLimit,
    not_done: &'static str,
) -> Result<Job, AppError> {
    let gives_up = runner.clock.now().plus(wait.longest);
    let mut is_waiting = false;
    loop {
        let refused = match runner.queue.lease_user(request.clone()).await? {
            UserLease::Leased(job) => return Ok(*job),
            UserLease::Paused => return Err(AppError::Paused),
            UserLease::Forgotten => return Err(AppError::Forgotten),
            UserLease::Held(until) => AppError::Busy { until },
            UserLease::NotBefore(until) => match open_circuit(runner).await {
                Some(open) => return Err(open),
                None => AppError::NoCalls { until },
            },
        };
        if runner.clock.now() >= gives_up {
            return Err(refused);
        }
        if !std::mem::replace(&mut is_waiting, true) {
            tracing::info!(user_id = %request.user, "waiting: {refused}");
        }
        tokio::select! {
            () = tokio::time::sleep(ASK_AGAIN) => {}
            () = wait.stop.cancelled() => return Err(AppError::Stopped(not_done)),
        }
    }
}

/// The API whose circuit is open, as all processes know it.
async fn open_circuit(runner: &SyncRunner) -> Option<AppError> {
    let known = runner.learn().await?;
    let now = runner.clock.now();
    Api::ALL.into_iter().find_map(|api| {
        let breaker = known.breakers.of(api);
        let (reason, until) = breaker.open(CallKind::Read)?;
        let is_closed = breaker.admission(now) == Admission::All;
        (!is_closed).then(|| AppError::CircuitOpen { api, why: reason.as_str(), until })
    })
}
