//! The lists, asked of the sandbox, and rows that no sandbox has.

use std::num::NonZero;
use std::sync::{Arc, Once};
use std::time::Duration;

use serde_json::json;

use super::*;
use crate::clock::Clock;
use crate::sandbox::{Fault, Route, Rule, Sandbox, Sesamy, Shape, contract, user};
use crate::upstream::{Api, Credentials, Gate, Options, OwnMeter, PerApi, Quota, Upstream};

struct Town {
    sandbox: Sandbox,
    client: Client,
    attempt: Attempt,
}

impl Town {
    async fn start() -> Self {
        static PROVIDER: Once = Once::new();
        PROVIDER.call_once(|| _ = rustls::crypto::ring::default_provider().install_default());
        let sandbox = Sandbox::start().await.unwrap();
        let clock = Clock::system();
        let plenty = NonZero::new(600_000).unwrap();
        let quota = Quota { per_minute: plenty, burst: plenty };
        let upstream = Upstream::new(Options {
            base: sandbox.sesamy.url().parse().unwrap(),
            credentials: Credentials::Token(Sesamy::FIXED_TOKEN.into()),
            meter: Arc::new(OwnMeter::new(PerApi { sesamy: quota, mailmojo: quota }, clock.clone())),
            clock: clock.clone(),
            request_timeout: Duration::from_secs(10),
            gate: Arc::new(Gate::new(Api::Sesamy, clock.clone())),
            field_names: &[],
        });
        let attempt = Attempt::within(Duration::from_secs(60), &clock);
        Self { sandbox, client: Client::new(upstream.unwrap()), attempt }
    }

    async fn found(&self, address: &str) -> Vec<String> {
        let found = self.client.find_by_email(address, &self.attempt).await.unwrap();
        found.iter().map(|user| user.as_str().to_owned()).collect()
    }
}

#[tokio::test]
async fn all_users_and_all_contracts_are_read_page_by_page_in_both_shapes() {
    let town = Town::start().await;
    for n in 0..130 {
        let id = format!("u{n:03}");
        let email = format!("{id}@example.com");
        town.sandbox.sesamy.put_user(user(&id).email(&email).contract(contract(&format!("c{n}"))));
    }
    for (shape, total, next) in [(Shape::Bare, None, Some(130)), (Shape::Envelope, Some(130), None)] {
        town.sandbox.sesamy.answer_as(shape);
        let first = town.client.users_page(0, None, &town.attempt).await.unwrap();
        assert_eq!((first.rows.len(), first.next, first.total), (100, Some(100), total));
        let second = town.client.users_page(100, None, &town.attempt).await.unwrap();
        assert_eq!((second.rows.len(), second.next, second.left_out), (30, next, 0));
        assert_ne!(first.mark, second.mark);
        let row = &second.rows[29];
        assert_eq!(row.user.as_str(), "u129");
        assert!(row.updated_at.is_some() && row.profile.as_ref().is_some_and(|it| it.email.is_some()));

        let contracts = town.client.contracts_page(100, &town.attempt).await.unwrap();
        assert_eq!((contracts.rows.len(), contracts.next), (30, next));
        let row = &contracts.rows[0];
        assert_eq!(row.user.as_str(), "u100");
        assert_eq!(row.updated_at, Some("2025-01-01T00:00:00Z".parse().unwrap()));
    }
}

#[tokio::test]
async fn a_user_is_found_by_the_whole_address_and_nothing_less() {
    let town = Town::start().await;
    for (id, email) in [
        ("u1", "Kari@Example.com"),
        ("u2", "kari@example.com.au"),
        ("u3", "another-kari@example.com"),
        ("u4", " kari@example.COM "),
    ] {
        town.sandbox.sesamy.put_user(user(id).email(email));
    }
    town.sandbox.sesamy.put_user(user("u5").field("name", "kari@example.com"));
    assert_eq!(town.found("kari@example.com ").await, ["u1", "u4"]);
    assert_eq!(town.found("Kari+a&b@example.com").await, Vec::<String>::new());
    let asked = town.sandbox.calls_to(Route::Users);
    assert!(asked[1].target.ends_with("search=Kari%2Ba%26b%40example.com"), "{asked:?}");

    for n in 0..150 {
        town.sandbox.sesamy.put_user(user(&format!("a{n:03}")).email(&format!("ola@example.com{n}")));
    }
    town.sandbox.sesamy.put_user(user("z").email("ola@example.com"));
    assert_eq!(town.found("ola@example.com").await, ["z"], "on the second page");
}

#[tokio::test]
async fn a_user_is_found_whichever_form_of_the_domain_sesamy_has() {
    let town = Town::start().await;
    town.sandbox.sesamy.put_user(user("u1").email("kari@xn--blbr-roah.no"));
    town.sandbox.sesamy.put_user(user("u2").email("Ola@blåbær.no"));
    assert_eq!(town.found("kari@blåbær.no").await, ["u1"]);
    assert_eq!(town.found("ola@xn--blbr-roah.no").await, ["u2"]);
    for (but, address, expected) in [
        ("u9", "kari@blåbær.no", OwnerBesides::Somebody),
        ("u9", "ola@xn--blbr-roah.no", OwnerBesides::Somebody),
        ("u1", "kari@blåbær.no", OwnerBesides::Nobody),
        ("u9", "per@blåbær.no", OwnerBesides::Nobody),
    ] {
        let but = UserId::new(but).unwrap();
        let owner = town.client.owner_besides(&but, address, |_| false, &town.attempt).await.unwrap();
        assert_eq!(owner, expected, "{address}");
    }
    // The same page twice is not the end of a search, whatever its total says.
    let page: Vec<_> = (0..12).map(|n| json!({"id": format!("u{n}"), "email": "a@example.com"})).collect();
    let page = json!({"data": page, "pagination": {"total": 24}});
    town.sandbox.sesamy.inject(Rule::on(Route::Users, Fault::wrong_shape(page)));
    let nobody = UserId::new("u9").unwrap();
    let owner = town.client.owner_besides(&nobody, "kari@example.com", |_| false, &town.attempt);
    assert_eq!(owner.await.unwrap(), OwnerBesides::Unknown);
}

#[tokio::test]
async fn a_list_that_is_none_is_told_apart_from_an_empty_one() {
    let town = Town::start().await;
    assert_eq!(town.client.users_page(0, None, &town.attempt).await.unwrap().rows.len(), 0);
    let sesamy = &town.sandbox.sesamy;
    sesamy.inject(Rule::on(Route::Contracts, Fault::status(404)));
    match town.client.contracts_page(0, &town.attempt).await {
        Err(ContractsError::Failure(failure)) => assert!(failure.to_string().contains("no such list")),
        other => panic!("{other:?}"),
    }
    sesamy.clear_faults();
    for row in [json!({"id": "c1", "isActive": true}), json!(null), json!({"userId": 5})] {
        sesamy.clear_faults();
        sesamy.inject(Rule::on(Route::Contracts, Fault::wrong_shape(json!([row]))));
        let nameless = town.client.contracts_page(0, &town.attempt).await;
        assert!(matches!(nameless, Err(ContractsError::NoUser)), "{nameless:?}");
    }

    sesamy.inject(Rule::on(Route::Users, Fault::wrong_shape(json!([{"email": "kari@example.com"}]))));
    let nameless = town.client.users_page(0, None, &town.attempt).await.unwrap();
    assert_eq!((nameless.rows.len(), nameless.left_out), (0, 1));
    sesamy.clear_faults();
    let same: Vec<_> = (0..100).map(|n| json!({"id": format!("u{n}")})).collect();
    sesamy.inject(Rule::on(Route::Users, Fault::wrong_shape(json!(same))));
    let failure = town.client.find_by_email("kari@example.com", &town.attempt).await.unwrap_err();
    assert!(failure.to_string().contains("again and again"), "{}", failure.to_string());
}

#[test]
fn one_odd_row_spoils_no_page() {
    let rows = json!([
        {"userId": "u1", "updatedAt": "2025-11-10T12:00:00.000Z", "email": "kari@example.com"},
        {"id": "u2", "updatedAt": "yesterday", "email": 5},
        {"userId": ".."}, {"userId": 7, "id": "u3"}, {"id": 7}, {"id": null}, {"email": "ola@example.com"}, {}, [], null, 7
    ]);
    let page = RawPage::read(rows, "users", 0).unwrap().typed(UserRow::of);
    assert_eq!((page.left_out, page.length()), (9, 11));
    let told: Vec<_> = page.rows.iter().map(|row| (row.user.as_str(), row.updated_at.is_some())).collect();
    assert_eq!(told, [("u1", true), ("u2", false)]);
    let emails: Vec<bool> = page.rows.iter().map(|row| row.profile.is_some()).collect();
    assert_eq!(emails, [true, false]);
    let is_of_its_user = |row: &UserRow| {
        row.profile.as_ref().is_none_or(|it| it.user_id.as_deref() == Some(row.user.as_str()))
    };
    assert!(page.rows.iter().all(is_of_its_user));
}
