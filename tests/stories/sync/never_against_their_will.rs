//! Nobody is put on the list against their will: whatever the account and the list say of somebody, in whatever way they
//! say it, and whatever happens between our look and our write.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sesamy_mailmojo::event::EventType;
use sesamy_mailmojo::sandbox::{Associations, Call, Contact, Fault, Route, Rule, contact, contract, user};

use crate::support::harness::{LIST, PATIENCE, Town};

/// A list of the account that is not ours.
const OTHER: i64 = 8;
/// What the account may say of a contact. `A` is no status that is known.
const ACCOUNT: [&str; 5] = ["a", "u", "b", "d", "A"];
/// What our list may say of a contact; nothing, where it does not know it.
const ON_LIST: [Option<&str>; 5] = [None, Some("a"), Some("u"), Some("b"), Some("d")];

/// How Mailmojo tells of lists in a round of the story.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Telling {
    associations: Associations,
    /// Whether the list's own path knows active members alone.
    hides: bool,
}

const TELLINGS: [Telling; 5] = [
    Telling { associations: Associations::Told, hides: false },
    Telling { associations: Associations::Null, hides: false },
    Telling { associations: Associations::Absent, hides: false },
    Telling { associations: Associations::Null, hides: true },
    Telling { associations: Associations::Absent, hides: true },
];

/// Somebody who is there before the service looks.
struct Somebody {
    id: String,
    before: Contact,
}

impl Somebody {
    fn email(&self) -> &str {
        &self.before.email
    }

    fn is_subscribed_by(&self, telling: Telling, creates: bool) -> bool {
        let known = self.before.list_status(LIST);
        let looks_unknown = known.is_none() || (telling.hides && known != Some("a"));
        creates && self.before.status == "a" && looks_unknown
    }
}

/// Everybody of one round: each status of the account with each on the list, or with another list than ours.
fn everybody(round: usize) -> Vec<Somebody> {
    let mut all = Vec::new();
    for account in ACCOUNT {
        for on_list in ON_LIST {
            let others: &[_] = if on_list.is_none() { &[None, Some("u")] } else { &[None] };
            for &on_other in others {
                let name = |status: Option<&str>| status.unwrap_or("none").to_owned();
                let id = format!("{round}-{account}-{}-{}", name(on_list), name(on_other));
                let mut before =
                    contact(&format!("{id}@example.com").to_lowercase()).status(account).tags(["vip"]);
                if account == "A" {
                    before.email = before.email.replace("-a-", "-upper-");
                }
                if let Some(status) = on_other {
                    before = before.on_list_as(OTHER, status);
                }
                if let Some(status) = on_list {
                    before = before.on_list_as(LIST, status);
                }
                all.push(Somebody { id, before });
            }
        }
    }
    all
}

fn subscribes(town: &Town) -> Vec<Call> {
    let calls = town.sandbox.calls_to(Route::Subscribe);
    for call in &calls {
        assert_eq!(call.body.as_ref().unwrap()["force_subscribe"], false, "{call}");
    }
    calls
}

async fn a_round(town: &Town, round: usize, telling: Telling, creates: bool) {
    town.sandbox.mailmojo.answer_associations_as(telling.associations);
    town.sandbox.mailmojo.hide_inactive_members(telling.hides);
    town.sandbox.clear_calls();
    let all = everybody(round);
    for it in &all {
        town.sandbox.mailmojo.put_contact(it.before.clone());
        town.sandbox
            .sesamy
            .put_user(user(&it.id).email(it.email()).first_name("Kari").contract(contract("c1")));
    }
    town.sync_all(all.iter().map(|it| &it.id)).await;

    let subscribed: Vec<_> = subscribes(town).into_iter().map(|call| call.subject.unwrap()).collect();
    for it in &all {
        let after = town.contact(it.email());
        let what = format!("{} with {telling:?}, create_contacts {creates}", it.id);
        assert_eq!(after.status, it.before.status, "{what}");
        assert_eq!(after.list_status(OTHER), it.before.list_status(OTHER), "{what}");
        let is_new = it.before.list_status(LIST).is_none() && it.is_subscribed_by(telling, creates);
        let expected = if is_new { Some("a") } else { it.before.list_status(LIST) };
        assert_eq!(after.list_status(LIST), expected, "{what}");
        // Data and tags are kept in step for everybody.
        assert_eq!(after.tags, ["vip", "sesamy_active_subscriber"], "{what}");
        assert_eq!(after.first_name.as_deref(), Some("Kari"), "{what}");

        let called = subscribed.iter().filter(|email| *email == it.email()).count();
        assert_eq!(called, usize::from(it.is_subscribed_by(telling, creates)), "{what}");
        let told = town.end_of_sync(&it.id, 1).await;
        assert_eq!(told["outcome"], if called == 1 { "subscribed" } else { "updated" }, "{what}");
    }
    let asked_the_list = if telling.associations == Associations::Told { 0 } else { all.len() as u64 };
    assert_eq!(town.sandbox.count(Route::ListMember), asked_the_list, "{telling:?}");
    assert_eq!(town.sandbox.writes(), all.len() as u64, "one write each, {telling:?}");
}

#[tokio::test]
async fn only_who_is_active_and_unknown_to_the_list_is_subscribed_and_all_others_are_updated() {
    let town = Town::start().await;
    town.sandbox.mailmojo.put_list(OTHER, "Festival");
    for (round, telling) in TELLINGS.into_iter().enumerate() {
        a_round(&town, round, telling, true).await;
    }
    let metrics = town.service.metrics().await;
    for status in ["u", "b", "d", "other"] {
        let name = format!("sesamy_mailmojo_subscribe_withheld_total{{status=\"{status}\"}}");
        assert!(metrics.contains(&name), "{name} is not in\n{metrics}");
    }
    assert!(!metrics.contains("subscribe_withheld_total{status=\"a\"}"), "{metrics}");
}

#[tokio::test]
async fn with_create_contacts_off_nobody_at_all_is_subscribed() {
    let town = Town::with(&[("SYNC__CREATE_CONTACTS", "false")]).await;
    town.sandbox.mailmojo.put_list(OTHER, "Festival");
    for (round, telling) in TELLINGS.into_iter().enumerate() {
        a_round(&town, round, telling, false).await;
    }
}

#[tokio::test]
async fn a_status_that_is_missing_or_odd_is_none_to_subscribe_on() {
    let town = Town::start().await;
    let absent = Value::Null; // stands for a field that is taken away
    let about_the_account = [json!(""), json!(" a"), json!("active"), json!("A"), absent.clone(), json!("x")];
    let about_the_list = [json!(""), json!("A"), json!("active"), absent, json!("x")];
    let put = |id: &str, before: Contact| {
        town.sandbox.sesamy.put_user(user(id).email(&before.email).tags(["new"]));
        town.sandbox.mailmojo.put_contact(before);
    };
    let mut all = Vec::new();
    for (at, status) in about_the_account.into_iter().enumerate() {
        let (id, email) = (format!("account-{at}"), format!("account-{at}@example.com"));
        put(&id, contact(&email).tags(["vip"]));
        let edit = Fault::edit(move |json| match &status {
            Value::Null => drop(json.as_object_mut().unwrap().remove("status")),
            status => json["status"] = status.clone(),
        });
        town.sandbox.mailmojo.inject(Rule::on(Route::ContactGet, edit).about(&email));
        all.push((id, email, None));
    }
    for (at, status) in about_the_list.into_iter().enumerate() {
        let (id, email) = (format!("list-{at}"), format!("list-{at}@example.com"));
        put(&id, contact(&email).tags(["vip"]).on_list_as(LIST, "u"));
        let edit = Fault::edit(move |json| match &status {
            Value::Null => drop(json["list_associations"][0].as_object_mut().unwrap().remove("status")),
            status => json["list_associations"][0]["status"] = status.clone(),
        });
        town.sandbox.mailmojo.inject(Rule::on(Route::ContactGet, edit).about(&email));
        all.push((id, email, Some("u")));
    }
    town.sync_all(all.iter().map(|it| &it.0)).await;
    for (id, email, on_list) in all {
        assert_eq!(town.end_of_sync(&id, 1).await["outcome"], "updated", "{id}");
        let after = town.contact(&email);
        assert_eq!((after.status.as_str(), after.list_status(LIST)), ("a", on_list), "{id}");
        assert_eq!(after.tags, ["vip", "sesamy_tag_new"], "{id}");
    }
    assert_eq!(subscribes(&town).len(), 0);
}

#[tokio::test]
async fn who_has_left_stays_away_through_every_kind_of_event_and_every_fault() {
    let town = Town::start().await;
    let emails = BTreeMap::from([("list", "kari@example.com"), ("account", "ola@example.com")]);
    for (id, email) in &emails {
        town.sandbox.sesamy.put_user(user(id).email(email).tags(["start"]));
    }
    town.sync_all(emails.keys()).await;
    assert_eq!(subscribes(&town).len(), 2);
    town.sandbox.mailmojo.unsubscribe("kari@example.com", LIST);
    town.sandbox.mailmojo.unsubscribe_everywhere("ola@example.com");

    let faults: [fn() -> Rule; 4] = [
        || Rule::on(Route::ContactPatch, Fault::CutConnection).times(2),
        || Rule::on(Route::ContactGet, Fault::status(503)).times(2),
        || Rule::on(Route::ContactPatch, Fault::done_then(Fault::status(500))).times(2),
        || Rule::on(Route::ContactGet, Fault::CutJson).times(2),
    ];
    for (at, event) in EventType::ALL.into_iter().enumerate() {
        town.sandbox.mailmojo.inject(faults[at % faults.len()]());
        for (id, email) in &emails {
            town.sandbox.sesamy.set_field(id, "tags", json!([format!("news-{at}")]));
            town.event(event.as_str(), id).await;
            assert!(town.sandbox.mailmojo.contact(email).is_some());
        }
        town.settled().await;
        for email in emails.values() {
            let after = town.contact(email);
            assert_eq!(after.tags, [format!("sesamy_tag_news-{at}")], "{email}");
            assert_eq!(after.list_status(LIST), Some("u"), "{email}");
        }
        town.sandbox.mailmojo.clear_faults();
    }
    assert_eq!(town.contact("ola@example.com").status, "u");
    assert_eq!(subscribes(&town).len(), 2, "none but the first two");
}

#[tokio::test]
async fn who_leaves_between_our_look_and_our_write_has_left() {
    let town = Town::start().await;
    town.sandbox.sesamy.put_user(user("u1").email("kari@example.com").tags(["new"]));
    town.sandbox.sesamy.put_user(user("u2").email("ola@example.com").tags(["new"]));
    town.sandbox.sesamy.put_user(user("u3").email("liv@example.com").tags(["new"]));
    town.sandbox.mailmojo.put_contact(contact("kari@example.com"));
    town.sandbox.mailmojo.put_contact(contact("ola@example.com"));

    // Our look has found two active people whom the list does not know, and nobody at the third address.
    let gate = town.sandbox.mailmojo.hold(Route::Subscribe);
    for id in ["u1", "u2", "u3"] {
        town.event("contract.1#purchased", id).await;
    }
    gate.arrivals(3).await;
    town.sandbox.mailmojo.set_list_status("kari@example.com", LIST, "u");
    town.sandbox.mailmojo.unsubscribe_everywhere("ola@example.com");
    town.sandbox.mailmojo.put_contact(contact("liv@example.com").status("u").on_list_as(LIST, "u"));
    gate.release();
    town.settled().await;
    for (email, account, on_list) in [
        ("kari@example.com", "a", Some("u")),
        ("ola@example.com", "u", None),
        ("liv@example.com", "u", Some("u")),
    ] {
        let after = town.contact(email);
        assert_eq!((after.status.as_str(), after.list_status(LIST)), (account, on_list), "{email}");
        assert_eq!(after.sesamy_tags(), ["sesamy_tag_new"], "{email}");
    }
    assert_eq!(subscribes(&town).len(), 3);
    assert_eq!(town.sandbox.mailmojo.tallies().races.subscribed_unseen, 4, "nobody could know");

    // And the next sync does know.
    town.sync_all(["u1", "u2", "u3"]).await;
    assert_eq!(subscribes(&town).len(), 3);
}

#[tokio::test]
async fn who_leaves_after_a_subscribe_whose_answer_was_lost_is_not_subscribed_by_its_retry() {
    let mut town = Town::start().await;
    let people = [("u1", "kari@example.com"), ("u2", "ola@example.com")];
    for (id, email) in people {
        town.sandbox.sesamy.put_user(user(id).email(email).tags(["new"]));
    }
    // Kari's answer is lost on the way; she leaves before the retry looks again.
    let subscribe = town.sandbox.mailmojo.hold_for(Route::Subscribe, "kari@example.com");
    let lost = Fault::done_then(Fault::Close);
    town.sandbox.mailmojo.inject(Rule::on(Route::Subscribe, lost).times(1));
    town.event("contract.1#purchased", "u1").await;
    subscribe.arrived_within(PATIENCE).await.unwrap();
    let retry = town.sandbox.mailmojo.hold_for(Route::ContactGet, "kari@example.com");
    subscribe.release();
    retry.arrived_within(PATIENCE).await.unwrap();
    assert_eq!(town.contact("kari@example.com").list_status(LIST), Some("a"));
    town.sandbox.mailmojo.unsubscribe("kari@example.com", LIST);
    retry.release();
    assert_eq!(town.end_of_sync("u1", 1).await["outcome"], "unchanged");

    // Ola's is lost with the process that waited for it; he leaves before the next one starts.
    let answer = town.sandbox.mailmojo.hold_answer(Route::Subscribe);
    town.event("contract.1#purchased", "u2").await;
    answer.arrived_within(PATIENCE).await.unwrap();
    town.service.kill().await;
    answer.release();
    assert_eq!(town.contact("ola@example.com").list_status(LIST), Some("a"));
    town.sandbox.mailmojo.unsubscribe("ola@example.com", LIST);
    town.restart(&[("SYNC__REQUEST_TIMEOUT", "300ms")]).await;
    assert_eq!(town.end_of_sync("u2", 1).await["outcome"], "unchanged");

    for (_, email) in people {
        assert_eq!(town.contact(email).list_status(LIST), Some("u"), "{email}");
    }
    assert_eq!(subscribes(&town).len(), 2);
}
