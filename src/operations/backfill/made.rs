//! How many calls were made, whoever's account they are of.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::BoxFuture;

use super::tally::Calls;
use crate::upstream::{Api, Meter, PerApi, Turn};

/// Counts the calls that pass through it, and those that came with a lease and were used.
#[derive(Debug)]
pub struct Made {
    meter: Arc<dyn Meter>,
    counts: PerApi<AtomicU64>,
}

impl Made {
    /// Counts what is taken from `meter`.
    #[must_use]
    pub fn on(meter: Arc<dyn Meter>) -> Self {
        Self { meter, counts: PerApi::default() }
    }

    /// So far.
    #[must_use]
    pub fn calls(&self) -> Calls {
        let of = |api| self.counts.of(api).load(Ordering::Relaxed);
        Calls { sesamy: of(Api::Sesamy), mailmojo: of(Api::Mailmojo) }
    }

    /// Counts the calls of a lease: `left` of the `taken` were not made.
    pub fn used(&self, taken: PerApi<u32>, left: PerApi<u32>) {
        for api in Api::ALL {
            let used = taken.of(api).saturating_sub(*left.of(api));
            self.counts.of(api).fetch_add(used.into(), Ordering::Relaxed);
        }
    }
}

impl Meter for Made {
    fn take_call(&self, api: Api) -> BoxFuture<'_, Result<Turn, String>> {
        Box::pin(async move {
            let turn = self.meter.take_call(api).await?;
            if turn == Turn::Granted {
                self.counts.of(api).fetch_add(1, Ordering::Relaxed);
            }
            Ok(turn)
        })
    }
}
