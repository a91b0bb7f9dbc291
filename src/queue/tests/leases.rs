//! What leases and their ends do.

use std::time::Duration;

use super::operators::{ask, by_hand};
use super::sharing::{BACKOFF, fails};
use super::{
    DEBOUNCE, LEASE, Shop, UPDATE, done, done_with, due, leased, names, next_due, only_job, park, retry,
    seen, stories, user,
};
use crate::queue::Slots;
use crate::queue::{Job, Lane, LeaseName, LeaseRequest, Queue, Role, Settled, Settlement};
use crate::upstream::Class;
use crate::upstream::circuit_breaker::CallKind;

stories! {
    the_longest_due_are_leased_first,
    two_leases_of_one_user_never_overlap,
    two_workers_never_lease_the_same_user,
    a_foreign_lease_is_neither_settled_nor_made_longer,
    a_lease_that_nobody_settled_counts_as_an_attempt,
    a_late_settlement_changes_nothing,
    a_lease_that_is_lost_after_a_write_makes_the_user_due_again,
    a_lease_that_is_lost_after_a_write_makes_nobody_known,
    a_settlement_counts_until_somebody_takes_the_user_over,
    an_event_after_a_lease_ended_leaves_the_takeover_where_it_is,
    a_failure_counts_only_where_it_is_the_users,
    a_sync_that_ends_well_forgets_the_failures,
    a_released_user_is_due_at_once,
    a_lease_that_was_abandoned_in_a_write_holds_until_the_write_is_over,
    an_outage_is_given_back,
    a_user_of_whom_an_event_came_is_not_parked,
    no_two_users_of_one_address_are_leased_at_once,
    a_lease_that_nobody_settles_is_taken_over_and_an_end_on_purpose_is_not,
    a_user_under_lease_again_gets_attempts_back_too,
    what_a_failed_sync_came_to_is_in_the_history_as_it_was_decided,
}

async fn the_longest_due_are_leased_first(shop: Shop) {
    let queue = shop.opens().await;
    for name in ["c", "a", "b"] {
        queue.push(&user(name), UPDATE).await.unwrap();
        shop.clock.advance(Duration::from_secs(1));
    }
    shop.clock.advance(DEBOUNCE);
    let first = queue.lease(Slots::for_any(2)).await.unwrap().jobs;
    assert_eq!([&first[0].user, &first[1].user], [&user("c"), &user("a")]);
    assert_eq!(only_job(&queue).await.user, user("b"));
}

async fn two_leases_of_one_user_never_overlap(shop: Shop) {
    let queue = shop.opens().await;
    leased(&shop, &queue, "kari").await;
    assert_eq!(next_due(&queue).await, shop.later(LEASE));
    shop.clock.advance(LEASE - Duration::from_millis(1));
    assert!(queue.lease(Slots::for_any(10)).await.unwrap().jobs.is_empty());
    shop.clock.advance(Duration::from_millis(1));
    assert_eq!(only_job(&queue).await.user, user("kari"));
}

async fn two_workers_never_lease_the_same_user(shop: Shop) {
    let queue = shop.opens().await;
    let other = shop.another().await;
    let users: Vec<_> = (0..200).map(|number| user(&number.to_string())).collect();
    for kept in futures_util::future::join_all(users.iter().map(|user| queue.push(user, UPDATE))).await {
        kept.unwrap();
    }
    shop.clock.advance(DEBOUNCE);
    let works = |queue: Queue| async move {
        let mut leased = Vec::new();
        loop {
            let jobs = queue.lease(Slots::for_any(3)).await.unwrap().jobs;
            if jobs.is_empty() {
                return leased;
            }
            leased.extend(jobs.into_iter().map(|job| job.user));
        }
    };
    let (some, others) = futures_util::future::join(works(queue), works(other)).await;
    let mut all: Vec<_> = some.into_iter().chain(others).collect();
    all.sort();
    let mut expected = users;
    expected.sort();
    assert_eq!(all, expected);
}

async fn a_foreign_lease_is_neither_settled_nor_made_longer(shop: Shop) {
    let queue = shop.opens().await;
    let job = leased(&shop, &queue, "kari").await;
    let (end, until) = (next_due(&queue).await, shop.later(LEASE * 2).unwrap());
    let other = shop.another().await;
    let foreign = Job { lease: LeaseName::new(Role::Service, 1), ..job.clone() };
    for how in [
        done(),
        retry(until, true),
        park("400"),
        Settlement::Release { at: shop.clock.now() },
        Settlement::Abandon { until },
    ] {
        assert_eq!(other.settle(&foreign, how, None).await.unwrap(), Settled::LeaseLost);
        assert_eq!(next_due(&other).await, end);
    }
    assert_eq!(
        other.settle(&job, done(), None).await.unwrap(),
        Settled::AsAsked,
        "by whomever, the name counts"
    );
}

async fn a_lease_that_nobody_settled_counts_as_an_attempt(shop: Shop) {
    let queue = shop.opens().await;
    leased(&shop, &queue, "kari").await;
    shop.clock.advance(LEASE);
    let found_at = shop.clock.now();
    let job = only_job(&queue).await;
    assert_eq!((job.attempts, job.failing_since), (1, Some(found_at)));
    shop.clock.advance(LEASE);
    let job = only_job(&queue).await;
    assert_eq!((job.attempts, job.failing_since), (2, Some(found_at)));
}

async fn a_late_settlement_changes_nothing(shop: Shop) {
    let queue = shop.opens().await;
    let late = leased(&shop, &queue, "kari").await;
    shop.clock.advance(LEASE);
    let current = only_job(&queue).await;
    let end = next_due(&queue).await;

    let until = shop.clock.now();
    for how in [
        done(),
        retry(until, true),
        park("400"),
        Settlement::Release { at: shop.clock.now() },
        Settlement::Abandon { until },
    ] {
        assert_eq!(queue.settle(&late, how, None).await.unwrap(), Settled::LeaseLost);
        assert_eq!(next_due(&queue).await, end);
    }
    assert_eq!(queue.settle(&current, done(), None).await.unwrap(), Settled::AsAsked);
    assert_eq!(queue.settle(&current, done(), None).await.unwrap(), Settled::LeaseLost, "a second time");
}

/// Whatever has become of the row by then. What asked for the lost sync asks for the next one, so that one which may create
/// nobody stays so; only an event that came meanwhile goes before it.
async fn a_lease_that_is_lost_after_a_write_makes_the_user_due_again(shop: Shop) {
    const CAUSE: &str = "backfill --existing-only";
    let queue = shop.opens().await;
    let request = |name| LeaseRequest { cause: CAUSE, lane: Lane::Background, ..by_hand(name) };
    let fails = retry(shop.later(LEASE * 9).unwrap(), true);
    for (name, next, cause) in [
        ("idle", Some(done()), CAUSE),
        ("failing", Some(fails), CAUSE),
        ("parked", Some(park("400")), CAUSE),
        ("leased", None, CAUSE),
        ("due", Some(done()), UPDATE),
    ] {
        let late = ask(&queue, request(name)).await.unwrap();
        shop.clock.advance(LEASE);
        let other = only_job(&queue).await;
        if let Some(how) = &next {
            queue.settle(&other, how.clone(), None).await.unwrap();
        }
        if cause == UPDATE {
            queue.push(&user(name), UPDATE).await.unwrap();
        }
        let late = Job { has_written: true, ..late };
        assert_eq!(queue.settle(&late, park("422"), None).await.unwrap(), Settled::LeaseLost, "{name}");
        if next.is_none() {
            assert_eq!(next_due(&queue).await, shop.later(LEASE), "the other has the lease");
            assert_eq!(queue.settle(&other, done(), None).await.unwrap(), Settled::DueAgain);
        }
        assert_eq!(next_due(&queue).await, shop.later(DEBOUNCE), "{name}");
        shop.clock.advance(DEBOUNCE);
        let again = only_job(&queue).await;
        assert_eq!((again.event_type.as_str(), again.lane), (cause, Lane::Events), "{name}");
        assert!(again.generation > other.generation, "{name}");
        assert_eq!(queue.settle(&again, done(), None).await.unwrap(), Settled::AsAsked, "{name}");
    }
}

async fn a_lease_that_is_lost_after_a_write_makes_nobody_known(shop: Shop) {
    let queue = shop.opens().await;
    let late = leased(&shop, &queue, "kari").await;
    shop.clock.advance(LEASE);
    assert!(queue.forget(&only_job(&queue).await).await.unwrap());
    let late = Job { has_written: true, ..late };
    assert_eq!(queue.settle(&late, done(), None).await.unwrap(), Settled::LeaseLost);
    assert_eq!((next_due(&queue).await, queue.rows_of(&[user("kari")]).await.unwrap().len()), (None, 0));
}

async fn a_settlement_counts_until_somebody_takes_the_user_over(shop: Shop) {
    let queue = shop.opens().await;
    let job = leased(&shop, &queue, "kari").await;
    shop.clock.advance(LEASE * 2);
    assert_eq!(queue.settle(&job, done(), None).await.unwrap(), Settled::AsAsked);
    assert_eq!(next_due(&queue).await, None);
}

async fn an_event_after_a_lease_ended_leaves_the_takeover_where_it_is(shop: Shop) {
    let queue = shop.opens().await;
    let job = leased(&shop, &queue, "kari").await;
    let end = next_due(&queue).await;
    shop.clock.advance(LEASE * 2);
    queue.push(&user("kari"), UPDATE).await.unwrap();
    assert_eq!(next_due(&queue).await, end);
    let next = only_job(&queue).await;
    assert_eq!((next.generation, next.attempts), (job.generation + 1, 1));
}

async fn a_failure_counts_only_where_it_is_the_users(shop: Shop) {
    let queue = shop.opens().await;
    let job = leased(&shop, &queue, "kari").await;
    let failed_at = shop.clock.now();
    queue.settle(&job, retry(failed_at, true), None).await.unwrap();
    shop.clock.advance(Duration::from_secs(1));
    let job = only_job(&queue).await;
    queue.settle(&job, retry(shop.clock.now(), true), None).await.unwrap();
    let job = only_job(&queue).await;
    assert_eq!((job.attempts, job.failing_since), (2, Some(failed_at)));

    let at = shop.clock.now().plus(Duration::from_secs(60));
    assert_eq!(queue.settle(&job, retry(at, false), None).await.unwrap(), Settled::AsAsked);
    assert_eq!(next_due(&queue).await, Some(at));
    shop.clock.advance(Duration::from_secs(60));
    let job = only_job(&queue).await;
    assert_eq!((job.attempts, job.failing_since), (2, Some(failed_at)));
}

async fn a_sync_that_ends_well_forgets_the_failures(shop: Shop) {
    let queue = shop.opens().await;
    let job = leased(&shop, &queue, "kari").await;
    queue.settle(&job, retry(shop.clock.now(), true), None).await.unwrap();
    let job = only_job(&queue).await;
    queue.settle(&job, done(), None).await.unwrap();
    let job = leased(&shop, &queue, "kari").await;
    assert_eq!((job.attempts, job.failing_since), (0, None));
}

async fn a_released_user_is_due_at_once(shop: Shop) {
    let queue = shop.opens().await;
    let job = leased(&shop, &queue, "kari").await;
    queue.push(&user("kari"), UPDATE).await.unwrap();
    assert_eq!(
        queue.settle(&job, Settlement::Release { at: shop.clock.now() }, None).await.unwrap(),
        Settled::AsAsked
    );
    assert_eq!(next_due(&queue).await, Some(shop.clock.now()));
    assert_eq!(only_job(&queue).await.attempts, 0);
}

async fn a_lease_that_was_abandoned_in_a_write_holds_until_the_write_is_over(shop: Shop) {
    let queue = shop.opens().await;
    let job = leased(&shop, &queue, "kari").await;
    let until = shop.clock.now().plus(Duration::from_secs(10));
    assert_eq!(queue.settle(&job, Settlement::Abandon { until }, None).await.unwrap(), Settled::AsAsked);
    queue.push(&user("kari"), UPDATE).await.unwrap();
    assert_eq!(next_due(&queue).await, Some(until));
    shop.clock.advance(Duration::from_secs(9));
    assert!(queue.lease(Slots::for_any(10)).await.unwrap().jobs.is_empty());
    shop.clock.advance(Duration::from_secs(1));
    assert_eq!(only_job(&queue).await.user, user("kari"));
}

async fn an_outage_is_given_back(shop: Shop) {
    let queue = shop.opens().await;
    let (timeout, odd) = ("503", "422");
    for name in ["a", "a", "b", "c"] {
        let job = ask(&queue, by_hand(name)).await.unwrap();
        let how = fails(&queue, &job, CallKind::Read, Class::Transient, timeout).await;
        assert!(matches!(how, Settlement::Retry { counts: true, .. }), "{how:?}");
    }
    // Parked before for another answer, and so no part of the outage.
    let job = ask(&queue, by_hand("other")).await.unwrap();
    queue.settle(&job, park(odd), None).await.unwrap();
    let [fourth, fifth] =
        [ask(&queue, by_hand("d")).await.unwrap(), ask(&queue, by_hand("e")).await.unwrap()];
    fails(&queue, &fourth, CallKind::Read, Class::Transient, timeout).await;
    let how = fails(&queue, &fifth, CallKind::Read, Class::Transient, timeout).await;
    let error = timeout.to_owned();
    assert_eq!(how, Settlement::Retry { at: shop.clock.now(), counts: false, error });

    let rows = queue.rows_of(&["a", "b", "c", "d", "e"].map(user)).await.unwrap();
    assert!(rows.iter().all(|row| (row.attempts, row.failing_since) == (0, None)), "{rows:?}");
    assert_eq!(queue.census().await.unwrap().parked, 1);
    let leased = queue.lease(Slots::for_any(10)).await.unwrap();
    assert_eq!((leased.jobs.len(), leased.again_at), (0, shop.later(BACKOFF.base)));
}

async fn a_user_under_lease_again_gets_attempts_back_too(shop: Shop) {
    let queue = shop.opens().await;
    for name in ["b", "c", "d", "kari", "kari"] {
        let job = ask(&queue, by_hand(name)).await.unwrap();
        fails(&queue, &job, CallKind::Write, Class::Transient, "503").await;
    }
    let job = ask(&queue, by_hand("kari")).await.unwrap();
    assert_eq!(job.attempts, 2);
    let fifth = ask(&queue, by_hand("e")).await.unwrap();
    fails(&queue, &fifth, CallKind::Write, Class::Transient, "503").await;
    queue.settle(&job, retry(shop.clock.now(), true), None).await.unwrap();
    assert_eq!(queue.rows_of(&[user("kari")]).await.unwrap()[0].attempts, 1);
}

async fn what_a_failed_sync_came_to_is_in_the_history_as_it_was_decided(shop: Shop) {
    let queue = shop.opens().await;
    for (name, class, words) in [
        ("a", Class::Transient, ("failed", "transient")),
        ("b", Class::Permanent, ("parked", "permanent")),
        ("c", Class::NotCalled, ("postponed", "resting")),
    ] {
        let job = ask(&queue, by_hand(name)).await.unwrap();
        fails(&queue, &job, CallKind::Write, class, "odd").await;
        let entry = queue.history(&user(name), 1).await.unwrap().remove(0);
        assert_eq!((entry.outcome.as_str(), entry.reason.as_str()), words);
        let row = queue.rows_of(&[user(name)]).await.unwrap().remove(0);
        assert_eq!((row.outcome.as_deref(), row.reason.as_deref()), (Some(words.0), Some(words.1)));
    }
}

async fn a_lease_that_nobody_settles_is_taken_over_and_an_end_on_purpose_is_not(shop: Shop) {
    let queue = shop.opens().await;
    let mut job = leased(&shop, &queue, "kari").await;
    assert!(!job.is_taken_over);
    for attempts in 1..=2 {
        shop.clock.advance(LEASE);
        job = only_job(&queue).await;
        assert_eq!((job.is_taken_over, job.attempts), (true, attempts));
    }
    let until = shop.later(DEBOUNCE).unwrap();
    queue.settle(&job, Settlement::Abandon { until }, None).await.unwrap();
    shop.clock.advance(DEBOUNCE);
    let job = only_job(&queue).await;
    assert_eq!((job.is_taken_over, job.attempts), (true, 3), "a sync that was cut off in a write");
    queue.settle(&job, Settlement::Release { at: shop.clock.now() }, None).await.unwrap();
    let job = only_job(&queue).await;
    assert_eq!((job.is_taken_over, job.attempts), (false, 3));
}

async fn a_user_of_whom_an_event_came_is_not_parked(shop: Shop) {
    let queue = shop.opens().await;
    let job = leased(&shop, &queue, "kari").await;
    queue.push(&user("kari"), UPDATE).await.unwrap();
    assert_eq!(queue.settle(&job, park("400"), None).await.unwrap(), Settled::DueAgain);
    let row = queue.rows_of(&[user("kari")]).await.unwrap().remove(0);
    assert_eq!((row.parked_at, row.answer, row.due_at), (None, None, shop.later(DEBOUNCE)));
    assert_eq!(queue.census().await.unwrap().parked, 0);
}

async fn no_two_users_of_one_address_are_leased_at_once(shop: Shop) {
    let queue = shop.opens().await;
    for (name, address) in [("a", "one@example.com"), ("b", "One@example.com"), ("c", "other@example.com")] {
        let job = leased(&shop, &queue, name).await;
        queue.settle(&job, done_with(seen(address), None), None).await.unwrap();
    }
    due(&shop, &queue, &["c", "b", "a"]).await;
    let jobs = queue.lease(Slots::for_any(9)).await.unwrap().jobs;
    let mut leased_now = names(&jobs);
    leased_now.sort_unstable();
    assert_eq!(leased_now, ["email|a", "email|c"], "of two that were leased together the smaller id");
    shop.clock.advance(DEBOUNCE);
    assert!(queue.lease(Slots::for_any(9)).await.unwrap().jobs.is_empty(), "the other one is still synced");
    for job in jobs {
        queue.settle(&job, done_with(job.memory.clone(), None), None).await.unwrap();
    }
    shop.clock.advance(DEBOUNCE);
    let job = only_job(&queue).await;
    assert_eq!((job.user.clone(), job.attempts, job.event_type.as_str()), (user("b"), 0, UPDATE));
    queue.push(&user("a"), UPDATE).await.unwrap();
    shop.clock.advance(DEBOUNCE);
    assert!(queue.lease(Slots::for_any(9)).await.unwrap().jobs.is_empty(), "a lease that is older stays");
}
