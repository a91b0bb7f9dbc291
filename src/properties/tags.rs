//! Every tag that is made of a name is a tag: ours, lower case, of at most 99 characters, without a blank in it; and the
//! merge adds and removes ours alone.
//!
//! Input, a line each: a title, a SKU, a purchase option, a tag of the profile; then tags that the contact has.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::merge::{ContactChange, KeepTags, Rules, Target};
use crate::model::{Contact, Entitlement, Profile, SesamyUser};
use crate::tags;

pub fn hold(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.split('\n').map(str::to_owned);
    let mut next = || lines.next();
    let (title, sku, purchase_option, tag) = (next(), next(), next(), next());
    let present: Vec<String> = lines.collect();
    let made = of_entitlement(Entitlement {
        title,
        sku,
        purchase_option,
        has_access: true,
        ..Entitlement::default()
    });
    made.iter().for_each(|tag| is_well_formed(tag));
    // A name that is clean already stays as it is.
    for (start, field) in [("sesamy_active_entitlement_", "title"), ("sesamy_active_sku_", "sku")] {
        let is_of = |tag: &&String| {
            tag.starts_with(start) && (field == "title" || !tag.starts_with("sesamy_active_sku_po_"))
        };
        let Some(tag) = made.iter().find(is_of) else { continue };
        let name = Some(tag[start.len()..].to_owned());
        let again = match field {
            "title" => Entitlement { title: name, has_access: true, ..Entitlement::default() },
            _ => Entitlement { sku: name, has_access: true, ..Entitlement::default() },
        };
        assert_eq!(
            of_entitlement(again),
            BTreeSet::from([tag.clone()]),
            "cleaning twice is not cleaning once"
        );
    }
    let profile = Profile { tags: tag.into_iter().collect(), ..Profile::default() };
    let user = SesamyUser { profile, ..SesamyUser::default() };
    let of_profile = wanted(&user);
    for (tag, given) in of_profile.iter().zip(&user.profile.tags) {
        match tags::is_ours(given.trim()) {
            true => assert_eq!(tag, given.trim()),
            false => is_well_formed(tag),
        }
    }

    let wanted: BTreeSet<String> = made.union(&of_profile).cloned().collect();
    let target =
        Target { tags: wanted.iter().map(|tag| (tag.clone(), vec![])).collect(), ..Target::default() };
    let contact = Contact { tags: Some(present.clone()), ..Contact::default() };
    let keep_tags = KeepTags::new(vec!["sesamy_made_single_purchase".to_owned(), "sesamy_kept_*".to_owned()]);
    let rules = Rules { create_contacts: true, keep_tags, holds_removals: false };
    let change = ContactChange::of(&target, &contact, &rules);
    let after = change.data.tags.clone().unwrap_or_else(|| present.clone());
    merged_well(&present, &wanted, &after);
    let is_kept = |tag: &&String| *tag == "sesamy_made_single_purchase" || tag.starts_with("sesamy_kept_");
    let expected: BTreeSet<&String> = wanted
        .iter()
        .chain(present.iter().filter(|tag| tag.starts_with("sesamy_")).filter(is_kept))
        .collect();
    assert_eq!(after.iter().filter(|tag| tag.starts_with("sesamy_")).collect::<BTreeSet<_>>(), expected);
    // Once merged, there is nothing left to do.
    let contact = Contact { tags: Some(after), ..Contact::default() };
    assert!(ContactChange::of(&target, &contact, &rules).is_empty());
}

fn wanted(user: &SesamyUser) -> BTreeSet<String> {
    tags::wanted(user, Timestamp::UNIX_EPOCH).into_keys().collect()
}

fn of_entitlement(entitlement: Entitlement) -> BTreeSet<String> {
    wanted(&SesamyUser { entitlements: vec![entitlement], ..SesamyUser::default() })
}

/// Fails where `tag` is not as Sesamy's own are.
pub(super) fn is_well_formed(tag: &str) {
    assert!(tag.starts_with("sesamy_") && tag.len() > "sesamy_".len(), "{tag:?} is not ours");
    assert!((8..=99).contains(&tag.chars().count()), "{tag:?} is too long");
    assert_eq!(tag.to_lowercase(), tag);
    assert!(!tag.contains(|c: char| c.is_whitespace() || c.is_control() || c == ','), "{tag:?}");
    assert!(!tag.contains("--") && !tag.ends_with('-'), "{tag:?}");
    let starts = ["sesamy_tag_-", "sesamy_active_entitlement_-", "sesamy_active_sku_-"];
    assert!(!starts.iter().any(|start| tag.starts_with(start)), "{tag:?}");
}

/// Fails where somebody else's tag is not as it was and where it was, or a wanted one is not there.
pub(super) fn merged_well(before: &[String], wanted: &BTreeSet<String>, after: &[String]) {
    let theirs =
        |tags: &[String]| tags.iter().filter(|tag| !tag.starts_with("sesamy_")).cloned().collect::<Vec<_>>();
    assert_eq!(theirs(before), theirs(after), "somebody else's tags");
    assert!(wanted.iter().all(|tag| after.contains(tag)));
}
