//! What holds a backfill up, and the wait for its end.

use std::time::Duration;

use tokio::time::sleep;

use crate::queue::SharedState;
use crate::upstream::Api;
use crate::worker::SyncRunner;

/// How often to check how far a backfill is, and what it waits for.
pub(super) const CHECK_EVERY: Duration = Duration::from_secs(1);

/// What holds up all users. A dry run changes nothing, so it does not wait for a pause to end.
pub(super) fn held_up_by(known: &SharedState, is_dry_run: bool) -> Option<String> {
    if known.paused_at.is_some() && !is_dry_run {
        return Some("syncs are paused; `queue resume` lets them go on".to_owned());
    }
    let mut apis = Api::ALL.into_iter().map(|api| known.breakers.of(api).status(api, known.read_at));
    let open = apis.find(|api| api.state == "resting")?;
    let (api, why, until) = (open.api, open.why.unwrap_or_default(), open.until.unwrap_or(known.read_at));
    Some(format!("{api}'s circuit is open ({why}) until {until}"))
}

/// What some users wait for while the removal guard has tripped. All others are synced.
pub(super) fn removals_wait(known: &SharedState) -> Option<String> {
    known.guard.tripped_at.map(|since| {
        format!("no tag is taken away since {since}: check Sesamy's contracts and users, then `queue resume`")
    })
}

/// Waits until calls may be made. If the store cannot be read, returns at once: the next step reports it.
pub(super) async fn until_open(runner: &SyncRunner, is_dry_run: bool) {
    while let Some(known) = runner.learn().await
        && held_up_by(&known, is_dry_run).is_some()
    {
        sleep(CHECK_EVERY).await;
    }
}
