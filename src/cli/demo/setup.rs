//! What the story is played on: the sandbox, the service, and somebody who sends events and reads contacts.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use reqwest::header::AUTHORIZATION;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cli::error::DemoError;
use crate::cli::service::Service;
use crate::config;
use crate::sandbox::{Mailmojo, Sandbox, Sesamy};
use crate::upstream::{encoded, http_client};

/// The bearer token that the demo's Sesamy sends.
pub(super) const WEBHOOK_TOKEN: &str = "demo-webhook-token";
/// The secret that the demo's events may be signed with.
pub(super) const WEBHOOK_SECRET: &str = "demo-webhook-secret";

/// What the demo's operations page is opened with.
pub(super) const ADMIN_TOKEN: &str = "demo-admin-token";

/// Longer than any chapter needs; beyond it something hangs.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) struct Stage {
    pub(super) sandbox: Sandbox,
    pub(super) service: Service,
    http: reqwest::Client,
    /// The queue's folder, and the settings'; goes away with the stage.
    folder: TempDir,
}

impl Stage {
    /// Starts the sandbox, and the service on `port`, with times short enough to watch.
    pub(super) async fn build(port: u16) -> Result<Self, DemoError> {
        let sandbox = Sandbox::start().await?;
        let folder = tempfile::Builder::new().prefix("sesamy-mailmojo-demo-").tempdir()?;
        let file = folder.path().join("demo.toml");
        std::fs::write(&file, settings_file(&sandbox, &folder, port))?;
        let settings = config::load(Some(&file), std::iter::empty())?.settings;
        let service = Service::start(settings).await?;
        let url = url_of(&service);
        let http = http_client(&url, PATIENCE)?;
        Ok(Self { sandbox, service, http, folder })
    }

    /// The settings, as a file that other commands can be given.
    pub(super) fn settings_file(&self) -> PathBuf {
        self.folder.path().join("demo.toml")
    }

    /// The service's own address.
    pub(super) fn url(&self) -> String {
        url_of(&self.service).as_str().trim_end_matches('/').to_owned()
    }

    /// The operations page's address.
    pub(super) fn page(&self) -> String {
        self.service.page_address().map_or_else(String::new, |address| format!("http://{address}/admin"))
    }

    /// Sends an event as Sesamy does; 202 is the only answer that the story takes.
    pub(super) async fn send(&self, event_type: &str, user: &str) -> Result<(), DemoError> {
        let event = json!({"eventType": event_type, "vendorId": "vendor_demo", "userId": user,
                           "occured_at": "2026-01-01T12:00:00Z"});
        let answer = self
            .http
            .post(format!("{}/webhooks/sesamy", self.url()))
            .header(AUTHORIZATION, format!("Bearer {WEBHOOK_TOKEN}"))
            .json(&event)
            .send()
            .await?;
        match answer.status().as_u16() {
            202 => Ok(()),
            status => Err(DemoError::NotAccepted(status)),
        }
    }

    /// Waits until the queue has nothing left to do.
    pub(super) async fn settled(&self) -> Result<Duration, DemoError> {
        let began = Instant::now();
        match tokio::time::timeout(PATIENCE, self.service.idle()).await {
            Ok(()) => Ok(began.elapsed()),
            Err(_) => Err(DemoError::NeverIdle(PATIENCE.as_secs())),
        }
    }

    /// The contact once it `is_so`.
    pub(super) async fn contact_when(
        &self,
        email: &str,
        is_so: impl Fn(&Value) -> bool,
    ) -> Result<Option<Value>, DemoError> {
        const LOOK_AGAIN: Duration = Duration::from_millis(100);
        let began = Instant::now();
        loop {
            match self.contact(email).await? {
                Some(contact) if is_so(&contact) => return Ok(Some(contact)),
                _ if began.elapsed() > PATIENCE => return Err(DemoError::NeverIdle(PATIENCE.as_secs())),
                _ => tokio::time::sleep(LOOK_AGAIN).await,
            }
        }
    }

    /// The contact as Mailmojo's API answers it; none where there is none.
    pub(super) async fn contact(&self, email: &str) -> Result<Option<Value>, DemoError> {
        let url = format!("{}/v1/contacts/{}/", self.sandbox.mailmojo.url(), encoded(email));
        let answer = self.http.get(url).bearer_auth(Mailmojo::FIXED_TOKEN).send().await?;
        if answer.status().as_u16() == 404 {
            return Ok(None);
        }
        Ok(Some(answer.error_for_status()?.json().await?))
    }
}

fn url_of(service: &Service) -> reqwest::Url {
    let mut url = reqwest::Url::parse("http://127.0.0.1/").unwrap_or_else(|_| unreachable!("a constant"));
    // An http URL takes any port.
    let _ = url.set_port(Some(service.address().port()));
    url
}

/// The settings, as a file that other commands can be given as well.
fn settings_file(sandbox: &Sandbox, folder: &TempDir, port: u16) -> String {
    let (queue, sesamy, mailmojo) = (folder.path().join("queue.db"), &sandbox.sesamy, &sandbox.mailmojo);
    format!(
        r#"# The demo's settings, good for as long as it runs.
[server]
listen = "127.0.0.1:{port}"

[webhook]
bearer_tokens = ["{WEBHOOK_TOKEN}"]
hmac_secrets = ["{WEBHOOK_SECRET}"]

[sesamy]
api_url = "{}"
token_url = "{}"
client_id = "{}"
client_secret = "{}"

[mailmojo]
api_url = "{}"
api_token = "{}"
list_id = {}

[queue]
url = "sqlite://{}"

[admin]
listen = "127.0.0.1:0"
tokens = ["{ADMIN_TOKEN}"]

[sync]
debounce = "300ms"
backoff_base = "200ms"
backoff_cap = "1s"
"#,
        sesamy.url(),
        sesamy.token_url(),
        Sesamy::CLIENT_ID,
        Sesamy::CLIENT_SECRET,
        mailmojo.url(),
        Mailmojo::FIXED_TOKEN,
        Mailmojo::LIST,
        queue.display(),
    )
}
