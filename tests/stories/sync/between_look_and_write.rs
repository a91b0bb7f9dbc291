//! Between our look at a contact and our write, and between our write and its answer: what others do there stays, and
//! what is lost there is done again.

use serde_json::{Value, json};
use sesamy_mailmojo::sandbox::{Call, Fault, Route, Rule, contact, contract, user};

use crate::support::harness::{LIST, PATIENCE, Town};

/// The writes so far, in order: what kind, and the body.
fn writes(town: &Town) -> Vec<(Route, Value)> {
    let is_write = |call: &Call| matches!(call.route, Route::Subscribe | Route::ContactPatch);
    town.sandbox.calls().into_iter().filter(is_write).map(|call| (call.route, call.body.unwrap())).collect()
}

async fn town_with_kari() -> Town {
    let town = Town::start().await;
    town.sandbox.sesamy.put_user(
        user("u1")
            .email("kari@example.com")
            .first_name("Kari")
            .last_name("Nordmann")
            .mobile_phone("+4799988777")
            .contract(contract("c1")),
    );
    town
}

/// What a create for Kari carries.
fn everything() -> Value {
    json!({"email": "kari@example.com", "first_name": "Kari", "last_name": "Nordmann",
        "phone": "+4799988777", "tags": ["sesamy_active_subscriber"], "force_subscribe": false})
}

#[tokio::test]
async fn a_contact_that_somebody_makes_meanwhile_keeps_its_own_and_gets_ours_by_one_patch() {
    for is_there in [false, true] {
        let town = town_with_kari().await;
        if is_there {
            town.sandbox.mailmojo.put_contact(contact("kari@example.com"));
        }
        // A Mailmojo that keeps what an editor has written since our look, and answers so.
        let mailmojo = town.sandbox.mailmojo.clone();
        let kept = Fault::edit(move |answer| {
            mailmojo.edit("kari@example.com", |it| {
                it.first_name = Some("K.".to_owned());
                it.phone = None;
                it.tags = ["vip", "sesamy_old", "festival"].map(str::to_owned).to_vec();
            });
            answer["first_name"] = json!("K.");
            answer["phone"] = Value::Null;
            answer["tags"] = json!(["vip", "sesamy_old", "festival"]);
        });
        town.sandbox.mailmojo.inject(Rule::on(Route::Subscribe, kept));
        let told = town.sync_told("u1").await;
        assert_eq!(told["outcome"], if is_there { "subscribed" } else { "created" });
        assert_eq!(
            writes(&town),
            [
                (Route::Subscribe, everything()),
                (
                    Route::ContactPatch,
                    json!({"phone": "+4799988777", "tags": ["vip", "festival", "sesamy_active_subscriber"]})
                ),
            ]
        );
        let kari = town.contact("kari@example.com");
        assert_eq!(kari.first_name.as_deref(), Some("K."));
        assert_eq!(kari.tags, ["vip", "festival", "sesamy_active_subscriber"]);
        assert_eq!(town.sync_told("u1").await["outcome"], "unchanged");
    }
}

#[tokio::test]
async fn a_whole_name_that_has_appeared_meanwhile_stays_alone() {
    let town = town_with_kari().await;
    let mailmojo = town.sandbox.mailmojo.clone();
    let kept = Fault::edit(move |answer| {
        mailmojo.edit("kari@example.com", |it| {
            (it.name, it.first_name, it.last_name) = (Some("Kari N.".to_owned()), None, None);
        });
        answer["name"] = json!("Kari N.");
        answer["first_name"] = Value::Null;
        answer["last_name"] = Value::Null;
    });
    town.sandbox.mailmojo.inject(Rule::on(Route::Subscribe, kept));
    town.sync("u1").await;
    assert_eq!(writes(&town), [(Route::Subscribe, everything())]);
    let kari = town.contact("kari@example.com");
    assert_eq!((kari.name.as_deref(), kari.first_name), (Some("Kari N."), None));
}

#[tokio::test]
async fn an_answer_that_leaves_fields_out_takes_nothing_away() {
    for (is_there, absent) in [(true, false), (true, true), (false, true)] {
        let town = town_with_kari().await;
        if is_there {
            town.sandbox.mailmojo.put_contact(
                contact("kari@example.com").first_name("K.").phone("+4711122333").tags(["vip", "festival"]),
            );
        }
        let sparse = Fault::edit(move |answer| {
            let fields = answer.as_object_mut().unwrap();
            for field in ["first_name", "last_name", "phone", "tags"] {
                match absent {
                    true => drop(fields.remove(field)),
                    false => drop(fields.insert(field.to_owned(), Value::Null)),
                }
            }
        });
        town.sandbox.mailmojo.inject(Rule::on(Route::Subscribe, sparse));
        let told = town.sync_told("u1").await;
        assert_eq!(told["outcome"], if is_there { "subscribed" } else { "created" });
        // All was as it should be after the first write, so there is no second one.
        assert_eq!(town.sandbox.writes(), 1);
        let kari = town.contact("kari@example.com");
        let (first_name, phone) = if is_there { ("K.", "+4711122333") } else { ("Kari", "+4799988777") };
        assert_eq!((kari.first_name.as_deref(), kari.phone.as_deref()), (Some(first_name), Some(phone)));
        let own: &[&str] = if is_there { &["vip", "festival"] } else { &[] };
        assert_eq!(kari.tags, [own, &["sesamy_active_subscriber"]].concat());
    }
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_looked_after_and_not_done_twice() {
    for lost in [Fault::Close, Fault::CutConnection, Fault::CutJson, Fault::status(500).into()] {
        let town = town_with_kari().await;
        for (route, outcome) in [(Route::Subscribe, "created"), (Route::ContactPatch, "updated")] {
            town.sandbox.mailmojo.inject(Rule::on(route, Fault::done_then(lost.clone())).times(1));
            town.sandbox.clear_calls();
            assert_eq!(town.sync_told("u1").await["outcome"], "unchanged", "{outcome} with {lost:?}");
            assert_eq!(town.sandbox.count(route), 1, "{lost:?}");
            assert_eq!(town.sandbox.writes(), 1, "{lost:?}");
            let lines = town.service.output.syncs_of("u1");
            let failed = &lines[lines.len() - 2];
            assert_eq!((&failed["outcome"], &failed["reason"]), (&json!("failed"), &json!("transient")));
            town.sandbox.sesamy.set_field("u1", "tags", json!(["new"]));
        }
        let kari = town.contact("kari@example.com");
        assert_eq!(kari.tags, ["sesamy_active_subscriber", "sesamy_tag_new"]);
        assert_eq!(kari.first_name.as_deref(), Some("Kari"));
    }
}

#[tokio::test]
async fn a_write_that_was_never_done_is_done_again() {
    let town = town_with_kari().await;
    for (route, outcome) in [(Route::Subscribe, "created"), (Route::ContactPatch, "updated")] {
        let faults = [Fault::Close, Fault::status(502).html().into(), Fault::status(200).html().into()];
        faults.into_iter().for_each(|fault| town.sandbox.mailmojo.inject(Rule::on(route, fault).times(1)));
        town.sandbox.clear_calls();
        let told = town.sync_told("u1").await;
        assert_eq!((&told["outcome"], &told["attempt"]), (&json!(outcome), &json!(4)));
        assert_eq!(town.sandbox.count(route), 4);
        // Each time after a new look at Sesamy and at the contact.
        assert_eq!((town.sandbox.count(Route::Profile), town.sandbox.count(Route::ContactGet)), (4, 4));
        town.sandbox.sesamy.set_field("u1", "tags", json!(["new"]));
    }
    assert_eq!(
        town.contact("kari@example.com").sesamy_tags(),
        ["sesamy_active_subscriber", "sesamy_tag_new"]
    );
}

#[tokio::test]
async fn the_second_write_is_done_by_the_next_try_where_it_fails() {
    let town = town_with_kari().await;
    let mailmojo = town.sandbox.mailmojo.clone();
    let emptied = Fault::edit(move |answer| {
        mailmojo.edit("kari@example.com", |it| it.tags = vec!["vip".to_owned()]);
        answer["tags"] = json!(["vip"]);
    });
    town.sandbox.mailmojo.inject(Rule::on(Route::Subscribe, emptied));
    town.sandbox.mailmojo.inject(Rule::on(Route::ContactPatch, Fault::Close).times(1));
    assert_eq!(town.sync_told("u1").await["outcome"], "updated");
    let ours = || (Route::ContactPatch, json!({"tags": ["vip", "sesamy_active_subscriber"]}));
    assert_eq!(writes(&town), [(Route::Subscribe, everything()), ours(), ours()]);
    assert_eq!(town.contact("kari@example.com").tags, ["vip", "sesamy_active_subscriber"]);
}

#[tokio::test]
async fn a_contact_that_somebody_removes_before_our_patch_is_not_made_again() {
    let town = town_with_kari().await;
    town.sandbox.mailmojo.put_contact(contact("kari@example.com").on_list(LIST));
    let gate = town.sandbox.mailmojo.hold(Route::ContactPatch);
    town.event("contract.1#purchased", "u1").await;
    gate.arrived_within(PATIENCE).await.unwrap();
    town.sandbox.mailmojo.delete("kari@example.com");
    gate.release();
    assert_eq!(town.end_of_sync("u1", 1).await["reason"], "removed_in_mailmojo");
    assert_eq!(town.service.output.syncs_of("u1")[0]["reason"], "transient");
    assert_eq!(town.sandbox.mailmojo.contact("kari@example.com"), None);
}

#[tokio::test]
async fn what_an_editor_changes_between_our_look_and_our_patch_is_left_where_we_do_not_write() {
    let town = town_with_kari().await;
    town.sandbox.mailmojo.put_contact(
        contact("kari@example.com").first_name("K.").tags(["sesamy_active_subscriber"]).on_list(LIST),
    );
    let gate = town.sandbox.mailmojo.hold(Route::ContactPatch);
    town.event("contract.1#purchased", "u1").await;
    gate.arrived_within(PATIENCE).await.unwrap();
    // The tags and the first name are as they should be, so the patch does not carry them.
    town.sandbox.mailmojo.edit("kari@example.com", |it| {
        it.first_name = None;
        it.tags.insert(0, "festival".to_owned());
        it.name = Some("Kari N.".to_owned());
    });
    gate.release();
    town.settled().await;
    let kari = town.contact("kari@example.com");
    assert_eq!(
        writes(&town),
        [(Route::ContactPatch, json!({"last_name": "Nordmann", "phone": "+4799988777"}))]
    );
    assert_eq!(kari.tags, ["festival", "sesamy_active_subscriber"]);
    assert_eq!((kari.first_name, kari.phone.as_deref()), (None, Some("+4799988777")));
}
