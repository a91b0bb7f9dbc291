//! `demo`: the whole service at work on a machine that has nothing but the binary.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::harness::{Output, PATIENCE, command};
use crate::support::shell::{Ended, Settings, not_tried, run};

const CHAPTERS: [&str; 9] = [
    "A new subscriber",
    "Somebody whom the publisher knows",
    "Somebody who has left",
    "A guest",
    "A purchase's burst",
    "An outage",
    "A cancelled contract",
    "Access that ends by itself",
    "A changed address",
];
const ESCAPE: char = '\u{1b}';

#[tokio::test]
async fn the_demo_needs_nothing_and_tells_a_story_of_contacts_before_and_after() {
    let Ended { code, stdout, stderr } = run(&["demo"], &Settings::new()).await;
    assert_eq!((code, &*stderr), (Some(0), ""), "{stdout}");

    let mut rest = stdout.as_str();
    for chapter in CHAPTERS {
        let at = rest.find(chapter).unwrap_or_else(|| panic!("{chapter} is not in its place in\n{stdout}"));
        rest = &rest[at..];
    }
    for told in [
        "+ sesamy_active_subscriber", // a new subscriber's tag
        "- sesamy_active_sku_old",    // one that no longer holds
        "  vip",                      // the publisher's own
        "unsubscribed",               // somebody who has left stays so
        "no such contact",            // a guest
        "4 events made ",
        "It took 4 tries", // two answers of 503 and a lost write
        "- sesamy_overdue_contract",
        "- sesamy_active_sku_trial", // at its own time
        "  bokklubb",
        "objected to no write",
    ] {
        assert!(stdout.contains(told), "{told} is not in\n{stdout}");
    }
    assert!(!stdout.contains(ESCAPE), "colours in a pipe:\n{stdout}");
}

#[tokio::test]
async fn the_demo_that_is_kept_running_prints_lines_that_work_when_pasted() {
    let mut demo = command().args(["demo", "--keep"]).env("CLICOLOR_FORCE", "1").spawn().unwrap();
    let output = Output::read(demo.stdout.take().unwrap(), demo.stderr.take().unwrap());
    output.wait_for("its last curl line", |line| is_pasted(line) && text(line).ends_with("/metrics")).await;
    let story = output.text();
    assert!(story.contains("\u{1b}[32m+ sesamy_active_subscriber\u{1b}[0m"), "no green:\n{story}");
    assert!(story.contains("\u{1b}[31m- sesamy_active_sku_old\u{1b}[0m"), "no red:\n{story}");

    let lines: Vec<String> = output.lines().iter().filter(|line| is_pasted(line)).map(text).collect();
    if pasted("curl --version && openssl version").await.is_none() {
        not_tried("the printed lines, for there is no curl, or no openssl, on this machine");
    } else {
        the_lines_work(&lines).await;
    }

    kill_process(Pid::from_raw(demo.id().unwrap().try_into().unwrap()).unwrap(), Signal::INT).unwrap();
    let ended = tokio::time::timeout(PATIENCE, demo.wait()).await.expect("the demo does not end").unwrap();
    assert_eq!(ended.code(), Some(0), "{}", output.tail());
}

async fn the_lines_work(lines: &[String]) {
    let [
        bearer,
        signed,
        tag,
        contact,
        preview,
        sync,
        refuse,
        parked,
        mend,
        retry,
        pause,
        resume,
        dry_run,
        backfill,
        contacts,
        findings,
        health,
        ready,
        metrics,
    ] = lines
    else {
        panic!("other lines than expected: {lines:#?}");
    };
    assert!(bearer.contains("Authorization: Bearer") && signed.contains("openssl dgst -sha256"));
    let folder = tempfile::tempdir().unwrap();
    let tells = async |line: &String, expected: &str| {
        let told = pasted_in(folder.path(), line).await.unwrap_or_else(|| panic!("{line} failed"));
        assert!(told.contains(expected), "{line}\n{told}");
    };
    let comes_to_tell = async |line: &String, expected: &str| {
        let told = async {
            while !pasted(line).await.unwrap_or_default().contains(expected) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, told)
            .await
            .unwrap_or_else(|_| panic!("{line} never tells {expected}"));
    };
    tells(findings, "[]").await; // before anything is done by hand beside a sync
    tells(tag, "Early bird").await;
    tells(preview, "sesamy_tag_early-bird").await;
    tells(bearer, "202 Accepted").await;
    tells(signed, "202 Accepted").await;
    comes_to_tell(contact, "sesamy_tag_early-bird").await;
    tells(sync, "unchanged").await;

    tells(refuse, "422").await;
    tells(bearer, "202 Accepted").await;
    comes_to_tell(parked, "was answered 422").await;
    tells(mend, "").await;
    tells(retry, "1 user").await;
    comes_to_tell(parked, "nobody").await;

    tells(pause, "paused").await;
    tells(resume, "syncing").await;
    tells(dry_run, "").await;
    tells(backfill, "").await;

    tells(contacts, "ola@example.com").await;
    tells(health, r#"{"status":"ok"}"#).await;
    tells(ready, r#""status":"ok""#).await;
    tells(metrics, "sesamy_mailmojo_webhook_requests_total").await;
}

/// Whether it is a line to paste into a shell.
fn is_pasted(line: &Value) -> bool {
    let text = text(line);
    text.starts_with("  curl ") || text.starts_with("  body=") || text.contains("sesamy-mailmojo --config ")
}

fn text(line: &Value) -> String {
    line.as_str().unwrap_or_default().to_owned()
}

/// What a shell prints when `line` is pasted into it; none where it fails.
async fn pasted(line: &str) -> Option<String> {
    pasted_in(&std::env::temp_dir(), line).await
}

async fn pasted_in(folder: &Path, line: &str) -> Option<String> {
    let mut shell = tokio::process::Command::new("sh");
    shell
        .args(["-c", line])
        .current_dir(folder)
        .stdin(Stdio::null())
        .env_remove("http_proxy")
        .env("no_proxy", "*");
    let ended = shell.output().await.ok()?;
    ended.status.success().then(|| String::from_utf8_lossy(&ended.stdout).into_owned())
}
