//! What is read for people, beside the writer.

use super::*;
use crate::model::LastSeen;
use crate::personal::Personal;
use crate::queue::history::LogFilter;
use crate::queue::row::RowState;
use crate::queue::views::{Census, Filter};

/// A user in each state, and more than one that is due.
async fn of_each_state(store: &SqliteStore) {
    let at = |millis: i64| Some(Millis(millis));
    let (now, later) = (NOW.0, NOW.0 + 1);
    let service = lease("service-1");
    let error = Some("422 Unprocessable".to_owned());
    let rows = [
        Row { due_at: at(now - 5), ..row("due") },
        Row { due_at: at(now - 9), lane: Lane::Retries, ..row("due-again") },
        Row { due_at: at(now - 20), lane: Lane::Background, ..row("due-in-background") },
        Row { due_at: at(now), lease: service.clone(), ..row("due-lease-ended") },
        Row { due_at: at(later), lease: service, ..row("leased") },
        Row { due_at: at(later), lane: Lane::Background, ..row("scheduled") },
        Row { due_at: at(later), failing_since: at(3), error: error.clone(), ..row("failing") },
        Row { held_back: true, ..row("held") },
        Row {
            parked_at: at(4),
            failing_since: at(3),
            error,
            answer: Some("Mailmojo 400".to_owned()),
            held_back: true,
            ..row("parked")
        },
        Row { check_at: at(1), ..row("idle") },
    ];
    save(store, Change::rows(rows)).await.unwrap();
}

async fn ids(store: &SqliteStore, filter: Filter) -> Vec<String> {
    let rows = rows_of(store, Question::Rows(Filter { limit: filter.limit.max(1), ..filter })).await;
    rows.into_iter().map(|row| row.user_id.replace("email|", "")).collect()
}

#[tokio::test]
async fn rows_are_listed_by_state_reason_and_page() {
    let (_folder, path) = folder();
    let store = open(&path).unwrap();
    of_each_state(&store).await;
    let filter = Filter { limit: 99, ..Filter::default() };
    let by_state = [
        (RowState::Due, &["due", "due-again", "due-in-background", "due-lease-ended"][..]),
        (RowState::Leased, &["leased"]),
        (RowState::Scheduled, &["scheduled"]),
        (RowState::Failing, &["failing"]),
        (RowState::Held, &["held"]),
        (RowState::Parked, &["parked"]),
        (RowState::Idle, &["idle"]),
    ];
    for (state, expected) in by_state {
        assert_eq!(ids(&store, Filter { state: Some(state), ..filter.clone() }).await, expected, "{state:?}");
    }
    assert_eq!(ids(&store, filter.clone()).await.len(), 10);
    for (reason, state, expected) in [
        ("UNPROCESS", None, &["failing", "parked"][..]),
        ("mailmojo", None, &["parked"]),
        ("422", Some(RowState::Failing), &["failing"]),
        ("%", None, &[]),
    ] {
        let filter = Filter { reason: Some(reason.to_owned()), state, ..filter.clone() };
        assert_eq!(ids(&store, filter).await, expected, "{reason}");
    }
    let page = Filter { after: Some("email|due-again".to_owned()), limit: 2, ..filter };
    assert_eq!(ids(&store, page).await, ["due-in-background", "due-lease-ended"]);
}

#[tokio::test]
async fn the_census_counts_each_state() {
    let (_folder, path) = folder();
    let store = open(&path).unwrap();
    of_each_state(&store).await;
    let expected = Census {
        due: 4,
        leased: 1,
        scheduled: 1,
        failing: 1,
        held: 1,
        parked: 1,
        oldest_due_ms: 9,
        background_due: 1,
        oldest_background_ms: 20,
        background_waiting: 2,
    };
    assert!(matches!(store.ask(Question::Census).await, Ok(Answer::Census(census)) if census == expected));
}

#[tokio::test]
async fn an_empty_queue_has_an_answer_to_everything() {
    let (_folder, path) = folder();
    let store = open(&path).unwrap();
    assert!(
        matches!(store.ask(Question::Census).await, Ok(Answer::Census(census)) if census == Census::default())
    );
    assert!(matches!(store.ask(Question::Parked(9)).await, Ok(Answer::Parked(none)) if none.is_empty()));
    assert!(entries(&store, Question::Log(LogFilter { limit: 9, ..LogFilter::default() })).await.is_empty());
    let ended = store.ask(Question::EndedSince(Millis(0))).await;
    assert!(matches!(ended, Ok(Answer::Ended(none)) if none.is_empty()));
}

#[tokio::test]
async fn parked_users_are_grouped_the_largest_group_first() {
    let (_folder, path) = folder();
    let store = open(&path).unwrap();
    let park = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10100)
        INSERT INTO users (user_id, generation, cause, parked_at, failing_since, error, answer)
        SELECT 'email|' || i, 1, 'x', i, i - 1, 'refused: ' || i,
            iif(i > 40, 'most', iif(i > 20, 'b', iif(i > 5, 'c', 'a'))) FROM n";
    Connection::open(&path).unwrap().execute(park, ()).unwrap();
    let Answer::Parked(groups) = store.ask(Question::Parked(3)).await.unwrap() else { panic!("not groups") };
    let counts: Vec<_> = groups.iter().map(|group| (group.answer.as_str(), group.users)).collect();
    assert_eq!(counts, [("most", Census::LIMIT), ("b", 20), ("c", 15)]);
    assert_eq!((groups[1].first_at, groups[1].last_at), (Some(Millis(20)), Millis(40)));
    assert_eq!(groups[1].error, "refused: 40");
}

#[tokio::test]
async fn users_are_found_by_address() {
    let (_folder, path) = folder();
    let store = open(&path).unwrap();
    let at_address = |name: &str, address: &str| {
        let email = Some(Personal::new(address));
        Row { last_seen: LastSeen { email, ..LastSeen::default() }, ..row(name) }
    };
    let rows = [
        at_address("b", "Kari@Example.com"),
        at_address("a", "kari@example.com"),
        at_address("c", "ola@example.com"),
        row("d"),
    ];
    let key = rows[0].last_seen.email_key().unwrap();
    save(&store, Change::rows(rows)).await.unwrap();
    let found = rows_of(&store, Question::RowsAt(key.clone(), 9)).await;
    assert_eq!(found.iter().map(|row| row.user_id.as_str()).collect::<Vec<_>>(), ["email|a", "email|b"]);
    assert_eq!(rows_of(&store, Question::RowsAt(key, 1)).await.len(), 1);
}

#[tokio::test]
async fn the_history_is_the_latest_first() {
    let (_folder, path) = folder();
    let store = open(&path).unwrap();
    let mut lost = entry("updated", 30);
    lost.tags_removed = vec!["sesamy_a".to_owned()];
    let change = Change {
        entries: vec![
            ("email|kari".to_owned(), entry("created", 10)),
            ("email|ola".to_owned(), entry("failed", 20)),
            ("email|kari".to_owned(), lost),
        ],
        ..Change::default()
    };
    save(&store, change).await.unwrap();
    let of_kari = entries(&store, Question::History("email|kari".to_owned(), 9)).await;
    assert_eq!(of_kari.iter().map(|(_, entry)| entry.id).collect::<Vec<_>>(), [3, 1]);
    assert_eq!(of_kari[1].1, HistoryRow { id: 1, ..entry("created", 10) });
    assert_eq!(entries(&store, Question::History("email|kari".to_owned(), 1)).await.len(), 1);

    let all = LogFilter { limit: 9, ..LogFilter::default() };
    for (case, filter, expected) in [
        ("all", all.clone(), &[3, 2, 1][..]),
        ("an outcome", LogFilter { outcome: Some("failed".to_owned()), ..all.clone() }, &[2]),
        ("lost tags", LogFilter { lost_tags: true, ..all.clone() }, &[3]),
        ("since", LogFilter { since: Some(Millis(20)), ..all.clone() }, &[3, 2]),
        ("the next page", LogFilter { before: Some(3), limit: 1, ..all }, &[2]),
    ] {
        let found = entries(&store, Question::Log(filter)).await;
        assert_eq!(found.iter().map(|(_, entry)| entry.id).collect::<Vec<_>>(), expected, "{case}");
    }
}

#[tokio::test]
async fn documents_are_found_by_the_beginning_of_their_names() {
    let (_folder, path) = folder();
    let store = open(&path).unwrap();
    let named = ["counts-1", "counts-2", "countsé", "count", "pause", "c%"];
    let documents = named.iter().map(|name| (name.to_string(), format!("\"{name}\""))).collect();
    save(&store, Change { documents, ..Change::default() }).await.unwrap();
    for (prefix, expected) in [
        ("counts", &["counts-1", "counts-2", "countsé"][..]),
        ("counts-", &["counts-1", "counts-2"]),
        ("c%", &["c%"]),
        ("nothing", &[]),
    ] {
        let Answer::Documents(found) = store.ask(Question::Documents(prefix.to_owned())).await.unwrap()
        else {
            panic!("not documents")
        };
        assert_eq!(found.keys().collect::<Vec<_>>(), expected, "{prefix}");
    }
}

#[tokio::test]
async fn the_ends_of_syncs_are_counted_by_outcome_and_reason() {
    let (_folder, path) = folder();
    let store = open(&path).unwrap();
    let ended =
        |name: &str, synced: Option<i64>, parked: Option<i64>, outcome: &str, reason: Option<&str>| Row {
            synced_at: synced.map(Millis),
            parked_at: parked.map(Millis),
            outcome: Some(outcome.to_owned()),
            reason: reason.map(str::to_owned),
            ..row(name)
        };
    let rows = [
        ended("a", Some(10), None, "updated", None),
        ended("b", Some(11), None, "updated", Some("")),
        ended("c", Some(9), None, "updated", None),
        ended("d", Some(1), Some(12), "parked", Some("permanent")),
        row("e"),
    ];
    save(&store, Change::rows(rows)).await.unwrap();
    let Answer::Ended(counts) = store.ask(Question::EndedSince(Millis(10))).await.unwrap() else {
        panic!("not counts")
    };
    let counts: Vec<_> =
        counts.iter().map(|(outcome, reason, count)| (outcome.as_str(), reason.as_str(), *count)).collect();
    assert_eq!(counts, [("parked", "permanent", 1), ("updated", "", 2)]);
}
