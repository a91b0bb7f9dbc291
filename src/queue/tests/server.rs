//! A real Postgres server for the stories, where the environment names one; each story has a schema of its own in it.

use std::io::Write;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use tokio::runtime::Runtime;

use crate::queue::PostgresUrl;

/// Names the server: a URL of a database in which schemas may be made.
const VARIABLE: &str = "TEST_POSTGRES_URL";

/// The server's URL. Where there is none, the stories that need one are left out, which is said once; but not in CI.
fn server() -> Option<String> {
    static TOLD: Once = Once::new();
    let url = std::env::var(VARIABLE).ok().filter(|url| !url.is_empty());
    if url.is_none() {
        assert!(std::env::var_os("CI").is_none(), "{VARIABLE} has to name a Postgres server in CI");
        TOLD.call_once(|| {
            // Straight to the stream, which the test harness does not keep back.
            let _ = writeln!(
                std::io::stderr(),
                "left out: the queue's tests on Postgres (`on_postgres`, `postgres::tests`); to run them, set \
                 {VARIABLE}=postgres://user:password@host/database"
            );
        });
    }
    url
}

/// A schema that nobody else has, and a runtime for what works on it: queues are opened on it from within stories, which
/// have a runtime of their own each. Both go away with it.
pub(in crate::queue) struct Ground {
    pub(in crate::queue) url: PostgresUrl,
    schema: String,
    server: String,
    runtime: Option<Runtime>,
}

impl Ground {
    /// None where there is no server.
    pub(in crate::queue) fn new() -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let server = server()?;
        let schema = format!("story_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let url = PostgresUrl::parse(&within(&server, &schema)).unwrap();
        let ground = Self { url, schema, server, runtime: Some(runtime) };
        ground.sql(&format!("CREATE SCHEMA {}", ground.schema));
        Some(ground)
    }

    /// The URL of this schema by way of another port, such as a proxy's, which can read along.
    pub(in crate::queue) fn url_by(&self, port: u16) -> PostgresUrl {
        let mut url = reqwest::Url::parse(&within(&self.server, &self.schema)).unwrap();
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(port)).unwrap();
        url.query_pairs_mut().append_pair("sslmode", "disable");
        PostgresUrl::parse(url.as_str()).unwrap()
    }

    /// Where the server listens.
    pub(in crate::queue) fn address(&self) -> (String, u16) {
        (self.url.options().get_host().to_owned(), self.url.options().get_port())
    }

    /// Waits for `work` in this schema's runtime, from wherever it is called.
    pub(in crate::queue) fn wait_for<T: Send>(&self, work: impl Future<Output = T> + Send) -> T {
        let runtime = self.runtime.as_ref().unwrap();
        std::thread::scope(|scope| scope.spawn(|| runtime.block_on(work)).join().unwrap())
    }

    /// Runs `work` beside, for as long as this is there.
    pub(in crate::queue) fn beside(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.runtime.as_ref().unwrap().spawn(work);
    }

    /// Carries out `sql` in this schema, past any queue.
    pub(in crate::queue) fn sql(&self, sql: &str) {
        self.wait_for(async {
            let mut connection = self.url.options().connect().await.unwrap();
            sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
            connection.close().await.unwrap();
        });
    }

    /// The one number that `sql` asks for.
    pub(in crate::queue) fn number(&self, sql: &str) -> i64 {
        self.wait_for(async {
            let mut connection = self.url.options().connect().await.unwrap();
            let sql = AssertSqlSafe(sql.to_owned());
            let number = sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap();
            connection.close().await.unwrap();
            number
        })
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        self.sql(&format!("DROP SCHEMA {} CASCADE", self.schema));
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn within(server: &str, schema: &str) -> String {
    let mark = if server.contains('?') { '&' } else { '?' };
    format!("{server}{mark}options=-c%20search_path%3D{schema}")
}
