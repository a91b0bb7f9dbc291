//! What the queue knows of addresses and of the removal guard, as a sync asks for it.

use std::fmt;

use futures_util::future::BoxFuture;

use crate::model::{ContactKeys, SeenByOthers};
use crate::user::UserId;

/// What the queue remembers of an address, whoever's it is.
pub trait AddressIndex: fmt::Debug + Send + Sync {
    /// The users besides `user` of whom `address` is remembered, `most` at the most.
    ///
    /// # Errors
    /// Why that is not known, for people.
    fn others_at<'a>(
        &'a self,
        user: &'a UserId,
        address: &'a str,
        most: usize,
    ) -> BoxFuture<'a, Result<Vec<UserId>, String>>;

    /// What other users' rows remember of the contact of `address`, on the list of this name.
    ///
    /// # Errors
    /// Why that is not known, for people.
    fn seen_by_others<'a>(
        &'a self,
        user: &'a UserId,
        address: &'a str,
        list: &'a str,
    ) -> BoxFuture<'a, Result<SeenByOthers, String>>;

    /// The keys of contacts on the list of this name.
    fn contact_keys(&self, list: String) -> ContactKeys;

    /// Whether the removal guard holds removals back, as this process last read it.
    fn holds_removals(&self) -> bool;
}

/// The index of a process without a queue: no other user is known.
#[derive(Debug, Clone, Copy)]
pub struct NoOtherUsers;

impl AddressIndex for NoOtherUsers {
    fn others_at<'a>(
        &'a self,
        _: &'a UserId,
        _: &'a str,
        _: usize,
    ) -> BoxFuture<'a, Result<Vec<UserId>, String>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn seen_by_others<'a>(
        &'a self,
        _: &'a UserId,
        _: &'a str,
        _: &'a str,
    ) -> BoxFuture<'a, Result<SeenByOthers, String>> {
        Box::pin(async { Ok(SeenByOthers::default()) })
    }

    fn contact_keys(&self, list: String) -> ContactKeys {
        ContactKeys::without_store(list)
    }

    fn holds_removals(&self) -> bool {
        false
    }
}
