//! Each statement finds its rows by an index, however many there are.

use rusqlite::types::Null;

use super::*;
use crate::queue::sqlite::reader::{counts, past, rows};
use crate::queue::sqlite::{clockwork, forget, history, lease, memory, retry, round, settle, statements};
use crate::queue::{Lane, State};

/// How SQLite means to carry `sql` out, step by step.
fn plan(file: &Connection, sql: &str) -> Vec<String> {
    let mut statement = file.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    let parameters = vec![Null; statement.parameter_count()];
    let step = |row: &rusqlite::Row<'_>| row.get::<_, String>("detail");
    let steps = statement.query_map(rusqlite::params_from_iter(parameters), step).unwrap();
    steps.map(Result::unwrap).collect()
}

#[tokio::test]
async fn no_statement_reads_a_whole_table() {
    let (_folder, path) = folder();
    open(&path).unwrap().close().await;
    let file = Connection::open(&path).unwrap();
    let kept = [
        statements::PUSH_ONTO,
        statements::TAKE_BACK_ATTEMPT,
        statements::REVIVE,
        statements::END_LEASES,
        statements::WRITE_WHAT_WAS_HELD_BACK,
        statements::BRING_BACK,
        statements::NEXT_DUE,
        lease::DUE,
        lease::DUE_AND_UNTRIED,
        lease::LEASE,
        lease::STANDING,
        settle::DONE,
        settle::RETRY,
        settle::PARK,
        settle::RELEASE,
        settle::ABANDON,
        settle::SYNC_AGAIN,
        retry::MAKE_DUE,
        history::LAST,
        history::PRUNE,
        history::PRUNE_COUNTS,
        counts::FIRST_ANSWER,
        counts::NEXT_ANSWER,
        counts::GROUP,
        past::HISTORY,
        past::COUNTS,
        memory::REMEMBER,
        memory::LOOK_AGAIN,
        clockwork::WHOSE_TIME_HAS_COME,
        clockwork::EXPIRES,
        clockwork::CANARY,
        clockwork::SENDS_CANARY,
        clockwork::HELD_BACK,
        clockwork::RELEASE,
        round::COUNT_ON,
        round::WAITING,
        round::NEXT,
        round::DRIFTS,
        forget::IS_FORGOTTEN,
        forget::IS_KNOWN,
        forget::KEEP_HASH,
        forget::TAKE_HASH_AWAY,
        forget::ERASE_LEASED,
        forget::ERASE,
        forget::ERASE_HISTORY,
        forget::ERASE_FROM_ROUND,
        forget::LONG_MISSING,
        rows::OTHERS_AT,
        rows::SEEN_BY_OTHERS,
    ];
    let of_retries = [retry::USER, retry::ALL_PARKED, retry::WITH_ANSWER, retry::WITH_REASON];
    let of_states = [State::Due, State::Leased, State::Scheduled, State::Parked];
    let made = of_retries.into_iter().flat_map(|rows| [retry::naming(rows), retry::counting(rows)]);
    let listed = of_states.into_iter().flat_map(|state| {
        [counts::counting(state), rows::listing(Some(state), false), rows::listing(Some(state), true)]
    });
    let all = kept.into_iter().map(str::to_owned).chain(made).chain(listed);
    for sql in all.chain([rows::of_one(), rows::listing(None, false), rows::listing(Some(State::Idle), true)])
    {
        for step in plan(&file, &sql) {
            // Indexes of nobody else but whom the statement is about, and what was found by an index already.
            let may_be_whole =
                ["users_parked", "users_leased", "users_held_back", "(subquery", "CONSTANT ROW"];
            let is_read_whole = step.starts_with("SCAN") && !may_be_whole.iter().any(|it| step.contains(it));
            assert!(!is_read_whole, "{step}\n{sql}");
        }
    }
}

#[tokio::test]
async fn what_each_lease_asks_is_in_order_already() {
    let (_folder, path) = folder();
    open(&path).unwrap().close().await;
    let file = Connection::open(&path).unwrap();
    for sql in [
        lease::DUE,
        lease::DUE_AND_UNTRIED,
        statements::NEXT_DUE,
        clockwork::WHOSE_TIME_HAS_COME,
        round::NEXT,
        history::LAST,
        past::HISTORY,
        past::COUNTS,
        counts::NEXT_ANSWER,
        &rows::listing(None, true),
        &rows::listing(Some(State::Idle), false),
    ] {
        let plan = plan(&file, sql);
        assert!(plan.iter().all(|step| !step.contains("TEMP B-TREE")), "{plan:?}\n{sql}");
    }
}

/// To walk over so many rows takes SQLite's machine more steps than any story allows.
const MANY: u32 = 100_000;

#[tokio::test]
async fn who_is_held_or_due_later_in_a_lane_is_not_walked_over_to_reach_the_next() {
    let (_folder, path) = folder();
    open(&path).unwrap().close().await;
    let mut file = Connection::open(&path).unwrap();
    let fill = file.transaction().unwrap();
    fill.execute(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
         INSERT INTO users (connection, user_id, generation, event_type, due_at, lease_owner)
         SELECT 'default', 'email|held-' || i, 1, 'x', 9000000 + i, iif(i % 2, i, NULL) FROM n",
        [MANY],
    )
    .unwrap();
    fill.execute(
        "INSERT INTO users (connection, user_id, generation, event_type, due_at, lane)
         VALUES ('default', 'email|kari', 1, 'x', 0, 1)",
        (),
    )
    .unwrap();
    fill.commit().unwrap();

    let mut found = 0;
    for lane in Lane::ALL {
        let mut due = file.prepare(lease::DUE).unwrap();
        let mut rows = due.query(rusqlite::params![lane.number(), 1_000_000, 10]).unwrap();
        while rows.next().unwrap().is_some() {
            found += 1;
        }
        drop(rows);
        let steps = due.get_status(rusqlite::StatementStatus::VmStep);
        assert!(steps < 200, "{steps} steps in {lane:?}");
    }
    assert_eq!(found, 1);
    let mut next = file.prepare(statements::NEXT_DUE).unwrap();
    next.query_row([0], |_| Ok(())).unwrap();
    assert!(next.get_status(rusqlite::StatementStatus::VmStep) < 200);
}
