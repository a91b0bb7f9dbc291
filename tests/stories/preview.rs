//! `preview`: tells what a sync would do, down to the request, and does nothing.

use serde_json::{Value, json};
use sesamy_mailmojo::sandbox::{
    Call, Fault, Mailmojo, Route, Rule, Sandbox, Shape, contact, contract, entitlement, user,
};

use crate::shell::{Ended, changed, run};
use crate::town::{LIST, Town};

/// Everybody who is a case of their own: the id, and how a sync of it ends.
const EVERYBODY: [(&str, &str); 13] = [
    ("new", "created"),
    ("email|ca/se", "created"),
    ("off-list", "subscribed"),
    ("letter-case", "subscribed"),
    ("on-list", "updated"),
    ("whole-name", "updated"),
    ("has-left", "updated"),
    ("bounced", "updated"),
    ("in-step", "unchanged"),
    ("guest|1", "skipped"),
    ("no-address", "skipped"),
    ("bad-address", "skipped"),
    ("nobody", "skipped"),
];

fn move_in(sandbox: &Sandbox) {
    let here = |id: &str, email: &str| {
        let gift = entitlement("e2", "gift").paid_by("c9").expires_at("2099-01-01");
        let plus = entitlement("e1", "plus").purchase_option("monthly").paid_by("c1");
        let reader =
            user(id).email(email).first_name("Kari").last_name("Nordmann").mobile_phone("+4799999999");
        reader.tags(["Early bird"]).contract(contract("c1").overdue()).entitlement(plus).entitlement(gift)
    };
    let there = |id: &str| contact(&format!("{id}@example.com")).tags(["vip", "sesamy_old"]);
    let put = |contact| sandbox.mailmojo.put_contact(contact);
    for (id, _) in EVERYBODY.into_iter().filter(|(id, _)| *id != "nobody") {
        sandbox.sesamy.put_user(here(id, &format!("{}@example.com", id.replace(['|', '/'], "-"))));
    }
    sandbox.sesamy.put_user(here("email|ca/se", "Ca.Se+news@Example.com"));
    sandbox.sesamy.put_user(here("letter-case", "Letter-Case@Example.com"));
    sandbox.sesamy.put_user(user("no-address").first_name("Kari"));
    sandbox.sesamy.put_user(user("bad-address").email("kari.example.com"));
    put(there("off-list"));
    put(there("letter-case"));
    put(there("on-list")
        .first_name("K.")
        .tags(["vip", "sesamy_made_single_purchase", "sesamy_old"])
        .on_list(LIST));
    put(there("whole-name").name("Kari N.").on_list(LIST));
    put(there("has-left").on_list_as(LIST, "u"));
    put(there("bounced").status("b"));
    let tags = [
        "sesamy_active_entitlement_gift",
        "sesamy_active_entitlement_plus",
        "sesamy_active_sku_gift",
        "sesamy_active_sku_plus",
        "sesamy_active_sku_po_plus-monthly",
        "sesamy_active_subscriber",
        "sesamy_has_gifted_subscription",
        "sesamy_overdue_contract",
        "sesamy_tag_early-bird",
    ];
    let whole = there("in-step").first_name("K.").last_name("N.").phone("1").tags(tags);
    put(whole.on_list(LIST));
}

fn answer(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("no JSON: {ended:?}"))
}

fn as_sent(call: &Call) -> Value {
    json!({"method": call.method, "path": call.target, "body": call.body})
}

#[tokio::test]
async fn what_is_told_is_what_the_next_sync_does_for_every_kind_of_user() {
    for shape in [Shape::Bare, Shape::Envelope] {
        let town = Town::start().await;
        move_in(&town.sandbox);
        town.sandbox.sesamy.answer_as(shape);
        let before = town.sandbox.mailmojo.contacts();
        let ids = EVERYBODY.map(|(id, _)| id);
        let ended = run(&[&["preview", "--json"], &ids[..]].concat(), town.settings()).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert_eq!(town.sandbox.writes(), 0);
        assert_eq!(town.sandbox.mailmojo.contacts(), before);
        let answer = answer(&ended);
        assert_eq!(answer["ok"], true);

        for ((id, outcome), told) in EVERYBODY.into_iter().zip(answer["users"].as_array().unwrap()) {
            let preview = &told["preview"];
            assert_eq!((&told["user_id"], &told["error"]), (&json!(id), &Value::Null));
            assert_eq!(preview["outcome"], outcome, "{told:#}");
            town.sandbox.clear_calls();
            let synced = town.sync_told(id).await;
            assert_eq!(synced["outcome"], outcome, "{id}");
            assert_eq!(synced["reason"].as_str().filter(|it| !it.is_empty()), preview["skipped"].as_str());
            let mut sent = town.sandbox.calls_to(Route::Subscribe);
            sent.extend(town.sandbox.calls_to(Route::ContactPatch));
            let sent: Vec<Value> = sent.iter().map(as_sent).collect();
            let request = &preview["request"];
            let expected: Vec<Value> = if request.is_null() { vec![] } else { vec![request.clone()] };
            assert_eq!(sent, expected, "{id}");
            assert_eq!(request.is_null(), preview["no_request"].is_string(), "{id}");

            let changes = |why: &str| {
                let tags = preview["tags"].as_array().unwrap().iter().filter(|tag| tag["why"] == why);
                tags.map(|tag| tag["tag"].as_str().unwrap()).collect::<Vec<_>>().join(",")
            };
            assert_eq!(synced["tags_added"], changes("added"), "{id}");
            assert_eq!(synced["tags_removed"], changes("removed"), "{id}");
        }
    }
}

#[tokio::test]
async fn programs_get_facts_reasons_and_explanations_by_stable_names() {
    let town = Town::start().await;
    move_in(&town.sandbox);
    let ended = run(&["preview", "--json", "on-list", "has-left"], town.settings()).await;
    let answer = answer(&ended);
    let preview = &answer["users"][0]["preview"];
    assert_eq!(
        preview["profile"],
        json!({"email": "on-list@example.com", "first_name": "Kari", "last_name": "Nordmann",
               "phone": "+4799999999", "tags": ["Early bird"]})
    );
    assert_eq!(preview["contact"]["tags"], json!(["vip", "sesamy_made_single_purchase", "sesamy_old"]));
    assert_eq!(
        preview["fields"][0],
        json!({"field": "first_name", "changes": false, "why": "contact_has_one", "now": "K.", "sesamy": "Kari"})
    );
    let tag = |name: &str| {
        let tags = preview["tags"].as_array().unwrap();
        tags.iter().find(|tag| tag["tag"] == name).unwrap_or_else(|| panic!("no {name} in {tags:?}"))
    };
    assert_eq!(tag("sesamy_made_single_purchase")["why"], "kept");
    assert_eq!(tag("vip")["why"], "somebody_elses");
    let wanted = preview["wanted_tags"].as_array().unwrap();
    let gift = wanted.iter().find(|it| it["tag"] == "sesamy_has_gifted_subscription").unwrap();
    assert_eq!(
        gift["reasons"],
        json!([{"rule": "gifted_subscription", "entitlement_id": "e2", "title": "gift", "sku": "gift",
                "purchase_option": null, "until": "2099-01-02T00:00:00Z", "contract_id": "c9",
                "text": "entitlement e2 gives access to sku gift until 2099-01-02, paid by contract c9, which is not \
                         the user's own"}])
    );
    assert_eq!(preview["list"], json!({"decision": "on_list"}));
    let left = &answer["users"][1]["preview"];
    assert_eq!(left["list"], json!({"decision": "left_alone", "status": "u"}));
    assert_eq!(left["request"]["method"], "PATCH");
}

#[tokio::test]
async fn people_see_each_change_with_its_reason_and_what_would_be_sent() {
    let town = Town::start().await;
    move_in(&town.sandbox);
    let ended = run(&["preview", "on-list", "in-step", "nobody"], town.settings()).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let told = &ended.stdout;
    for line in [
        "on-list  would be updated",
        "first name  = K.",
        "kept: the contact has one (Sesamy: Kari)",
        "last name   + Nordmann",
        "tags        = vip",
        "+ sesamy_overdue_contract",
        "contract c1 is OVERDUE: a payment has failed",
        "- sesamy_old",
        "kept by sync.keep_tags",
        "PATCH /v1/contacts/on-list%40example.com/",
        "in-step  is as it should be",
        "nobody  would be skipped (user_not_found)",
        "Nothing would be sent: Sesamy has no such user.",
    ] {
        assert!(told.contains(line), "{line} is not in\n{told}");
    }
    assert!(!told.contains('\u{1b}'), "colours in a pipe");
    // The answer has the person in it, the log has not.
    for personal in ["Nordmann", "@example.com", "+4799999999"] {
        assert!(told.contains(personal) && !ended.stderr.contains(personal), "{}", ended.stderr);
    }
    assert!(!told.contains(Mailmojo::FIXED_TOKEN) && !told.contains("sandbox-sesamy-secret"));
    assert_eq!(town.sandbox.writes(), 0);

    let dry = changed(town.settings(), &[("SYNC__DRY_RUN", "true")]);
    let ended = run(&["preview", "on-list"], &dry).await;
    assert!(ended.stdout.contains("sync.dry_run is on"), "{}", ended.stdout);
}

#[tokio::test]
async fn users_are_found_by_address_all_of_them_and_nobody_else() {
    let town = Town::start().await;
    for (id, email) in [("u1", "Kari@example.com"), ("u2", "kari@example.com"), ("u3", "kari@example.com.au")]
    {
        town.sandbox.sesamy.put_user(user(id).email(email));
    }
    let ended = run(&["preview", "--email", "KARI@example.com", "--json"], town.settings()).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let found = answer(&ended);
    let ids: Vec<_> = found["users"].as_array().unwrap().iter().map(|it| it["user_id"].clone()).collect();
    assert_eq!(ids, ["u1", "u2"]);

    for (address, why) in [("ola@example.com", "no user with this address"), ("ola", "no e-mail address")] {
        let ended = run(&["preview", "--email", address], town.settings()).await;
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.stdout.contains("failed") && ended.stdout.contains(why), "{}", ended.stdout);
        let ended = run(&["preview", "--email", address, "--json"], town.settings()).await;
        let answer = answer(&ended);
        assert_eq!((ended.code, &answer["ok"]), (Some(1), &json!(false)));
        assert!(answer["users"][0]["error"].as_str().unwrap().contains(why), "{answer:#}");
    }
}

#[tokio::test]
async fn a_failure_of_one_user_is_told_and_the_others_are_looked_at() {
    let town = Town::start().await;
    move_in(&town.sandbox);
    let words = Fault::status(422).message("on-list@example.com is odd");
    town.sandbox.mailmojo.inject(Rule::on(Route::ContactGet, words).about("on-list@example.com"));
    let ended = run(&["preview", "on-list", "in-step"], town.settings()).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stdout.contains("on-list  failed: mailmojo:"), "{}", ended.stdout);
    let (ours, words) = ended.stdout.split_once("the API's own words: ").unwrap();
    assert!(words.starts_with("“Error 422; on-list@example.com is odd”"), "{}", ended.stdout);
    assert!(!ours.contains("on-list@example.com"), "our own message quotes an address: {}", ended.stdout);
    assert!(!ended.stderr.contains("on-list@example.com"), "the log quotes an address: {}", ended.stderr);
    assert!(ended.stdout.contains("in-step  is as it should be"), "{}", ended.stdout);
}

#[tokio::test]
async fn odd_user_ids_are_refused_before_anybody_is_asked() {
    let town = Town::start().await;
    town.sandbox.clear_calls();
    let long = "x".repeat(257);
    for (id, why) in [
        ("", "the user id is empty"),
        ("..", "the user id is a relative path"),
        ("a\nb", "the user id has control characters"),
        (&long, "the user id is longer than 256 bytes"),
    ] {
        let ended = run(&["preview", "u1", id], town.settings()).await;
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{ended:?}");
        assert!(ended.stderr.contains(why), "{}", ended.stderr);
    }
    let ended = run(&["preview"], town.settings()).await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("--email"), "{}", ended.stderr);
    assert!(town.sandbox.calls().is_empty());
}
