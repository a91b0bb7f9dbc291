//! Two processes with one account, and the store between them.

use std::cell::RefCell;

use super::*;

/// What the store has.
#[derive(Default)]
struct Store(RefCell<Shared>);

impl Store {
    fn hears_from(&self, rest: &Rest) {
        if let Some(news) = rest.news() {
            rest.told(&news, self.takes_in(&news));
        }
    }

    fn takes_in(&self, news: &News) -> Shared {
        let after = self.0.take().after(news.change.clone());
        self.0.replace(after.clone());
        after
    }

    fn tells(&self, rest: &Rest) {
        rest.adopt(self.0.borrow().clone());
    }
}

fn two() -> (Story, Story, Store) {
    let one = story();
    let other = Story { rest: rest_on(&one.clock), clock: one.clock.clone() };
    (one, other, Store::default())
}

#[test]
fn a_rest_that_one_begins_holds_for_the_other_and_ends_for_both() {
    let (one, other, store) = two();
    let until = one.rest.rate_limited(Some(MINUTE));
    store.hears_from(&one.rest);
    store.tells(&other.rest);
    assert_eq!(other.rest.admission(), Admission::NotBefore(until));
    assert!(other.rest.check().is_err(), "calls of syncs under way are not made either");

    one.clock.advance(MINUTE);
    other.rest.succeeded(&id("a"));
    store.hears_from(&other.rest);
    store.tells(&one.rest);
    for rest in [&one.rest, &other.rest] {
        assert_eq!(rest.snapshot().why, None);
        assert_eq!(rest.news(), None, "what was learnt is no news");
    }
}

#[test]
fn what_is_still_to_be_told_is_not_overwritten_by_what_the_store_had_before() {
    let (one, other, store) = two();
    other.rest.rate_limited(Some(Duration::from_secs(1)));
    store.hears_from(&other.rest);
    let until = one.rest.rate_limited(Some(MINUTE));
    store.tells(&one.rest);
    assert_eq!(one.rest.admission(), Admission::NotBefore(until));
}

#[test]
fn an_answer_that_comes_late_takes_nothing_back() {
    let (one, _, store) = two();
    let before = store.0.borrow().clone();
    let until = one.rest.rate_limited(Some(MINUTE));
    store.hears_from(&one.rest);
    one.rest.adopt(before);
    assert_eq!(one.rest.admission(), Admission::NotBefore(until));
}

#[test]
fn an_end_that_comes_after_another_rest_has_begun_ends_only_what_was_known() {
    let (one, other, store) = two();
    one.rest.rate_limited(Some(Duration::from_secs(1)));
    store.hears_from(&one.rest);
    store.tells(&other.rest);
    one.clock.advance(MINUTE);
    one.rest.succeeded(&id("a"));
    let until = other.rest.refused(Why::Credentials, "403");
    store.hears_from(&other.rest);
    store.hears_from(&one.rest);
    assert_eq!(one.rest.admission(), Admission::NotBefore(until));
}

#[test]
fn what_changes_while_the_store_is_told_is_told_next() {
    let (one, _, store) = two();
    one.rest.rate_limited(Some(Duration::from_secs(1)));
    let news = one.rest.news().unwrap();
    let shared = store.takes_in(&news);
    one.clock.advance(MINUTE);
    one.rest.succeeded(&id("a"));
    one.rest.told(&news, shared);
    assert_eq!(one.rest.admission(), Admission::Open);
    store.hears_from(&one.rest);
    assert_eq!(store.0.borrow().pause, None);
}

#[test]
fn an_outage_that_the_other_found_costs_nobody_an_attempt_and_its_probes_double_the_rest() {
    let (one, other, store) = two();
    for user in ["a", "b", "c", "d", "e"] {
        one.transient(user);
    }
    store.hears_from(&one.rest);
    store.tells(&other.rest);
    one.clock.advance(MINUTE);
    assert_eq!(other.rest.admission(), Admission::OneProbe);
    assert_eq!(other.transient("f"), Blame::Api { give_back: vec![] });
    store.hears_from(&other.rest);
    store.tells(&one.rest);
    assert_eq!(one.rest.admission(), Admission::NotBefore(one.in_(4)));

    one.clock.advance(MINUTE);
    one.rest.succeeded(&id("g"));
    store.hears_from(&one.rest);
    store.tells(&other.rest);
    assert_eq!(other.rest.admission(), Admission::Open);
    assert_eq!(other.transient("h"), Blame::User);
}

#[test]
fn users_who_go_on_failing_after_an_outage_that_another_saw_end_are_at_fault() {
    let (one, other, store) = two();
    for user in ["a", "b", "c", "d", "e"] {
        one.permanent(user, "422 odd address");
    }
    store.hears_from(&one.rest);
    store.tells(&other.rest);
    one.clock.advance(MINUTE);
    other.rest.succeeded(&id("somebody else"));
    store.hears_from(&other.rest);
    store.tells(&one.rest);
    for user in ["a", "b", "c", "d", "e"] {
        assert_eq!(one.permanent(user, "422 odd address"), Blame::User);
    }
}

#[test]
fn somebody_may_end_a_rest_by_hand() {
    let (one, _, store) = two();
    one.rest.refused(Why::Credentials, "403");
    store.hears_from(&one.rest);
    let ended = store.0.take().ended();
    store.0.replace(ended);
    store.tells(&one.rest);
    assert_eq!(one.rest.admission(), Admission::Open);
}
