//! What a transaction looks at, and what it leaves behind.

use super::*;

#[tokio::test]
async fn each_index_gives_its_rows_in_order() {
    let (_folder, path) = folder();
    let store = open(&path).unwrap();
    let at = |millis: i64| Some(Millis(millis));
    let service = lease("service-1");
    let missing = |since: i64| {
        let memory = crate::model::LastSeen { missing_since: at(since), ..Default::default() };
        Row { last_seen: memory, ..Row::default() }
    };
    let (now, later, far) = (NOW.0, NOW.0 + 1, NOW.0 + 1_000);
    let drift = Some("drift".to_owned());
    let parked = Row { parked_at: at(5), answer: Some("400".to_owned()), ..Row::default() };
    let named = [
        ("due-2", Row { due_at: at(now), ..Row::default() }),
        ("due-1", Row { due_at: at(5), ..Row::default() }),
        ("due-3", Row { due_at: at(now), ..Row::default() }),
        ("ended", Row { due_at: at(7), lease: service.clone(), ..Row::default() }),
        ("retry", Row { due_at: at(6), lane: Lane::Retries, ..Row::default() }),
        ("later", Row { due_at: at(later), ..Row::default() }),
        ("far", Row { due_at: at(far), ..Row::default() }),
        ("far-retry", Row { due_at: at(far - 1), lane: Lane::Retries, ..Row::default() }),
        ("leased", Row { due_at: at(far), lease: service.clone(), ..Row::default() }),
        ("leased-by-hand", Row { due_at: at(far), lease: lease("command-1"), ..Row::default() }),
        ("check-2", Row { check_at: at(now), check_cause: Some("expiry".to_owned()), ..Row::default() }),
        ("check-1", Row { check_at: at(3), check_cause: drift.clone(), ..Row::default() }),
        (
            "check-leased",
            Row { check_at: at(3), lease: service.clone(), due_at: at(later), ..Row::default() },
        ),
        ("check-later", Row { check_at: at(later), check_cause: drift, ..Row::default() }),
        ("held-2", Row { held_back: true, ..Row::default() }),
        ("held-1", Row { held_back: true, due_at: at(far), lane: Lane::Retries, ..Row::default() }),
        ("held-leased", Row { held_back: true, lease: service, due_at: at(later), ..Row::default() }),
        ("parked-2", parked.clone()),
        ("parked-1", parked.clone()),
        ("parked-else", Row { answer: Some("409".to_owned()), ..parked }),
        ("missing-2", missing(6)),
        ("missing-1", missing(5)),
        ("missing-new", missing(7)),
        ("missing-held", Row { held_back: true, lease: lease("command-1"), ..missing(5) }),
        ("missing-due", Row { due_at: at(far), lane: Lane::Background, ..missing(5) }),
    ];
    let rows = named.into_iter().map(|(name, row)| Row { user_id: name.to_owned(), ..row });
    save(&store, Change::rows(rows)).await.unwrap();

    let beyond = Millis(far - 2);
    for (of, expected) in [
        (Index::Due(Lane::Events), &["due-1", "ended", "due-2", "due-3"][..]),
        (Index::Due(Lane::Retries), &["retry"]),
        (Index::Due(Lane::Background), &[]),
        (Index::CheckDue, &["check-1", "check-2"]),
        (Index::CheckAfter { cause: "drift", at: Millis(3) }, &["check-later"]),
        (Index::HeldBack, &["held-1", "held-2"]),
        (Index::LeasedByServiceBeyond(beyond), &["leased"]),
        (Index::LeasedByServiceBeyond(Millis(far)), &[]),
        (Index::DueBeyond(beyond), &["far", "far-retry", "held-1", "missing-due"]),
        (Index::ParkedWith("400".to_owned()), &["parked-1", "parked-2"]),
        (Index::MissingBefore(Millis(7)), &["missing-1", "missing-2"]),
    ] {
        assert_eq!(first(&store, of.clone(), 9).await, expected, "{of:?}");
        let one = &expected[..expected.len().min(1)];
        assert_eq!(first(&store, of.clone(), 1).await, one, "{of:?}");
    }
    let look = Look { next_due: true, ..Look::default() };
    let next = store.transact(look, |seen| (Change::default(), seen.next_due.clone())).await.unwrap();
    let expected =
        [(Lane::Events, Millis(later)), (Lane::Retries, Millis(far - 1)), (Lane::Background, Millis(far))];
    assert_eq!(next.into_iter().collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn a_transaction_sees_what_the_one_before_it_has_saved() {
    let (_folder, path) = folder();
    let store = open(&path).unwrap();
    let count = || {
        store.transact(Look::default().with("n"), |seen| {
            let before: u32 = seen.documents.get("n").map_or(0, |n| n.parse().unwrap());
            let documents = [("n".to_owned(), (before + 1).to_string())].into();
            (Change { documents, ..Change::default() }, before)
        })
    };
    // All meet in a batch.
    let counts = join_all((0..100).map(|_| count())).await;
    let counts: Vec<_> = counts.into_iter().map(Result::unwrap).collect();
    assert_eq!(counts, (0..100).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_transaction_that_fails_is_undone_whole_and_refuses_no_event() {
    let (_folder, path) = folder();
    let store = open(&path).unwrap();
    let file = Connection::open(&path).unwrap();
    let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON users WHEN NEW.user_id = 'email|3'
        BEGIN SELECT RAISE(ABORT, 'not now'); END";
    file.execute_batch(refuse).unwrap();
    let change = Change::rows(["1", "2", "3", "4"].map(row));
    // Both meet in a batch.
    let (saved, kept) = futures_util::join!(save(&store, change.clone()), push(&store, "kari"));
    assert!(matches!(&saved, Err(QueueError::Store(why)) if why.contains("not now")), "{saved:?}");
    assert!(kept.is_ok() && store.accepting(), "{kept:?}");
    assert_eq!(rows(&store, &["1", "2", "3", "4", "kari"]).await.len(), 1);
    file.execute_batch("DROP TRIGGER refuse").unwrap();
    save(&store, change).await.unwrap();
    assert_eq!(rows(&store, &["1", "2", "3", "4", "kari"]).await.len(), 5);
}

#[tokio::test]
async fn a_transaction_that_fails_alone_says_nothing_about_events() {
    let (_folder, path) = folder();
    let store = open(&path).unwrap();
    let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON documents BEGIN SELECT RAISE(ABORT, 'not now'); END";
    Connection::open(&path).unwrap().execute_batch(refuse).unwrap();
    let documents = [("a".to_owned(), "1".to_owned())].into();
    assert!(save(&store, Change { documents, ..Change::default() }).await.is_err());
    assert!(store.accepting());
}

#[tokio::test]
async fn what_was_sent_before_the_close_is_still_done() {
    let (_folder, path) = folder();
    let store = open(&path).unwrap();
    let (saved, kept, ()) =
        futures_util::join!(save(&store, Change::rows([row("a")])), push(&store, "b"), store.close());
    assert!(saved.is_ok() && kept.is_ok(), "{saved:?} {kept:?}");
    assert_eq!(rows(&open(&path).unwrap(), &["a", "b"]).await.len(), 2);
}

#[tokio::test]
async fn a_transaction_that_changes_nothing_writes_nothing() {
    let (folder, path) = folder();
    let store = open(&path).unwrap();
    push(&store, "kari").await.unwrap();
    let read = || fs::read(folder.path().join("queue.db-wal")).unwrap();
    let before = read();
    let look = || Look::rows(["email|kari"]).with("a");
    for _ in 0..3 {
        store.transact(look(), |_| (Change::default(), ())).await.unwrap();
    }
    assert!(read() == before, "the log has grown");
}

#[tokio::test]
async fn an_erased_user_leaves_nothing_of_the_same_change_behind() {
    let (_folder, path) = folder();
    let store = open(&path).unwrap();
    let change = Change {
        erased: vec!["email|kari".to_owned()],
        rows: vec![row("kari"), row("ola")],
        entries: vec![("email|kari".to_owned(), entry("updated", 1))],
        ..Change::default()
    };
    save(&store, change).await.unwrap();
    assert_eq!(rows(&store, &["kari", "ola"]).await, [row("ola")]);
    assert!(entries(&store, Question::History("email|kari".to_owned(), 9)).await.is_empty());
}
