//! A contact in Mailmojo, and what a write changes of it.

use std::collections::BTreeMap;

use crate::personal::{Personal, PersonalValue};

/// The status of somebody who receives mail. Every other status means that the person has left, has been removed, or
/// cannot be reached, and is never subscribed by us.
pub const ACTIVE: &str = "a";

/// The account's own fields of a contact, by name.
pub type CustomValues = BTreeMap<String, PersonalValue>;

/// A contact as an answer of Mailmojo describes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contact {
    /// The address, as Mailmojo spells it.
    pub email: Option<Personal>,
    /// The whole name; takes precedence over first and last name where it is present.
    pub name: Option<Personal>,
    pub first_name: Option<Personal>,
    pub last_name: Option<Personal>,
    pub phone: Option<Personal>,
    /// All tags, ours and the publisher's own.
    pub tags: Option<Vec<String>>,
    /// The status on the account: `a` active, `u` unsubscribed, `b` bounced, `d` deleted.
    pub status: Option<String>,
    /// The contact's place on our list.
    pub membership: Membership,
    /// The account's own fields; read only where some of them are ours.
    pub custom: Option<CustomValues>,
    /// The fields of [`Contact::SPARSE`] whose keys the answer does not have at all. A key with null has a value: none.
    pub left_out: Vec<&'static str>,
}

/// Whether a contact is on our list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Membership {
    /// The answer does not say.
    #[default]
    Unknown,
    /// It never was, as far as Mailmojo says.
    NotOnList,
    /// It is or was, with this status.
    OnList(Option<String>),
}

/// The data of a contact that a write carries. `None` is left out of the write, and so left alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContactData {
    pub first_name: Option<Personal>,
    pub last_name: Option<Personal>,
    pub phone: Option<Personal>,
    /// The whole list of tags, which replaces the one before (assumed).
    pub tags: Option<Vec<String>>,
    /// All of the account's own fields, whether such a write replaces them or is merged with them (assumed to be either).
    pub custom: Option<CustomValues>,
}

impl ContactData {
    /// The names of the fields that it changes.
    pub fn fields(&self) -> Vec<&'static str> {
        [
            ("first_name", self.first_name.is_some()),
            ("last_name", self.last_name.is_some()),
            ("phone", self.phone.is_some()),
            ("tags", self.tags.is_some()),
            ("custom", self.custom.is_some()),
        ]
        .into_iter()
        .filter_map(|(name, is_changed)| is_changed.then_some(name))
        .collect()
    }
}

impl Contact {
    /// The fields that an answer may leave out though the contact has them. To take them for absent would overwrite them.
    pub const SPARSE: [&str; 6] = ["name", "first_name", "last_name", "phone", "tags", "custom"];

    /// Whether the answer had a key for each field that `data` writes, and for those that decide whether it does.
    pub fn has_keys_of(&self, data: &ContactData) -> bool {
        let needed = data.fields().into_iter().flat_map(|field| match field {
            "first_name" | "last_name" => &["name", "first_name", "last_name"][..],
            "phone" => &["phone"],
            "tags" => &["tags"],
            _ => &["custom"],
        });
        !needed.into_iter().any(|key| self.left_out.contains(key))
    }

    /// Takes from `fuller`, another answer about the same contact, what this one left out.
    pub fn fill_from(&mut self, fuller: Self) {
        for key in std::mem::take(&mut self.left_out) {
            match key {
                "name" => self.name.clone_from(&fuller.name),
                "first_name" => self.first_name.clone_from(&fuller.first_name),
                "last_name" => self.last_name.clone_from(&fuller.last_name),
                "phone" => self.phone.clone_from(&fuller.phone),
                "tags" => self.tags.clone_from(&fuller.tags),
                _ => self.custom.clone_from(&fuller.custom),
            }
        }
    }

    /// Whether this answer has a value for each field that `data` writes. What it leaves out, or has as null, may be
    /// there all the same.
    pub fn has_values_of(&self, data: &ContactData) -> bool {
        (data.first_name.is_none() || self.first_name.is_some())
            && (data.last_name.is_none() || self.last_name.is_some())
            && (data.phone.is_none() || self.phone.is_some())
            && (data.tags.is_none() || self.tags.is_some())
            && (data.custom.is_none() || self.custom.is_some())
    }

    /// Whether the contact receives the list's mail.
    pub fn is_active_on_list(&self) -> bool {
        self.status.as_deref() == Some(ACTIVE)
            && matches!(&self.membership, Membership::OnList(status) if status.as_deref() == Some(ACTIVE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_a_field_where_it_has_a_value_for_it() {
        let some = |text| Some(Personal::new(text));
        let both = ContactData { phone: some("1"), tags: Some(vec![]), ..ContactData::default() };
        let answer = |phone, tags| Contact { phone, tags, ..Contact::default() };
        for (contact, data, expected) in [
            (answer(some(""), Some(vec![])), &both, true),
            (answer(None, Some(vec![])), &both, false),
            (answer(some("2"), None), &both, false),
            (Contact::default(), &ContactData::default(), true),
        ] {
            assert_eq!(contact.has_values_of(data), expected, "{contact:?}");
        }
    }

    #[test]
    fn a_field_that_was_left_out_is_taken_from_the_fuller_answer_and_no_other() {
        let some = |text| Some(Personal::new(text));
        let mut sparse = Contact { phone: some("1"), left_out: vec!["name", "tags"], ..Contact::default() };
        let name = ContactData { last_name: some("Moe"), ..ContactData::default() };
        let phone = ContactData { phone: some("2"), ..ContactData::default() };
        assert!(!sparse.has_keys_of(&name), "a whole name would take precedence");
        assert!(sparse.has_keys_of(&phone));
        let tags = Some(vec!["vip".to_owned()]);
        sparse.fill_from(Contact {
            name: some("Kari"),
            phone: some("3"),
            tags: tags.clone(),
            ..Contact::default()
        });
        assert_eq!((sparse.name, sparse.phone, sparse.tags), (some("Kari"), some("1"), tags));
        assert_eq!(sparse.left_out, [""; 0]);
    }
}
