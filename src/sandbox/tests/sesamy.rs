//! The mock Sesamy: tokens, paths, paging, both shapes, the rate limit, the control surface.

use std::time::Duration;

use super::super::{RateLimit, Route, Shape, contract, entitlement, user};
use super::*;

fn form<'a>(secret: &'a str, audience: &'a str) -> [(&'a str, &'a str); 4] {
    [
        ("grant_type", "client_credentials"),
        ("client_id", Sesamy::CLIENT_ID),
        ("client_secret", secret),
        ("audience", audience),
    ]
}

#[tokio::test]
async fn a_token_is_issued_for_the_right_credentials_and_ends_when_revoked() {
    let town = Town::start().await;
    let sesamy = &town.sandbox.sesamy;
    sesamy.put_user(user("u1"));
    let ask = async |secret: &str, audience: &str| {
        town.client.post(sesamy.token_url()).form(&form(secret, audience)).send().await.unwrap()
    };
    assert_eq!(ask("wrong", Sesamy::AUDIENCE).await.status(), 401);
    assert_eq!(ask(Sesamy::CLIENT_SECRET, "https://elsewhere.example").await.status(), 403);
    let token = json_of(ask(Sesamy::CLIENT_SECRET, Sesamy::AUDIENCE).await).await;
    assert_eq!((&token["token_type"], &token["expires_in"]), (&json!("Bearer"), &json!(86_400)));
    assert_eq!(sesamy.tokens_issued(), 1);

    let token = token["access_token"].as_str().unwrap();
    let read = async || {
        let url = format!("{}/management/users/u1", sesamy.url());
        town.client.get(url).bearer_auth(token).send().await.unwrap()
    };
    assert_eq!(read().await.status(), 200);
    sesamy.revoke_issued_tokens();
    let refused = read().await;
    assert_eq!(refused.status(), 401);
    assert_eq!(json_of(refused).await["error"]["code"], "unauthorized");
    assert_eq!((sesamy.count(Route::Token), sesamy.count(Route::Profile)), (3, 2));
}

#[tokio::test]
async fn a_token_ends_when_its_time_is_over() {
    let town = Town::start().await;
    let sesamy = &town.sandbox.sesamy;
    sesamy.set_token_life(Duration::ZERO);
    let form = form(Sesamy::CLIENT_SECRET, Sesamy::AUDIENCE);
    let token = json_of(town.client.post(sesamy.token_url()).form(&form).send().await.unwrap()).await;
    let url = format!("{}/management/users/u1", sesamy.url());
    let read =
        town.client.get(url).bearer_auth(token["access_token"].as_str().unwrap()).send().await.unwrap();
    assert_eq!(read.status(), 401);
}

#[tokio::test]
async fn a_user_id_is_one_percent_encoded_segment() {
    let town = Town::start().await;
    let id = "email|84/cc 5+é";
    town.sandbox.sesamy.put_user(user(id).email(KARI).first_name("Kari").field("vip", json!({"a": 1})));
    let read = town.sesamy("/management/users/email%7C84%2Fcc%205+%C3%A9").send().await.unwrap();
    let profile = json_of(read).await;
    assert_eq!(profile["userId"], id);
    assert_eq!((&profile["firstName"], &profile["vip"]["a"]), (&json!("Kari"), &json!(1)));
    assert_eq!(town.sesamy("/management/users/nobody").send().await.unwrap().status(), 404);
    assert_eq!(town.sandbox.calls()[0].subject.as_deref(), Some(id));
    town.sandbox.assert_no_findings();
}

#[tokio::test]
async fn lists_come_in_pages_in_both_shapes() {
    let town = Town::start().await;
    let sesamy = &town.sandbox.sesamy;
    sesamy.put_user(user("u1"));
    sesamy.set_entitlements("u1", (0..250).map(|n| entitlement(&format!("e{n}"), "article").kind("article")));
    let page = async |query: &str| {
        json_of(town.sesamy(&format!("/management/entitlements?userId=u1&{query}")).send().await.unwrap())
            .await
    };
    assert_eq!(page("limit=100&offset=0").await.as_array().unwrap().len(), 100);
    assert_eq!(page("limit=1000&offset=0").await.as_array().unwrap().len(), 100, "never more than the cap");
    let last = page("limit=100&offset=200").await;
    assert_eq!(last.as_array().unwrap().len(), 50);
    assert_eq!(last[49]["id"], "e249");
    assert!(last[0].get("userId").is_none(), "an entitlement does not name its user");

    sesamy.answer_as(Shape::Envelope);
    sesamy.set_page_cap(40);
    let first = page("limit=100&offset=240").await;
    assert_eq!(first["data"].as_array().unwrap().len(), 10);
    assert_eq!(first["pagination"], json!({"total": 250, "limit": 40, "offset": 240}));
    let profile = json_of(town.sesamy("/management/users/u1").send().await.unwrap()).await;
    assert_eq!(profile["data"]["userId"], "u1");
    assert_eq!(town.sesamy("/management/users?limit=many").send().await.unwrap().status(), 400);
}

#[tokio::test]
async fn contracts_name_their_user_and_can_be_asked_for_by_status() {
    let town = Town::start().await;
    let both = [contract("c1").item("plus", None), contract("c2").overdue().item("gold", Some("SINGLE"))];
    town.sandbox.sesamy.set_contracts("u1", both);
    town.sandbox.sesamy.set_contracts("u2", [contract("c3").cancelled()]);
    let all = json_of(town.sesamy("/management/contracts?userId=u1").send().await.unwrap()).await;
    assert_eq!((all.as_array().unwrap().len(), &all[0]["userId"]), (2, &json!("u1")));
    assert_eq!(all[1]["items"][0]["purchaseType"], "SINGLE");
    let path = "/management/contracts?userId=u1&status=OVERDUE";
    let overdue = json_of(town.sesamy(path).send().await.unwrap()).await;
    assert_eq!((overdue.as_array().unwrap().len(), &overdue[0]["id"]), (1, &json!("c2")));
    let nobody = json_of(town.sesamy("/management/contracts?userId=nobody").send().await.unwrap()).await;
    assert_eq!(nobody, json!([]));
}

#[tokio::test]
async fn users_can_be_listed_and_searched() {
    let town = Town::start().await;
    for n in 0..3 {
        town.sandbox.sesamy.put_user(user(&format!("u{n}")).email(&format!("reader{n}@example.com")));
    }
    let page = json_of(town.sesamy("/management/users?limit=2&offset=1").send().await.unwrap()).await;
    assert_eq!((&page[0]["id"], &page[1]["userId"]), (&json!("u1"), &json!("u2")));
    let found = json_of(town.sesamy("/management/users?search=READER2").send().await.unwrap()).await;
    assert_eq!((found.as_array().unwrap().len(), &found[0]["id"]), (1, &json!("u2")));
    town.sandbox.sesamy.remove_user("u2");
    assert!(town.sandbox.sesamy.user("u2").is_none());
}

#[tokio::test]
async fn the_rate_limit_is_announced_and_enforced() {
    let town = Town::start().await;
    town.sandbox.sesamy.put_user(user("u1"));
    let limit = RateLimit { per_minute: 1, burst: 2, retry_after_header: true };
    town.sandbox.sesamy.enforce(Some(limit));
    let read = async || town.sesamy("/management/users/u1").send().await.unwrap();
    let first = read().await;
    assert_eq!(
        (first.status().as_u16(), &first.headers()["x-ratelimit-remaining"]),
        (200, &"1".parse().unwrap())
    );
    assert_eq!(read().await.status(), 200);
    let refused = read().await;
    assert_eq!(refused.status(), 429);
    let after: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&after), "{after}");
    assert!(refused.headers().contains_key("x-ratelimit-reset"));
    assert_eq!(json_of(refused).await["error"]["retry_after"], after);
    town.sandbox.sesamy.enforce(None);
    assert_eq!(read().await.status(), 200);
}

#[tokio::test]
async fn curl_can_change_users_without_a_token() {
    let town = Town::start().await;
    let at = |path: &str| format!("{}/sandbox{path}", town.sandbox.sesamy.url());
    let put = async |path: &str, body: Value| town.client.put(at(path)).json(&body).send().await.unwrap();
    put("/users/u1", json!({"email": KARI, "firstName": "Kari"})).await;
    put("/users/u1", json!({"firstName": "Karianne"})).await;
    assert_eq!(put("/users/u1/contracts", json!([contract_json()])).await.status(), 200);
    assert_eq!(put("/users/u1/entitlements", json!([{"id": "e1"}])).await.status(), 200);
    assert_eq!(put("/users/u1/entitlements", json!({})).await.status(), 400);
    assert_eq!(put("/elsewhere/u1", json!({})).await.status(), 400);
    let kari = town.sandbox.sesamy.user("u1").unwrap();
    assert_eq!((&kari.profile["email"], &kari.profile["firstName"]), (&json!(KARI), &json!("Karianne")));
    assert_eq!((kari.contracts.len(), kari.entitlements.len()), (1, 1));
    let findings = json_of(town.client.get(at("/findings")).send().await.unwrap()).await;
    assert_eq!(findings, json!([]));
    assert!(town.sandbox.calls().is_empty(), "the sandbox's own paths are not logged");
}

fn contract_json() -> Value {
    contract("c1").into()
}

#[tokio::test]
async fn the_contracts_of_all_users_come_in_pages_and_name_their_users() {
    let town = Town::start().await;
    let sesamy = &town.sandbox.sesamy;
    for n in 0..7 {
        sesamy.put_user(user(&format!("u{n}")).contract(contract("a")).contract(contract("b")));
    }
    sesamy.answer_as(Shape::Envelope);
    let page = json_of(town.sesamy("/management/contracts?limit=5&offset=10").send().await.unwrap()).await;
    assert_eq!(page["pagination"], json!({"total": 14, "limit": 5, "offset": 10}));
    let owners: Vec<_> = page["data"].as_array().unwrap().iter().map(|row| row["userId"].clone()).collect();
    assert_eq!(owners, ["u5", "u5", "u6", "u6"]);
}

#[tokio::test]
async fn what_is_changed_says_when_and_the_rest_keeps_its_time() {
    let town = Town::start().await;
    let sesamy = &town.sandbox.sesamy;
    let before = jiff::Timestamp::now().as_millisecond();
    let time = |value: &serde_json::Value| {
        value["updatedAt"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_millisecond()
    };
    sesamy.put_user(user("u1").contract(contract("c1")).contract(contract("c2")));
    let first = sesamy.user("u1").unwrap();
    assert!(time(&serde_json::Value::Object(first.profile.clone())) >= before);
    assert!(first.contracts.iter().all(|row| time(row) < before), "{first:?}");

    sesamy.set_field("u1", "updatedAt", "2025-06-01T00:00:00.000Z");
    sesamy.edit_user("u1", |user| user.contracts[1]["status"] = "OVERDUE".into());
    sesamy.add_entitlement("u1", entitlement("e1", "plus"));
    let then = sesamy.user("u1").unwrap();
    assert_eq!(then.profile["updatedAt"], "2025-06-01T00:00:00.000Z");
    assert!(time(&then.contracts[0]) < before && time(&then.contracts[1]) >= before, "{then:?}");
    assert!(time(&then.entitlements[0]) >= before);
    sesamy.set_field("u1", "firstName", "Kari");
    assert_ne!(sesamy.user("u1").unwrap().profile["updatedAt"], "2025-06-01T00:00:00.000Z");
}

#[tokio::test]
async fn rows_shift_between_pages() {
    let town = Town::start().await;
    let sesamy = &town.sandbox.sesamy;
    for n in 1..=4 {
        sesamy.put_user(user(&format!("u{n}")));
    }
    sesamy.remove_user_after_page(0, "u1");
    sesamy.put_user_after_page(2, user("u0"));
    let page = async |offset: usize| {
        let path = format!("/management/users?limit=2&offset={offset}");
        let rows = json_of(town.sesamy(&path).send().await.unwrap()).await;
        rows.as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(page(0).await, ["u1", "u2"]);
    assert_eq!(page(2).await, ["u4"], "u3 has slipped to the page before");
    assert_eq!(page(2).await, ["u3", "u4"], "u0 pushes them on");
}
