//! Every statement goes by an index, whatever else is in the table.

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, ConnectOptions};

use super::*;
use crate::queue::lane::Lane;
use crate::queue::postgres::{connection, events, reader, rows as statements};
use crate::queue::row::RowState;
use crate::queue::sql::{self, Dialect};
use crate::queue::store::Index;

/// The most pages that a statement may touch: reading a whole table, or walking over all of an index, takes more.
const MOST_PAGES: u32 = 300;

/// Runs `sql` as a prepared statement that is planned without its values. Returns how many pages it touched, and its plan.
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
    let touched = plan.split("shared hit=").nth(1).and_then(|text| text.split([' ', '\n']).next());
    (touched.map_or(0, |pages| pages.parse().unwrap()), plan)
}

#[tokio::test]
async fn no_statement_reads_a_whole_table() {
    let Some(ground) = Ground::new() else { return };
    open(&ground, &ground.url, QUICK).close().await;
    // Of everything that is searched for there is a little, among much that is not.
    ground.sql(
        "INSERT INTO users (user_id, generation, cause, synced_at, lane, check_at, check_cause, address_key,
             missing_since)
         SELECT 'email|' || n, 1, 'x', 1, n % 3, 9000000 + n, 'drift', n || '@example.com',
             CASE WHEN n % 7 = 0 THEN 9000000 END
         FROM generate_series(1, 100000) AS n;
         UPDATE users SET check_at = 1, check_cause = 'expiry' WHERE user_id LIKE 'email|7777%';
         UPDATE users SET held_back = 1 WHERE user_id LIKE 'email|8888%';
         UPDATE users SET missing_since = 1 WHERE user_id LIKE 'email|9999%';
         UPDATE users SET due_at = 1, lease = NULL WHERE user_id LIKE 'email|6666%';
         UPDATE users SET due_at = 90000000, lease = 'service-1' WHERE user_id LIKE 'email|5555%';
         UPDATE users SET due_at = 90000000, lease = NULL WHERE user_id LIKE 'email|4444%';
         UPDATE users SET due_at = NULL, parked_at = 1, answer = '503', error = 'x' WHERE user_id LIKE 'email|3333%';
         INSERT INTO forgotten SELECT md5(n::text), 1 FROM generate_series(1, 100000) AS n;
         INSERT INTO history (user_id, last_at, outcome, lost_tags, entry)
         SELECT 'email|' || n, n, 'updated', 0, '{}' FROM generate_series(1, 100000) AS n;
         INSERT INTO documents SELECT 'name ' || n, '{}' FROM generate_series(1, 20000) AS n;
         ANALYZE users, history, forgotten, documents",
    );
    let mut connection = ground.url.options().connect().await.unwrap();
    connection::set_up_by_index(&mut connection, QUICK.answer).await.unwrap();
    sqlx::raw_sql("SET plan_cache_mode = force_generic_plan").execute(&mut connection).await.unwrap();

    let ids = "'{email|5,email|6,email|x}'";
    let documents = "'{name 5,name x}'";
    let hashes = "ARRAY[md5('5'), 'x']";
    let written = [
        (events::PUSH, "1000000, 2000, '{email|5,email|x}', '{1,1}', '{x,y}'"),
        (statements::LOCK, ids),
        (statements::RESERVE, ids),
        (statements::ERASE, ids),
        (statements::ERASE_HISTORY, ids),
        (statements::LOCK_DOCUMENTS, documents),
        (statements::RESERVE_DOCUMENTS, documents),
        (statements::LAST_ENTRIES, ids),
        (statements::ENTRIES_BEFORE, "5000, 9"),
        (statements::REMOVE_ENTRIES, "'{5,6}'"),
        (statements::TOMBSTONES, hashes),
        (statements::REMOVE_TOMBSTONES, hashes),
        (statements::NEXT_DUE, "1000000"),
    ];
    let read = [
        (reader::ROWS_AT, "'5@example.com', 6"),
        (sql::HISTORY, "'email|5', 9"),
        (sql::LOG, "50000, NULL, 0::smallint, 0, 50"),
        (sql::DOCUMENTS, "'name 5', 'name 50'"),
    ];
    let mut each: Vec<_> =
        written.into_iter().chain(read).map(|(sql, values)| (sql.to_owned(), values)).collect();
    each.extend([
        (first(Index::Due(Lane::Events)), "0, 1000000, 9"),
        (first(Index::CheckDue), "1000000, 9"),
        (first(Index::CheckAfter { cause: "drift", at: NOW }), "9000000, 'drift', 9"),
        (first(Index::HeldBack), "9"),
        (first(Index::LeasedByServiceBeyond(NOW)), "80000000, 9"),
        (first(Index::DueBeyond(NOW)), "80000000, 9"),
        (first(Index::ParkedWith("503".to_owned())), "'503', 9"),
        (first(Index::MissingBefore(NOW)), "1000000, 9"),
        (Dialect::Postgres.parked(), "9"),
    ]);
    go_by_index(&mut connection, &each).await;
    // A list reads all rows of its state, which are few.
    let page = "1000000, 'email|5', NULL, 50";
    each = RowState::ALL.map(|state| (reader::rows_sql(Some(state)), page)).to_vec();
    each.extend([(reader::rows_sql(None), page), (Dialect::Postgres.census(), "1000000, 100")]);
    go_by_index(&mut connection, &each).await;

    // A lane that is full is not walked on the way to another one.
    ground.sql(
        "UPDATE users SET lane = 0, due_at = 2000000, lease = 'command-1' WHERE due_at IS NULL; ANALYZE users",
    );
    let each = [
        (first(Index::Due(Lane::Retries)), "1, 1000000, 9"),
        (statements::NEXT_DUE.to_owned(), "1000000"),
        (first(Index::LeasedByServiceBeyond(NOW)), "80000000, 9"),
    ];
    go_by_index(&mut connection, &each).await;
}

fn first(index: Index) -> String {
    statements::first_sql(&index, &index.search(NOW, NOW))
}

async fn go_by_index(connection: &mut PgConnection, statements: &[(String, &str)]) {
    for (sql, values) in statements {
        let (pages, plan) = explain(connection, sql, values).await;
        let reads_all = ["users", "history", "forgotten", "documents"]
            .into_iter()
            .find(|table| plan.contains(&format!("Seq Scan on {table}")));
        assert!(pages < MOST_PAGES && reads_all.is_none(), "{pages} pages for {sql}\n{plan}");
    }
}
