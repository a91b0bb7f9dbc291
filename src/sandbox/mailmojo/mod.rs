//! The mock Mailmojo: one account with contacts and lists, and the audit of every write to it.

mod api;
mod audit;
mod contact;
mod known;
mod write;

pub use api::{Mailmojo, Tallies};
pub use audit::Races;
pub use contact::{Association, Associations, Contact, Empty, contact};

use api::now;

impl Mailmojo {
    /// The contact as it is now.
    pub fn contact(&self, email: &str) -> Option<Contact> {
        self.read(|api| api.contact(email).cloned())
    }

    /// All contacts, by address.
    pub fn contacts(&self) -> Vec<Contact> {
        self.read(|api| api.contacts.values().cloned().collect())
    }

    /// Counts the contacts that are as `wanted`, without copying any. `wanted` must not call the sandbox, which is locked.
    pub fn count_contacts(&self, wanted: impl Fn(&Contact) -> bool) -> usize {
        self.read(|api| api.contacts.values().filter(|contact| wanted(contact)).count())
    }

    /// Adds a contact, or replaces the one with this address.
    pub fn put_contact(&self, contact: Contact) {
        self.change(|api| api.put(contact));
    }

    /// The publisher creates a contact; `false`, and nothing changes, if there is one with this address.
    pub fn add_contact(&self, contact: Contact) -> bool {
        self.change(|api| {
            let is_new = api.contact(&contact.email).is_none();
            if is_new {
                api.put(contact);
            }
            is_new
        })
    }

    /// The publisher edits a contact; `false` if it does not exist. `edit` must not call the sandbox, which is locked.
    pub fn edit(&self, email: &str, edit: impl FnOnce(&mut Contact)) -> bool {
        self.change(|api| {
            let Some(mut contact) = api.contacts.remove(&api.key(email)) else { return false };
            edit(&mut contact);
            api.put(contact);
            true
        })
    }

    /// The publisher adds a tag at the end.
    pub fn add_tag(&self, email: &str, tag: &str) -> bool {
        self.edit(email, |contact| contact.tags.push(tag.to_owned()))
    }

    /// The publisher removes a tag.
    pub fn remove_tag(&self, email: &str, tag: &str) -> bool {
        self.edit(email, |contact| contact.tags.retain(|own| own != tag))
    }

    /// The publisher changes an address.
    pub fn rename(&self, email: &str, new: &str) -> bool {
        self.edit(email, |contact| new.clone_into(&mut contact.email))
    }

    /// The publisher deletes a contact for good.
    pub fn delete(&self, email: &str) -> bool {
        self.change(|api| api.contacts.remove(&api.key(email)).is_some())
    }

    /// The person leaves one list.
    pub fn unsubscribe(&self, email: &str, list: i64) -> bool {
        self.set_list_status(email, list, "u")
    }

    /// The person leaves all lists, and the account.
    pub fn unsubscribe_everywhere(&self, email: &str) -> bool {
        self.edit(email, |contact| {
            let now = now();
            contact.set_status("u", &now);
            let lists: Vec<_> = contact.associations.iter().map(|known| known.list_id).collect();
            lists.into_iter().for_each(|list| contact.associate(list, "u", &now));
        })
    }

    /// Sets the account's status of a contact.
    pub fn set_status(&self, email: &str, status: &str) -> bool {
        self.edit(email, |contact| contact.set_status(status, &now()))
    }

    /// Sets the status of a contact on a list.
    pub fn set_list_status(&self, email: &str, list: i64, status: &str) -> bool {
        self.edit(email, |contact| contact.associate(list, status, &now()))
    }

    /// Adds a list.
    pub fn put_list(&self, id: i64, name: &str) {
        self.change(|api| api.lists.insert(id, name.to_owned()));
    }

    /// Whether addresses that differ only in letter case are one contact. Existing contacts are kept.
    pub fn ignore_case(&self, ignores: bool) {
        self.change(|api| {
            api.ignores_case = ignores;
            let contacts = std::mem::take(&mut api.contacts);
            contacts.into_values().for_each(|contact| api.put(contact));
        });
    }

    /// How fields without a value are answered from now on.
    pub fn answer_empty_as(&self, empty: Empty) {
        self.change(|api| api.style.empty = empty);
    }

    /// How the lists of a contact are answered from now on.
    pub fn answer_associations_as(&self, associations: Associations) {
        self.change(|api| api.style.associations = associations);
    }

    /// Whether a list's own path to a member answers 404 for a person who has left.
    pub fn hide_inactive_members(&self, hide: bool) {
        self.change(|api| api.members_are_active = hide);
    }

    /// Whether `custom` in a write replaces all custom fields of a contact or, the default, is merged with them.
    pub fn replace_custom(&self, replaces: bool) {
        self.change(|api| api.replaces_custom = replaces);
    }

    /// Lets the service write these custom fields, whatever they hold. The audit objects to a change of any other.
    pub fn let_write_custom(&self, names: &[&str]) {
        self.change(|api| api.written_custom = names.iter().map(|name| (*name).to_owned()).collect());
    }

    /// Accepts these client credentials from now on, and no others; its tokens have at most these scopes.
    pub fn set_client(&self, id: &str, secret: &str, scopes: &[&str]) {
        self.tokens(|tokens| {
            id.clone_into(&mut tokens.client_id);
            secret.clone_into(&mut tokens.client_secret);
            tokens.client_scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        });
    }

    /// Accepts this token with these scopes as well.
    pub fn accept_token(&self, token: &str, scopes: &[&str]) {
        self.tokens(|tokens| tokens.accept(token, scopes));
    }

    /// What was counted so far.
    pub fn tallies(&self) -> Tallies {
        self.read(|api| api.tallies)
    }
}
