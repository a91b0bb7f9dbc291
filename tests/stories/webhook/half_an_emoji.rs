//! Half an emoji: an escape such as `\ud83d` without its other half, or a byte that is no UTF-8. It costs its character,
//! not the event, and not the reader.

use serde_json::json;
use sesamy_mailmojo::sandbox::{Fault, Route, Rule, user};

use crate::support::faults::{address, people, told};
use crate::support::harness::{LIST, SECRET, Town, signature};
use crate::support::http::{ask, post, webhook};
use crate::support::shell::run;

#[tokio::test]
async fn an_event_with_half_an_emoji_in_it_is_accepted_and_signed_as_it_was_sent() {
    let town = Town::start().await;
    people(&town, &["one", "two"]);
    let body = |user: &str| {
        format!(
            r#"{{"eventType": "userVendor.1#new", "userId": "{user}", "note": "hi \ud83d", "\ude00": 1}}"#
        )
    };
    ask(&town.service, webhook(body("one"))).await.is_accepted();
    let signed = format!("X-Sesamy-Signature: {}\r\n", signature(SECRET, body("two").as_bytes()));
    ask(&town.service, post(&signed, body("two"))).await.is_accepted();
    let repaired = body("two").replace(r"\ud83d", r"\ufffd").replace(r"\ude00", r"\ufffd");
    ask(&town.service, post(&signed, repaired)).await.is_problem(401, "unauthorized");
    let twice = r#"{"eventType": "userVendor.1#new", "userId": "one", "userId": "\ud83d"}"#;
    ask(&town.service, webhook(twice)).await.is_problem(400, "invalid-event");
    town.settled().await;
    for user in ["one", "two"] {
        town.contact(&address(user));
    }
}

#[tokio::test]
async fn a_reader_with_half_an_emoji_anywhere_is_synced_without_it() {
    let town = Town::start().await;
    people(&town, &["kari"]);
    let (sesamy, mailmojo) = (&town.sandbox.sesamy, &town.sandbox.mailmojo);
    let profile = br#"{"userId": "kari", "email": "kari@example.com", "firstName": "Kari \ud83d", "lastName": "M\xf8rk",
        "company": "\ude00", "tags": ["fan \uD83D\ud83d\ude00"]}"#;
    let contracts = r#"[{"id": "c1", "userId": "kari", "isActive": true, "contractDuration": "RECURRING", "name": "\ud83d"}]"#;
    let entitlements =
        r#"{"data": [{"id": "e1", "sku": "plus", "title": "Plus \ud83d", "hasAccess": true}]}"#;
    sesamy.inject(Rule::on(Route::Profile, Fault::status(200).bytes(&latin_1(profile))));
    sesamy.inject(Rule::on(Route::Contracts, Fault::status(200).text(contracts)));
    sesamy.inject(Rule::on(Route::Entitlements, Fault::status(200).text(entitlements)));
    town.sync("kari").await;
    let made = town.contact("kari@example.com");
    assert_eq!(
        (made.first_name.as_deref(), made.last_name.as_deref()),
        (Some("Kari \u{fffd}"), Some("M\u{fffd}rk"))
    );
    let tags = [
        "sesamy_active_entitlement_plus-\u{fffd}",
        "sesamy_active_sku_plus",
        "sesamy_active_subscriber",
        "sesamy_tag_fan-\u{fffd}😀",
    ];
    assert_eq!(made.tags, tags);

    // Mailmojo answers so too, and the contact is found to be in step.
    let there = json!({"email": "kari@example.com", "status": "a", "first_name": "Kari <1>", "last_name": "M<2>rk",
        "list_associations": [{"list_id": LIST, "status": "a"}], "tags": tags, "custom": {"pet": "<1>"}});
    let there = there.to_string().replace("<1>", r"\ud83d").replace("<2>", r"\xf8");
    mailmojo.inject(Rule::on(Route::ContactGet, Fault::status(200).bytes(&latin_1(there.as_bytes()))));
    town.sync("kari").await;
    // An error too: a 404 is an answer, whatever it quotes.
    sesamy.clear_faults();
    let missing = r#"{"error": {"code": "resource_not_found", "message": "no \ud83d"}}"#;
    sesamy.inject(Rule::on(Route::Profile, Fault::status(404).text(missing)));
    town.sync("nobody").await;
    assert_eq!(told(&town, "kari", "outcome"), ["created", "unchanged"]);
    assert_eq!(told(&town, "nobody", "reason"), ["user_not_found"]);
}

#[tokio::test]
async fn a_row_with_half_an_emoji_does_not_stop_a_backfill() {
    let town = Town::start().await;
    town.sandbox.sesamy.put_user(user("kari").email("kari@example.com"));
    let users = r#"[{"id": "kari", "email": "kari@example.com", "name": "Kari \ud83d"}]"#;
    town.sandbox.sesamy.inject(Rule::on(Route::Users, Fault::status(200).text(users)));
    let ended = run(&["backfill", "--yes"], town.settings()).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    town.contact("kari@example.com");
}

/// `text` with each `\xf8` as the one byte that it stands for.
fn latin_1(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.windows(4).position(|four| four == br"\xf8") {
        bytes.extend_from_slice(&rest[..at]);
        bytes.push(0xF8);
        rest = &rest[at + 4..];
    }
    [bytes, rest.to_vec()].concat()
}
