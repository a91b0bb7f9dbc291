//! Other processes on the same store.

use futures_util::future::join_all;
use sqlx::ConnectOptions;

use super::*;

#[tokio::test]
async fn a_replica_is_woken_by_what_another_one_makes_due() {
    let Some(ground) = Ground::new() else { return };
    let wakes: [Arc<Wake>; 2] = Default::default();
    let [one, other] = wakes.each_ref().map(|wake| open_with(&ground, &ground.url, QUICK, Arc::clone(wake)));
    wakes.iter().for_each(|wake| wake.looks());
    let woken = |wake: usize, known: Millis| {
        let wake = Arc::clone(&wakes[wake]);
        tokio::spawn(async move {
            tokio::time::timeout(PATIENCE, wake.sooner_than(Some(known))).await.expect("it was never woken");
        })
    };
    let due = NOW.plus(DEBOUNCE);
    let waiting = woken(1, Millis(due.0 + 1));
    push(&one, "kari").await.unwrap();
    waiting.await.unwrap();

    wakes[0].looks();
    let waiting = woken(0, Millis(due.0 - 1));
    let sooner = Row { due_at: Some(Millis(due.0 - 2)), lease: None, ..full("ola") };
    save(&other, Change::rows([sooner])).await;
    waiting.await.unwrap();
    one.close().await;
    other.close().await;
}

/// By the database's own clock, as in the service. Rows and documents do not exist at first, come in any order, and a
/// deadlock is an error here: the server looks for one too late.
#[tokio::test]
async fn transactions_and_pushes_side_by_side_lose_no_update() {
    const ROUNDS: usize = 25;
    let Some(ground) = Ground::new() else { return };
    let mut url = ground.url.clone();
    *url.options = ground.url.options().clone().options([("deadlock_timeout", "60s")]);
    let replica = || {
        let (clock, tuning) = (Clock::system(), Tuning::default());
        let opening = postgres::open(&url, Role::Service, Duration::ZERO, clock, Arc::default(), tuning);
        ground.wait_for(opening).unwrap().0
    };
    let replicas = [replica(), replica()];
    // All tasks come past a row at about the same time, when it does not exist yet.
    let names: Vec<String> = (0..4 * ROUNDS + 20).map(|number| number.to_string()).collect();
    let name = |number: usize| names[number].as_str();

    let counts = (0..8).map(|task| {
        let store = &replicas[task % 2];
        async move {
            for round in 0..ROUNDS {
                let start = round * 4 + task % 4;
                let rows = [name(start + 9), name(start), name(start + 5)];
                let documents = [name(start + 1), name(start + 7), "all"];
                count(store, &rows, &documents).await.unwrap();
            }
        }
    });
    let pushes = (0..2).map(|task| {
        let store = &replicas[task % 2];
        async move {
            for round in 0..ROUNDS {
                let users = (0..10).map(|user| name(round * 4 + user + task));
                for kept in join_all(users.map(|user| push(store, user))).await {
                    kept.unwrap();
                }
            }
        }
    });
    // As a lease does: documents first, and then rows that are not locked.
    let leases = (0..2).map(|task| {
        let store = &replicas[task % 2];
        async move {
            for _ in 0..ROUNDS {
                let look = Look::first(Index::Due(Lane::Events), 10).with("all");
                let lease = store.transact(look, |seen| {
                    let rows = seen.first[0].iter().cloned();
                    let mut change =
                        Change::rows(rows.map(|row| Row { attempts: row.attempts + 1, due_at: None, ..row }));
                    change.documents.clone_from(&seen.documents);
                    (change, ())
                });
                lease.await.unwrap();
            }
        }
    });
    futures_util::future::join3(join_all(counts), join_all(pushes), join_all(leases)).await;

    let counted = (8 * ROUNDS) as i64;
    let pushed = (2 * ROUNDS * 10) as i64;
    assert_eq!(ground.number("SELECT sum(generation)::bigint FROM users"), 3 * counted + pushed);
    assert_eq!(ground.number("SELECT value::bigint FROM documents WHERE name = 'all'"), counted);
    let each = "SELECT sum(value::bigint)::bigint FROM documents WHERE name NOT IN ('all', 'erasure_key')";
    assert_eq!(ground.number(each), 2 * counted);
    for store in replicas {
        store.close().await;
    }
}

#[tokio::test]
async fn an_event_that_waits_for_the_erasure_of_its_user_is_kept_as_a_new_row() {
    let Some(ground) = Ground::new() else { return };
    let store = Arc::new(open(&ground, &ground.url, Tuning::default()));
    save(&store, Change::rows([full("kari")])).await;
    let mut console = ground.url.options().connect().await.unwrap();
    // The transaction is stopped where it erases, with the row locked, until the event waits for it.
    sqlx::raw_sql("BEGIN; LOCK TABLE history IN SHARE MODE").execute(&mut console).await.unwrap();
    let erasing = tokio::spawn({
        let store = Arc::clone(&store);
        async move {
            let change = Change { erased: vec!["kari".to_owned()], ..Change::default() };
            store.transact(Look::rows(["kari"]), move |_| (change.clone(), ())).await
        }
    });
    let waiting = |sql: &str| {
        let schema = "(SELECT relation FROM pg_locks WHERE relation = 'history'::regclass::oid)";
        ground.number(&format!(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%{sql}%'
             AND EXISTS {schema} AND pid <> pg_backend_pid() AND pid IN (SELECT pid FROM pg_locks)"
        ))
    };
    until("it waits to erase", || waiting("DELETE FROM history") > 0).await;
    let pushing = tokio::spawn({
        let store = Arc::clone(&store);
        async move { push(&store, "kari").await }
    });
    until("the event waits for the row", || waiting("INSERT INTO users AS u") > 0).await;
    sqlx::raw_sql("COMMIT").execute(&mut console).await.unwrap();
    erasing.await.unwrap().unwrap();
    pushing.await.unwrap().unwrap();
    assert_eq!(rows(&store, &["kari"]).await, [Row::new("kari").pushed(UPDATE, NOW.plus(DEBOUNCE))]);
    store.close().await;
}

#[tokio::test]
async fn an_entry_that_was_removed_beside_is_kept_when_its_count_is_raised() {
    let Some(ground) = Ground::new() else { return };
    let store = open(&ground, &ground.url, QUICK);
    let entry = |id: i64| questions::entry(id, "updated", 5);
    save(&store, Change { entries: vec![("kari".to_owned(), entry(0))], ..Change::default() }).await;
    let id = ground.number("SELECT id FROM history");
    save(&store, Change { removed_entries: vec![id], ..Change::default() }).await;
    save(&store, Change { entries: vec![("kari".to_owned(), entry(id))], ..Change::default() }).await;
    save(&store, Change { entries: vec![("kari".to_owned(), entry(0))], ..Change::default() }).await;
    assert_eq!(ground.number("SELECT count(*) FROM history"), 2);
    assert_eq!(ground.number("SELECT min(id) FROM history"), id);
    store.close().await;
}
