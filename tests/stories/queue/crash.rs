//! `kill -9` at any moment loses nothing that was answered 202, and leaves nothing stuck.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reqwest::StatusCode;
use serde_json::{Value, json};
use sesamy_mailmojo::sandbox::{Contract, Entitlement, Route, Sesamy, contact, contract, entitlement, user};

use crate::support::harness::{LIST, TOKEN, Town, http};
use crate::support::shell::run;

const EVENT: &str = "userVendor.1#update";
const DUE: &str = "SELECT due_at FROM users WHERE user_id = 'kari'";

/// What Sesamy may say of somebody, and the tags that follow.
fn states() -> Vec<(Vec<Contract>, Vec<Entitlement>, Vec<&'static str>)> {
    let active = || contract("c1");
    vec![
        (vec![], vec![], vec![]),
        (vec![active()], vec![], vec!["sesamy_active_subscriber"]),
        (vec![active().overdue()], vec![], vec!["sesamy_active_subscriber", "sesamy_overdue_contract"]),
        (vec![active().cancelled()], vec![entitlement("e1", "plus").ended()], vec![]),
        (
            vec![active()],
            vec![entitlement("e1", "plus").paid_by("c1")],
            vec!["sesamy_active_entitlement_plus", "sesamy_active_sku_plus", "sesamy_active_subscriber"],
        ),
        (
            vec![],
            vec![entitlement("e2", "Sport").external("partner")],
            vec!["sesamy_active_entitlement_sport", "sesamy_active_sku_sport", "sesamy_has_external_access"],
        ),
        (
            vec![],
            vec![entitlement("e3", "gift").paid_by("somebody else's")],
            vec![
                "sesamy_active_entitlement_gift",
                "sesamy_active_sku_gift",
                "sesamy_has_gifted_subscription",
            ],
        ),
    ]
}

fn email(user: usize) -> String {
    format!("u{user}@example.com")
}

/// Somebody at Sesamy: changes users of its own at random, and sends an event of each change until it is accepted.
async fn makes_changes(
    sesamy: Arc<Sesamy>,
    url: String,
    users: std::ops::Range<usize>,
    seed: u64,
    accepted: Arc<AtomicUsize>,
) -> BTreeMap<usize, usize> {
    let (mut random, states, http) = (StdRng::seed_from_u64(seed), states(), http());
    let mut last = BTreeMap::new();
    for _ in 0..2 * users.len() {
        let (who, state) = (random.random_range(users.clone()), random.random_range(0..states.len()));
        let (contracts, entitlements, _) = &states[state];
        sesamy.edit_user(&format!("u{who}"), |user| {
            user.contracts = contracts.iter().cloned().map(Value::from).collect();
            user.entitlements = entitlements.iter().cloned().map(Value::from).collect();
        });
        let event = json!({"eventType": EVENT, "userId": format!("u{who}")}).to_string();
        // The one event that a kill cuts off is sent again, as Sesamy does it; no other is.
        loop {
            let request = http.post(&url).bearer_auth(TOKEN).body(event.clone());
            if request.send().await.is_ok_and(|answer| answer.status() == StatusCode::ACCEPTED) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        last.insert(who, state);
        accepted.fetch_add(1, Ordering::SeqCst);
    }
    last
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_twice_under_load_every_accepted_user_ends_in_the_state_that_sesamy_has() {
    const USERS: usize = 300;
    const TASKS: usize = 6;
    const SEED: u64 = 2026;
    let short = [("SYNC__REQUEST_TIMEOUT", "1s"), ("SYNC__DEADLINE", "10s"), ("SYNC__DEBOUNCE", "5ms")];
    let mut town = Town::before_start(&short, |sandbox| {
        for n in 0..USERS {
            sandbox.sesamy.put_user(user(&format!("u{n}")).email(&email(n)).first_name("Kari"));
            let known = contact(&email(n)).first_name("K.").tags(["vip", "sesamy_old", "abc"]);
            match n % 4 {
                0 => sandbox.mailmojo.put_contact(known.on_list(LIST)),
                1 => sandbox.mailmojo.put_contact(known.on_list_as(LIST, "u")),
                2 => sandbox.mailmojo.put_contact(known),
                _ => {}
            }
        }
    })
    .await;
    let address = town.service.address.to_string();
    let accepted = Arc::new(AtomicUsize::new(0));
    let load: Vec<_> = (0..TASKS)
        .map(|task| {
            let users = task * USERS / TASKS..(task + 1) * USERS / TASKS;
            let (sesamy, url) = (town.sandbox.sesamy.clone(), town.service.url("/webhooks/sesamy"));
            tokio::spawn(makes_changes(sesamy, url, users, SEED + task as u64, Arc::clone(&accepted)))
        })
        .collect();

    let mut random = StdRng::seed_from_u64(SEED);
    for moment in [random.random_range(60..200), random.random_range(300..450)] {
        while accepted.load(Ordering::SeqCst) < moment {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // On the same port, as a container that is restarted.
        town.crash_and_restart(&[("SERVER__LISTEN", &address)]).await;
        assert!(accepted.load(Ordering::SeqCst) < 2 * USERS, "the load was over before the kill");
    }
    let mut last = BTreeMap::new();
    for task in load {
        last.extend(task.await.unwrap());
    }
    town.settled().await;
    // So many users who lose access at random may well trip the removal guard. That is another story: it is released, and all
    // come in step.
    let resumed = run(&["queue", "resume"], town.settings()).await;
    assert_eq!(resumed.code, Some(0), "{resumed:?}");
    let left = "SELECT count(*) FROM users WHERE held_back = 1 OR due_at IS NOT NULL";
    town.wait_for_queue(left, |left| left == 0).await;

    assert!(last.len() > USERS / 2);
    let states = states();
    for (who, state) in last {
        let (contact, wanted) = (town.contact(&email(who)), &states[state].2);
        assert_eq!(contact.sesamy_tags(), *wanted, "u{who}");
        let is_new = who % 4 == 3;
        assert_eq!(contact.own_tags(), if is_new { vec![] } else { vec!["vip", "abc"] }, "u{who}");
        assert_eq!(contact.first_name.as_deref(), Some(if is_new { "Kari" } else { "K." }), "u{who}");
        assert_eq!(contact.list_status(LIST), Some(if who % 4 == 1 { "u" } else { "a" }), "u{who}");
    }
    let stuck = "SELECT count(*) FROM users WHERE parked_at IS NOT NULL OR lease IS NOT NULL";
    assert_eq!(town.query(stuck).unwrap(), 0);
}

#[tokio::test]
async fn killed_in_the_middle_of_a_write_the_next_process_brings_the_contact_in_step() {
    // Before the write is done, and after it, when only its answer is lost.
    for is_done in [false, true] {
        let mut town = Town::with(&[("SYNC__REQUEST_TIMEOUT", "1s")]).await;
        let mailmojo = town.sandbox.mailmojo.clone();
        for (id, contact) in
            [("kari", None), ("ola", Some(contact("ola@example.com").tags(["vip"]).on_list(LIST)))]
        {
            let email = format!("{id}@example.com");
            town.sandbox.sesamy.put_user(user(id).email(&email).contract(contract("c1")));
            contact.into_iter().for_each(|contact| mailmojo.put_contact(contact));
        }
        let gates = [Route::Subscribe, Route::ContactPatch]
            .map(|route| if is_done { mailmojo.hold_answer(route) } else { mailmojo.hold(route) });
        for user in ["kari", "ola"] {
            assert_eq!(town.event(EVENT, user).await, StatusCode::ACCEPTED);
        }
        for gate in &gates {
            gate.arrived().await;
        }
        town.service.kill().await;
        let patience = Duration::from_secs(10);
        town.sandbox.wait_until(patience, |sandbox| sandbox.in_flight() == 0).await.unwrap();
        gates.iter().for_each(sesamy_mailmojo::sandbox::Hold::release);
        town.restart(&[]).await;
        town.settled().await;

        let tag = "sesamy_active_subscriber";
        assert_eq!(town.contact("kari@example.com").tags, [tag]);
        assert_eq!(town.contact("ola@example.com").tags, ["vip", tag]);
        for user in ["kari", "ola"] {
            let syncs = town.service.output.syncs_of(user);
            assert_eq!(syncs.len(), 1);
            assert_eq!(syncs[0]["outcome"] == "unchanged", is_done, "{}", syncs[0]);
            assert_eq!(syncs[0]["attempt"], 2, "a lease that nobody settled is an attempt");
        }
    }
}

#[tokio::test]
async fn leases_of_the_process_before_end_at_the_latest_a_request_timeout_after_the_start() {
    let long = [("SYNC__REQUEST_TIMEOUT", "1h"), ("SYNC__DEADLINE", "9h")];
    let mut town = Town::with(&long).await;
    town.sandbox.sesamy.put_user(user("kari").email("kari@example.com"));
    let gate = town.sandbox.sesamy.hold(Route::Profile);
    let began = now();
    assert_eq!(town.event(EVENT, "kari").await, StatusCode::ACCEPTED);
    gate.arrived().await;
    let (hour, until) = (60 * 60 * 1_000, town.query(DUE).unwrap());
    let lease = 11 * hour; // the deadline and two request timeouts
    assert!((began + lease..=now() + lease).contains(&until), "{until}");
    town.service.kill().await;
    drop(gate);

    let before = now();
    town.restart(&[]).await;
    let still_leased = format!("{DUE} AND lease IS NOT NULL");
    town.wait_for_queue(&still_leased, |until| until < before + lease / 2).await;
    let (until, after) = (town.query(&still_leased).unwrap(), now());
    assert!((before + hour..=after + hour).contains(&until), "{until}, started between {before} and {after}");

    // A process that dies again and again puts the end off no further.
    town.crash_and_restart(&[]).await;
    assert_eq!(town.query(&still_leased).unwrap(), until);
    assert_eq!(town.event(EVENT, "kari").await, StatusCode::ACCEPTED);
    assert_eq!(town.query(&still_leased).unwrap(), until, "an event does not end a lease");

    town.crash_and_restart(&[("SYNC__REQUEST_TIMEOUT", "200ms")]).await;
    town.settled().await;
    town.contact("kari@example.com");
}

/// Milliseconds since 1970.
fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis().try_into().unwrap()
}

#[tokio::test]
async fn a_user_whose_sync_ends_the_process_time_and_again_is_parked_and_comes_back_with_an_event() {
    let mut town = Town::with(&[("SYNC__REQUEST_TIMEOUT", "1s"), ("SYNC__MAX_ATTEMPTS", "2")]).await;
    town.sandbox.sesamy.put_user(user("kari").email("kari@example.com"));
    let gate = town.sandbox.sesamy.hold(Route::Profile);
    assert_eq!(town.event(EVENT, "kari").await, StatusCode::ACCEPTED);
    for times in 1..=2 {
        gate.arrivals(times).await;
        town.crash_and_restart(&[]).await;
    }
    drop(gate);
    town.sandbox.wait_until(Duration::from_secs(10), |sandbox| sandbox.in_flight() == 0).await.unwrap();
    town.sandbox.clear_calls();
    town.parked(1).await;
    assert_eq!(town.sandbox.count(Route::Profile), 0, "a third try would be a third end");
    assert_eq!(town.service.output.syncs_of("kari")[0]["reason"], "poison");

    town.sync("kari").await;
    assert_eq!(town.contact("kari@example.com").list_status(LIST), Some("a"));
}
