//! A rate limit as Sesamy publishes it for its Management API: a number of requests a minute, with a burst.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::json;

use super::reply::Reply;

/// A rate limit to enforce.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RateLimit {
    /// Requests a minute, in the long run.
    pub per_minute: u32,
    /// Requests at once, after a pause.
    pub burst: u32,
    /// Whether a `429` has a `Retry-After` header beside the `retry_after` in its body.
    pub retry_after_header: bool,
}

impl Default for RateLimit {
    /// As published: 100 a minute, a burst of 200.
    fn default() -> Self {
        Self { per_minute: 100, burst: 200, retry_after_header: false }
    }
}

/// A token bucket: it fills at the limit's pace, and every request takes one token.
#[derive(Debug)]
pub(super) struct Bucket {
    limit: RateLimit,
    left: f64,
    filled: Instant,
}

impl Bucket {
    pub(super) fn new(limit: RateLimit, now: Instant) -> Self {
        Self { limit, left: f64::from(limit.burst), filled: now }
    }

    /// Takes one token; the error is the time until there is one again.
    pub(super) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let per_second = f64::from(self.limit.per_minute.max(1)) / 60.0;
        let gained = now.saturating_duration_since(self.filled).as_secs_f64() * per_second;
        self.left = (self.left + gained).min(f64::from(self.limit.burst));
        self.filled = now;
        if self.left < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - self.left) / per_second));
        }
        self.left -= 1.0;
        Ok(())
    }

    /// The `429` for a client that has to wait.
    pub(super) fn refuse(&self, wait: Duration) -> Reply {
        let seconds = wait.as_secs_f64().ceil().max(1.0) as u64;
        let message = format!("Too many requests, try again in {seconds} seconds");
        let reply = Reply::json(
            429,
            json!({"error": {"code": "rate_limit_exceeded", "message": message, "retry_after": seconds}}),
        );
        if self.limit.retry_after_header { reply.with_header("Retry-After", seconds) } else { reply }
    }

    /// Adds the headers that every answer has.
    pub(super) fn label(&self, reply: Reply, wait: Duration) -> Reply {
        let reset = SystemTime::now() + wait;
        let reset = reset.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64().ceil() as u64;
        reply
            .with_header("X-RateLimit-Limit", self.limit.per_minute)
            .with_header("X-RateLimit-Remaining", self.left.floor() as u64)
            .with_header("X-RateLimit-Reset", reset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_allows_its_burst_and_then_its_pace() {
        let start = Instant::now();
        let limit = RateLimit { per_minute: 60, burst: 3, retry_after_header: true };
        let mut bucket = Bucket::new(limit, start);
        for _ in 0..3 {
            assert_eq!(bucket.take(start), Ok(()));
        }
        assert_eq!(bucket.take(start), Err(Duration::from_secs(1)));
        assert_eq!(bucket.take(start + Duration::from_secs(1)), Ok(()));
        assert!(bucket.take(start + Duration::from_secs(1)).is_err());
    }
}
