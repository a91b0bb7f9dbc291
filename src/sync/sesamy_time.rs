//! What time it is for a user's access: by Sesamy's clock, which says in each answer's `Date` what time it is there.
//!
//! This machine's clock may be wrong by a year, and then access that lasts would seem to be over. So it decides nothing
//! about access, except where Sesamy does not say what time it is; and it says when to look again, which is why the two
//! are compared.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;

use crate::clock::Millis;

/// A difference of less counts as none: `Date` has whole seconds, and an answer takes its time.
const NO_DIFFERENCE: Duration = Duration::from_secs(5);
/// More than this is logged.
const LOGGED_DIFFERENCE: Duration = Duration::from_secs(2 * 60);
/// So long after access ends by Sesamy's clock the user is looked at again, so that whatever changes then has.
const SHORTLY: Duration = Duration::from_secs(1);

/// One moment by both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SesamyTime {
    /// By Sesamy's, or by ours where Sesamy does not say.
    now: Millis,
    /// By our wall clock.
    wall: Millis,
}

impl SesamyTime {
    /// `sesamy` is the time by Sesamy's clock, where it says so; `wall` is that of our wall clock.
    pub(super) fn new(sesamy: Option<Millis>, wall: Millis) -> Self {
        Self { now: sesamy.unwrap_or(wall), wall }
    }

    /// The time by which access is over or not.
    pub(super) fn now(self) -> Timestamp {
        self.now.timestamp()
    }

    /// When to look again, by our wall clock, at what changes at `then` by Sesamy's: shortly after it. The same at each
    /// sync while the clocks agree, so that most syncs leave the row's time as it is; never at once, though our clock be
    /// ahead.
    pub(super) fn shortly_after(self, then: Timestamp) -> Millis {
        let ahead = if self.differs_by() < NO_DIFFERENCE { 0 } else { self.ahead() };
        let here = Millis(then.as_millisecond().saturating_add(ahead));
        here.max(self.wall).plus(SHORTLY)
    }

    /// By how many milliseconds our clock is ahead.
    fn ahead(self) -> i64 {
        self.wall.0.saturating_sub(self.now.0)
    }

    fn differs_by(self) -> Duration {
        Duration::from_millis(self.ahead().unsigned_abs())
    }
}

/// Logs when the two clocks begin to differ, and when they agree again: once each, not with each sync.
#[derive(Debug, Default)]
pub(super) struct Difference {
    is_logged: AtomicBool,
}

impl Difference {
    /// Takes note of what a sync has found.
    pub(super) fn note(&self, time: SesamyTime) {
        let differs = time.differs_by() > LOGGED_DIFFERENCE;
        if self.is_logged.swap(differs, Ordering::Relaxed) == differs {
            return;
        }
        let ahead_seconds = time.ahead() / 1_000;
        if differs {
            tracing::warn!(
                ahead_seconds,
                "the clock here (this machine's, or its database's) and Sesamy's differ by more than two minutes: \
                 access ends by Sesamy's, but the log's times and those of the queue are wrong; set the clock here right"
            );
        } else {
            tracing::info!(ahead_seconds, "the clock here and Sesamy's agree again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = Millis(1_800_000_000_000);
    const DAY: i64 = 86_400_000;

    fn later(by: i64) -> Millis {
        Millis(NOW.0 + by)
    }

    /// The clock here is so far ahead of Sesamy's.
    fn ahead_by(millis: i64) -> SesamyTime {
        SesamyTime::new(Some(NOW), later(millis))
    }

    #[test]
    fn sesamys_clock_decides_and_ours_only_where_sesamy_does_not_say() {
        for millis in [0, 400 * DAY, -400 * DAY] {
            assert_eq!(ahead_by(millis).now(), NOW.timestamp(), "{millis}");
            assert_eq!(SesamyTime::new(None, later(millis)).now(), later(millis).timestamp());
        }
    }

    #[test]
    fn the_next_look_is_a_second_after_the_end_by_the_clock_here() {
        let end = later(10_000);
        for (ahead, look) in [
            (0, 11_000),
            (999, 11_000),
            (4_999, 11_000),
            (-4_999, 11_000),
            (5_000, 16_000),
            (3_600_000, 3_611_000),
            (-3_600_000, -3_589_000),
            (400 * DAY, 400 * DAY + 11_000),
        ] {
            assert_eq!(ahead_by(ahead).shortly_after(end.timestamp()), later(look), "{ahead} ms ahead");
        }
        let unsaid = SesamyTime::new(None, later(7_000));
        assert_eq!(unsaid.shortly_after(end.timestamp()), later(11_000));
        assert_eq!(ahead_by(3_000).shortly_after(later(1).timestamp()), later(4_000), "never at once");
    }

    #[test]
    fn times_at_the_ends_of_the_calendar_do_no_harm() {
        for (sesamy, wall) in [(i64::MIN, i64::MAX), (i64::MAX, i64::MIN), (0, i64::MAX), (i64::MAX, 0)] {
            let time = SesamyTime::new(Some(Millis(sesamy)), Millis(wall));
            let _ = (time.now(), time.shortly_after(Timestamp::MAX), time.shortly_after(Timestamp::MIN));
            Difference::default().note(time);
        }
    }
}
