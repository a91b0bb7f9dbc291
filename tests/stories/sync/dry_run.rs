//! `sync.dry_run`: everything is done but the write, the log tells what it would have been, and nothing is forgotten.

use serde_json::json;
use sesamy_mailmojo::sandbox::{Route, contact, contract, user};

use crate::support::harness::{LIST, Town};

const HELD_BACK: &str = "SELECT count(*) FROM users WHERE held_back = 1";
const DRY: [(&str, &str); 1] = [("SYNC__DRY_RUN", "true")];
const WET: [(&str, &str); 1] = [("SYNC__DRY_RUN", "")];

/// Five users: three whose contact would change, one in step, one who is skipped.
async fn five_in_a_dry_town() -> Town {
    let town = Town::with(&DRY).await;
    for id in ["new", "off-list", "on-list", "in-step"] {
        let kari = user(id).email(&format!("{id}@example.com")).first_name("Kari").contract(contract("c1"));
        town.sandbox.sesamy.put_user(kari);
    }
    let there = |id: &str| contact(&format!("{id}@example.com")).tags(["vip", "sesamy_old"]);
    town.sandbox.mailmojo.put_contact(there("off-list"));
    town.sandbox.mailmojo.put_contact(there("on-list").first_name("K.").on_list(LIST));
    town.sandbox
        .mailmojo
        .put_contact(there("in-step").first_name("K.").tags(["sesamy_active_subscriber"]).on_list(LIST));
    town.sandbox.sesamy.put_user(user("guest").guest());
    town
}

#[tokio::test]
async fn a_dry_run_tells_what_it_would_write_and_writes_nothing() {
    let town = five_in_a_dry_town().await;
    let before = town.sandbox.mailmojo.contacts();
    let added = "sesamy_active_subscriber";
    for (id, outcome, changed, added, removed) in [
        ("new", "created", "first_name,tags", added, ""),
        ("off-list", "subscribed", "first_name,tags", added, "sesamy_old"),
        ("on-list", "updated", "tags", added, "sesamy_old"),
        ("in-step", "unchanged", "", "", ""),
        ("guest", "skipped", "", "", ""),
    ] {
        let told = town.sync_told(id).await;
        assert_eq!(told["outcome"], outcome, "{id}");
        let differs = !changed.is_empty();
        assert_eq!(told["dry_run"], differs, "{id}");
        assert_eq!(told["message"].as_str().unwrap().contains("would have written"), differs, "{told}");
        let what = ["changed", "tags_added", "tags_removed"].map(|field| told[field].as_str().unwrap());
        assert_eq!(what, [changed, added, removed], "{id}");
    }
    assert_eq!(town.sandbox.writes(), 0);
    assert_eq!(town.sandbox.mailmojo.contacts(), before);
    // Every step but the write: the contact is looked for, each time anew.
    assert_eq!(town.sandbox.count(Route::ContactGet), 4);
    assert_eq!(town.query(HELD_BACK), Ok(3));
    assert_eq!(town.sync_told("new").await["outcome"], "created");
    assert_eq!((town.sandbox.writes(), town.query(HELD_BACK)), (0, Ok(3)));
}

#[tokio::test]
async fn what_was_held_back_is_written_at_the_first_start_without_it() {
    let mut town = five_in_a_dry_town().await;
    let ids = ["new", "off-list", "on-list", "in-step", "guest"];
    town.sync_all(ids).await;
    assert_eq!(town.query(HELD_BACK), Ok(3));

    // Another dry start syncs nobody: the only one who is due when it has started is the one with a new event.
    town.sandbox.clear_calls();
    town.crash_and_restart(&DRY).await;
    town.sync("guest").await;
    assert_eq!(town.sandbox.calls_to(Route::Profile).len(), 1);
    assert_eq!(town.query(HELD_BACK), Ok(3));

    // A wet one syncs, without any event, those three and no others, each as it is by then.
    town.sandbox.mailmojo.unsubscribe("on-list@example.com", LIST);
    town.sandbox.mailmojo.add_tag("on-list@example.com", "festival");
    town.sandbox.sesamy.set_field("off-list", "lastName", "Nordmann");
    town.sandbox.clear_calls();
    town.crash_and_restart(&WET).await;
    town.wait_for_queue(HELD_BACK, |held| held == 0).await;
    town.settled().await;
    let mut synced: Vec<_> =
        town.sandbox.calls_to(Route::Profile).into_iter().filter_map(|call| call.subject).collect();
    synced.sort();
    assert_eq!(synced, ["new", "off-list", "on-list"]);
    for (id, outcome) in [("new", "created"), ("off-list", "subscribed"), ("on-list", "updated")] {
        let told = town.end_of_sync(id, 1).await;
        assert_eq!((&told["outcome"], &told["dry_run"]), (&json!(outcome), &json!(false)), "{id}");
    }
    assert_eq!(town.sandbox.writes(), 3);
    assert_eq!(town.contact("new@example.com").list_status(LIST), Some("a"));
    let off_list = town.contact("off-list@example.com");
    assert_eq!((off_list.list_status(LIST), off_list.last_name.as_deref()), (Some("a"), Some("Nordmann")));
    let on_list = town.contact("on-list@example.com");
    assert_eq!(on_list.list_status(LIST), Some("u"));
    assert_eq!(on_list.tags, ["vip", "festival", "sesamy_active_subscriber"]);

    // Once.
    assert_eq!(town.query(HELD_BACK), Ok(0));
    town.sandbox.clear_calls();
    town.crash_and_restart(&WET).await;
    town.sync("guest").await;
    assert_eq!(town.sandbox.calls_to(Route::Profile).len(), 1);
}

#[tokio::test]
async fn what_has_come_in_step_by_itself_is_held_back_no_longer() {
    let mut town = five_in_a_dry_town().await;
    town.sync_all(["on-list", "new"]).await;
    // The integration that is still live has done it meanwhile.
    town.sandbox.mailmojo.edit("on-list@example.com", |it| {
        it.tags = ["vip", "sesamy_active_subscriber"].map(str::to_owned).to_vec();
    });
    town.sync("on-list").await;
    assert_eq!(town.query(HELD_BACK), Ok(1));
    // And a mark is not lost by a sync that never ends.
    let gate = town.sandbox.mailmojo.hold(Route::ContactGet);
    town.event("userVendor.1#update", "new").await;
    gate.arrived().await;
    town.service.kill().await;
    drop(gate);
    town.sandbox.clear_calls();
    town.restart(&[("SYNC__DRY_RUN", ""), ("SYNC__REQUEST_TIMEOUT", "300ms")]).await;
    town.settled().await;
    let synced = town.sandbox.calls_to(Route::Profile).into_iter().map(|call| call.subject.unwrap());
    assert_eq!(synced.collect::<Vec<_>>(), ["new"]);
    assert_eq!(town.end_of_sync("new", 1).await["outcome"], "created");
    assert!(town.service.output.lines().iter().all(|line| line["user_id"] != "on-list"));
}
