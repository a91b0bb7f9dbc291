//! The `sesamy_` tags that a user should have, given what Sesamy says today.
//!
//! Pure: no I/O and no clock. The names and meanings are those of Sesamy's own help centre, so that a publisher who
//! comes from Sesamy's built-in integration finds the same tags. Which tags a contact ends up with is decided in
//! [`crate::merge`].

mod clock;
mod ended;
mod name;
mod reason;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::sesamy::models::{Contract, Entitlement, Item, Profile};
use name::{CUSTOM, named};

pub use clock::next_change;
pub use ended::ended;
pub use name::{MAX_CHARS, PREFIX, is_ours};
pub use reason::{Access, Reason};

/// The tag of a user who has access that somebody else pays for.
const GIFTED: &str = "sesamy_has_gifted_subscription";

/// How the tags begin that tell of access which somebody has now: to lose one is to lose what was paid for.
const ACTIVE: &str = "sesamy_active_";

/// Tags, sorted, and for each why it is wanted: one reason at the least.
pub type Reasons = BTreeMap<String, Vec<Reason>>;

/// All tags that a user should have at `now`, sorted.
#[must_use]
pub fn wanted(
    profile: &Profile,
    contracts: &[Contract],
    entitlements: &[Entitlement],
    now: Timestamp,
) -> BTreeSet<String> {
    reasons(profile, contracts, entitlements, now).into_keys().collect()
}

/// All tags that a user should have at `now`, and for each everything that asks for it, in Sesamy's order.
#[must_use]
pub fn reasons(
    profile: &Profile,
    contracts: &[Contract],
    entitlements: &[Entitlement],
    now: Timestamp,
) -> Reasons {
    let mut tags = reasons_of_profile(profile);
    let mut add = |tag: String, why: Reason| tags.entry(tag).or_default().push(why);
    for contract in contracts {
        if is_active_subscription(contract) {
            add(standard("active_subscriber"), Reason::active_subscription(contract));
        }
        if is_overdue(contract) {
            add(standard("overdue_contract"), Reason::overdue(contract));
        }
        if is_single_purchase(contract) {
            add(standard("made_single_purchase"), Reason::single_purchase(contract));
        }
    }
    for entitlement in entitlements {
        if is_bought_article(entitlement) {
            add(standard("made_single_purchase"), Reason::bought_article(entitlement));
        }
        let Some(access) = access(entitlement, now) else { continue };
        if origin_is(entitlement, "EXTERNAL") {
            add(standard("has_external_access"), Reason::ExternalAccess(access.clone()));
        }
        if is_gifted(entitlement, contracts) {
            let contract_id = paid_by(entitlement).map(str::to_owned);
            let why = Reason::GiftedSubscription { access: access.clone(), contract_id };
            add(GIFTED.to_owned(), why);
        }
        if !is_article(entitlement) {
            product_tags(entitlement).for_each(|tag| add(tag, Reason::Access(access.clone())));
        }
    }
    tags
}

/// The tags that the profile alone asks for: `sesamy_tag_{tag}` for each of its tags; one that already starts with
/// `sesamy_` is taken as it is.
#[must_use]
pub fn from_profile(profile: &Profile) -> BTreeSet<String> {
    reasons_of_profile(profile).into_keys().collect()
}

/// The tags of [`from_profile`], and for each which of the profile's tags asks for it.
#[must_use]
pub fn reasons_of_profile(profile: &Profile) -> Reasons {
    let mut tags = Reasons::new();
    for tag in profile.tags.iter().flatten().map(|tag| tag.trim()) {
        let wanted = if is_ours(tag) { Some(tag.to_owned()) } else { named(CUSTOM, &[tag]) };
        if let Some(wanted) = wanted {
            tags.entry(wanted).or_default().push(Reason::ProfileTag { tag: tag.to_owned() });
        }
    }
    tags
}

/// Whether `tag` tells of access that somebody has now.
#[must_use]
pub fn is_active(tag: &str) -> bool {
    tag.starts_with(ACTIVE)
}

/// One of the tags with a fixed name.
fn standard(name: &str) -> String {
    format!("{PREFIX}{name}")
}

/// A contract that is in force and is a subscription.
pub(crate) fn is_active_subscription(contract: &Contract) -> bool {
    contract.is_active == Some(true) && is_subscription(contract)
}

/// A contract, running or over, of duration `RECURRING` or `RENEWABLE`; where the duration is absent or unknown, with any
/// item that is not a single purchase.
pub(crate) fn is_subscription(contract: &Contract) -> bool {
    match contract.contract_duration.as_deref() {
        Some("RECURRING" | "RENEWABLE") => true,
        Some("PERPETUAL") => false,
        _ => items(contract).iter().any(|item| !is_single(item)),
    }
}

fn is_overdue(contract: &Contract) -> bool {
    matches!(contract.status.as_deref(), Some("OVERDUE" | "RETRYING"))
}

/// A contract, running or over, for something bought once.
fn is_single_purchase(contract: &Contract) -> bool {
    contract.contract_duration.as_deref() == Some("PERPETUAL") || items(contract).iter().any(is_single)
}

fn items(contract: &Contract) -> &[Item] {
    contract.items.as_deref().unwrap_or_default()
}

fn is_single(item: &Item) -> bool {
    item.purchase_type.as_deref() == Some("SINGLE")
}

fn is_bought_article(entitlement: &Entitlement) -> bool {
    is_article(entitlement) && origin_is(entitlement, "PAYMENTS")
}

/// An article gets no tags of its own: a reader of 500 articles must not get 1,000 tags.
fn is_article(entitlement: &Entitlement) -> bool {
    entitlement.kind.as_deref() == Some("article")
}

fn origin_is(entitlement: &Entitlement, kind: &str) -> bool {
    entitlement.origin.as_ref().and_then(|origin| origin.kind.as_deref()) == Some(kind)
}

/// Access that was paid for by a contract that is not among the user's own: somebody else pays.
fn is_gifted(entitlement: &Entitlement, own: &[Contract]) -> bool {
    !is_article(entitlement)
        && origin_is(entitlement, "PAYMENTS")
        && paid_by(entitlement)
            .is_some_and(|id| !own.iter().any(|contract| contract.id.as_deref() == Some(id)))
}

fn paid_by(entitlement: &Entitlement) -> Option<&str> {
    entitlement.origin.as_ref().and_then(|origin| origin.contract_id.as_deref())
}

/// The access that `entitlement` gives at `now`, if it does.
fn access(entitlement: &Entitlement, now: Timestamp) -> Option<Access> {
    if entitlement.has_access != Some(true) {
        return None;
    }
    let until = entitlement.ends_at();
    if until.is_none() && entitlement.expires_at.is_some() {
        tracing::warn!(
            entitlement_id = entitlement.id.as_deref().unwrap_or("none"),
            "an entitlement's expiresAt cannot be read; it is taken as without an end"
        );
    }
    until.is_none_or(|end| now < end).then(|| Access::of(entitlement, until))
}

/// Whether `entitlement` gives access at `now` to something that has tags of its own.
pub(crate) fn gives_access_to_product(entitlement: &Entitlement, now: Timestamp) -> bool {
    let has_ended = entitlement.ends_at().is_some_and(|end| end <= now);
    entitlement.has_access == Some(true) && !has_ended && !is_article(entitlement)
}

fn product_tags(entitlement: &Entitlement) -> impl Iterator<Item = String> {
    let title = entitlement.title.as_deref().unwrap_or_default();
    let sku = entitlement.sku.as_deref().unwrap_or_default();
    let option = entitlement.purchase_option.as_deref().unwrap_or_default();
    [
        named("sesamy_active_entitlement_", &[title]),
        named("sesamy_active_sku_", &[sku]),
        named("sesamy_active_sku_po_", &[sku, option]),
    ]
    .into_iter()
    .flatten()
}

#[cfg(test)]
mod tests;
