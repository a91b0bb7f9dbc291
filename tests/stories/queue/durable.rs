//! Durable: a 2xx is a promise, and what cannot be kept is not promised.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rusqlite::Connection;
use sesamy_mailmojo::sandbox::user;

use crate::support::harness::Town;
use crate::support::http::{Caller, ask, bare, event, post, webhook};

#[tokio::test]
async fn what_was_answered_202_is_in_the_file_though_the_process_is_killed_at_once() {
    let mut town = Town::with(&[("SYNC__DEBOUNCE", "1h")]).await;
    let answered: Arc<Mutex<BTreeMap<String, i64>>> = Arc::default();
    let mut callers = Vec::new();
    for number in 0..8 {
        let mut caller = Caller::to(&town.service).await;
        let answered = Arc::clone(&answered);
        callers.push(tokio::spawn(async move {
            let mut sent = 0;
            loop {
                // Some users are all callers', some this one's alone.
                let user =
                    if sent % 2 == 0 { format!("all{}", sent % 10) } else { format!("own{number}.{sent}") };
                sent += 1;
                if !caller.try_send(webhook(event("contract.1#update", &user))).await {
                    return sent;
                }
                match caller.try_answer().await {
                    Some(answer) => answer.is_accepted(),
                    None => return sent,
                }
                *answered.lock().unwrap().entry(user).or_default() += 1;
            }
        }));
    }
    while answered.lock().unwrap().values().sum::<i64>() < 200 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    town.service.kill().await;
    let mut sent = 0;
    for caller in callers {
        sent += caller.await.unwrap();
    }

    let file = Connection::open(town.queue_file()).unwrap();
    let kept = |user: &str| {
        let sql = "SELECT generation FROM users WHERE user_id = ?1 AND due_at IS NOT NULL";
        file.query_row(sql, [user], |row| row.get::<_, i64>(0)).unwrap_or(0)
    };
    for (user, count) in answered.lock().unwrap().iter() {
        assert!(kept(user) >= *count, "{user}: {count} answered, {} kept", kept(user));
    }
    let all: i64 = file.query_row("SELECT sum(generation) FROM users", [], |row| row.get(0)).unwrap();
    assert!(all <= sent, "{all} kept of {sent} sent");
    assert_eq!(file.query_row("PRAGMA integrity_check", [], |row| row.get(0)), Ok("ok".to_owned()));
}

/// A kill cannot show this, for what was written outlives a process; only a machine that loses its power does.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_is_answered_202_was_synced_to_disk_before() {
    use crate::support::harness::{Service, command};
    use crate::support::shell::{changed, preload};

    let mut town = Town::with(&[("SYNC__DEBOUNCE", "1h")]).await;
    town.service.kill().await;
    let (library, list) = (preload(town.folder.path(), "counted_syncs.c"), town.folder.path().join("synced"));
    let counted = [("LD_PRELOAD", library.to_str().unwrap()), ("COUNTED_SYNCS", list.to_str().unwrap())];
    town.service = Service::start_by(command(), &changed(town.settings(), &counted)).await;
    let synced = || {
        let synced = std::fs::read_to_string(&list).unwrap_or_default();
        synced.lines().filter(|path| path.ends_with("/queue.db-wal")).count()
    };
    for number in 0..50 {
        let before = synced();
        assert_eq!(town.event("contract.1#update", &format!("u{number}")).await, 202);
        assert!(synced() > before, "event {number} was answered before it was on disk");
    }
}

/// Somebody else's transaction on the file, an unlucky backup for instance, lasts longer than a sender can wait.
#[tokio::test]
async fn an_event_that_cannot_be_kept_is_answered_503_until_the_file_can_be_written_again() {
    let town = Town::start().await;
    town.sandbox.sesamy.put_user(user("u1").email("kari@example.com"));
    town.sandbox.sesamy.put_user(user("u2").email("ola@example.com"));
    let other = Connection::open(town.queue_file()).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();

    refuses_events_and_tells(&town, 1).await; // a sender waits two seconds for each
    other.execute_batch("ROLLBACK").unwrap();
    takes_events_again(&town).await;
}

/// The file system has no room for another byte.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_full_disk_is_told_and_events_are_taken_again_once_there_is_room() {
    use rustix::process::{Resource, Rlimit, prlimit};

    let mut town = Town::start().await;
    town.sandbox.sesamy.put_user(user("u1").email("kari@example.com"));
    town.sandbox.sesamy.put_user(user("u2").email("ola@example.com"));
    town.service.kill().await;
    // A write past the limit on file sizes fails where the signal that comes with it is ignored; the shell ignores it
    // for whoever comes after it.
    let mut shell = tokio::process::Command::new("/bin/sh");
    shell.args(["-c", r#"trap "" XFSZ; exec "$0""#, env!("CARGO_BIN_EXE_sesamy-mailmojo")]);
    town.service =
        crate::support::harness::Service::start_by(crate::support::harness::alone(shell), town.settings())
            .await;
    assert_eq!(town.event("contract.1#update", "u2").await, 202);
    town.settled().await;

    let limit = |bytes| Rlimit { current: bytes, maximum: None };
    let before = prlimit(Some(town.service.pid()), Resource::Fsize, limit(Some(0))).unwrap();
    refuses_events_and_tells(&town, 5).await;
    prlimit(Some(town.service.pid()), Resource::Fsize, before).unwrap();
    takes_events_again(&town).await;
}

fn is_refusing(line: &serde_json::Value) -> bool {
    line["message"].as_str().is_some_and(|it| it.starts_with("events cannot be kept and are refused"))
}

async fn refuses_events_and_tells(town: &Town, events: usize) {
    for _ in 0..events {
        let answer = ask(&town.service, webhook(event("contract.1#update", "u1"))).await;
        answer.is_problem(503, "queue-unavailable");
        let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=60).contains(&seconds), "{answer:?}");
        // The sender may be answered before the writer has given up: it waits for its turn behind a lease that waits too.
        town.service.output.wait_for("that events cannot be kept", is_refusing).await;
        let ready = ask(&town.service, bare("GET /readyz")).await;
        assert_eq!(ready.status, 503);
        assert_eq!(
            (&ready.json()["status"], &ready.json()["queue"]["accepting"]),
            (&"not_accepting".into(), &false.into())
        );
    }
    // What needs no keeping is answered as ever, and the service is alive: a restart would mend nothing.
    ask(&town.service, webhook(r#"{"eventType":"odd"}"#)).await.is_ignored_for("unknown_event_type");
    ask(&town.service, post("", event("contract.1#update", "u1"))).await.is_problem(401, "unauthorized");
    ask(&town.service, webhook("")).await.is_problem(400, "invalid-event");
    assert_eq!(ask(&town.service, bare("GET /healthz")).await.status, 200);
    let refused = town.service.metrics().await;
    let line = r#"webhook_requests_total{result="unavailable",event_type="contract.1#update"}"#;
    assert!(refused.contains(&format!("{line} {events}\n")), "{refused}");
    assert_eq!(town.query("SELECT count(*) FROM users WHERE user_id = 'u1'"), Ok(0));
}

/// Without an event that would show it: the service tries by itself.
async fn takes_events_again(town: &Town) {
    let again = |line: &serde_json::Value| line["message"] == "events can be kept again";
    town.service.output.wait_for("that it can keep events again", again).await;
    let (status, ready) = town.service.get("/readyz").await;
    assert_eq!((status.as_u16(), &ready["status"]), (200, &"ok".into()));
    // What was refused is not there; what is sent again is, and is synced.
    assert_eq!(town.query("SELECT count(*) FROM users WHERE user_id = 'u1'"), Ok(0));
    town.sync("u1").await;
    town.contact("kari@example.com");
    town.sync("u2").await;
    town.contact("ola@example.com");
}
