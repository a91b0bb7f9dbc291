//! What the stories of the operations page share: a town that has one, and callers of it in raw bytes.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use sesamy_mailmojo::sandbox::{Fault, Route, Rule, contact, user};

use crate::support::harness::{LIST, PATIENCE, Town};
use crate::support::http::{Answer, Caller};

/// The tokens that open the page.
pub const TOKEN: &str = "an-admin-token-of-some-length";
pub const OTHER_TOKEN: &str = "another-admin-token-of-length";
/// A user whom Mailmojo will not have, as the id stands in a path.
pub const KARI: &str = "email%7Ckari";
/// What is kept of Mailmojo's refusal.
pub const WORDS: &str = "422 (fields phone)";

/// A town with an operations page.
pub struct Office {
    pub town: Town,
    pub page: SocketAddr,
}

impl Office {
    pub async fn open() -> Self {
        Self::with(&[]).await
    }

    pub async fn with(settings: &[(&str, &str)]) -> Self {
        let tokens = format!("{TOKEN},{OTHER_TOKEN}");
        let own = [("ADMIN__LISTEN", "127.0.0.1:0"), ("ADMIN__TOKENS", &tokens), ("SYNC__DEBOUNCE", "0s")];
        let town = Town::with(&[&own[..], settings].concat()).await;
        let page = town.service.page.unwrap();
        Self { town, page }
    }

    /// The same, where Kari is parked and Ola is in step. Whoever retries Kari gets through.
    pub async fn with_somebody_parked() -> Self {
        let office = Self::open().await;
        let (sesamy, mailmojo) = (&office.town.sandbox.sesamy, &office.town.sandbox.mailmojo);
        sesamy.put_user(user("email|kari").email("kari@example.com").tags(["Early bird"]));
        sesamy.put_user(user("email|ola").email("ola@example.com"));
        let kari = contact("kari@example.com").tags(["vip", "sesamy_overdue_contract"]).on_list(LIST);
        mailmojo.put_contact(kari);
        let refusal = Fault::status(422).json(json!({"errors": {"phone": ["is too short"]}}));
        mailmojo.inject(Rule::on(Route::ContactPatch, refusal).times(1));
        for (id, state) in [("email|kari", "parked"), ("email|ola", "idle")] {
            assert_eq!(office.town.event("contract.1#purchased", id).await, 202);
            office.user_is(&id.replace('|', "%7C"), state).await;
        }
        office
    }

    /// Gets a path with these header lines.
    pub async fn get(&self, path: &str, headers: &str) -> Answer {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: ops.example.com\r\n{headers}\r\n")).await
    }

    /// Posts a body with these header lines.
    pub async fn post(&self, path: &str, headers: &str, body: &str) -> Answer {
        let length = body.len();
        let host = "Host: ops.example.com";
        self.ask(&format!(
            "POST {path} HTTP/1.1\r\n{host}\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
        ))
        .await
    }

    /// Calls the API with the right token.
    pub async fn api(&self, method_and_path: &str, body: &str) -> Answer {
        let (method, path) = method_and_path.split_once(' ').unwrap();
        let (length, token) = (body.len(), bearer(TOKEN));
        let head = format!(
            "{method} /admin/api/{path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n{token}\r\n"
        );
        self.ask(&format!("{head}{body}")).await
    }

    async fn ask(&self, request: &str) -> Answer {
        let mut caller = Caller::at(self.page).await;
        caller.send(request).await;
        caller.answer().await
    }

    /// Logs in; the line of the cookie, to be sent along.
    pub async fn login(&self, token: &str) -> String {
        let answer = self.post("/admin/login", "", &format!("token={token}")).await;
        assert_eq!(answer.status, 303, "{answer:?}");
        format!("Cookie: {}\r\n", answer.header("set-cookie").unwrap().split(';').next().unwrap())
    }

    /// The form's token of a page that the session sees.
    pub async fn form_token(&self, cookie: &str) -> String {
        let page = self.get("/admin", cookie).await;
        assert_eq!(page.status, 200, "{page:?}");
        page.body.split("name=\"form\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
    }

    /// What the API tells of a user.
    pub async fn user(&self, id: &str) -> Value {
        self.api(&format!("GET users/{id}"), "").await.json()
    }

    /// Waits until a user is in this state.
    pub async fn user_is(&self, id: &str, state: &str) {
        let waited = tokio::time::timeout(PATIENCE, async {
            while self.user(id).await["state"] != state {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        assert!(waited.await.is_ok(), "{id} is never {state}, but {}", self.user(id).await);
    }

    /// Whether syncs are paused, as the API tells.
    pub async fn is_paused(&self) -> bool {
        !self.api("GET status", "").await.json()["paused_since"].is_null()
    }
}

/// The header that opens the API.
pub fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}
