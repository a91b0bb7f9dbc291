//! Letter case: one person is one contact, however the address is spelt at either end.

use serde_json::{Value, json};
use sesamy_mailmojo::sandbox::{Fault, Route, Rule, contact, user};

use crate::support::harness::{LIST, Town};

/// The targets of the calls to `route`, in order.
fn asked(town: &Town, route: Route) -> Vec<String> {
    town.sandbox.calls_to(route).into_iter().map(|call| call.target).collect()
}

fn contacts(town: &Town) -> Vec<String> {
    town.sandbox.mailmojo.contacts().into_iter().map(|contact| contact.email).collect()
}

#[tokio::test]
async fn a_contact_is_looked_up_as_spelt_then_in_lower_case_and_created_in_lower_case() {
    let town = Town::start().await;
    town.sandbox.sesamy.put_user(user("u1").email(" Kari.Nordmann+Avis@Example.COM ").tags(["a"]));
    assert_eq!(town.sync_told("u1").await["outcome"], "created");

    assert_eq!(
        asked(&town, Route::ContactGet),
        [
            "/v1/contacts/Kari.Nordmann%2BAvis%40Example.COM/",
            "/v1/contacts/kari.nordmann%2Bavis%40example.com/",
        ]
    );
    assert_eq!(contacts(&town), ["kari.nordmann+avis@example.com"]);
    let body = town.sandbox.calls_to(Route::Subscribe)[0].body.clone().unwrap();
    assert_eq!(body["email"], "kari.nordmann+avis@example.com");

    // The next sync finds that contact and makes no other, as does one of another spelling.
    for spelling in ["Kari.Nordmann+Avis@Example.COM", "KARI.NORDMANN+AVIS@example.com"] {
        town.sandbox.sesamy.set_field("u1", "email", spelling);
        assert_eq!(town.sync_told("u1").await["outcome"], "unchanged", "{spelling}");
    }
    assert_eq!(town.sandbox.writes(), 1);
}

#[tokio::test]
async fn an_address_in_lower_case_that_is_not_there_is_asked_for_once() {
    let town = Town::start().await;
    town.sandbox.sesamy.put_user(user("u1").email("kåri@example.com"));
    assert_eq!(town.sync_told("u1").await["outcome"], "created");
    assert_eq!(asked(&town, Route::ContactGet), ["/v1/contacts/k%C3%A5ri%40example.com/"]);
    assert_eq!(contacts(&town), ["kåri@example.com"]);
}

#[tokio::test]
async fn letters_beyond_ascii_have_a_lower_case_too() {
    let town = Town::start().await;
    town.sandbox.sesamy.put_user(user("u1").email("KÅRI@EXAMPLE.COM").tags(["a"]));
    town.sandbox.mailmojo.put_contact(contact("kåri@example.com").tags(["vip"]).on_list(LIST));
    assert_eq!(town.sync_told("u1").await["outcome"], "updated");
    assert_eq!(contacts(&town), ["kåri@example.com"]);
    assert_eq!(town.contact("kåri@example.com").tags, ["vip", "sesamy_tag_a"]);
}

#[tokio::test]
async fn the_spelling_that_is_found_is_the_one_that_is_written_to() {
    let town = Town::start().await;
    // As Sesamy spells it, although there is another contact in lower case: the first that is found is the one.
    town.sandbox.sesamy.put_user(user("u1").email("Kari@Example.com").tags(["a"]));
    town.sandbox.mailmojo.put_contact(contact("Kari@Example.com").tags(["first"]).on_list(LIST));
    town.sandbox.mailmojo.put_contact(contact("kari@example.com").tags(["second"]).on_list(LIST));
    // Only in lower case.
    town.sandbox.sesamy.put_user(user("u2").email("Ola@Example.com").tags(["a"]));
    town.sandbox.mailmojo.put_contact(contact("ola@example.com").tags(["vip"]).on_list(LIST));
    town.sync_all(["u1", "u2"]).await;

    assert_eq!(town.contact("Kari@Example.com").tags, ["first", "sesamy_tag_a"]);
    assert_eq!(town.contact("kari@example.com").tags, ["second"]);
    assert_eq!(town.contact("ola@example.com").tags, ["vip", "sesamy_tag_a"]);
    assert_eq!(contacts(&town).len(), 3);
    let mut patched = asked(&town, Route::ContactPatch);
    patched.sort();
    assert_eq!(patched, ["/v1/contacts/Kari%40Example.com/", "/v1/contacts/ola%40example.com/"]);
}

#[tokio::test]
async fn a_mailmojo_that_ignores_case_keeps_its_own_spelling() {
    let town = Town::start().await;
    town.sandbox.mailmojo.ignore_case(true);
    let people =
        [("u1", "Kari@Example.com", "kari@example.com"), ("u2", "ola@example.com", "OLA@Example.com")];
    for (id, at_mailmojo, at_sesamy) in people {
        town.sandbox.sesamy.put_user(user(id).email(at_sesamy).tags(["a"]));
        town.sandbox.mailmojo.put_contact(contact(at_mailmojo).tags(["vip"]));
    }
    // Neither is on the list: the subscribe names the contact as Mailmojo does.
    for (id, at_mailmojo, _) in people {
        assert_eq!(town.sync_told(id).await["outcome"], "subscribed");
        let contact = town.contact(at_mailmojo);
        assert_eq!((contact.email.as_str(), contact.list_status(LIST)), (at_mailmojo, Some("a")));
        assert_eq!(contact.tags, ["vip", "sesamy_tag_a"]);
    }
    let sent: Vec<Value> = town
        .sandbox
        .calls_to(Route::Subscribe)
        .into_iter()
        .map(|call| call.body.unwrap()["email"].clone())
        .collect();
    assert_eq!(sent, ["Kari@Example.com", "ola@example.com"]);
    // And where the contact is there, one look finds it.
    town.sandbox.clear_calls();
    for (id, ..) in people {
        assert_eq!(town.sync_told(id).await["outcome"], "unchanged");
    }
    assert_eq!(town.sandbox.count(Route::ContactGet), 2);
    assert_eq!(contacts(&town).len(), 2);
}

#[tokio::test]
async fn a_mailmojo_that_spells_a_domain_in_ascii_answers_with_the_same_address() {
    let town = Town::start().await;
    for route in [Route::ContactGet, Route::ContactPatch, Route::Subscribe] {
        let spell = |answer: &mut Value| {
            if answer["email"].is_string() {
                answer["email"] = json!("kari@xn--blbr-roah.no");
            }
        };
        town.sandbox.mailmojo.inject(Rule::on(route, Fault::edit(spell)));
    }
    town.sandbox.sesamy.put_user(user("u1").email("Kari@blåbær.no").tags(["a"]));
    assert_eq!(town.sync_told("u1").await["outcome"], "created");
    town.sandbox.sesamy.set_field("u1", "tags", json!(["b"]));
    assert_eq!(town.sync_told("u1").await["outcome"], "updated");
    assert_eq!(town.contact("kari@blåbær.no").tags, ["sesamy_tag_b"]);

    // Sesamy may change to the other form, too. That is no change of address, which would take the tags off.
    town.sandbox.mailmojo.put_contact(contact("kari@xn--blbr-roah.no").tags(["sesamy_tag_b"]).on_list(LIST));
    town.sandbox.sesamy.set_field("u1", "email", "kari@xn--blbr-roah.no");
    assert_eq!(town.sync_told("u1").await["outcome"], "unchanged");
    assert_eq!(town.contact("kari@blåbær.no").tags, ["sesamy_tag_b"]);
    assert_eq!(town.sandbox.writes(), 2);
}
