//! Each kind of finding, provoked; and what looks like one but is not.

use super::super::{Associations, Fault, FindingKind as Kind, Route, Rule, contact};
use super::*;

/// Kari, with tags, name and phone of the publisher's own; the service has read her.
async fn town_that_knows_kari() -> Town {
    let town = Town::start().await;
    let kari = contact(KARI).first_name("Kari").phone("+47 1").tags(["vip", "sesamy_a", "oslo"]);
    town.sandbox.mailmojo.put_contact(kari.custom("shoe", 38).on_list(7));
    assert_eq!(town.reads(KARI).await.status(), 200);
    town
}

/// What the audit says to one patch of Kari.
async fn after_patch(body: Value) -> Vec<Kind> {
    let town = town_that_knows_kari().await;
    town.patches(KARI, body).await;
    town.kinds()
}

#[tokio::test]
async fn a_good_patch_is_no_finding() {
    let body = json!({"last_name": "Nordmann", "tags": ["vip", "oslo", "sesamy_a", "sesamy_b"]});
    assert_eq!(after_patch(body).await, []);
}

#[tokio::test]
async fn a_foreign_tag_lost_is_a_finding() {
    assert_eq!(after_patch(json!({"tags": ["vip", "sesamy_a"]})).await, [Kind::OwnTagLost]);
    assert_eq!(after_patch(json!({"tags": null})).await, [Kind::OwnTagLost, Kind::OwnTagLost]);
}

#[tokio::test]
async fn a_tag_without_our_prefix_brought_is_a_finding() {
    assert_eq!(after_patch(json!({"tags": ["vip", "oslo", "active"]})).await, [Kind::OwnTagInvented]);
}

#[tokio::test]
async fn foreign_tags_in_another_order_are_a_finding() {
    assert_eq!(after_patch(json!({"tags": ["oslo", "vip", "sesamy_a"]})).await, [Kind::OwnTagsReordered]);
}

#[tokio::test]
async fn a_tag_named_twice_is_a_finding() {
    assert_eq!(after_patch(json!({"tags": ["vip", "oslo", "vip"]})).await, [Kind::TagDuplicated]);
    assert_eq!(
        after_patch(json!({"tags": ["vip", "oslo", "sesamy_a", "sesamy_a"]})).await,
        [Kind::TagDuplicated]
    );
}

#[tokio::test]
async fn a_present_name_or_phone_changed_or_blanked_is_a_finding() {
    assert_eq!(after_patch(json!({"first_name": "Karianne"})).await, [Kind::NameOverwritten]);
    assert_eq!(after_patch(json!({"first_name": null})).await, [Kind::NameOverwritten]);
    assert_eq!(after_patch(json!({"phone": ""})).await, [Kind::PhoneOverwritten]);
    assert_eq!(after_patch(json!({"phone": "+47 1", "first_name": "Kari"})).await, []);
}

#[tokio::test]
async fn a_custom_field_changed_is_a_finding() {
    assert_eq!(after_patch(json!({"custom": {"shoe": 39}})).await, [Kind::CustomOverwritten]);
    assert_eq!(after_patch(json!({"custom": {"hat": 57}})).await, []);
}

#[tokio::test]
async fn custom_fields_that_are_the_services_own_may_be_written_whatever_they_hold() {
    let town = town_that_knows_kari().await;
    town.sandbox.mailmojo.let_write_custom(&["shoe"]);
    town.patches(KARI, json!({"custom": {"shoe": 39}})).await;
    town.sandbox.assert_no_findings();
    assert_eq!(town.sandbox.mailmojo.contact(KARI).unwrap().custom["shoe"], 39);
}

#[tokio::test]
async fn a_custom_field_left_out_is_a_finding_where_a_write_replaces_them_all() {
    for replaces in [false, true] {
        let town = town_that_knows_kari().await;
        town.sandbox.mailmojo.replace_custom(replaces);
        town.patches(KARI, json!({"custom": {"shoe": 38, "hat": 57}})).await;
        town.sandbox.assert_no_findings();
        town.patches(KARI, json!({"custom": {"hat": 57}})).await;
        assert_eq!(town.kinds(), if replaces { vec![Kind::CustomLost] } else { vec![] });
        let is_there = town.sandbox.mailmojo.contact(KARI).unwrap().custom.contains_key("shoe");
        assert_eq!(is_there, !replaces);
    }
}

#[tokio::test]
async fn a_custom_field_that_changed_since_the_read_is_counted_and_no_finding() {
    for sent in [json!({"shoe": 38}), json!({})] {
        let town = town_that_knows_kari().await;
        let mailmojo = &town.sandbox.mailmojo;
        mailmojo.replace_custom(true);
        mailmojo.edit(KARI, |it| it.custom.insert("shoe".to_owned(), json!(39)).map(drop).unwrap());
        town.patches(KARI, json!({"custom": sent})).await;
        let expected = if sent["shoe"].is_null() { vec![Kind::CustomLost] } else { vec![] };
        assert_eq!(town.kinds(), expected, "what is left out was there by every answer so far");
        assert_eq!(mailmojo.tallies().races.overwritten_unseen, u64::from(expected.is_empty()));
    }
}

#[tokio::test]
async fn the_name_sent_or_split_is_a_finding() {
    assert_eq!(after_patch(json!({"name": "Kari Nordmann"})).await, [Kind::NameSent]);
    let town = Town::start().await;
    town.sandbox.mailmojo.put_contact(contact(KARI).name("Kari N."));
    town.reads(KARI).await;
    town.patches(KARI, json!({"phone": "1"})).await;
    town.sandbox.assert_no_findings();
    town.patches(KARI, json!({"last_name": "Nordmann"})).await;
    assert_eq!(town.kinds(), [Kind::NameSplit]);
}

#[tokio::test]
async fn a_subscribe_that_does_not_say_exactly_false_is_a_finding() {
    for force in [json!(true), json!("false"), Value::Null] {
        let town = Town::start().await;
        town.subscribes(json!({"email": KARI, "force_subscribe": force})).await;
        assert_eq!(town.kinds(), [Kind::ForceSubscribe]);
    }
    let town = Town::start().await;
    town.subscribes(json!({"email": KARI})).await;
    assert_eq!(town.kinds(), [Kind::ForceSubscribe]);
}

#[tokio::test]
async fn a_subscribe_against_a_status_is_a_finding_whether_it_was_read_or_not() {
    for read in [true, false] {
        let town = Town::start().await;
        town.sandbox.mailmojo.put_contact(contact(KARI).status("b"));
        if read {
            town.reads(KARI).await;
        }
        town.subscribes_kindly(KARI).await;
        assert_eq!(town.kinds(), [Kind::SubscribedAgainstStatus]);
    }
}

#[tokio::test]
async fn a_subscribe_to_a_list_that_knows_the_contact_is_a_finding() {
    for status in ["a", "u"] {
        let town = Town::start().await;
        town.sandbox.mailmojo.put_contact(contact(KARI).on_list_as(7, status));
        town.reads(KARI).await;
        town.subscribes_kindly(KARI).await;
        assert_eq!(town.kinds(), [Kind::SubscribedAgain]);
    }
}

#[tokio::test]
async fn a_subscribe_sent_again_blindly_after_a_lost_answer_is_a_finding() {
    let town = Town::start().await;
    let lost = Fault::done_then(Fault::status(504).html());
    town.sandbox.mailmojo.inject(Rule::on(Route::Subscribe, lost).times(1));
    town.reads(KARI).await;
    assert_eq!(town.subscribes_kindly(KARI).await.status(), 504);
    town.sandbox.assert_no_findings();
    town.subscribes_kindly(KARI).await;
    assert_eq!(town.kinds(), [Kind::SubscribedAgain]);
}

#[tokio::test]
async fn a_contact_answered_without_its_lists_must_be_looked_up_at_the_list() {
    for asks in [true, false] {
        let town = Town::start().await;
        let mailmojo = &town.sandbox.mailmojo;
        mailmojo.answer_associations_as(Associations::Absent);
        mailmojo.hide_inactive_members(true);
        mailmojo.put_contact(contact(KARI).on_list_as(7, "u"));
        town.reads(KARI).await;
        if asks {
            let member = town.mailmojo(Method::GET, "/v1/lists/7/subscribers/kari@example.com/");
            assert_eq!(member.send().await.unwrap().status(), 404);
        }
        town.subscribes_kindly(KARI).await;
        assert_eq!(town.kinds().contains(&Kind::SubscribedAgain), !asks);
        assert_eq!(mailmojo.contact(KARI).unwrap().list_status(7), Some("u"));
    }
}

#[tokio::test]
async fn a_status_changed_by_a_write_is_a_finding() {
    let town = Town::start().await;
    town.sandbox.mailmojo.put_contact(contact(KARI).status("u").on_list_as(7, "u"));
    town.reads(KARI).await;
    town.subscribes(json!({"email": KARI})).await;
    let kinds = town.kinds();
    assert_eq!(kinds.iter().filter(|kind| **kind == Kind::StatusChanged).count(), 2, "{kinds:?}");
}

#[tokio::test]
async fn a_contact_made_under_upper_case_letters_is_a_finding() {
    let town = Town::start().await;
    town.subscribes_kindly("Kari@example.com").await;
    assert_eq!(town.kinds(), [Kind::CreatedInUpperCase]);
}

#[tokio::test]
async fn a_write_without_its_slash_is_a_finding_and_not_done() {
    let town = town_that_knows_kari().await;
    let patch =
        town.mailmojo(Method::PATCH, "/v1/contacts/kari@example.com").json(&json!({"last_name": "N"}));
    assert_eq!(patch.send().await.unwrap().status(), 301);
    assert_eq!(town.kinds(), [Kind::WriteWithoutSlash]);
    assert!(town.sandbox.mailmojo.contact(KARI).unwrap().last_name.is_none());
}

#[tokio::test]
async fn an_unknown_field_or_a_body_that_is_no_object_is_a_finding() {
    assert_eq!(after_patch(json!({"firstName": "Kari"})).await, [Kind::UnknownField]);
    assert_eq!(after_patch(json!({"force_subscribe": false})).await, [Kind::UnknownField]);
    assert_eq!(after_patch(json!(["vip"])).await, [Kind::NoObject]);
}

#[tokio::test]
async fn an_unknown_path_or_method_is_a_finding_at_either_api() {
    let town = Town::start().await;
    assert_eq!(town.mailmojo(Method::GET, "/v2/contacts/").send().await.unwrap().status(), 404);
    let delete = town.mailmojo(Method::DELETE, "/v1/contacts/kari@example.com/").send().await.unwrap();
    assert_eq!((delete.status().as_u16(), &delete.headers()["allow"]), (405, &"GET, PATCH".parse().unwrap()));
    assert_eq!(town.sesamy("/management/users/u1/").send().await.unwrap().status(), 404);
    assert_eq!(town.kinds(), [Kind::UnknownPath; 3]);
}

#[tokio::test]
async fn a_write_is_audited_even_where_a_fault_keeps_it_from_being_done() {
    let town = town_that_knows_kari().await;
    town.sandbox.mailmojo.inject(Rule::anywhere(Fault::status(503).html()));
    town.patches(KARI, json!({"phone": "+47 2"})).await;
    assert_eq!(town.kinds(), [Kind::PhoneOverwritten]);
}

#[tokio::test]
async fn what_an_editor_does_after_the_read_is_counted_and_no_finding() {
    let town = town_that_knows_kari().await;
    let mailmojo = &town.sandbox.mailmojo;
    mailmojo.add_tag(KARI, "late");
    mailmojo.remove_tag(KARI, "oslo");
    mailmojo.edit(KARI, |kari| kari.last_name = Some("Hansen".into()));
    town.patches(KARI, json!({"last_name": "Nordmann", "tags": ["vip", "oslo", "sesamy_b"]})).await;
    town.sandbox.assert_no_findings();
    let races = mailmojo.tallies().races;
    assert_eq!((races.lost_unseen_tags, races.revived_tags, races.overwritten_unseen), (1, 1, 1));
}

#[tokio::test]
async fn a_person_who_leaves_between_the_read_and_the_subscribe_is_counted_and_stays_away() {
    let town = Town::start().await;
    let mailmojo = &town.sandbox.mailmojo;
    town.reads(KARI).await;
    mailmojo.put_contact(contact(KARI).on_list_as(7, "u"));
    town.subscribes_kindly(KARI).await;
    town.sandbox.assert_no_findings();
    assert_eq!(mailmojo.tallies().races.subscribed_unseen, 1);
    assert_eq!(mailmojo.contact(KARI).unwrap().list_status(7), Some("u"));
}

#[tokio::test]
async fn a_write_without_any_read_should_have_known_everything() {
    let town = Town::start().await;
    town.sandbox.mailmojo.put_contact(contact(KARI).phone("1").tags(["vip"]));
    town.patches(KARI, json!({"phone": "2", "tags": []})).await;
    assert_eq!(town.kinds(), [Kind::OwnTagLost, Kind::PhoneOverwritten]);
}

#[tokio::test]
async fn a_write_upon_an_answer_of_the_wrong_shape_is_a_finding_where_it_does_damage() {
    let town = town_that_knows_kari().await;
    let wrong = Fault::edit(|json| json["tags"] = json!("vip,oslo"));
    town.sandbox.mailmojo.inject(Rule::on(Route::ContactGet, wrong));
    town.reads(KARI).await;
    town.patches(KARI, json!({"tags": ["sesamy_a"]})).await;
    assert_eq!(town.kinds(), [Kind::OwnTagLost, Kind::OwnTagLost]);
}

#[tokio::test]
async fn findings_are_sentences_and_can_be_read_with_curl() {
    let town = town_that_knows_kari().await;
    town.patches(KARI, json!({"phone": "2"})).await;
    let url = format!("{}/sandbox/findings", town.sandbox.mailmojo.url());
    let findings = json_of(town.client.get(url).send().await.unwrap()).await;
    let sentence =
        "PhoneOverwritten: a patch of kari@example.com makes `phone`, which is `+47 1`, into \"2\"";
    assert_eq!(findings, json!([sentence]));
}
