//! A part of the service panics: the whole process ends, loudly, so that whatever runs it starts it again. A service that goes
//! on without one of its parts looks well, and is not.
#![cfg(target_os = "linux")]

use serde_json::Value;

use crate::shell::{changed, preload};
use crate::town::{Service, Town, command};
use crate::trouble::{address, events, lines_at, people};

#[tokio::test]
async fn a_thread_of_the_queue_that_panics_ends_the_process() {
    for thread in ["queue-keeper", "queue-writer"] {
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
        // The thread has something to do now. Whether this event is kept is another story.
        let _ = town.event("userVendor.1#update", "ola").await;
        assert_eq!(town.service.ended().await.code(), Some(1), "{thread}");
        assert!(!failing.exists(), "{thread} did not look at a clock");
        let errors = lines_at(&town, "ERROR");
        let said = |text: &str| {
            errors.iter().any(|line: &Value| line["message"].as_str().is_some_and(|it| it.contains(text)))
        };
        assert!(said("a panic") && said("has ended by itself; the log tells why"), "{thread}: {errors:?}");

        town.restart(&[]).await;
        events(&town, &["ola"]).await;
        town.settled().await;
        town.contact(&address("ola"));
    }
}
