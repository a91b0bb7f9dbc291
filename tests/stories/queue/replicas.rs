//! Replicas: several services on one Postgres are one service. No user is synced by two of them at once, what one cannot
//! finish another does, and a database that goes away and comes back costs nothing that was accepted.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::json;
use sesamy_mailmojo::sandbox::{Fault, Route, Rule, Sandbox, contact, contract, user};

use crate::support::harness::{LIST, PATIENCE, Service, TOKEN, Town, http};
use crate::support::postgres::{Database, Server};
use crate::support::shell::run;

const EVENT: &str = "userVendor.1#update";
const AT_ONCE: (&str, &str) = ("SYNC__DEBOUNCE", "5ms");
const TAG: &str = "sesamy_active_subscriber";

fn email(id: &str) -> String {
    format!("{id}@example.com")
}

/// Somebody with a subscription, whose contact has a tag of its own.
fn subscriber(sandbox: &Sandbox, id: &str) {
    sandbox.sesamy.put_user(user(id).email(&email(id)).contract(contract("c1")));
    sandbox.mailmojo.put_contact(contact(&email(id)).tags(["vip"]).on_list(LIST));
}

async fn on(database: &Database, settings: &[(&str, &str)]) -> Town {
    Town::with(&[&[("QUEUE__URL", database.url())], settings].concat()).await
}

/// Sends an event to this replica; it must be accepted.
async fn event(service: &Service, id: &str) {
    assert_eq!(service.post(&json!({"eventType": EVENT, "userId": id})).await, StatusCode::ACCEPTED);
}

/// How many syncs a replica has told of.
fn syncs(service: &Service) -> usize {
    service.output.lines().iter().filter(|line| line["outcome"].is_string()).count()
}

/// Nobody is left parked, leased or due.
async fn nothing_is_left(database: &Database) {
    database.settled().await;
    let stuck = "SELECT count(*) FROM users WHERE parked_at IS NOT NULL OR lease IS NOT NULL";
    assert_eq!(database.query(stuck).await.unwrap(), 0);
}

/// Many users' events, sent to any replica as a balancer does: what one refuses goes to another.
struct Load {
    accepted: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<Sent>>,
}

#[derive(Default)]
struct Sent {
    accepted: BTreeSet<String>,
    refused: BTreeSet<u16>,
}

impl Load {
    const SENDERS: usize = 4;
    const PAUSE: Duration = Duration::from_millis(20);

    /// Each sender has users of its own and goes on until it is stopped. A replica that is not there is passed over;
    /// an answer that is no 202 is remembered, and must tell when to come again.
    fn on(services: &[&Service], sandbox: &Sandbox) -> Self {
        let urls: Vec<String> = services.iter().map(|service| service.url("/webhooks/sesamy")).collect();
        let (accepted, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let tasks = (0..Self::SENDERS)
            .map(|sender| {
                let (urls, accepted, stop) = (urls.clone(), Arc::clone(&accepted), Arc::clone(&stop));
                let (sesamy, mailmojo) = (sandbox.sesamy.clone(), sandbox.mailmojo.clone());
                tokio::spawn(async move {
                    let (http, mut sent) = (http(), Sent::default());
                    for number in 0.. {
                        if stop.load(Ordering::SeqCst) {
                            break;
                        }
                        let id = format!("load{sender}.{}", number / 2); // everybody's event twice
                        if number % 2 == 0 {
                            sesamy.put_user(user(&id).email(&email(&id)).contract(contract("c1")));
                        }
                        if number % 4 == 0 {
                            mailmojo.put_contact(contact(&email(&id)).tags(["vip"]).on_list(LIST));
                        }
                        let body = json!({"eventType": EVENT, "userId": id}).to_string();
                        let request = http.post(&urls[number % urls.len()]).bearer_auth(TOKEN).body(body);
                        tokio::time::sleep(Self::PAUSE).await;
                        let Ok(answer) = request.send().await else { continue };
                        if answer.status() == StatusCode::ACCEPTED {
                            sent.accepted.insert(id);
                            accepted.fetch_add(1, Ordering::SeqCst);
                        } else {
                            assert!(answer.headers().contains_key("retry-after"), "{answer:?}");
                            sent.refused.insert(answer.status().as_u16());
                        }
                    }
                    sent
                })
            })
            .collect();
        Self { accepted, stop, tasks }
    }

    /// Waits until so many more events have been accepted.
    async fn goes_on_for(&self, events: usize) {
        let until = self.accepted.load(Ordering::SeqCst) + events;
        let waited = tokio::time::timeout(PATIENCE, async {
            while self.accepted.load(Ordering::SeqCst) < until {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
        waited.await.expect("no more events are accepted");
    }

    async fn end(self) -> Sent {
        self.stop.store(true, Ordering::SeqCst);
        let mut all = Sent::default();
        for task in self.tasks {
            let sent = task.await.unwrap();
            all.accepted.extend(sent.accepted);
            all.refused.extend(sent.refused);
        }
        all
    }
}

/// Everybody whose event was accepted is in step.
fn are_in_step(town: &Town, sent: &Sent) {
    for id in &sent.accepted {
        let contact = town.contact(&email(id));
        assert_eq!(contact.sesamy_tags(), [TAG], "{id}");
        assert_eq!(contact.list_status(LIST), Some("a"), "{id}");
    }
}

/// The sandbox objects to two calls for one user at once, and to a write that undoes another.
#[tokio::test]
async fn two_replicas_that_hear_of_the_same_users_never_meet_and_leave_one_right_contact_each() {
    let Some(database) = Database::create().await else { return };
    let town = on(&database, &[AT_ONCE]).await;
    let second = Service::start(town.settings()).await;
    let ids: Vec<String> = (0..30).map(|number| format!("u{number}")).collect();
    ids.iter().for_each(|id| subscriber(&town.sandbox, id));
    // Half of them lose all that they pay for at once, time and again, which the removal guard is not to hold back here.
    let ended = run(&["queue", "resume", "--allow-removals", "1h"], town.settings()).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    // Syncs that take a while are such as could meet.
    town.sandbox.mailmojo.inject(Rule::anywhere(Fault::Delay(Duration::from_millis(15))));
    for round in 0..6 {
        for (number, id) in ids.iter().enumerate() {
            let ends = (round + number) % 2 == 0;
            town.sandbox.sesamy.edit_user(id, |user| {
                let one = if ends { contract("c1").cancelled() } else { contract("c1") };
                user.contracts = vec![one.into()];
            });
            tokio::join!(event(&town.service, id), event(&second, id));
        }
    }
    nothing_is_left(&database).await;
    for (number, id) in ids.iter().enumerate() {
        let wanted: &[&str] = if (5 + number) % 2 == 0 { &[] } else { &[TAG] };
        let contact = town.contact(&email(id));
        assert_eq!((contact.sesamy_tags(), contact.own_tags()), (wanted.to_vec(), vec!["vip"]), "{id}");
    }
    for service in [&town.service, &second] {
        assert!(syncs(service) > 0, "one replica did it all");
    }
    town.sandbox.assert_no_findings();
}

#[tokio::test]
async fn a_replica_killed_in_the_middle_of_a_sync_is_replaced_by_the_other_once_its_lease_ends() {
    let Some(database) = Database::create().await else { return };
    let short = [("SYNC__REQUEST_TIMEOUT", "1s"), ("SYNC__DEADLINE", "3s")];
    let mut town = on(&database, &short).await;
    subscriber(&town.sandbox, "kari");
    let gate = town.sandbox.mailmojo.hold(Route::ContactPatch);
    event(&town.service, "kari").await;
    gate.arrived().await; // the first has it: the second is not there yet
    let second = Service::start(town.settings()).await;
    let until = "SELECT due_at FROM users WHERE user_id = 'kari' AND lease IS NOT NULL";
    let lease_ends = database.query(until).await.unwrap();
    town.service.kill().await;
    town.sandbox.wait_until(PATIENCE, |sandbox| sandbox.in_flight() == 0).await.unwrap();
    drop(gate);

    nothing_is_left(&database).await;
    let now = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint";
    assert!(
        database.query(now).await.unwrap() >= lease_ends,
        "a living replica's lease would be broken so too"
    );
    assert_eq!(town.contact("kari@example.com").tags, ["vip", TAG]);
    let told = |line: &serde_json::Value| line["user_id"] == "kari" && line["outcome"].is_string();
    let sync = second.output.wait_for("a sync of kari", told).await;
    assert_eq!(sync["attempt"], 2, "the kill is an attempt: {sync}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_is_stopped_under_load_loses_nothing_and_hands_its_users_over() {
    let Some(database) = Database::create().await else { return };
    let mut town = on(&database, &[AT_ONCE]).await;
    let second = Service::start(town.settings()).await;
    town.sandbox.mailmojo.inject(Rule::anywhere(Fault::Delay(Duration::from_millis(5))));
    let load = Load::on(&[&town.service, &second], &town.sandbox);
    load.goes_on_for(100).await;
    town.service.terminate();
    assert_eq!(town.service.ended().await.code(), Some(0));
    load.goes_on_for(100).await;
    let sent = load.end().await;
    nothing_is_left(&database).await;
    assert!(sent.refused.is_empty(), "a replica that stops takes events to the last: {:?}", sent.refused);
    are_in_step(&town, &sent);
}

/// By the poll alone, which is every 5 s, ten users one after the other would take far longer. The first has heard of
/// all of them, and looks for none.
#[tokio::test]
async fn an_event_at_a_replica_that_is_busy_wakes_the_other_at_once() {
    let Some(database) = Database::create().await else { return };
    let one_long_sync =
        [("SYNC__CONCURRENCY", "1"), ("SYNC__REQUEST_TIMEOUT", "5m"), ("SYNC__DEADLINE", "10m"), AT_ONCE];
    let town = on(&database, &one_long_sync).await;
    subscriber(&town.sandbox, "slow");
    let gate = town.sandbox.sesamy.hold_for(Route::Profile, "slow");
    event(&town.service, "slow").await;
    gate.arrived().await; // all that the first can do at a time; the second is not there yet
    let second = Service::start(town.settings()).await;
    let began = Instant::now();
    for number in 0..10 {
        let id = format!("u{number}");
        subscriber(&town.sandbox, &id);
        event(&town.service, &id).await;
        let told = |line: &serde_json::Value| line["user_id"] == id && line["outcome"] == "updated";
        second.output.wait_for("the sync", told).await;
    }
    let took = began.elapsed();
    assert!(took < Duration::from_secs(20), "ten syncs took {took:?}");
    drop(gate);
    nothing_is_left(&database).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_database_is_stopped_events_are_answered_503_and_what_was_accepted_is_synced_afterwards() {
    let Some(server) = Server::start().await else { return };
    let database = server.database().await;
    let short = [AT_ONCE, ("SYNC__REQUEST_TIMEOUT", "1s"), ("SYNC__DEADLINE", "4s")];
    let town = on(&database, &short).await;
    let second = Service::start(town.settings()).await;
    let services = [&town.service, &second];
    let load = Load::on(&services, &town.sandbox);
    load.goes_on_for(100).await;

    server.stop().await;
    for service in services {
        let not_ready = async {
            while service.get("/readyz").await.0 != StatusCode::SERVICE_UNAVAILABLE {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, not_ready).await.expect("/readyz tells of nothing");
        assert_eq!(service.get("/healthz").await.0, StatusCode::OK, "a restart would mend nothing");
    }
    server.start_again().await;
    for service in services {
        let again = |line: &serde_json::Value| line["message"] == "events can be kept again";
        service.output.wait_for("that it can keep events again", again).await;
    }
    load.goes_on_for(100).await;
    let sent = load.end().await;
    assert_eq!(sent.refused, BTreeSet::from([503]));
    nothing_is_left(&database).await;
    are_in_step(&town, &sent);
    for service in services {
        assert_eq!(service.get("/readyz").await.0, StatusCode::OK);
    }
}
