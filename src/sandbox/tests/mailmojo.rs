//! The mock Mailmojo: tokens and scopes, slashes, letter case, upserts, lists, the shapes of answers.

use super::super::{Associations, Empty, Route, contact};
use super::*;

#[tokio::test]
async fn a_token_has_the_scopes_it_was_asked_for() {
    let town = Town::start().await;
    let mailmojo = &town.sandbox.mailmojo;
    mailmojo.put_contact(contact(KARI));
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", Mailmojo::CLIENT_ID),
        ("client_secret", Mailmojo::CLIENT_SECRET),
        ("scope", "contacts"),
    ];
    let url = format!("{}/oauth/token/", mailmojo.url());
    let token = json_of(town.client.post(url).form(&form).send().await.unwrap()).await;
    assert_eq!((&token["scope"], &token["expires_in"]), (&json!("contacts"), &json!(7_257_600)));
    let token = token["access_token"].as_str().unwrap();

    let url = |path: &str| format!("{}{path}", mailmojo.url());
    let read = town.client.get(url("/v1/contacts/kari@example.com/")).bearer_auth(token);
    assert_eq!(read.send().await.unwrap().status(), 200);
    let body = json!({"email": KARI, "force_subscribe": false});
    let subscribe = town.client.post(url("/v1/lists/7/subscribers/")).bearer_auth(token).json(&body);
    assert_eq!(subscribe.send().await.unwrap().status(), 403);
    mailmojo.accept_token("pasted", &["subscribe"]);
    let read = town.client.get(url("/v1/contacts/kari@example.com/")).bearer_auth("pasted");
    assert_eq!(read.send().await.unwrap().status(), 403);
    mailmojo.revoke_token("pasted");
    let list = town.client.get(url("/v1/lists/7/")).bearer_auth("pasted");
    assert_eq!(list.send().await.unwrap().status(), 401);
    assert!(mailmojo.contact(KARI).unwrap().associations.is_empty(), "nothing was done");
}

#[tokio::test]
async fn a_path_without_its_slash_is_sent_on() {
    let town = Town::start().await;
    let read = town.mailmojo(Method::GET, "/v1/contacts/kari%40example.com?x=1").send().await.unwrap();
    assert_eq!(read.status(), 301);
    assert_eq!(read.headers()["location"], "/v1/contacts/kari%40example.com/?x=1");
    town.sandbox.assert_no_findings();
}

#[tokio::test]
async fn letter_case_makes_two_contacts_unless_it_is_ignored() {
    let town = Town::start().await;
    town.sandbox.mailmojo.put_contact(contact("Kari@example.com").phone("+47 1"));
    assert_eq!(town.reads(KARI).await.status(), 404);
    town.sandbox.mailmojo.ignore_case(true);
    assert_eq!(json_of(town.reads(KARI).await).await["email"], "Kari@example.com");
    town.patches(KARI, json!({"first_name": "Kari"})).await;
    assert_eq!(
        town.sandbox.mailmojo.contact("KARI@example.com").unwrap().first_name.as_deref(),
        Some("Kari")
    );
}

#[tokio::test]
async fn a_subscribe_creates_then_updates_and_never_subscribes_again() {
    let town = Town::start().await;
    let mailmojo = &town.sandbox.mailmojo;
    assert_eq!(town.reads(KARI).await.status(), 404);
    let body = json!({"email": KARI, "first_name": "Kari", "tags": ["sesamy_a"], "force_subscribe": false});
    let made = town.subscribes(body).await;
    assert_eq!(made.status(), 201);
    let made = json_of(made).await;
    assert_eq!(
        (&made["tags"], &made["status"], &made["phone"]),
        (&json!(["sesamy_a"]), &json!("a"), &Value::Null)
    );
    assert_eq!(made["list_associations"][0]["list_id"], 7);
    town.sandbox.assert_no_findings();

    assert!(mailmojo.unsubscribe(KARI, 7));
    let again = json!({"email": KARI, "tags": ["sesamy_b"], "force_subscribe": false});
    assert_eq!(town.subscribes(again).await.status(), 200);
    let kari = mailmojo.contact(KARI).unwrap();
    assert_eq!((kari.list_status(7), kari.sesamy_tags()), (Some("u"), vec!["sesamy_b"]));
    assert_eq!(kari.first_name.as_deref(), Some("Kari"), "what was not sent stays");
}

#[tokio::test]
async fn an_unsubscribed_account_is_not_put_on_a_list_by_a_kind_subscribe() {
    let town = Town::start().await;
    town.sandbox.mailmojo.put_contact(contact(KARI).status("u"));
    town.subscribes_kindly(KARI).await;
    assert_eq!(town.sandbox.mailmojo.contact(KARI).unwrap().list_status(7), None);
}

#[tokio::test]
async fn a_forced_subscribe_really_subscribes_again_and_force_is_the_default() {
    for body in [json!({"email": KARI}), json!({"email": KARI, "force_subscribe": true})] {
        let town = Town::start().await;
        let mailmojo = &town.sandbox.mailmojo;
        mailmojo.put_contact(contact(KARI).on_list(7));
        mailmojo.unsubscribe_everywhere(KARI);
        town.subscribes(body).await;
        let kari = mailmojo.contact(KARI).unwrap();
        assert_eq!((kari.status.as_str(), kari.list_status(7)), ("a", Some("a")));
    }
}

#[tokio::test]
async fn a_patch_is_partial_and_its_tags_replace_the_list() {
    let town = Town::start().await;
    let mailmojo = &town.sandbox.mailmojo;
    mailmojo.put_contact(contact(KARI).first_name("Kari").tags(["vip", "sesamy_old"]).custom("shoe", 38));
    town.reads(KARI).await;
    let body = json!({"phone": "+47 999", "tags": ["vip", "sesamy_new"], "custom": {"hat": 57}});
    let patched = json_of(town.patches(KARI, body).await).await;
    assert_eq!((&patched["first_name"], &patched["phone"]), (&json!("Kari"), &json!("+47 999")));
    assert_eq!(patched["custom"], json!({"shoe": 38, "hat": 57}));
    assert_eq!(mailmojo.contact(KARI).unwrap().tags, ["vip", "sesamy_new"]);
    town.sandbox.assert_no_findings();

    town.patches(KARI, json!({"tags": ["vip", "sesamy_new"]})).await;
    assert_eq!(mailmojo.tallies().no_op_writes, 1);
    town.patches(KARI, json!({"email": "kn@example.com"})).await;
    assert!(mailmojo.contact(KARI).is_none() && mailmojo.contact("kn@example.com").is_some());
}

#[tokio::test]
async fn a_wrong_body_is_refused_and_changes_nothing() {
    let town = Town::start().await;
    let mailmojo = &town.sandbox.mailmojo;
    mailmojo.put_contact(contact(KARI));
    let before = mailmojo.contact(KARI);
    for body in
        [json!({"tags": "vip"}), json!({"phone": 47}), json!({"custom": []}), json!({"email": "nobody"})]
    {
        assert_eq!(town.patches(KARI, body).await.status(), 422);
    }
    assert_eq!(town.subscribes(json!({"force_subscribe": false})).await.status(), 422);
    assert_eq!(town.subscribes(json!({"email": KARI, "force_subscribe": "no"})).await.status(), 422);
    assert_eq!(mailmojo.contact(KARI), before);
    let missing = town.patches("ola@example.com", json!({})).await;
    assert_eq!(missing.status(), 404);
    assert!(json_of(missing).await["detail"].is_string());
}

#[tokio::test]
async fn a_list_lists_its_members_and_those_who_have_left() {
    let town = Town::start().await;
    let mailmojo = &town.sandbox.mailmojo;
    mailmojo.put_list(8, "Sport");
    mailmojo.put_contact(contact(KARI).on_list(7));
    mailmojo.put_contact(contact("ola@example.com").on_list_as(7, "u"));
    let get = async |path: &str| town.mailmojo(Method::GET, path).send().await.unwrap();
    assert_eq!(json_of(get("/v1/lists/7/").await).await, json!({"id": 7, "name": "Newsletter"}));
    assert_eq!(json_of(get("/v1/lists/").await).await["meta"]["total"], 2);
    assert_eq!(get("/v1/lists/9/").await.status(), 404);
    let active = json_of(get("/v1/lists/7/subscribers/?limit=10").await).await;
    assert_eq!((active["data"].as_array().unwrap().len(), &active["data"][0]["email"]), (1, &json!(KARI)));
    let left = json_of(get("/v1/lists/7/unsubscribed/").await).await;
    assert_eq!(left["data"][0]["email"], "ola@example.com");
    assert_eq!(get("/v1/lists/7/subscribers/ola@example.com/").await.status(), 200);
    mailmojo.hide_inactive_members(true);
    assert_eq!(get("/v1/lists/7/subscribers/ola@example.com/").await.status(), 404);
    assert_eq!(get("/v1/lists/7/subscribers/kari@example.com/").await.status(), 200);
    let page = json_of(get("/v1/contacts/?page=2&per_page=1").await).await;
    let meta = json!({"page": 2, "per_page": 1, "next_page": null, "prev_page": 1, "total": 2});
    assert_eq!((&page["data"][0]["email"], &page["meta"]), (&json!("ola@example.com"), &meta));
}

#[tokio::test]
async fn empty_fields_and_associations_can_be_null_absent_or_blank() {
    let town = Town::start().await;
    let mailmojo = &town.sandbox.mailmojo;
    mailmojo.put_contact(contact(KARI).on_list(7));
    let read = async || json_of(town.reads(KARI).await).await;
    let usual = read().await;
    assert!(
        usual["first_name"].is_null() && usual["tags"].is_null() && usual["list_associations"].is_array()
    );
    mailmojo.answer_empty_as(Empty::Blank);
    mailmojo.answer_associations_as(Associations::Null);
    let blank = read().await;
    assert_eq!((&blank["phone"], &blank["tags"]), (&json!(""), &json!([])));
    assert_eq!(blank.get("list_associations"), Some(&Value::Null));
    mailmojo.answer_empty_as(Empty::Absent);
    mailmojo.answer_associations_as(Associations::Absent);
    let absent = read().await;
    for field in ["name", "first_name", "last_name", "phone", "tags", "custom", "list_associations"] {
        assert!(absent.get(field).is_none(), "{field}");
    }
}

#[tokio::test]
async fn the_publisher_can_edit_behind_the_services_back() {
    let town = Town::start().await;
    let mailmojo = &town.sandbox.mailmojo;
    mailmojo.put_contact(contact(KARI).tags(["a"]));
    assert!(mailmojo.add_tag(KARI, "b") && mailmojo.remove_tag(KARI, "a"));
    assert!(mailmojo.set_status(KARI, "b") && mailmojo.set_list_status(KARI, 7, "a"));
    assert!(mailmojo.rename(KARI, "kn@example.com"));
    let kari = mailmojo.contact("kn@example.com").unwrap();
    assert_eq!((kari.own_tags(), kari.status.as_str(), kari.list_status(7)), (vec!["b"], "b", Some("a")));
    assert_eq!(mailmojo.count_contacts(|contact| contact.tags == ["b"]), 1);
    assert!(mailmojo.delete("kn@example.com") && !mailmojo.delete("kn@example.com"));
    assert!(!mailmojo.add_tag(KARI, "b"));
    assert!(mailmojo.add_contact(contact(KARI).tags(["b"])) && !mailmojo.add_contact(contact(KARI)));
    assert_eq!(mailmojo.contact(KARI).unwrap().own_tags(), ["b"]);
}

#[tokio::test]
async fn curl_can_read_and_change_contacts_without_a_token() {
    let town = Town::start().await;
    let at = |path: &str| format!("{}/sandbox{path}", town.sandbox.mailmojo.url());
    let body = json!({"tags": ["vip"], "name": "Kari N.", "status": "u"});
    let put = town.client.put(at("/contacts/kari@example.com")).json(&body).send().await.unwrap();
    assert_eq!(put.status(), 200);
    let all = json_of(town.client.get(at("/contacts")).send().await.unwrap()).await;
    assert_eq!((&all[0]["name"], &all[0]["status"]), (&json!("Kari N."), &json!("u")));
    assert_eq!(json_of(town.client.get(at("/findings")).send().await.unwrap()).await, json!([]));
    assert_eq!(town.sandbox.mailmojo.count(Route::Control), 0);
}
