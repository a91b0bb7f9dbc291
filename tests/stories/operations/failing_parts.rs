//! A part of the service panics: the whole process ends, loudly, so that whatever runs it starts it again. A service that goes
//! on without one of its parts looks well, and is not.
#![cfg(target_os = "linux")]

use serde_json::{Value, json};

use crate::support::faults::{address, events, people};
use crate::support::harness::{Service, TOKEN, Town, command, http};
use crate::support::shell::{changed, preload};

#[tokio::test]
async fn a_thread_of_the_queue_that_panics_ends_the_process() {
    for thread in ["queue-log", "queue-writer"] {
        let mut town = Town::start().await;
        people(&town, &["kari", "ola"]);
        town.service.kill().await;
        let (library, failing) =
            (preload(town.folder.path(), "failing_thread.c"), town.folder.path().join("failing"));
        let fault =
            [("LD_PRELOAD", library.to_str().unwrap()), ("FAILING_THREAD", failing.to_str().unwrap())];
        town.service = Service::start_by(command(), &changed(town.settings(), &fault)).await;
        town.sync("kari").await;

        std::fs::write(&failing, thread).unwrap();
        // The thread has something to do now. The process may end before it answers; whether it keeps the event is another story.
        let event = json!({"eventType": "userVendor.1#update", "vendorId": "vendor_1", "userId": "ola"});
        let request = http().post(town.service.url("/webhooks/sesamy")).bearer_auth(TOKEN);
        let _ = request.body(event.to_string()).send().await;
        assert_eq!(town.service.ended().await.code(), Some(1), "{thread}");
        assert!(!failing.exists(), "{thread} did not look at a clock");
        // The process has ended, and what it printed last may still be on its way here.
        for text in ["a panic", "has ended by itself; the log has the reason"] {
            let is_it = |line: &Value| {
                line["level"] == "ERROR" && line["message"].as_str().is_some_and(|it| it.contains(text))
            };
            town.service.output.wait_for(&format!("{thread}: {text}"), is_it).await;
        }

        town.restart(&[]).await;
        events(&town, &["ola"]).await;
        town.settled().await;
        town.contact(&address("ola"));
    }
}
