//! The ten minutes, on a clock that is moved by hand; all else is told in `tests/stories/backfill.rs`.

use std::num::NonZero;
use std::sync::Once;
use std::time::Duration;

use super::*;
use crate::clock::Clock;
use crate::merge::{KeepTags, Rules};
use crate::operations::Operator;
use crate::queue::{Lane, Options as QueueOptions, Queue, Rates, RetryPolicy, Role};
use crate::sandbox::{Mailmojo, Route, Sandbox, Sesamy, contact, contract, entitlement, user};
use crate::sync::{self, Syncer, usual_calls};
use crate::upstream::circuit_breaker::Backoff;
use crate::upstream::{Api, Credentials, Gate, Meter, PerApi, Quota, Upstream};
use crate::worker::{Gates, Hand, Limits, Stop};
use crate::{mailmojo, sesamy};

const BACKOFF: Backoff = Backoff { base: Duration::from_millis(10), cap: Duration::from_millis(50) };
const TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug)]
struct Nobody;

impl Audience for Nobody {
    fn looks(&self, _: u32, _: Option<u64>) {}
    fn passed(&self, _: u64) {}
    fn waits(&self, _: &str) {}
    fn goes_on(&self) {}
    fn notes(&self, _: &str) {}
}

struct Town {
    sandbox: Sandbox,
    clock: Clock,
    operator: Operator,
    made: Arc<Made>,
    _folder: tempfile::TempDir,
}

impl Town {
    /// Kari, a subscriber without a contact, whose page is about to be read.
    async fn with_kari() -> Self {
        static PROVIDER: Once = Once::new();
        PROVIDER.call_once(|| _ = rustls::crypto::ring::default_provider().install_default());
        let sandbox = Sandbox::start().await.unwrap();
        let kari = user("u1").email("kari@example.com").contract(contract("c1"));
        sandbox.sesamy.put_user(kari.entitlement(entitlement("e1", "plus").paid_by("c1")));
        let clock = Clock::manual(Millis(1_800_000_000_000));
        let folder = tempfile::tempdir().unwrap();
        let plenty = NonZero::new(600_000).unwrap();
        let quota = Quota { per_minute: plenty, burst: plenty };
        let options = QueueOptions {
            debounce: Duration::ZERO,
            lease: Duration::from_secs(3_600),
            request_timeout: TIMEOUT,
            furthest_due: Duration::from_secs(3_600),
            dry_run: false,
            rates: Rates { quotas: PerApi { sesamy: quota, mailmojo: quota }, calls: usual_calls(true) },
        };
        let role = Role::Command { may_create: true };
        let queue =
            Queue::open_sqlite(&folder.path().join("queue.db"), role, options, clock.clone(), 7).unwrap();
        let made = Arc::new(Made::on(Arc::new(queue.meter(Lane::Background))));
        let gates = Gates::each(|api| Arc::new(Gate::new(api, clock.clone())));
        let upstream = |api: Api, base: &str, token: &str| {
            let meter: Arc<dyn Meter> = made.clone();
            Upstream::new(crate::upstream::Options {
                base: base.parse().unwrap(),
                credentials: Credentials::Token(token.into()),
                meter,
                clock: clock.clone(),
                request_timeout: TIMEOUT,
                gate: gates.of(api).clone(),
            })
            .unwrap()
        };
        let sesamy = upstream(Api::Sesamy, sandbox.sesamy.url(), Sesamy::FIXED_TOKEN);
        let mailmojo = upstream(Api::Mailmojo, sandbox.mailmojo.url(), Mailmojo::FIXED_TOKEN);
        let rules = Rules { create_contacts: true, keep_tags: KeepTags::default() };
        let options = sync::Options {
            guest_user_id_prefixes: vec![],
            derive_tags: true,
            dry_run: false,
            custom_fields: Default::default(),
            rules,
        };
        let mailmojo = mailmojo::Client::new(mailmojo, Mailmojo::LIST.try_into().unwrap());
        let syncer = Arc::new(Syncer::new(
            sesamy::Client::new(sesamy),
            mailmojo,
            Arc::new(queue.clone()),
            clock.clone(),
            options,
        ));
        let retry = RetryPolicy { backoff: BACKOFF, max_attempts: 3 };
        // A sync's time is the clock's too: it must not be up because a test moved the clock.
        let limits = Limits {
            deadline: Duration::from_secs(3_500),
            request_timeout: TIMEOUT,
            retry,
            resync_every: None,
        };
        let brake = Arc::clone(syncer.brake());
        let hand = Hand { queue, gates, syncer: Arc::clone(&syncer), brake, clock: clock.clone(), limits };
        let operator = Operator { hand, syncer, calls: usual_calls(true) };
        Self { sandbox, clock, operator, made, _folder: folder }
    }

    async fn backfill(&self) -> Backfill {
        let per_minute = PerApi { sesamy: 1_000, mailmojo: 1_000 };
        let pace =
            Pace { concurrency: 1, derive_tags: true, dry_run: false, existing_only: false, per_minute };
        let desk =
            Desk::new(self.operator.clone(), self.made.clone(), Arc::new(Nobody), pace, Stop::default());
        let order = Order { list_id: 7, existing_only: false, updated_since_seconds: None, held_back: false };
        Backfill::prepare(desk, order, false).await.unwrap()
    }

    /// A backfill of Kari in which so much time passes between the pages and her entitlements; how often her profile and
    /// her own contracts, the entitlements and the contact are read.
    async fn reads_after(&self, passes: Duration) -> [usize; 4] {
        self.sandbox.clear_calls();
        let gate = self.sandbox.sesamy.hold(Route::Entitlements);
        let running = tokio::spawn(self.backfill().await.run());
        gate.arrived().await;
        self.clock.advance(passes);
        gate.release();
        assert!(running.await.unwrap().unwrap().ok);
        let about_her = |route| {
            let calls = self.sandbox.calls_to(route);
            calls.iter().filter(|call| call.subject.is_some()).count()
        };
        [Route::Profile, Route::Contracts, Route::Entitlements, Route::ContactGet].map(about_her)
    }
}

#[tokio::test]
async fn what_is_older_than_ten_minutes_is_read_again_before_a_write_and_only_then() {
    for (passes, reads) in [(600_000, [0, 0, 1, 1]), (600_001, [1, 1, 1, 2])] {
        let town = Town::with_kari().await;
        assert_eq!(town.reads_after(Duration::from_millis(passes)).await, reads, "{passes} ms");
        let kari = town.sandbox.mailmojo.contact("kari@example.com").unwrap();
        assert!(kari.tags.iter().any(|tag| tag == "sesamy_active_subscriber"), "{kari:?}");

        // Now that there is nothing to write, it may be as old as it likes.
        town.clock.advance(Duration::from_secs(1));
        assert_eq!(town.reads_after(Duration::from_secs(3_000)).await, [0, 0, 1, 1]);
        town.sandbox.assert_no_findings();
    }
}

#[tokio::test]
async fn a_write_follows_from_what_was_read_again() {
    let town = Town::with_kari().await;
    town.sandbox.mailmojo.put_contact(contact("kari@example.com").on_list(Mailmojo::LIST));
    let gate = town.sandbox.sesamy.hold(Route::Entitlements);
    let running = tokio::spawn(town.backfill().await.run());
    gate.arrived().await;
    town.sandbox.sesamy.set_contracts("u1", [contract("c1").cancelled()]);
    town.clock.advance(Duration::from_secs(601));
    gate.release();
    assert!(running.await.unwrap().unwrap().ok);
    let written = town.sandbox.calls_to(Route::ContactPatch);
    assert!(
        written.iter().all(|call| !format!("{:?}", call.body).contains("active_subscriber")),
        "{written:?}"
    );
    town.sandbox.assert_no_findings();
}
