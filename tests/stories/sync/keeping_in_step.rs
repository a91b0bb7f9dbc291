//! Keeping a contact in step: what a sync does, from a webhook to a contact.

use serde_json::{Value, json};
use sesamy_mailmojo::sandbox::{Call, Empty, Route, Sandbox, contact, contract, entitlement, user};

use crate::support::harness::{LIST, PATIENCE, Town};

/// Every route that a sync may take, and how often it is taken in `sandbox`.
fn calls(sandbox: &Sandbox) -> [(&'static str, u64); 7] {
    [
        ("profile", Route::Profile),
        ("contracts", Route::Contracts),
        ("entitlements", Route::Entitlements),
        ("contact", Route::ContactGet),
        ("member", Route::ListMember),
        ("subscribe", Route::Subscribe),
        ("patch", Route::ContactPatch),
    ]
    .map(|(name, route)| (name, sandbox.count(route)))
}

/// The bodies of all writes so far, in the order in which they were done.
fn written(sandbox: &Sandbox) -> Vec<Value> {
    let is_write = |call: &Call| matches!(call.route, Route::Subscribe | Route::ContactPatch);
    sandbox.calls().into_iter().filter(is_write).filter_map(|call| call.body).collect()
}

#[tokio::test]
async fn a_purchase_makes_a_contact_with_names_phone_and_tags_in_one_write() {
    let town = Town::start().await;
    town.sandbox.sesamy.put_user(
        user("u1")
            .email("kari@example.com")
            .first_name("Kari")
            .last_name("Nordmann")
            .mobile_phone("+4799988777")
            .contract(contract("c1"))
            .entitlement(entitlement("e1", "plus")),
    );
    let told = town.sync_told("u1").await;

    let tags = ["sesamy_active_entitlement_plus", "sesamy_active_sku_plus", "sesamy_active_subscriber"];
    let kari = town.contact("kari@example.com");
    assert_eq!(kari.first_name.as_deref(), Some("Kari"));
    assert_eq!(kari.last_name.as_deref(), Some("Nordmann"));
    assert_eq!(kari.phone.as_deref(), Some("+4799988777"));
    assert_eq!(kari.name, None);
    assert_eq!((kari.status.as_str(), kari.list_status(LIST)), ("a", Some("a")));
    assert_eq!(kari.tags, tags);

    assert_eq!(
        written(&town.sandbox),
        [json!({"email": "kari@example.com", "first_name": "Kari", "last_name": "Nordmann",
            "phone": "+4799988777", "tags": tags, "force_subscribe": false})]
    );
    assert_eq!(told["outcome"], "created");
    assert_eq!(told["changed"], "first_name,last_name,phone,tags");
    assert_eq!(told["tags_added"], tags.join(","));
    assert_eq!(told["tags_removed"], "");
    assert_eq!((&told["event_type"], &told["attempt"]), (&json!("userVendor.1#update"), &json!(1)));
}

#[tokio::test]
async fn somebody_with_nothing_but_an_address_is_put_on_the_list_all_the_same() {
    let town = Town::start().await;
    town.sandbox.sesamy.put_user(user("u1").email("kari@example.com"));
    town.sandbox.sesamy.put_user(user("u2").email("ola@example.com"));
    town.sandbox.mailmojo.put_contact(contact("ola@example.com").first_name("Ola").tags(["vip"]));

    assert_eq!(town.sync_told("u1").await["outcome"], "created");
    assert_eq!(town.sync_told("u2").await["outcome"], "subscribed");
    assert_eq!(
        written(&town.sandbox),
        ["kari@example.com", "ola@example.com"].map(|it| json!({"email": it, "force_subscribe": false}))
    );
    let ola = town.contact("ola@example.com");
    assert_eq!((ola.first_name.as_deref(), ola.list_status(LIST)), (Some("Ola"), Some("a")));
    assert_eq!(ola.tags, ["vip"]);
}

#[tokio::test]
async fn the_newsrooms_own_edits_are_left_alone_and_several_changes_are_one_write() {
    let town = Town::start().await;
    town.sandbox.sesamy.put_user(
        user("u1")
            .email("kari@example.com")
            .first_name("Kari")
            .last_name("Nordmann")
            .home_phone("22334455")
            .contract(contract("c1")),
    );
    town.sandbox.mailmojo.put_contact(
        contact("kari@example.com")
            .first_name("K.")
            .tags(["vip", "sesamy_old", "Sesamy_abc", "abc", "sesamyabc"])
            .custom("shoe_size", 38)
            .on_list(LIST),
    );
    let told = town.sync_told("u1").await;

    let kari = town.contact("kari@example.com");
    assert_eq!(kari.first_name.as_deref(), Some("K."));
    assert_eq!(kari.tags, ["vip", "Sesamy_abc", "abc", "sesamyabc", "sesamy_active_subscriber"]);
    assert_eq!(kari.custom["shoe_size"], 38);
    assert_eq!(
        written(&town.sandbox),
        [json!({"last_name": "Nordmann", "phone": "22334455", "tags": kari.tags})]
    );
    assert_eq!(told["outcome"], "updated");
    assert_eq!(told["changed"], "last_name,phone,tags");
    assert_eq!(told["tags_added"], "sesamy_active_subscriber");
    assert_eq!(told["tags_removed"], "sesamy_old");
}

#[tokio::test]
async fn an_unchanged_contact_costs_no_write_and_one_call_to_each_place() {
    let town = Town::start().await;
    town.sandbox.sesamy.put_user(
        user("u1")
            .email("kari@example.com")
            .first_name("Kari")
            .mobile_phone("+4799988777")
            .contract(contract("c1"))
            .entitlement(entitlement("e1", "plus")),
    );
    // All is there, in an order of its own, and with other names and another phone: nothing of that is to be mended.
    town.sandbox.mailmojo.put_contact(
        contact("kari@example.com")
            .first_name("K.")
            .phone("22334455")
            .tags([
                "sesamy_active_subscriber",
                "vip",
                "sesamy_active_sku_plus",
                "sesamy_active_entitlement_plus",
            ])
            .on_list(LIST),
    );
    let before = town.contact("kari@example.com");
    for event in 1..=2 {
        let told = town.sync_told("u1").await;
        assert_eq!((&told["outcome"], &told["changed"]), (&json!("unchanged"), &json!("")), "event {event}");
        assert_eq!(
            calls(&town.sandbox),
            [
                ("profile", event),
                ("contracts", event),
                ("entitlements", event),
                ("contact", event),
                ("member", 0),
                ("subscribe", 0),
                ("patch", 0),
            ]
        );
    }
    assert_eq!(town.contact("kari@example.com"), before);
}

#[tokio::test]
async fn names_are_taken_where_sesamy_has_them_and_given_only_where_the_contact_has_none() {
    let town = Town::start().await;
    let kari = |id: &str| user(id).email(&format!("{id}@example.com"));
    let there = |id: &str| contact(&format!("{id}@example.com")).on_list(LIST);
    let stories = [
        // Sesamy's own fields, else OpenID's, trimmed; a whole name is never split.
        (kari("a").first_name("Kari").given_name("K").last_name("Moe").family_name("M"), None, "Kari", "Moe"),
        (
            kari("b").first_name(" ").given_name(" Kari ").last_name("").family_name("Moe"),
            None,
            "Kari",
            "Moe",
        ),
        (kari("c").field("firstName", Value::Null).given_name("Kari"), None, "Kari", ""),
        (kari("d").full_name("Kari Moe"), None, "", ""),
        (kari("e").full_name("Kari Moe").last_name("Hansen"), None, "", "Hansen"),
        // What the contact has stays; blank is as good as nothing.
        (kari("f").first_name("Kari").last_name("Moe"), Some(there("f").first_name("K.")), "K.", "Moe"),
        (kari("g").first_name("Kari").last_name("Moe"), Some(there("g").last_name("M.")), "Kari", "M."),
        (kari("h").first_name("Kari").last_name("Moe"), Some(there("h").first_name("  ")), "Kari", "Moe"),
        // A whole name alone counts as both; beside a first name it counts for nothing.
        (kari("i").first_name("Kari").last_name("Moe"), Some(there("i").name("K. M.")), "", ""),
        (kari("j").first_name("Kari").last_name("Moe"), Some(there("j").name(" ")), "Kari", "Moe"),
        (
            kari("k").first_name("Kari").last_name("Moe"),
            Some(there("k").name("K. M.").first_name("K.")),
            "K.",
            "Moe",
        ),
        // What Sesamy no longer has is not taken away.
        (kari("l"), Some(there("l").first_name("K.").last_name("M.")), "K.", "M."),
    ];
    for (source, there, ..) in &stories {
        town.sandbox.sesamy.put_user(source.clone());
        there.clone().into_iter().for_each(|there| town.sandbox.mailmojo.put_contact(there));
    }
    town.sync_all(stories.iter().map(|story| story.0.id())).await;
    for (source, before, first, last) in stories {
        let id = source.id();
        let after = town.contact(&format!("{id}@example.com"));
        assert_eq!(after.first_name.as_deref().unwrap_or_default(), first, "{id}");
        assert_eq!(after.last_name.as_deref().unwrap_or_default(), last, "{id}");
        assert_eq!(after.name, before.and_then(|it| it.name), "{id}");
    }
    assert!(written(&town.sandbox).iter().all(|body| body.get("name").is_none()));
}

#[tokio::test]
async fn the_phone_is_mobile_else_default_else_work_else_home_and_given_only_where_there_is_none() {
    let town = Town::start().await;
    let kari = |id: &str| user(id).email(&format!("{id}@example.com"));
    let all = |id: &str| kari(id).mobile_phone("1").phone_number("2").work_phone("3").home_phone("4");
    let there = |id: &str| contact(&format!("{id}@example.com")).on_list(LIST);
    let stories = [
        (all("a"), None, Some("1")),
        (all("b").mobile_phone(" "), None, Some("2")),
        (all("c").mobile_phone("").phone_number("\t"), None, Some("3")),
        (all("d").mobile_phone("").phone_number("").field("workPhone", Value::Null), None, Some("4")),
        (kari("e").field("phone", " 5 ").work_phone("3"), None, Some("5")),
        (kari("f").field("phoneNumber", "6").work_phone("3"), None, Some("6")),
        (kari("g").home_phone("  "), None, None),
        (all("h"), Some(there("h").phone("22334455")), Some("22334455")),
        (all("i"), Some(there("i").phone(" ")), Some("1")),
        (kari("j"), Some(there("j").phone("22334455")), Some("22334455")),
    ];
    for (source, there, _) in &stories {
        town.sandbox.sesamy.put_user(source.clone());
        there.clone().into_iter().for_each(|there| town.sandbox.mailmojo.put_contact(there));
    }
    town.sync_all(stories.iter().map(|story| story.0.id())).await;
    for (source, _, phone) in stories {
        let id = source.id();
        assert_eq!(town.contact(&format!("{id}@example.com")).phone.as_deref(), phone, "{id}");
    }
}

#[tokio::test]
async fn a_field_that_mailmojo_answers_as_absent_null_or_blank_is_filled() {
    let town = Town::start().await;
    for (id, empty) in [("null", Empty::Null), ("absent", Empty::Absent), ("blank", Empty::Blank)] {
        town.sandbox.mailmojo.answer_empty_as(empty);
        let email = format!("{id}@example.com");
        let kari = user(id).email(&email).first_name("Kari").last_name("Moe").work_phone("22334455");
        town.sandbox.sesamy.put_user(kari.tags(["a"]));
        town.sandbox.mailmojo.put_contact(contact(&email).on_list(LIST));
        town.sync(id).await;

        let kari = town.contact(&email);
        assert_eq!(kari.first_name.as_deref(), Some("Kari"), "{id}");
        assert_eq!(kari.last_name.as_deref(), Some("Moe"), "{id}");
        assert_eq!(kari.phone.as_deref(), Some("22334455"), "{id}");
        assert_eq!(kari.tags, ["sesamy_tag_a"], "{id}");
    }
}

#[tokio::test]
async fn the_contact_is_read_last_so_that_what_is_added_during_a_sync_is_kept() {
    let town = Town::start().await;
    let kari = user("u1").email("kari@example.com").last_name("Nordmann").contract(contract("c1"));
    town.sandbox.sesamy.put_user(kari.entitlement(entitlement("e1", "plus")));
    town.sandbox.mailmojo.put_contact(contact("kari@example.com").tags(["vip"]).on_list(LIST));

    let gates = [Route::Contracts, Route::Entitlements].map(|route| town.sandbox.sesamy.hold_answer(route));
    town.event("contract.1#purchased", "u1").await;
    for gate in &gates {
        gate.arrived_within(PATIENCE).await.unwrap(); // both at once: neither waits for the other
    }
    assert_eq!(town.sandbox.mailmojo.count(Route::ContactGet), 0);
    town.sandbox.mailmojo.add_tag("kari@example.com", "festival");
    town.sandbox.mailmojo.edit("kari@example.com", |kari| kari.last_name = Some("N.".to_owned()));
    gates.iter().for_each(|gate| gate.release());
    town.settled().await;

    let kari = town.contact("kari@example.com");
    assert_eq!(kari.own_tags(), ["vip", "festival"]);
    assert_eq!(kari.last_name.as_deref(), Some("N."));
    assert_eq!(kari.sesamy_tags().len(), 3);
    let ended: Vec<Route> = town.sandbox.calls().iter().map(|call| call.route).collect();
    assert_eq!(ended[ended.len() - 2..], [Route::ContactGet, Route::ContactPatch]);
}
