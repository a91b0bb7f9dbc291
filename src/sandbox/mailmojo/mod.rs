//! The pretended Mailmojo: one account with contacts and lists, and the audit of every write to it.

mod api;
mod audit;
mod contact;
mod seen;
mod state;
mod write;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub use audit::Races;
pub use contact::{Association, Associations, Contact, Empty, contact};

use super::Options;
use super::call::{Api, Route};
use super::desk::{Desk, Trouble};
use super::fault::Rule;
use super::gate::{Gate, Stage};
use super::hub::{Hub, locked};
use api::MailmojoApi;
use state::{State, now};

/// What is counted, but is nobody's fault.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Tallies {
    /// Writes after which the contact was as before.
    pub no_op_writes: u64,
    /// Damage that the service could not foresee.
    pub races: Races,
}

/// A handle on the pretended Mailmojo; clones share one state.
#[derive(Debug, Clone)]
pub struct Mailmojo {
    url: String,
    hub: Arc<Hub>,
    trouble: Arc<Trouble>,
    state: Arc<Mutex<State>>,
}

impl Mailmojo {
    /// The client that may have tokens.
    pub const CLIENT_ID: &str = "sandbox-mailmojo-client";
    /// Its secret.
    pub const CLIENT_SECRET: &str = "sandbox-mailmojo-secret";
    /// A token with both scopes that is good without asking for one.
    pub const FIXED_TOKEN: &str = "sandbox-mailmojo-fixed-token";
    /// The list that is there from the start.
    pub const LIST: i64 = 7;

    /// The handle, and the desk that answers for it at `url`.
    pub(super) fn new(url: String, hub: &Arc<Hub>, options: &Options) -> (Self, Desk<MailmojoApi>) {
        let state = Arc::new(Mutex::new(State::new(options.page_cap.max(1), options.require_auth)));
        let trouble = Arc::new(Trouble::default());
        let backend = Arc::new(MailmojoApi { hub: Arc::clone(hub), state: Arc::clone(&state) });
        let desk = Desk { hub: Arc::clone(hub), trouble: Arc::clone(&trouble), backend };
        (Self { url, hub: Arc::clone(hub), trouble, state }, desk)
    }

    /// The API's base, without a slash at its end.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Adds a contact, or replaces the one with this address.
    pub fn put_contact(&self, contact: Contact) {
        self.change(|state| state.put(contact));
    }

    /// The publisher makes a contact; `false`, and nothing is changed, where there is one of this address.
    pub fn add_contact(&self, contact: Contact) -> bool {
        self.change(|state| {
            let is_new = state.contact(&contact.email).is_none();
            if is_new {
                state.put(contact);
            }
            is_new
        })
    }

    /// Adds a list.
    pub fn put_list(&self, id: i64, name: &str) {
        self.change(|state| state.lists.insert(id, name.to_owned()));
    }

    /// The contact as it is now; none where there is none.
    #[must_use]
    pub fn contact(&self, email: &str) -> Option<Contact> {
        locked(&self.state).contact(email).cloned()
    }

    /// All contacts, by address.
    #[must_use]
    pub fn contacts(&self) -> Vec<Contact> {
        locked(&self.state).contacts.values().cloned().collect()
    }

    /// How many contacts are as `wanted` wants; copies none, so that it can be asked often. Do not ask the sandbox
    /// anything inside `wanted`: it is locked.
    #[must_use]
    pub fn count_contacts(&self, wanted: impl Fn(&Contact) -> bool) -> usize {
        locked(&self.state).contacts.values().filter(|contact| wanted(contact)).count()
    }

    /// The publisher's own edit of a contact; `false` where there is none. Do not ask the sandbox anything inside
    /// `edit`: it is locked.
    pub fn edit(&self, email: &str, edit: impl FnOnce(&mut Contact)) -> bool {
        self.change(|state| {
            let key = state.key(email);
            let Some(mut contact) = state.contacts.remove(&key) else { return false };
            edit(&mut contact);
            state.put(contact);
            true
        })
    }

    /// The publisher adds a tag at the end.
    pub fn add_tag(&self, email: &str, tag: &str) -> bool {
        self.edit(email, |contact| contact.tags.push(tag.to_owned()))
    }

    /// The publisher takes a tag away.
    pub fn remove_tag(&self, email: &str, tag: &str) -> bool {
        self.edit(email, |contact| contact.tags.retain(|own| own != tag))
    }

    /// Somebody leaves one list.
    pub fn unsubscribe(&self, email: &str, list: i64) -> bool {
        self.set_list_status(email, list, "u")
    }

    /// Somebody leaves all lists, and the account.
    pub fn unsubscribe_everywhere(&self, email: &str) -> bool {
        self.edit(email, |contact| {
            let now = now();
            contact.turn("u", &now);
            let lists: Vec<_> = contact.associations.iter().map(|known| known.list_id).collect();
            lists.into_iter().for_each(|list| contact.associate(list, "u", &now));
        })
    }

    /// Sets the account's status of somebody.
    pub fn set_status(&self, email: &str, status: &str) -> bool {
        self.edit(email, |contact| contact.turn(status, &now()))
    }

    /// Sets somebody's status on a list.
    pub fn set_list_status(&self, email: &str, list: i64, status: &str) -> bool {
        self.edit(email, |contact| contact.associate(list, status, &now()))
    }

    /// The publisher deletes a contact for good.
    pub fn delete(&self, email: &str) -> bool {
        self.change(|state| state.contacts.remove(&state.key(email)).is_some())
    }

    /// The publisher changes an address.
    pub fn rename(&self, email: &str, new: &str) -> bool {
        self.edit(email, |contact| new.clone_into(&mut contact.email))
    }

    /// Whether addresses that differ in letter case alone are one contact. Contacts already there are kept.
    pub fn ignore_case(&self, ignores: bool) {
        self.change(|state| {
            state.ignores_case = ignores;
            let contacts = std::mem::take(&mut state.contacts);
            contacts.into_values().for_each(|contact| state.put(contact));
        });
    }

    /// How fields without a value are answered from now on.
    pub fn answer_empty_as(&self, empty: Empty) {
        self.change(|state| state.style.empty = empty);
    }

    /// How contacts are told of their lists from now on.
    pub fn answer_associations_as(&self, associations: Associations) {
        self.change(|state| state.style.associations = associations);
    }

    /// Whether a list's own subscriber path knows active members alone, and answers 404 for who has left.
    pub fn hide_inactive_members(&self, hide: bool) {
        self.change(|state| state.members_are_active = hide);
    }

    /// Whether `custom` in a write replaces all of a contact's custom fields, or, as at first, is merged with them.
    pub fn replace_custom(&self, replaces: bool) {
        self.change(|state| state.replaces_custom = replaces);
    }

    /// Lets the service write these custom fields, whatever they hold. The audit objects to any other that is changed.
    pub fn let_write_custom(&self, names: &[&str]) {
        self.change(|state| state.written_custom = names.iter().map(|name| (*name).to_owned()).collect());
    }

    /// How long the tokens last that are given out from now on.
    pub fn set_token_life(&self, life: Duration) {
        self.change(|state| state.tokens.expires_in = life);
    }

    /// Accepts these client credentials from now on, and no others; its tokens have at most these scopes.
    pub fn set_client(&self, id: &str, secret: &str, scopes: &[&str]) {
        self.change(|state| {
            id.clone_into(&mut state.tokens.client_id);
            secret.clone_into(&mut state.tokens.client_secret);
            state.tokens.client_scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        });
    }

    /// Accepts this token with these scopes beside the others.
    pub fn accept_token(&self, token: &str, scopes: &[&str]) {
        self.change(|state| state.tokens.accept(token, scopes));
    }

    /// Ends one token.
    pub fn revoke_token(&self, token: &str) {
        self.change(|state| state.tokens.revoke(token));
    }

    /// Ends every token that the token endpoint has given out.
    pub fn revoke_issued_tokens(&self) {
        self.change(|state| state.tokens.revoke_issued());
    }

    /// How many tokens the token endpoint has given out.
    #[must_use]
    pub fn tokens_issued(&self) -> u64 {
        locked(&self.state).tokens.issued()
    }

    /// What was counted so far.
    #[must_use]
    pub fn tallies(&self) -> Tallies {
        locked(&self.state).tallies
    }

    /// Adds a rule of what goes wrong.
    pub fn inject(&self, rule: Rule) {
        self.trouble.add(rule);
    }

    /// How often each kind of fault has struck so far.
    #[must_use]
    pub fn faults(&self) -> BTreeMap<String, u64> {
        self.trouble.struck()
    }

    /// Forgets all rules of what goes wrong.
    pub fn clear_faults(&self) {
        self.trouble.clear();
    }

    /// Holds requests of this kind, before they are done, until the gate is released or dropped.
    #[must_use]
    pub fn hold(&self, route: Route) -> Gate {
        self.trouble.hold(route, None, Stage::Request)
    }

    /// As [`Mailmojo::hold`], but only what is about one address.
    #[must_use]
    pub fn hold_for(&self, route: Route, email: &str) -> Gate {
        self.trouble.hold(route, Some(email), Stage::Request)
    }

    /// Holds the answers to requests of this kind, which are done by then.
    #[must_use]
    pub fn hold_answer(&self, route: Route) -> Gate {
        self.trouble.hold(route, None, Stage::Answer)
    }

    /// How many requests of this kind have ended since the last `clear_calls`.
    #[must_use]
    pub fn count(&self, route: Route) -> u64 {
        locked(&self.hub.log).count(Api::Mailmojo, route)
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let changed = change(&mut locked(&self.state));
        self.hub.ring();
        changed
    }
}
