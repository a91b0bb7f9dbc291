//! Custom fields: those that the publisher has named hold what Sesamy says, and all others are left alone, whichever way
//! Mailmojo takes them.

use serde_json::{Value, json};
use sesamy_mailmojo::fields::Source;
use sesamy_mailmojo::sandbox::{Contact, Fault, Route, Rule, Sandbox, contact, contract, entitlement, user};
use strum::VariantArray;

use crate::support::admin::{Office, TOKEN};
use crate::support::harness::{LIST, Town};
use crate::support::shell::{changed, run};

const KARI: &str = "kari@example.com";
/// Fields of a publisher, one of each of Sesamy's answers.
const FIELDS: [(&str, &str); 4] = [
    ("MAILMOJO__CUSTOM_FIELDS__CITY", "billing_city"),
    ("MAILMOJO__CUSTOM_FIELDS__NEXT_BILL", "next_bill_at"),
    ("MAILMOJO__CUSTOM_FIELDS__PLAN", "active_products"),
    ("MAILMOJO__CUSTOM_FIELDS__STATUS", "subscription_status"),
];

fn let_write(sandbox: &Sandbox) {
    sandbox.mailmojo.let_write_custom(&["city", "next_bill", "plan", "status"]);
}

async fn town() -> Town {
    Town::before_start(&FIELDS, let_write).await
}

/// Kari buys a subscription that is billed in a far year.
fn kari_buys(town: &Town) {
    let kari = user("u1").email(KARI).billing_address("Tromsø", "9008", "NO");
    let bill = contract("c1").next_bill_at("2099-02-01T08:00:00Z");
    town.sandbox.sesamy.put_user(kari.contract(bill).entitlement(entitlement("e1", "pluss").title("Pluss")));
}

fn custom(contact: &Contact) -> Value {
    json!(contact.custom)
}

/// The `custom` of each write so far.
fn written(town: &Town) -> Vec<Value> {
    let mut calls = town.sandbox.calls_to(Route::Subscribe);
    calls.extend(town.sandbox.calls_to(Route::ContactPatch));
    calls.into_iter().filter_map(|call| call.body?.get("custom").cloned()).collect()
}

#[tokio::test]
async fn a_purchase_fills_them_and_a_change_updates_them() {
    let town = town().await;
    kari_buys(&town);
    let told = town.sync_told("u1").await;
    let all = json!({"city": "Tromsø", "next_bill": "2099-02-01", "plan": "Pluss", "status": "ACTIVE"});
    assert_eq!(custom(&town.contact(KARI)), all);
    assert_eq!((&told["outcome"], &told["changed"]), (&json!("created"), &json!("tags,custom")));
    assert_eq!(written(&town), [all], "in one write");
    assert_eq!(town.sync_told("u1").await["outcome"], "unchanged");

    town.sandbox.clear_calls();
    town.sandbox.sesamy.add_entitlement("u1", entitlement("e2", "avis").title("Avis").kind("article"));
    town.sandbox.sesamy.add_entitlement("u1", entitlement("e3", "paper").title("Papir"));
    town.sandbox.sesamy.set_contracts("u1", [contract("c1").overdue()]);
    let told = town.sync_told("u1").await;
    let now = json!({"city": "Tromsø", "next_bill": "", "plan": "Papir, Pluss", "status": "OVERDUE"});
    assert_eq!(custom(&town.contact(KARI)), now);
    assert_eq!(told["changed"], "tags,custom");

    // An editor who changes one of ours finds it changed back.
    town.sandbox.mailmojo.edit(KARI, |it| _ = it.custom.insert("plan".to_owned(), "VIP".into()));
    assert_eq!(town.sync_told("u1").await["changed"], "custom");
    assert_eq!(custom(&town.contact(KARI)), now);
    assert_eq!(town.sync_told("u1").await["outcome"], "unchanged");
}

#[tokio::test]
async fn somebody_elses_fields_survive_whether_a_write_replaces_them_all_or_is_merged_with_them() {
    for replaces in [false, true] {
        let town = town().await;
        town.sandbox.mailmojo.replace_custom(replaces);
        kari_buys(&town);
        let ola = user("u2").email("ola@example.com").billing_address("Bergen", "5003", "NO");
        town.sandbox.sesamy.put_user(ola);
        let theirs = |contact: Contact| contact.custom("shoe", 38).custom("hats", json!(["a", {"b": 1.5}]));
        let there = theirs(contact(KARI)).custom("plan", "Avis").custom("city", "Tromsø").on_list(LIST);
        town.sandbox.mailmojo.put_contact(there);
        town.sandbox.mailmojo.put_contact(theirs(contact("ola@example.com")));

        town.sync("u1").await;
        assert_eq!(
            custom(&town.contact(KARI)),
            json!({"shoe": 38, "hats": ["a", {"b": 1.5}], "city": "Tromsø", "next_bill": "2099-02-01",
                "plan": "Pluss", "status": "ACTIVE"})
        );
        assert_eq!(town.sync_told("u2").await["outcome"], "subscribed");
        assert_eq!(
            custom(&town.contact("ola@example.com")),
            json!({"shoe": 38, "hats": ["a", {"b": 1.5}], "city": "Bergen"})
        );
        assert_eq!(town.sandbox.writes(), 2, "one each");
        town.sync("u1").await;
        town.sync("u2").await;
        assert_eq!(town.sandbox.writes(), 2, "and none where nothing differs");
    }
}

#[tokio::test]
async fn fields_that_appear_between_the_look_and_the_subscribe_stay() {
    for replaces in [false, true] {
        let town = town().await;
        town.sandbox.mailmojo.replace_custom(replaces);
        kari_buys(&town);
        // Somebody makes the contact right after our look, and a Mailmojo that keeps what is there answers so.
        let mailmojo = town.sandbox.mailmojo.clone();
        let kept = Fault::edit(move |answer| {
            let theirs = json!({"shoe": 38, "plan": "VIP"});
            mailmojo.edit(KARI, |it| it.custom = theirs.as_object().unwrap().clone());
            answer["custom"] = theirs;
        });
        town.sandbox.mailmojo.inject(Rule::on(Route::Subscribe, kept));
        assert_eq!(town.sync_told("u1").await["outcome"], "created");
        assert_eq!(
            custom(&town.contact(KARI)),
            json!({"shoe": 38, "city": "Tromsø", "next_bill": "2099-02-01", "plan": "Pluss",
                "status": "ACTIVE"})
        );
        assert_eq!(town.sync_told("u1").await["outcome"], "unchanged");
    }
}

#[tokio::test]
async fn an_answer_that_leaves_them_out_is_not_taken_for_a_contact_without() {
    let town = town().await;
    town.sandbox.mailmojo.replace_custom(true);
    kari_buys(&town);
    let mailmojo = town.sandbox.mailmojo.clone();
    let silent = Fault::edit(move |answer| {
        mailmojo.edit(KARI, |it| _ = it.custom.insert("shoe".to_owned(), 38.into()));
        answer.as_object_mut().unwrap().remove("custom");
    });
    town.sandbox.mailmojo.inject(Rule::on(Route::Subscribe, silent));
    town.sync("u1").await;
    assert_eq!(town.contact(KARI).custom["shoe"], 38);
    assert_eq!((town.sandbox.count(Route::ContactGet), town.sandbox.writes()), (2, 1));
}

#[tokio::test]
async fn what_is_no_object_is_the_wrong_shape_only_where_some_of_them_are_ours() {
    for (settings, failed) in [(&FIELDS[..], true), (&[], false)] {
        let town = Town::before_start(settings, let_write).await;
        kari_buys(&town);
        town.sandbox.mailmojo.put_contact(contact(KARI).custom("shoe", 38).on_list(LIST));
        let odd = Fault::edit(|answer| answer["custom"] = json!(["shoe", 38]));
        town.sandbox.mailmojo.inject(Rule::on(Route::ContactGet, odd).times(1));
        town.sync("u1").await;
        let outcomes: Vec<Value> =
            town.service.output.syncs_of("u1").iter().map(|line| line["outcome"].clone()).collect();
        assert_eq!(outcomes.contains(&json!("failed")), failed, "{outcomes:?}");
        assert_eq!(outcomes.last(), Some(&json!("updated")));
        assert_eq!(town.contact(KARI).custom["shoe"], 38);
    }
}

#[tokio::test]
async fn by_default_nothing_of_them_is_sent() {
    let town = Town::start().await;
    kari_buys(&town);
    let odd = [("company", json!([1])), ("createdAt", json!({})), ("billingAddress", json!("Storgata"))];
    for (field, value) in odd {
        town.sandbox.sesamy.set_field("u1", field, value);
    }
    town.sandbox
        .sesamy
        .set_contracts("u1", [contract("c1").field("nextBillAt", 5).field("expiresAt", json!([]))]);
    town.sync("u1").await;
    town.sandbox.mailmojo.edit(KARI, |it| it.tags.clear());
    town.sync("u1").await;
    assert_eq!((town.sandbox.writes(), written(&town)), (2, vec![]));
}

#[tokio::test]
async fn an_unknown_source_refuses_the_start_with_all_that_there_are() {
    let town = Town::start().await;
    let wrong = changed(
        town.settings(),
        &[("MAILMOJO__CUSTOM_FIELDS__PLAN", "plan_of_the_user"), ("SYNC__DEBOUNCE", "soon")],
    );
    let ended = run(&["serve"], &wrong).await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    for told in [
        "mailmojo.custom_fields has \"plan\", which is \"plan_of_the_user\", no source",
        "user_id, created_at",
        "active_products",
        "sync.debounce",
    ] {
        assert!(ended.stderr.contains(told), "{told} is not in\n{}", ended.stderr);
    }
    let never_read = changed(town.settings(), &[FIELDS[2], ("SESAMY__DERIVE_TAGS", "false")]);
    let ended = run(&["check"], &never_read).await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("sesamy.derive_tags is false"), "{}", ended.stderr);
}

#[tokio::test]
async fn a_preview_tells_each_of_them_and_what_would_be_sent() {
    let town = town().await;
    kari_buys(&town);
    let there = contact(KARI).custom("plan", "Avis").custom("shoe", 38).custom("status", "ACTIVE");
    town.sandbox.mailmojo.put_contact(there.on_list(LIST));
    let ended = run(&["preview", "--json", "u1"], town.settings()).await;
    let answer: Value = serde_json::from_str(&ended.stdout).unwrap();
    let preview = &answer["users"][0]["preview"];
    assert_eq!(
        preview["custom_fields"],
        json!([
            {"name": "city", "source": "billing_city", "changes": true, "now": null, "sesamy": "Tromsø"},
            {"name": "next_bill", "source": "next_bill_at", "changes": true, "now": null, "sesamy": "2099-02-01"},
            {"name": "plan", "source": "active_products", "changes": true, "now": "Avis", "sesamy": "Pluss"},
            {"name": "status", "source": "subscription_status", "changes": false, "now": "ACTIVE", "sesamy": "ACTIVE"},
        ])
    );
    let ended = run(&["preview", "u1"], town.settings()).await;
    for line in ["+ city: Tromsø", "+ plan: Pluss", "active_products, now: Avis", "= status: ACTIVE"] {
        assert!(ended.stdout.contains(line), "{line} is not in\n{}", ended.stdout);
    }
    assert_eq!(town.sandbox.writes(), 0);
    town.sync("u1").await;
    assert_eq!(written(&town), [preview["request"]["body"]["custom"].clone()]);
}

#[tokio::test]
async fn the_operations_page_shows_them_in_its_preview_and_in_the_settings() {
    let office = Office::with(&FIELDS).await;
    let_write(&office.town.sandbox);
    office.town.sandbox.sesamy.put_user(user("u1").email(KARI).billing_address("<b>Bø</b>", "3800", "NO"));
    let there = contact(KARI).custom("plan", "Avis").custom("shoe", "Canaryshoe").on_list(LIST);
    office.town.sandbox.mailmojo.put_contact(there);
    office.town.sync("u1").await;
    office.town.sandbox.mailmojo.edit(KARI, |it| {
        it.custom.insert("plan".to_owned(), "Avis".into());
        it.custom.insert("city".to_owned(), "".into());
    });
    let cookie = office.login(TOKEN).await;
    let page = office.get("/admin/users/u1?preview=1", &cookie).await.body;
    for told in ["Custom fields", "<ins>&lt;b&gt;Bø&lt;/b&gt;</ins>", "<del>emptied</del>", "billing_city"] {
        assert!(page.contains(told), "{told:?} is not in\n{page}");
    }
    let page = office.get("/admin/settings", &cookie).await.body;
    let told =
        "city = billing_city, next_bill = next_bill_at, plan = active_products, status = subscription_status";
    assert!(page.contains(told), "{page}");
}

#[test]
fn the_readme_has_every_source() {
    for source in Source::VARIANTS {
        assert!(include_str!("../../../README.md").contains(&format!("`{source}`")), "{source}");
    }
}

#[tokio::test]
async fn nothing_of_them_and_nothing_that_they_come_from_is_logged_or_kept() {
    let town = Town::before_start(
        &[FIELDS[0], ("MAILMOJO__CUSTOM_FIELDS__COMPANY", "company"), ("LOG__LEVEL", "debug")],
        |sandbox| sandbox.mailmojo.let_write_custom(&["city", "company"]),
    )
    .await;
    let kari = user("u1").email(KARI).company("Canary & Sons").billing_address("Canary Wharf", "90091", "NO");
    town.sandbox.sesamy.put_user(kari.delivery_address("Canaryville", "90092", "NO"));
    let there = contact(KARI).custom("nick", "canary-nick").custom("more", json!({"pet": ["Canarybird"]}));
    town.sandbox.mailmojo.put_contact(there.on_list(LIST));
    let quote = "odd: CANARY &amp; sons, canary%20wharf 90091 Canaryville 90092, canary-NICK, canarybird";
    let refused = Fault::status(422).message(quote);
    town.sandbox.mailmojo.inject(Rule::on(Route::ContactPatch, refused).times(1));
    town.sync("u1").await;
    let line = town.end_of_sync("u1", 1).await;
    let told = line["error"].as_str().unwrap();
    assert!(line["outcome"] == "parked" && told.contains("was answered 422"), "{line}");
    let queue = rusqlite::Connection::open(town.queue_file()).unwrap();
    let kept: String = queue.query_row("SELECT error || answer FROM users", (), |row| row.get(0)).unwrap();
    for told in [kept, town.service.output.text(), town.service.metrics().await] {
        let lower = told.to_lowercase();
        assert!(!lower.contains("canary") && !lower.contains("9009"), "{told}");
    }
}

#[tokio::test]
async fn an_answer_that_leaves_custom_out_costs_nobody_elses_field() {
    let town = town().await;
    town.sandbox.mailmojo.replace_custom(true);
    kari_buys(&town);
    town.sandbox.mailmojo.put_contact(contact(KARI).custom("shoe_size", 41).on_list(LIST));
    let sparse = Fault::edit(|answer| drop(answer.as_object_mut().unwrap().remove("custom")));
    town.sandbox.mailmojo.inject(Rule::on(Route::ContactGet, sparse).times(1));
    town.sync("u1").await;
    let all = json!({"city": "Tromsø", "next_bill": "2099-02-01", "plan": "Pluss", "shoe_size": 41, "status": "ACTIVE"});
    assert_eq!(custom(&town.contact(KARI)), all);
}
