//! What is saved comes back as it was, and the statement of an event is the rule of an event.

use super::*;
use crate::model::{LastSeen, SeenContact};
use crate::personal::Personal;

/// A row in which every column has a value of its own.
fn full() -> Row {
    Row {
        user_id: "email|kari".to_owned(),
        generation: 2,
        cause: "drift".to_owned(),
        lane: Lane::Background,
        due_at: Some(Millis(3)),
        lease: lease("service-4"),
        attempts: 5,
        failing_since: Some(Millis(6)),
        error: Some("503 from an API".to_owned()),
        parked_at: Some(Millis(7)),
        answer: Some("an 'answer' with æ".to_owned()),
        held_back: true,
        tags_held: vec!["sesamy_tag_æ".to_owned()],
        has_pass: true,
        synced_at: Some(Millis(8)),
        outcome: Some("updated".to_owned()),
        reason: Some(String::new()),
        check_at: Some(Millis(-9)),
        check_cause: Some("expiry".to_owned()),
        last_seen: LastSeen {
            email: Some(Personal::new("kari@example.com")),
            contact: Some(SeenContact { on_list: true, ..SeenContact::default() }),
            missing_since: Some(Millis(10)),
            ..LastSeen::default()
        },
    }
}

#[tokio::test]
async fn a_row_comes_back_as_it_was() {
    let (_folder, path) = folder();
    let store = open(&path).unwrap();
    let (full, empty) = (full(), Row::new("email|ola"));
    let record = full.to_record();
    assert!(record.values().all(|value| !value.is_null()), "a column without a test: {record:?}");
    let swapped = [
        Row { user_id: full.user_id.clone(), ..empty.clone() },
        Row { user_id: empty.user_id.clone(), ..full.clone() },
    ];
    // The second save replaces everything that the first has written.
    for rows in [[full, empty], swapped] {
        save(&store, Change::rows(rows.clone())).await.unwrap();
        for row in rows {
            let id = row.user_id.clone();
            let found = rows_of(&store, Question::RowsOf(vec![id.clone()])).await;
            assert_eq!(found.as_slice(), std::slice::from_ref(&row));
            let look = Look::rows([id.clone(), "email|nobody".to_owned()]);
            let seen = store.transact(look, |seen| (Change::default(), seen.rows.clone())).await.unwrap();
            assert_eq!(seen.into_iter().collect::<Vec<_>>(), [(id, row)]);
        }
    }
}

#[tokio::test]
async fn an_event_does_to_a_row_what_the_rule_says() {
    let at = |millis: i64| Some(Millis(millis));
    let parked = Row { parked_at: at(5), answer: Some("400".to_owned()), attempts: 3, ..row("k") };
    let cases = [
        ("an unknown user", None),
        ("nothing to do", Some(row("k"))),
        ("a change that is held back", Some(Row { held_back: true, ..row("k") })),
        ("due", Some(Row { due_at: at(7), attempts: 2, failing_since: at(3), ..row("k") })),
        ("due at the debounce's end", Some(Row { due_at: Some(NOW.plus(DEBOUNCE)), ..row("k") })),
        ("due later", Some(Row { due_at: at(9_000_000), lane: Lane::Retries, ..row("k") })),
        ("due sooner in a slower lane", Some(Row { due_at: at(7), lane: Lane::Background, ..row("k") })),
        ("leased", Some(Row { due_at: at(9_000_000), lease: lease("service-1"), ..row("k") })),
        (
            "leased in a slower lane",
            Some(Row {
                due_at: at(9_000_000),
                lease: lease("command-1"),
                lane: Lane::Background,
                ..row("k")
            }),
        ),
        ("a lease that has ended", Some(Row { due_at: at(7), lease: lease("service-1"), ..row("k") })),
        ("parked", Some(Row { failing_since: at(4), ..parked.clone() })),
        ("parked in a slower lane", Some(Row { lane: Lane::Background, ..parked })),
        ("all columns", Some(Row { parked_at: None, answer: None, user_id: "email|k".to_owned(), ..full() })),
    ];
    let (_folder, path) = folder();
    let store = open(&path).unwrap();
    for (case, before) in cases {
        let change = Change { rows: before.clone().into_iter().collect(), ..Change::default() };
        save(&store, Change { erased: vec!["email|k".to_owned()], ..Change::default() }).await.unwrap();
        save(&store, change).await.unwrap();
        // Two events of a batch are one write.
        let events = ["a.b#first", "a.b#second"];
        join_all(events.map(|cause| store.push(Push { user: user("k"), cause }))).await;
        let rule = |row: Row, cause: &str| row.pushed(cause, NOW.plus(DEBOUNCE));
        let after = events.into_iter().fold(before.unwrap_or_else(|| Row::new("email|k")), rule);
        assert_eq!(rows(&store, &["k"]).await, [after], "{case}");
    }
}

#[tokio::test]
async fn history_documents_and_tombstones_come_back_as_they_were() {
    let (_folder, path) = folder();
    let store = open(&path).unwrap();
    let change = Change {
        rows: vec![row("kari"), row("ola")],
        entries: vec![
            ("email|kari".to_owned(), entry("updated", 10)),
            ("email|ola".to_owned(), entry("failed", 20)),
            ("email|kari".to_owned(), entry("failed", 30)),
        ],
        documents: [("a".to_owned(), "{}".to_owned()), ("b".to_owned(), "1".to_owned())].into(),
        tombstones: vec!["0a".to_owned()],
        ..Change::default()
    };
    save(&store, change).await.unwrap();

    let look = || Look {
        last_entries: true,
        documents: vec!["a".to_owned(), "b".to_owned(), "c".to_owned()],
        tombstones: vec!["0a".to_owned(), "0b".to_owned()],
        entries_before: Some((Millis(30), 9)),
        ..Look::rows(["email|kari", "email|nobody"])
    };
    let seen = store.transact(look(), |seen| (Change::default(), seen.clone())).await.unwrap();
    assert_eq!((seen.now, seen.wall), (NOW, NOW));
    let last = &seen.last_entries["email|kari"];
    assert_eq!((seen.last_entries.len(), last), (1, &HistoryRow { id: 3, ..entry("failed", 30) }));
    assert_eq!(seen.documents.keys().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!((seen.documents["b"].as_str(), seen.tombstones.len(), seen.entries), ("1", 1, vec![1, 2]));

    let change = Change {
        entries: vec![(
            "email|kari".to_owned(),
            HistoryRow { times: 2, last_at: Millis(40), ..last.clone() },
        )],
        removed_entries: vec![2],
        documents: [("a".to_owned(), String::new()), ("b".to_owned(), "2".to_owned())].into(),
        removed_tombstones: vec!["0a".to_owned()],
        ..Change::default()
    };
    save(&store, change).await.unwrap();
    let look = Look { entries_before: Some((Millis(99), 1)), ..look() };
    let seen = store.transact(look, |seen| (Change::default(), seen.clone())).await.unwrap();
    let last = &seen.last_entries["email|kari"];
    assert_eq!((last.id, last.times, last.last_at), (3, 2, Millis(40)));
    assert_eq!(seen.documents.into_iter().collect::<Vec<_>>(), [("b".to_owned(), "2".to_owned())]);
    assert_eq!(
        (seen.tombstones.len(), seen.entries),
        (0, vec![1]),
        "the oldest first, and no more than asked for"
    );
    assert!(entries(&store, Question::History("email|ola".to_owned(), 9)).await.is_empty());
}

/// Values that no version saves: an error that names none of them.
#[tokio::test]
async fn a_value_that_cannot_be_read_is_an_error_without_that_value() {
    let (_folder, path) = folder();
    let store = open(&path).unwrap();
    let odd = "INSERT INTO users (user_id, generation, cause, attempts) VALUES ('email|odd', 1, 'x', -41);
               INSERT INTO history (user_id, last_at, outcome, lost_tags, entry)
               VALUES ('email|odd', 1, 'x', 0, '{\"first_at\": \"kari\"}')";
    Connection::open(&path).unwrap().execute_batch(odd).unwrap();
    for question in
        [Question::RowsOf(vec!["email|odd".to_owned()]), Question::History("email|odd".to_owned(), 1)]
    {
        let error = store.ask(question).await.unwrap_err().to_string();
        assert!(error.contains("no version of this program saves"), "{error}");
        assert!(!error.contains("41") && !error.contains("kari") && !error.contains("odd"), "{error}");
    }
}
