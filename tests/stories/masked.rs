//! Masked: whatever an API answers, a connection does or a caller sends, nothing personal is in the log, the metrics or an
//! answer. What an API says about an error is in `what_an_api_says`.

use serde_json::{Value, json};
use sesamy_mailmojo::sandbox::{Fault, Route, Rule, contact, user};

use crate::town::{LIST, TOKEN, Town, http};
use crate::trouble::synced;

const EMAIL: &str = "Kåri.Nordmann+nyhet@Example.com";
/// An id that is an address, and one that is a phone number.
const IDS: [&str; 2] = ["email|kåri.nordmann+nyhet@example.com", "tel|+4799988777"];

/// What must be nowhere, in lower case; of numbers, the digits.
const SECRETS: [&str; 7] = ["kåri", "ri.nordmann", "nordmann", "o'br", "bråten", "99988777", "22334455"];

fn kari(id: &str) -> sesamy_mailmojo::sandbox::User {
    user(id)
        .email(EMAIL)
        .first_name("Kåri")
        .last_name("O'Bråten")
        .full_name("Kåri Nordmann")
        .field("family_name", "Nordmann")
        .mobile_phone("+47 999 88 777")
        .home_phone("22 33 44 55")
}

/// Fails where `text` has something personal in it, whatever separates the digits.
#[track_caller]
fn nothing_personal(what: &str, text: &str) {
    let lower = text.to_lowercase();
    let digits: String = lower.chars().filter(|c| !" -.()/+".contains(*c)).collect();
    for secret in SECRETS {
        let at =
            lower.find(secret).map(|at| (&lower, at)).or_else(|| digits.find(secret).map(|at| (&digits, at)));
        if let Some((text, at)) = at {
            let from = (0..=at.saturating_sub(80)).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            panic!("{what} has {secret:?}: …{}", text[from..].chars().take(200).collect::<String>());
        }
    }
}

#[tokio::test]
async fn an_odd_answer_is_told_by_line_and_column_and_a_lost_one_without_its_url() {
    let town = Town::with(&[("SYNC__DEBOUNCE", "0s")]).await;
    let (sesamy, mailmojo) = (&town.sandbox.sesamy, &town.sandbox.mailmojo);
    let personal =
        |wrong: &str| json!({"email": EMAIL, "firstName": {"Kåri": "O'Bråten"}, wrong: ["+4799988777"]});
    let faults: Vec<(Route, Fault)> = vec![
        (Route::Subscribe, Fault::CutConnection), // first: a contact that was seen is not made again
        (Route::Profile, Fault::wrong_shape(personal("phone_number"))),
        (Route::Profile, Fault::wrong_shape(json!({"userId": "kåri.nordmann", "email": EMAIL}))),
        (Route::Profile, Fault::CutJson),
        (Route::Contracts, Fault::wrong_shape(json!([{"id": "c1", "isActive": EMAIL}]))),
        (Route::Entitlements, Fault::edit(|rows| *rows = json!([{"id": EMAIL, "expiresAt": 99_988_777}]))),
        (Route::ContactGet, Fault::wrong_shape(personal("tags"))),
        (Route::ContactGet, Fault::wrong_shape(json!({"email": "o'br@example.com", "name": "Kåri"}))),
        (Route::ContactGet, Fault::Close),
        (Route::ContactPatch, Fault::done_then(Fault::CutJson)),
    ];
    for (at, (route, fault)) in faults.into_iter().enumerate() {
        for id in IDS {
            sesamy.put_user(kari(id).tags([format!("t{at}").as_str()]));
        }
        if route != Route::Subscribe {
            mailmojo.put_contact(contact(&EMAIL.to_lowercase()).first_name("Kåri").on_list(LIST));
        }
        let rule = Rule::on(route, fault).times(1);
        match route {
            Route::ContactGet | Route::Subscribe | Route::ContactPatch => mailmojo.inject(rule),
            _ => sesamy.inject(rule),
        }
        town.sync(IDS[at % 2]).await;
        let failed = |line: &Value| line["outcome"] == "failed";
        let line =
            town.service.output.wait_for_nth(at + 1, &format!("failure {at} at {route:?}"), failed).await;
        nothing_personal(&format!("{route:?}"), &line.to_string());
    }
    nothing_personal("the log", &town.service.output.text());
    nothing_personal("the metrics", &town.service.metrics().await);
}

#[tokio::test]
async fn an_id_that_could_be_an_address_or_a_number_is_logged_as_the_same_hash_each_time() {
    let town = Town::with(&[("SYNC__DEBOUNCE", "0s")]).await;
    let plain = "email|84cccf985de28a2a84824786";
    let mut hashes = Vec::new();
    for id in [plain, IDS[0], IDS[1]] {
        town.sandbox.sesamy.put_user(kari(id));
        town.sync(id).await;
        town.sync(id).await;
        let shown = town
            .service
            .output
            .lines()
            .iter()
            .rev()
            .find_map(|line| line["user_id"].as_str().map(str::to_owned));
        let shown = shown.unwrap();
        synced(&town, &shown, "unchanged", 1).await;
        let lines = town.service.output.lines();
        assert_eq!(
            lines.iter().filter(|line| line["user_id"] == shown).count(),
            4,
            "two requests, two syncs"
        );
        hashes.push(shown);
    }
    assert_eq!(hashes[0], plain);
    assert!(hashes[1..].iter().all(|hash| hash.len() == 23 && hash.starts_with("sha256:")), "{hashes:?}");
    assert_ne!(hashes[1], hashes[2]);
    nothing_personal("the log", &town.service.output.text());
}

#[tokio::test]
async fn a_problem_quotes_nothing_of_what_was_sent() {
    let town = Town::start().await;
    let event =
        |user: Value| json!({"eventType": "userVendor.1#new", "vendorId": "v", "userId": user}).to_string();
    let long = format!("{}{EMAIL}", "x".repeat(256));
    for (status, path, body) in [
        (400, "/webhooks/sesamy", event(json!(long))),
        (400, "/webhooks/sesamy", event(json!(format!("{EMAIL}\n")))),
        (400, "/webhooks/sesamy", event(json!([EMAIL]))),
        (400, "/webhooks/sesamy", format!("{{\"userId\": {EMAIL}")),
        (400, "/webhooks/sesamy", format!("{{\"{EMAIL}\": 1, \"{EMAIL}\": 2}}")),
        (400, "/webhooks/sesamy", json!({"eventType": [EMAIL], "userId": "Kåri"}).to_string()),
        (404, "/k%C3%A5ri.nordmann%2Bnyhet@example.com", String::new()),
    ] {
        let request = http().post(town.service.url(path)).bearer_auth(TOKEN).body(body.clone());
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), status, "{body}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        nothing_personal(&body, &answer.text().await.unwrap());
    }
    town.service.get("/healthz").await;
    let later = |line: &Value| line["path"] == "/healthz";
    town.service.output.wait_for("a request after all of these", later).await;
    nothing_personal("the log", &town.service.output.text());
    nothing_personal("the metrics", &town.service.metrics().await);
}
