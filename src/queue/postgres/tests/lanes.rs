//! Lanes are ranges of an index: what is in one is not read on the way to another.

use sqlx::{AssertSqlSafe, ConnectOptions};

use super::{QUICK, clock, open};
use crate::queue::postgres::{lanes, line};
use crate::queue::tests::server::Ground;

#[tokio::test]
async fn a_lane_that_is_full_is_not_walked_on_the_way_to_the_next() {
    let Some(ground) = Ground::new() else { return };
    let queue = open(&ground, &ground.url, &clock(), QUICK);
    queue.close().await;
    ground.sql(
        "INSERT INTO users (connection, user_id, generation, event_type, due_at, lease_owner, lane)
         SELECT 'default', 'email|' || n, 1, 'x', 2000000 + n, n, 0 FROM generate_series(1, 20000) AS n;
         INSERT INTO users (connection, user_id, generation, event_type, due_at, lane)
         VALUES ('default', 'email|retried', 1, 'x', 1, 1), ('default', 'email|filled', 1, 'x', 0, 2);
         ANALYZE users",
    );
    let mut connection = ground.url.options().connect().await.unwrap();
    line::set_up_by_index(&mut connection, QUICK.answer).await.unwrap();
    let mut sql = lanes::LEASE.to_owned();
    for (place, value) in [
        ("$5", "4::bigint"),
        ("$4", "1000"),
        ("$3", "ARRAY[1, 2]"),
        ("$2", "2::bigint"),
        ("$1", "1000000::bigint"),
    ] {
        sql = sql.replace(place, value);
    }
    let explain = format!("EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF) {sql}");
    let plan: Vec<String> =
        sqlx::query_scalar(AssertSqlSafe(explain)).fetch_all(&mut connection).await.unwrap();
    let plan = plan.join("\n");
    let all = plan.split("shared hit=").nth(1).and_then(|rest| rest.split([' ', '\n']).next());
    let pages: u32 = all.unwrap().parse().unwrap();
    assert!(pages < 100 && plan.contains("rows=2"), "it reads {pages} pages:\n{plan}");
}
