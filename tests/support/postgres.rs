//! A Postgres server for the stories that need one: each has a database of its own, on the server that
//! `TEST_POSTGRES_URL` names or on one that the story may stop.

use std::io::Write;
use std::process::Stdio;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use reqwest::Url;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::support::harness::PATIENCE;

/// A database that goes away with the story.
pub struct Database {
    url: Url,
    server: Url,
}

impl Database {
    /// A new database. None where there is no server, which is said once; in CI it is a failure.
    pub async fn create() -> Option<Self> {
        let server = server()?.parse().expect("TEST_POSTGRES_URL is no URL");
        Some(Self::on(server).await)
    }

    /// A new database on `server`, the URL of any database there.
    pub async fn on(server: Url) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("story_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let mut url = server.clone();
        url.set_path(&name);
        execute(&server, &format!("CREATE DATABASE {name}")).await;
        Self { url, server }
    }

    /// The value of `queue.url`.
    pub fn url(&self) -> &str {
        self.url.as_str()
    }

    /// The same with parameters.
    pub fn url_with(&self, parameters: &[(&str, &str)]) -> String {
        let mut url = self.url.clone();
        url.query_pairs_mut().extend_pairs(parameters);
        url.into()
    }

    fn name(&self) -> &str {
        self.url.path().trim_start_matches('/')
    }

    /// One number out of this database.
    pub async fn query(&self, sql: &str) -> sqlx::Result<i64> {
        let mut connection = connect(&self.url).await?;
        sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(&mut connection).await
    }

    /// Waits until one number out of this database satisfies `condition`.
    pub async fn wait_for(&self, sql: &str, condition: impl Fn(i64) -> bool) {
        let waited = tokio::time::timeout(PATIENCE, async {
            while !self.query(sql).await.is_ok_and(&condition) {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        });
        if waited.await.is_err() {
            panic!("{sql} is {:?} after {PATIENCE:?}", self.query(sql).await);
        }
    }

    /// Waits until nobody is due, leased or waiting for a retry.
    pub async fn settled(&self) {
        self.wait_for("SELECT count(*) FROM users WHERE due_at IS NOT NULL", |left| left == 0).await;
    }

    /// How many connections there are to this database that are encrypted, or that are not; the asking one aside.
    pub async fn connections(&self, encrypted: bool) -> i64 {
        let of_ours = format!(
            "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
             WHERE ssl = {encrypted} AND datname = '{}' AND pid <> pg_backend_pid()",
            self.name()
        );
        let mut connection = connect(&self.server).await.unwrap();
        sqlx::query_scalar(AssertSqlSafe(of_ours)).fetch_one(&mut connection).await.unwrap()
    }
}

impl Drop for Database {
    /// In a runtime of its own: the story's cannot be waited for here.
    fn drop(&mut self) {
        let (server, drop) = (self.server.clone(), format!("DROP DATABASE {} WITH (FORCE)", self.name()));
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(execute(&server, &drop));
        });
        // A server that the story has stopped takes its databases with it.
        let _ = dropped.join();
    }
}

/// A server of a story's own, which can be stopped and started.
pub struct Server {
    control: String,
    url: Url,
    /// Ends with its standard input, and takes the server with it.
    _process: Child,
}

impl Server {
    /// A new server, from the program that gives one to any command. None where stories on Postgres are left out.
    pub async fn start() -> Option<Self> {
        server()?;
        let mut process = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.ci/postgres"))
            .args(["sh", "-c", r#"echo "$TEST_POSTGRES_URL"; echo "$TEST_POSTGRES_CTL"; cat"#])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut next = async || lines.next_line().await.unwrap().expect("no server was started");
        let (url, control) = (next().await.parse().unwrap(), next().await);
        Some(Self { control, url, _process: process })
    }

    /// A new database on it.
    pub async fn database(&self) -> Database {
        Database::on(self.url.clone()).await
    }

    /// Stops it as an operator does: who is connected is cut off.
    pub async fn stop(&self) {
        self.control("stop -m fast").await;
    }

    /// Starts it again at the same address, and waits until it can be asked.
    pub async fn start_again(&self) {
        self.control("start").await;
    }

    async fn control(&self, what: &str) {
        let control = format!("{} {what}", self.control);
        let done = Command::new("sh").args(["-c", &control]).stdout(Stdio::null()).status().await.unwrap();
        assert!(done.success(), "{control}: {done}");
    }
}

/// The server that the environment names.
fn server() -> Option<String> {
    static TOLD: Once = Once::new();
    let url = std::env::var("TEST_POSTGRES_URL").ok().filter(|url| !url.is_empty());
    if url.is_none() {
        assert!(std::env::var_os("CI").is_none(), "in CI the stories on Postgres need TEST_POSTGRES_URL");
        TOLD.call_once(|| {
            // Straight to the stream, which the test harness does not keep back.
            let _ = writeln!(
                std::io::stderr(),
                "left out: the stories on Postgres (replicas, encrypted); to run them: .ci/postgres cargo test"
            );
        });
    }
    url
}

async fn connect(url: &Url) -> sqlx::Result<PgConnection> {
    url.as_str().parse::<PgConnectOptions>()?.disable_statement_logging().connect().await
}

async fn execute(url: &Url, sql: &str) {
    let mut connection = connect(url).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}
