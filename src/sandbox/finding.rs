//! What the audit objects to.

use std::fmt;

/// The rule that was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FindingKind {
    /// A write dropped a tag that is not Sesamy's and that the service had read.
    OwnTagLost,
    /// A write added a tag that is not Sesamy's and that the contact does not have.
    OwnTagInvented,
    /// A write put tags that are not Sesamy's into another order.
    OwnTagsReordered,
    /// A write named one tag twice.
    TagDuplicated,
    /// A write changed or blanked a first or last name.
    NameOverwritten,
    /// A write gave a first or last name to a contact whose full name is in `name`.
    NameSplit,
    /// A write sent the field `name`.
    NameSent,
    /// A write changed or blanked a phone.
    PhoneOverwritten,
    /// A write changed a custom field that is not the service's.
    CustomOverwritten,
    /// A write that replaces all custom fields left one out.
    CustomLost,
    /// `force_subscribe` was absent, or anything but `false`.
    ForceSubscribe,
    /// A subscribe for a contact whose account status is not active.
    SubscribedAgainstStatus,
    /// A subscribe for a contact that the list already knows, whatever its status there.
    SubscribedAgain,
    /// A write changed a status.
    StatusChanged,
    /// A write created a contact under an address with upper-case letters.
    CreatedInUpperCase,
    /// Two requests about one user were in flight together that no single sync would send together.
    Overlap,
    /// A write to a path without its trailing slash.
    WriteWithoutSlash,
    /// A write with a field that the API does not have.
    UnknownField,
    /// A write whose body is not a JSON object.
    NoObject,
    /// A path, or a method on a path, that the API does not have.
    UnknownPath,
}

/// One thing that the audit objects to, in a sentence. The sandbox's data is made up, so nothing is redacted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which rule was broken.
    pub kind: FindingKind,
    /// On what, and how.
    pub text: String,
}

impl Finding {
    pub(super) fn new(kind: FindingKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.text)
    }
}
