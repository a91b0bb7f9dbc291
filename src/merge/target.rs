//! What a merge goes by: what the contact should be, and the rules.

use crate::fields::CustomField;
use crate::model::Profile;
use crate::personal::Personal;
use crate::tags::Reasons;

/// What the contact should be, as far as Sesamy says; blank values left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Target {
    pub first_name: Option<Personal>,
    pub last_name: Option<Personal>,
    pub phone: Option<Personal>,
    /// The custom fields that are ours, and what they should hold; each name once.
    pub custom: Vec<CustomField>,
    /// The tags, and why ([`crate::tags::wanted`]).
    pub tags: Reasons,
}

impl Target {
    /// The contact that `profile` describes, with these custom fields and tags.
    pub fn new(profile: &Profile, custom: Vec<CustomField>, tags: Reasons) -> Self {
        let Profile { first_name, last_name, phone, .. } = profile.clone();
        Self { first_name, last_name, phone, custom, tags }
    }
}

/// The rules that a merge keeps to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Whether anybody may be created or subscribed at all.
    pub create_contacts: bool,
    /// `sync.keep_tags`: which of our tags are never removed.
    pub keep_tags: KeepTags,
    /// Whether the removal guard has tripped: then nothing is taken away that Sesamy said before.
    pub holds_removals: bool,
}

/// Names of `sesamy_` tags that stay for ever; an `*` at the end matches the rest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeepTags(Vec<String>);

impl KeepTags {
    /// Takes the names as the setting gives them.
    pub fn new(patterns: Vec<String>) -> Self {
        Self(patterns)
    }

    /// Every one.
    pub fn all() -> Self {
        Self(vec!["*".to_owned()])
    }

    /// Whether `tag` stays once a contact has it.
    pub fn keeps(&self, tag: &str) -> bool {
        self.0.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(start) => tag.starts_with(start),
            None => tag == pattern,
        })
    }
}
