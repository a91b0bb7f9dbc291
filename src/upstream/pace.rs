//! Client-side pacing: each call waits for its turn, so that the published rate is used and not exceeded.
//!
//! The account of what is used is kept by a [`Meter`]: the queue's store, which all processes of one account share. A
//! sync begins with the calls that it usually makes ([`Attempt::with_calls`]); only those beyond wait here.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;

use super::{Api, Attempt, PerApi, Quota, Used};
use crate::clock::{Clock, Millis};

/// The account of calls.
pub trait Meter: fmt::Debug + Send + Sync {
    /// Takes one call of `api` from its quota.
    /// An error says why the account failed, for people.
    fn take_call(&self, api: Api) -> BoxFuture<'_, Result<Turn, String>>;
}

/// Whether a call may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Now: it has been taken.
    Granted,
    /// Not before then: ask again.
    NotBefore(Millis),
}

/// Why a call may not be made.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoTurn {
    /// The sync's time was up before its turn came.
    NoTimeLeft,
    /// The account failed.
    NoMeter(String),
}

/// One API's pace.
#[derive(Debug)]
pub(super) struct Pace {
    api: Api,
    meter: Arc<dyn Meter>,
    clock: Clock,
    /// Callers wait one after the other: tokio's mutex is fair, the meter is not.
    turn: tokio::sync::Mutex<()>,
}

impl Pace {
    pub(super) fn new(api: Api, meter: Arc<dyn Meter>, clock: Clock) -> Self {
        Self { api, meter, clock, turn: tokio::sync::Mutex::default() }
    }

    /// Waits until the next call of `attempt` may be made.
    pub(super) async fn wait(&self, attempt: &Attempt) -> Result<(), NoTurn> {
        if attempt.take_call(self.api) {
            return Ok(());
        }
        let turn = async {
            let _turn = self.turn.lock().await;
            loop {
                match self.meter.take_call(self.api).await.map_err(NoTurn::NoMeter)? {
                    Turn::Granted => return Ok(()),
                    Turn::NotBefore(then) => tokio::time::sleep(then.since(self.clock.now())).await,
                }
            }
        };
        tokio::time::timeout(attempt.left(), turn).await.unwrap_or(Err(NoTurn::NoTimeLeft))
    }
}

/// The account of a process that is alone: a command without a queue.
#[derive(Debug)]
pub struct OwnMeter {
    quotas: PerApi<Quota>,
    used: Mutex<PerApi<Used>>,
    clock: Clock,
}

impl OwnMeter {
    /// Nothing is used yet.
    pub fn new(quotas: PerApi<Quota>, clock: Clock) -> Self {
        Self { quotas, used: Mutex::default(), clock }
    }
}

impl Meter for OwnMeter {
    fn take_call(&self, api: Api) -> BoxFuture<'_, Result<Turn, String>> {
        let (quota, now) = (*self.quotas.of(api), self.clock.now());
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let used = used.of_mut(api);
        let turn = if quota.available(*used, now) > 0 {
            *used = quota.take(*used, now, 1);
            Turn::Granted
        } else {
            Turn::NotBefore(quota.ready_at(*used, now, 1))
        };
        Box::pin(std::future::ready(Ok(turn)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn pace(clock: &Clock) -> Pace {
        let quota = Quota { per_minute: 1.try_into().unwrap(), burst: 3.try_into().unwrap() };
        let meter = OwnMeter::new(PerApi { sesamy: quota, mailmojo: quota }, clock.clone());
        Pace::new(Api::Sesamy, Arc::new(meter), clock.clone())
    }

    #[tokio::test]
    async fn a_burst_goes_through_at_once_and_the_next_call_does_not() {
        let clock = Clock::system();
        let (pace, attempt) = (pace(&clock), Attempt::within(Duration::from_millis(20), &clock));
        for _ in 0..3 {
            assert_eq!(pace.wait(&attempt).await, Ok(()));
        }
        assert_eq!(pace.wait(&attempt).await, Err(NoTurn::NoTimeLeft));
    }

    #[tokio::test]
    async fn the_calls_that_a_sync_begins_with_wait_for_nobody() {
        let clock = Clock::manual(Millis(0));
        let pace = pace(&clock);
        let attempt =
            Attempt::within(Duration::from_millis(20), &clock).with_calls(PerApi { sesamy: 2, mailmojo: 7 });
        for _ in 0..5 {
            assert_eq!(pace.wait(&attempt).await, Ok(()), "two of its own, and then a burst of three");
        }
        assert_eq!(pace.wait(&attempt).await, Err(NoTurn::NoTimeLeft));
        assert_eq!(attempt.calls_left(), PerApi { sesamy: 0, mailmojo: 7 });
    }

    #[derive(Debug)]
    struct Broken;

    impl Meter for Broken {
        fn take_call(&self, _: Api) -> BoxFuture<'_, Result<Turn, String>> {
            Box::pin(std::future::ready(Err("the disk is gone".to_owned())))
        }
    }

    #[tokio::test]
    async fn a_meter_that_fails_is_told() {
        let clock = Clock::system();
        let attempt = Attempt::within(Duration::from_secs(1), &clock);
        let wait = Pace::new(Api::Sesamy, Arc::new(Broken), clock).wait(&attempt).await;
        assert_eq!(wait, Err(NoTurn::NoMeter("the disk is gone".to_owned())));
    }
}
