//! The queue against a model of it in memory: any sequence of calls has to come to the same.

mod clockwork;
mod rows;

use std::time::Duration;

use proptest::prelude::*;

use self::rows::Model;
use super::{Shop, UPDATE, park, retry, seen};
use crate::clock::Millis;
use crate::memory::Memory;
use crate::queue::{
    Done, EXISTING_ONLY, Job, Lane, LeaseRequest, Queue, Retry, Room, Settlement, Tick, Ticked, UserLease,
};
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
    /// In that lane; where that is set, only who was not touched in so many milliseconds; one who was forgotten too or not.
    LeaseUser(usize, usize, Option<u64>, bool),
    /// Settles any of the jobs so far, the latest being the first; with a write sent under its lease or not, and with what the
    /// sync has seen, where it has seen anything.
    Settle(usize, How, bool, Option<Remembered>),
    GiveBack(Vec<usize>, Option<usize>, u64),
    Retry(Whom),
    /// Pauses or resumes, as another process where that is set.
    Pause(bool, bool),
    /// Brakes or lets go, likewise.
    Brake(bool, bool),
    /// With rounds of so many milliseconds, and with a canary after that user, or after none.
    Tick(Option<u64>, Option<Option<usize>>),
    /// The user of any of the jobs so far, the latest being the first.
    Forget(usize),
    /// Who has been missing for longer than so many milliseconds.
    Prune(u64),
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
    /// Held back or not, with what is to be remembered, and when to look again.
    Done(bool, Remembered, Option<u64>),
    Retry(u64, bool),
    Park(usize),
    Release,
    Abandon(u64),
}

/// What a sync leaves in the row.
#[derive(Debug, Clone)]
enum Remembered {
    /// What was there.
    Same,
    Nothing,
    /// An address, and whether the contact was seen.
    Address(usize, bool),
    Missing,
}

fn remembered() -> impl Strategy<Value = Remembered> {
    prop_oneof![
        3 => Just(Remembered::Same),
        1 => Just(Remembered::Nothing),
        2 => (0..USERS, any::<bool>()).prop_map(|(address, seen)| Remembered::Address(address, seen)),
        2 => Just(Remembered::Missing),
    ]
}

impl Remembered {
    fn after(self, before: &Memory, now: Millis) -> Memory {
        match self {
            Self::Same => before.clone(),
            Self::Nothing => Memory::default(),
            Self::Address(address, true) => seen(&format!("{address}@example.com")),
            Self::Address(address, false) => {
                Memory { contact: None, has_left: true, ..seen(&address.to_string()) }
            }
            Self::Missing => Memory { missing_since: Some(now), ..Memory::default() },
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    let delay = 0_u64..200_000;
    let how = prop_oneof![
        3 => (any::<bool>(), remembered(), proptest::option::of(delay.clone()))
            .prop_map(|(held_back, remembered, changes)| How::Done(held_back, remembered, changes)),
        1 => (delay.clone(), any::<bool>()).prop_map(|(delay, counts)| How::Retry(delay, counts)),
        1 => (0..ANSWERS.len()).prop_map(How::Park),
        1 => Just(How::Release),
        1 => (0_u64..20_000).prop_map(How::Abandon),
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
        4 => (0..USERS, 0..Lane::ALL.len(), proptest::option::of(0_u64..200_000), any::<bool>())
            .prop_map(|(user, lane, untouched, again)| Step::LeaseUser(user, lane, untouched, again)),
        5 => (prop_oneof![4 => 0_usize..2, 1 => 0_usize..8], how, any::<bool>(), proptest::option::of(remembered()))
            .prop_map(|(job, how, has_written, learned)| Step::Settle(job, how, has_written, learned)),
        1 => (proptest::collection::vec(0..USERS, 0..3), answer, delay.clone())
            .prop_map(|(users, answer, delay)| Step::GiveBack(users, answer, delay)),
        2 => whom.prop_map(Step::Retry),
        1 => (prop_oneof![1 => Just(true), 3 => Just(false)], any::<bool>())
            .prop_map(|(paused, beside)| Step::Pause(paused, beside)),
        1 => (any::<bool>(), any::<bool>()).prop_map(|(braked, beside)| Step::Brake(braked, beside)),
        5 => proptest::option::weighted(0.8, prop_oneof![Just(10_000_u64), Just(150_000)])
            .prop_flat_map(|every| proptest::option::of(proptest::option::of(0..USERS))
                .prop_map(move |canary| Step::Tick(every, canary))),
        1 => (0_usize..3).prop_map(Step::Forget),
        1 => prop_oneof![Just(0), delay.clone()].prop_map(Step::Prune),
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
        Step::LeaseUser(number, lane, untouched, again) => {
            let request = LeaseRequest {
                user: user(number),
                cause: if untouched.is_some() { EXISTING_ONLY } else { "sync" },
                lane: Lane::ALL[lane],
                calls: PerApi { sesamy: 1, mailmojo: 1 },
                untouched_since: untouched.map(|ago| Millis(now.0.saturating_sub_unsigned(ago))),
                again,
            };
            let came = queue.lease_user(request.clone()).await.unwrap();
            model.lease_user(&request, now, &came);
            if let UserLease::Leased(job) = came {
                jobs.push(*job);
            }
        }
        Step::Settle(back, how, has_written, learned) => {
            let Some(job) = jobs.iter().rev().nth(back) else { return };
            let job = &Job { has_written, ..job.clone() };
            let how = match how {
                How::Done(held_back, remembered, changes) => Settlement::Done(Box::new(Done {
                    held_back,
                    memory: remembered.after(&job.memory, now),
                    changes_at: changes.map(after),
                })),
                How::Retry(delay, counts) => retry(after(delay), counts),
                How::Park(answer) => park(ANSWERS[answer]),
                How::Release => Settlement::Release,
                How::Abandon(delay) => Settlement::Abandon { until: after(delay) },
            };
            // Nobody settles a lease that they have abandoned; the suite tells what an abandoned one has seen.
            let learned = learned.filter(|_| !matches!(how, Settlement::Abandon { .. }));
            let learned = learned.map(|learned| Box::new(learned.after(&job.memory, now)));
            let job = Job { learned, ..job.clone() };
            let expected = model.settle(&job, &how, now);
            assert_eq!(queue.settle(&job, how, None).await.unwrap(), expected);
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
            model.braked_at = model.braked_at.filter(|_| paused);
            assert_eq!((known.paused_at, known.braked_at), (model.paused_at, model.braked_at));
            if beside {
                by.close().await;
            }
        }
        Step::Brake(braked, beside) => {
            let by = if beside { shop.opens_beside() } else { queue.clone() };
            let known = if braked { by.brake().await.unwrap() } else { by.release_brake().await.unwrap() };
            model.braked_at = braked.then(|| model.braked_at.unwrap_or(now));
            assert_eq!(known.braked_at, model.braked_at);
            if beside {
                by.close().await;
            }
        }
        Step::Tick(every, canary) => {
            let canary_after =
                canary.map(|after| after.map_or_else(String::new, |it| user(it).as_str().to_owned()));
            let tick = Tick { resync_every: every.map(Duration::from_millis), canary_after };
            let ticked = queue.tick(tick.clone()).await.unwrap();
            assert_eq!(Ticked { more: false, ..ticked }, model.tick(tick, now));
            assert_eq!(queue.round().await.unwrap(), model.round());
        }
        Step::Forget(back) => {
            let Some(job) = jobs.iter().rev().nth(back) else { return };
            assert_eq!(queue.forget(job).await.unwrap(), model.forget(job));
        }
        Step::Prune(ago) => {
            let before = Millis(now.0.saturating_sub_unsigned(ago));
            assert_eq!(queue.prune(before, 100).await.unwrap(), model.prune(before));
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
        let users: Vec<UserId> = (0..USERS).map(|number| super::user(&number.to_string())).collect();
        let mut forgotten = queue.forgotten(&users).await.unwrap();
        forgotten.sort();
        let expected: Vec<_> = users.iter().filter(|user| model.is_forgotten(user)).cloned().collect();
        assert_eq!(forgotten, expected);
        let rows = queue.rows_of(&users).await.unwrap();
        assert_eq!(rows.len(), model.rows.len());
        for row in rows {
            let expected = &model.rows[&UserId::new(row.user.as_str()).unwrap()];
            assert_eq!((row.memory, row.changes_at), (expected.memory.clone(), expected.changes));
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
