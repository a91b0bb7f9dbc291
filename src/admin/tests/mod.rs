//! The page and the API over a real socket, in raw bytes, on a desk that only notes what it is told to do.

mod api;
mod desk;
mod forms;
mod login;
mod look;
mod pages;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use secrecy::SecretString;

use self::desk::{Drawer, NOW};
use super::Office;
use crate::clock::Clock;
use crate::config::{InForce, Value};
use crate::server::Limits;
use crate::server::tests::client::{Answer, Server};

const TOKEN: &str = "an-admin-token-of-some-length";
const OTHER_TOKEN: &str = "another-admin-token-of-length";

/// An operations page, its clock, and what it was told to do.
struct Stage {
    server: Server,
    clock: Clock,
    desk: Arc<Drawer>,
}

impl Stage {
    async fn start() -> Self {
        Self::with(&[TOKEN, OTHER_TOKEN], false).await
    }

    async fn with(tokens: &[&str], beyond_loopback: bool) -> Self {
        let (desk, clock) = (Arc::new(Drawer::default()), Clock::manual(NOW));
        let tokens: Vec<_> = tokens.iter().map(|token| SecretString::from(*token)).collect();
        let shown =
            |name: &str, value| InForce { name: name.into(), value, origin: Some("in the defaults".into()) };
        let in_force = vec![
            shown("server.listen", Value::Shown("0.0.0.0:8080".into())),
            shown("admin.tokens", Value::Hidden(2)),
        ];
        let office = Office::new(desk.clone(), &tokens, beyond_loopback, clock.clone(), in_force);
        let metrics =
            Router::new().route("/metrics", axum::routing::get(|| async { "sesamy_mailmojo_up 1\n" }));
        let server = Server::start(super::router(office, metrics), Limits::default()).await;
        Self { server, clock, desk }
    }

    /// Gets a path with these header lines.
    async fn get(&self, path: &str, headers: &str) -> Answer {
        self.server.ask(&format!("GET {path} HTTP/1.1\r\nHost: ops.example.com\r\n{headers}\r\n")).await
    }

    /// Posts a body with these header lines.
    async fn post(&self, path: &str, headers: &str, body: &str) -> Answer {
        let length = body.len();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: ops.example.com\r\nContent-Length: {length}\r\n{headers}\r\n"
        );
        self.server.ask(&format!("{head}{body}")).await
    }

    /// Calls the API with the right token.
    async fn api(&self, method_and_path: &str, body: &str) -> Answer {
        let (length, bearer) = (body.len(), bearer(TOKEN));
        let (method, path) = method_and_path.split_once(' ').unwrap();
        let head = format!(
            "{method} /admin/api/{path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n{bearer}\r\n"
        );
        self.server.ask(&format!("{head}{body}")).await
    }

    /// Logs in; the line of the cookie, to be sent along.
    async fn login(&self, token: &str) -> String {
        let answer = self.post("/admin/login", "", &format!("token={token}")).await;
        assert_eq!(answer.status, 303, "{answer:?}");
        format!("Cookie: {}\r\n", answer.header("set-cookie").unwrap().split(';').next().unwrap())
    }

    /// The form's token of a page that this session sees.
    async fn form_token(&self, cookie: &str) -> String {
        let page = self.get("/admin", cookie).await;
        assert_eq!(page.status, 200, "{page:?}");
        page.body.split("name=\"form\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
    }

    fn passes(&self, time: Duration) {
        self.clock.advance(time);
    }
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

/// Whether it is a whole problem document; its detail.
#[track_caller]
fn problem(answer: &Answer, status: u16, kind: &str) -> String {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{answer:?}");
    let document = answer.json();
    assert_eq!(document["type"], format!("urn:sesamy-mailmojo:problem:{kind}"));
    document["detail"].as_str().unwrap().to_owned()
}
