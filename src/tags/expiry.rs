//! When the wanted tags change by themselves, though nothing happens at Sesamy.
//!
//! Pure. What [`super::wanted`] says depends on the time only by `expiresAt` of an entitlement with access. Whether a
//! contract is in force is Sesamy's to say: its own end changes nothing here, but it is when to ask again.

use jiff::{SignedDuration, Timestamp};

use crate::model::{Contract, Entitlement, Origin, SesamyUser};

/// How often a contract is asked after that Sesamy still calls in force past its own end.
const ASKED_AGAIN_EVERY: SignedDuration = SignedDuration::from_hours(1);
/// For how long after its end. A contract that is still in force then goes on, whatever its date says.
const ASKED_AGAIN_FOR: SignedDuration = SignedDuration::from_hours(24);

/// The earliest moment after `now` at which [`super::wanted`] says something else though Sesamy says the same, or at which
/// Sesamy may well say something else because a contract comes to its end; `None` if there is no such moment.
pub fn next_change(user: &SesamyUser, now: Timestamp) -> Option<Timestamp> {
    let of_access = user.entitlements.iter().filter_map(|it| end_of_access(it, now));
    let of_contracts = user.contracts.iter().filter_map(|it| next_check(it, now));
    of_access.chain(of_contracts).min()
}

/// When the access that `entitlement` gives at `now` ends, if a tag goes with it. With that of a bought article none does:
/// the purchase was made for ever.
fn end_of_access(entitlement: &Entitlement, now: Timestamp) -> Option<Timestamp> {
    let carries_tags = !entitlement.is_article || entitlement.origin == Some(Origin::External);
    entitlement.ends_at.filter(|_| carries_tags && entitlement.gives_access_at(now))
}

/// When to check a contract in force: at each of its ends, and for a while after it. A date without a time is checked from
/// the beginning of that day to its end.
fn next_check(contract: &Contract, now: Timestamp) -> Option<Timestamp> {
    if !contract.is_active && !contract.is_overdue() {
        return None;
    }
    let ends = [contract.expires_at, contract.will_cancel_at].into_iter().flatten();
    ends.filter_map(|end| check_at_end(end, now)).min()
}

fn check_at_end(end: Timestamp, now: Timestamp) -> Option<Timestamp> {
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
