//! A network and a server that fail in the middle of something.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::{join, join_all, join3};
use sqlx::ConnectOptions;

use super::proxy::Proxy;
use super::*;

#[tokio::test]
async fn a_cut_database_loses_and_doubles_nothing() {
    let Some(ground) = Ground::new() else { return };
    let proxy = Proxy::before(&ground);
    let store = open(&ground, &proxy.url, QUICK);
    push(&store, "kari").await.unwrap();
    count(&store, &["kari"], &[]).await.unwrap();

    proxy.cut();
    let refused = push(&store, "ola").await.unwrap_err();
    assert!(matches!(&refused, QueueError::Store(why) if why.contains("connection")), "{refused}");
    assert!(!store.accepting());
    assert!(count(&store, &["kari"], &[]).await.is_err() && store.ask(Question::Census).await.is_err());

    proxy.open();
    until("events are taken again without one", || store.accepting()).await;
    push(&store, "ola").await.unwrap();
    count(&store, &["kari"], &[]).await.unwrap();
    let generations: Vec<_> = rows(&store, &["kari", "ola"]).await.iter().map(|row| row.generation).collect();
    assert_eq!(generations, [3, 1]);
    store.close().await;
}

#[tokio::test]
async fn a_database_that_hangs_keeps_no_caller_waiting_for_ever() {
    let Some(ground) = Ground::new() else { return };
    let proxy = Proxy::before(&ground);
    let store = open(&ground, &proxy.url, QUICK);
    push(&store, "kari").await.unwrap();
    proxy.freeze();
    let (counting, asking) = (count(&store, &["kari"], &[]), store.ask(Question::Census));
    let all = join3(push(&store, "kari"), counting, asking);
    let (pushed, counted, asked) = tokio::time::timeout(PATIENCE, all).await.expect("they end");
    assert!(matches!(pushed, Err(QueueError::Late)), "{pushed:?}");
    assert!(counted.is_err() && asked.is_err());
    assert!(!store.accepting());
    proxy.open();
    until("events are taken again", || store.accepting()).await;
    count(&store, &["kari"], &[]).await.unwrap();

    proxy.freeze();
    let ending = join(push(&store, "kari"), store.close());
    let (pushed, ()) = tokio::time::timeout(PATIENCE, ending).await.expect("a close ends");
    assert!(pushed.is_err());
}

#[tokio::test]
async fn a_transaction_whose_commit_was_not_answered_fails_and_is_not_done_again() {
    let Some(ground) = Ground::new() else { return };
    let proxy = Proxy::before(&ground);
    let store = open(&ground, &proxy.url, QUICK);
    count(&store, &["kari"], &["count"]).await.unwrap();
    proxy.lose_next_commit();
    let error = count(&store, &["kari"], &["count"]).await.unwrap_err();
    assert!(proxy.has_lost_it() && error.to_string().contains("during a commit"), "{error}");
    assert_eq!(ground.number("SELECT generation FROM users"), 2, "it was carried out once");
    count(&store, &["kari"], &["count"]).await.unwrap();
    assert_eq!(ground.number("SELECT value::bigint FROM documents WHERE name = 'count'"), 3);
    store.close().await;
}

#[tokio::test]
async fn a_transaction_whose_connection_was_lost_before_the_commit_is_done_again_once() {
    let Some(ground) = Ground::new() else { return };
    let ground = Arc::new(ground);
    let mut url = ground.url.clone();
    *url.options = ground.url.options().clone().application_name("lost_before_commit");
    let store = open(&ground, &url, QUICK);
    for lost in [1, 2] {
        let (runs, runs_in) = (Arc::new(AtomicUsize::new(0)), Arc::clone(&ground));
        let counted = Arc::clone(&runs);
        let result = store.transact(Look::rows(["kari"]), move |_| {
            if runs.fetch_add(1, Ordering::SeqCst) < lost {
                runs_in.sql(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                     WHERE application_name = 'lost_before_commit' AND state = 'idle in transaction'",
                );
            }
            (Change::rows([Row::new("kari")]), ())
        });
        assert_eq!((result.await.is_ok(), counted.load(Ordering::SeqCst)), (lost == 1, 2));
    }
    store.close().await;
}

#[tokio::test]
async fn a_row_that_the_store_refuses_fails_alone() {
    let Some(ground) = Ground::new() else { return };
    let store = open(&ground, &ground.url, QUICK);
    ground.sql(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not this one'; END $$;
         CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON users FOR EACH ROW WHEN (NEW.user_id = 'email|bad')
         EXECUTE FUNCTION refuse()",
    );
    // All are sent before the first answer can be awaited, so they meet in a batch.
    let kept = join_all(["a", "email|bad", "c"].map(|user| push(&store, user))).await;
    assert!(kept[0].is_ok() && kept[2].is_ok(), "{kept:?}");
    assert!(matches!(&kept[1], Err(QueueError::Store(why)) if why.contains("not this one")), "{kept:?}");
    assert!(!kept[1].as_ref().unwrap_err().to_string().contains("email|"));
    assert!(store.accepting());
    assert!(count(&store, &["a", "email|bad"], &[]).await.is_err());
    count(&store, &["a", "c"], &[]).await.unwrap();
    assert_eq!(ground.number("SELECT sum(generation)::bigint FROM users"), 4);
    store.close().await;
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_an_error_that_does_not_quote_it() {
    let Some(ground) = Ground::new() else { return };
    let store = open(&ground, &ground.url, QUICK);
    ground.sql(
        "INSERT INTO users (user_id, generation, cause, attempts) VALUES ('kari@example.com', 1, 'x', -1)",
    );
    let error = count(&store, &["kari@example.com"], &[]).await.unwrap_err().to_string();
    assert!(error.contains("cannot be read") && !error.contains("kari") && !error.contains("-1"), "{error}");
    store.close().await;
}

/// Somebody at a console began a transaction and went to lunch.
#[tokio::test]
async fn a_locked_row_holds_up_only_its_own_events() {
    let Some(ground) = Ground::new() else { return };
    let store = open(&ground, &ground.url, QUICK);
    for user in ["kari", "ola"] {
        push(&store, user).await.unwrap();
    }
    ground.sql("UPDATE users SET due_at = 1");
    let mut console = ground.url.options().connect().await.unwrap();
    let locks = "BEGIN; SELECT FROM users WHERE user_id = 'kari' FOR UPDATE";
    sqlx::raw_sql(locks).execute(&mut console).await.unwrap();

    assert_eq!(first(&store, Index::Due(Lane::Events)).await, ["ola"], "a locked row is passed over");
    let counted = count(&store, &["kari"], &[]).await;
    assert!(counted.is_err(), "a transaction that names it gives up");
    let kept = join_all(["kari", "liv"].map(|user| push(&store, user))).await;
    assert!(kept[0].is_err() && kept[1].is_ok(), "{kept:?}");
    assert!(store.accepting());

    // The probe has to wait as well, or it may find that events can be kept before this test looks.
    let locks = "LOCK TABLE documents IN SHARE MODE; SELECT FROM users FOR UPDATE";
    sqlx::raw_sql(locks).execute(&mut console).await.unwrap();
    let together = join_all(["ola", "kari", "liv"].map(|user| push(&store, user))).await;
    assert!(together.iter().all(Result::is_err), "{together:?}");
    assert!(!store.accepting(), "so many locked rows are not a few odd ones");

    sqlx::raw_sql("ROLLBACK").execute(&mut console).await.unwrap();
    until("events are taken again", || store.accepting()).await;
    push(&store, "kari").await.unwrap();
    store.close().await;
}

/// A standby that does not know yet that it is to take over lets every client in, and takes nothing.
#[tokio::test]
async fn a_server_that_takes_nothing_is_not_stormed() {
    let Some(ground) = Ground::new() else { return };
    let proxy = Proxy::before(&ground);
    let tuning = Tuning { longest_wait: Duration::from_secs(1), ..QUICK };
    let store = open(&ground, &proxy.url, tuning);
    push(&store, "kari").await.unwrap();
    ground.sql(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             RAISE 'cannot write in a read-only transaction' USING ERRCODE = '25006'; END $$;
         CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON users FOR EACH STATEMENT EXECUTE FUNCTION refuse()",
    );
    let (before, began) = (proxy.connections(), std::time::Instant::now());
    for _ in 0..100 {
        push(&store, "ola").await.unwrap_err();
    }
    let (made, seconds) = (proxy.connections() - before, began.elapsed().as_secs());
    assert!(made < 20 + 2 * seconds as usize, "{made} connections in {seconds} s");
    assert!(!store.accepting());
    assert!(count(&store, &["kari"], &[]).await.is_err());
    ground.sql("DROP TRIGGER refuse ON users");
    until("events are taken again", || store.accepting()).await;
    count(&store, &["kari"], &[]).await.unwrap();
    store.close().await;
}

#[tokio::test]
async fn the_connection_for_events_is_never_silent_for_long() {
    let Some(ground) = Ground::new() else { return };
    let mut url = ground.url.clone();
    *url.options = ground.url.options().clone().application_name("a_silent_one");
    let tuning = Tuning { silence: Duration::from_millis(20), ..QUICK };
    let store = open(&ground, &url, tuning);
    // One connection listens; the other one is the event writer's, which no event has asked for yet.
    let count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'a_silent_one'";
    until("it is there before the first event", || ground.number(count) > 1).await;
    ground.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'a_silent_one'",
    );
    until("it is replaced", || ground.number(count) > 1).await;
    store.close().await;
}
