//! What becomes due though nothing asks for it: by the clock, and by rounds that bring everybody round again.
//!
//! A *round* goes through all rows in the order of their ids, evenly over the time that one may take, so that no hour has
//! more of it than another. Pure: the stores keep a [`Round`] and ask it how many are next.

use std::time::Duration;

use serde::Serialize;

use crate::clock::Millis;

/// The most rows that one tick makes due of either kind, each in a transaction of its own that no event waits in.
pub(super) const TICK_STEP: usize = 500;
/// A round adds nobody while so many of the background lane are due: it must never grow faster than it is worked off.
pub(super) const ROUND_WAITING: usize = 50;

/// However short a round is, a lateness of less is none.
const LATE_AFTER: Duration = Duration::from_secs(5);

/// What a tick looks after.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tick {
    /// How long a round takes (`sync.resync_every`); none: there are no rounds.
    pub resync_every: Option<Duration>,
    /// While tags are kept ([`super::Known::braked_at`]), one of those whose change is held back is looked at again: the first
    /// whose id comes after this one, or the first of all. None: nobody is.
    pub canary_after: Option<String>,
}

/// What came of a tick.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ticked {
    /// How many became due by the clock.
    pub expired: u64,
    /// How many became due whose change had been held back, and is no longer.
    pub released: u64,
    /// How many the round has made due.
    pub drifting: u64,
    /// Who is looked at again though the change stays held back. None: nobody was asked for, or nobody is held back.
    pub canary: Option<String>,
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
    /// A round of `users` rows that begins now. One of nobody has ended: whoever comes in its time is brought round by the
    /// next one, which knows how many they are, and is no burst at the end of this one.
    #[must_use]
    pub fn begun(now: Millis, users: u64) -> Self {
        Self { started_at: now, ended_at: (users == 0).then_some(now), users, passed: 0 }
    }

    /// Whether it is time for the next one.
    #[must_use]
    pub fn is_over(&self, now: Millis, every: Duration) -> bool {
        // One that begins in the future was begun under a clock that was wrong.
        now < self.started_at || (self.ended_at.is_some() && now.since(self.started_at) >= every)
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

    /// How much longer than it may the round takes; zero while it is in time.
    #[must_use]
    pub fn late(&self, now: Millis, every: Duration) -> Duration {
        match self.ended_at {
            Some(_) => Duration::ZERO,
            None => now.since(self.started_at).saturating_sub(every),
        }
    }

    /// Whether it is so late that somebody should know: one that is in time ends a moment after its time.
    #[must_use]
    pub fn is_late(&self, now: Millis, every: Duration) -> bool {
        self.late(now, every) > (every / 20).max(LATE_AFTER)
    }

    /// Which share of the users it has passed, from 0 to 1.
    #[must_use]
    pub fn share(&self) -> f64 {
        if self.ended_at.is_some() {
            return 1.0;
        }
        #[expect(clippy::cast_precision_loss, reason = "no queue has so many users that it shows")]
        let share = self.passed as f64 / self.users.max(1) as f64;
        share.min(1.0)
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

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);
    const BEGAN: Millis = Millis(5_000_000);

    fn at(passed: u64) -> Round {
        Round { passed, ..Round::begun(BEGAN, 3_600) }
    }

    #[test]
    fn a_round_passes_as_many_as_it_should_have_by_now_and_no_more_than_the_lane_takes() {
        for (passed, seconds, waiting, next) in [
            (0, 0, 0, 0),
            (0, 1, 0, 1),
            (1, 1, 0, 0),
            (5, 1, 0, 0),
            (10, 20, 0, 10),
            (10, 20, 45, 5),
            (10, 20, 50, 0),
            (10, 20, 9_000, 0),
            (0, 1_000, 0, 50),
            (3_599, 3_600, 0, 50),
            (3_700, 9_000, 0, 50),
        ] {
            let now = BEGAN.plus(Duration::from_secs(seconds));
            assert_eq!(at(passed).next(now, HOUR, waiting), next, "{passed} after {seconds} s");
        }
        let ended = Round { ended_at: Some(BEGAN), ..at(3_600) };
        assert_eq!(ended.next(BEGAN.plus(9 * HOUR), HOUR, 0), 0);
    }

    #[test]
    fn the_next_round_begins_when_the_time_of_the_one_before_is_over_and_not_before_it_has_ended() {
        let ended = Round { ended_at: Some(BEGAN.plus(HOUR / 2)), ..at(9) };
        assert!(!ended.is_over(BEGAN.plus(HOUR - Duration::from_millis(1)), HOUR));
        assert!(ended.is_over(BEGAN.plus(HOUR), HOUR));
        assert!(!at(9).is_over(BEGAN.plus(9 * HOUR), HOUR));
    }

    #[test]
    fn a_round_is_late_once_it_takes_a_twentieth_longer_and_five_seconds_at_least() {
        let late = |every: Duration, after: Duration| at(9).is_late(BEGAN.plus(after), every);
        assert!(!late(HOUR, HOUR + Duration::from_secs(180)) && late(HOUR, HOUR + Duration::from_secs(181)));
        let second = Duration::from_secs(1);
        assert!(!late(second, 6 * second) && late(second, 7 * second));
        let ended = Round { ended_at: Some(BEGAN.plus(9 * HOUR)), ..at(9) };
        assert!(!ended.is_late(BEGAN.plus(9 * HOUR), HOUR));
    }

    #[test]
    fn a_round_of_nobody_is_done_at_once_and_the_next_begins_in_time() {
        let nobody = Round::begun(BEGAN, 0);
        assert_eq!((nobody.ended_at, nobody.next(BEGAN.plus(2 * HOUR), HOUR, 0)), (Some(BEGAN), 0));
        assert!(!nobody.is_over(BEGAN.plus(HOUR / 2), HOUR) && nobody.is_over(BEGAN.plus(HOUR), HOUR));
    }

    #[test]
    fn the_share_never_exceeds_all() {
        let shares = [0, 900, 3_600, 9_000].map(|passed| at(passed).share());
        assert_eq!(shares, [0.0, 0.25, 1.0, 1.0]);
        assert_eq!(Round { ended_at: Some(BEGAN), ..Round::begun(BEGAN, 0) }.share(), 1.0);
    }
}
