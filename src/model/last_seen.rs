//! What is remembered of a user from one sync to the next: plain data, kept with the user's row in the queue.
//!
//! It is what lets a sync tell a contact that never existed from one that was removed, and an address that changed
//! from a new user. A sighting of a contact is a fact about Mailmojo: it is kept however the sync ends. What follows from it
//! is decided in [`crate::merge::consent`].

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::address;
use crate::clock::Millis;
use crate::personal::Personal;

/// How many contacts of earlier addresses, or of other lists, are remembered.
pub const MOST_EARLIER: usize = 8;

/// What a user's row remembers. By default nothing: a user who was never synced.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LastSeen {
    /// The address that was synced last, as Sesamy spelled it. None: there was none, or it was forgotten again.
    pub email: Option<Personal>,
    /// The contact of that address as it was last seen on the account of `list`; none: it was never seen.
    pub contact: Option<SeenContact>,
    /// Whether the user had left, or was removed, under an earlier address: leaving is leaving.
    pub has_left: bool,
    /// Since when Sesamy has had no usable address for the user; none while it has one.
    pub missing_since: Option<Millis>,
    /// The Mailmojo list that `contact` and `has_left` are about, as [`ContactKeys`] names it; none: no list yet.
    pub list: Option<String>,
    /// The kinds of our tags that the last sync that ended well left on the contact: should the user be gone, they are what
    /// there is to lose.
    pub tags: TagKinds,
    /// Contacts of other addresses and other lists, the latest last; at most [`MOST_EARLIER`].
    pub earlier: Vec<Earlier>,
}

/// The kinds of our tags that a broken source takes away, and whether a contact has any of each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TagKinds {
    /// Tags of what the user has access to: `sesamy_active_…`.
    pub active: bool,
    /// The profile's own tags: `sesamy_tag_…`.
    pub of_profile: bool,
}

impl TagKinds {
    /// The kinds of both.
    pub fn and(self, other: Self) -> Self {
        Self { active: self.active || other.active, of_profile: self.of_profile || other.of_profile }
    }

    /// Whether there is any.
    pub fn any(self) -> bool {
        self.active || self.of_profile
    }

    /// Whether none of a kind is `left`.
    pub fn loses_a_kind(self, left: Self) -> bool {
        (self.active && !left.active) || (self.of_profile && !left.of_profile)
    }
}

/// A contact as Mailmojo last had it. It stays remembered when it is gone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SeenContact {
    /// The status on the account: `a` active, `u` unsubscribed, `b` bounced, `d` deleted; `None` if the answer had none.
    pub status: Option<String>,
    /// Whether it was ever seen on our list, with whatever status.
    pub on_list: bool,
    /// The status on the list when it was last seen there; `None` if the answer had none.
    pub list_status: Option<String>,
}

/// What the rows of other users remember of a contact: it belongs to an address, not to a user.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SeenByOthers {
    /// That it was there.
    pub contact: bool,
    /// That it was on the list, with whatever status.
    pub on_list: bool,
}

impl SeenByOthers {
    /// As a contact that was seen; `None` if it was not.
    pub fn into_seen(self) -> Option<SeenContact> {
        self.contact.then(|| SeenContact { on_list: self.on_list, ..SeenContact::default() })
    }
}

/// What is remembered about an address that the user no longer has, or about a list that is no longer the one in use.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Earlier {
    /// The keyed hash of list and address ([`ContactKeys`]): it recognises the address, and does not reveal it.
    pub key: String,
    /// The contact as it was last seen.
    pub contact: Option<SeenContact>,
    /// [`LastSeen::has_left`] on that list.
    pub has_left: bool,
}

/// Makes the keys by which contacts of one list are remembered after their address is not.
#[derive(Clone)]
pub struct ContactKeys {
    secret: Hmac<Sha256>,
    list: String,
}

impl fmt::Debug for ContactKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContactKeys").field("list", &self.list).finish_non_exhaustive()
    }
}

impl ContactKeys {
    /// Keys of the contacts of `list`, a name for the list and its account. `secret` has the store's own key: without it
    /// nobody can test which address a key belongs to.
    pub fn new(secret: Hmac<Sha256>, list: String) -> Self {
        Self { secret, list }
    }

    /// Keys for a process without a store, which keeps none of them.
    pub fn without_store(list: String) -> Self {
        Self::new(Hmac::new(&Default::default()), list)
    }

    /// Whether these are the keys of `list`.
    pub fn is_of(&self, list: &str) -> bool {
        self.list == list
    }

    fn of(&self, address: &str) -> String {
        self.of_list(&self.list, address)
    }

    /// 128 bits of HMAC-SHA256 over the list, a zero byte and the address, as hex. The first word keeps these hashes apart
    /// from those of forgotten users, which have the same secret.
    fn of_list(&self, list: &str, address: &str) -> String {
        let key = address::key(address).unwrap_or_default();
        let whole = self.secret.clone();
        let whole = whole.chain_update(b"contact\0").chain_update(list).chain_update([0]).chain_update(key);
        let mut key = hex::encode(whole.finalize().into_bytes());
        key.truncate(32);
        key
    }
}

impl LastSeen {
    /// What the remembered address is found by (see [`address::key`]).
    pub fn email_key(&self) -> Option<String> {
        self.email.as_ref().and_then(|email| address::key(email.as_str()))
    }

    /// The same for the list of `keys`. Another list, or another account, is a fresh start; what is known about the list
    /// before is put aside, in case it is set again.
    #[must_use]
    pub fn at_list_of(mut self, keys: &ContactKeys) -> Self {
        let before = self.list.replace(keys.list.clone());
        let Some(before) = before.filter(|before| *before != keys.list) else { return self };
        let email = self.email.clone();
        let address = email.as_ref().map_or("", Personal::as_str);
        let put_aside = Earlier {
            key: keys.of_list(&before, address),
            contact: self.contact.take(),
            has_left: std::mem::take(&mut self.has_left),
        };
        let here = self.take_earlier(&keys.of(address));
        (self.contact, self.has_left) = (here.contact, here.has_left);
        self.keep_earlier(put_aside);
        self
    }

    /// The contact of `address` as it was last seen: of the present address, or of an earlier one.
    pub fn contact_of(&self, address: &str, keys: &ContactKeys) -> Option<&SeenContact> {
        if self.is_present(address) {
            return self.contact.as_ref();
        }
        let key = keys.of(address);
        self.earlier.iter().find(|earlier| earlier.key == key)?.contact.as_ref()
    }

    /// Remembers that the contact of `address` is as `seen` now.
    pub fn saw(&mut self, address: &str, seen: SeenContact, keys: &ContactKeys) {
        if self.is_present(address) {
            self.contact = Some(seen);
        } else {
            let earlier = self.take_earlier(&keys.of(address));
            self.keep_earlier(Earlier { contact: Some(seen), ..earlier });
        }
    }

    /// Makes `email` the present address, the one before being an earlier one from now on.
    pub fn move_to(&mut self, email: &str, keys: &ContactKeys) {
        if !self.is_present(email) {
            self.forget_address(keys);
            self.contact = self.take_earlier(&keys.of(email)).contact;
        }
        self.email = Some(Personal::new(email));
    }

    /// Forgets the present address; that its contact was seen stays known by its key.
    pub fn forget_address(&mut self, keys: &ContactKeys) {
        if let (Some(email), Some(contact)) = (self.email.take(), self.contact.take()) {
            let key = keys.of(email.as_str());
            self.keep_earlier(Earlier { key, contact: Some(contact), has_left: false });
        }
    }

    /// As JSON, for the store; `None` if there is nothing to remember.
    pub fn to_json(&self) -> Option<String> {
        if *self == Self::default() { None } else { serde_json::to_string(self).ok() }
    }

    /// Reads what [`LastSeen::to_json`] wrote. Text that cannot be read may have held that the user has left, so the
    /// user counts as having left: nobody is put on a list because something was lost.
    pub fn of_json(json: Option<&str>) -> Self {
        let Some(json) = json else { return Self::default() };
        serde_json::from_str(json).unwrap_or_else(|_| Self { has_left: true, ..Self::default() })
    }

    fn is_present(&self, address: &str) -> bool {
        self.email.is_some() && self.email_key() == address::key(address)
    }

    fn take_earlier(&mut self, key: &str) -> Earlier {
        match self.earlier.iter().position(|earlier| earlier.key == key) {
            Some(place) => self.earlier.remove(place),
            None => Earlier { key: key.to_owned(), ..Earlier::default() },
        }
    }

    fn keep_earlier(&mut self, earlier: Earlier) {
        self.earlier.retain(|known| known.key != earlier.key);
        if earlier.contact.is_some() || earlier.has_left {
            self.earlier.push(earlier);
        }
        let surplus = self.earlier.len().saturating_sub(MOST_EARLIER);
        self.earlier.drain(..surplus);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn keys(list: &str) -> ContactKeys {
        ContactKeys::new(Hmac::new_from_slice(b"secret").unwrap(), list.to_owned())
    }

    fn seen(status: &str) -> SeenContact {
        SeenContact { status: Some(status.to_owned()), on_list: true, list_status: None }
    }

    fn statuses(last_seen: &LastSeen, addresses: &[&str], keys: &ContactKeys) -> Vec<Option<String>> {
        addresses.iter().map(|it| last_seen.contact_of(it, keys)?.status.clone()).collect()
    }

    fn some(statuses: &[&str]) -> Vec<Option<String>> {
        statuses.iter().map(|it| Some((*it).to_owned()).filter(|it| !it.is_empty())).collect()
    }

    #[test]
    fn a_contact_stays_known_under_each_address_that_the_user_had() {
        let keys = keys("12");
        let mut last_seen = LastSeen::default().at_list_of(&keys);
        last_seen.saw("a@example.com", seen("a"), &keys);
        last_seen.move_to("a@example.com", &keys);
        last_seen.saw("b@example.com", seen("b"), &keys);
        assert_eq!(statuses(&last_seen, &["A@example.com", "b@example.com"], &keys), some(&["a", "b"]));
        last_seen.move_to("B@example.com", &keys);
        last_seen.saw("a@example.com", seen("u"), &keys);
        assert_eq!(statuses(&last_seen, &["a@example.com", "b@example.com"], &keys), some(&["u", "b"]));
        last_seen.move_to("a@example.com", &keys);
        assert_eq!((last_seen.contact.clone(), last_seen.earlier.len()), (Some(seen("u")), 1));
        last_seen.forget_address(&keys);
        assert_eq!(last_seen.email, None);
        assert_eq!(
            statuses(&last_seen, &["a@example.com", "b@example.com", "c@example.com"], &keys),
            some(&["u", "b", ""])
        );
    }

    #[test]
    fn another_list_is_a_fresh_start_and_the_one_before_is_still_known_when_it_comes_back() {
        let (one, other) = (keys("12"), keys("13"));
        let mut last_seen = LastSeen { has_left: true, ..LastSeen::default() }.at_list_of(&one);
        last_seen.move_to("a@example.com", &one);
        last_seen.saw("a@example.com", seen("u"), &one);
        let there = last_seen.clone().at_list_of(&other);
        assert_eq!((there.contact.clone(), there.has_left), (None, false));
        assert_eq!(there.email, last_seen.email, "the old contact's address is still to be found");
        assert_eq!(there.at_list_of(&one), last_seen);
    }

    #[test]
    fn it_survives_the_store_and_unreadable_text_counts_as_having_left() {
        let keys = keys("12");
        let mut last_seen = LastSeen::default();
        assert_eq!(last_seen.to_json(), None);
        last_seen.saw("a@example.com", seen("u"), &keys);
        last_seen.missing_since = Some(Millis(1_700_000_000_123));
        assert_eq!(LastSeen::of_json(last_seen.to_json().as_deref()), last_seen);
        assert_eq!(LastSeen::of_json(None), LastSeen::default());
        assert!(LastSeen::of_json(Some("{")).has_left);
    }

    #[test]
    fn the_oldest_of_too_many_addresses_goes() {
        let keys = keys("12");
        let mut last_seen = LastSeen::default();
        let addresses: Vec<String> = (0..=MOST_EARLIER + 1).map(|n| format!("{n}@example.com")).collect();
        for address in &addresses {
            last_seen.saw(address, seen("a"), &keys);
            last_seen.move_to(address, &keys);
        }
        assert!(last_seen.earlier.len() <= MOST_EARLIER);
        assert_eq!(
            statuses(&last_seen, &["0@example.com", &addresses[MOST_EARLIER]], &keys),
            some(&["", "a"])
        );
    }

    #[test]
    fn a_key_is_what_it_always_was_and_is_another_for_each_list_and_secret() {
        let key = |secret: &[u8], list: &str| {
            ContactKeys::new(Hmac::new_from_slice(secret).unwrap(), list.to_owned()).of("Kari@example.com ")
        };
        assert_eq!(key(b"key", "12"), "c409ca22a01ad204ed7ae6837436e682");
        assert_ne!(key(b"key", "12"), key(b"key", "13"));
        assert_ne!(key(b"key", "12"), key(b"other", "12"));
        assert_eq!(format!("{:?}", keys("12")), "ContactKeys { list: \"12\", .. }");
    }
}
