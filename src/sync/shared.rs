//! What all syncs of a process share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::address_index::AddressIndex;
use super::context::Context;
use super::policy::SyncSettings;
use super::sesamy_time::Difference;
use crate::clock::Clock;
use crate::model::ContactKeys;
use crate::{mailmojo, sesamy};

/// The two clients, and what is known whoever is synced.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) sesamy: sesamy::Client,
    pub(super) mailmojo: mailmojo::Client,
    pub(super) addresses: Arc<dyn AddressIndex>,
    pub(super) keys: ContactKeys,
    pub(super) clock: Clock,
    pub(super) difference: Difference,
    has_warned_of_list: AtomicBool,
    pub(super) settings: SyncSettings,
}

impl Shared {
    pub(super) fn new(
        sesamy: sesamy::Client,
        mailmojo: mailmojo::Client,
        addresses: Arc<dyn AddressIndex>,
        clock: Clock,
        settings: SyncSettings,
    ) -> Self {
        let keys = addresses.contact_keys(mailmojo.list_name());
        let (difference, has_warned_of_list) = (Difference::default(), AtomicBool::default());
        Self { sesamy, mailmojo, addresses, keys, clock, difference, has_warned_of_list, settings }
    }

    /// Logs, once per process, that what is remembered is about another list.
    pub(super) fn warn_of_another_list(&self, context: &Context) {
        let Some(before) = context.before().list.as_deref().filter(|list| !self.keys.is_of(list)) else {
            return;
        };
        if !self.has_warned_of_list.swap(true, Ordering::Relaxed) {
            let list = self.mailmojo.list_name();
            tracing::warn!(
                list,
                before,
                "the queue remembers contacts of another Mailmojo list: on this one every user starts afresh, also those \
                 whose contact had been removed from the other; if that is not intended, set mailmojo.list_id and \
                 mailmojo.api_url back"
            );
        }
    }
}
