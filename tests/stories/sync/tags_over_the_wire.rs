//! Tags, from what Sesamy answers over the wire to what the contact has: which ones, for how long, and of how many pages.

use serde_json::{Value, json};
use sesamy_mailmojo::sandbox::{Call, Fault, Route, Rule, Shape, User, contact, contract, entitlement, user};

use crate::support::harness::{LIST, Town};

const SUBSCRIBER: &str = "sesamy_active_subscriber";
const OVERDUE: &str = "sesamy_overdue_contract";
const SINGLE: &str = "sesamy_made_single_purchase";
const EXTERNAL: &str = "sesamy_has_external_access";
const GIFTED: &str = "sesamy_has_gifted_subscription";

fn email_of(id: &str) -> String {
    format!("{id}@example.com")
}

/// Creates a contact for each user, and compares its tags.
async fn get_tags(town: &Town, stories: Vec<(User, Vec<&str>)>) {
    for (user, _) in &stories {
        town.sandbox.sesamy.put_user(user.clone().email(&email_of(user.id())));
    }
    town.sync_all(stories.iter().map(|(user, _)| user.id())).await;
    for (user, mut tags) in stories {
        tags.sort_unstable();
        assert_eq!(town.contact(&email_of(user.id())).tags, tags, "{}", user.id());
    }
}

#[tokio::test]
async fn contracts_and_entitlements_become_the_standard_tags() {
    let town = Town::start().await;
    let unknown = |id: &str| contract(id).duration("FORTNIGHTLY");
    let plus = ["sesamy_active_entitlement_plus", "sesamy_active_sku_plus"];
    let with = |tags: &[&'static str]| [&plus, tags].concat();
    get_tags(
        &town,
        vec![
            (user("nothing"), vec![]),
            (user("recurring").contract(contract("c")), vec![SUBSCRIBER]),
            (user("renewable").contract(contract("c").duration("RENEWABLE")), vec![SUBSCRIBER]),
            (user("cancelled").contract(contract("c").cancelled()), vec![]),
            (
                user("unknown").contract(unknown("c").item("a", Some("SINGLE")).item("b", None)),
                vec![SUBSCRIBER, SINGLE],
            ),
            (
                user("absent").contract(contract("c").without("contractDuration").item("a", None)),
                vec![SUBSCRIBER],
            ),
            (user("no-items").contract(unknown("c").field("items", Value::Null)), vec![]),
            (user("without-items").contract(unknown("c").without("items")), vec![]),
            (user("overdue").contract(contract("c").overdue()), vec![SUBSCRIBER, OVERDUE]),
            (
                user("retrying").contract(contract("c").status("RETRYING").field("isActive", false)),
                vec![OVERDUE],
            ),
            (user("perpetual").contract(contract("c").duration("PERPETUAL")), vec![SINGLE]),
            (user("ever").contract(contract("c").duration("PERPETUAL").cancelled()), vec![SINGLE]),
            (user("single").contract(contract("c").cancelled().item("a", Some("SINGLE"))), vec![SINGLE]),
            (
                user("article").entitlement(entitlement("e", "x").kind("article").paid_by("c").ended()),
                vec![SINGLE],
            ),
            (user("free-article").entitlement(entitlement("e", "x").kind("article")), vec![]),
            (user("external").entitlement(entitlement("e", "plus").external("l1")), with(&[EXTERNAL])),
            (user("was-external").entitlement(entitlement("e", "plus").external("l1").ended()), vec![]),
            (user("gifted").entitlement(entitlement("e", "plus").paid_by("theirs")), with(&[GIFTED])),
            (
                user("own").contract(contract("mine")).entitlement(entitlement("e", "plus").paid_by("mine")),
                with(&[SUBSCRIBER]),
            ),
            (
                user("own-once")
                    .contract(contract("mine").cancelled())
                    .entitlement(entitlement("e", "plus").paid_by("mine")),
                with(&[]),
            ),
            (
                user("option").entitlement(entitlement("e", "plus").purchase_option("Year 1")),
                with(&["sesamy_active_sku_po_plus-year-1"]),
            ),
            (
                user("custom").tags(["VIP, gold", "sesamy_beta", " ", "vip gold"]),
                vec!["sesamy_beta", "sesamy_tag_vip-gold"],
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn odd_titles_become_names_that_are_clean_short_and_never_empty() {
    let town = Town::start().await;
    let plain = |title: &str| entitlement("e", "x").title(title).field("sku", Value::Null);
    let (long, cut) = ("Ø".repeat(200), "ø".repeat(99 - "sesamy_active_entitlement_".len()));
    let at_a_hyphen = format!("{} b", "x".repeat(99 - "sesamy_active_entitlement_".len() - 1));
    let stories = [
        ("Avisen Pluss", "avisen-pluss"),
        (" Ålesund,\t Ærlig – ØST\n", "ålesund-ærlig-–-øst"),
        ("--a -- b,,c--", "a-b-c"),
        ("a\u{0}b\u{7}c\u{a0}d", "a-b-c-d"),
        ("100 % «sant» 🎉", "100-%-«sant»-🎉"),
        ("vip_gold.no", "vip_gold.no"),
        (long.as_str(), cut.as_str()),
        (at_a_hyphen.as_str(), at_a_hyphen.trim_end_matches(" b")),
    ];
    for (at, (title, _)) in stories.iter().enumerate() {
        let id = format!("u{at}");
        town.sandbox.sesamy.put_user(user(&id).email(&email_of(&id)).entitlement(plain(title)));
    }
    let nameless = [plain(" - , "), plain(""), entitlement("e2", " ").purchase_option("year")];
    let no_option = entitlement("e3", "plus").title("").purchase_option(" , ");
    let odd = nameless.into_iter().fold(user("odd").email(&email_of("odd")), User::entitlement);
    town.sandbox.sesamy.put_user(odd.entitlement(no_option).tags(["", ",", " - "]));
    town.sync_all((0..stories.len()).map(|at| format!("u{at}")).chain(["odd".to_owned()])).await;

    for (at, (title, name)) in stories.iter().enumerate() {
        let tags = town.contact(&email_of(&format!("u{at}"))).tags;
        assert_eq!(tags, [format!("sesamy_active_entitlement_{name}")], "{title:?}");
        assert!(tags[0].chars().count() <= 99, "{title:?}");
    }
    assert_eq!(town.contact("odd@example.com").tags, ["sesamy_active_sku_plus"]);
}

#[tokio::test]
async fn access_ends_with_its_time_and_a_time_that_cannot_be_read_is_none() {
    let town = Town::start().await;
    let until = |when: &str| entitlement("e-odd", "plus").external("l1").expires_at(when);
    let plus = vec!["sesamy_active_entitlement_plus", "sesamy_active_sku_plus", EXTERNAL];
    get_tags(
        &town,
        vec![
            (user("past").entitlement(until("2020-01-01T00:00:00.000Z")), vec![]),
            (user("past-offset").entitlement(until("2020-01-01T00:00:00+01:00")), vec![]),
            (user("future").entitlement(until("2199-01-01T00:00:00Z")), plus.clone()),
            (user("null").entitlement(until("").field("expiresAt", Value::Null)), plus.clone()),
            (user("ended").entitlement(until("2199-01-01T00:00:00Z").ended()), vec![]),
        ],
    )
    .await;
    let warnings = || town.service.output.lines().into_iter().filter(|line| line["level"] == "WARN").count();
    assert_eq!(warnings(), 0);
    get_tags(&town, vec![(user("odd").entitlement(until("next year")), plus)]).await;
    let odd = |line: &Value| line["level"] == "WARN" && line["entitlement_id"] == "e-odd";
    town.service.output.wait_for("that a time cannot be read", odd).await;
}

#[tokio::test]
async fn tags_go_when_their_reason_goes_and_some_stay_for_ever() {
    let town = Town::start().await;
    town.sandbox.sesamy.put_user(
        user("u1")
            .email("kari@example.com")
            .tags(["vip"])
            .contract(contract("c1"))
            .contract(contract("c2").duration("PERPETUAL"))
            .entitlement(entitlement("e1", "plus")),
    );
    town.sandbox
        .mailmojo
        .put_contact(contact("kari@example.com").tags(["b", "sesamy_of_old", "a"]).on_list(LIST));
    town.sync("u1").await;
    let plus = ["sesamy_active_entitlement_plus", "sesamy_active_sku_plus"];
    let tags = [&["b", "a"][..], &plus, &[SUBSCRIBER, SINGLE, "sesamy_tag_vip"]].concat();
    assert_eq!(town.contact("kari@example.com").tags, tags);

    // Everything is over, and Sesamy has even forgotten the purchase.
    town.sandbox.sesamy.set_contracts("u1", [contract("c1").cancelled()]);
    town.sandbox.sesamy.set_entitlements("u1", [entitlement("e1", "plus").ended()]);
    town.sandbox.sesamy.set_field("u1", "tags", json!([]));
    town.sandbox.mailmojo.add_tag("kari@example.com", "c");
    let told = town.sync_told("u1").await;
    assert_eq!(town.contact("kari@example.com").tags, ["b", "a", "c", SINGLE]);
    assert_eq!(told["tags_removed"], [&plus[..], &[SUBSCRIBER, "sesamy_tag_vip"]].concat().join(","));
    assert_eq!(told["tags_added"], "");
    assert_eq!(town.sync_told("u1").await["outcome"], "unchanged");

    // A contact that has lost the tag by hand does not get it back without a reason.
    town.sandbox.mailmojo.remove_tag("kari@example.com", SINGLE);
    assert_eq!(town.sync_told("u1").await["outcome"], "unchanged");
    assert_eq!(town.contact("kari@example.com").tags, ["b", "a", "c"]);
}

#[tokio::test]
async fn keep_tags_names_what_is_never_removed() {
    let town = Town::with(&[("SYNC__KEEP_TAGS", "sesamy_tag_*,sesamy_beta")]).await;
    town.sandbox.sesamy.put_user(user("u1").email("kari@example.com").tags(["new"]));
    town.sandbox.mailmojo.put_contact(
        contact("kari@example.com")
            .tags(["sesamy_tag_old", "vip", "sesamy_beta", "sesamy_beta2", SINGLE, "sesamy_tag_", SUBSCRIBER])
            .on_list(LIST),
    );
    let told = town.sync_told("u1").await;
    assert_eq!(
        town.contact("kari@example.com").tags,
        ["vip", "sesamy_beta", "sesamy_tag_", "sesamy_tag_new", "sesamy_tag_old"]
    );
    assert_eq!(told["tags_removed"], [SUBSCRIBER, "sesamy_beta2", SINGLE].join(","));
}

#[tokio::test]
async fn the_newsrooms_tags_stay_as_they_are_and_in_their_order() {
    let town = Town::start().await;
    town.sandbox.sesamy.put_user(user("u1").email("kari@example.com").tags(["m"]));
    let own = ["z", "", " æ ", "z", "Sesamy_x", "sesamy", "a,b", "🎉"];
    let tags = [&["sesamy_old"][..], &own[..4], &["sesamy_older"], &own[4..]].concat();
    town.sandbox.mailmojo.put_contact(contact("kari@example.com").tags(tags).on_list(LIST));
    town.sync("u1").await;
    assert_eq!(town.contact("kari@example.com").tags, [&own[..], &["sesamy_tag_m"]].concat());
}

/// A user with so many contracts and entitlements, the last of each the only one that matters.
fn long_history(id: &str, rows: usize) -> User {
    let ended = (1..rows)
        .map(|n| (contract(&format!("c{n}")).cancelled(), entitlement(&format!("e{n}"), "x").ended()));
    let history = ended.fold(user(id).email(&email_of(id)), |user, (contract, entitlement)| {
        user.contract(contract).entitlement(entitlement)
    });
    history.contract(contract("last")).entitlement(entitlement("last", "plus"))
}

/// The offsets of the pages that were asked for, in the order of a list.
fn offsets(town: &Town, route: Route) -> Vec<usize> {
    let offset = |call: Call| {
        assert!(call.target.contains("&limit=100&"), "{call}");
        call.target.rsplit_once("&offset=").unwrap().1.parse().unwrap()
    };
    town.sandbox.calls_to(route).into_iter().map(offset).collect()
}

#[tokio::test]
async fn a_long_list_is_read_to_its_end_in_both_shapes() {
    let town = Town::start().await;
    let whole: &[usize] = &[0, 100, 200];
    let to_an_empty_one: &[usize] = &[0, 100, 200, 250];
    let by_thirty: Vec<usize> = (0..250).step_by(30).collect();
    let stories = [
        // A page of ten rows or more may have been cut by the server, whatever size was asked for.
        ("bare", Shape::Bare, 250, 100, to_an_empty_one),
        ("bare-capped", Shape::Bare, 59, 20, &[0, 20, 40, 59]),
        ("bare-full", Shape::Bare, 200, 100, whole),
        ("bare-ten", Shape::Bare, 10, 100, &[0, 10]),
        ("bare-nine", Shape::Bare, 9, 100, &[0]),
        ("envelope", Shape::Envelope, 250, 100, whole),
        // A full page is never the last one, whatever `total` says.
        ("envelope-full", Shape::Envelope, 200, 100, whole),
        ("envelope-99", Shape::Envelope, 99, 100, &[0]),
        ("envelope-small-pages", Shape::Envelope, 250, 30, &by_thirty),
    ];
    for (id, shape, rows, page_cap, pages) in stories {
        town.sandbox.sesamy.answer_as(shape);
        town.sandbox.sesamy.set_page_cap(page_cap);
        town.sandbox.sesamy.put_user(long_history(id, rows));
        town.sandbox.clear_calls();
        assert_eq!(town.sync_told(id).await["outcome"], "created", "{id}");
        assert_eq!(
            town.contact(&email_of(id)).tags,
            ["sesamy_active_entitlement_plus", "sesamy_active_sku_plus", SUBSCRIBER],
            "{id}"
        );
        for route in [Route::Contracts, Route::Entitlements] {
            assert_eq!(offsets(&town, route), pages, "{route:?} of {id}");
        }
    }
}

/// What a page is turned into that the sandbox answers in its envelope.
fn in_another_way(way: &'static str) -> Fault {
    Fault::edit(move |answer| {
        let said = answer["pagination"].take();
        let number = |name: &str| said[name].as_u64().unwrap();
        let (total, limit, offset) = (number("total"), number("limit"), number("offset"));
        let rows = answer["data"].as_array().unwrap().len() as u64;
        let is_last = offset + rows >= total;
        let (page, pages) = (offset / limit + 1, total.div_ceil(limit));
        answer["pagination"] = match way {
            "hasMore" => json!({"hasMore": !is_last}),
            "hasMore against a wrong total" => json!({"hasMore": !is_last, "total": rows}),
            "next" => json!({"next": (!is_last).then(|| format!("/management/x?offset={}", offset + rows))}),
            "nextOffset" => json!({"nextOffset": if is_last { 0 } else { offset + rows }}),
            "pages" => json!({"totalPages": pages}),
            "page and pages" => json!({"page": page, "pages": pages}),
            "the page's own total" => json!({"total": rows}),
            "the page's own total, with a limit" => json!({"total": rows, "limit": limit}),
            _ => Value::Null,
        };
        match way {
            "contracts" | "entitlements" => *answer = json!({way: answer["data"].take()}),
            "named, with pagination" => {
                *answer = json!({"contracts": answer["data"].take(), "pagination": said})
            }
            _ => {}
        }
    })
}

#[tokio::test]
async fn however_a_server_pages_no_reader_loses_a_tag_that_is_on_a_later_page() {
    let town = Town::start().await;
    town.sandbox.sesamy.answer_as(Shape::Envelope);
    town.sandbox.sesamy.set_page_cap(20);
    let ways = [
        "hasMore",
        "hasMore against a wrong total",
        "next",
        "nextOffset",
        "pages",
        "page and pages",
        "the page's own total",
        "the page's own total, with a limit",
        "nothing at all",
    ];
    let of_both = ways.map(|way| (way, way));
    let named = [("contracts", "entitlements"), ("named, with pagination", "entitlements")];
    for (at, (contracts, entitlements)) in of_both.into_iter().chain(named).enumerate() {
        for rows in [1, 9, 40, 59] {
            let id = format!("u{at}-{rows}");
            town.sandbox.sesamy.put_user(long_history(&id, rows));
            // In step but for the last page.
            let there =
                contact(&email_of(&id)).tags(["vip", "sesamy_active_sku_plus", SUBSCRIBER]).on_list(LIST);
            town.sandbox.mailmojo.put_contact(there);
            for (route, way) in [(Route::Contracts, contracts), (Route::Entitlements, entitlements)] {
                town.sandbox.sesamy.inject(Rule::on(route, in_another_way(way)).about(&id));
            }
            town.sandbox.clear_calls();
            let told = town.sync_told(&id).await;
            assert_eq!(
                (&told["outcome"], &told["tags_removed"]),
                (&json!("updated"), &json!("")),
                "{contracts}: {told}"
            );
            assert_eq!(
                town.contact(&email_of(&id)).sesamy_tags(),
                ["sesamy_active_entitlement_plus", "sesamy_active_sku_plus", SUBSCRIBER],
                "{contracts}, {rows} rows"
            );
            if rows < 10 {
                let calls = [Route::Contracts, Route::Entitlements].map(|route| town.sandbox.count(route));
                assert_eq!(calls, [1, 1], "{contracts}, {rows} rows");
            }
        }
    }
}

#[tokio::test]
async fn a_list_that_answers_the_same_page_twice_takes_no_tag_and_is_asked_for_again() {
    let town = Town::with(&[("SYNC__BACKOFF_CAP", "20ms")]).await;
    town.sandbox.sesamy.put_user(long_history("u1", 30));
    town.sandbox.mailmojo.put_contact(contact(&email_of("u1")).tags([SUBSCRIBER]).on_list(LIST));
    // A server that ignores the offset: of its 30 rows it only ever answers the first 12.
    let first: Vec<Value> = (1..=12).map(|n| contract(&format!("c{n}")).cancelled().into()).collect();
    town.sandbox.sesamy.inject(Rule::on(Route::Contracts, Fault::wrong_shape(json!(first))).times(4));
    town.sync("u1").await;
    let lines = town.service.output.syncs_of("u1");
    let errors: Vec<_> = lines.iter().filter_map(|line| line["error"].as_str()).collect();
    assert!(errors.len() == 2 && errors.iter().all(|error| error.contains("same page")), "{lines:?}");
    assert_eq!(
        town.contact(&email_of("u1")).tags,
        ["sesamy_active_entitlement_plus", "sesamy_active_sku_plus", SUBSCRIBER]
    );
}

#[tokio::test]
async fn without_derive_tags_the_profile_alone_is_read_and_its_tags_are_all_that_is_wanted() {
    let town = Town::with(&[("SESAMY__DERIVE_TAGS", "false")]).await;
    town.sandbox.sesamy.put_user(
        user("u1")
            .email("kari@example.com")
            .first_name("Kari")
            .tags([SUBSCRIBER, "Sports Fan"])
            .contract(contract("c1").overdue())
            .entitlement(entitlement("e1", "plus")),
    );
    town.sandbox.mailmojo.put_contact(
        contact("kari@example.com").tags(["vip", "sesamy_active_sku_plus", SINGLE]).on_list(LIST),
    );
    for outcome in ["updated", "unchanged"] {
        town.sandbox.clear_calls();
        assert_eq!(town.sync_told("u1").await["outcome"], outcome);
        let at_sesamy = town.sandbox.calls().into_iter().filter(|call| call.subject.as_deref() == Some("u1"));
        assert_eq!(at_sesamy.map(|call| call.route).collect::<Vec<_>>(), [Route::Profile]);
    }
    let kari = town.contact("kari@example.com");
    assert_eq!(kari.tags, ["vip", SUBSCRIBER, SINGLE, "sesamy_tag_sports-fan"]);
    assert_eq!(kari.first_name.as_deref(), Some("Kari"));
}

#[tokio::test]
async fn a_user_id_is_asked_for_whole_whatever_is_in_it() {
    let town = Town::start().await;
    let ids = ["email|84cccf985de28a2a", "a/../b", "a?b=c&userId=d#e", "å ø%2F%", "..."];
    for (at, id) in ids.into_iter().enumerate() {
        let email = format!("kari{at}@example.com");
        town.sandbox.sesamy.put_user(user(id).email(&email).entitlement(entitlement("e", &format!("p{at}"))));
    }
    town.sync_all(ids).await;
    for (at, id) in ids.into_iter().enumerate() {
        let tags = town.contact(&format!("kari{at}@example.com")).tags;
        assert_eq!(
            tags,
            [format!("sesamy_active_entitlement_p{at}"), format!("sesamy_active_sku_p{at}")],
            "{id}"
        );
    }
}
