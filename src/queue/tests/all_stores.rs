//! Any sequence of operations comes to the same in every store: the rules are above the seam, and a store only keeps rows.

use std::time::Duration;

use proptest::prelude::*;

use super::sharing::fails;
use super::{Shop, UPDATE, park, retry, seen};
use crate::clock::Millis;
use crate::model::LastSeen;
use crate::queue::{
    DRIFT, Done, EXISTING_ONLY, EXPIRY, Entry, Filter, Job, Lane, LeaseRequest, LogFilter, MISSING, Queue,
    Retry, RowState, Settlement, SharedState, Slots, UserLease,
};
use crate::sync::AddressIndex;
use crate::upstream::circuit_breaker::{CallKind, OpenReason};
use crate::upstream::{Api, Class, PerApi};
use crate::user::UserId;

const USERS: usize = 6;
const ANSWERS: [&str; 2] = ["400", "422"];
const CLASSES: [Class; 6] = [
    Class::Transient,
    Class::Transient,
    Class::Permanent,
    Class::Refused(OpenReason::Credentials),
    Class::NoToken,
    Class::NotCalled,
];

/// One operation, or a step of the clock.
#[derive(Debug, Clone)]
enum Step {
    Push(usize),
    Advance(u64),
    /// Slots in all, and for the background.
    Lease(usize, usize),
    /// User, lane, for a restricted cause, forgotten users too.
    LeaseUser(usize, usize, bool, bool),
    /// Settles any of the jobs so far, the latest being the first; after a write or not, and with what the sync has seen.
    Settle(usize, How, bool, Option<Remembered>),
    /// The sync of any of the jobs so far fails; on a read or a write, in which way, with which answer.
    Fail(usize, bool, usize, usize),
    /// All calls of the sync of any of the jobs so far succeed.
    Succeed(usize),
    Retry(Whom),
    Enqueue(Vec<usize>, u64),
    Pause(bool),
    Checks,
    /// The user of any of the jobs so far, the latest being the first.
    Forget(usize),
    /// Users missing for longer than so many milliseconds.
    Prune(u64),
    Restart(bool),
}

#[derive(Debug, Clone)]
enum Whom {
    Users(Vec<usize>),
    AllParked,
    Answer(usize),
    Reason,
}

#[derive(Debug, Clone)]
enum How {
    /// Held back or not, with what is to be remembered, and the next check.
    Done(bool, Remembered, Option<(u64, usize)>),
    Retry(u64, bool),
    Park(usize),
    Release,
    Abandon(u64),
}

/// What a sync leaves in the row.
#[derive(Debug, Clone)]
enum Remembered {
    Same,
    Nothing,
    /// An address, and whether the contact was seen.
    Address(usize, bool),
    Missing,
}

impl Remembered {
    fn after(self, before: &LastSeen, now: Millis) -> LastSeen {
        match self {
            Self::Same => before.clone(),
            Self::Nothing => LastSeen::default(),
            Self::Address(address, true) => seen(&format!("{address}@example.com")),
            Self::Address(address, false) => {
                LastSeen { contact: None, has_left: true, ..seen(&address.to_string()) }
            }
            Self::Missing => LastSeen { missing_since: Some(now), ..LastSeen::default() },
        }
    }
}

fn remembered() -> impl Strategy<Value = Remembered> {
    prop_oneof![
        3 => Just(Remembered::Same),
        1 => Just(Remembered::Nothing),
        2 => (0..USERS, any::<bool>()).prop_map(|(address, seen)| Remembered::Address(address, seen)),
        2 => Just(Remembered::Missing),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let delay = 0_u64..200_000;
    let check = proptest::option::of((delay.clone(), 0..3_usize));
    let how = prop_oneof![
        3 => (any::<bool>(), remembered(), check)
            .prop_map(|(held_back, remembered, check)| How::Done(held_back, remembered, check)),
        1 => (delay.clone(), any::<bool>()).prop_map(|(delay, counts)| How::Retry(delay, counts)),
        1 => (0..ANSWERS.len()).prop_map(How::Park),
        1 => Just(How::Release),
        1 => (0_u64..20_000).prop_map(How::Abandon),
    ];
    let some_users = || proptest::collection::vec(0..USERS, 0..3);
    let whom = prop_oneof![
        some_users().prop_map(Whom::Users),
        Just(Whom::AllParked),
        (0..ANSWERS.len()).prop_map(Whom::Answer),
        Just(Whom::Reason),
    ];
    let any_job = || prop_oneof![4 => 0_usize..2, 1 => 0_usize..8];
    prop_oneof![
        6 => (0..USERS).prop_map(Step::Push),
        3 => prop_oneof![0_u64..3_000, delay.clone()].prop_map(Step::Advance),
        5 => (0_usize..4, 0_usize..4).prop_map(|(all, background)| Step::Lease(all, background.min(all))),
        4 => (0..USERS, 0..Lane::ALL.len(), any::<bool>(), any::<bool>())
            .prop_map(|(user, lane, restricted, again)| Step::LeaseUser(user, lane, restricted, again)),
        5 => (any_job(), how, any::<bool>(), proptest::option::of(remembered()))
            .prop_map(|(job, how, has_written, learned)| Step::Settle(job, how, has_written, learned)),
        6 => (any_job(), any::<bool>(), 0..CLASSES.len(), 0..ANSWERS.len())
            .prop_map(|(job, is_write, class, answer)| Step::Fail(job, is_write, class, answer)),
        2 => any_job().prop_map(Step::Succeed),
        2 => whom.prop_map(Step::Retry),
        2 => (some_users(), delay.clone()).prop_map(|(users, since)| Step::Enqueue(users, since)),
        1 => prop_oneof![1 => Just(true), 3 => Just(false)].prop_map(Step::Pause),
        4 => Just(Step::Checks),
        1 => (0_usize..3).prop_map(Step::Forget),
        1 => prop_oneof![Just(0), delay].prop_map(Step::Prune),
        1 => any::<bool>().prop_map(Step::Restart),
    ]
}

/// What all know, without the names of leases.
fn known(known: SharedState) -> String {
    let SharedState { read_at, breakers, paused_at, guard } = known;
    let mut breakers = serde_json::to_value([breakers.sesamy, breakers.mailmojo]).unwrap();
    for breaker in breakers.as_array_mut().unwrap() {
        if let Some(lease) = breaker.pointer_mut("/reads/open/probe/lease") {
            *lease = "of a probe".into();
        }
    }
    format!("{read_at} {breakers} {paused_at:?} {guard:?}")
}

/// Takes a step; what it came to, as text without the names of leases, which are random.
async fn take(step: Step, shop: &Shop, queue: &mut Queue, jobs: &mut Vec<Job>) -> String {
    let user = |number: usize| super::user(&number.to_string());
    let users = |numbers: Vec<usize>| -> Vec<UserId> { numbers.into_iter().map(user).collect() };
    let now = shop.clock.now();
    let after = |delay: u64| now.plus(Duration::from_millis(delay));
    let ago = |delay: u64| Millis(now.0.saturating_sub_unsigned(delay));
    let shown = |job: &Job| {
        let Job {
            user, event_type, attempts, failing_since, is_taken_over, generation, lane, memory, ..
        } = job;
        let (expiry, pass) = (job.expiry_has_come, job.has_pass);
        format!(
            "{expiry} {pass} {user} {event_type} {attempts} {failing_since:?} {is_taken_over} {generation} {lane:?} {memory:?}"
        )
    };
    match step {
        Step::Push(number) => format!("{:?}", queue.push(&user(number), UPDATE).await),
        Step::Advance(by) => {
            shop.clock.advance(Duration::from_millis(by));
            String::new()
        }
        Step::Lease(all, background) => {
            let leased = queue.lease(Slots { all, background }).await.unwrap();
            let text: Vec<String> = leased.jobs.iter().map(shown).collect();
            jobs.extend(leased.jobs);
            format!("{text:?} {:?} {:?}", leased.again_at, leased.known.paused_at)
        }
        Step::LeaseUser(number, lane, restricted, again) => {
            let request = LeaseRequest {
                user: user(number),
                cause: if restricted { EXISTING_ONLY } else { "sync" },
                lane: Lane::ALL[lane],
                calls: PerApi { sesamy: 1, mailmojo: 1 },
                again,
            };
            match queue.lease_user(request).await.unwrap() {
                UserLease::Leased(job) => {
                    jobs.push(*job.clone());
                    shown(&job)
                }
                refused => format!("{refused:?}"),
            }
        }
        Step::Settle(back, how, has_written, learned) => {
            let Some(job) = jobs.iter().rev().nth(back) else { return String::new() };
            let how = match how {
                How::Done(held_back, remembered, check) => Settlement::Done(Box::new(Done {
                    held_back,
                    tags_held: held_back.then(|| "sesamy_active_subscriber".to_owned()).into_iter().collect(),
                    memory: remembered.after(&job.memory, now),
                    check: check
                        .map(|(delay, cause)| (after(delay), [EXPIRY, DRIFT, MISSING][cause].to_owned())),
                })),
                How::Retry(delay, counts) => retry(after(delay), counts),
                How::Park(answer) => park(ANSWERS[answer]),
                How::Release => Settlement::Release { at: shop.clock.now() },
                How::Abandon(delay) => Settlement::Abandon { until: after(delay) },
            };
            let learned = learned.map(|learned| Box::new(learned.after(&job.memory, now)));
            let job = Job { has_written, learned, suspect: Some(has_written), ..job.clone() };
            let entry = Entry { outcome: "updated", attempt: job.attempts + 1, ..Entry::default() };
            format!("{:?}", queue.settle(&job, how, Some(entry)).await)
        }
        Step::Fail(back, is_write, class, answer) => {
            let Some(job) = jobs.iter().rev().nth(back) else { return String::new() };
            let kind = if is_write { CallKind::Write } else { CallKind::Read };
            format!("{:?}", fails(queue, job, kind, CLASSES[class], ANSWERS[answer]).await)
        }
        Step::Succeed(back) => {
            let Some(job) = jobs.iter().rev().nth(back) else { return String::new() };
            let answered = [CallKind::Read, CallKind::Write].map(|kind| (Api::Mailmojo, kind));
            let job = Job { answered: answered.to_vec(), ..job.clone() };
            format!("{:?}", queue.settle(&job, Settlement::done(false), None).await)
        }
        Step::Retry(whom) => {
            let whom = match whom {
                Whom::Users(numbers) => Retry::Users(users(numbers)),
                Whom::AllParked => Retry::AllParked,
                Whom::Answer(answer) => Retry::Answer(ANSWERS[answer].to_owned()),
                Whom::Reason => Retry::Reason("FROM an api".to_owned()),
            };
            let counted = queue.count_retry(&whom).await.unwrap();
            let retried = queue.retry(whom).await.unwrap();
            assert_eq!(counted, retried);
            retried.to_string()
        }
        Step::Enqueue(numbers, since) => {
            format!("{:?}", queue.enqueue(users(numbers), "backfill", ago(since)).await)
        }
        Step::Pause(true) => known(queue.pause().await.unwrap()),
        Step::Pause(false) => known(queue.resume(None).await.unwrap()),
        Step::Checks => format!("{:?}", queue.run_checks().await),
        Step::Forget(back) => match jobs.iter().rev().nth(back) {
            Some(job) => format!("{:?}", queue.forget(job).await),
            None => String::new(),
        },
        Step::Prune(missing) => format!("{:?}", queue.prune(ago(missing), 100).await),
        Step::Restart(dry_run) => {
            queue.close().await;
            *queue = shop.opens_with(dry_run).await;
            String::new()
        }
    }
}

/// All that can be asked of the queue.
async fn asked(queue: &Queue) -> String {
    let all = |state| Filter { state, limit: 200, ..Filter::default() };
    let mut rows = queue.rows(&all(None)).await.unwrap();
    rows.iter_mut().for_each(|row| row.lease = None);
    let mut text = format!("{rows:?}");
    for state in RowState::ALL {
        let ids: Vec<String> =
            queue.rows(&all(Some(state))).await.unwrap().into_iter().map(|row| row.user).collect();
        text += &format!("\n{state:?}: {ids:?}");
    }
    let names: Vec<UserId> = (0..USERS).map(|number| super::user(&number.to_string())).collect();
    let others = queue.others_at(&names[0], "1@example.com", 9).await;
    let by_others = queue.seen_by_others(&names[0], "1@example.com", "list").await;
    let log = LogFilter { limit: 50, ..LogFilter::default() };
    let log: Vec<_> =
        queue.log(log).await.unwrap().into_iter().map(|(user, entry)| (user, entry.times)).collect();
    let (parked, forgotten) = (queue.parked(9).await, queue.forgotten(&names).await);
    let (backlog, known) = (queue.backlog(Millis(0)).await, known(queue.known().await.unwrap()));
    text += &format!("\n{others:?}\n{by_others:?}\n{log:?}\n{parked:?}\n{forgotten:?}\n{backlog:?}\n{known}");
    text
}

async fn played(shop: Shop, steps: Vec<Step>) -> Vec<String> {
    let mut queue = shop.opens().await;
    let (mut jobs, mut told) = (Vec::new(), Vec::new());
    for (number, step) in steps.into_iter().enumerate() {
        let came = take(step.clone(), &shop, &mut queue, &mut jobs).await;
        told.push(format!("{step:?} -> {came}"));
        if number % 8 == 7 {
            told.push(asked(&queue).await);
        }
    }
    told.push(asked(&queue).await);
    queue.close().await;
    told
}

fn compare(cases: u32, other: impl Fn() -> Option<Shop>) {
    if other().is_none() {
        return;
    }
    let steps = proptest::collection::vec(step(), 1..40);
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(steps in steps)| {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        // Opened outside the runtime, which one kind of store brings along.
        let shop = other().unwrap();
        let expected = runtime.block_on(played(Shop::in_memory_of(shop.is_shared), steps.clone()));
        let came = runtime.block_on(played(shop, steps));
        for (came, expected) in came.iter().zip(&expected) {
            prop_assert_eq!(came, expected);
        }
    });
}

#[test]
fn all_stores_do_the_same_on_sqlite() {
    compare(32, || Some(Shop::sqlite()));
}

#[test]
fn all_stores_do_the_same_on_postgres() {
    compare(8, Shop::postgres);
}
