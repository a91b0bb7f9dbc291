//! Sesamy has another address than the one that was synced last: the old contact loses our tags and nothing else, the new one
//! is synced as usual, whatever fails in between; and leaving is leaving.

use serde_json::json;
use sesamy_mailmojo::sandbox::{Fault, Route, Rule, contact, contract, entitlement, user};

use crate::support::harness::{LIST, Town};
use crate::support::shell::run;

const OLD: &str = "kari@example.com";
const NEW: &str = "kari@example.org";
const OURS: [&str; 3] =
    ["sesamy_active_entitlement_plus", "sesamy_active_sku_plus", "sesamy_active_subscriber"];

/// Kari, a subscriber who is synced, and whose contact has a tag of her own.
async fn kari(settings: &[(&str, &str)]) -> Town {
    let town = Town::with(settings).await;
    let kari = user("u1").email(OLD).first_name("Kari");
    town.sandbox.sesamy.put_user(kari.contract(contract("c1")).entitlement(entitlement("e1", "plus")));
    town.sync("u1").await;
    town.sandbox.mailmojo.edit(OLD, |it| {
        it.tags.insert(0, "vip".to_owned());
        it.tags.push("sesamy_made_single_purchase".to_owned());
    });
    town
}

fn moves(town: &Town) {
    town.sandbox.sesamy.set_field("u1", "email", NEW);
}

#[tokio::test]
async fn the_old_contact_loses_our_tags_and_nothing_else_and_the_new_one_is_made() {
    let town = kari(&[]).await;
    let before = town.contact(OLD);
    moves(&town);
    let told = town.sync_told("u1").await;

    let old = town.contact(OLD);
    assert_eq!(old.tags, ["vip"], "the kept tag goes too: nobody keeps it in step from now on");
    let untouched = sesamy_mailmojo::sandbox::Contact { tags: before.tags.clone(), ..old };
    assert_eq!(untouched, before);
    assert_eq!(town.contact(NEW).tags, OURS);
    assert_eq!(told["outcome"], "created");
    assert_eq!(told["tags_removed"], "");
    let removed = told["old_tags_removed"].as_str().unwrap();
    assert!(OURS.iter().all(|tag| removed.contains(tag)), "{told}");
    assert_eq!(town.query(&format!("SELECT count(*) FROM users WHERE address_key = '{NEW}'")).unwrap(), 1);

    town.sandbox.clear_calls();
    town.sync("u1").await;
    assert_eq!(
        (town.sandbox.writes(), town.sandbox.count(Route::ContactGet)),
        (0, 1),
        "done, once and for all"
    );
}

#[tokio::test]
async fn another_letter_case_is_the_same_address() {
    let town = kari(&[]).await;
    town.sandbox.clear_calls();
    town.sandbox.sesamy.set_field("u1", "email", "Kari@Example.com");
    town.sync("u1").await;
    assert_eq!(town.sandbox.writes(), 0);
    assert_eq!(town.sandbox.mailmojo.contacts().len(), 1);
}

#[tokio::test]
async fn whoever_had_left_under_the_old_address_is_not_made_under_the_new_one() {
    for leaving in
        ["unsubscribed", "unsubscribed from everything", "deleted", "removed", "taken off the list"]
    {
        let town = kari(&[]).await;
        let mailmojo = &town.sandbox.mailmojo;
        match leaving {
            "unsubscribed" => mailmojo.unsubscribe(OLD, LIST),
            "unsubscribed from everything" => mailmojo.unsubscribe_everywhere(OLD),
            "deleted" => mailmojo.set_status(OLD, "d"),
            "removed" => mailmojo.delete(OLD),
            _ => mailmojo.edit(OLD, |it| it.associations.clear()),
        };
        moves(&town);
        let told = town.sync_told("u1").await;
        assert_eq!(
            (&told["outcome"], &told["reason"]),
            (&json!("skipped"), &json!("left_under_old_address"))
        );
        if let Some(old) = mailmojo.contact(OLD) {
            assert_eq!(old.tags, ["vip"], "{leaving}");
        }
        // Not with the next event either, nor at a third address, nor after a restart.
        town.sync("u1").await;
        town.sandbox.sesamy.set_field("u1", "email", "kari@example.net");
        let told = town.sync_told("u1").await;
        assert_eq!(told["reason"], "left_under_old_address", "{leaving}");
        assert_eq!(town.sandbox.count(Route::Subscribe), 1, "{leaving}: the first sync's alone");

        let again = run(&["sync", "--again", "u1"], town.settings()).await;
        assert_eq!(again.code, Some(0), "{again:?}");
        assert_eq!(town.contact("kari@example.net").tags, OURS, "{leaving}");
    }
}

#[tokio::test]
async fn whoever_left_and_comes_back_by_themselves_under_the_new_address_is_kept_in_step() {
    let town = kari(&[]).await;
    town.sandbox.mailmojo.unsubscribe(OLD, LIST);
    moves(&town);
    town.sync("u1").await;
    town.sandbox.mailmojo.put_contact(contact(NEW).tags(["own"]).on_list(LIST));
    town.sync("u1").await;
    assert_eq!(town.contact(NEW).own_tags(), ["own"]);
    assert_eq!(town.contact(NEW).sesamy_tags(), OURS);
    // That was a new beginning: the next address is made as usual.
    town.sandbox.sesamy.set_field("u1", "email", "kari@example.net");
    assert_eq!(town.sync_told("u1").await["outcome"], "created");
}

#[tokio::test]
async fn an_address_that_is_another_users_by_now_is_left_to_that_user() {
    // By what is remembered, and by what Sesamy finds for it.
    for is_synced in [true, false] {
        let town = kari(&[]).await;
        moves(&town);
        let other = user("u2").email(OLD).contract(contract("c2")).tags(["Early bird"]);
        town.sandbox.sesamy.put_user(other);
        if is_synced {
            town.sync("u2").await;
        }
        let before = town.contact(OLD).tags;
        town.sync("u1").await;
        assert_eq!(town.contact(OLD).tags, before);
        assert_eq!(town.contact(NEW).tags, OURS);
    }
}

#[tokio::test]
async fn two_users_who_swap_their_addresses_end_with_the_tags_of_each() {
    let town = kari(&[]).await;
    town.sandbox.sesamy.put_user(user("u2").email(NEW).tags(["Early bird"]));
    town.sync("u2").await;
    town.sandbox.sesamy.set_field("u1", "email", NEW);
    town.sandbox.sesamy.set_field("u2", "email", OLD);
    for user in ["u1", "u2", "u1", "u2"] {
        town.sync(user).await;
    }
    assert_eq!(town.contact(NEW).sesamy_tags(), OURS);
    assert_eq!(town.contact(OLD).sesamy_tags(), ["sesamy_made_single_purchase", "sesamy_tag_early-bird"]);
    assert_eq!(town.contact(OLD).own_tags(), ["vip"]);
}

#[tokio::test]
async fn a_fault_between_any_two_steps_heals_itself() {
    let refuse = || -> Fault { Fault::status(500).into() };
    let faults: [(&str, Route, Fault); 6] = [
        ("reading the old contact", Route::ContactGet, refuse()),
        ("writing the old contact", Route::ContactPatch, refuse()),
        (
            "hearing that the old contact is written",
            Route::ContactPatch,
            Fault::done_then(Fault::status(500)),
        ),
        ("making the new contact", Route::Subscribe, refuse()),
        ("hearing that the new contact is made", Route::Subscribe, Fault::done_then(Fault::status(500))),
        ("asking whose the old address is", Route::Users, refuse()),
    ];
    for (what, route, fault) in faults {
        let town = kari(&[]).await;
        moves(&town);
        let rule = Rule::on(route, fault).times(3);
        match route {
            Route::Users => town.sandbox.sesamy.inject(rule),
            _ => town.sandbox.mailmojo.inject(rule),
        }
        town.sync("u1").await;
        assert_eq!(town.contact(OLD).tags, ["vip"], "{what}");
        assert_eq!(town.contact(NEW).tags, OURS, "{what}");
        assert_eq!(town.sandbox.mailmojo.contacts().len(), 2, "{what}");
    }
}

#[tokio::test]
async fn kill_9_between_any_two_steps_heals_itself() {
    for (route, is_answered) in [
        (Route::ContactGet, false),
        (Route::ContactPatch, false),
        (Route::ContactPatch, true),
        (Route::Subscribe, false),
        (Route::Subscribe, true),
    ] {
        let mut town = kari(&[("SYNC__REQUEST_TIMEOUT", "1s")]).await;
        moves(&town);
        let mailmojo = &town.sandbox.mailmojo;
        let gate = if is_answered { mailmojo.hold_answer(route) } else { mailmojo.hold(route) };
        town.event("userVendor.1#update", "u1").await;
        gate.arrived().await;
        town.service.kill().await;
        gate.release();
        town.restart(&[]).await;
        town.settled().await;
        assert_eq!(town.contact(OLD).tags, ["vip"], "{route:?} {is_answered}");
        assert_eq!(town.contact(NEW).tags, OURS, "{route:?} {is_answered}");
    }
}

#[tokio::test]
async fn a_dry_run_tells_of_both_contacts_and_forgets_neither() {
    let mut town = kari(&[]).await;
    town.service.terminate();
    town.service.ended().await;
    town.restart(&[("SYNC__DRY_RUN", "true")]).await;
    moves(&town);
    town.sandbox.clear_calls();
    town.sync("u1").await;
    town.sync("u1").await;
    assert_eq!(town.sandbox.writes(), 0);
    town.service.terminate();
    town.service.ended().await;
    town.restart(&[("SYNC__DRY_RUN", "false")]).await;
    town.wait_for_queue("SELECT count(*) FROM users WHERE held_back = 1", |held| held == 0).await;
    town.settled().await;
    assert_eq!(town.contact(OLD).tags, ["vip"]);
    assert_eq!(town.contact(NEW).tags, OURS);
}

#[tokio::test]
async fn preview_tells_of_the_address_of_before() {
    let town = kari(&[]).await;
    moves(&town);
    let told = run(&["preview", "u1"], town.settings()).await;
    for text in [OLD, NEW, "loses our tags", "- sesamy_active_subscriber", "PATCH", "POST"] {
        assert!(told.stdout.contains(text), "{text} is not in {}", told.stdout);
    }
    let json = run(&["preview", "--json", "u1"], town.settings()).await;
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    let old = &json["users"][0]["preview"]["old_contact"];
    assert_eq!((&old["address"], &old["fate"]), (&json!(OLD), &json!("loses_our_tags")));
    assert_eq!(old["request"]["body"], json!({"tags": ["vip"]}));

    town.sync("u1").await;
    let patches = town.sandbox.calls_to(Route::ContactPatch);
    assert_eq!(patches.last().unwrap().body, Some(json!({"tags": ["vip"]})));
}

#[tokio::test]
async fn a_search_is_read_to_its_end_before_the_old_contact_loses_anything() {
    for is_owned in [true, false] {
        let town = kari(&[]).await;
        // The search finds 150 others too. Behind them, perhaps, is a user who has the address now and was never synced.
        for n in 0..150 {
            let other = user(&format!("a{n:03}")).email(&format!("{OLD}.{n}.test"));
            town.sandbox.sesamy.put_user(other);
        }
        if is_owned {
            town.sandbox.sesamy.put_user(user("z").email("Kari@Example.com"));
        }
        let before = town.contact(OLD).tags;
        moves(&town);
        town.sync("u1").await;
        // The second page is not full, but it may have been cut: only a third one shows that nobody else has the address.
        assert_eq!(town.sandbox.count(Route::Users), if is_owned { 2 } else { 3 });
        assert_eq!(town.contact(OLD).tags, if is_owned { before } else { vec!["vip".to_owned()] });
        assert_eq!(town.contact(NEW).tags, OURS);
    }
}

#[tokio::test]
async fn a_search_that_does_not_say_whose_the_address_is_takes_nothing_from_the_old_contact() {
    let named = |fields: serde_json::Value| Fault::wrong_shape(json!([fields]));
    let full: Vec<_> = (0..100).map(|n| json!({"id": format!("a{n}"), "email": "a@example.com"})).collect();
    let unsaid: [(&str, Fault); 12] = [
        ("400", Fault::status(400).into()),
        ("403", Fault::status(403).into()),
        ("404", Fault::status(404).into()),
        ("405", Fault::status(405).into()),
        ("422", Fault::status(422).into()),
        ("a redirect", Fault::status(301).header("Location", "/elsewhere").into()),
        ("no list", Fault::wrong_shape(json!({"hits": 0}))),
        ("a word", Fault::wrong_shape(json!("none"))),
        ("a row without an id", named(json!({"email": OLD}))),
        ("a row without an address", named(json!({"id": "u9"}))),
        ("an address that is a number", named(json!({"id": "u9", "email": 5}))),
        ("the same page again and again", Fault::wrong_shape(json!(full))),
    ];
    for (what, fault) in unsaid {
        let town = kari(&[("SYNC__BACKOFF_CAP", "1h")]).await;
        let before = town.contact(OLD).tags;
        moves(&town);
        town.sandbox.sesamy.inject(Rule::on(Route::Users, fault));
        town.sync("u1").await;
        assert_eq!(town.contact(OLD).tags, before, "{what}");
        assert_eq!(town.contact(NEW).tags, OURS, "{what}");
        let (_, ready) = town.service.get("/readyz").await;
        assert_eq!(ready["apis"][0]["state"], "ok", "{what}: {ready}");
        let warned = |line: &serde_json::Value| line["level"] == "WARN" && line["user_id"] == "u1";
        let warned = town.service.output.wait_for("whose tags stay", warned).await;
        assert!(warned["message"].as_str().unwrap().contains("search users"), "{what}: {warned}");
    }
}

#[tokio::test]
async fn a_search_that_has_no_end_is_given_up_and_takes_nothing_from_the_old_contact() {
    let town = kari(&[]).await;
    for n in 0..1_050 {
        town.sandbox.sesamy.put_user(user(&format!("a{n:04}")).email(&format!("{OLD}.{n}.test")));
    }
    let before = town.contact(OLD).tags;
    moves(&town);
    let told = run(&["preview", "--json", "u1"], town.settings()).await;
    let told: serde_json::Value = serde_json::from_str(&told.stdout).unwrap();
    let old = &told["users"][0]["preview"]["old_contact"];
    assert_eq!((&old["fate"], &old["request"]), (&json!("unknown_owner"), &json!(null)));
    assert_eq!(old["tags_removed"], json!([]));
    town.sync("u1").await;
    assert_eq!(town.sandbox.count(Route::Users), 20, "ten pages for each of the two");
    assert_eq!(town.contact(OLD).tags, before);
    assert_eq!(town.contact(NEW).tags, OURS);
}

#[tokio::test]
async fn a_user_who_had_left_stays_away_where_sesamy_does_not_say_whose_the_old_address_is() {
    let town = kari(&[]).await;
    town.sandbox.mailmojo.unsubscribe(OLD, LIST);
    town.sandbox.sesamy.inject(Rule::on(Route::Users, Fault::status(403)));
    moves(&town);
    assert_eq!(town.sync_told("u1").await["reason"], "left_under_old_address");
    assert!(town.sandbox.mailmojo.contact(NEW).is_none());
}

#[tokio::test]
async fn a_guest_of_a_checkout_with_the_old_address_does_not_keep_our_tags_there() {
    let town = kari(&[]).await;
    town.sandbox.sesamy.put_user(user("guest_7").email(OLD));
    moves(&town);
    town.sync("u1").await;
    assert_eq!(town.contact(OLD).tags, ["vip"]);
}
