//! What is logged, and what never is.

use std::sync::{Arc, Mutex};

use tracing::Dispatch;
use tracing::subscriber::NoSubscriber;

use super::{EVENT, TOKEN, get, post, server, webhook};

#[tokio::test]
async fn one_line_is_logged_for_each_request_with_nothing_personal() {
    let log = Log::default();
    let writer = log.clone();
    // With a single subscriber, tracing lets a thread without one switch a log line off for all threads; two prevent it.
    let _second = Dispatch::new(NoSubscriber::new());
    let subscriber = tracing_subscriber::fmt().json().with_max_level(tracing::Level::TRACE);
    let _logging = tracing::subscriber::set_default(subscriber.with_writer(move || writer.clone()).finish());
    let server = server().await;
    let secret_path = "/kari@example.com?token=kari";
    let wrong = format!("Authorization: Bearer kari\r\nContent-Length: {}\r\n", EVENT.len());
    for request in [webhook(EVENT), webhook("{kari"), post(&wrong, EVENT), get(secret_path), get("/healthz")]
    {
        server.ask(&request).await;
    }
    let lines = log.requests();
    let told: Vec<_> =
        lines.iter().map(|line| (line["level"].as_str(), line["fields"]["result"].as_str())).collect();
    assert_eq!(
        told,
        [
            (Some("ERROR"), Some("unavailable")),
            (Some("WARN"), Some("invalid")),
            (Some("WARN"), Some("unauthorized")),
            (Some("WARN"), Some("not_found")),
            (Some("DEBUG"), Some("ok")),
        ]
    );
    assert_eq!(lines[0]["fields"]["event_type"], "contract.1#purchased");
    assert!(lines[0]["fields"]["user_id"].as_str().unwrap().starts_with("sha256:"), "{}", lines[0]);
    assert_eq!(lines[0]["fields"]["path"], "/webhooks/sesamy");
    assert_eq!(lines[3]["fields"]["path"], "unknown");
    assert!(!log.text().contains("kari") && !log.text().contains(TOKEN), "{}", log.text());
}

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    fn requests(&self) -> Vec<serde_json::Value> {
        let lines = self.text();
        let all = lines.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        all.filter(|line| line["fields"]["message"] == "request").collect()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
