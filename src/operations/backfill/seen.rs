//! Who has been decided on, and by what: so a later look finds whom the first has missed, and who has changed since.
//!
//! Pure. No clock is asked whether somebody has changed where it can be seen without: ours and Sesamy's may differ.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use crate::clock::Millis;
use crate::user::UserId;

/// How far Sesamy's clock may be from ours, where nothing but times can tell whether somebody has changed.
pub const CLOCKS_DIFFER: Duration = Duration::from_secs(120);

/// What is known of users who were decided on.
#[derive(Debug, Default)]
pub struct Seen(HashMap<u64, Mark>);

/// What tells that a user was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The user's own `updatedAt`, in milliseconds since 1970.
    pub updated_at: Option<i64>,
    /// What [`Contracts::fingerprint`](super::contracts::Contracts::fingerprint) is; none where there is no list of all.
    pub contracts: Option<u64>,
}

impl Mark {
    /// Whether it tells that something has changed since `before`.
    fn differs_from(&self, before: &Self) -> bool {
        let contracts = self.contracts.zip(before.contracts);
        self.updated_at != before.updated_at || contracts.is_some_and(|(now, then)| now != then)
    }
}

impl Seen {
    /// Remembers that `user` was decided on when this was said.
    pub fn remember(&mut self, user: &UserId, mark: Mark) {
        self.0.insert(key(user), mark);
    }

    /// What was said when `user` was decided on.
    #[must_use]
    pub fn of(&self, user: &UserId) -> Option<Mark> {
        self.0.get(&key(user)).copied()
    }
}

/// Half as much to keep as the ids themselves. That two ids of a million have the same is a chance of one in 37 million.
fn key(user: &UserId) -> u64 {
    let mut hasher = DefaultHasher::new();
    user.hash(&mut hasher);
    hasher.finish()
}

/// Whether a look has to take a user whose row says `mark` now.
///
/// Shapes: `is_done`: synced well since the backfill began at `began`. `seen`: what was said when this process decided on
/// the user; none where it did not. Who is done by a process before, or by an event, is taken where the row's own times
/// say that it was changed since the backfill began; `changed_at` is the last of them, that of a contract included.
#[must_use]
pub fn is_wanted(
    is_done: bool,
    seen: Option<Mark>,
    mark: Mark,
    changed_at: Option<i64>,
    began: Millis,
) -> bool {
    match seen {
        Some(seen) => mark.differs_from(&seen),
        None if !is_done => true,
        None => changed_at.is_some_and(|at| Millis(at).plus(CLOCKS_DIFFER) >= began),
    }
}

/// Whether a user who was last changed at `changed_at` is within `--updated-since`, that is `since`. One of whom that is
/// not said may be, and clocks differ.
#[must_use]
pub fn is_recent(changed_at: Option<i64>, since: Option<Millis>) -> bool {
    match (changed_at, since) {
        (_, None) | (None, _) => true,
        (Some(at), Some(since)) => Millis(at).plus(CLOCKS_DIFFER) >= since,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGAN: Millis = Millis(1_800_000_000_000);

    fn mark(updated_at: Option<i64>, contracts: u64) -> Mark {
        Mark { updated_at, contracts: Some(contracts) }
    }

    #[test]
    fn who_is_told_of_otherwise_is_seen_to_have_changed() {
        let mut seen = Seen::default();
        let (a, b) = (UserId::new("a").unwrap(), UserId::new("b").unwrap());
        seen.remember(&a, mark(Some(7), 3));
        assert_eq!((seen.of(&a), seen.of(&b)), (Some(mark(Some(7), 3)), None));
    }

    #[test]
    fn a_look_takes_who_was_missed_or_has_changed() {
        let before = Some(BEGAN.0 - 120_001);
        let since = Some(BEGAN.0 - 120_000);
        for (what, is_done, seen, now, changed_at, wanted) in [
            ("missed", false, None, mark(None, 0), None, true),
            ("as it was", true, Some(mark(Some(7), 3)), mark(Some(7), 3), Some(7), false),
            ("as it was, and failed", false, Some(mark(Some(7), 3)), mark(Some(7), 3), Some(7), false),
            ("changed", true, Some(mark(Some(7), 3)), mark(Some(8), 3), Some(8), true),
            ("changed, and the time is gone", true, Some(mark(Some(7), 3)), mark(None, 3), None, true),
            (
                "no list of contracts",
                true,
                Some(mark(Some(7), 3)),
                Mark { updated_at: Some(7), contracts: None },
                None,
                false,
            ),
            ("another contract", true, Some(mark(Some(7), 3)), mark(Some(7), 4), Some(7), true),
            ("done before, unchanged", true, None, mark(before, 3), before, false),
            ("done before, nothing told", true, None, mark(None, 3), None, false),
            ("done before, changed since, clocks aside", true, None, mark(since, 3), since, true),
        ] {
            assert_eq!(is_wanted(is_done, seen, now, changed_at, BEGAN), wanted, "{what}");
        }
    }

    #[test]
    fn who_may_have_changed_since_then_is_recent() {
        for (changed_at, since, recent) in [
            (Some(5), None, true),
            (None, None, true),
            (None, Some(5), true),
            (Some(5), Some(5), true),
            (Some(200_000), Some(320_000), true),
            (Some(199_999), Some(320_000), false),
        ] {
            assert_eq!(is_recent(changed_at, since.map(Millis)), recent, "{changed_at:?} {since:?}");
        }
    }
}
