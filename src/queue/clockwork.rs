//! What becomes due though nothing asks for it: by the clock, and by rounds that bring everybody round again.
//!
//! A *round* goes through all rows in the order of their ids, evenly over the time that one may take, so that no hour has
//! more of it than another. Pure: the stores keep a [`Round`] and ask it how many are next.

use std::time::Duration;

use serde::Serialize;

use crate::clock::Millis;

/// The cause of a sync whose time had come: access ends, or a second look is due. It creates and subscribes nobody.
pub const EXPIRY: &str = "expiry";
/// The cause of a sync that a round has asked for. It creates and subscribes nobody.
pub const DRIFT: &str = "drift";

/// The most rows that one tick makes due of either kind, each in a transaction of its own that no event waits in.
pub(super) const TICK_STEP: usize = 500;
/// A round adds nobody while so many of the background lane are due: it must never grow faster than it is worked off.
pub(super) const ROUND_WAITING: usize = 50;

/// What a tick looks after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tick {
    /// How long a round takes (`sync.resync_every`); none: there are no rounds.
    pub resync_every: Option<Duration>,
}

/// What came of a tick.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ticked {
    /// How many became due by the clock.
    pub expired: u64,
    /// How many became due whose change had been held back, and is no longer.
    pub released: u64,
    /// How many the round has made due.
    pub drifting: u64,
    /// Whether there is more to do at once.
    pub more: bool,
    /// The round under way; none where there are none.
    pub round: Option<Round>,
}

/// How far a round has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Round {
    /// When it began.
    pub started_at: Millis,
    /// When the last of the users was made due; none while it is under way. The next begins when its time is over.
    pub ended_at: Option<Millis>,
    /// How many rows there were when it began: what its pace is reckoned from.
    pub users: u64,
    /// How many rows it has passed.
    pub passed: u64,
}

impl Round {
    /// A round of `users` rows that begins now.
    #[must_use]
    pub fn begun(now: Millis, users: u64) -> Self {
        Self { started_at: now, ended_at: None, users, passed: 0 }
    }

    /// Whether it is time for the next one.
    #[must_use]
    pub fn is_over(&self, now: Millis, every: Duration) -> bool {
        self.ended_at.is_some() && now.since(self.started_at) >= every
    }

    /// How many rows it passes next, `waiting` of the background lane being due: so many that it is as far as it should be at
    /// `now`, and no more than the lane takes.
    #[must_use]
    pub fn next(&self, now: Millis, every: Duration, waiting: usize) -> usize {
        if self.ended_at.is_some() {
            return 0;
        }
        let room = ROUND_WAITING.saturating_sub(waiting);
        let behind = self.target(now, every).saturating_sub(self.passed);
        room.min(usize::try_from(behind).unwrap_or(usize::MAX))
    }

    /// How much longer than it may the round takes, at the pace that it has kept so far; zero while it is in time.
    #[must_use]
    pub fn late(&self, now: Millis, every: Duration) -> Duration {
        match self.ended_at {
            Some(_) => Duration::ZERO,
            None => now.since(self.started_at).saturating_sub(every),
        }
    }

    /// How far it should be. Rows that came since it began are passed after its time.
    fn target(&self, now: Millis, every: Duration) -> u64 {
        let elapsed = now.since(self.started_at).as_millis();
        let every = every.as_millis().max(1);
        if elapsed >= every {
            return u64::MAX;
        }
        let target = u128::from(self.users.max(1)) * elapsed / every;
        u64::try_from(target).unwrap_or(u64::MAX)
    }
}
