//! What the audit objects to.

use std::fmt;

/// The rule that was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FindingKind {
    /// A write dropped a tag that is not Sesamy's and that had been read before.
    OwnTagLost,
    /// A write brought a tag that is not Sesamy's and that the contact does not have.
    OwnTagInvented,
    /// A write put tags that are not Sesamy's into another order.
    OwnTagsReordered,
    /// A write named one tag twice.
    TagDuplicated,
    /// A present first or last name was changed or blanked.
    NameOverwritten,
    /// A contact whose full name is kept in `name` was given a first or last name.
    NameSplit,
    /// The field `name` was sent.
    NameSent,
    /// A present phone was changed or blanked.
    PhoneOverwritten,
    /// A present custom field that is not the service's was changed.
    CustomOverwritten,
    /// A present custom field was left out of a write that replaces all of them.
    CustomLost,
    /// `force_subscribe` was absent, or anything but `false`.
    ForceSubscribe,
    /// A subscribe for somebody whose account status is not active.
    SubscribedAgainstStatus,
    /// A subscribe for somebody whom the list knows already, as active or otherwise.
    SubscribedAgain,
    /// A write changed a status.
    StatusChanged,
    /// A contact was made under an address with upper-case letters.
    CreatedInUpperCase,
    /// Two requests about one user were in flight together that no single sync would send together.
    Overlap,
    /// A write to a path without its trailing slash.
    WriteWithoutSlash,
    /// A write with a field that the API does not have.
    UnknownField,
    /// A write whose body is no JSON object.
    NoObject,
    /// A path, or a method on a path, that the API does not have.
    UnknownPath,
}

/// One thing that the audit objects to, told in a sentence. The sandbox's data is made up, so it is shown as it is.
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
