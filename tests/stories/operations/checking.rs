//! `check` and `healthcheck`: what an operator asks before and while the service runs.

use std::time::{Duration, Instant};

use reqwest::StatusCode;
use rustix::process::{Signal, kill_process};
use serde_json::Value;
use sesamy_mailmojo::sandbox::Mailmojo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::support::harness::Town;
use crate::support::shell::{Settings, changed, run};

/// What no output may ever have in it.
const SECRETS: [&str; 4] = ["canary-", "sandbox-sesamy-secret", Mailmojo::FIXED_TOKEN, "story-webhook"];

#[tokio::test]
async fn check_tells_what_is_good_to_people_and_to_programs_and_writes_nothing() {
    let town = Town::start().await;
    town.sandbox.clear_calls();
    let list = town.sandbox.mailmojo.clone();
    list.put_list(Mailmojo::LIST, "Nyhetsbrevet");

    let people = run(&["check"], town.settings()).await;
    assert_eq!(people.code, Some(0), "{people:?}");
    assert!(people.stdout.contains("“Nyhetsbrevet”"), "{}", people.stdout);
    assert!(people.stdout.lines().all(|line| line.starts_with("ok ")), "{}", people.stdout);
    assert!(!people.stdout.contains('\u{1b}'), "colours in a pipe");

    let programs = run(&["check", "--json"], town.settings()).await;
    assert_eq!(programs.code, Some(0));
    let answer: Value = serde_json::from_str(&programs.stdout).unwrap();
    assert_eq!(answer["ok"], true);
    assert_eq!(whats(&answer, true), ["settings", "sesamy", "mailmojo", "mailmojo", "mailmojo"]);

    assert_eq!(town.sandbox.writes(), 0);
    // It has nothing to do with the queue: a service that runs is not in its way, as the lines above show, and none
    // is made where there is no service.
    let elsewhere = town.folder.path().join("elsewhere.db");
    let settings = changed(town.settings(), &[("QUEUE__URL", &format!("sqlite://{}", elsewhere.display()))]);
    assert_eq!(run(&["check"], &settings).await.code, Some(0));
    assert!(!elsewhere.exists());
    for output in [people.stdout, people.stderr, programs.stdout, programs.stderr] {
        assert!(SECRETS.iter().all(|secret| !output.contains(secret)), "{output}");
    }
}

#[tokio::test]
async fn check_tells_what_is_wrong_with_exit_code_1_and_no_secret() {
    let town = Town::start().await;
    town.sandbox.mailmojo.accept_token("canary-without-contacts", &["subscribe"]);
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let unreachable = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);

    for (change, at_fault, told) in [
        (("SESAMY__CLIENT_SECRET", "canary-secret"), "sesamy", "the token endpoint answered 401"),
        (("MAILMOJO__API_TOKEN", "canary-token"), "mailmojo", "401"),
        (("MAILMOJO__API_TOKEN", "canary-without-contacts"), "mailmojo", "403"),
        (("MAILMOJO__LIST_ID", "4711"), "mailmojo", "there is no list 4711"),
        (("MAILMOJO__API_URL", &unreachable), "mailmojo", "cannot connect"),
        (("SESAMY__API_URL", &unreachable), "sesamy", "cannot connect"),
        (("SESAMY__TOKEN_URL", &unreachable), "sesamy", "cannot connect"),
    ] {
        let settings = changed(town.settings(), &[change]);
        let ended = run(&["check", "--json"], &settings).await;
        assert_eq!(ended.code, Some(1), "{change:?}: {ended:?}");
        let answer: Value = serde_json::from_str(&ended.stdout).unwrap();
        assert_eq!(answer["ok"], false);
        let (good, bad) = (whats(&answer, true), whats(&answer, false));
        assert!(!bad.is_empty() && bad.iter().all(|what| what == at_fault), "{change:?}: {answer:#}");
        let other = if at_fault == "sesamy" { "mailmojo" } else { "sesamy" };
        assert!(good.contains(&other.to_owned()), "{change:?}: one API's fault hides the other: {answer:#}");
        let details = answer["checks"].to_string();
        assert!(details.contains(told), "{change:?}: {answer:#}");
        assert!(SECRETS.iter().all(|secret| !format!("{ended:?}").contains(secret)), "{ended:?}");
    }

    let settings = changed(town.settings(), &[("MAILMOJO__LIST_ID", "4711")]);
    let people = run(&["check"], &settings).await;
    assert_eq!(people.code, Some(1));
    assert!(
        people.stdout.contains("failed") && people.stdout.contains("there is no list 4711"),
        "{people:?}"
    );
}

#[tokio::test]
async fn healthcheck_tells_a_healthy_service_from_one_that_is_stalled_stopped_or_ill() {
    let mut town = Town::start().await;
    // It has no use for secrets, and must work where they are out of its reach.
    let address = town.service.address;
    let listen = Settings::from([("SERVER__LISTEN".to_owned(), address.to_string())]);
    assert_eq!(run(&["healthcheck"], &listen).await.code, Some(0));
    let port = address.port().to_string();
    let by_port = changed(&Settings::new(), &[("SERVER__LISTEN", "0.0.0.0:1"), ("PORT", &port)]);
    assert_eq!(run(&["healthcheck"], &by_port).await.code, Some(0));

    kill_process(town.service.pid(), Signal::STOP).unwrap();
    let began = Instant::now();
    let stalled = run(&["healthcheck"], &listen).await;
    kill_process(town.service.pid(), Signal::CONT).unwrap();
    assert_eq!(stalled.code, Some(1), "{stalled:?}");
    assert!(stalled.stderr.contains("did not answer"), "{stalled:?}");
    assert!(began.elapsed() < Duration::from_secs(20), "it hangs with the service");
    assert_eq!(town.service.get("/healthz").await.0, StatusCode::OK);

    town.service.kill().await;
    let stopped = run(&["healthcheck"], &listen).await;
    assert_eq!(stopped.code, Some(1), "{stopped:?}");
    assert!(stopped.stderr.contains("is the service running"), "{stopped:?}");

    let ill = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listen = Settings::from([("SERVER__LISTEN".to_owned(), ill.local_addr().unwrap().to_string())]);
    let answering = tokio::spawn(async move {
        let (mut stream, _) = ill.accept().await.unwrap();
        let _ = stream.read(&mut [0; 1024]).await.unwrap();
        stream.write_all(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    });
    let ended = run(&["healthcheck"], &listen).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("answered 503"), "{ended:?}");
    answering.await.unwrap();
}

/// What was checked, and found to be `ok` or not.
fn whats(answer: &Value, ok: bool) -> Vec<String> {
    let checks = answer["checks"].as_array().unwrap().iter().filter(|check| check["ok"] == ok);
    checks.map(|check| check["what"].as_str().unwrap().to_owned()).collect()
}
