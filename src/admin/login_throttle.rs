//! Slows down guessing: after ten wrong tokens within a minute nobody may log in until that minute is over. The right token
//! is refused too, or a guess would show that it is right.
//!
//! Pure: time is passed in. Each replica counts for itself.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::Millis;

const MOST_FAILURES: usize = 10;
const WITHIN: Duration = Duration::from_secs(60);

/// The wrong tokens of the last minute.
#[derive(Debug, Default)]
pub(super) struct LoginThrottle {
    failures: VecDeque<Millis>,
}

impl LoginThrottle {
    /// How long nobody may log in yet.
    pub(super) fn wait(&mut self, now: Millis) -> Option<Duration> {
        // A clock that was set back must not make a minute longer.
        self.failures.retain(|at| now >= *at && now.since(*at) < WITHIN);
        let first = self.failures.front().filter(|_| self.failures.len() >= MOST_FAILURES)?;
        Some(first.plus(WITHIN).since(now))
    }

    /// A wrong token was sent.
    pub(super) fn failed(&mut self, now: Millis) {
        self.failures.push_back(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_wrong_tokens_within_a_minute_close_the_login_until_that_minute_is_over() {
        let mut throttle = LoginThrottle::default();
        for second in 0..10 {
            assert_eq!(throttle.wait(Millis(second * 1_000)), None);
            throttle.failed(Millis(second * 1_000));
        }
        assert_eq!(throttle.wait(Millis(9_000)), Some(Duration::from_secs(51)));
        assert_eq!(throttle.wait(Millis(59_999)), Some(Duration::from_millis(1)));
        assert_eq!(throttle.wait(Millis(60_000)), None);
        throttle.failed(Millis(60_000));
        assert_eq!(
            throttle.wait(Millis(60_500)),
            Some(Duration::from_millis(500)),
            "nine are still of this minute"
        );
    }

    #[test]
    fn wrong_tokens_now_and_then_close_nothing_and_are_forgotten() {
        let mut throttle = LoginThrottle::default();
        for minute in 0..1_000 {
            assert_eq!(throttle.wait(Millis(minute * 10_000)), None);
            throttle.failed(Millis(minute * 10_000));
        }
        assert!(throttle.failures.len() <= 7);
        assert_eq!(throttle.wait(Millis(0)), None, "the clock was set back");
    }
}
