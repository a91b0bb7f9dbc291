//! How far a sync may go: the settings, what asked for it, and the removal guard.

use crate::fields::CustomFields;
use crate::merge::{KeepTags, Rules};
use crate::model::ContactKeys;
use crate::upstream::PerApi;
use crate::user::UserId;

/// What a sync needs of the settings.
#[derive(Debug, Clone)]
pub struct SyncSettings {
    /// `sesamy.guest_user_id_prefixes`.
    pub guest_user_id_prefixes: Vec<String>,
    /// `sesamy.derive_tags`.
    pub derive_tags: bool,
    /// `sync.dry_run`.
    pub dry_run: bool,
    /// `sync.create_contacts`: whether anybody may be created or subscribed at all.
    pub create_contacts: bool,
    /// `sync.keep_tags`: which of our tags are never removed.
    pub keep_tags: KeepTags,
    /// `mailmojo.custom_fields`.
    pub custom_fields: CustomFields,
}

/// How far a sync may go, by what asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncMode {
    /// As the settings say.
    Normal,
    /// Nobody is created or subscribed, whatever the settings say: what nobody asked for creates nobody.
    ExistingOnly,
    /// As the settings say, and what is remembered of removing and leaving counts no more: an operator's word.
    Override,
}

/// What one sync keeps to.
#[derive(Debug)]
pub(super) struct Policy<'a> {
    pub(super) settings: &'a SyncSettings,
    /// The keys by which contacts of the list are remembered.
    pub(super) keys: &'a ContactKeys,
    pub(super) mode: SyncMode,
    /// What the removal guard has to say.
    pub(super) removals: Removals,
}

/// What the removal guard has to say about a sync.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Removals {
    /// The guard has tripped: nothing may be removed.
    pub(super) are_held: bool,
    /// An operator has let this user's change through; the guard does not count it.
    pub(super) have_a_pass: bool,
    /// The user's tags were expected to go by now.
    pub(super) are_expected: bool,
}

/// How many calls a sync of a user with a page of everything makes at the most: profile, contracts and entitlements; the
/// contact, and a write. Longer lists, another letter case and repeated reads come on top.
pub fn usual_calls(derive_tags: bool) -> PerApi<u32> {
    PerApi { sesamy: if derive_tags { 3 } else { 1 }, mailmojo: 2 }
}

impl SyncSettings {
    pub(super) fn is_guest(&self, user: &UserId) -> bool {
        self.guest_user_id_prefixes.iter().any(|prefix| user.as_str().starts_with(prefix.as_str()))
    }
}

impl SyncMode {
    /// Whether somebody may be created, as far as the mode goes.
    pub fn may_create(self) -> bool {
        matches!(self, Self::Normal | Self::Override)
    }
}

impl Policy<'_> {
    pub(super) fn rules(&self) -> Rules {
        Rules {
            create_contacts: self.settings.create_contacts && self.mode.may_create(),
            keep_tags: self.settings.keep_tags.clone(),
            holds_removals: self.removals.are_held,
        }
    }
}
