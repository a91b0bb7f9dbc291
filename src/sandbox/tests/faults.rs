//! Each fault, seen by a client.

use std::time::{Duration, Instant, UNIX_EPOCH};

use super::super::{ComeAgain, Fault, Route, Rule, contact, user};
use super::*;

async fn town_with_kari() -> Town {
    let town = Town::start().await;
    town.sandbox.sesamy.put_user(user("u1").email(KARI));
    town.sandbox.mailmojo.put_contact(contact(KARI));
    town
}

#[tokio::test]
async fn a_status_is_answered_as_often_as_the_rule_says() {
    let town = town_with_kari().await;
    let html = Fault::status(503).html().header("Retry-After", "1");
    town.sandbox.mailmojo.inject(Rule::on(Route::ContactGet, html).after(1).times(2));
    let mut statuses = Vec::new();
    for _ in 0..4 {
        let answer = town.reads(KARI).await;
        if answer.status() == 503 {
            assert_eq!(answer.headers()["content-type"], "text/html; charset=utf-8");
            assert_eq!(answer.headers()["retry-after"], "1");
        }
        statuses.push(answer.status().as_u16());
    }
    assert_eq!(statuses, [200, 503, 503, 200]);
}

#[tokio::test]
async fn each_api_reports_an_error_in_its_own_shape() {
    let town = town_with_kari().await;
    let fault = || Rule::anywhere(Fault::status(422).message("no such thing"));
    town.sandbox.mailmojo.inject(fault());
    town.sandbox.sesamy.inject(fault());
    assert_eq!(json_of(town.reads(KARI).await).await["detail"], "no such thing");
    let sesamy = town.sesamy("/management/users/u1").send().await.unwrap();
    assert_eq!(json_of(sesamy).await["error"]["message"], "no such thing");
    town.sandbox.sesamy.clear_faults();
    assert_eq!(town.sesamy("/management/users/u1").send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_rule_can_be_about_one_user_and_the_first_that_strikes_wins() {
    let town = town_with_kari().await;
    let sesamy = &town.sandbox.sesamy;
    sesamy.put_user(user("u2"));
    sesamy.inject(Rule::on(Route::Profile, Fault::status(500)).about("u2"));
    sesamy.inject(Rule::on(Route::Profile, Fault::status(418)));
    let read = async |id: &str| {
        town.sesamy(&format!("/management/users/{id}")).send().await.unwrap().status().as_u16()
    };
    assert_eq!([read("u1").await, read("u2").await], [418, 500]);
}

#[tokio::test]
async fn chance_is_drawn_from_a_seed_and_so_the_same_each_time() {
    let draws = async || {
        let town = town_with_kari().await;
        town.sandbox.mailmojo.inject(Rule::on(Route::ContactGet, Fault::status(500)).chance(0.5, 42));
        let mut statuses = Vec::new();
        for _ in 0..20 {
            statuses.push(town.reads(KARI).await.status().as_u16());
        }
        statuses
    };
    let first = draws().await;
    assert!(first.contains(&200) && first.contains(&500), "{first:?}");
    assert_eq!(first, draws().await);
}

#[tokio::test]
async fn a_429_can_say_in_every_way_when_to_retry() {
    let town = town_with_kari().await;
    let mailmojo = &town.sandbox.mailmojo;
    let hints = [
        ComeAgain::Seconds(7),
        ComeAgain::Date(UNIX_EPOCH + Duration::from_secs(784_111_777)),
        ComeAgain::InBody(9),
        ComeAgain::Reset(1_900_000_000),
        ComeAgain::Unsaid,
    ];
    let mut hints_seen = Vec::new();
    for hint in hints {
        mailmojo.inject(Rule::on(Route::ContactGet, Fault::too_many_requests(hint)).times(1));
        let answer = town.reads(KARI).await;
        assert_eq!(answer.status(), 429);
        let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let (after, reset) = (header("retry-after"), header("x-ratelimit-reset"));
        hints_seen.push((after, reset, json_of(answer).await["error"]["retry_after"].as_u64()));
    }
    let text = |text: &str| Some(text.to_owned());
    let expected = [
        (text("7"), None, None),
        (text("Sun, 06 Nov 1994 08:49:37 GMT"), None, None),
        (None, None, Some(9)),
        (None, text("1900000000"), None),
        (None, None, None),
    ];
    assert_eq!(hints_seen, expected);
}

#[tokio::test]
async fn a_delay_comes_before_an_answer_as_usual() {
    let town = town_with_kari().await;
    let delay = Duration::from_millis(80);
    town.sandbox.mailmojo.inject(Rule::on(Route::ContactGet, Fault::Delay(delay)));
    let start = Instant::now();
    assert_eq!(town.reads(KARI).await.status(), 200);
    assert!(start.elapsed() >= delay);
}

#[tokio::test]
async fn a_hang_and_a_close_give_no_answer() {
    let town = town_with_kari().await;
    let mailmojo = &town.sandbox.mailmojo;
    mailmojo.inject(Rule::on(Route::ContactGet, Fault::Close).times(1));
    mailmojo.inject(Rule::on(Route::ContactGet, Fault::Hang).times(1));
    let read = || town.mailmojo(Method::GET, "/v1/contacts/kari@example.com/");
    assert!(read().send().await.unwrap_err().is_request());
    let hanging = tokio::spawn(read().send());
    town.sandbox.wait_until(LIMIT, |sandbox| sandbox.in_flight() == 1).await.unwrap();
    hanging.abort();
    town.sandbox.wait_until(LIMIT, |sandbox| sandbox.in_flight() == 0).await.unwrap();
    let statuses: Vec<_> = town.sandbox.calls().iter().map(|call| call.status).collect();
    assert_eq!(statuses, [None, None]);
}

#[tokio::test]
async fn an_answer_can_be_cut_or_broken_off_or_dripped() {
    let town = town_with_kari().await;
    let mailmojo = &town.sandbox.mailmojo;
    mailmojo.inject(Rule::on(Route::ContactGet, Fault::CutJson).times(1));
    mailmojo.inject(Rule::on(Route::ContactGet, Fault::CutConnection).times(1));
    mailmojo.inject(Rule::on(Route::ContactGet, Fault::Drip(Duration::from_millis(2))).times(1));
    let cut = town.reads(KARI).await.text().await.unwrap();
    assert!(cut.starts_with('{') && serde_json::from_str::<Value>(&cut).is_err(), "{cut}");
    assert!(town.reads(KARI).await.bytes().await.is_err());
    let mut dripping = town.reads(KARI).await;
    assert_eq!(town.sandbox.in_flight(), 1, "in flight until the last byte");
    let mut drops = Vec::new();
    while let Some(drop) = dripping.chunk().await.unwrap() {
        drops.extend(drop);
    }
    assert_eq!(town.sandbox.in_flight(), 0);
    assert_eq!(serde_json::from_slice::<Value>(&drops).unwrap()["email"], KARI);
    assert_eq!(town.sandbox.count(Route::ContactGet), 3);
}

#[tokio::test]
async fn an_answer_can_be_huge_or_of_the_wrong_shape() {
    let town = town_with_kari().await;
    let mailmojo = &town.sandbox.mailmojo;
    mailmojo.inject(Rule::on(Route::ContactGet, Fault::Huge(200_001)).times(1));
    mailmojo.inject(Rule::on(Route::ContactGet, Fault::wrong_shape(json!([1]))).times(1));
    mailmojo.inject(Rule::on(Route::ContactGet, Fault::edit(|json| json["tags"] = json!("vip"))).times(1));
    let huge = town.reads(KARI).await.bytes().await.unwrap();
    assert_eq!(huge.len(), 200_001);
    assert!(serde_json::from_slice::<String>(&huge).is_ok());
    assert_eq!(json_of(town.reads(KARI).await).await, json!([1]));
    let edited = json_of(town.reads(KARI).await).await;
    assert_eq!((&edited["email"], &edited["tags"]), (&json!(KARI), &json!("vip")));
}

#[tokio::test]
async fn a_write_can_be_done_and_its_answer_lost() {
    let town = town_with_kari().await;
    let mailmojo = &town.sandbox.mailmojo;
    mailmojo.inject(Rule::on(Route::ContactPatch, Fault::done_then(Fault::status(502).html())).times(1));
    mailmojo.inject(Rule::on(Route::ContactPatch, Fault::done_then(Fault::Close)).times(1));
    mailmojo.inject(Rule::on(Route::ContactPatch, Fault::status(500)).times(1));
    assert_eq!(town.patches(KARI, json!({"first_name": "Kari"})).await.status(), 502);
    let patch = town.mailmojo(Method::PATCH, "/v1/contacts/kari@example.com/").json(&json!({"phone": "1"}));
    assert!(patch.send().await.is_err());
    assert_eq!(town.patches(KARI, json!({"last_name": "Nordmann"})).await.status(), 500);
    let kari = mailmojo.contact(KARI).unwrap();
    let fields = (kari.first_name.as_deref(), kari.phone.as_deref(), kari.last_name.as_deref());
    assert_eq!(fields, (Some("Kari"), Some("1"), None));
}

#[tokio::test]
async fn a_token_endpoint_can_fail() {
    let town = town_with_kari().await;
    town.sandbox.sesamy.inject(Rule::on(Route::Token, Fault::status(403)));
    let asked = town.client.post(town.sandbox.sesamy.token_url()).send().await.unwrap();
    assert_eq!((asked.status().as_u16(), town.sandbox.sesamy.tokens_issued()), (403, 0));
}

#[tokio::test]
async fn a_stuck_write_takes_effect_after_its_client_has_gone() {
    let town = town_with_kari().await;
    let mailmojo = &town.sandbox.mailmojo;
    mailmojo.inject(Rule::on(Route::ContactPatch, Fault::AfterLeaving(Duration::from_millis(20))).times(1));
    let patch = town.patches(KARI, serde_json::json!({"phone": "1"}));
    assert!(tokio::time::timeout(Duration::from_millis(50), patch).await.is_err());
    assert_eq!(mailmojo.contact(KARI).unwrap().phone, None, "it is stuck while the client waits");
    let done = |sandbox: &super::super::Sandbox| {
        sandbox.mailmojo.contact(KARI).unwrap().phone.is_some() && sandbox.in_flight() == 0
    };
    town.sandbox.wait_until(Duration::from_secs(10), done).await.unwrap();
    assert_eq!(town.sandbox.take_calls().last().unwrap().status, None);
    assert!(town.sandbox.calls().is_empty());
}

#[tokio::test]
async fn one_of_several_faults_is_drawn_from_a_seed_and_counted() {
    let draws = async |seed| {
        let town = town_with_kari().await;
        let faults = vec![Fault::status(500).into(), Fault::status(503).into()];
        town.sandbox.mailmojo.inject(Rule::one_of(Route::ContactGet, faults, seed).chance(0.5, seed));
        let mut statuses = Vec::new();
        for _ in 0..30 {
            statuses.push(town.reads(KARI).await.status().as_u16());
        }
        let struck = statuses.iter().filter(|status| **status == 503).count() as u64;
        assert_eq!(town.sandbox.faults()["Answer(503)"], struck);
        statuses
    };
    let drawn = draws(7).await;
    assert_eq!(drawn, draws(7).await);
    assert!([200, 500, 503].iter().all(|status| drawn.contains(status)));
}
