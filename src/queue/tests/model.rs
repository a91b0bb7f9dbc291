//! The queue against a model of it in memory: any sequence of calls has to come to the same.

mod rows;

use std::time::Duration;

use proptest::prelude::*;

use self::rows::Model;
use super::{Shop, UPDATE, park, retry};
use crate::clock::Millis;
use crate::queue::{Job, Lane, LeaseRequest, Queue, Retry, Room, Settlement, UserLease};
use crate::upstream::PerApi;
use crate::user::UserId;

const USERS: usize = 4;
const ANSWERS: [&str; 2] = ["400", "422"];

/// One call, or a step of the clock.
#[derive(Debug, Clone)]
enum Step {
    Push(usize),
    Advance(u64),
    /// Of all, and of the background.
    Lease(usize, usize),
    /// In that lane; where that is set, only who was not touched in so many milliseconds.
    LeaseUser(usize, usize, Option<u64>),
    /// Settles any of the jobs so far, the latest being the first.
    Settle(usize, How),
    GiveBack(Vec<usize>, Option<usize>, u64),
    Retry(Whom),
    /// Pauses or resumes, as another process where that is set.
    Pause(bool, bool),
    Restart {
        dry_run: bool,
    },
}

#[derive(Debug, Clone)]
enum Whom {
    Users(Vec<usize>),
    AllParked,
    Answer(usize),
}

#[derive(Debug, Clone)]
enum How {
    Done(bool),
    Retry(u64, bool),
    Park(usize),
    Release,
    Abandon(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let delay = 0_u64..200_000;
    let how = prop_oneof![
        any::<bool>().prop_map(How::Done),
        (delay.clone(), any::<bool>()).prop_map(|(delay, counts)| How::Retry(delay, counts)),
        (0..ANSWERS.len()).prop_map(How::Park),
        Just(How::Release),
        (0_u64..20_000).prop_map(How::Abandon),
    ];
    let whom = prop_oneof![
        proptest::collection::vec(0..USERS, 0..3).prop_map(Whom::Users),
        Just(Whom::AllParked),
        (0..ANSWERS.len()).prop_map(Whom::Answer),
    ];
    let answer = proptest::option::of(0..ANSWERS.len());
    prop_oneof![
        6 => (0..USERS).prop_map(Step::Push),
        3 => prop_oneof![0_u64..3_000, delay.clone()].prop_map(Step::Advance),
        5 => (0_usize..4, 0_usize..4).prop_map(|(all, background)| Step::Lease(all, background.min(all))),
        4 => (0..USERS, 0..Lane::ALL.len(), proptest::option::of(0_u64..200_000))
            .prop_map(|(user, lane, untouched)| Step::LeaseUser(user, lane, untouched)),
        5 => (prop_oneof![4 => 0_usize..2, 1 => 0_usize..8], how).prop_map(|(job, how)| Step::Settle(job, how)),
        1 => (proptest::collection::vec(0..USERS, 0..3), answer, delay)
            .prop_map(|(users, answer, delay)| Step::GiveBack(users, answer, delay)),
        2 => whom.prop_map(Step::Retry),
        1 => (prop_oneof![1 => Just(true), 3 => Just(false)], any::<bool>())
            .prop_map(|(paused, beside)| Step::Pause(paused, beside)),
        1 => any::<bool>().prop_map(|dry_run| Step::Restart { dry_run }),
    ]
}

async fn take(step: Step, shop: &Shop, queue: &mut Queue, model: &mut Model, jobs: &mut Vec<Job>) {
    let user = |number: usize| super::user(&number.to_string());
    let now = shop.clock.now();
    let after = |delay: u64| now.plus(Duration::from_millis(delay));
    match step {
        Step::Push(number) => {
            queue.push(&user(number), UPDATE).await.unwrap();
            model.push(user(number), now);
        }
        Step::Advance(by) => shop.clock.advance(Duration::from_millis(by)),
        Step::Lease(all, background) => {
            let room = Room { all, background };
            let leased = queue.lease(room).await.unwrap();
            model.lease(room, now, &leased);
            jobs.extend(leased.jobs);
        }
        Step::LeaseUser(number, lane, untouched) => {
            let request = LeaseRequest {
                user: user(number),
                cause: "sync",
                lane: Lane::ALL[lane],
                calls: PerApi { sesamy: 1, mailmojo: 1 },
                untouched_since: untouched.map(|ago| Millis(now.0.saturating_sub_unsigned(ago))),
                again: false,
            };
            let came = queue.lease_user(request.clone()).await.unwrap();
            model.lease_user(&request, now, &came);
            if let UserLease::Leased(job) = came {
                jobs.push(*job);
            }
        }
        Step::Settle(back, how) => {
            let Some(job) = jobs.iter().rev().nth(back) else { return };
            let how = match how {
                How::Done(held_back) => Settlement::done(held_back),
                How::Retry(delay, counts) => retry(after(delay), counts),
                How::Park(answer) => park(ANSWERS[answer]),
                How::Release => Settlement::Release,
                How::Abandon(delay) => Settlement::Abandon { until: after(delay) },
            };
            let expected = model.settle(job, &how, now);
            assert_eq!(queue.settle(job, how, None).await.unwrap(), expected);
        }
        Step::GiveBack(numbers, answer, delay) => {
            let users: Vec<UserId> = numbers.into_iter().map(user).collect();
            let answer = answer.map(|answer| ANSWERS[answer]);
            queue.give_back(&users, answer, after(delay)).await.unwrap();
            model.give_back(&users, answer, after(delay));
        }
        Step::Retry(whom) => {
            let whom = match whom {
                Whom::Users(numbers) => Retry::Users(numbers.into_iter().map(user).collect()),
                Whom::AllParked => Retry::AllParked,
                Whom::Answer(answer) => Retry::Answer(ANSWERS[answer].to_owned()),
            };
            assert_eq!(queue.count_retry(&whom).await.unwrap(), model.count_retry(&whom));
            assert_eq!(queue.retry(whom.clone()).await.unwrap(), model.retry(&whom, now));
        }
        Step::Pause(paused, beside) => {
            let by = if beside { shop.opens_beside() } else { queue.clone() };
            let known = if paused { by.pause().await.unwrap() } else { by.resume().await.unwrap() };
            model.paused_at = paused.then(|| model.paused_at.unwrap_or(now));
            assert_eq!(known.paused_at, model.paused_at);
            if beside {
                by.close().await;
            }
        }
        Step::Restart { dry_run } => {
            queue.close().await;
            *queue = shop.opens_with(dry_run);
            model.restart(dry_run, now, !shop.is_shared);
        }
    }
    let (known, is) = (*queue.next_due().borrow(), model.next_due());
    if shop.is_shared {
        // Who shares a store may look too early: somebody was lifted out of the lane, or another has told of news.
        for (known, is) in [(known.prompt, is.prompt), (known.background, is.background)] {
            assert!(is.is_none() || known.is_some() && known <= is, "{known:?} is after {is:?}");
        }
    } else {
        assert_eq!(known, is);
    }
}

fn the_same_comes_of(steps: Vec<Step>, shop: &Shop) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (mut queue, mut model, mut jobs) = (shop.opens(), Model::default(), Vec::new());
        for step in steps {
            take(step, shop, &mut queue, &mut model, &mut jobs).await;
        }
        queue.close().await;
    });
}

mod on_sqlite {
    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn the_queue_does_what_the_model_does(steps in proptest::collection::vec(step(), 1..80)) {
            the_same_comes_of(steps, &Shop::sqlite());
        }
    }
}

mod on_postgres {
    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn the_queue_does_what_the_model_does(steps in proptest::collection::vec(step(), 1..80)) {
            if let Some(shop) = Shop::postgres() {
                the_same_comes_of(steps, &shop);
            }
        }
    }
}
