//! The queue against a model of it in memory: any sequence of calls has to come to the same.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::{DEBOUNCE, LEASE, REQUEST_TIMEOUT, Shop, UPDATE, next_due, park, retry};
use crate::clock::Millis;
use crate::queue::Room;
use crate::queue::{Job, Queue, Settled, Settlement};
use crate::user::UserId;

const USERS: usize = 4;
const ANSWERS: [&str; 2] = ["400", "422"];

/// One call, or a step of the clock.
#[derive(Debug, Clone)]
enum Step {
    Push(usize),
    Advance(u64),
    Lease(usize),
    /// Settles any of the jobs so far, the latest being the first.
    Settle(usize, How),
    GiveBack(Vec<usize>, Option<usize>, u64),
    Restart {
        dry_run: bool,
    },
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
    let answer = proptest::option::of(0..ANSWERS.len());
    prop_oneof![
        6 => (0..USERS).prop_map(Step::Push),
        3 => prop_oneof![0_u64..3_000, delay.clone()].prop_map(Step::Advance),
        5 => (0_usize..4).prop_map(Step::Lease),
        5 => (prop_oneof![4 => 0_usize..2, 1 => 0_usize..8], how).prop_map(|(job, how)| Step::Settle(job, how)),
        1 => (proptest::collection::vec(0..USERS, 0..3), answer, delay)
            .prop_map(|(users, answer, delay)| Step::GiveBack(users, answer, delay)),
        1 => any::<bool>().prop_map(|dry_run| Step::Restart { dry_run }),
    ]
}

#[derive(Debug, Clone, Default)]
struct Row {
    generation: i64,
    due: Option<Millis>,
    owner: Option<i64>,
    attempts: u32,
    failing_since: Option<Millis>,
    parked: Option<String>,
    held_back: bool,
}

impl Row {
    fn sooner(&mut self, at: Millis) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    fn afresh(&mut self, at: Millis) {
        *self = Self {
            due: Some(at),
            generation: self.generation,
            held_back: self.held_back,
            owner: self.owner,
            ..Self::default()
        };
    }
}

#[derive(Default)]
struct Model(BTreeMap<UserId, Row>);

impl Model {
    fn push(&mut self, user: UserId, now: Millis) {
        let row = self.0.entry(user).or_default();
        row.generation += 1;
        let at = now.plus(DEBOUNCE);
        if row.parked.is_some() {
            row.afresh(at);
        } else if row.owner.is_none() {
            row.sooner(at);
        }
    }

    /// Checks that `jobs` are what may be leased, and leases them.
    fn lease(&mut self, most: usize, now: Millis, jobs: &[Job]) {
        let mut due: Vec<Millis> =
            self.0.values().filter_map(|row| row.due).filter(|due| *due <= now).collect();
        due.sort();
        due.truncate(most);
        let leased: Vec<Millis> = jobs.iter().map(|job| self.0[&job.user].due.unwrap()).collect();
        assert_eq!(leased, due, "the longest due, in order");
        for job in jobs {
            let row = self.0.get_mut(&job.user).unwrap();
            if row.owner.is_some() {
                row.attempts += 1;
                row.failing_since = row.failing_since.or(Some(now));
            }
            let told = (job.generation, job.attempts, job.failing_since);
            assert_eq!(told, (row.generation, row.attempts, row.failing_since));
            row.owner = Some(job.lease_owner);
            row.due = Some(now.plus(LEASE));
        }
    }

    fn settle(&mut self, job: &Job, how: &Settlement, now: Millis) -> Settled {
        let row = self.0.get_mut(&job.user).unwrap();
        if row.owner != Some(job.lease_owner) {
            return Settled::LeaseLost;
        }
        match how {
            Settlement::Abandon { until } => {
                row.due = Some(*until);
                return Settled::AsAsked;
            }
            Settlement::Release => {
                (row.owner, row.due) = (None, Some(now));
                return Settled::AsAsked;
            }
            Settlement::Done { held_back } => {
                row.afresh(now);
                (row.due, row.held_back) = (None, *held_back);
            }
            Settlement::Retry { at, counts, .. } => {
                row.due = Some(*at);
                if *counts {
                    row.attempts += 1;
                    row.failing_since = row.failing_since.or(Some(now));
                }
            }
            Settlement::Park { answer, .. } => {
                (row.due, row.parked, row.held_back) = (None, Some(answer.clone()), false);
                row.failing_since = row.failing_since.or(Some(now));
            }
        }
        row.owner = None;
        if row.generation == job.generation {
            return Settled::AsAsked;
        }
        if row.parked.is_some() {
            row.afresh(now);
        }
        row.due = Some(now.plus(DEBOUNCE));
        Settled::DueAgain
    }

    fn give_back(&mut self, users: &[UserId], answer: Option<&str>, due: Millis) {
        for user in users {
            if let Some(row) = self.0.get_mut(user) {
                row.attempts = row.attempts.saturating_sub(1);
                row.failing_since = row.failing_since.filter(|_| row.attempts > 0);
            }
        }
        for row in self.0.values_mut().filter(|row| row.parked.is_some() && row.parked.as_deref() == answer) {
            row.afresh(due);
        }
    }

    fn restart(&mut self, dry_run: bool, now: Millis, ends_leases: bool) {
        for row in self.0.values_mut() {
            if row.owner.is_some() {
                if ends_leases {
                    row.sooner(now.plus(REQUEST_TIMEOUT));
                }
            } else if row.held_back && !dry_run {
                row.sooner(now);
            }
            row.held_back &= dry_run;
        }
    }

    fn next_due(&self) -> Option<Millis> {
        self.0.values().filter_map(|row| row.due).min()
    }
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
        Step::Lease(most) => {
            let leased = queue.lease(Room::for_any(most)).await.unwrap().jobs;
            model.lease(most, now, &leased);
            jobs.extend(leased);
        }
        Step::Settle(back, how) => {
            let Some(job) = jobs.iter().rev().nth(back) else { return };
            let how = match how {
                How::Done(held_back) => Settlement::Done { held_back },
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
        Step::Restart { dry_run } => {
            queue.close().await;
            *queue = shop.opens_with(dry_run);
            model.restart(dry_run, now, !shop.is_shared);
        }
    }
    assert_eq!(next_due(queue), model.next_due());
}

fn the_same_comes_of(steps: Vec<Step>, shop: &Shop) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
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
