//! What asked for a sync, and how far the sync may go for that.
//!
//! A cause is kept with the user's row as an event's type is, so that a retry keeps to it, also after a kill. An event takes
//! its place, and with it the restriction.

use crate::memory::Memory;
use crate::queue::{DRIFT, EXISTING_ONLY, EXPIRY, FORGET, Job, Lane, MISSING};
use crate::sync::Manner;

/// How far a sync for `cause` may go.
pub(super) fn manner_of(cause: &str) -> Manner {
    match cause {
        EXISTING_ONLY | FORGET => Manner::ExistingOnly,
        EXPIRY | DRIFT | MISSING => Manner::Round,
        _ => Manner::Usual,
    }
}

/// The memory that the sync of `job` starts from. For a user whom Sesamy does not know yet, an event begins the search anew,
/// since the user may exist by now; checks by the clock continue it.
pub(super) fn memory_of(job: &Job) -> Memory {
    let begins_anew = job.lane == Lane::Events && job.memory.email.is_none();
    let missing_since = job.memory.missing_since.filter(|_| !begins_anew);
    Memory { missing_since, ..job.memory.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventType;
    use crate::queue::{AGAIN, RESTRICTED};

    #[test]
    fn an_event_is_synced_as_the_settings_say_and_a_look_that_nobody_asked_for_creates_nobody() {
        for kind in EventType::ALL {
            assert_eq!(manner_of(kind.as_str()), Manner::Usual, "{kind:?}");
        }
        for cause in ["sync", "retry", "backfill"] {
            assert_eq!(manner_of(cause), Manner::Usual, "{cause}");
        }
        assert_eq!(["expiry", "drift", "missing"].map(manner_of), [Manner::Round; 3]);
        assert_eq!([EXISTING_ONLY, FORGET].map(manner_of), [Manner::ExistingOnly; 2]);
        assert_eq!(manner_of(AGAIN), Manner::Usual, "an operator's word holds once");
        for cause in RESTRICTED {
            assert_ne!(manner_of(cause), Manner::Usual, "{cause}");
        }
    }
}
