//! Deciding and writing apart, and what a row of a list is trusted with; whole syncs are in `tests/stories`.

mod kept;

use std::num::NonZero;
use std::sync::Once;
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::clock::Millis;
use crate::fields::Source;
use crate::memory::{Memory, Seen};
use crate::merge::KeepTags;
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
    })
    .unwrap()
}

impl Town {
    /// The same, with these custom fields.
    async fn with_kari_and(fields: &[(&str, Source)]) -> Self {
        let mut town = Self::with_kari().await;
        let fields = fields.iter().map(|(name, source)| ((*name).to_owned(), *source)).collect();
        town.syncer.options.custom_fields = CustomFields::new(fields);
        let list = Mailmojo::LIST.try_into().unwrap();
        let mailmojo = upstream(Api::Mailmojo, town.sandbox.mailmojo.url(), Mailmojo::FIXED_TOKEN);
        town.syncer.mailmojo = Arc::new(mailmojo::Client::new(mailmojo, list).reading_custom(true));
        town
    }

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
        let options = Options {
            guest_user_id_prefixes: vec!["guest|".into()],
            derive_tags: true,
            dry_run: false,
            custom_fields: CustomFields::default(),
            rules: Rules { create_contacts: true, keep_tags: KeepTags::default() },
        };
        let list = Mailmojo::LIST.try_into().unwrap();
        let mailmojo = mailmojo::Client::new(mailmojo, list);
        let (sesamy, addresses) = (sesamy::Client::new(sesamy), Arc::new(NoOtherUsers));
        let syncer = Syncer::new(sesamy, mailmojo, addresses, Clock::system(), options);
        Self { sandbox, syncer }
    }

    async fn decide(&self, known: Known) -> Decision {
        self.sandbox.clear_calls();
        self.syncer.decide(&id(), &context(&Memory::default()), known).await.unwrap()
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

fn context(memory: &Memory) -> Context {
    Context::new(Attempt::within(Duration::from_secs(60), &Clock::system()), memory.clone())
}

fn known(row: Value, contracts: Option<Value>) -> Known {
    Known {
        profile: Some(serde_json::from_value(row).unwrap()),
        contracts: contracts.map(|contracts| serde_json::from_value(contracts).unwrap()),
        entitlements: None,
    }
}

fn change_of(decision: &Decision) -> (Vec<String>, Vec<String>) {
    (decision.report().tags_added.clone(), decision.report().tags_removed.clone())
}

#[tokio::test]
async fn the_search_for_an_unknown_user_begins_with_a_sync_that_may_create_and_goes_on_with_any() {
    let town = Town::with_kari().await;
    let stranger = UserId::new("stranger").unwrap();
    let missing = Memory { missing_since: Some(Clock::system().wall()), ..Memory::default() };
    for (manner, memory, is_looked_for) in [
        (Manner::Usual, Memory::default(), true),
        (Manner::Again, Memory::default(), true),
        (Manner::ExistingOnly, Memory::default(), false),
        (Manner::Round, Memory::default(), false),
        (Manner::ExistingOnly, missing.clone(), true),
        (Manner::Round, missing, true),
    ] {
        let syncer = town.syncer.in_manner(manner);
        let decision = syncer.decide(&stranger, &context(&memory), Known::default()).await.unwrap();
        let report = decision.report();
        assert_eq!(report.outcome, Outcome::Skipped(Reason::UserNotFound));
        assert_eq!(report.changes_at.is_some(), is_looked_for, "{manner:?} {memory:?}");
        assert!(report.memory.missing_since.is_some());
    }
}

#[tokio::test]
async fn a_write_is_not_begun_where_the_machine_slept_past_the_end_of_the_sync() {
    let (town, clock) = (Town::with_kari().await, Clock::manual(Millis(0)));
    let attempt = Attempt::within(Duration::from_secs(60), &clock);
    let context = Context::new(attempt.clone(), Memory::default());
    let decision = town.syncer.decide(&id(), &context, Known::default()).await.unwrap();
    assert!(decision.changes());
    clock.advance(Duration::from_secs(51)); // less than a `request_timeout` is left of it
    let error = town.syncer.write(decision, &context).await.unwrap_err();
    assert!(error.message.contains("no time is left for PATCH"), "{}", error.message);
    assert_eq!((town.sandbox.writes(), attempt.has_written()), (0, false));
}

#[tokio::test]
async fn a_decision_writes_nothing_until_it_is_written_and_then_exactly_its_request() {
    let town = Town::with_kari().await;
    let decision = town.decide(Known::default()).await;
    assert_eq!(town.reads(), [1, 1, 1, 1]);
    assert!(decision.changes());
    assert_eq!(town.sandbox.writes(), 0);
    let (method, path, body) = {
        let call = decision.request().unwrap();
        (call.method.to_string(), call.path.clone(), call.body.clone())
    };
    let expected = decision.report().clone();
    assert!(!format!("{decision:?}").contains("kari"), "{decision:?}");

    let report = town.syncer.write(decision, &context(&Memory::default())).await.unwrap();
    assert_eq!(report, expected);
    let sent = town.sandbox.calls_to(Route::ContactPatch);
    assert_eq!((sent[0].method.clone(), sent[0].target.clone(), sent[0].body.clone()), (method, path, body));
    assert!(!town.decide(Known::default()).await.changes());
    assert_eq!(town.sandbox.writes(), 0);
}

#[tokio::test]
async fn what_is_known_is_not_read_again_and_decides_the_same() {
    let town = Town::with_kari().await;
    let unaided = town.decide(Known::default()).await;
    let row = json!({"id": "u1", "email": "kari@example.com", "firstName": "Kari", "tags": ["Early bird"]});
    let contracts = json!([{"id": "c1", "isActive": true, "contractDuration": "RECURRING"}]);
    let aided = town.decide(known(row, Some(contracts))).await;
    assert_eq!(town.reads(), [0, 0, 1, 1]);
    assert_eq!(aided.report(), unaided.report());
    assert_eq!(aided.wanted(), unaided.wanted());
    assert_eq!(aided.request().unwrap().body, unaided.request().unwrap().body);

    let of_somebody_else = known(json!({"id": "u2", "email": "ola@example.com"}), None);
    assert_eq!(town.decide(of_somebody_else).await.report(), unaided.report());
    assert_eq!(town.reads(), [1, 1, 1, 1]);
    let contracts = json!([{"id": "c1", "userId": "u2", "isActive": true}]);
    let wrong = known(json!({"id": "u1", "email": "kari@example.com"}), Some(contracts));
    let error = town.syncer.decide(&id(), &context(&Memory::default()), wrong).await.unwrap_err();
    assert!(error.message.contains("another user"), "{error}");
}

#[tokio::test]
async fn a_row_that_leaves_out_an_address_or_tags_is_not_trusted_with_them() {
    let town = Town::with_kari().await;
    let added = vec![
        "sesamy_active_entitlement_plus".to_owned(),
        "sesamy_active_sku_plus".to_owned(),
        "sesamy_active_subscriber".to_owned(),
    ];
    let no_address = town.decide(known(json!({"id": "u1"}), None)).await;
    assert_eq!((town.reads(), change_of(&no_address)), ([1, 1, 1, 1], (added.clone(), vec![])));

    // By the row alone the contact would lose a tag of the profile: one call more finds that it stays.
    let no_tags = json!({"id": "u1", "email": "kari@example.com"});
    let decision = town.decide(known(no_tags.clone(), None)).await;
    assert_eq!((town.reads(), change_of(&decision)), ([1, 1, 1, 1], (added.clone(), vec![])));
    assert!(decision.wanted().unwrap().contains_key("sesamy_tag_early-bird"));

    // A row that says that there are none is believed, and so is one by which nothing goes.
    let none = json!({"id": "u1", "email": "kari@example.com", "tags": []});
    let decision = town.decide(known(none, None)).await;
    let gone = vec!["sesamy_tag_early-bird".to_owned()];
    assert_eq!((town.reads(), change_of(&decision)), ([0, 1, 1, 1], (added.clone(), gone)));
    town.sandbox.mailmojo.edit("kari@example.com", |it| it.tags = vec!["vip".to_owned()]);
    let decision = town.decide(known(no_tags.clone(), None)).await;
    assert_eq!((town.reads(), change_of(&decision)), ([0, 1, 1, 1], (added, vec![])));

    // The profile itself may name another address by now: that contact is the one.
    town.sandbox.mailmojo.edit("kari@example.com", |it| it.tags = vec!["sesamy_tag_early-bird".to_owned()]);
    town.sandbox.sesamy.set_field("u1", "email", "kari@example.org");
    let decision = town.decide(known(no_tags, None)).await;
    assert_eq!((town.reads(), decision.report().outcome), ([1, 1, 1, 2], Outcome::Created));
    let body = decision.request().unwrap().body.clone().unwrap();
    assert_eq!(body["email"], "kari@example.org");
}

#[tokio::test]
async fn a_row_that_leaves_out_what_a_custom_field_comes_from_does_not_empty_it() {
    let town = Town::with_kari_and(&[("firm", Source::Company), ("plan", Source::ActiveProducts)]).await;
    town.sandbox.sesamy.set_field("u1", "company", "Avisa AS");
    let custom_of =
        |decision: &Decision| decision.request().unwrap().body.as_ref().unwrap()["custom"].clone();
    let row = json!({"id": "u1", "email": "kari@example.com", "tags": ["Early bird"]});
    // Nothing is lost by not knowing what it is.
    let decision = town.decide(known(row.clone(), None)).await;
    assert_eq!((town.reads(), custom_of(&decision)), ([0, 1, 1, 1], json!({"plan": "plus"})));
    town.sandbox
        .mailmojo
        .edit("kari@example.com", |it| _ = it.custom.insert("firm".to_owned(), "Avisa".into()));
    let decision = town.decide(known(row.clone(), None)).await;
    assert_eq!(
        (town.reads(), custom_of(&decision)),
        ([1, 1, 1, 1], json!({"firm": "Avisa AS", "plan": "plus"}))
    );
    // What comes from elsewhere than the profile is not the row's to tell.
    town.sandbox
        .mailmojo
        .edit("kari@example.com", |it| it.custom = [("plan".to_owned(), "x".into())].into_iter().collect());
    town.sandbox.sesamy.set_entitlements("u1", Vec::<Value>::new());
    let decision = town.decide(known(row, None)).await;
    assert_eq!((town.reads(), custom_of(&decision)), ([0, 1, 1, 1], json!({"plan": ""})));
}

#[tokio::test]
async fn a_guest_by_a_row_is_skipped_without_a_call() {
    let town = Town::with_kari().await;
    let row = json!({"id": "u1", "email": "kari@example.com", "isGuest": true});
    let decision = town.decide(known(row, None)).await;
    assert_eq!((town.reads(), decision.skipped()), ([0; 4], Some(Reason::Guest)));
    assert_eq!(decision.report().reached, []);
}

#[tokio::test]
async fn existing_only_creates_and_subscribes_nobody() {
    let town = Town::with_kari().await;
    let existing_only = town.syncer.in_manner(Manner::ExistingOnly);
    let outcome = async |syncer: &Syncer| {
        syncer.decide(&id(), &context(&Memory::default()), Known::default()).await.unwrap().report().outcome
    };
    assert_eq!(outcome(&existing_only).await, Outcome::Updated);
    town.sandbox.sesamy.set_field("u1", "email", "new@example.com");
    assert_eq!(outcome(&existing_only).await, Outcome::Skipped(Reason::NotInMailmojo));
    assert_eq!(outcome(&town.syncer).await, Outcome::Created);
    town.sandbox.mailmojo.put_contact(contact("new@example.com"));
    assert_eq!(outcome(&existing_only).await, Outcome::Updated);
    assert_eq!(outcome(&town.syncer).await, Outcome::Subscribed);
}
