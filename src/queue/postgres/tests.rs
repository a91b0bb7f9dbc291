//! What only Postgres can do wrong, or has to do by itself: a network, a server, and others on the same store.

mod beside;
mod commands;
mod faults;
mod opening;
mod plans;
mod proxy;
mod questions;
mod upgrading;

use std::sync::Arc;
use std::time::Duration;

use super::{PostgresStore, PostgresUrl, Tuning};
use crate::clock::{Clock, Millis};
use crate::model::LastSeen;
use crate::personal::Personal;
use crate::queue::lane::Lane;
use crate::queue::lease::LeaseName;
use crate::queue::row::Row;
use crate::queue::store::{Answer, Change, First, Index, Look, Push, Question, Store};
use crate::queue::tests::server::Ground;
use crate::queue::wake::Wake;
use crate::queue::{QueueError, Role, postgres};
use crate::user::UserId;

const DEBOUNCE: Duration = Duration::from_secs(2);
const NOW: Millis = Millis(1_000_000);
const UPDATE: &str = "contract.1#update";
/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Short times for what would take seconds, but none that a busy machine needs to connect and to answer.
const QUICK: Tuning = Tuning {
    answer: Duration::from_secs(2),
    connect: Duration::from_secs(3),
    longest_wait: Duration::from_millis(50),
    probe_every: Duration::from_millis(20),
    silence: Duration::from_secs(3_600),
};

fn open(ground: &Ground, url: &PostgresUrl, tuning: Tuning) -> PostgresStore {
    open_with(ground, url, tuning, Arc::default())
}

fn open_with(ground: &Ground, url: &PostgresUrl, tuning: Tuning, wake: Arc<Wake>) -> PostgresStore {
    let clock = Clock::manual(NOW);
    ground.wait_for(postgres::open(url, Role::Service, DEBOUNCE, clock, wake, tuning)).unwrap().0
}

async fn push(store: &PostgresStore, user: &str) -> Result<(), QueueError> {
    store.push(Push { user: UserId::new(user.to_owned()).unwrap(), cause: UPDATE }).await
}

/// Adds one to the generations of these rows, which are made where they are missing, and to these documents.
async fn count(store: &PostgresStore, rows: &[&str], documents: &[&str]) -> Result<(), QueueError> {
    let mut look = Look::rows(rows.iter().copied());
    look.documents = documents.iter().map(|name| (*name).to_owned()).collect();
    let decided = look.clone();
    store
        .transact(look, move |seen| {
            let mut change = Change::default();
            for id in &decided.rows {
                let row = seen.rows.get(id).cloned().unwrap_or_else(|| Row::new(id));
                change.rows.push(Row { generation: row.generation + 1, ..row });
            }
            for name in &decided.documents {
                let count: i64 = seen.documents.get(name).map_or(0, |count| count.parse().unwrap());
                change.documents.insert(name.clone(), (count + 1).to_string());
            }
            (change, ())
        })
        .await
}

async fn save(store: &PostgresStore, change: Change) {
    store.transact(Look::default(), move |_| (change.clone(), ())).await.unwrap();
}

/// The rows of an index, as a transaction that changes nothing finds them.
async fn first(store: &PostgresStore, of: Index) -> Vec<String> {
    let ids = |rows: &Vec<Row>| rows.iter().map(|row| row.user_id.clone()).collect();
    store.transact(Look::first(of, 9), move |seen| (Change::default(), ids(&seen.first[0]))).await.unwrap()
}

async fn rows(store: &PostgresStore, ids: &[&str]) -> Vec<Row> {
    let question = Question::RowsOf(ids.iter().map(|id| (*id).to_owned()).collect());
    let Answer::Rows(rows) = store.ask(question).await.unwrap() else { panic!("no rows") };
    rows
}

/// Waits for what happens by itself.
async fn until(what: &str, happened: impl Fn() -> bool) {
    let end = tokio::time::Instant::now() + PATIENCE;
    while !happened() {
        assert!(tokio::time::Instant::now() < end, "{what}: never");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn service_lease() -> Option<LeaseName> {
    Some(LeaseName::new(Role::Service, 7))
}

/// A row with a value in every column.
fn full(id: &str) -> Row {
    Row {
        user_id: id.to_owned(),
        generation: 3,
        cause: UPDATE.to_owned(),
        lane: Lane::Retries,
        due_at: Some(Millis(1_000_001)),
        lease: service_lease(),
        attempts: 2,
        failing_since: Some(Millis(1)),
        error: Some("503 from an API".to_owned()),
        parked_at: Some(Millis(2)),
        answer: Some("503".to_owned()),
        held_back: true,
        tags_held: vec!["sesamy_tag_æ".to_owned()],
        has_pass: true,
        synced_at: Some(Millis(3)),
        outcome: Some("updated".to_owned()),
        reason: Some("address".to_owned()),
        check_at: Some(Millis(4)),
        check_cause: Some("drift".to_owned()),
        last_seen: LastSeen {
            email: Some(Personal::new("Kari@Example.com")),
            missing_since: Some(Millis(5)),
            ..LastSeen::default()
        },
    }
}

#[tokio::test]
async fn a_row_comes_back_as_it_was_saved() {
    let Some(ground) = Ground::new() else { return };
    let store = open(&ground, &ground.url, QUICK);
    let odd = format!("a\0b \u{1f600} \\ \" {}", "long ".repeat(5_000));
    let odd = Row { answer: Some(odd.clone()), error: Some(odd.clone()), lease: None, ..full("odd æ'\"\\") };
    save(&store, Change::rows([full("full"), Row::new("new"), odd.clone()])).await;
    let read = rows(&store, &["full", "new", "odd æ'\"\\"]).await;
    assert_eq!(read[..2], [full("full"), Row::new("new")]);
    let stored = odd.answer.clone().map(|text| text.replace('\0', "\u{fffd}"));
    assert_eq!((&read[2].answer, &read[2].error), (&stored, &stored), "Postgres has no U+0000");
    assert_eq!(first(&store, Index::ParkedWith(odd.answer.unwrap())).await, ["odd æ'\"\\"]);

    save(&store, Change::rows([Row { generation: 9, ..Row::new("full") }])).await;
    let read = rows(&store, &["full"]).await;
    assert_eq!(read, [Row { generation: 9, ..Row::new("full") }], "the whole row is replaced");
    assert_eq!(ground.number("SELECT count(*) FROM users WHERE address_key IS NOT NULL"), 1);
    store.close().await;
}

#[tokio::test]
async fn an_event_does_to_a_row_what_the_rule_says() {
    let Some(ground) = Ground::new() else { return };
    let store = open(&ground, &ground.url, QUICK);
    let (sooner, later) = (Some(Millis(1_001_999)), Some(Millis(1_002_001)));
    let open = Row { lease: None, parked_at: None, answer: None, ..full("") };
    let parked = Row { due_at: None, parked_at: Some(Millis(6)), lease: None, ..full("") };
    let cases = [
        ("idle", Row { due_at: None, ..open.clone() }),
        ("due sooner", Row { due_at: sooner, ..open.clone() }),
        ("due later", Row { due_at: later, lane: Lane::Background, ..open.clone() }),
        ("leased", Row { due_at: later, lease: service_lease(), ..open.clone() }),
        ("lease over", Row { due_at: Some(Millis(1)), lease: service_lease(), ..open.clone() }),
        ("parked", parked),
        ("new", Row::new("")),
    ];
    for (case, row) in cases {
        let row = Row { user_id: case.to_owned(), ..row };
        if case != "new" {
            save(&store, Change::rows([row.clone()])).await;
        }
        push(&store, case).await.unwrap();
        assert_eq!(rows(&store, &[case]).await, [row.pushed(UPDATE, NOW.plus(DEBOUNCE))], "{case}");
    }
    store.close().await;
}

#[tokio::test]
async fn each_index_finds_its_rows_in_its_order() {
    let Some(ground) = Ground::new() else { return };
    let store = open(&ground, &ground.url, QUICK);
    let idle =
        || Row { lease: None, due_at: None, parked_at: None, held_back: false, check_at: None, ..full("") };
    let at = |at: i64| Some(Millis(at));
    let unknown = |since: i64| LastSeen { missing_since: at(since), ..LastSeen::default() };
    let rows = [
        ("due b", Row { lane: Lane::Retries, due_at: at(5), ..idle() }),
        ("due a", Row { lane: Lane::Retries, due_at: at(6), lease: service_lease(), ..idle() }),
        ("far", Row { lane: Lane::Events, due_at: at(9_000_000), ..idle() }),
        ("farther", Row { lane: Lane::Background, due_at: at(8_000_000), ..idle() }),
        ("leased", Row { due_at: at(2_000_000), lease: service_lease(), check_at: at(1), ..idle() }),
        ("checked", Row { check_at: at(1_000_000), ..idle() }),
        (
            "later",
            Row {
                check_at: at(1_000_001),
                held_back: true,
                check_cause: Some("expiry".to_owned()),
                ..idle()
            },
        ),
        ("parked", Row { parked_at: at(3), last_seen: unknown(9), ..idle() }),
    ];
    let named = |(id, row): (&str, Row)| Row { user_id: id.to_owned(), ..row };
    let known = |row: Row| match row.user_id.as_str() {
        "parked" => row,
        _ => Row { last_seen: LastSeen::default(), ..row },
    };
    save(&store, Change::rows(rows.map(named).map(known))).await;
    let expiry = Index::CheckAfter { cause: "expiry", at: Millis(1_000_000) };
    for (of, found) in [
        (Index::Due(Lane::Retries), &["due b", "due a"][..]),
        (Index::Due(Lane::Events), &[]),
        (Index::CheckDue, &["checked"]),
        (expiry, &["later"]),
        (Index::HeldBack, &["later"]),
        (Index::LeasedByServiceBeyond(Millis(1_999_999)), &["leased"]),
        (Index::DueBeyond(Millis(5)), &["far", "farther"]),
        (Index::ParkedWith("503".to_owned()), &["parked"]),
        (Index::MissingBefore(Millis(10)), &["parked"]),
        (Index::MissingBefore(Millis(9)), &[]),
    ] {
        assert_eq!(first(&store, of.clone()).await, found, "{of:?}");
    }
    let look =
        Look { next_due: true, first: vec![First { of: Index::CheckDue, most: 0 }], ..Look::default() };
    let (next, none) = store
        .transact(look, |seen| (Change::default(), (seen.next_due.clone(), seen.first[0].len())))
        .await
        .unwrap();
    let next: Vec<_> = next.into_iter().map(|(lane, at)| (lane, at.0)).collect();
    let leased = (Lane::Retries, 2_000_000);
    assert_eq!(next, [(Lane::Events, 9_000_000), leased, (Lane::Background, 8_000_000)]);
    assert_eq!(none, 0);
    store.close().await;
}

#[tokio::test]
async fn a_look_at_what_does_not_exist_leaves_nothing_behind() {
    let Some(ground) = Ground::new() else { return };
    let store = open(&ground, &ground.url, QUICK);
    count(&store, &["b"], &["y"]).await.unwrap();
    let look = || Look::rows(["c", "a", "b", "a"]).with("z").with("x").with("y");
    let found = store
        .transact(look(), |seen| {
            let found = (seen.rows.keys().cloned().collect(), seen.documents.clone().into_iter().collect());
            (Change::default(), found)
        })
        .await;
    let found: (Vec<String>, Vec<(String, String)>) = found.unwrap();
    assert_eq!(found, (vec!["b".to_owned()], vec![("y".to_owned(), "1".to_owned())]));
    assert_eq!(ground.number("SELECT count(*) FROM users"), 1);
    assert_eq!(ground.number("SELECT count(*) FROM documents"), 2, "the erasure key and y");

    // One of the missing rows is saved and the other is not; a document is deleted.
    let saved = store.transact(look(), |_| {
        let mut change = Change::rows([Row::new("a")]);
        change.documents.insert("y".to_owned(), String::new());
        (change, ())
    });
    saved.await.unwrap();
    assert_eq!(ground.number("SELECT count(*) FROM users WHERE user_id IN ('a', 'b')"), 2);
    assert_eq!(ground.number("SELECT count(*) FROM users"), 2);
    let documents = Question::Documents(String::new());
    let Answer::Documents(documents) = store.ask(documents).await.unwrap() else { panic!("no documents") };
    assert_eq!(documents.into_keys().collect::<Vec<_>>(), ["erasure_key"]);
    store.close().await;
}

#[tokio::test]
async fn a_store_that_closes_keeps_what_was_sent_and_refuses_what_comes_later() {
    let Some(ground) = Ground::new() else { return };
    let store = Arc::new(open(&ground, &ground.url, QUICK));
    let waiting: Vec<_> = (0..20)
        .map(|number| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { push(&store, &number.to_string()).await })
        })
        .collect();
    tokio::task::yield_now().await; // on one thread: each has sent its event
    store.close().await;
    for sent in waiting {
        sent.await.unwrap().unwrap();
    }
    assert_eq!(ground.number("SELECT count(*) FROM users"), 20);
    assert!(!store.accepting());
    assert!(matches!(push(&store, "late").await, Err(QueueError::Closed)));
    assert!(matches!(count(&store, &["late"], &[]).await, Err(QueueError::Closed)));
    assert!(matches!(store.ask(Question::Census).await, Err(QueueError::Closed)));
    store.close().await;
}
