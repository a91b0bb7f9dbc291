//! Each rule as a table: a row before, and what becomes of it.

use std::time::Duration;

use super::*;
use crate::model::LastSeen;
use crate::personal::Personal;
use crate::queue::{AGAIN, Done, EXISTING_ONLY, EXPIRY, MISSING, Role};
use crate::upstream::PerApi;
use crate::user::UserId;

const NOW: Millis = Millis(1_000_000);
const DUE: Millis = Millis(1_002_000);
const LATER: Millis = Millis(1_900_000);
const UPDATE: &str = "contract.1#update";

fn name(number: u64) -> LeaseName {
    LeaseName::new(Role::Service, number)
}

fn idle() -> Row {
    Row { generation: 3, cause: "old".to_owned(), synced_at: Some(Millis(1)), ..Row::new("kari") }
}

fn due_at(at: Millis, lane: Lane) -> Row {
    Row { due_at: Some(at), lane, ..idle() }
}

fn leased() -> Row {
    Row { lease: Some(name(1)), due_at: Some(LATER), ..idle() }
}

fn parked() -> Row {
    Row {
        parked_at: Some(NOW),
        answer: Some("400".to_owned()),
        attempts: 2,
        failing_since: Some(NOW),
        ..idle()
    }
}

fn job(row: &Row) -> Job {
    Job {
        answered: vec![],
        user: UserId::new("kari").unwrap(),
        event_type: row.cause.clone(),
        attempts: row.attempts,
        failing_since: row.failing_since,
        is_taken_over: false,
        lease: name(1),
        generation: row.generation,
        lane: row.lane,
        leased_at: NOW,
        calls: PerApi::default(),
        calls_taken: PerApi::default(),
        is_probe: false,
        has_written: false,
        expiry_has_come: false,
        has_pass: row.has_pass,
        suspect: None,
        memory: row.last_seen.clone(),
        learned: None,
    }
}

#[test]
fn an_event() {
    let event = |row: Row| Row { generation: 4, cause: UPDATE.to_owned(), lane: Lane::Events, ..row };
    for (case, before, after) in [
        ("a row with nothing to do is due after the debounce", idle(), due_at(DUE, Lane::Events)),
        ("a row due sooner stays so", due_at(NOW, Lane::Events), due_at(NOW, Lane::Events)),
        ("a retry comes forward", due_at(LATER, Lane::Retries), due_at(DUE, Lane::Events)),
        ("background work is lifted", due_at(NOW, Lane::Background), due_at(NOW, Lane::Events)),
        ("a lease stands", leased(), leased()),
        ("a parked row starts afresh", parked(), due_at(DUE, Lane::Events)),
    ] {
        assert_eq!(before.pushed(UPDATE, DUE), event(after), "{case}");
    }
}

#[test]
fn a_lease() {
    let row = due_at(NOW, Lane::Events).leased(&name(2), LATER, NOW);
    assert_eq!((row.lease.clone(), row.due_at, row.attempts), (Some(name(2)), Some(LATER), 0));
    let taken_over = leased().leased(&name(2), LATER, NOW);
    assert_eq!(
        (taken_over.lease, taken_over.attempts, taken_over.failing_since),
        (Some(name(2)), 1, Some(NOW))
    );
}

#[test]
fn the_end_of_a_lease() {
    let open = |row: Row| Row { lease: None, due_at: None, ..row };
    let check = Some((LATER, EXPIRY.to_owned()));
    let tags_held = vec!["sesamy_active_subscriber".to_owned()];
    let done = Done { held_back: true, tags_held: tags_held.clone(), check, ..Done::default() };
    let done = Settlement::Done(Box::new(done));
    let retry = |counts| Settlement::Retry { at: LATER, counts, error: "503".to_owned() };
    let park = Settlement::Park { error: "400".to_owned(), answer: "400".to_owned() };
    let failed =
        Row { attempts: 1, failing_since: Some(NOW), error: Some("503".to_owned()), ..open(leased()) };
    for (case, how, after) in [
        (
            "done",
            done.clone(),
            Row {
                held_back: true,
                tags_held,
                synced_at: Some(NOW),
                check_at: Some(LATER),
                check_cause: Some(EXPIRY.to_owned()),
                ..open(leased())
            },
        ),
        ("failed", retry(true), Row { due_at: Some(LATER), lane: Lane::Retries, ..failed.clone() }),
        (
            "an API's fault costs no attempt",
            retry(false),
            Row { due_at: Some(LATER), lane: Lane::Retries, attempts: 0, failing_since: None, ..failed },
        ),
        (
            "parked",
            park.clone(),
            Row {
                parked_at: Some(NOW),
                answer: Some("400".to_owned()),
                error: Some("400".to_owned()),
                failing_since: Some(NOW),
                ..open(leased())
            },
        ),
        ("released", Settlement::Release { at: NOW }, Row { due_at: Some(NOW), ..open(leased()) }),
        ("cut off in a write", Settlement::Abandon { until: DUE }, Row { due_at: Some(DUE), ..leased() }),
    ] {
        let job = job(&leased());
        assert_eq!(leased().settled(&job, &how, NOW, DUE), (after, Settled::AsAsked), "{case}");
    }
    for (case, how, attempts) in [
        ("done", done, 0),
        ("failed", retry(true), 1),
        ("an API's fault", retry(false), 0),
        ("parked", park, 0),
    ] {
        let (job, row) = (job(&leased()), leased().pushed(UPDATE, DUE));
        let (row, settled) = row.settled(&job, &how, NOW, DUE);
        assert_eq!(settled, Settled::DueAgain, "an event came meanwhile: {case}");
        assert_eq!((row.due_at, row.lane, row.attempts), (Some(DUE), Lane::Events, attempts), "{case}");
        assert_eq!((row.parked_at, row.lease, row.cause.as_str()), (None, None, UPDATE), "{case}");
    }
}

#[test]
fn what_a_sync_has_seen_is_kept_however_it_ends() {
    let learned = LastSeen { has_left: true, ..LastSeen::default() };
    let job = Job { learned: Some(Box::new(learned.clone())), ..job(&leased()) };
    let retry = Settlement::Retry { at: LATER, counts: true, error: String::new() };
    let park = Settlement::Park { error: String::new(), answer: String::new() };
    for how in [retry, park, Settlement::Release { at: NOW }, Settlement::Abandon { until: LATER }] {
        assert_eq!(leased().settled(&job, &how, NOW, DUE).0.last_seen, learned, "{how:?}");
    }
}

#[test]
fn a_retry_by_an_operator() {
    let due = |cause: &str| Some(Row { cause: cause.to_owned(), ..due_at(NOW, Lane::Retries) });
    for (case, before, after) in [
        ("a parked row", parked(), due(RETRY)),
        ("a row that waits for its next try", due_at(LATER, Lane::Retries), due(RETRY)),
        ("background work", due_at(LATER, Lane::Background), due(RETRY)),
        (
            "an event stays in front",
            due_at(LATER, Lane::Events),
            due(RETRY).map(|row| Row { lane: Lane::Events, ..row }),
        ),
        ("a leased row is left alone", leased(), None),
        ("nothing to do", idle(), None),
    ] {
        assert_eq!(before.retried(NOW), after, "{case}");
    }
    for cause in RESTRICTED {
        let row = Row { cause: cause.to_owned(), ..parked() };
        assert_eq!(row.retried(NOW), due(cause), "it stays restricted");
    }
    let again = Row { cause: AGAIN.to_owned(), ..parked() };
    assert_eq!(again.retried(NOW), due(RETRY), "an operator's word holds once");
}

#[test]
fn a_check_by_the_clock() {
    let check =
        |row: Row, cause: &str| Row { check_at: Some(NOW), check_cause: Some(cause.to_owned()), ..row };
    let due = |lane, cause: &str| Row { cause: cause.to_owned(), ..due_at(NOW, lane) };
    let address = LastSeen { email: Some(Personal::new("kari@example.com")), ..LastSeen::default() };
    let unknown = LastSeen { missing_since: Some(NOW), ..LastSeen::default() };
    let gone = LastSeen { missing_since: Some(NOW), ..address };
    for (case, before, cause, after) in [
        ("access ends", idle(), EXPIRY, due(Lane::Retries, EXPIRY)),
        ("the last sync is long ago", idle(), DRIFT, due(Lane::Background, DRIFT)),
        ("a row due for an event stays so", due_at(DUE, Lane::Events), EXPIRY, due_at(DUE, Lane::Events)),
        ("a retry stays so", due_at(LATER, Lane::Retries), EXPIRY, due_at(LATER, Lane::Retries)),
        ("background work is lifted", due_at(LATER, Lane::Background), EXPIRY, due_at(NOW, Lane::Retries)),
        (
            "background work is not doubled",
            due_at(LATER, Lane::Background),
            DRIFT,
            due_at(LATER, Lane::Background),
        ),
        ("a parked row waits for an event", parked(), EXPIRY, parked()),
        (
            "a held back change keeps its cause",
            Row { held_back: true, ..idle() },
            EXPIRY,
            Row { held_back: true, ..due_at(NOW, Lane::Retries) },
        ),
        (
            "a user whom Sesamy does not know yet keeps the event that may create the contact",
            Row { last_seen: unknown.clone(), ..idle() },
            MISSING,
            Row { last_seen: unknown, ..due_at(NOW, Lane::Retries) },
        ),
        (
            "a user whom Sesamy knew",
            Row { last_seen: gone.clone(), ..idle() },
            MISSING,
            Row { last_seen: gone, ..due(Lane::Retries, MISSING) },
        ),
    ] {
        let after = Row { check_cause: Some(cause.to_owned()), ..after };
        assert_eq!(check(before, cause).checked(NOW), after, "{case}");
    }
}

#[test]
fn what_was_held_back_is_released_and_passes_the_guard_once() {
    let held = |tags: &[&str]| Row {
        held_back: true,
        tags_held: tags.iter().map(|&tag| tag.to_owned()).collect(),
        ..idle()
    };
    let of_guard = || held(&["sesamy_active_subscriber"]);
    for (case, before, after) in [
        ("by dry run: as any other sync", held(&[]), due_at(NOW, Lane::Retries)),
        ("by the guard: with a pass", of_guard(), Row { has_pass: true, ..due_at(NOW, Lane::Retries) }),
        (
            "a row due for an event stays in front",
            Row { due_at: Some(DUE), ..of_guard() },
            Row { has_pass: true, ..due_at(NOW, Lane::Events) },
        ),
    ] {
        assert_eq!(before.released(NOW), after, "{case}");
    }
    let passing = || Row { has_pass: true, ..leased() };
    for (case, how, has_pass) in [
        ("done", Settlement::done(false), false),
        ("parked", Settlement::Park { error: String::new(), answer: String::new() }, false),
        ("failed", Settlement::Retry { at: LATER, counts: true, error: String::new() }, true),
        ("released", Settlement::Release { at: NOW }, true),
        ("cut off", Settlement::Abandon { until: LATER }, true),
    ] {
        assert_eq!(passing().settled(&job(&passing()), &how, NOW, DUE).0.has_pass, has_pass, "{case}");
    }
    assert!(passing().pushed(UPDATE, DUE).has_pass, "an event takes no pass away");
}

#[test]
fn a_loss_is_expected_once_its_check_has_come_and_until_a_sync_has_ended_well() {
    let checked_at =
        |at, cause: &str| Row { check_at: Some(at), check_cause: Some(cause.to_owned()), ..idle() };
    let come = || checked_at(NOW, EXPIRY).checked(NOW);
    for (case, row, expected) in [
        ("no check", idle(), false),
        ("the check lies ahead", checked_at(LATER, EXPIRY), false),
        ("the check has come, and the scheduler was not there yet", checked_at(NOW, EXPIRY), true),
        ("the scheduler has made the row due", come(), true),
        ("an event came meanwhile", come().pushed(UPDATE, DUE), true),
        ("an event came first", checked_at(NOW, EXPIRY).pushed(UPDATE, DUE).checked(NOW), true),
        ("another check has come", checked_at(NOW, DRIFT).checked(NOW), false),
        ("a check for a user whom Sesamy does not know", checked_at(NOW, MISSING).checked(NOW), false),
    ] {
        assert_eq!(row.expiry_has_come(NOW), expected, "{case}");
    }
    let row = Row { lease: Some(name(1)), ..come().pushed(UPDATE, DUE) };
    let retry = Settlement::Retry { at: LATER, counts: true, error: String::new() };
    assert!(
        row.clone().settled(&job(&row), &retry, NOW, DUE).0.expiry_has_come(NOW),
        "a failed sync keeps it"
    );
    assert!(!row.clone().settled(&job(&row), &Settlement::done(false), NOW, DUE).0.expiry_has_come(NOW));
}

#[test]
fn a_backfill_leaves_alone_who_needs_nothing() {
    let since = Millis(NOW.0 - 1_000);
    let synced = |at: Millis| Row { synced_at: Some(at), ..idle() };
    let in_an_hour = NOW.plus(Duration::from_secs(3_600));
    for (case, row, is_enqueued) in [
        ("never synced", Row::new("kari"), true),
        ("synced before it began", synced(Millis(since.0 - 1)), true),
        ("synced since", synced(since), false),
        ("synced under a clock that was ahead", synced(in_an_hour), true),
        ("due", due_at(LATER, Lane::Retries), false),
        ("leased", leased(), false),
        ("parked since", parked(), false),
        ("parked before", Row { parked_at: Some(Millis(1)), ..parked() }, true),
    ] {
        let row = row.enqueued("backfill", since, NOW);
        assert_eq!(row.is_some(), is_enqueued, "{case}");
        if let Some(row) = row {
            assert_eq!((row.due_at, row.lane, row.cause.as_str()), (Some(NOW), Lane::Background, "backfill"));
            assert_eq!((row.parked_at, row.attempts), (None, 0));
        }
    }
    let restricted = Row { cause: EXPIRY.to_owned(), ..due_at(LATER, Lane::Retries) };
    let lifted = Row { cause: "backfill".to_owned(), ..restricted.clone() };
    assert_eq!(restricted.clone().enqueued("backfill", since, NOW), Some(lifted), "it may create again");
    assert_eq!(restricted.enqueued(EXISTING_ONLY, since, NOW), None);
}

#[test]
fn each_row_is_in_one_state() {
    for (row, state) in [
        (due_at(NOW, Lane::Events), RowState::Due),
        (due_at(DUE, Lane::Events), RowState::Scheduled),
        (Row { failing_since: Some(NOW), ..due_at(DUE, Lane::Retries) }, RowState::Failing),
        (leased(), RowState::Leased),
        (Row { due_at: Some(NOW), ..leased() }, RowState::Due),
        (parked(), RowState::Parked),
        (Row { held_back: true, ..idle() }, RowState::Held),
        (Row { check_at: Some(NOW), ..idle() }, RowState::Idle),
    ] {
        assert_eq!(row.state(NOW), state, "{row:?}");
    }
}

#[test]
fn a_row_comes_back_from_its_record_and_has_a_value_for_each_column() {
    let memory = LastSeen {
        email: Some(Personal::new("Kari@Example.com")),
        missing_since: Some(NOW),
        ..LastSeen::default()
    };
    let tags_held = vec!["sesamy_tag_æ".to_owned()];
    let held = Row { last_seen: memory, held_back: true, tags_held, has_pass: true, ..idle() };
    for row in [idle(), leased(), parked(), held] {
        let record = row.to_record();
        assert_eq!(record.len(), COLUMNS.len());
        assert!(COLUMNS.iter().all(|column| record.contains_key(*column)), "{record:?}");
        assert_eq!(Row::of_record(record).unwrap(), row);
    }
    let odd = Row { error: Some("a\0b".to_owned()), ..idle() };
    assert_eq!(odd.to_record()["error"], "a\u{fffd}b", "a database may store no U+0000");
}
