use std::collections::HashSet;

use proptest::prelude::*;

use super::Sign::{Plain, Restored, Sound, Suspect};
use super::*;

fn user(number: usize) -> UserId {
    UserId::new(format!("u{number}")).unwrap()
}

/// While the brake is off.
fn window(signs: impl IntoIterator<Item = (usize, Sign)>) -> Window {
    noted(signs, false)
}

fn noted(signs: impl IntoIterator<Item = (usize, Sign)>, tags_are_kept: bool) -> Window {
    let mut window = Window::default();
    signs.into_iter().for_each(|(number, sign)| window.note(&user(number), sign, tags_are_kept));
    window
}

/// So many different users, one after the other.
fn many(from: usize, users: usize, sign: Sign) -> Vec<(usize, Sign)> {
    (from..from + users).map(|number| (number, sign)).collect()
}

#[test]
fn more_than_half_of_fifty_turn_it_on_however_many_there_are() {
    for (what, signs, alarming) in [
        ("nobody", vec![], false),
        ("25 suspects", many(0, 25, Suspect), false),
        ("26 suspects", many(0, 26, Suspect), true),
        ("26 of 50", [many(0, 24, Plain), many(24, 26, Suspect)].concat(), true),
        ("25 of 50", [many(0, 25, Sound), many(25, 25, Suspect)].concat(), false),
        ("26, the first of them 50 users ago", [many(0, 26, Suspect), many(26, 25, Plain)].concat(), false),
        ("26, but of one user", many(0, 26, Suspect).into_iter().map(|(_, it)| (0, it)).collect(), false),
        ("26, and each of them once more", [many(0, 26, Suspect), many(0, 26, Plain)].concat(), true),
        ("26, and each keeps something else", [many(0, 26, Suspect), many(0, 26, Sound)].concat(), true),
        (
            "25 who got it back, and one",
            [many(0, 25, Suspect), many(0, 25, Restored), many(30, 1, Suspect)].concat(),
            false,
        ),
    ] {
        assert_eq!(window(signs).is_alarming(), alarming, "{what}");
    }
}

#[test]
fn a_source_is_well_after_fifty_users_of_whom_few_are_suspect_and_more_are_sound() {
    for (what, signs, healthy) in [
        ("50 sound ones", many(0, 50, Sound), true),
        ("50 who were suspect before", [many(0, 50, Suspect), many(0, 50, Sound)].concat(), true),
        ("49", many(0, 49, Sound), false),
        ("50 syncs of 49 users", [many(0, 49, Sound), many(0, 1, Sound)].concat(), false),
        ("5 suspects", [many(0, 5, Suspect), many(5, 45, Sound)].concat(), true),
        ("6 suspects", [many(0, 6, Suspect), many(6, 44, Sound)].concat(), false),
        ("6 suspects, then 50 others", [many(0, 6, Suspect), many(6, 50, Sound)].concat(), true),
        ("nobody who has anything", many(0, 50, Plain), false),
        (
            "as many sound as suspect",
            [many(0, 45, Plain), many(45, 3, Suspect), many(48, 2, Sound)].concat(),
            false,
        ),
        ("few who have anything, all sound", [many(0, 48, Plain), many(48, 2, Sound)].concat(), true),
    ] {
        assert_eq!(noted(signs, true).is_healthy(), healthy, "{what}");
    }
}

#[test]
fn who_kept_the_tags_and_may_have_them_is_suspect_no_more() {
    for (sign, tags_are_kept, suspects) in
        [(Sound, true, 0), (Sound, false, 1), (Plain, true, 1), (Plain, false, 1), (Restored, false, 0)]
    {
        let window = noted([(0, Suspect), (0, sign)], tags_are_kept);
        assert_eq!(window.suspects(), suspects, "{sign:?} {tags_are_kept}");
    }
}

proptest! {
    #[test]
    fn a_window_is_the_last_fifty_different_users_and_no_suspicion_is_lost_to_a_second_sync(
        syncs in prop::collection::vec((0..70_usize, prop::sample::select(vec![Suspect, Plain, Sound, Restored])), 0..300),
        tags_are_kept in any::<bool>(),
    ) {
        let window = noted(syncs.clone(), tags_are_kept);
        // The same from the end: the last sync of each user, as long as there are fewer than fifty.
        let mut latest: Vec<usize> = Vec::new();
        for (number, _) in syncs.iter().rev() {
            if latest.len() < WINDOW && !latest.contains(number) {
                latest.push(*number);
            }
        }
        let shown: Vec<usize> = window.0.iter().rev().map(|(id, _)| id.as_str()[1..].parse().unwrap()).collect();
        prop_assert_eq!(&shown, &latest);
        prop_assert_eq!(shown.iter().collect::<HashSet<_>>().len(), shown.len());
        for (id, sign) in &window.0 {
            let own: Vec<Sign> = syncs.iter().filter(|(number, _)| user(*number) == *id).map(|it| it.1).collect();
            match (own.last(), sign) {
                (Some(Plain | Sound), Suspect) => prop_assert!(own.contains(&Suspect)),
                (last, sign) => prop_assert_eq!(last, Some(sign)),
            }
        }
    }

    #[test]
    fn who_shows_nothing_takes_back_no_suspicion_but_that_of_who_falls_out(
        syncs in prop::collection::vec((0..70_usize, prop::sample::select(vec![Suspect, Plain, Sound])), 0..300),
        number in 0..70_usize,
        tags_are_kept in any::<bool>(),
    ) {
        let mut window = noted(syncs, tags_are_kept);
        let (before, is_in) = (window.suspects(), window.0.iter().any(|(id, _)| *id == user(number)));
        let falls_out = usize::from(!is_in && window.0.len() == WINDOW && window.0[0].1 == Suspect);
        window.note(&user(number), Plain, tags_are_kept);
        prop_assert_eq!(window.suspects(), before - falls_out);
    }

    #[test]
    fn it_is_never_alarming_and_healthy_at_once(
        syncs in prop::collection::vec((0..70_usize, prop::sample::select(vec![Suspect, Plain, Sound, Restored])), 0..300),
        tags_are_kept in any::<bool>(),
    ) {
        let window = noted(syncs, tags_are_kept);
        prop_assert!(!(window.is_alarming() && window.is_healthy()));
    }
}
