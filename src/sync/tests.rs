//! Deciding and writing apart, and what a row of a list is trusted with; whole syncs are in `tests/stories`.

mod removal_guard;

use std::num::NonZero;
use std::sync::Once;
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::clock::Millis;
use crate::fields::CustomFields;
use crate::merge::KeepTags;
use crate::model::LastSeen;
use crate::outcome::{Outcome, Reason};
use crate::sandbox::{Mailmojo, Route, Sandbox, Sesamy, contact, contract, entitlement, user};
use crate::upstream::{Attempt, Credentials, Gate, Meter, OwnMeter, Quota, Upstream};

struct Town {
    sandbox: Sandbox,
    syncer: Syncer,
}

fn upstream(api: Api, base: &str, token: &str) -> Upstream {
    let clock = Clock::system();
    let plenty = NonZero::new(600_000).unwrap();
    let quota = Quota { per_minute: plenty, burst: plenty };
    let meter: Arc<dyn Meter> =
        Arc::new(OwnMeter::new(PerApi { sesamy: quota, mailmojo: quota }, clock.clone()));
    Upstream::new(crate::upstream::Options {
        base: base.parse().unwrap(),
        credentials: Credentials::Token(token.into()),
        meter,
        clock: clock.clone(),
        request_timeout: Duration::from_secs(10),
        gate: Arc::new(Gate::new(api, clock)),
        field_names: &[],
    })
    .unwrap()
}

impl Town {
    /// Kari, a subscriber with a tag of her own, whose contact has that tag, an old one, and somebody else's.
    async fn with_kari() -> Self {
        static PROVIDER: Once = Once::new();
        PROVIDER.call_once(|| _ = rustls::crypto::ring::default_provider().install_default());
        let sandbox = Sandbox::start().await.unwrap();
        let kari = user("u1").email("kari@example.com").first_name("Kari").tags(["Early bird"]);
        sandbox.sesamy.put_user(kari.contract(contract("c1")).entitlement(entitlement("e1", "plus")));
        let there =
            contact("kari@example.com").tags(["vip", "sesamy_tag_early-bird"]).on_list(Mailmojo::LIST);
        sandbox.mailmojo.put_contact(there);
        let sesamy = upstream(Api::Sesamy, sandbox.sesamy.url(), Sesamy::FIXED_TOKEN);
        let mailmojo = upstream(Api::Mailmojo, sandbox.mailmojo.url(), Mailmojo::FIXED_TOKEN);
        let settings = SyncSettings {
            guest_user_id_prefixes: vec!["guest|".into()],
            derive_tags: true,
            dry_run: false,
            create_contacts: true,
            keep_tags: KeepTags::default(),
            custom_fields: CustomFields::default(),
        };
        let list = Mailmojo::LIST.try_into().unwrap();
        let mailmojo = mailmojo::Client::new(mailmojo, list);
        let (sesamy, addresses) = (sesamy::Client::new(sesamy), Arc::new(NoOtherUsers));
        let syncer = Syncer::new(sesamy, mailmojo, addresses, Clock::system(), settings);
        Self { sandbox, syncer }
    }

    async fn decide(&self) -> Decision {
        self.sandbox.clear_calls();
        self.syncer.preview(&id(), &context(&LastSeen::default())).await.unwrap()
    }

    /// How often the profile, contracts, entitlements and the contact were read for the last decision.
    fn reads(&self) -> [u64; 4] {
        [Route::Profile, Route::Contracts, Route::Entitlements, Route::ContactGet]
            .map(|route| self.sandbox.count(route))
    }
}

fn id() -> UserId {
    UserId::new("u1").unwrap()
}

fn context(last_seen: &LastSeen) -> Context {
    Context::new(Attempt::within(Duration::from_secs(60), &Clock::system()), last_seen.clone())
}

#[tokio::test]
async fn the_search_for_an_unknown_user_begins_with_a_sync_that_may_create_and_goes_on_with_any() {
    let town = Town::with_kari().await;
    let stranger = UserId::new("stranger").unwrap();
    let missing = LastSeen { missing_since: Some(Clock::system().wall()), ..LastSeen::default() };
    for (mode, last_seen, is_looked_for) in [
        (SyncMode::Normal, LastSeen::default(), true),
        (SyncMode::Override, LastSeen::default(), true),
        (SyncMode::ExistingOnly, LastSeen::default(), false),
        (SyncMode::ExistingOnly, missing, true),
    ] {
        let syncer = town.syncer.in_mode(mode);
        let decision = syncer.preview(&stranger, &context(&last_seen)).await.unwrap();
        let report = decision.report();
        assert_eq!(report.outcome, Outcome::Skipped(Reason::UserNotFound));
        assert_eq!(report.changes_at.is_some(), is_looked_for, "{mode:?} {last_seen:?}");
        assert!(report.last_seen.missing_since.is_some());
    }
}

#[tokio::test]
async fn a_write_is_not_begun_where_the_machine_slept_past_the_end_of_the_sync() {
    let (town, clock) = (Town::with_kari().await, Clock::manual(Millis(0)));
    let attempt = Attempt::within(Duration::from_secs(60), &clock);
    let context = Context::new(attempt.clone(), LastSeen::default());
    let decision = town.syncer.preview(&id(), &context).await.unwrap();
    assert!(decision.changes());
    clock.advance(Duration::from_secs(51)); // less than a `request_timeout` is left of it
    let error = town.syncer.apply(decision, &context).await.unwrap_err();
    assert!(error.to_string().contains("no time is left for PATCH"), "{error}");
    assert_eq!((town.sandbox.writes(), attempt.has_written()), (0, false));
}

#[tokio::test]
async fn a_decision_writes_nothing_until_it_is_written_and_then_exactly_its_request() {
    let town = Town::with_kari().await;
    let decision = town.decide().await;
    assert_eq!(town.reads(), [1, 1, 1, 1]);
    assert!(decision.changes());
    assert_eq!(town.sandbox.writes(), 0);
    let (method, path, body) = {
        let call = town.syncer.request(decision.write().unwrap());
        (call.method.to_string(), call.path, call.body)
    };
    let expected = decision.report().clone();
    assert!(!format!("{decision:?}").contains("kari"), "{decision:?}");

    let report = town.syncer.apply(decision, &context(&LastSeen::default())).await.unwrap();
    assert_eq!(report, expected);
    let sent = town.sandbox.calls_to(Route::ContactPatch);
    assert_eq!((sent[0].method.clone(), sent[0].target.clone(), sent[0].body.clone()), (method, path, body));
    assert!(!town.decide().await.changes());
    assert_eq!(town.sandbox.writes(), 0);
}

#[tokio::test]
async fn existing_only_creates_and_subscribes_nobody() {
    let town = Town::with_kari().await;
    let existing_only = town.syncer.in_mode(SyncMode::ExistingOnly);
    let outcome = async |syncer: &Syncer| {
        syncer.preview(&id(), &context(&LastSeen::default())).await.unwrap().report().outcome
    };
    assert_eq!(outcome(&existing_only).await, Outcome::Updated);
    town.sandbox.sesamy.set_field("u1", "email", "new@example.com");
    assert_eq!(outcome(&existing_only).await, Outcome::Skipped(Reason::NotInMailmojo));
    assert_eq!(outcome(&town.syncer).await, Outcome::Created);
    town.sandbox.mailmojo.put_contact(contact("new@example.com"));
    assert_eq!(outcome(&existing_only).await, Outcome::Updated);
    assert_eq!(outcome(&town.syncer).await, Outcome::Subscribed);
}
