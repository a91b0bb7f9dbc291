//! The `sesamy_` tags that a user should have, given what Sesamy says today.
//!
//! Pure: no I/O and no clock. The names and meanings are those of Sesamy's own help centre, so that a publisher who
//! comes from Sesamy's built-in integration finds the same tags. Which tags a contact ends up with is decided in
//! [`crate::merge`].

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::sesamy::models::{Contract, Entitlement, Item, Profile};

/// What every tag that is ours starts with. Tags without it are somebody else's and are never touched.
pub const PREFIX: &str = "sesamy_";

/// The longest tag, in characters. Source: Sesamy's help centre.
pub const MAX_CHARS: usize = 99;

const CUSTOM: &str = "sesamy_tag_";

/// Whether `tag` is one that we add and remove.
#[must_use]
pub fn is_ours(tag: &str) -> bool {
    tag.starts_with(PREFIX)
}

/// All tags that a user should have at `now`, sorted.
#[must_use]
pub fn wanted(
    profile: &Profile,
    contracts: &[Contract],
    entitlements: &[Entitlement],
    now: Timestamp,
) -> BTreeSet<String> {
    let accessible: Vec<&Entitlement> = entitlements.iter().filter(|it| has_access(it, now)).collect();
    let mut tags = from_profile(profile);
    let mut add = |tag: &str, holds: bool| {
        if holds {
            tags.insert(format!("{PREFIX}{tag}"));
        }
    };
    add("active_subscriber", contracts.iter().any(is_active_subscription));
    add("overdue_contract", contracts.iter().any(is_overdue));
    add(
        "made_single_purchase",
        contracts.iter().any(is_single_purchase) || entitlements.iter().any(is_bought_article),
    );
    add("has_external_access", accessible.iter().any(|it| origin_is(it, "EXTERNAL")));
    add("has_gifted_subscription", accessible.iter().any(|it| is_gifted(it, contracts)));
    for entitlement in accessible.into_iter().filter(|it| !is_article(it)) {
        tags.extend(product_tags(entitlement));
    }
    tags
}

/// The tags that the profile alone asks for: `sesamy_tag_{tag}` for each of its tags; one that already starts with
/// `sesamy_` is taken as it is.
#[must_use]
pub fn from_profile(profile: &Profile) -> BTreeSet<String> {
    let tags = profile.tags.as_deref().unwrap_or_default();
    tags.iter()
        .map(|tag| tag.trim())
        .filter_map(|tag| if is_ours(tag) { Some(tag.to_owned()) } else { named(CUSTOM, &[tag]) })
        .collect()
}

/// A contract that is in force and is a subscription: of duration `RECURRING` or `RENEWABLE`; where the duration is
/// absent or unknown, with any item that is not a single purchase.
fn is_active_subscription(contract: &Contract) -> bool {
    let is_subscription = match contract.contract_duration.as_deref() {
        Some("RECURRING" | "RENEWABLE") => true,
        Some("PERPETUAL") => false,
        _ => items(contract).iter().any(|item| !is_single(item)),
    };
    contract.is_active == Some(true) && is_subscription
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
    let paid_by = entitlement.origin.as_ref().and_then(|origin| origin.contract_id.as_deref());
    !is_article(entitlement)
        && origin_is(entitlement, "PAYMENTS")
        && paid_by.is_some_and(|id| !own.iter().any(|contract| contract.id.as_deref() == Some(id)))
}

/// Whether `entitlement` gives access at `now`. It ends at the very moment of `expiresAt`; a time that cannot be read is
/// as if absent, so that a new spelling takes nobody's tags away.
fn has_access(entitlement: &Entitlement, now: Timestamp) -> bool {
    entitlement.has_access == Some(true) && expiry(entitlement).is_none_or(|end| now < end)
}

fn expiry(entitlement: &Entitlement) -> Option<Timestamp> {
    let text = entitlement.expires_at.as_deref()?.trim();
    let read = text.parse::<Timestamp>().or_else(|_| {
        // Without an offset: taken as UTC.
        text.parse::<jiff::civil::DateTime>().and_then(|civil| jiff::tz::Offset::UTC.to_timestamp(civil))
    });
    if read.is_err() {
        tracing::warn!(
            entitlement_id = entitlement.id.as_deref().unwrap_or("none"),
            "an entitlement's expiresAt cannot be read; it is taken as without an end"
        );
    }
    read.ok()
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

/// `prefix` and the cleaned `parts`, joined by a hyphen and cut at [`MAX_CHARS`]; none where a part is empty.
fn named(prefix: &str, parts: &[&str]) -> Option<String> {
    let parts: Vec<String> = parts.iter().map(|part| clean(part)).collect();
    if parts.iter().any(String::is_empty) {
        return None;
    }
    let whole = format!("{prefix}{}", parts.join("-"));
    let cut: String = whole.chars().take(MAX_CHARS).collect();
    Some(cut.trim_end_matches('-').to_owned())
}

/// A name as a tag has it: in Unicode lower case, with one hyphen for every run of white space, commas, hyphens and
/// control characters, and none at either end.
fn clean(name: &str) -> String {
    let lower = name.to_lowercase();
    let words = lower.split(|c: char| c.is_whitespace() || c.is_control() || c == ',' || c == '-');
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests;
