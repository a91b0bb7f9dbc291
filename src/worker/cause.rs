//! What asked for a sync, and how far the sync may go for that.
//!
//! A cause is kept with the user's row as an event's type is, so that a retry keeps to it, also after a kill. An event takes
//! its place, and with it the restriction.

use crate::model::LastSeen;
use crate::queue::{DRIFT, EXISTING_ONLY, EXPIRY, FORGET, Job, Lane, MISSING};
use crate::sync::SyncMode;

/// How far a sync for `cause` may go.
pub(super) fn mode_of(cause: &str) -> SyncMode {
    match cause {
        EXISTING_ONLY | FORGET | EXPIRY | DRIFT | MISSING => SyncMode::ExistingOnly,
        _ => SyncMode::Normal,
    }
}

/// What the sync of `job` starts from. For a user whom Sesamy does not know yet, an event begins the search anew, since the
/// user may exist by now; checks by the clock continue it.
pub(super) fn memory_of(job: &Job) -> LastSeen {
    let begins_anew = job.lane == Lane::Events && job.memory.email.is_none();
    let missing_since = job.memory.missing_since.filter(|_| !begins_anew);
    LastSeen { missing_since, ..job.memory.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventType;
    use crate::queue::{AGAIN, RESTRICTED};

    #[test]
    fn an_event_is_synced_as_the_settings_say_and_a_check_that_nobody_asked_for_creates_nobody() {
        for kind in EventType::ALL {
            assert_eq!(mode_of(kind.as_str()), SyncMode::Normal, "{kind:?}");
        }
        for cause in ["sync", "retry", "backfill"] {
            assert_eq!(mode_of(cause), SyncMode::Normal, "{cause}");
        }
        let restricted = [EXISTING_ONLY, FORGET, "expiry", "drift", "missing"];
        assert_eq!(restricted.map(mode_of), [SyncMode::ExistingOnly; 5]);
        assert_eq!(mode_of(AGAIN), SyncMode::Normal, "an operator's word holds once");
        for cause in RESTRICTED {
            assert_ne!(mode_of(cause), SyncMode::Normal, "{cause}");
        }
    }
}
