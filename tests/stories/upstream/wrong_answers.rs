//! Wrong answers from the APIs: no write follows from one, nothing panics, and the next right answer mends it.
//!
//! In each story every user's contact is in step already, and each user meets one wrong answer. So whoever takes the
//! wrong answer for a right one betrays it by a write, or by not asking again.

use serde_json::{Value, json};
use sesamy_mailmojo::sandbox::{Associations, Fault, Route, Rule, contact, contract, entitlement, user};

use crate::support::harness::{LIST, Town};

/// What no route ever answers rightly.
fn nonsense() -> Vec<(&'static str, Fault)> {
    let json = |json: Value| Fault::wrong_shape(json);
    vec![
        ("HTML", Fault::status(200).html().into()),
        ("an empty 204", Fault::status(204).empty().into()),
        ("an empty 200", Fault::status(200).empty().into()),
        ("cut JSON", Fault::CutJson),
        ("a cut connection", Fault::CutConnection),
        ("a huge string", Fault::Huge(9 * 1024 * 1024)),
        ("deep JSON", json((0..120).fold(json!("deep"), |inner, _| json!({"data": inner})))),
        ("null", json(Value::Null)),
        ("a number", json(json!(5))),
        ("a string", json(json!("kari@example.com"))),
        ("an empty object", json(json!({}))),
        ("an error", json(json!({"error": {"code": "odd", "message": "odd"}}))),
        ("an empty envelope", json(json!({"data": null, "meta": {}}))),
        ("an array of null", json(json!([null]))),
        ("an array of arrays", json(json!([[]]))),
        ("an HTML 404", Fault::status(404).html().into()),
    ]
}

/// The true answer with one field changed.
fn with(field: &'static str, value: Value) -> Fault {
    Fault::edit(move |answer| answer[field] = value.clone())
}

/// The true list with one field of its first row changed.
fn with_row(field: &'static str, value: Value) -> Fault {
    Fault::edit(move |answer| answer[0][field] = value.clone())
}

/// The true contact with one field of its first association changed.
fn with_list(field: &'static str, value: Value) -> Fault {
    Fault::edit(move |answer| answer["list_associations"][0][field] = value.clone())
}

/// The true answer, in an envelope where it `is_list`, and an error beside it.
fn with_an_error(is_list: bool) -> Fault {
    let error = json!({"code": "internal_error", "message": "odd"});
    Fault::edit(move |answer| {
        if is_list {
            *answer = json!({"data": answer.take(), "error": error});
        } else {
            answer["error"] = error.clone();
        }
    })
}

/// The true answer within an array.
fn in_an_array() -> Fault {
    Fault::edit(|answer| *answer = json!([answer.take()]))
}

/// A town in which a wrong answer is soon asked for again, however many users meet one in a row.
async fn patient_town() -> Town {
    Town::with(&[("SYNC__BACKOFF_CAP", "20ms")]).await
}

/// A user, and a contact that is in step.
fn put(town: &Town, id: &str) -> String {
    let email = format!("{id}@example.com");
    let kari = user(id).email(&email).first_name("Kari").last_name("Moe").mobile_phone("+4799988777");
    town.sandbox.sesamy.put_user(
        kari.tags(["fan"]).contract(contract("c1").item("plus", None)).entitlement(entitlement("e1", "plus")),
    );
    town.sandbox.mailmojo.put_contact(
        contact(&email)
            .first_name("Kari")
            .last_name("Moe")
            .phone("+4799988777")
            .tags(["vip"].into_iter().chain(OURS))
            .on_list(LIST),
    );
    email
}

const OURS: [&str; 4] = [
    "sesamy_active_entitlement_plus",
    "sesamy_active_sku_plus",
    "sesamy_active_subscriber",
    "sesamy_tag_fan",
];

/// Syncs a user for each of `answers`, whose first answer from `route` is that one.
async fn cause_no_write(town: &Town, route: Route, answers: Vec<(&'static str, Fault)>) {
    let is_sesamy = matches!(route, Route::Profile | Route::Contracts | Route::Entitlements);
    let ids: Vec<String> = (0..answers.len()).map(|at| format!("{route:?}-{at}").to_lowercase()).collect();
    for (id, (_, fault)) in ids.iter().zip(&answers) {
        let email = put(town, id);
        let rule = Rule::on(route, fault.clone()).times(1);
        match is_sesamy {
            true => town.sandbox.sesamy.inject(rule.about(id)),
            false => town.sandbox.mailmojo.inject(rule.about(&email)),
        }
    }
    let before = town.sandbox.mailmojo.contacts();
    town.sync_all(&ids).await;

    let mut taken = Vec::new();
    for (id, (what, _)) in ids.iter().zip(&answers) {
        let told = town.end_of_sync(id, 1).await;
        let lines = town.service.output.syncs_of(id);
        if !lines.iter().any(|line| line["reason"] == "transient") || told["outcome"] != "unchanged" {
            taken.push(format!("{what}: {told}"));
        }
    }
    assert!(taken.is_empty(), "{route:?} answered, and it was taken for true:\n{}", taken.join("\n"));
    assert_eq!(town.sandbox.writes(), 0, "after wrong answers from {route:?}");
    assert_eq!(town.sandbox.mailmojo.contacts(), before);
    assert_eq!(town.query("SELECT count(*) FROM users WHERE parked_at IS NOT NULL"), Ok(0));
    assert!(!town.service.output.text().contains("panicked"), "{}", town.service.output.text());
}

#[tokio::test]
async fn a_wrong_profile_causes_no_write() {
    let town = patient_town().await;
    let mut answers = nonsense();
    answers.extend([
        ("somebody else's", with("userId", json!("u2"))),
        ("nobody's", with("userId", Value::Null)),
        ("an id that is a number", with("userId", json!(1))),
        ("an address that is a number", with("email", json!(5))),
        ("an address that is an array", with("email", json!(["kari@example.com"]))),
        ("a name that is an object", with("firstName", json!({"no": "Kari"}))),
        ("a phone that is a number", with("mobilePhone", json!(4_799_988_777_u64))),
        ("tags that are a string", with("tags", json!("fan"))),
        ("tags with null", with("tags", json!(["fan", null]))),
        ("tags that are an object", with("tags", json!({"0": "fan"}))),
        ("an array", in_an_array()),
        ("an array of the fields' values", Fault::edit(|answer| *answer = json!([answer["userId"]]))),
        ("an empty array", Fault::wrong_shape(json!([]))),
        ("the true one with an error", with_an_error(false)),
        ("somebody else's in an envelope", Fault::wrong_shape(json!({"data": {"userId": "u2"}, "meta": {}}))),
    ]);
    cause_no_write(&town, Route::Profile, answers).await;
}

#[tokio::test]
async fn a_wrong_list_of_contracts_or_entitlements_causes_no_write() {
    let town = patient_town().await;
    let of_lists = || {
        let mut answers = nonsense();
        let page = |pagination: Value| Fault::wrong_shape(json!({"data": [], "pagination": pagination}));
        answers.extend([
            (
                "an empty page with an error",
                Fault::wrong_shape(json!({"data": [], "error": {"code": "odd"}})),
            ),
            (
                "an empty page with a word for an error",
                Fault::wrong_shape(json!({"error": "odd", "data": []})),
            ),
            ("the true page with an error", with_an_error(true)),
            ("an object for rows", Fault::wrong_shape(json!({"data": {}}))),
            ("rows under another name", Fault::wrong_shape(json!({"rows": []}))),
            ("an end before the total", page(json!({"total": 3}))),
            ("a total that is a word", page(json!({"total": "three"}))),
            (
                "a page without an end",
                Fault::wrong_shape(json!({"data": [{"id": "x"}], "pagination": {"total": 2e3}})),
            ),
            ("a row that is a number", Fault::edit(|rows| rows.as_array_mut().unwrap().push(json!(5)))),
            ("an id that is a number", with_row("id", json!(1))),
        ]);
        answers
    };
    let mut contracts = of_lists();
    contracts.extend([
        ("somebody else's", with_row("userId", json!("u2"))),
        ("isActive as a string", with_row("isActive", json!("yes"))),
        ("isActive as null", with_row("isActive", Value::Null)),
        ("a status that is a number", with_row("status", json!(1))),
        ("items that are an object", with_row("items", json!({}))),
        ("items that are numbers", with_row("items", json!([1]))),
        ("items that are arrays", with_row("items", json!([["SINGLE"]]))),
        ("a purchaseType that is a number", with_row("items", json!([{"purchaseType": 1}]))),
    ]);
    cause_no_write(&town, Route::Contracts, contracts).await;
    let mut entitlements = of_lists();
    entitlements.extend([
        ("hasAccess as a string", with_row("hasAccess", json!("true"))),
        ("hasAccess as a number", with_row("hasAccess", json!(0))),
        ("hasAccess as null", with_row("hasAccess", Value::Null)),
        ("a title that is a number", with_row("title", json!(1))),
        ("an sku that is an object", with_row("sku", json!({}))),
        ("an end that is a number", with_row("expiresAt", json!(1_577_836_800))),
        ("an origin that is a string", with_row("origin", json!("EXTERNAL"))),
        ("an origin that is an array", with_row("origin", json!(["EXTERNAL"]))),
    ]);
    cause_no_write(&town, Route::Entitlements, entitlements).await;
}

#[tokio::test]
async fn a_wrong_contact_causes_no_write() {
    let town = patient_town().await;
    let mut answers = nonsense();
    answers.extend([
        ("somebody else's", with("email", json!("ola@example.com"))),
        ("an address that is a number", with("email", json!(5))),
        ("tags that are a string", with("tags", json!("vip"))),
        ("tags that are an object", with("tags", json!({"0": "vip"}))),
        ("tags that are objects", with("tags", json!([{"name": "vip"}]))),
        ("tags with null", with("tags", json!(["vip", null]))),
        ("tags with a number", with("tags", json!(["vip", 5]))),
        ("tags that are false", with("tags", json!(false))),
        ("a first name that is a number", with("first_name", json!(1))),
        ("a phone that is a number", with("phone", json!(4_799_988_777_u64))),
        ("a name that is an object", with("name", json!({}))),
        ("a status that is a number", with("status", json!(1))),
        ("lists that are an object", with("list_associations", json!({"7": "a"}))),
        ("lists that are a string", with("list_associations", json!("7"))),
        ("lists that are numbers", with("list_associations", json!([7]))),
        ("lists with null", with("list_associations", json!([null]))),
        ("lists that are arrays", with("list_associations", json!([[8, "a"]]))),
        ("a list_id that is null", with_list("list_id", Value::Null)),
        ("a list_id that is a word", with_list("list_id", json!("seven"))),
        ("a list_id with a fraction", with_list("list_id", json!(7.5))),
        ("a list_id below nothing", with_list("list_id", json!(-7))),
        ("a list_id that is an array", with_list("list_id", json!([7]))),
        ("no list_id", Fault::edit(|answer| answer["list_associations"] = json!([{"status": "a"}]))),
        ("a list's status that is a number", with_list("status", json!(1))),
        ("an array", in_an_array()),
        ("an array of the fields' values", Fault::edit(|answer| *answer = json!([answer["email"]]))),
        ("an empty array", Fault::wrong_shape(json!([]))),
        ("a contact without a mark", Fault::wrong_shape(json!({"tags": []}))),
        ("an envelope", Fault::edit(|answer| *answer = json!({"data": answer.take()}))),
        ("the true one with an error", with_an_error(false)),
        (
            "no tags and an error",
            Fault::edit(|answer| (answer["tags"], answer["error"]) = (json!([]), json!("odd"))),
        ),
    ]);
    cause_no_write(&town, Route::ContactGet, answers).await;
}

#[tokio::test]
async fn a_wrong_member_of_the_list_causes_no_write() {
    let town = patient_town().await;
    town.sandbox.mailmojo.answer_associations_as(Associations::Absent);
    let mut answers = nonsense();
    answers.extend([
        ("somebody else", with("email", json!("ola@example.com"))),
        ("the true one with an error", with_an_error(false)),
        ("an address that is a number", with("email", json!(5))),
        ("a status that is a number", with("status", json!(1))),
        ("an array", in_an_array()),
        ("an array of the fields' values", Fault::edit(|answer| *answer = json!([answer["email"], "a"]))),
        ("an empty array", Fault::wrong_shape(json!([]))),
    ]);
    cause_no_write(&town, Route::ListMember, answers).await;
}

#[tokio::test]
async fn what_is_new_or_null_in_a_right_answer_is_no_matter() {
    let town = Town::start().await;
    let new = json!({"deep": [{"er": null}], "tags": 5});
    let added = |of: &str| {
        let (of, new) = (of.to_owned(), new.clone());
        Fault::edit(move |answer| match of.as_str() {
            "" => answer["new_field"] = new.clone(),
            of => answer[of][0]["new_field"] = new.clone(),
        })
    };
    let row = new.clone();
    let stories = [
        (Route::Profile, added("")),
        (Route::Profile, with("name", Value::Null)),
        (Route::Profile, with("error", Value::Null)),
        (Route::Profile, with("firstName", Value::Null)),
        (Route::Profile, Fault::edit(|answer| *answer = json!({"data": answer.take(), "meta": {"x": 1}}))),
        (Route::Contracts, with_row("new_field", new.clone())),
        (Route::Contracts, with_row("items", Value::Null)),
        (Route::Contracts, with_row("status", Value::Null)),
        (Route::Contracts, Fault::edit(|answer| *answer = json!({"data": answer.take()}))),
        (Route::Entitlements, Fault::edit(|answer| *answer = json!({"data": answer.take(), "error": null}))),
        (Route::Entitlements, with_row("new_field", row)),
        (Route::Entitlements, with_row("purchaseOption", Value::Null)),
        (Route::Entitlements, with_row("origin", json!({"type": null, "contractId": null, "new": 1}))),
        (Route::ContactGet, added("")),
        (Route::ContactGet, added("list_associations")),
        (Route::ContactGet, with_list("list_id", json!("7"))),
        (Route::ContactGet, with("email", Value::Null)),
        (Route::ContactGet, with("error", Value::Null)),
        (Route::ContactGet, with("custom", json!([]))),
        (Route::ContactGet, with("status_changed", json!(5))),
    ];
    let mut ids = Vec::new();
    for (at, (route, fault)) in stories.iter().enumerate() {
        let id = format!("u{at}");
        let email = put(&town, &id);
        let rule = || Rule::on(*route, fault.clone());
        town.sandbox.sesamy.inject(rule().about(&id));
        town.sandbox.mailmojo.inject(rule().about(&email));
        ids.push(id);
    }
    town.sync_all(&ids).await;
    for (id, story) in ids.iter().zip(stories) {
        let told = town.end_of_sync(id, 1).await;
        assert_eq!((&told["outcome"], &told["attempt"]), (&json!("unchanged"), &json!(1)), "{story:?}");
    }
    assert_eq!(town.sandbox.writes(), 0);
}

#[tokio::test]
async fn however_often_an_answer_is_wrong_nothing_is_written_until_it_is_right() {
    let town = Town::start().await;
    for route in [Route::Profile, Route::Entitlements, Route::ContactGet] {
        let id = format!("{route:?}").to_lowercase();
        let email = put(&town, &id);
        town.sandbox.mailmojo.edit(&email, |it| it.tags = vec!["vip".to_owned()]); // there is something to write
        for api in ["sesamy", "mailmojo"] {
            let rule = Rule::on(route, Fault::status(200).html());
            if api == "sesamy" {
                town.sandbox.sesamy.inject(rule)
            } else {
                town.sandbox.mailmojo.inject(rule)
            };
        }
        town.event("userVendor.1#update", &id).await;
        let failed = |line: &Value| line["user_id"] == id.as_str() && line["outcome"] == "failed";
        let fifth = town.service.output.wait_for_nth(5, "a fifth failure", failed).await;
        assert_eq!((&fifth["level"], &fifth["attempt"]), (&json!("WARN"), &json!(5)));
        assert!(fifth["error"].as_str().unwrap().contains("not JSON"), "{fifth}");
        assert_eq!(town.contact(&email).tags, ["vip"]);
        // No event is needed to go on.
        town.sandbox.sesamy.clear_faults();
        town.sandbox.mailmojo.clear_faults();
        assert_eq!(town.end_of_sync(&id, 1).await["outcome"], "updated");
        assert_eq!(town.contact(&email).sesamy_tags(), OURS);
    }
    town.settled().await;
    assert_eq!(town.sandbox.writes(), 3);
}
