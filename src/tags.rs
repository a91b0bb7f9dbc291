//! The `sesamy_` tags that a user should have, given what Sesamy says today.
//!
//! Pure: no I/O and no clock. The names and meanings are those of Sesamy's own help centre, so that a publisher who
//! comes from Sesamy's built-in integration finds the same tags. Which tags a contact ends up with is decided in
//! [`crate::merge`].

mod expiry;
mod name;
mod reason;

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::model::{Contract, Entitlement, Origin, SesamyUser, TagKinds};
use name::{ACTIVE, CUSTOM, named};

pub use expiry::next_change;
pub use name::is_ours;
pub use reason::{Access, TagReason};

const ACTIVE_SUBSCRIBER: &str = "sesamy_active_subscriber";
const OVERDUE_CONTRACT: &str = "sesamy_overdue_contract";
const SINGLE_PURCHASE: &str = "sesamy_made_single_purchase";
const EXTERNAL_ACCESS: &str = "sesamy_has_external_access";
const GIFTED_SUBSCRIPTION: &str = "sesamy_has_gifted_subscription";

/// Tags, sorted, and for each why it is wanted: one reason at the least.
pub type Reasons = BTreeMap<String, Vec<TagReason>>;

/// All tags that `user` should have at `now`, and for each everything that asks for it, in Sesamy's order.
///
/// A tag of the profile becomes `sesamy_tag_{tag}`; one that already starts with `sesamy_` is taken as it is.
pub fn wanted(user: &SesamyUser, now: Timestamp) -> Reasons {
    let mut tags = Reasons::new();
    let mut add = |tag: String, why: TagReason| tags.entry(tag).or_default().push(why);
    for tag in user.profile.tags.iter().map(|tag| tag.trim()) {
        let wanted = if is_ours(tag) { Some(tag.to_owned()) } else { named(CUSTOM, &[tag]) };
        if let Some(wanted) = wanted {
            add(wanted, TagReason::ProfileTag { tag: tag.to_owned() });
        }
    }
    for contract in &user.contracts {
        if contract.is_active_subscription() {
            add(ACTIVE_SUBSCRIBER.to_owned(), TagReason::active_subscription(contract));
        }
        if contract.is_overdue() {
            add(OVERDUE_CONTRACT.to_owned(), TagReason::overdue(contract));
        }
        if contract.is_single_purchase() {
            add(SINGLE_PURCHASE.to_owned(), TagReason::single_purchase(contract));
        }
    }
    for entitlement in &user.entitlements {
        if entitlement.is_article && matches!(entitlement.origin, Some(Origin::Payments { .. })) {
            add(SINGLE_PURCHASE.to_owned(), TagReason::bought_article(entitlement));
        }
        if !entitlement.gives_access_at(now) {
            continue;
        }
        let access = Access::of(entitlement);
        if entitlement.origin == Some(Origin::External) {
            add(EXTERNAL_ACCESS.to_owned(), TagReason::ExternalAccess(access.clone()));
        }
        if let Some(contract_id) = paid_by_somebody_else(entitlement, &user.contracts) {
            let contract_id = Some(contract_id.to_owned());
            let why = TagReason::GiftedSubscription { access: access.clone(), contract_id };
            add(GIFTED_SUBSCRIPTION.to_owned(), why);
        }
        product_tags(entitlement).for_each(|tag| add(tag, TagReason::Access(access.clone())));
    }
    tags
}

/// The kinds among `tags` that a broken source takes away.
pub fn kinds<'a>(tags: impl IntoIterator<Item = &'a String>) -> TagKinds {
    tags.into_iter().fold(TagKinds::default(), |kinds, tag| {
        kinds.and(TagKinds { active: tag.starts_with(ACTIVE), of_profile: tag.starts_with(CUSTOM) })
    })
}

/// The contract that pays for access, if it is not among the user's own.
fn paid_by_somebody_else<'a>(entitlement: &'a Entitlement, own: &[Contract]) -> Option<&'a str> {
    match &entitlement.origin {
        Some(Origin::Payments { contract_id: Some(id) }) if !entitlement.is_article => {
            let is_own = own.iter().any(|contract| contract.id.as_ref() == Some(id));
            (!is_own).then_some(id)
        }
        _ => None,
    }
}

/// An article has none: a reader of 500 articles must not get 1,000 tags.
fn product_tags(entitlement: &Entitlement) -> impl Iterator<Item = String> {
    let title = entitlement.title.as_deref().unwrap_or_default();
    let sku = entitlement.sku.as_deref().unwrap_or_default();
    let option = entitlement.purchase_option.as_deref().unwrap_or_default();
    let tags = [
        named("sesamy_active_entitlement_", &[title]),
        named("sesamy_active_sku_", &[sku]),
        named("sesamy_active_sku_po_", &[sku, option]),
    ];
    tags.into_iter().flatten().filter(|_| !entitlement.is_article)
}

#[cfg(test)]
mod tests;
