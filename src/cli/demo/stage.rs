//! What the story is played on: the sandbox, the service, and somebody who sends events and reads contacts.

use std::time::{Duration, Instant};

use reqwest::header::AUTHORIZATION;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::DemoError;
use crate::cli::service::Service;
use crate::config::Settings;
use crate::sandbox::{Mailmojo, Sandbox, Sesamy};
use crate::upstream::{encoded, http_client};

/// The bearer token that the demo's Sesamy sends.
pub(super) const WEBHOOK_TOKEN: &str = "demo-webhook-token";
/// The secret that the demo's events may be signed with.
pub(super) const WEBHOOK_SECRET: &str = "demo-webhook-secret";

/// Longer than any chapter needs; beyond it something hangs.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) struct Stage {
    pub(super) sandbox: Sandbox,
    pub(super) service: Service,
    http: reqwest::Client,
    /// The queue's folder; goes away with the stage.
    _folder: TempDir,
}

impl Stage {
    /// Starts the sandbox, and the service on `port`, with times short enough to watch.
    pub(super) async fn build(port: u16) -> Result<Self, DemoError> {
        let sandbox = Sandbox::start().await?;
        let folder = tempfile::Builder::new().prefix("sesamy-mailmojo-demo-").tempdir()?;
        let settings = Settings::load(None, environment(&sandbox, &folder, port).into_iter())?.settings;
        let service = Service::start(settings).await?;
        let url = url_of(&service);
        let http = http_client(&url, PATIENCE)?;
        Ok(Self { sandbox, service, http, _folder: folder })
    }

    /// The service's own address.
    pub(super) fn url(&self) -> String {
        url_of(&self.service).as_str().trim_end_matches('/').to_owned()
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

/// The settings, as a container would be given them.
fn environment(sandbox: &Sandbox, folder: &TempDir, port: u16) -> Vec<(String, String)> {
    let queue = format!("sqlite://{}", folder.path().join("queue.db").display());
    [
        ("SERVER__LISTEN", format!("127.0.0.1:{port}")),
        ("WEBHOOK__BEARER_TOKENS", WEBHOOK_TOKEN.to_owned()),
        ("WEBHOOK__HMAC_SECRETS", WEBHOOK_SECRET.to_owned()),
        ("SESAMY__API_URL", sandbox.sesamy.url().to_owned()),
        ("SESAMY__TOKEN_URL", sandbox.sesamy.token_url()),
        ("SESAMY__CLIENT_ID", Sesamy::CLIENT_ID.to_owned()),
        ("SESAMY__CLIENT_SECRET", Sesamy::CLIENT_SECRET.to_owned()),
        ("MAILMOJO__API_URL", sandbox.mailmojo.url().to_owned()),
        ("MAILMOJO__API_TOKEN", Mailmojo::FIXED_TOKEN.to_owned()),
        ("MAILMOJO__LIST_ID", Mailmojo::LIST.to_string()),
        ("QUEUE__URL", queue),
        ("SYNC__DEBOUNCE", "300ms".to_owned()),
        ("SYNC__BACKOFF_BASE", "200ms".to_owned()),
        ("SYNC__BACKOFF_CAP", "1s".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}
