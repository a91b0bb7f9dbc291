//! What any store has to do, told against [`Queue`] alone. Each story runs on a [`Shop`] of every kind of store.

mod all_stores;
mod checks;
mod events;
mod forget;
mod history;
mod lanes;
mod leases;
mod life;
mod memory;
pub(super) mod memory_store;
pub(super) mod operators;
pub(super) mod server;
mod sharing;

use std::num::NonZeroU32;
use std::time::Duration;

use self::operators::{ask, by_hand};
use super::{Done, Entry, Job, Queue, QueueError, QueuePolicy, Rates, Settled, Settlement, SyncEnd};
use crate::clock::{Clock, Millis};
use crate::model::{LastSeen, SeenContact};
use crate::personal::Personal;
use crate::queue::{EXPIRY, Filter, LeaseRequest, Role, Slots};
use crate::upstream::{PerApi, Quota};
use crate::user::UserId;

pub(super) const DEBOUNCE: Duration = Duration::from_secs(2);
pub(super) const LEASE: Duration = Duration::from_secs(110);
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
pub(super) const FURTHEST: Duration = Duration::from_secs(2 * 3_600);
/// More than any story uses, but for those of the rates themselves.
const QUOTA: Quota = Quota { per_minute: NonZeroU32::MAX, burst: NonZeroU32::MAX };
pub(super) const OPTIONS: QueuePolicy = QueuePolicy {
    debounce: DEBOUNCE,
    lease: LEASE,
    request_timeout: REQUEST_TIMEOUT,
    furthest_due: FURTHEST,
    dry_run: false,
    rates: Rates {
        quotas: PerApi { sesamy: QUOTA, mailmojo: QUOTA },
        calls: PerApi { sesamy: 3, mailmojo: 2 },
    },
};
impl Queue {
    /// Ends a lease in this way.
    pub(crate) async fn settle(
        &self,
        job: &Job,
        how: Settlement,
        entry: Option<Entry>,
    ) -> Result<Settled, QueueError> {
        self.settle_sync(job, &SyncEnd::As(how), entry).await.map(|came| came.settled)
    }
}

pub(super) const UPDATE: &str = "contract.1#update";
pub(super) fn done() -> Settlement {
    Settlement::done(false)
}

/// Where queues are opened, one after the other, on one store and one clock that is moved by hand.
pub(super) struct Shop {
    pub(super) clock: Clock,
    /// Whether several services may open one store, and leases of the one before are left to end by themselves.
    pub(super) is_shared: bool,
    open: Box<dyn Fn(Role, QueuePolicy, Clock) -> Queue>,
}

impl Shop {
    pub(super) fn memory() -> Self {
        Self::in_memory_of(false)
    }

    /// In memory, of several services where it `is_shared`.
    pub(super) fn in_memory_of(is_shared: bool) -> Self {
        let kept = std::sync::Arc::default();
        let open = move |role, options, clock| {
            Queue::in_memory(role, options, clock, std::sync::Arc::clone(&kept), !is_shared, rand::random())
        };
        Self { clock: Clock::manual(Millis(1_000_000)), is_shared, open: Box::new(open) }
    }

    pub(super) fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let open = move |role, options, clock| {
            let path = folder.path().join("queue.db");
            Queue::open_sqlite(&path, role, options, clock, rand::random()).unwrap()
        };
        Self { clock: Clock::manual(Millis(1_000_000)), is_shared: false, open: Box::new(open) }
    }

    /// None where there is no Postgres server to test with.
    pub(super) fn postgres() -> Option<Self> {
        let ground = server::Ground::new()?;
        let open = move |role, options, clock| {
            ground.wait_for(Queue::open_postgres(&ground.url, role, options, clock, rand::random())).unwrap()
        };
        Some(Self { clock: Clock::manual(Millis(1_000_000)), is_shared: true, open: Box::new(open) })
    }

    pub(super) async fn opens(&self) -> Queue {
        self.opens_as(OPTIONS).await
    }

    pub(super) async fn opens_with(&self, dry_run: bool) -> Queue {
        self.opens_as(QueuePolicy { dry_run, ..OPTIONS }).await
    }

    /// As a service does it.
    pub(super) async fn opens_as(&self, options: QueuePolicy) -> Queue {
        let queue = self.opens_without_start(options);
        queue.start().await.unwrap();
        queue
    }

    /// A service's, before it has made ready what the one before left behind.
    pub(super) fn opens_without_start(&self, options: QueuePolicy) -> Queue {
        (self.open)(Role::Service, options, self.clock.clone())
    }

    /// A command's hold on the store of a service, as another process has it.
    pub(super) fn opens_beside(&self) -> Queue {
        (self.open)(Role::Command { may_create: false }, OPTIONS, self.clock.clone())
    }

    /// Another process's hold on the store of a service: another service's, where the store allows that.
    pub(super) async fn another(&self) -> Queue {
        if self.is_shared { self.opens().await } else { self.opens_beside() }
    }

    pub(super) async fn restarts(&self, queue: Queue) -> Queue {
        queue.close().await;
        self.opens().await
    }

    /// So many milliseconds from now.
    pub(super) fn later(&self, by: Duration) -> Option<Millis> {
        Some(self.clock.now().plus(by))
    }
}

/// Makes a test of each story, once for every kind of store.
macro_rules! stories {
    ($($story:ident),* $(,)?) => {
        mod in_memory {
            $(#[tokio::test]
            async fn $story() {
                super::$story(crate::queue::tests::Shop::memory()).await;
            })*
        }

        crate::queue::tests::stories_of_real_stores! { $($story),* }
    };
}

/// Makes a test of each story, once for every store but the one in memory.
macro_rules! stories_of_real_stores {
    ($($story:ident),* $(,)?) => {
        crate::queue::tests::stories_of_one_process! { $($story),* }

        mod on_postgres {
            $(#[tokio::test]
            async fn $story() {
                if let Some(shop) = crate::queue::tests::Shop::postgres() {
                    super::$story(shop).await;
                }
            })*
        }
    };
}

/// Makes a test of each story for stores that one process has to itself.
macro_rules! stories_of_one_process {
    ($($story:ident),* $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test]
            async fn $story() {
                super::$story(crate::queue::tests::Shop::sqlite()).await;
            })*
        }
    };
}
pub(super) use {stories, stories_of_one_process, stories_of_real_stores};

/// Memory of this address, and of an active contact on the list.
pub(super) fn seen(address: &str) -> LastSeen {
    let status = Some("a".to_owned());
    let contact = SeenContact { status: status.clone(), on_list: true, list_status: status };
    LastSeen { email: Some(Personal::new(address)), contact: Some(contact), ..LastSeen::default() }
}

/// The end of a sync that leaves this in the row.
pub(super) fn done_with(memory: LastSeen, check_at: Option<Millis>) -> Settlement {
    let check = check_at.map(|at| (at, EXPIRY.to_owned()));
    Settlement::Done(Box::new(Done { memory, check, ..Done::default() }))
}

pub(super) fn user(name: &str) -> UserId {
    UserId::new(format!("email|{name}")).unwrap()
}

/// Makes `names` due, all of them.
pub(super) async fn due(shop: &Shop, queue: &Queue, names: &[&str]) {
    for name in names {
        queue.push(&user(name), UPDATE).await.unwrap();
    }
    shop.clock.advance(DEBOUNCE);
}

pub(super) fn names(jobs: &[Job]) -> Vec<&str> {
    jobs.iter().map(|job| job.user.as_str()).collect()
}

/// So many users lose all of their tags that the removal guard trips.
pub(super) async fn trip(queue: &Queue) {
    for number in 0..26 {
        let name = format!("suspect-{number:02}");
        let request = LeaseRequest { calls: PerApi::default(), ..by_hand(&name) };
        let job = Job { suspect: Some(true), ..ask(queue, request).await.unwrap() };
        queue.settle(&job, done(), None).await.unwrap();
    }
}

/// The end of a sync that the removal guard kept from removing a tag.
pub(super) fn held_by_guard() -> Settlement {
    let tags_held = vec!["sesamy_active_subscriber".to_owned()];
    Settlement::Done(Box::new(Done { held_back: true, tags_held, ..Done::default() }))
}

/// When the next row is due, or its lease ends.
pub(super) async fn next_due(queue: &Queue) -> Option<Millis> {
    let rows = queue.rows(&Filter { limit: 100_000, ..Filter::default() }).await.unwrap();
    rows.iter().filter_map(|row| row.due_at).min()
}

/// Leases the only user that is due.
pub(super) async fn only_job(queue: &Queue) -> Job {
    let mut jobs = queue.lease(Slots::for_any(10)).await.unwrap().jobs;
    assert_eq!(jobs.len(), 1, "{jobs:?}");
    jobs.remove(0)
}

/// Makes `name` due and leases it.
pub(super) async fn leased(shop: &Shop, queue: &Queue, name: &str) -> Job {
    queue.push(&user(name), UPDATE).await.unwrap();
    shop.clock.advance(DEBOUNCE);
    only_job(queue).await
}

pub(super) fn retry(at: Millis, counts: bool) -> Settlement {
    Settlement::Retry { at, counts, error: "503 from an API".to_owned() }
}

pub(super) fn park(answer: &str) -> Settlement {
    Settlement::Park { error: "400 from an API".to_owned(), answer: answer.to_owned() }
}
