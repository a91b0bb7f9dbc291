//! A user that Sesamy does not know. If it knew the user before, a check a day later has to confirm it, because one odd answer
//! must cost nobody their tags. If it never did, the user may be about to appear, since a webhook can be quicker than the API:
//! a few checks follow.

use std::time::Duration;

use crate::clock::Millis;
use crate::model::LastSeen;
use crate::personal::Personal;

/// How long Sesamy has to go on saying so.
pub(super) const CONFIRMED_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// When to check again, counted from the event, for a user that Sesamy does not know yet.
const CHECKED_AFTER: [Duration; 4] = [
    Duration::from_secs(60),
    Duration::from_secs(10 * 60),
    Duration::from_secs(60 * 60),
    Duration::from_secs(24 * 60 * 60),
];

/// What follows from Sesamy not knowing a user.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Check<'a> {
    /// No check: no address is remembered, so there is nothing to take off, and the last check for a new user is over.
    None,
    /// Another check, then.
    At(Millis),
    /// The user is gone: our tags go from the contact of this address.
    Confirmed(&'a Personal),
}

/// What is remembered of a user that Sesamy does not know at `now`. A time in the future is from a clock that was wrong.
pub(super) fn missing(last_seen: &LastSeen, now: Millis) -> LastSeen {
    let since = last_seen.missing_since.map_or(now, |since| since.min(now));
    LastSeen { missing_since: Some(since), ..last_seen.clone() }
}

/// What follows at `now` for a user with this `last_seen`, this answer included.
pub(super) fn check(last_seen: &LastSeen, now: Millis) -> Check<'_> {
    let Some(since) = last_seen.missing_since else { return Check::None };
    let Some(email) = &last_seen.email else {
        let next = CHECKED_AFTER.into_iter().map(|after| since.plus(after)).find(|at| now < *at);
        return next.map_or(Check::None, Check::At);
    };
    let confirmed = since.plus(CONFIRMED_AFTER);
    if now < confirmed { Check::At(confirmed) } else { Check::Confirmed(email) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::personal::Personal;

    #[test]
    fn a_user_is_missing_since_the_first_answer_and_never_since_a_time_to_come() {
        for (before, since) in [(None, 50), (Some(Millis(20)), 20), (Some(Millis(80)), 50)] {
            let last_seen = LastSeen { missing_since: before, ..LastSeen::default() };
            assert_eq!(missing(&last_seen, Millis(50)).missing_since, Some(Millis(since)), "{before:?}");
        }
    }

    #[test]
    fn a_user_is_gone_once_sesamy_has_said_so_twice_a_day_apart() {
        let day = Millis(0).plus(CONFIRMED_AFTER);
        let kari = Personal::new("kari@example.com");
        let email = Some(kari.clone());
        for (email, since, now, expected) in [
            (email.clone(), Some(Millis(0)), Millis(0), Check::At(day)),
            (email.clone(), Some(Millis(0)), Millis(day.0 - 1), Check::At(day)),
            (email.clone(), Some(Millis(0)), day, Check::Confirmed(&kari)),
            (email, None, day, Check::None),
        ] {
            let last_seen = LastSeen { email, missing_since: since, ..LastSeen::default() };
            assert_eq!(check(&last_seen, now), expected, "{last_seen:?} at {now}");
        }
    }

    #[test]
    fn a_user_who_was_never_known_is_checked_four_times_within_a_day() {
        let last_seen = LastSeen { missing_since: Some(Millis(0)), ..LastSeen::default() };
        for (seconds, next) in [
            (0, Some(60)),
            (59, Some(60)),
            (60, Some(600)),
            (600, Some(3_600)),
            (3_599, Some(3_600)),
            (3_600, Some(86_400)),
            (86_400, None),
            (9_000_000, None),
        ] {
            let at = |seconds: i64| Millis(seconds * 1_000);
            let expected = next.map_or(Check::None, |next| Check::At(at(next)));
            assert_eq!(check(&last_seen, at(seconds)), expected, "after {seconds} s");
        }
    }
}
