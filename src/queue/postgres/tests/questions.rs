//! Questions, and what a transaction looks at besides rows.

use std::collections::BTreeSet;

use super::*;
use crate::queue::history::{Entry, HistoryRow, LogFilter};
use crate::queue::row::RowState;
use crate::queue::views::{Census, Filter, ParkedGroup};

pub(super) fn entry(id: i64, outcome: &'static str, at: i64) -> HistoryRow {
    let lost = if outcome == "updated" { vec!["sesamy_plus".to_owned()] } else { Vec::new() };
    let entry = Entry { outcome, tags_removed: lost, ..Entry::default() };
    HistoryRow { id, first_at: Millis(at), last_at: Millis(at), times: 1, ..questions_row(&entry, at) }
}

fn questions_row(entry: &Entry, at: i64) -> HistoryRow {
    entry.onto(None, Millis(at))
}

fn in_each_state() -> Vec<Row> {
    let idle =
        Row { lease: None, due_at: None, parked_at: None, held_back: false, failing_since: None, ..full("") };
    let (past, ahead) = (Some(Millis(NOW.0 - 7)), Some(Millis(NOW.0 + 7)));
    let rows = [
        ("background", Row { lane: Lane::Background, due_at: Some(Millis(NOW.0 - 9)), ..idle.clone() }),
        ("due", Row { due_at: past, lease: service_lease(), ..idle.clone() }),
        ("failing", Row { due_at: ahead, failing_since: Some(Millis(1)), ..idle.clone() }),
        ("held", Row { held_back: true, ..idle.clone() }),
        ("idle", idle.clone()),
        ("leased", Row { due_at: ahead, lease: service_lease(), ..idle.clone() }),
        ("parked", Row { parked_at: Some(Millis(8)), failing_since: Some(Millis(6)), ..idle.clone() }),
        (
            "parked too",
            Row { parked_at: Some(Millis(9)), error: Some("Other Words".to_owned()), ..idle.clone() },
        ),
        ("scheduled", Row { due_at: ahead, ..idle }),
    ];
    rows.map(|(id, row)| Row { user_id: id.to_owned(), ..row }).to_vec()
}

#[tokio::test]
async fn rows_are_found_by_state_text_page_and_address() {
    let Some(ground) = Ground::new() else { return };
    let store = open(&ground, &ground.url, QUICK);
    let all = in_each_state();
    save(&store, Change::rows(all.clone())).await;
    let found = async |question: Question| -> Vec<String> {
        let Answer::Rows(rows) = store.ask(question).await.unwrap() else { panic!("no rows") };
        assert!(rows.iter().all(|row| all.contains(row)));
        rows.into_iter().map(|row| row.user_id).collect()
    };
    let expected = |is: &dyn Fn(&Row) -> bool| -> Vec<String> {
        all.iter().filter(|row| is(row)).map(|row| row.user_id.clone()).collect()
    };
    for state in RowState::ALL {
        let filter = Filter { state: Some(state), limit: 9, ..Filter::default() };
        let of_state = expected(&|row| row.state(NOW) == state);
        assert!(!of_state.is_empty() && found(Question::Rows(filter)).await == of_state, "{state:?}");
    }
    let filter = |reason: &str, after: &str, limit: usize| {
        Question::Rows(Filter {
            state: None,
            reason: Some(reason.to_owned()),
            after: Some(after.to_owned()),
            limit,
        })
    };
    assert_eq!(found(filter("oTHER w", "", 9)).await, ["parked too"]);
    assert_eq!(found(filter("503", "idle", 2)).await, ["leased", "parked"]);
    assert_eq!(found(filter("%", "", 9)).await, [""; 0], "it is text, no pattern");
    let key = all[0].last_seen.email_key().unwrap();
    assert_eq!(found(Question::RowsAt(key, 3)).await, ["background", "due", "failing"]);
    assert_eq!(found(Question::RowsOf(vec!["idle".to_owned(), "no one".to_owned()])).await, ["idle"]);
    store.close().await;
}

#[tokio::test]
async fn counts_are_of_every_state() {
    let Some(ground) = Ground::new() else { return };
    let store = open(&ground, &ground.url, QUICK);
    save(&store, Change::rows(in_each_state())).await;
    let Answer::Census(census) = store.ask(Question::Census).await.unwrap() else { panic!("no census") };
    let expected = Census {
        due: 2,
        leased: 1,
        scheduled: 1,
        failing: 1,
        held: 1,
        parked: 2,
        oldest_due_ms: 7,
        background_due: 1,
        oldest_background_ms: 9,
        background_waiting: 1,
    };
    assert_eq!(census, expected);
    let Answer::Parked(groups) = store.ask(Question::Parked(9)).await.unwrap() else { panic!("no groups") };
    let group = ParkedGroup {
        answer: "503".to_owned(),
        users: 2,
        first_at: Some(Millis(6)),
        last_at: Millis(9),
        error: "Other Words".to_owned(),
    };
    assert_eq!(groups, [group]);
    let Answer::Ended(ended) = store.ask(Question::EndedSince(Millis(9))).await.unwrap() else { panic!() };
    assert_eq!(ended, [("updated".to_owned(), "address".to_owned(), 1)]);
    store.close().await;
}

#[tokio::test]
async fn entries_are_found_by_user_by_filter_and_by_age() {
    let Some(ground) = Ground::new() else { return };
    let store = open(&ground, &ground.url, QUICK);
    let of = |user: &str, outcome: &'static str, at: i64| (user.to_owned(), entry(0, outcome, at));
    let entries = vec![of("kari", "updated", 10), of("ola", "failed", 30), of("kari", "unchanged", 20)];
    save(&store, Change { rows: vec![full("kari")], entries, ..Change::default() }).await;
    let found = async |question: Question| -> Vec<(String, i64)> {
        let Answer::Entries(found) = store.ask(question).await.unwrap() else { panic!("no entries") };
        found.into_iter().map(|(user, entry)| (user, entry.last_at.0)).collect()
    };
    let at = |user: &str, at: i64| (user.to_owned(), at);
    assert_eq!(found(Question::History("kari".to_owned(), 9)).await, [at("kari", 20), at("kari", 10)]);
    let log = |filter: LogFilter| Question::Log(LogFilter { limit: 9, ..filter });
    let last = ground.number("SELECT max(id) FROM history");
    for (filter, expected) in [
        (LogFilter::default(), vec![at("kari", 20), at("ola", 30), at("kari", 10)]),
        (LogFilter { outcome: Some("failed".to_owned()), ..LogFilter::default() }, vec![at("ola", 30)]),
        (LogFilter { lost_tags: true, ..LogFilter::default() }, vec![at("kari", 10)]),
        (LogFilter { since: Some(Millis(20)), ..LogFilter::default() }, vec![at("kari", 20), at("ola", 30)]),
        (LogFilter { before: Some(last), ..LogFilter::default() }, vec![at("ola", 30), at("kari", 10)]),
    ] {
        assert_eq!(found(log(filter.clone())).await, expected, "{filter:?}");
    }

    let look = Look {
        last_entries: true,
        entries_before: Some((Millis(30), 1)),
        tombstones: vec!["aa".to_owned(), "bb".to_owned()],
        ..Look::rows(["kari", "ola"])
    };
    save(&store, Change { tombstones: vec!["bb".to_owned(), "cc".to_owned()], ..Change::default() }).await;
    let seen = store.transact(look.clone(), |seen| (Change::default(), seen.clone())).await.unwrap();
    let last: Vec<_> =
        seen.last_entries.iter().map(|(user, entry)| (user.as_str(), entry.last_at.0)).collect();
    assert_eq!(last, [("kari", 20)], "ola has no row");
    assert_eq!(ground.number(&format!("SELECT last_at FROM history WHERE id = {}", seen.entries[0])), 10);
    assert_eq!((seen.entries.len(), seen.tombstones), (1, BTreeSet::from(["bb".to_owned()])));
    assert_eq!((seen.now, seen.wall), (NOW, NOW));

    let change = Change {
        erased: vec!["kari".to_owned()],
        removed_tombstones: vec!["bb".to_owned()],
        ..Change::default()
    };
    save(&store, change).await;
    assert_eq!(found(log(LogFilter::default())).await, [at("ola", 30)], "the history goes with the row");
    let asked = Question::Tombstones(["bb", "cc"].map(str::to_owned).to_vec());
    let Answer::Tombstones(hashes) = store.ask(asked).await.unwrap() else { panic!("no tombstones") };
    assert_eq!(hashes, BTreeSet::from(["cc".to_owned()]));
    store.close().await;
}
