//! The sandbox, called by a plain HTTP client that knows nothing of the service.

mod faults;
mod findings;
mod mailmojo;
mod sandbox;
mod sesamy;

use std::sync::Once;
use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};

use super::{FindingKind, Mailmojo, Sandbox, Sesamy};

/// Far longer than anything here takes.
const LIMIT: Duration = Duration::from_secs(20);
const KARI: &str = "kari@example.com";

/// A sandbox and its client.
struct Town {
    sandbox: Sandbox,
    client: Client,
}

fn client() -> Client {
    static PROVIDER: Once = Once::new();
    // Tests of other modules install it too; the first one does it for all.
    PROVIDER.call_once(|| _ = rustls::crypto::ring::default_provider().install_default());
    Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap()
}

impl Town {
    async fn start() -> Self {
        Self { sandbox: Sandbox::start().await.unwrap(), client: client() }
    }

    fn sesamy(&self, path: &str) -> RequestBuilder {
        self.client.get(format!("{}{path}", self.sandbox.sesamy.url())).bearer_auth(Sesamy::FIXED_TOKEN)
    }

    fn mailmojo(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}{path}", self.sandbox.mailmojo.url());
        self.client.request(method, url).bearer_auth(Mailmojo::FIXED_TOKEN)
    }

    async fn reads(&self, email: &str) -> Response {
        self.mailmojo(Method::GET, &format!("/v1/contacts/{email}/")).send().await.unwrap()
    }

    async fn patches(&self, email: &str, body: Value) -> Response {
        self.mailmojo(Method::PATCH, &format!("/v1/contacts/{email}/")).json(&body).send().await.unwrap()
    }

    async fn subscribes(&self, body: Value) -> Response {
        self.mailmojo(Method::POST, "/v1/lists/7/subscribers/").json(&body).send().await.unwrap()
    }

    /// A subscribe as it should be.
    async fn subscribes_kindly(&self, email: &str) -> Response {
        self.subscribes(json!({"email": email, "force_subscribe": false})).await
    }

    fn kinds(&self) -> Vec<FindingKind> {
        self.sandbox.findings().into_iter().map(|finding| finding.kind).collect()
    }
}

async fn json_of(response: Response) -> Value {
    response.json().await.unwrap()
}
