//! Each statement finds its rows by an index, however many there are.

use rusqlite::types::Null;

use super::*;
use crate::queue::row::RowState;
use crate::queue::sql::{self, Dialect};
use crate::queue::sqlite::reader::{self, listing};
use crate::queue::sqlite::rows::{self, first_sql};

/// How SQLite means to carry `sql` out, step by step.
fn plan(file: &Connection, sql: &str) -> Vec<String> {
    let mut statement = file.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    let parameters = vec![Null; statement.parameter_count()];
    let step = |row: &rusqlite::Row<'_>| row.get::<_, String>("detail");
    let steps = statement.query_map(rusqlite::params_from_iter(parameters), step).unwrap();
    steps.map(Result::unwrap).collect()
}

fn indexes() -> Vec<Index> {
    vec![
        Index::Due(Lane::Events),
        Index::CheckDue,
        Index::CheckAfter { cause: "missing", at: NOW },
        Index::HeldBack,
        Index::LeasedByServiceBeyond(NOW),
        Index::DueBeyond(NOW),
        Index::ParkedWith(String::new()),
        Index::MissingBefore(NOW),
    ]
}

fn first_of(index: &Index) -> String {
    first_sql(&index.search(NOW, NOW))
}

fn new_file() -> (TempDir, Connection) {
    let (folder, path) = folder();
    drop(open(&path).unwrap());
    (folder, Connection::open(path).unwrap())
}

#[test]
fn no_statement_reads_a_whole_table() {
    let (_folder, file) = new_file();
    let by_state =
        RowState::ALL.into_iter().flat_map(|state| [listing(Some(state), false), listing(Some(state), true)]);
    let at_address = format!("SELECT user_id FROM users {}", reader::AT_ADDRESS);
    let by_key = [
        rows::PUSH_ONTO,
        &rows::BY_ID,
        rows::ERASE,
        rows::ERASE_HISTORY,
        rows::NEXT_DUE,
        rows::ENTRIES_BEFORE,
        rows::REMOVE_ENTRY,
        rows::DOCUMENT,
        rows::REMOVE_DOCUMENT,
        rows::TOMBSTONE,
        rows::REMOVE_TOMBSTONE,
        sql::HISTORY,
        sql::LOG,
        sql::DOCUMENTS,
    ];
    let all = by_key.into_iter().map(str::to_owned);
    let all = all.chain([Dialect::Sqlite.parked(), Dialect::Sqlite.census()]);
    let all = all.chain(indexes().into_iter().map(|index| first_of(&index))).chain(by_state);
    for sql in all.chain([at_address, listing(None, false), listing(None, true)]) {
        for step in plan(&file, &sql) {
            // Indexes of nobody else but the users whom the statement is about, and what an index has found already.
            let may_be_whole =
                ["users_parked", "users_leased", "users_held_back", "counted", "(subquery", "CONSTANT ROW"];
            let is_read_whole = step.starts_with("SCAN") && !may_be_whole.iter().any(|it| step.contains(it));
            assert!(!is_read_whole, "{step}\n{sql}");
        }
    }
}

#[test]
fn what_is_asked_for_most_is_in_order_already() {
    let (_folder, file) = new_file();
    let at_address = format!("SELECT user_id FROM users {}", reader::AT_ADDRESS);
    let read = [rows::NEXT_DUE, sql::HISTORY, rows::ENTRIES_BEFORE, sql::LOG];
    let all = read.map(str::to_owned).into_iter().chain(indexes().into_iter().map(|index| first_of(&index)));
    for sql in all.chain([at_address, listing(None, true), listing(Some(RowState::Idle), false)]) {
        let plan = plan(&file, &sql);
        assert!(plan.iter().all(|step| !step.contains("TEMP B-TREE")), "{plan:?}\n{sql}");
    }
}

/// To walk over so many rows takes SQLite's machine more steps than the test allows.
const MANY: u32 = 100_000;

#[test]
fn a_row_that_is_leased_or_due_later_in_a_lane_is_not_walked_over_to_reach_the_next() {
    let (_folder, mut file) = new_file();
    let fill = file.transaction().unwrap();
    fill.execute(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
         INSERT INTO users (user_id, generation, cause, due_at, lease)
         SELECT 'email|leased-' || i, 1, 'x', 9000000 + i, iif(i % 2, 'service-' || i, NULL) FROM n",
        [MANY],
    )
    .unwrap();
    fill.execute(
        "INSERT INTO users (user_id, generation, cause, due_at, lane) VALUES ('email|kari', 1, 'x', 0, 1)",
        (),
    )
    .unwrap();
    fill.commit().unwrap();

    let mut found = 0;
    for lane in Lane::ALL {
        let mut due = file.prepare(&first_of(&Index::Due(lane))).unwrap();
        let mut rows = due.query(rusqlite::params![lane.number(), NOW.0, 10]).unwrap();
        while rows.next().unwrap().is_some() {
            found += 1;
        }
        drop(rows);
        let steps = due.get_status(rusqlite::StatementStatus::VmStep);
        assert!(steps < 200, "{steps} steps in {lane:?}");
    }
    assert_eq!(found, 1);
    let mut next = file.prepare(rows::NEXT_DUE).unwrap();
    next.query_row([0, NOW.0], |_| Ok(())).unwrap();
    assert!(next.get_status(rusqlite::StatementStatus::VmStep) < 200);
}
