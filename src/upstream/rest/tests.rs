//! Each rest's story, on a clock that is moved by hand.

mod sharing;

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

struct Story {
    clock: Clock,
    rest: Rest,
}

fn story() -> Story {
    let clock = Clock::manual(Millis(1_000_000));
    Story { rest: rest_on(&clock), clock }
}

fn rest_on(clock: &Clock) -> Rest {
    let policy = Policy { base: Duration::from_secs(2), cap: 15 * MINUTE };
    Rest::new(Api::Mailmojo, policy, clock.clone())
}

impl Story {
    fn transient(&self, user: &str) -> Blame {
        self.rest.failed(&id(user), Class::Transient, "0 timeout")
    }

    fn permanent(&self, user: &str, answer: &str) -> Blame {
        self.rest.failed(&id(user), Class::Permanent, answer)
    }

    fn in_(&self, seconds: u64) -> Millis {
        self.clock.now().plus(Duration::from_secs(seconds))
    }
}

fn id(user: &str) -> UserId {
    UserId::new(user).unwrap()
}

#[test]
fn five_different_users_in_a_row_are_an_outage_and_get_their_attempts_back() {
    let it = story();
    for user in ["a", "b", "a", "c", "d"] {
        assert_eq!(it.transient(user), Blame::User);
    }
    let give_back = ["a", "a", "b", "c", "d"].map(id).to_vec();
    assert_eq!(it.transient("e"), Blame::Api { give_back });
    assert_eq!(it.rest.admission(), Admission::NotBefore(it.in_(2)));
    assert_eq!(it.rest.snapshot().why, Some("outage"));
}

#[test]
fn one_user_who_fails_five_times_is_no_outage() {
    let it = story();
    for _ in 0..9 {
        assert_eq!(it.transient("a"), Blame::User);
    }
    assert_eq!(it.rest.admission(), Admission::Open);
}

#[test]
fn a_success_between_breaks_the_row() {
    let it = story();
    for user in ["a", "b", "c", "d"] {
        it.transient(user);
    }
    it.rest.succeeded(&id("x"));
    assert_eq!(it.transient("e"), Blame::User);
}

#[test]
fn odd_users_with_different_answers_are_no_outage() {
    let it = story();
    for user in ["a", "b", "c", "d", "e", "f"] {
        assert_eq!(it.permanent(user, &format!("422 {user}")), Blame::User);
    }
    for user in ["a", "b", "c", "d"] {
        assert_eq!(it.permanent(user, "400 list is closed"), Blame::User);
    }
    assert!(matches!(it.permanent("e", "400 list is closed"), Blame::Api { .. }));
}

#[test]
fn an_outage_sends_one_probe_at_a_time_and_doubles_its_rest_until_one_gets_through() {
    let it = story();
    for user in ["a", "b", "c", "d", "e"] {
        it.transient(user);
    }
    let first_end = it.in_(2);
    assert_eq!(it.transient("under way"), Blame::Api { give_back: vec![] });
    assert_eq!(it.rest.admission(), Admission::NotBefore(first_end));
    for (probe, rest) in [("f", 4), ("g", 8), ("h", 16)] {
        it.clock.advance(15 * MINUTE);
        assert_eq!(it.rest.admission(), Admission::OneProbe);
        assert_eq!(it.transient(probe), Blame::Api { give_back: vec![] });
        assert_eq!(it.rest.admission(), Admission::NotBefore(it.in_(rest)));
    }
    it.clock.advance(15 * MINUTE);
    it.rest.succeeded(&id("i"));
    assert_eq!(it.rest.admission(), Admission::Open);
    assert_eq!(it.transient("a"), Blame::User);
}

#[test]
fn a_probe_that_fails_for_its_own_reason_ends_the_outage() {
    let it = story();
    for user in ["a", "b", "c", "d", "e"] {
        it.permanent(user, "400 list is closed");
    }
    it.clock.advance(MINUTE);
    assert!(matches!(it.transient("f"), Blame::Api { .. }), "a time-out is no sign of health");
    it.clock.advance(MINUTE);
    assert!(matches!(it.permanent("g", "400 list is closed"), Blame::Api { .. }));
    it.clock.advance(MINUTE);
    assert_eq!(it.permanent("h", "422 odd address"), Blame::User);
    assert_eq!(it.rest.admission(), Admission::Open);
}

#[test]
fn an_answer_that_sends_us_away_ends_an_outage_and_begins_its_own_rest() {
    let it = story();
    for user in ["a", "b", "c", "d", "e"] {
        it.transient(user);
    }
    it.clock.advance(MINUTE);
    it.rest.rate_limited(Some(MINUTE));
    assert_eq!(it.rest.snapshot().why, Some("rate_limit"));
    it.clock.advance(MINUTE);
    assert_eq!(it.rest.admission(), Admission::Open);
    assert_eq!(it.transient("f"), Blame::User);
}

#[test]
fn users_who_go_on_failing_alike_while_somebody_else_succeeds_are_at_fault_after_all() {
    let it = story();
    for user in ["a", "b", "c", "d", "e"] {
        it.permanent(user, "422 odd address");
    }
    it.clock.advance(MINUTE);
    it.permanent("probe", "422 odd address");
    it.clock.advance(MINUTE);
    it.rest.succeeded(&id("somebody else"));
    for user in ["a", "b", "c", "d", "e", "probe"] {
        assert_eq!(it.permanent(user, "422 odd address"), Blame::User);
    }
    assert_eq!(it.rest.admission(), Admission::Open);
    it.rest.succeeded(&id("a"));
    for user in ["a", "f", "g", "h"] {
        assert_eq!(it.permanent(user, "422 odd address"), Blame::User);
    }
    assert!(matches!(it.permanent("i", "422 odd address"), Blame::Api { .. }), "another outage");
}

#[test]
fn users_who_fail_again_after_one_of_them_has_succeeded_are_another_outage() {
    let it = story();
    for user in ["a", "b", "c", "d", "e"] {
        it.transient(user);
    }
    it.clock.advance(MINUTE);
    it.rest.succeeded(&id("a"));
    for user in ["b", "c", "d", "e"] {
        assert_eq!(it.transient(user), Blame::User);
    }
    assert!(matches!(it.transient("a"), Blame::Api { .. }));
}

#[test]
fn a_429_rests_for_as_long_as_asked_and_then_opens_for_everybody() {
    for (asked, rest) in [(60, 60), (0, 1), (86_400, 3_600)] {
        let it = story();
        let until = it.rest.rate_limited(Some(Duration::from_secs(asked)));
        assert_eq!(until, it.in_(rest));
        assert!(it.rest.check().is_err());
        it.clock.advance(Duration::from_secs(rest));
        assert_eq!(it.rest.admission(), Admission::Open);
        assert!(it.rest.check().is_ok());
    }
}

#[test]
fn of_two_429s_the_longer_counts() {
    let it = story();
    it.rest.rate_limited(Some(Duration::from_secs(10)));
    assert_eq!(it.rest.rate_limited(Some(Duration::from_secs(60))), it.in_(60));
    assert_eq!(it.rest.rate_limited(Some(Duration::from_secs(10))), it.in_(60));
}

#[test]
fn a_429_without_a_time_backs_off() {
    let it = story();
    for rest in [2, 4, 8] {
        assert_eq!(it.rest.rate_limited(None), it.in_(rest));
        it.clock.advance(MINUTE);
    }
    it.rest.succeeded(&id("a"));
    let end = it.in_(2);
    assert_eq!(it.rest.rate_limited(None), end);
    it.clock.advance(Duration::from_secs(1));
    assert_eq!(it.rest.rate_limited(None), end, "a call that was under way");
}

#[test]
fn refused_credentials_rest_for_the_cap_and_are_probed_until_they_work() {
    let it = story();
    it.rest.refused(Why::Credentials, "403");
    assert_eq!(it.rest.admission(), Admission::NotBefore(it.in_(15 * 60)));
    it.rest.succeeded(&id("was under way"));
    assert_eq!(it.rest.admission(), Admission::NotBefore(it.in_(15 * 60)));
    it.clock.advance(15 * MINUTE);
    assert_eq!(it.rest.admission(), Admission::OneProbe);
    it.rest.refused(Why::Credentials, "403");
    assert_eq!(it.rest.admission(), Admission::NotBefore(it.in_(15 * 60)));
    it.clock.advance(15 * MINUTE);
    it.rest.succeeded(&id("probe"));
    assert_eq!(it.rest.admission(), Admission::Open);
}

#[test]
fn a_429_on_the_way_of_a_probe_does_not_clear_the_credentials() {
    let it = story();
    it.rest.refused(Why::Credentials, "403");
    it.clock.advance(15 * MINUTE);
    assert_eq!(it.rest.rate_limited(Some(MINUTE)), it.in_(60));
    it.clock.advance(MINUTE);
    assert_eq!(it.rest.admission(), Admission::OneProbe);
    assert_eq!(it.rest.snapshot().why, Some("credentials"));
}

#[test]
fn a_user_is_at_fault_only_if_others_got_through_meanwhile() {
    let it = story();
    let since = it.clock.now();
    assert!(!it.rest.others_succeeded_since(&id("a"), since));
    it.rest.succeeded(&id("a"));
    assert!(!it.rest.others_succeeded_since(&id("a"), since));
    it.rest.succeeded(&id("b"));
    assert!(it.rest.others_succeeded_since(&id("a"), since));
    it.clock.advance(MINUTE);
    assert!(!it.rest.others_succeeded_since(&id("a"), it.clock.now()));
}

#[test]
fn an_hour_without_a_token_is_probed_four_times_and_counts_against_nobody() {
    let it = story();
    it.rest.refused(Why::Credentials, "the token endpoint did not answer");
    let (ends, mut probes) = (it.in_(60 * 60), 0);
    while it.clock.now() < ends {
        it.clock.advance(Duration::from_secs(1));
        if it.rest.admission() == Admission::OneProbe {
            probes += 1;
            it.rest.refused(Why::Credentials, "the token endpoint did not answer");
            assert_eq!(
                it.rest.failed(&id("a"), Class::Resting, "no token"),
                Blame::Api { give_back: vec![] }
            );
            assert_eq!(it.rest.admission(), Admission::NotBefore(it.in_(15 * 60)));
        }
    }
    assert_eq!(probes, 4);
    it.clock.advance(15 * MINUTE);
    it.rest.succeeded(&id("a"));
    assert_eq!(it.rest.admission(), Admission::Open);
}
