//! The login's rest: after ten wrong tokens within a minute nobody is let in until that minute is over, with the right
//! token neither, or a guess would tell.
//!
//! Pure: time is passed in. Each replica counts for itself.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::Millis;

/// So many wrong tokens …
const FAILURES: usize = 10;
/// … within this time.
const WITHIN: Duration = Duration::from_secs(60);

/// The wrong tokens of the last minute.
#[derive(Debug, Default)]
pub(super) struct LoginRest {
    failures: VecDeque<Millis>,
}

impl LoginRest {
    /// How long the login still rests; none where it does not.
    pub(super) fn left(&mut self, now: Millis) -> Option<Duration> {
        // A clock that was set back must not make a minute longer.
        self.failures.retain(|at| now >= *at && now.since(*at) < WITHIN);
        let first = self.failures.front().filter(|_| self.failures.len() >= FAILURES)?;
        Some(first.plus(WITHIN).since(now))
    }

    /// Takes in that somebody has tried a wrong token.
    pub(super) fn failed(&mut self, now: Millis) {
        self.failures.push_back(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_wrong_tokens_within_a_minute_rest_the_login_until_that_minute_is_over() {
        let mut rest = LoginRest::default();
        for second in 0..10 {
            assert_eq!(rest.left(Millis(second * 1_000)), None);
            rest.failed(Millis(second * 1_000));
        }
        assert_eq!(rest.left(Millis(9_000)), Some(Duration::from_secs(51)));
        assert_eq!(rest.left(Millis(59_999)), Some(Duration::from_millis(1)));
        assert_eq!(rest.left(Millis(60_000)), None);
        rest.failed(Millis(60_000));
        assert_eq!(
            rest.left(Millis(60_500)),
            Some(Duration::from_millis(500)),
            "nine are still of this minute"
        );
    }

    #[test]
    fn wrong_tokens_now_and_then_rest_nothing_and_are_forgotten() {
        let mut rest = LoginRest::default();
        for minute in 0..1_000 {
            assert_eq!(rest.left(Millis(minute * 10_000)), None);
            rest.failed(Millis(minute * 10_000));
        }
        assert!(rest.failures.len() <= 7);
        assert_eq!(rest.left(Millis(0)), None, "the clock was set back");
    }
}
