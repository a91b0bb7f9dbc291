//! Every statement goes by an index, whatever else is in the table.

use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection};

use super::{QUICK, clock, open};
use crate::queue::postgres::{clockwork, forgotten, line, memory, prune, rounds, settle, statements};
use crate::queue::tests::server::Ground;

/// The most pages that a statement may touch: reading a whole table, or walking over all of an index, takes more.
const MOST_PAGES: u32 = 300;

/// Carries `sql` out, as a statement that was prepared and is known by no values; how many pages it touched, and its plan.
async fn explain(connection: &mut PgConnection, sql: &str, values: &str) -> (u32, String) {
    let execute = if values.is_empty() { "it".to_owned() } else { format!("it({values})") };
    let prepare = format!("BEGIN; PREPARE it AS {sql}");
    sqlx::raw_sql(AssertSqlSafe(prepare)).execute(&mut *connection).await.unwrap();
    let explain = format!("EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF) EXECUTE {execute}");
    let lines: Vec<String> = sqlx::query_scalar(AssertSqlSafe(explain))
        .persistent(false)
        .fetch_all(&mut *connection)
        .await
        .unwrap_or_else(|error| panic!("{error} in {sql}"));
    sqlx::raw_sql("ROLLBACK; DEALLOCATE it").execute(connection).await.unwrap();
    let plan = lines.join("\n");
    let touched = plan.split("shared hit=").nth(1).and_then(|rest| rest.split([' ', '\n']).next());
    (touched.map_or(0, |pages| pages.parse().unwrap()), plan)
}

#[tokio::test]
async fn no_statement_reads_a_whole_table() {
    let Some(ground) = Ground::new() else { return };
    let queue = open(&ground, &ground.url, &clock(), QUICK);
    queue.close().await;
    // Of everything that is looked for there is a little, among much that is not.
    ground.sql(
        "INSERT INTO users (connection, user_id, generation, event_type, synced_at, email, email_key, changes_at,
             missing_since, lane)
         SELECT 'default', 'email|' || n, 1, 'x', 1, n || '@Example.com', n || '@example.com', 9000000 + n,
             CASE WHEN n % 7 = 0 THEN 9000000 END, n % 3
         FROM generate_series(1, 30000) AS n;
         UPDATE users SET changes_at = 1 WHERE user_id LIKE 'email|777%';
         UPDATE users SET held_back = true WHERE user_id LIKE 'email|888%';
         UPDATE users SET missing_since = 1, email = NULL WHERE user_id LIKE 'email|999%';
         INSERT INTO forgotten SELECT 'default', sha256(n::text::bytea), 1 FROM generate_series(1, 20000) AS n;
         INSERT INTO history (connection, user_id, first_at, last_at, event_type, outcome, reason, held_back, changed,
             tags_added, tags_removed, attempt, ms)
         SELECT 'default', 'email|' || n, n, n, 'x', 'updated', '', false, '', '', '', 1, 1
         FROM generate_series(1, 30000) AS n;
         INSERT INTO rounds VALUES ('default', 1, NULL, 30000, 15000, 'email|2');
         ANALYZE users, history, forgotten",
    );
    let mut connection = ground.url.options().connect().await.unwrap();
    line::set_up_by_index(&mut connection, QUICK.answer).await.unwrap();
    sqlx::raw_sql("SET plan_cache_mode = force_generic_plan").execute(&mut connection).await.unwrap();

    let hash = "sha256('5')";
    let settles = "1000000, 2000, '{email|5,email|6}', '{1,2}', '{1,1}', '{0,0}', '{NULL,NULL}', '{f,f}', '{NULL,NULL}', \
         '{NULL,NULL}', '{t,f}', '{a,b}', '{a,b}', '{t,t}', '{a,a}', '{t,t}', '{a,a}', '{f,f}', '{NULL,NULL}', \
         '{7,NULL}', '{NULL,NULL}', '{5,NULL}'";
    let pushes =
        format!("1000000, 2000, '{{email|5,email|x}}', '{{1,1}}', '{{x,y}}', ARRAY[{hash}, sha256('x')]");
    for (sql, values) in [
        (statements::PUSH, pushes.as_str()),
        (settle::SETTLE, settles),
        (settle::SYNC_AGAIN, "1000000, 2000, '{email|5,email|6}', '{x,y}'"),
        (memory::OTHERS_AT, "'5@example.com', 'email|x', 6"),
        (memory::SEEN_BY_OTHERS, "'5@example.com', 'email|x', '7'"),
        (forgotten::FORGET, &format!("'email|5', 7, {hash}, 1000000")),
        (forgotten::TAKE_UP, hash),
        (forgotten::AMONG, &format!("ARRAY[{hash}, sha256('x')]")),
        (clockwork::LOOK, "1000000, true, 50"),
        (clockwork::EXPIRE, "1000000, 500, 'expiry'"),
        (clockwork::CANARY, "'', 1000000"),
        (clockwork::RELEASE, "1000000, 500"),
        (clockwork::RELEASE_ALL, "1000000"),
        (rounds::WAITING, "1000000, 50"),
        (rounds::PASS, "1000000, 10, 'drift'"),
        (rounds::TURN_BACK, ""),
        (prune::MISSING, "1000000, 5"),
    ] {
        let (pages, plan) = explain(&mut connection, sql, values).await;
        let reads_all = ["users", "history", "forgotten"]
            .into_iter()
            .find(|table| plan.contains(&format!("Seq Scan on {table}")));
        assert!(pages < MOST_PAGES && reads_all.is_none(), "{pages} pages for{sql}\n{plan}");
    }
}
