//! The life of a circuit, on a clock that is moved by hand.

use super::*;
use crate::upstream::Api;
use proptest::prelude::*;

const MINUTE: Duration = Duration::from_secs(60);
const BACKOFF: Backoff = Backoff { base: Duration::from_secs(2), cap: Duration::from_secs(15 * 60) };
const CREDENTIALS: Class = Class::Refused(OpenReason::Credentials);
const USERS: [&str; 5] = ["a", "b", "c", "d", "e"];
const CLOSED_LIST: &str = "400 list is closed";

struct Story {
    now: Millis,
    breaker: Breaker,
}

fn story() -> Story {
    Story { now: Millis(1_000_000), breaker: Breaker::default() }
}

fn call(kind: CallKind, class: Class, answer: &str) -> FailedCall {
    FailedCall { kind, class, message: answer.to_owned(), answer: answer.to_owned(), is_api_well: None }
}

impl Story {
    fn fails(&mut self, user: &str, call: &FailedCall) -> Blame {
        self.breaker.failed(user, call, self.now, &BACKOFF)
    }

    fn read_fails(&mut self, user: &str, class: Class, answer: &str) -> Blame {
        self.fails(user, &call(CallKind::Read, class, answer))
    }

    fn transient(&mut self, user: &str) -> Blame {
        self.read_fails(user, Class::Transient, "0 timeout")
    }

    fn permanent(&mut self, user: &str, answer: &str) -> Blame {
        self.read_fails(user, Class::Permanent, answer)
    }

    fn refused(&mut self, user: &str) -> Blame {
        self.read_fails(user, CREDENTIALS, "403")
    }

    fn rate_limited(&mut self, asked: Option<Duration>) -> Millis {
        self.read_fails("a", Class::RateLimited(asked), "429");
        self.breaker.open(CallKind::Read).unwrap().1
    }

    fn succeeds(&mut self, user: &str) {
        self.breaker.succeeded(CallKind::Read, user, self.now);
    }

    fn outage_of_five(&mut self) {
        USERS.iter().for_each(|user| drop(self.transient(user)));
        assert_eq!(self.why(), Some("outage"));
    }

    fn why(&self) -> Option<&'static str> {
        self.breaker.status(Api::Mailmojo, self.now).why
    }

    fn admission(&self) -> Admission {
        self.breaker.admission(self.now)
    }

    fn advance(&mut self, by: Duration) {
        self.now = self.now.plus(by);
    }

    fn later(&self, seconds: u64) -> Millis {
        self.now.plus(Duration::from_secs(seconds))
    }

    fn free(&self) -> Blame {
        Blame::api(self.now)
    }
}

#[test]
fn five_different_users_in_a_row_are_an_outage_and_get_their_attempts_back() {
    let mut it = story();
    for user in ["a", "b", "a", "c", "d"] {
        assert_eq!(it.transient(user), Blame::User);
    }
    let give_back = [("a", 2), ("b", 1), ("c", 1), ("d", 1)].map(|(user, times)| (user.to_owned(), times));
    assert_eq!(it.transient("e"), Blame::Api { at: it.now, give_back: give_back.to_vec() });
    assert_eq!(it.admission(), Admission::NotBefore(it.later(2)));
    assert_eq!(it.why(), Some("outage"));
}

#[test]
fn one_user_who_fails_many_times_is_no_outage() {
    let mut it = story();
    for _ in 0..9 {
        assert_eq!(it.transient("a"), Blame::User);
    }
    assert_eq!(it.admission(), Admission::All);
}

#[test]
fn a_success_of_the_same_kind_of_call_breaks_the_row_and_of_the_other_kind_does_not() {
    for (kind, is_outage) in [(CallKind::Read, true), (CallKind::Write, false)] {
        let mut it = story();
        let write = call(CallKind::Write, Class::Transient, "503");
        for user in &USERS[..4] {
            it.fails(user, &write);
        }
        it.breaker.succeeded(kind, "x", it.now);
        it.fails("e", &write);
        assert_eq!(it.breaker.open(CallKind::Write).is_some(), is_outage, "{kind:?}");
        assert_eq!(it.admission(), Admission::All, "reads go on");
    }
}

#[test]
fn a_user_who_cannot_write_waits_for_the_circuit_of_writes() {
    let mut it = story();
    let write = call(CallKind::Write, Class::Transient, "503");
    let blames = USERS.map(|user| it.fails(user, &write));
    assert!(matches!(&blames[4], Blame::Api { at, .. } if *at == it.later(4)), "{blames:?}");
    let not_called = call(CallKind::Write, Class::NotCalled, "");
    assert_eq!(it.fails("f", &not_called), Blame::api(it.later(2)));
    it.advance(MINUTE);
    assert_eq!(it.fails("f", &not_called), Blame::api(it.later(2)), "another user's write is the probe");
    it.breaker.succeeded(CallKind::Read, "x", it.now);
    assert_eq!(it.fails("g", &write), Blame::api(it.later(6)), "a success of a read closes nothing");
    assert_eq!(it.fails("h", &not_called), Blame::api(it.later(4)), "before those who have failed");
    it.advance(MINUTE);
    it.breaker.succeeded(CallKind::Write, "x", it.now);
    assert_eq!(it.fails("f", &not_called), it.free());
    assert_eq!(it.why(), None);
}

#[test]
fn odd_users_with_different_answers_are_no_outage() {
    let mut it = story();
    for user in ["a", "b", "c", "d", "e", "f"] {
        assert_eq!(it.permanent(user, &format!("422 {user}")), Blame::User);
    }
    for user in &USERS[..4] {
        assert_eq!(it.permanent(user, CLOSED_LIST), Blame::User);
    }
    assert!(matches!(it.permanent("e", CLOSED_LIST), Blame::Api { .. }));
}

#[test]
fn an_outage_is_probed_by_one_user_at_a_time_and_lasts_twice_as_long_until_one_gets_through() {
    let mut it = story();
    it.outage_of_five();
    let first_end = it.later(2);
    assert_eq!(it.transient("under way"), it.free());
    assert_eq!(it.admission(), Admission::NotBefore(first_end));
    for (probe, wait) in [("f", 4), ("g", 8), ("h", 16)] {
        it.advance(15 * MINUTE);
        assert_eq!(it.admission(), Admission::OneProbe);
        let lease_end = it.later(110);
        it.breaker.begin_probe("lease", lease_end);
        assert_eq!(it.admission(), Admission::NotBefore(lease_end), "one at a time");
        it.breaker.end_probe("another lease");
        assert_eq!(it.admission(), Admission::NotBefore(lease_end));
        it.breaker.end_probe("lease");
        assert_eq!(it.transient(probe), it.free());
        assert_eq!(it.admission(), Admission::NotBefore(it.later(wait)));
        assert!(it.breaker.has_failed(probe));
    }
    it.advance(15 * MINUTE);
    it.succeeds("i");
    assert_eq!(it.admission(), Admission::All);
}

#[test]
fn a_probe_that_fails_for_its_own_reason_ends_the_outage() {
    let mut it = story();
    USERS.iter().for_each(|user| drop(it.permanent(user, CLOSED_LIST)));
    it.advance(MINUTE);
    assert!(matches!(it.transient("f"), Blame::Api { .. }), "a time-out is no sign of health");
    it.advance(MINUTE);
    assert!(matches!(it.permanent("g", CLOSED_LIST), Blame::Api { .. }));
    it.advance(MINUTE);
    assert_eq!(it.permanent("h", "422 odd address"), Blame::User);
    assert_eq!(it.admission(), Admission::All);
}

#[test]
fn where_a_harmless_call_succeeds_the_users_are_odd_and_hold_nobody_up() {
    let mut it = story();
    let odd = |is_api_well| FailedCall {
        is_api_well,
        ..call(CallKind::Read, Class::Transient, "the answer has the wrong shape")
    };
    USERS.iter().for_each(|user| drop(it.fails(user, &odd(None))));
    it.advance(MINUTE);
    assert_eq!(it.fails("f", &odd(Some(false))), it.free(), "the API is down");
    it.advance(MINUTE);
    assert_eq!(it.fails("g", &odd(Some(true))), Blame::UserUnproven);
    assert_eq!(it.admission(), Admission::All);
    for number in 0..40 {
        assert_eq!(it.fails(&format!("reader-{number}"), &odd(None)), Blame::UserUnproven);
    }
    assert_eq!(it.admission(), Admission::All);
    USERS.iter().for_each(|user| drop(it.transient(user)));
    it.advance(BACKOFF.cap);
    let others = ["v", "w", "x", "y", "z"].map(|user| it.fails(user, &odd(None)));
    assert!(matches!(others[4], Blame::Api { .. }), "after a while it is found out anew: {others:?}");
}

#[test]
fn a_refusal_ends_an_outage_and_opens_the_circuit_for_its_own_reason() {
    let mut it = story();
    it.outage_of_five();
    it.advance(MINUTE);
    it.rate_limited(Some(MINUTE));
    assert_eq!(it.why(), Some("rate_limit"));
    it.advance(MINUTE);
    assert_eq!(it.admission(), Admission::All);
    assert_eq!(it.transient("f"), Blame::User);
}

#[test]
fn users_who_go_on_failing_alike_while_another_user_succeeds_are_at_fault_after_all() {
    let mut it = story();
    let odd = "422 odd address";
    USERS.iter().for_each(|user| drop(it.permanent(user, odd)));
    it.advance(MINUTE);
    it.permanent("probe", odd);
    it.advance(MINUTE);
    it.succeeds("another user");
    for user in ["a", "b", "c", "d", "e", "probe"] {
        assert_eq!(it.permanent(user, odd), Blame::User);
    }
    assert_eq!(it.admission(), Admission::All);
    it.succeeds("a");
    for user in ["a", "f", "g", "h"] {
        assert_eq!(it.permanent(user, odd), Blame::User);
    }
    assert!(matches!(it.permanent("i", odd), Blame::Api { .. }), "another outage");
}

#[test]
fn users_who_fail_again_after_one_of_them_has_succeeded_are_another_outage() {
    let mut it = story();
    it.outage_of_five();
    it.advance(MINUTE);
    it.succeeds("a");
    for user in ["b", "c", "d", "e"] {
        assert_eq!(it.transient(user), Blame::User);
    }
    assert!(matches!(it.transient("a"), Blame::Api { .. }));
}

#[test]
fn after_a_429_the_circuit_is_open_for_as_long_as_asked_and_then_closed_for_everybody() {
    for (asked, wait) in [(60, 60), (0, 1), (86_400, 3_600)] {
        let mut it = story();
        assert_eq!(it.rate_limited(Some(Duration::from_secs(asked))), it.later(wait));
        assert_eq!(it.admission(), Admission::NotBefore(it.later(wait)));
        it.advance(Duration::from_secs(wait));
        assert_eq!(it.admission(), Admission::All);
        assert_eq!(it.why(), None);
    }
}

#[test]
fn a_429_to_a_write_holds_up_reads_too() {
    let mut it = story();
    it.fails("a", &call(CallKind::Write, Class::RateLimited(Some(MINUTE)), "429"));
    assert_eq!(it.admission(), Admission::NotBefore(it.later(60)));
}

#[test]
fn of_two_429s_the_longer_counts() {
    let mut it = story();
    it.rate_limited(Some(Duration::from_secs(10)));
    assert_eq!(it.rate_limited(Some(MINUTE)), it.later(60));
    assert_eq!(it.rate_limited(Some(Duration::from_secs(10))), it.later(60));
}

#[test]
fn a_429_without_a_time_backs_off() {
    let mut it = story();
    for wait in [2, 4, 8] {
        assert_eq!(it.rate_limited(None), it.later(wait));
        it.advance(MINUTE);
    }
    it.succeeds("a");
    let end = it.later(2);
    assert_eq!(it.rate_limited(None), end);
    it.advance(Duration::from_secs(1));
    assert_eq!(it.rate_limited(None), end, "a call that was under way");
}

#[test]
fn refused_credentials_open_the_circuit_for_the_cap_and_are_probed_until_they_work() {
    let mut it = story();
    let end = it.later(15 * 60);
    assert_eq!(it.refused("a"), it.free());
    assert_eq!(it.admission(), Admission::NotBefore(end));
    it.succeeds("was under way");
    it.advance(MINUTE);
    it.refused("was under way too");
    assert_eq!(it.admission(), Admission::NotBefore(end));
    it.advance(15 * MINUTE);
    assert_eq!(it.admission(), Admission::OneProbe);
    assert_eq!(it.refused("b"), it.free());
    assert_eq!(it.admission(), Admission::NotBefore(it.later(15 * 60)));
    it.advance(15 * MINUTE);
    it.succeeds("probe");
    assert_eq!(it.admission(), Admission::All);
}

#[test]
fn one_user_who_is_refused_time_and_again_holds_up_no_other_probe() {
    let mut it = story();
    it.refused("a");
    it.advance(15 * MINUTE);
    assert_eq!(it.refused("a"), Blame::api(it.later(15 * 60)));
    assert_eq!(it.admission(), Admission::OneProbe, "another user may try at once");
    it.succeeds("b");
    for answer in ["403", "403"] {
        assert_eq!(it.read_fails("a", CREDENTIALS, answer), Blame::User);
    }
    assert_eq!(it.admission(), Admission::All);
    it.read_fails("a", Class::Refused(OpenReason::Configuration), "405");
    assert_eq!(it.why(), Some("configuration"), "another refusal");
}

#[test]
fn refused_writes_hold_up_no_reads() {
    let mut it = story();
    let blame = it.fails("a", &call(CallKind::Write, CREDENTIALS, "403"));
    assert_eq!(blame, Blame::api(it.later(15 * 60 + 2)));
    assert_eq!(it.admission(), Admission::All);
    assert_eq!(it.why(), Some("credentials"), "people see it");
}

#[test]
fn a_429_to_a_probe_does_not_clear_the_credentials() {
    let mut it = story();
    it.refused("a");
    it.advance(15 * MINUTE);
    assert_eq!(it.rate_limited(Some(MINUTE)), it.later(60));
    it.advance(MINUTE);
    assert_eq!(it.admission(), Admission::OneProbe);
    assert_eq!(it.why(), Some("credentials"));
}

#[test]
fn a_user_is_at_fault_only_if_others_got_through_meanwhile() {
    let mut it = story();
    let since = it.now;
    let others = |it: &Story, since| it.breaker.others_succeeded_since(CallKind::Read, "a", since);
    assert!(!others(&it, since));
    it.succeeds("a");
    assert!(!others(&it, since));
    it.succeeds("b");
    assert!(others(&it, since));
    it.advance(MINUTE);
    assert!(!others(&it, it.now));
}

#[test]
fn an_hour_without_a_token_is_an_outage_that_counts_against_nobody() {
    let mut it = story();
    let (ends, mut probes) = (it.later(60 * 60), 0);
    it.read_fails("a", Class::NoToken, "the token endpoint did not answer");
    assert_eq!((it.why(), it.admission()), (Some("outage"), Admission::NotBefore(it.later(2))));
    it.succeeds("was under way");
    assert_eq!(it.admission(), Admission::NotBefore(it.later(2)), "it had a token");
    while it.now < ends {
        it.advance(Duration::from_secs(1));
        if it.admission() == Admission::OneProbe {
            probes += 1;
            assert_eq!(it.read_fails("a", Class::NoToken, "no token"), it.free());
        }
    }
    assert_eq!(probes, 11, "after 2, 4, 8 … 512 s, and then every 15 minutes");
    it.advance(15 * MINUTE);
    assert_eq!(it.transient("b"), Blame::User, "there was a token for this call");
    assert_eq!(it.admission(), Admission::All);
}

#[test]
fn a_start_closes_both_circuits_and_a_forgotten_user_leaves_no_trace() {
    let mut it = story();
    it.refused("kari");
    it.fails("kari", &call(CallKind::Write, CREDENTIALS, "403"));
    it.breaker.close();
    assert_eq!((it.admission(), it.why()), (Admission::All, None));
    it.transient("kari");
    it.succeeds("kari");
    it.permanent("kari", "400");
    it.refused("kari");
    it.breaker.forget("kari");
    assert!(!serde_json::to_string(&it.breaker).unwrap().contains("kari"));
}

#[test]
fn a_field_of_a_later_version_is_kept() {
    let text = r#"{"reads":{"later":1},"writes":{},"latest":[2]}"#;
    let mut breaker: Breaker = serde_json::from_str(text).unwrap();
    breaker.succeeded(CallKind::Read, "a", Millis(5));
    let json = serde_json::to_value(&breaker).unwrap();
    assert_eq!((&json["reads"]["later"], &json["latest"][0]), (&1.into(), &2.into()));
}

#[derive(Debug, Clone)]
enum Step {
    Succeeds(CallKind, usize),
    Fails(CallKind, usize, Class, usize, Option<bool>),
    Advance(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let kind = || prop_oneof![Just(CallKind::Read), Just(CallKind::Write)];
    let class = prop_oneof![
        4 => Just(Class::Transient),
        3 => Just(Class::Permanent),
        1 => Just(Class::RateLimited(None)),
        1 => (0_u64..100).prop_map(|seconds| Class::RateLimited(Some(Duration::from_secs(seconds)))),
        2 => Just(CREDENTIALS),
        1 => Just(Class::Refused(OpenReason::Configuration)),
        1 => Just(Class::NoToken),
        1 => Just(Class::NotCalled),
    ];
    prop_oneof![
        1 => (kind(), 0..8_usize).prop_map(|(kind, user)| Step::Succeeds(kind, user)),
        6 => (kind(), 0..8_usize, class, 0..2_usize, any::<Option<bool>>())
            .prop_map(|(kind, user, class, answer, well)| Step::Fails(kind, user, class, answer, well)),
        2 => (0_u64..2_000).prop_map(Step::Advance),
    ]
}

proptest! {
    /// Whatever happens, nobody gets back more attempts than were counted, no circuit is open for longer than an hour, one
    /// success closes it after that, and the document comes back from the store as it was.
    #[test]
    fn nobody_gets_back_more_than_was_paid_and_every_circuit_closes(
        steps in proptest::collection::vec(step(), 1..200),
    ) {
        let mut it = story();
        let mut paid = std::collections::BTreeMap::<String, u32>::new();
        for step in steps {
            match step {
                Step::Advance(seconds) => it.advance(Duration::from_secs(seconds)),
                Step::Succeeds(kind, user) => it.breaker.succeeded(kind, &user.to_string(), it.now),
                Step::Fails(kind, user, class, answer, is_api_well) => {
                    let user = user.to_string();
                    let failed = FailedCall { is_api_well, ..call(kind, class, &answer.to_string()) };
                    match it.fails(&user, &failed) {
                        Blame::User | Blame::UserUnproven => *paid.entry(user).or_default() += 1,
                        Blame::Api { at, give_back } => {
                            prop_assert!(at >= it.now && at <= it.now.plus(LONGEST_ASKED + BACKOFF.base * 2));
                            for (user, times) in give_back {
                                let left = paid.get(&user).copied().unwrap_or_default().checked_sub(times);
                                prop_assert!(left.is_some(), "{user} gets back {times}");
                                paid.insert(user, left.unwrap());
                            }
                        }
                    }
                }
            }
            for kind in [CallKind::Read, CallKind::Write] {
                let until = it.breaker.open(kind).map(|(_, until)| until);
                prop_assert!(until.is_none_or(|until| until <= it.now.plus(LONGEST_ASKED)));
            }
            let text = serde_json::to_string(&it.breaker).unwrap();
            prop_assert_eq!(&serde_json::from_str::<Breaker>(&text).unwrap(), &it.breaker);
        }
        it.advance(LONGEST_ASKED);
        for kind in [CallKind::Read, CallKind::Write] {
            it.breaker.succeeded(kind, "another user", it.now);
        }
        prop_assert_eq!((it.admission(), it.why()), (Admission::All, None));
    }
}
