//! Whatever Sesamy answers becomes tags and custom fields by the rules, or is the wrong shape; and no failure quotes it.
//!
//! Input: the answers of one sync, separated by lines of `---`: the profile, the pages of contracts, a line of `===`, the
//! pages of entitlements.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::Value;
use strum::VariantArray;

use super::MARK;
use crate::address;
use crate::fields::Source;
use crate::model::{Contract, Entitlement, SesamyUser};
use crate::sesamy::json::{ContractJson, EntitlementJson};
use crate::sesamy::pages::{Pages, Progress};
use crate::sesamy::profile_of;
use crate::sync::Addressed;
use crate::tags;
use crate::upstream::{Api, Body, Failure};
use crate::user::UserId;

pub fn hold(data: &[u8]) {
    let (sesamy, entitlements) = cut(data, b"\n===\n");
    let (profile, contracts) = cut(sesamy, b"\n---\n");
    let user = UserId::new("u1").unwrap();
    let read = profile_of(&user, &Body::of(Api::Sesamy, profile));
    if let Err(failure) = &read {
        quotes_nothing(failure);
    }
    let contracts: Option<Vec<ContractJson>> = list("contracts", contracts);
    let entitlements: Option<Vec<EntitlementJson>> = list("entitlements", entitlements);
    let (Ok(profile), Some(contracts), Some(entitlements)) = (read, contracts, entitlements) else { return };
    let contracts = contracts.into_iter().map(Contract::from).collect();
    let entitlements = entitlements.into_iter().map(Entitlement::from).collect();
    let user = SesamyUser { profile, contracts, entitlements };

    if let Ok(Addressed { email, .. }) = Addressed::of(user.clone()) {
        assert!(address::is_usable(email.as_str()) && email.trimmed() == Some(email.as_str()));
    }
    let now = "2025-11-10T12:00:00Z".parse::<Timestamp>().unwrap();
    let tags = |user: &SesamyUser, at| tags::wanted(user, at).into_keys().collect::<BTreeSet<_>>();
    // Nothing but the profile's own tags comes from nothing.
    let of_profile = tags(&SesamyUser { profile: user.profile.clone(), ..SesamyUser::default() }, now);
    let wanted = tags(&user, now);
    assert!(wanted.is_superset(&of_profile));
    let named = user.profile.tags.iter().map(|tag| tag.trim()).collect::<BTreeSet<_>>();
    for tag in wanted.iter().filter(|tag| !named.contains(tag.as_str())) {
        super::tags::is_well_formed(tag);
    }
    let accesses = user.entitlements.iter().filter(|it| it.has_access).count();
    assert!(wanted.len() <= of_profile.len() + 5 + 3 * accesses);
    // With time, access ends; nothing begins.
    let later = tags(&user, "2035-01-01T00:00:00Z".parse().unwrap());
    assert!(wanted.is_superset(&later), "{later:?}");
    // What was bought once stays bought, with access or without.
    let once = "sesamy_made_single_purchase";
    assert_eq!(wanted.contains(once), later.contains(once));
    for source in Source::VARIANTS {
        let value = source.value(&user, now);
        assert!(value.is_none_or(|value| !value.is_empty() && value.trim() == value), "{source}");
    }
    assert!(of_profile.len() <= user.profile.tags.len());
}

/// All rows of a list, where its pages make one.
fn list<T: serde::de::DeserializeOwned>(resource: &'static str, mut data: &[u8]) -> Option<Vec<T>> {
    let (mut pages, mut sent) = (Pages::of(resource), 0);
    loop {
        let (page, rest) = cut(data, b"\n---\n");
        let value = match Body::of(Api::Sesamy, page).read::<Value>() {
            Ok(value) => value,
            Err(failure) => {
                quotes_nothing(&failure);
                return None;
            }
        };
        let named = |name: &str| value.get(name).and_then(Value::as_array);
        let rows = value.as_array().or_else(|| named("data")).or_else(|| named(resource)).map_or(0, Vec::len);
        let before = pages.offset();
        match pages.take(value) {
            Err(what) => {
                assert!(!what.contains(MARK));
                return None;
            }
            Ok(progress) => {
                sent += rows;
                assert_eq!(pages.offset(), before + rows);
                if progress == Progress::Complete {
                    let rows: Vec<Value> = pages.rows().unwrap();
                    assert!(rows.len() <= sent);
                    let ids: Vec<&str> = rows.iter().filter_map(|row| row.get("id")?.as_str()).collect();
                    assert_eq!(
                        ids.iter().collect::<BTreeSet<_>>().len(),
                        ids.len(),
                        "a row is counted twice"
                    );
                    return rows.into_iter().map(|row| serde_json::from_value(row).ok()).collect();
                }
                assert!(rows > 0, "to ask again after an empty page would never end");
            }
        }
        data = rest;
    }
}

pub(super) fn quotes_nothing(failure: &Failure) {
    let told = format!("{failure:?} {failure} {}", failure.answer());
    assert!(!told.contains(MARK), "{told}");
}

fn cut<'a>(data: &'a [u8], at: &[u8]) -> (&'a [u8], &'a [u8]) {
    match data.windows(at.len()).position(|window| window == at) {
        Some(start) => (&data[..start], &data[start + at.len()..]),
        None => (data, b""),
    }
}
