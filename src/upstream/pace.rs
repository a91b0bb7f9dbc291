//! Client-side pacing: a token bucket per API, so that the published rate is used and not exceeded.

use std::num::NonZeroU32;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::sync::Mutex;

use super::Attempt;

/// Lets calls through at a steady rate after a first burst.
#[derive(Debug)]
pub(super) struct Pace {
    bucket: DefaultDirectRateLimiter,
    clock: DefaultClock,
    /// Callers wait for the bucket one after the other: tokio's mutex is fair, the bucket is not.
    turn: Mutex<()>,
}

/// The sync's time was up before its turn came.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoTimeLeft;

impl Pace {
    /// `per_minute` calls a minute, and `burst` at once after a quiet time.
    pub(super) fn new(per_minute: NonZeroU32, burst: NonZeroU32) -> Self {
        let bucket = RateLimiter::direct(Quota::per_minute(per_minute).allow_burst(burst));
        Self { bucket, clock: DefaultClock::default(), turn: Mutex::new(()) }
    }

    /// Waits until the next call may be made.
    pub(super) async fn wait(&self, attempt: &Attempt) -> Result<(), NoTimeLeft> {
        let turn = async {
            let _turn = self.turn.lock().await;
            while let Err(not_yet) = self.bucket.check() {
                tokio::time::sleep(not_yet.wait_time_from(self.clock.now())).await;
            }
        };
        tokio::time::timeout_at(attempt.ends(), turn).await.map_err(|_| NoTimeLeft)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn rate(count: u32) -> NonZeroU32 {
        NonZeroU32::new(count).unwrap()
    }

    #[tokio::test]
    async fn a_burst_goes_through_at_once_and_the_next_call_does_not() {
        let pace = Pace::new(rate(1), rate(3));
        let attempt = Attempt::within(Duration::from_millis(20));
        for _ in 0..3 {
            assert_eq!(pace.wait(&attempt).await, Ok(()));
        }
        assert_eq!(pace.wait(&attempt).await, Err(NoTimeLeft));
    }
}
