//! When the wanted tags change by themselves, though nothing happens at Sesamy.
//!
//! Pure. What [`super::reasons`] says depends on the time only by `expiresAt` of an entitlement with access. Whether a
//! contract is in force is Sesamy's to say: its own end changes nothing here, but it is when to ask again.

use jiff::{SignedDuration, Timestamp};

use super::{is_article, is_overdue, origin_is};
use crate::sesamy::models::{Contract, Entitlement, moment};

/// How often a contract is asked after that Sesamy still calls in force past its own end.
const ASKED_AGAIN_EVERY: SignedDuration = SignedDuration::from_hours(1);
/// For how long after its end. A contract that is still in force then goes on, whatever its date says.
const ASKED_AGAIN_FOR: SignedDuration = SignedDuration::from_hours(24);

/// The earliest moment after `now` at which [`super::reasons`] says something else though Sesamy says the same, or at
/// which Sesamy may well say something else because a contract comes to its end; none where there is no such moment.
///
/// A time that cannot be read is as if absent, as it is for the tags.
#[must_use]
pub fn next_change(
    contracts: &[Contract],
    entitlements: &[Entitlement],
    now: Timestamp,
) -> Option<Timestamp> {
    let of_access = entitlements.iter().filter_map(|it| end_of_access(it, now));
    let of_contracts = contracts.iter().filter_map(|it| next_look(it, now));
    of_access.chain(of_contracts).min()
}

/// When the access that `entitlement` gives at `now` ends, where a tag goes with it. With that of a bought article none
/// does: the purchase was made for ever.
fn end_of_access(entitlement: &Entitlement, now: Timestamp) -> Option<Timestamp> {
    let carries_tags = !is_article(entitlement) || origin_is(entitlement, "EXTERNAL");
    let end = entitlement.ends_at()?;
    (entitlement.has_access == Some(true) && carries_tags && now < end).then_some(end)
}

/// When to look at a contract in force: at each of its ends, and for a while after it. A date without a time is looked at
/// from the beginning of that day to its end.
fn next_look(contract: &Contract, now: Timestamp) -> Option<Timestamp> {
    if contract.is_active != Some(true) && !is_overdue(contract) {
        return None;
    }
    let ends = [&contract.expires_at, &contract.will_cancel_at];
    let ends = ends.into_iter().filter_map(|text| moment(text.as_deref()?));
    ends.filter_map(|end| look_at_end(end, now)).min()
}

fn look_at_end(end: Timestamp, now: Timestamp) -> Option<Timestamp> {
    if now < end {
        return Some(end);
    }
    let past = now.duration_since(end);
    if past >= ASKED_AGAIN_FOR {
        return None;
    }
    let times = i32::try_from(past.as_secs() / ASKED_AGAIN_EVERY.as_secs()).ok()?;
    end.checked_add(ASKED_AGAIN_EVERY.checked_mul(times + 1)?).ok()
}

#[cfg(test)]
mod tests;
