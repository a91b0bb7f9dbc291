//! The rate that an API allows, and how much of it is used: pure arithmetic, so that any store can keep the account.
//!
//! The account is one number, whatever the rate (the generic cell rate algorithm, GCRA): the moment at which all calls
//! that were taken so far have been earned at the steady rate. A quiet time earns up to a burst and no more.
//! Source: <https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm>.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::clock::Millis;

const MICROS_PER_MINUTE: i64 = 60_000_000;

/// The calls of an API that are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Calls a minute, steadily.
    pub per_minute: NonZeroU32,
    /// Calls at once after a quiet time.
    pub burst: NonZeroU32,
}

/// How much of a [`Quota`] is used: microseconds since 1970, the moment from which the whole burst is there again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Used(pub i64);

impl Quota {
    /// The account at `now`, corrected: use of more than a burst can only have been written under a clock that was ahead, or
    /// another quota.
    #[must_use]
    pub fn checked(self, used: Used, now: Millis) -> Used {
        Used(used.0.min(micros(now).saturating_add(self.whole_burst())))
    }

    /// How many calls may be made at `now`.
    pub fn available(self, used: Used, now: Millis) -> u32 {
        let free = self.whole_burst().saturating_sub(self.owed(used, now));
        u32::try_from(free / self.interval()).unwrap_or(0)
    }

    /// The account after `calls` more were taken at `now`.
    #[must_use]
    pub fn take(self, used: Used, now: Millis, calls: u32) -> Used {
        let from = micros(now).saturating_add(self.owed(used, now));
        Used(from.saturating_add(self.interval().saturating_mul(calls.into())))
    }

    /// The account after `calls` turned out not to be needed, of `taken` that were taken so long `ago`.
    ///
    /// Once all that was taken could have been earned again, the whole burst may have been there in between: then these
    /// calls are long forgotten, and to give them back would be to make as many more than are allowed.
    #[must_use]
    pub fn give_back(self, used: Used, calls: u32, taken: u32, ago: Duration) -> Used {
        let earned_again = self.interval().saturating_mul(taken.into());
        if i64::try_from(ago.as_micros()).is_ok_and(|ago| ago < earned_again) {
            Used(used.0.saturating_sub(self.interval().saturating_mul(calls.into())))
        } else {
            used
        }
    }

    /// When `calls` may be made; more than a burst never may, so for them when the whole burst is there.
    pub fn ready_at(self, used: Used, now: Millis, calls: u32) -> Millis {
        let needed = self.interval().saturating_mul(calls.min(self.burst.get()).into());
        let missing = needed.saturating_sub(self.whole_burst().saturating_sub(self.owed(used, now)));
        let missing = u64::try_from(missing).unwrap_or(0);
        now.plus(Duration::from_millis(missing.div_ceil(1_000)))
    }

    /// Microseconds from `now` until the whole burst is there again.
    fn owed(self, used: Used, now: Millis) -> i64 {
        self.checked(used, now).0.saturating_sub(micros(now)).max(0)
    }

    fn whole_burst(self) -> i64 {
        self.interval().saturating_mul(self.burst.get().into())
    }

    /// Microseconds that earn one call; rounded up, as the rate must not be exceeded.
    fn interval(self) -> i64 {
        let per_minute = i64::from(self.per_minute.get());
        (MICROS_PER_MINUTE + per_minute - 1) / per_minute
    }
}

fn micros(at: Millis) -> i64 {
    at.0.saturating_mul(1_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Millis = Millis(1_800_000_000_000);

    fn quota(per_minute: u32, burst: u32) -> Quota {
        Quota { per_minute: per_minute.try_into().unwrap(), burst: burst.try_into().unwrap() }
    }

    fn later(millis: u64) -> Millis {
        NOW.plus(Duration::from_millis(millis))
    }

    #[test]
    fn a_burst_is_there_at_first_and_comes_back_at_the_steady_rate() {
        let quota = quota(60, 3);
        assert_eq!(quota.available(Used::default(), NOW), 3);
        let used = quota.take(Used::default(), NOW, 3);
        assert_eq!(quota.ready_at(used, NOW, 1), later(1_000));
        for (after, available) in [(0, 0), (999, 0), (1_000, 1), (2_999, 2), (3_000, 3), (90_000, 3)] {
            assert_eq!(quota.available(used, later(after)), available, "after {after} ms");
        }
    }

    #[test]
    fn what_was_not_needed_is_there_again() {
        let quota = quota(60, 5);
        let used = quota.take(Used::default(), NOW, 4);
        let given_back = |calls| quota.give_back(used, calls, 4, Duration::from_millis(3_999));
        assert_eq!(quota.available(given_back(2), NOW), 3);
        assert_eq!(quota.available(given_back(100), NOW), 5, "never more than a burst");
    }

    #[test]
    fn what_has_been_earned_again_meanwhile_is_not_given_back_a_second_time() {
        let quota = quota(60, 3);
        let taken = quota.take(Used::default(), NOW, 3);
        let others = quota.take(taken, later(10_000), 3); // the whole burst was there again
        let returned = quota.give_back(others, 3, 3, Duration::from_secs(10));
        assert_eq!(quota.available(returned, later(10_000)), 0);
    }

    #[test]
    fn more_than_a_burst_is_ready_when_the_whole_burst_is() {
        let quota = quota(60, 2);
        let used = quota.take(Used::default(), NOW, 2);
        assert_eq!(quota.ready_at(used, NOW, 7), later(2_000));
    }

    #[test]
    fn an_account_from_a_clock_that_was_ahead_delays_no_longer_than_a_burst_takes() {
        let quota = quota(60, 2);
        let a_year_ahead = quota.take(Used::default(), later(31_536_000_000), 2);
        let checked = quota.checked(a_year_ahead, NOW);
        assert_eq!(quota.ready_at(checked, NOW, 1), later(1_000));
        assert_eq!(quota.available(checked, later(1_000)), 1);
        assert_eq!(quota.checked(checked, later(500)), checked);
    }

    proptest! {
        /// Whoever takes what is available, and gives some back: no window of time sees more than a burst and what the
        /// window earns.
        #[test]
        fn the_rate_is_never_exceeded_and_always_reached(
            per_minute in 1_u32..100_000,
            burst in 1_u32..300,
            steps in proptest::collection::vec((0_u64..5_000, 0_u32..20, 0_u32..20, 0_usize..3), 1..100),
        ) {
            let quota = quota(per_minute, burst);
            let (mut used, mut at, mut made) = (Used::default(), NOW, 0_u64);
            let mut under_way = std::collections::VecDeque::new();
            for (wait, wanted, unneeded, at_work) in steps {
                at = at.plus(Duration::from_millis(wait));
                let granted = wanted.min(quota.available(used, at));
                used = quota.take(used, at, granted);
                let unneeded = unneeded.min(granted);
                made += u64::from(granted - unneeded);
                under_way.push_back((unneeded, granted, at));
                while under_way.len() > at_work {
                    let Some((unneeded, granted, since)) = under_way.pop_front() else { break };
                    used = quota.give_back(used, unneeded, granted, at.since(since));
                }
                let earned = at.since(NOW).as_micros() * u128::from(per_minute) / 60_000_000;
                prop_assert!(u128::from(made) <= u128::from(burst) + earned);
                let ready = quota.ready_at(used, at, 1);
                prop_assert!(quota.available(used, ready) >= 1);
                prop_assert!(ready == at || quota.available(used, Millis(ready.0 - 1)) == 0);
            }
        }
    }
}
