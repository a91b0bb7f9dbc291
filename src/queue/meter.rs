//! The account of calls beside those that come with leases, kept in the store for all processes.

use futures_util::future::BoxFuture;

use super::command::{Answer, Command};
use super::{Lane, Queue};
use crate::memory::{ContactKeys, SeenByOthers};
use crate::sync::AddressIndex;
use crate::upstream::{Api, Meter, Turn};
use crate::user::UserId;

/// The account of calls that a lane makes beside those that came with its leases.
#[derive(Debug, Clone)]
pub struct LaneMeter {
    queue: Queue,
    lane: Lane,
}

impl Queue {
    /// Who keeps the account of the calls of `lane`: the background's are of its own share too.
    #[must_use]
    pub fn meter(&self, lane: Lane) -> LaneMeter {
        LaneMeter { queue: self.clone(), lane }
    }
}

impl Meter for LaneMeter {
    fn take_call(&self, api: Api) -> BoxFuture<'_, Result<Turn, String>> {
        Box::pin(async move {
            let (answer, receiver) = Answer::open();
            let turn = self.queue.ask(Command::TakeCall { api, lane: self.lane, answer }, receiver).await;
            turn.map_err(|error| error.to_string())
        })
    }
}

impl AddressIndex for Queue {
    fn others_at<'a>(
        &'a self,
        user: &'a UserId,
        address: &'a str,
        most: usize,
    ) -> BoxFuture<'a, Result<Vec<UserId>, String>> {
        Box::pin(async move {
            let others = Self::others_at(self, user, address, most).await;
            others.map_err(|error| error.to_string())
        })
    }

    fn seen_by_others<'a>(
        &'a self,
        user: &'a UserId,
        address: &'a str,
        list: &'a str,
    ) -> BoxFuture<'a, Result<SeenByOthers, String>> {
        Box::pin(async move {
            let seen = Self::seen_by_others(self, user, address, list).await;
            seen.map_err(|error| error.to_string())
        })
    }

    fn contact_keys(&self, list: String) -> ContactKeys {
        Self::contact_keys(self, list)
    }
}
