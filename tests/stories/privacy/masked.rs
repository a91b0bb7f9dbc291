//! Masked: whatever an API says about somebody, nothing personal is in the log, the metrics, an answer or the queue's
//! columns for errors.

use serde_json::{Value, json};
use sesamy_mailmojo::sandbox::{Fault, Route, Rule, contact, user};

use crate::support::faults::{events, synced, text};
use crate::support::harness::{LIST, TOKEN, Town, http};

const EMAIL: &str = "Kåri.Nordmann+nyhet@Example.com";
/// An id that is an address, and one that is a phone number.
const IDS: [&str; 2] = ["email|kåri.nordmann+nyhet@example.com", "tel|+4799988777"];

/// How an API may quote the user: each in the spelling of some encoder, and in other letter case than it was sent.
const QUOTES: [&str; 39] = [
    // The address, whole and in parts.
    "KÅRI.NORDMANN+NYHET@EXAMPLE.COM",
    "<kåri.nordmann+nyhet@example.com>,",
    "k%C3%A5ri.nordmann%2Bnyhet%40example.com",
    "K%c3%a5ri.Nordmann+nyhet%40example.com",
    r"K\u00e5ri.Nordmann+nyhet@example.com",
    r"k\u00E5ri.nordmann\u002bnyhet\u0040example.com",
    "k&#229;ri.nordmann&#43;nyhet&#64;example.com",
    "k&#xE5;ri.nordmann&#x2B;nyhet&#x40;example.com",
    "kåri.nordmann+nyhet (at) example.com",
    // In decomposed Unicode, as some systems keep all text.
    "Ka\u{30a}ri.Nordmann+nyhet@example.com",
    "KA\u{30a}RI O'BRA\u{30a}TEN",
    "O'Bra%CC%8Aten",
    r"Ka\u030ari O\'Bra\u030aten",
    // In base64: from its beginning, one place on, with a password, and two places on.
    "S8OlcmkuTm9yZG1hbm4rbnloZXRARXhhbXBsZS5jb20=",
    "IkvDpXJpLk5vcmRtYW5uK255aGV0QEV4YW1wbGUuY29t",
    "a8Olcmkubm9yZG1hbm4rbnloZXRAZXhhbXBsZS5jb206eA==",
    "eHlLw6VyaSBOb3JkbWFubg==",
    // The names.
    "NORDMANN, Kåri",
    "O'Bråten",
    "O&#39;Br&#229;ten",
    "o&#x27;br&#xe5;ten",
    "O%27Br%C3%A5ten",
    // Escapers that leave some of it alone, and two of them one after the other.
    "O&#39;Bråten",
    "O&#039;Br&aring;ten",
    "o&apos;BR&Aring;TEN",
    "O%2527Br%25C3%25A5ten",
    r"O'Bråten",
    "Kåri%20O'Bråten",
    "k%c3%a5ri+o%27br%c3%a5ten",
    r"O'Br\u00e5ten",
    // The phone numbers.
    "+4799988777",
    "99988777",
    "+47 999 88 777",
    "0047-999-88-777",
    "(999) 88.777",
    "%2B47+22+33+44+55",
    "22%2033%2044%2055",
    "22&#32;33&#32;44&#32;55",
    "22334455",
];

/// What must be nowhere, in lower case; of numbers, the digits.
const SECRETS: [&str; 16] = [
    "kåri",
    "ri.nordmann",
    "nordmann",
    "o'br",
    "bråten",
    "g;ten",
    "5ten",
    "99988777",
    "22334455",
    "a\u{30a}ri",
    "aten",
    // Of the address and the name in base64.
    "8olcmkut",
    "dpxjplk5",
    "8olcmkubm",
    "w6vyasbob3jk",
    "ybwfub",
];

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
async fn an_api_that_quotes_the_person_in_any_spelling_is_neither_kept_nor_logged() {
    let town = Town::with(&[("SYNC__DEBOUNCE", "0s")]).await;
    let (sesamy, mailmojo) = (&town.sandbox.sesamy, &town.sandbox.mailmojo);
    let id = IDS[0];
    sesamy.put_user(kari(id));
    let ends = "SELECT count(*) FROM users WHERE due_at IS NULL";
    for (at, quote) in QUOTES.into_iter().enumerate() {
        let message = format!("row {at}: odd value {quote} in it, see there");
        // Every other time one step earlier or later, and in another field of the error.
        if at % 3 == 0 {
            sesamy.inject(Rule::on(Route::Contracts, Fault::status(400).message(&message)).times(1));
        } else {
            let words = if at % 3 == 1 {
                json!({"title": "Odd", "detail": message})
            } else {
                json!({"errors": {"value": [message]}})
            };
            mailmojo.inject(Rule::on(Route::Subscribe, Fault::status(422).json(words)).times(1));
        }
        events(&town, &[id]).await;
        town.wait_for_queue(ends, |parked| parked == 1).await;
        let kept = text(&town, "SELECT error || ' ' || coalesce(answer, '') FROM users").unwrap();
        assert!(kept.contains("was answered 4") && !kept.contains("odd value"), "{quote}: {kept}");
        nothing_personal(&format!("the queue's row about {quote}"), &kept);
    }
    nothing_personal("the log", &town.service.output.text());
    nothing_personal("the metrics", &town.service.metrics().await);
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
