//! When the wanted tags change by themselves, though nothing happens at Sesamy.

use jiff::Timestamp;

use super::{access, expiry};
use crate::sesamy::models::{Contract, Entitlement};

/// The earliest moment after `now` at which the tags of [`super::reasons`] are others, though Sesamy says the same; none
/// where there is no such moment.
#[must_use]
pub fn next_change(
    _contracts: &[Contract],
    entitlements: &[Entitlement],
    now: Timestamp,
) -> Option<Timestamp> {
    entitlements.iter().filter(|it| access(it, now).is_some()).filter_map(expiry).min()
}
