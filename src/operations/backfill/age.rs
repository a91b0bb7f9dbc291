//! How old the data of a write may be, and which way of making it younger costs fewer calls.
//!
//! Pure: moments are passed in.

use std::time::Duration;

use crate::clock::Millis;

/// The oldest that anything may be that a write follows from. What a page said is older than what the user's own paths
/// say: within this time nobody is surprised by a tag of a while ago, and events go before in any case.
pub const OLDEST: Duration = Duration::from_secs(10 * 60);

/// When what is known of a user was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadAt {
    /// The page of the list of users.
    pub profile: Millis,
    /// The first page of the list of contracts: that a user has no others is known as of then. None where the user's own
    /// contracts are read.
    pub contracts: Option<Millis>,
}

/// What has to be read again before a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TooOld {
    /// The profile.
    pub profile: bool,
    /// The contracts.
    pub contracts: bool,
}

impl ReadAt {
    /// The moment that all of it is no older than.
    #[must_use]
    pub fn oldest(&self) -> Millis {
        self.contracts.map_or(self.profile, |contracts| contracts.min(self.profile))
    }

    /// What may not be written from at `now`.
    #[must_use]
    pub fn too_old(&self, now: Millis) -> TooOld {
        TooOld {
            profile: is_too_old(self.profile, now),
            contracts: self.contracts.is_some_and(|at| is_too_old(at, now)),
        }
    }
}

impl TooOld {
    /// Whether there is any.
    #[must_use]
    pub fn any(self) -> bool {
        self.profile || self.contracts
    }
}

/// Whether what was asked for at `at` is older than [`OLDEST`] at `now`.
#[must_use]
pub fn is_too_old(at: Millis, now: Millis) -> bool {
    now.since(at) > OLDEST
}

/// Whether to list all contracts again, now that they are too old to write from, rather than to read those of each user
/// who needs a write: whether it costs fewer calls.
///
/// Shapes: `pages` is what a listing takes, `users_left` how many are still to come, and of `synced` so far `written`
/// needed a write. `per_minute` is the background's share of Sesamy's rate. A listing is good for [`OLDEST`], from its
/// first page on, and each user costs a call (the entitlements) in any case.
#[must_use]
pub fn listing_again_pays(
    pages: usize,
    users_left: usize,
    synced: u64,
    written: u64,
    per_minute: u32,
) -> bool {
    let calls = per_minute as usize * (OLDEST.as_secs() / 60) as usize;
    let users = users_left.min(calls.saturating_sub(pages));
    let (pages, users) = (pages as u128, users as u128);
    pages * u128::from(synced.max(1)) < users * u128::from(written.min(synced))
}

/// How long a backfill of so many users takes at the least, where `per_minute` is the background's share of each API's rate
/// and everybody takes so many calls.
#[must_use]
pub fn shortest(
    users: usize,
    calls_each: crate::upstream::PerApi<f64>,
    per_minute: crate::upstream::PerApi<u32>,
) -> Duration {
    let minutes = |each: f64, rate: u32| users as f64 * each / f64::from(rate.max(1));
    let minutes =
        minutes(calls_each.sesamy, per_minute.sesamy).max(minutes(calls_each.mailmojo, per_minute.mailmojo));
    Duration::try_from_secs_f64(minutes * 60.0).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::PerApi;
    use proptest::prelude::*;

    const NOW: Millis = Millis(1_800_000_000_000);

    fn ago(seconds: i64, millis: i64) -> Millis {
        Millis(NOW.0 - seconds * 1_000 - millis)
    }

    #[test]
    fn a_write_follows_from_nothing_that_is_older_than_ten_minutes() {
        for (asked_at, too_old) in [
            (ago(0, 0), false),
            (ago(599, 0), false),
            (ago(600, 0), false),
            (ago(600, 1), true),
            (ago(601, 0), true),
            (ago(-30, 0), false),
        ] {
            assert_eq!(is_too_old(asked_at, NOW), too_old, "{asked_at}");
        }
    }

    #[test]
    fn each_part_is_as_old_as_its_own_page() {
        for (profile, contracts, expected) in [
            (0, Some(0), (false, false)),
            (601, Some(0), (true, false)),
            (0, Some(601), (false, true)),
            (0, None, (false, false)),
            (601, None, (true, false)),
        ] {
            let read_at = ReadAt { profile: ago(profile, 0), contracts: contracts.map(|it| ago(it, 0)) };
            let too_old = read_at.too_old(NOW);
            assert_eq!((too_old.profile, too_old.contracts), expected);
            assert_eq!(too_old.any(), expected != (false, false));
            assert_eq!(read_at.oldest(), ago(profile.max(contracts.unwrap_or(0)), 0));
        }
    }

    #[test]
    fn contracts_are_listed_again_where_that_costs_fewer_calls() {
        for (what, pages, left, synced, written, pays) in [
            ("a small list and everybody written", 50, 4_500, 400, 400, true),
            ("a few left", 50, 40, 400, 400, false),
            ("hardly anybody needs a write", 50, 4_500, 400, 20, false),
            ("a tenth does", 4, 400, 400, 40, true),
            ("a listing takes half of its own life", 240, 100_000, 400, 400, false),
            ("a listing is too old once it is read", 1_000, 100_000, 400, 400, false),
            ("nothing is known yet", 1, 100, 0, 0, false),
            ("there are no contracts", 0, 100, 10, 1, true),
        ] {
            assert_eq!(listing_again_pays(pages, left, synced, written, 47), pays, "{what}");
        }
    }

    proptest! {
        /// Listing again never costs more calls than it saves, were the rest as what was synced so far.
        #[test]
        fn to_list_again_saves_calls(
            pages in 0_usize..2_000, left in 0_usize..200_000, synced in 0_u64..5_000, share in 0.0_f64..=1.0, rate in 1_u32..1_000,
        ) {
            let written = (synced as f64 * share) as u64;
            if listing_again_pays(pages, left, synced, written, rate) {
                let users = left.min((rate as usize * 10).saturating_sub(pages)) as f64;
                prop_assert!((pages as f64) < users * written as f64 / synced.max(1) as f64 + 1e-6);
            }
        }
    }

    #[test]
    fn the_api_that_is_slower_for_it_tells_how_long_it_takes() {
        let rates = PerApi { sesamy: 47, mailmojo: 150 };
        for (users, sesamy, mailmojo, minutes) in
            [(4_700, 1.0, 2.0, 100), (4_700, 0.02, 2.0, 62), (0, 1.0, 2.0, 0), (1_000_000, 1.0, 2.0, 21_276)]
        {
            let took = shortest(users, PerApi { sesamy, mailmojo }, rates);
            assert_eq!(took.as_secs() / 60, minutes, "{users} {sesamy} {mailmojo}");
        }
    }
}
