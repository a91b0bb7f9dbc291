//! What turns it on, what lets go of it, and what is told of that.

use super::*;

const NOW: Millis = Millis(1_000_000);

fn brake() -> Brake {
    Brake::new(Clock::manual(NOW))
}

fn user(number: usize) -> UserId {
    UserId::new(format!("u{number}")).unwrap()
}

/// Whether tags are kept, of each.
fn note_many(brake: &Brake, users: std::ops::Range<usize>, sign: Sign) -> Vec<bool> {
    users.map(|number| brake.note(&user(number), sign)).collect()
}

#[test]
fn the_user_who_turns_it_on_is_the_first_who_keeps_the_tags() {
    let brake = brake();
    let kept = note_many(&brake, 0..60, Sign::Suspect);
    assert_eq!(kept.iter().position(|kept| *kept), Some(TOO_MANY - 1));
    assert!(kept[TOO_MANY - 1..].iter().all(|kept| *kept));
    assert_eq!(brake.since(), Some(NOW));
}

#[test]
fn users_who_are_synced_well_let_go_of_it_and_it_begins_anew() {
    let brake = brake();
    note_many(&brake, 0..26, Sign::Suspect);
    // The 25 who have lost theirs count no more; the 26th is well again.
    assert!(note_many(&brake, 25..26, Sign::Sound)[0]);
    assert_eq!(note_many(&brake, 100..149, Sign::Sound).iter().filter(|kept| !**kept).count(), 1);
    assert_eq!(brake.since(), None);
    assert!(!note_many(&brake, 0..25, Sign::Suspect).contains(&true));
    assert!(note_many(&brake, 25..26, Sign::Suspect)[0]);
}

#[test]
fn users_who_were_well_all_along_do_not_let_go_while_those_who_turned_it_on_are_ill() {
    let brake = brake();
    note_many(&brake, 0..70, Sign::Suspect);
    for _ in 0..3 {
        assert!(!note_many(&brake, 100..330, Sign::Sound).contains(&false));
        assert!(!note_many(&brake, 25..70, Sign::Suspect).contains(&false));
    }
    // One alone is enough, as long as nobody whose tags are kept is well again.
    let alone = self::brake();
    note_many(&alone, 0..26, Sign::Suspect);
    assert!(!note_many(&alone, 100..330, Sign::Sound).contains(&false));
}

#[test]
fn it_lets_go_where_nobodys_tags_are_kept_any_more_and_the_others_are_well() {
    let brake = brake();
    note_many(&brake, 0..28, Sign::Suspect);
    assert_eq!(brake.suspects(), [user(25), user(26), user(27)]);
    brake.all_looked_at(&[], true);
    assert!(brake.since().is_some(), "who was seen to be ill, and not again, may be on the way");
    note_many(&brake, 25..27, Sign::Sound);
    brake.all_looked_at(&[user(27)], false);
    assert!(brake.since().is_some(), "there is somebody of whom another process knows");
    assert!(brake.suspects().is_empty());
    brake.told(brake.news().unwrap(), Some(NOW));
    brake.all_looked_at(&[], true);
    assert_eq!((brake.since(), brake.news().unwrap().is_on), (None, false));
}

#[test]
fn where_nobody_was_seen_to_be_well_nothing_lets_go() {
    let brake = brake();
    note_many(&brake, 0..26, Sign::Suspect);
    brake.all_looked_at(&brake.suspects(), true);
    brake.all_looked_at(&[], true);
    assert!(brake.since().is_some());
    brake.looks_at(&user(25));
    assert_eq!(brake.suspects(), [user(25)]);
}

#[test]
fn a_process_that_has_just_begun_hears_those_whose_tags_are_kept_before_it_lets_go() {
    let clock = Clock::manual(NOW);
    let brake = Brake::new(clock.clone());
    brake.looks_at(&user(0));
    assert!(brake.suspects().is_empty(), "it is off");
    brake.adopt(brake.asks(), Some(Millis(5)));
    assert!(!note_many(&brake, 100..200, Sign::Sound).contains(&false));
    (0..6).for_each(|number| brake.looks_at(&user(number)));
    clock.advance(LISTENS);
    assert!(!note_many(&brake, 100..200, Sign::Sound).contains(&false), "six have not been seen well");
    note_many(&brake, 0..1, Sign::Restored);
    assert_eq!(brake.since(), None);
}

#[tokio::test]
async fn that_it_turns_is_told_to_who_waits_for_it() {
    let brake = brake();
    note_many(&brake, 0..25, Sign::Suspect);
    let mut turned = std::pin::pin!(brake.turned());
    assert!(futures_util::poll!(&mut turned).is_pending());
    note_many(&brake, 25..26, Sign::Suspect);
    turned.await;
}

#[test]
fn what_could_not_be_told_is_told_again() {
    let brake = brake();
    assert_eq!(brake.news(), None);
    note_many(&brake, 0..26, Sign::Suspect);
    let news = brake.news().unwrap();
    assert!(news.is_on);
    // The store has not answered: a lease that knows nothing of it yet changes nothing.
    brake.adopt(brake.asks(), None);
    assert_eq!((brake.since(), brake.news()), (Some(NOW), Some(news)));
    brake.told(news, Some(Millis(7)));
    assert_eq!((brake.since(), brake.news()), (Some(Millis(7)), None), "another process was the first");
}

#[test]
fn what_changes_while_it_is_told_is_told_too() {
    let brake = brake();
    note_many(&brake, 0..26, Sign::Suspect);
    let on = brake.news().unwrap();
    note_many(&brake, 25..26, Sign::Sound);
    note_many(&brake, 100..149, Sign::Sound);
    brake.told(on, Some(NOW));
    assert_eq!(brake.since(), None);
    assert!(!brake.news().unwrap().is_on);
}

#[test]
fn an_old_answer_of_the_store_lets_go_of_nothing() {
    let brake = brake();
    let asked = brake.asks();
    note_many(&brake, 0..26, Sign::Suspect);
    brake.told(brake.news().unwrap(), Some(NOW));
    brake.adopt(asked, None);
    assert_eq!(brake.since(), Some(NOW));
    brake.adopt(brake.asks(), None);
    assert_eq!(brake.since(), None);
}

#[test]
fn what_another_process_has_found_is_taken_over_both_ways() {
    let brake = brake();
    note_many(&brake, 0..25, Sign::Suspect);
    brake.adopt(brake.asks(), Some(Millis(5)));
    assert_eq!((brake.since(), brake.news()), (Some(Millis(5)), None));
    brake.adopt(brake.asks(), None);
    assert_eq!(brake.since(), None);
    assert!(!note_many(&brake, 25..26, Sign::Suspect)[0], "the 25 before count no more");
}
