//! Two services on one Postgres database: they share the work, and one takes over what the other leaves behind.

use std::io::Write;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::json;
use sesamy_mailmojo::sandbox::{Route, contract, user};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::town::{LIST, PATIENCE, Service, Town};

const VARIABLE: &str = "TEST_POSTGRES_URL";

/// A schema for one story, which goes away with it.
struct Schema {
    server: String,
    name: String,
}

impl Schema {
    /// None where the environment names no server: said once, and a failure in CI.
    async fn new() -> Option<Self> {
        static TOLD: Once = Once::new();
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let Some(server) = std::env::var(VARIABLE).ok().filter(|url| !url.is_empty()) else {
            assert!(std::env::var_os("CI").is_none(), "{VARIABLE} has to name a Postgres server in CI");
            TOLD.call_once(|| {
                // Straight to the stream, which the test harness does not keep back.
                let _ = writeln!(
                    std::io::stderr(),
                    "left out: the stories of `replicas`; to run them, set \
                     {VARIABLE}=postgres://user:password@host/database"
                );
            });
            return None;
        };
        let name = format!("town_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        sql(&server, &format!("CREATE SCHEMA {name}")).await;
        Some(Self { server, name })
    }

    fn url(&self) -> String {
        let mark = if self.server.contains('?') { '&' } else { '?' };
        format!("{}{mark}options=-c%20search_path%3D{}", self.server, self.name)
    }
}

impl Drop for Schema {
    fn drop(&mut self) {
        let (server, drop) = (self.server.clone(), format!("DROP SCHEMA {} CASCADE", self.name));
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(sql(&server, &drop));
        });
        dropped.join().unwrap();
    }
}

async fn sql(server: &str, sql: &str) {
    let mut connection = PgConnection::connect(server).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn two_services_on_one_database_share_the_work_and_sync_nobody_twice_at_once() {
    const USERS: usize = 40;
    let Some(schema) = Schema::new().await else { return };
    let town = Town::before_start(&[("QUEUE__URL", &schema.url())], |sandbox| {
        for n in 0..USERS {
            let email = format!("u{n}@example.com");
            sandbox.sesamy.put_user(user(&format!("u{n}")).email(&email).contract(contract("c1")));
        }
    })
    .await;
    let other = Service::start(town.settings()).await;
    for n in 0..USERS {
        // Each hears of each user: it is one sync or two, and never two at once, which the sandbox would tell.
        for service in [&town.service, &other] {
            let event = json!({"eventType": "userVendor.1#update", "vendorId": "vendor_1", "userId": format!("u{n}")});
            assert_eq!(service.post(&event).await, StatusCode::ACCEPTED);
        }
    }
    let all = |sandbox: &sesamy_mailmojo::sandbox::Sandbox| {
        (0..USERS).all(|n| {
            let contact = sandbox.mailmojo.contact(&format!("u{n}@example.com"));
            contact.is_some_and(|contact| contact.tags == ["sesamy_active_subscriber"])
        })
    };
    town.sandbox.wait_until(PATIENCE, all).await.unwrap();
    let worked = |service: &Service| {
        let lines = service.output.lines();
        lines.iter().filter(|line| line["outcome"] == "created").count()
    };
    // A contact is there a moment before the line that tells of it.
    let told = tokio::time::timeout(PATIENCE, async {
        while worked(&town.service) + worked(&other) < USERS {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    told.await.expect("each of them is told once, by one or the other");
    assert_eq!(worked(&town.service) + worked(&other), USERS);
    drop(other);
    drop(town);
}

#[tokio::test]
async fn what_a_killed_service_leaves_behind_is_taken_over_when_its_lease_ends() {
    let Some(schema) = Schema::new().await else { return };
    let short = [
        ("QUEUE__URL", schema.url()),
        ("SYNC__REQUEST_TIMEOUT", "500ms".to_owned()),
        ("SYNC__DEADLINE", "1s".to_owned()),
    ];
    let short: Vec<_> = short.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut town = Town::with(&short).await;
    town.sandbox.sesamy.put_user(user("kari").email("kari@example.com").contract(contract("c1")));
    let gate = town.sandbox.sesamy.hold(Route::Profile);
    assert_eq!(town.event("userVendor.1#update", "kari").await, StatusCode::ACCEPTED);
    gate.arrived().await;
    let other = Service::start(town.settings()).await;
    town.service.kill().await;
    town.sandbox.wait_until(Duration::from_secs(10), |sandbox| sandbox.in_flight() == 0).await.unwrap();
    drop(gate);
    let sync = other.output.wait_for("the end of a sync", |line| line["outcome"] == "created").await;
    assert_eq!((&sync["user_id"], &sync["attempt"]), (&json!("kari"), &json!(2)), "the kill is an attempt");
    assert_eq!(town.contact("kari@example.com").list_status(LIST), Some("a"));
    drop(other);
    drop(town);
}
