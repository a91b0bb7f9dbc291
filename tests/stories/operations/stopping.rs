//! A stop is noticed by load balancers, finishes what is in hand, and leaves the rest to the next process.

use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use reqwest::StatusCode;
use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};
use sesamy_mailmojo::sandbox::{Route, contact, contract, user};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::harness::{LIST, Output, PATIENCE, TOKEN, Town, command, http};

const EVENT: &str = "userVendor.1#update";
/// Docker kills ten seconds after SIGTERM.
const BEFORE_DOCKER_KILLS: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_stopping_service_says_so_at_once_keeps_accepting_for_a_while_and_finishes_requests() {
    let mut town = Town::start().await;
    town.sandbox.sesamy.put_user(user("kari").email("kari@example.com"));
    town.sandbox.sesamy.put_user(user("ola").email("ola@example.com"));
    let (address, output) = (town.service.address, town.service.output.clone());
    let (status, ready) = town.service.get("/readyz").await;
    assert_eq!((status, &ready["status"]), (StatusCode::OK, &json!("ok")));

    let began = Instant::now();
    town.service.terminate();
    stopping(&output).await;
    let slow = half_an_event(address, "ola").await;
    let answer = http().get(town.service.url("/readyz")).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.json::<Value>().await.unwrap()["status"], "draining");
    assert_eq!(town.service.get("/healthz").await.0, StatusCode::OK);
    assert_eq!(town.event(EVENT, "kari").await, StatusCode::ACCEPTED);

    while TcpStream::connect(address).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(began.elapsed() > Duration::from_secs(1), "closed before load balancers could notice");
    assert!(finish(slow).await.starts_with("HTTP/1.1 202 "), "a request in flight is finished");
    assert_eq!(town.service.ended().await.code(), Some(0));
    assert!(began.elapsed() < BEFORE_DOCKER_KILLS);
    assert_eq!(town.sandbox.count(Route::Profile), 0, "nothing new is begun while stopping");

    // What was accepted by then is done by the next one.
    town.restart(&[]).await;
    town.settled().await;
    town.contact("kari@example.com");
    town.contact("ola@example.com");
}

#[tokio::test]
async fn an_idle_service_stops_with_exit_code_0_and_leaves_one_whole_file() {
    let mut town = Town::start().await;
    town.sandbox.sesamy.put_user(user("kari").email("kari@example.com"));
    town.sync("kari").await;
    let began = Instant::now();
    town.service.terminate();
    assert_eq!(town.service.ended().await.code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(6), "nothing was in hand to wait for");
    town.service.output.wait_for("its end", |line| starts(line, "stopped")).await;

    let log = town.folder.path().join("queue.db-wal");
    assert!(std::fs::metadata(log).map_or(0, |log| log.len()) == 0, "the database's log is in the database");
    assert_eq!(town.query("SELECT count(*) FROM users WHERE due_at IS NULL").unwrap(), 1);
}

#[tokio::test]
async fn sigint_stops_as_sigterm_does_and_running_syncs_may_end() {
    let mut town = Town::start().await;
    town.sandbox.sesamy.put_user(user("kari").email("kari@example.com").contract(contract("c1")));
    town.sandbox.sesamy.put_user(user("ola").email("ola@example.com"));
    let gate = town.sandbox.sesamy.hold_for(Route::Profile, "kari");
    assert_eq!(town.event(EVENT, "kari").await, StatusCode::ACCEPTED);
    gate.arrived().await;

    kill_process(town.service.pid(), Signal::INT).unwrap();
    stopping(&town.service.output).await;
    // An event for the sync that is running, and one for somebody else: both are for the next process.
    town.sandbox.sesamy.set_field("kari", "tags", json!(["late"]));
    for user in ["kari", "ola"] {
        assert_eq!(town.event(EVENT, user).await, StatusCode::ACCEPTED);
    }
    gate.release();
    assert_eq!(town.service.ended().await.code(), Some(0));

    let syncs = town.service.output.syncs_of("kari");
    assert_eq!(syncs.len(), 1);
    assert_eq!(syncs[0]["outcome"], "created");
    assert_eq!(town.sandbox.count(Route::Profile), 1);
    assert_eq!(town.query("SELECT count(*) FROM users WHERE due_at IS NOT NULL").unwrap(), 2);
    assert_eq!(town.query("SELECT count(*) FROM users WHERE lease IS NOT NULL").unwrap(), 0);
    town.restart(&[]).await;
    town.settled().await;
    assert_eq!(town.contact("kari@example.com").tags, ["sesamy_active_subscriber", "sesamy_tag_late"]);
    town.contact("ola@example.com");
}

#[tokio::test]
async fn a_sync_that_hangs_is_cut_off_in_time_and_one_cut_off_in_a_write_keeps_its_lease_for_a_while() {
    const REQUEST_TIMEOUT: i64 = 60_000;
    let mut town = Town::with(&[("SYNC__REQUEST_TIMEOUT", "60s"), ("SYNC__DEADLINE", "5m")]).await;
    let names = ["reads", "creates", "patches"];
    let [_, _, patches] = names.map(email);
    for name in names {
        town.sandbox.sesamy.put_user(user(name).email(&email(name)).contract(contract("c1")));
    }
    town.sandbox.mailmojo.put_contact(contact(&patches).tags(["vip"]).on_list(LIST));
    let gates = [
        town.sandbox.sesamy.hold_for(Route::Profile, "reads"),
        town.sandbox.mailmojo.hold(Route::Subscribe),
        town.sandbox.mailmojo.hold(Route::ContactPatch),
    ];
    for name in names {
        assert_eq!(town.event(EVENT, name).await, StatusCode::ACCEPTED);
    }
    for gate in &gates {
        gate.arrived().await;
    }

    let began = Instant::now();
    town.service.terminate();
    assert_eq!(town.service.ended().await.code(), Some(0));
    let took = began.elapsed();
    assert!(took > Duration::from_secs(7), "the syncs had no time to end: {took:?}");
    assert!(took < BEFORE_DOCKER_KILLS, "{took:?}");
    let ended = now();

    let due = |town: &Town, name: &str, held: &str| {
        town.query(&format!("SELECT due_at FROM users WHERE user_id = '{name}' AND lease IS {held}"))
    };
    let at = due(&town, "reads", "NULL").expect("its lease is released");
    assert!(at <= ended, "due in {} ms", at - ended);
    for name in ["creates", "patches"] {
        let until = due(&town, name, "NOT NULL").expect("it keeps its lease");
        let left = until - ended;
        assert!((REQUEST_TIMEOUT - 3_000..=REQUEST_TIMEOUT).contains(&left), "{name} has {left} ms left");
    }

    drop(gates);
    town.restart(&[("SYNC__REQUEST_TIMEOUT", "500ms"), ("SYNC__DEADLINE", "20s")]).await;
    town.settled().await;
    for name in names {
        let tags = town.contact(&email(name)).tags;
        assert!(tags.contains(&"sesamy_active_subscriber".to_owned()), "{name}: {tags:?}");
    }
    assert_eq!(town.service.output.syncs_of("reads")[0]["attempt"], 1, "being stopped is nobody's fault");
}

#[tokio::test]
async fn a_second_signal_ends_at_once_and_loses_nothing() {
    let mut town = Town::with(&[("SYNC__REQUEST_TIMEOUT", "60s"), ("SYNC__DEADLINE", "5m")]).await;
    town.sandbox.sesamy.put_user(user("kari").email("kari@example.com"));
    let gate = town.sandbox.sesamy.hold(Route::Profile);
    assert_eq!(town.event(EVENT, "kari").await, StatusCode::ACCEPTED);
    gate.arrived().await;

    town.service.terminate();
    stopping(&town.service.output).await;
    let began = Instant::now();
    town.service.terminate();
    town.service.ended().await;
    assert!(began.elapsed() < Duration::from_secs(5), "it waited for the sync");
    drop(gate);

    town.restart(&[("SYNC__REQUEST_TIMEOUT", "500ms"), ("SYNC__DEADLINE", "20s")]).await;
    town.settled().await;
    town.contact("kari@example.com");
}

#[tokio::test]
async fn a_signal_while_the_queue_is_being_opened_ends_at_once_with_exit_code_0() {
    let mut town = Town::start().await;
    town.service.kill().await;
    let lock = town.folder.path().join("queue.db.lock");
    std::fs::remove_file(&lock).unwrap();
    // The service waits two seconds for somebody else's transaction, and then ends with exit code 1.
    let queue = rusqlite::Connection::open(town.queue_file()).unwrap();
    queue.execute_batch("BEGIN IMMEDIATE").unwrap();

    let mut child = command().envs(town.settings()).spawn().unwrap();
    while !lock.exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let id = child.id().unwrap().try_into().unwrap();
    kill_process(rustix::process::Pid::from_raw(id).unwrap(), Signal::TERM).unwrap();
    let ended = tokio::time::timeout(PATIENCE, child.wait()).await.expect("it does not end").unwrap();
    assert_eq!(ended.code(), Some(0));
}

fn email(name: &str) -> String {
    format!("{name}@example.com")
}

fn starts(line: &Value, with: &str) -> bool {
    line["message"].as_str().is_some_and(|message| message.starts_with(with))
}

/// Waits until the service tells that it has begun to stop.
async fn stopping(output: &Output) {
    output.wait_for("that it stops", |line| starts(line, "stopping: ")).await;
}

/// The first half of a request with an event of `user`, and what is still to be sent.
async fn half_an_event(address: SocketAddr, user: &str) -> (TcpStream, String) {
    let mut body = json!({"eventType": EVENT, "userId": user}).to_string();
    let rest = body.split_off(body.len() / 2);
    let length = body.len() + rest.len();
    let request = format!(
        "POST /webhooks/sesamy HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {TOKEN}\r\n\
         Content-Length: {length}\r\nExpect: 100-continue\r\n\r\n"
    );
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut told = [0; 25];
    // The service wants the body: it has taken the request in hand.
    tokio::time::timeout(PATIENCE, stream.read_exact(&mut told)).await.unwrap().unwrap();
    assert_eq!(&told, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(body.as_bytes()).await.unwrap();
    (stream, rest)
}

/// Sends the rest of a request; all of the answer.
async fn finish((mut stream, rest): (TcpStream, String)) -> String {
    stream.write_all(rest.as_bytes()).await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    answer
}

/// Milliseconds since 1970.
fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis().try_into().unwrap()
}
