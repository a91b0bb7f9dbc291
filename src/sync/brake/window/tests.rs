use std::collections::HashSet;

use proptest::prelude::*;

use super::Sign::{Plain, Restored, Sound, StillUnknown, Suspect};
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

/// Each with nine users beside who have nothing to lose.
fn one_in_ten(from: usize, users: usize, sign: Sign) -> Vec<(usize, Sign)> {
    let beside = |number: usize| many(1_000 + 9 * number, 9, Plain);
    (from..from + users).flat_map(|number| [beside(number), many(number, 1, sign)].concat()).collect()
}

#[test]
fn more_than_half_of_fifty_turn_it_on_however_many_there_are() {
    for (what, signs, alarming) in [
        ("nobody", vec![], false),
        ("25 suspects", many(0, 25, Suspect), false),
        ("26 suspects", many(0, 26, Suspect), true),
        ("26 of 50", [many(0, 24, Sound), many(24, 26, Suspect)].concat(), true),
        ("26 of 500, if 450 have nothing to lose", one_in_ten(0, 26, Suspect), true),
        ("25 of 500 likewise", one_in_ten(0, 25, Suspect), false),
        ("25 of 50", [many(0, 25, Sound), many(25, 25, Suspect)].concat(), false),
        ("26, the first of them 50 users ago", [many(0, 26, Suspect), many(26, 25, Sound)].concat(), false),
        ("26, but of one user", many(0, 26, Suspect).into_iter().map(|(_, it)| (0, it)).collect(), false),
        ("26, and each of them once more", [many(0, 26, Suspect), many(0, 26, Plain)].concat(), true),
        (
            "26, and nobody else has anything to lose",
            [many(0, 26, Suspect), many(26, 500, Plain)].concat(),
            true,
        ),
        ("26 who are unknown as before", many(0, 26, StillUnknown), false),
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
fn a_source_is_well_after_fifty_users_of_whom_few_are_suspect_once_one_of_those_has_been_seen_well() {
    let healed = |numbers: std::ops::Range<usize>| {
        [many(numbers.start, numbers.len(), Suspect), many(numbers.start, numbers.len(), Sound)].concat()
    };
    for (what, signs, healthy) in [
        ("50 sound ones", many(0, 50, Sound), true),
        ("50 who were suspect before", healed(0..50), true),
        ("49", many(0, 49, Sound), false),
        (
            "49, and as many as you like who have nothing",
            [many(0, 49, Sound), many(49, 500, Plain)].concat(),
            false,
        ),
        ("50 syncs of 49 users", [many(0, 49, Sound), many(0, 1, Sound)].concat(), false),
        ("5 suspects", [many(0, 5, Suspect), healed(5..6), many(6, 44, Sound)].concat(), true),
        (
            "5 suspects, and none of them well again",
            [many(0, 5, Suspect), many(5, 45, Sound)].concat(),
            false,
        ),
        ("6 suspects", [many(0, 6, Suspect), healed(6..7), many(7, 43, Sound)].concat(), false),
        (
            "6 suspects, then 500 others",
            [many(0, 6, Suspect), healed(6..7), many(7, 500, Sound)].concat(),
            false,
        ),
        (
            "6 who are unknown as before, and 500 others",
            [many(0, 6, StillUnknown), healed(6..7), many(7, 500, Sound)].concat(),
            false,
        ),
        ("nobody who has anything", many(0, 50, Plain), false),
    ] {
        assert_eq!(noted(signs, true).is_healthy(), healthy, "{what}");
    }
}

#[test]
fn who_is_known_to_keep_tags_is_doubted_until_seen_well() {
    let mut window = noted(many(0, 60, Sound), true);
    window.doubt(&user(59));
    assert_eq!(window.suspects().count(), 0, "seen here, and well");
    for number in 100..106 {
        window.doubt(&user(number));
    }
    assert_eq!((window.suspects().count(), window.0.len(), window.is_healthy()), (6, 50, false));
    window.note(&user(100), Sound, true);
    assert!(window.is_healthy(), "five are left, and one was seen well");
    for number in 101..105 {
        window.drop(&user(number));
    }
    assert!(!window.is_all_sound());
    window.drop(&user(105));
    assert!(window.is_all_sound() && !Window::default().is_all_sound());
}

#[test]
fn who_kept_the_tags_and_may_have_them_is_suspect_no_more() {
    for (sign, tags_are_kept, suspects) in [
        (Sound, true, 0),
        (Sound, false, 1),
        (Plain, true, 1),
        (Plain, false, 1),
        (StillUnknown, true, 1),
        (StillUnknown, false, 1),
        (Restored, false, 0),
    ] {
        let window = noted([(0, Suspect), (0, sign)], tags_are_kept);
        assert_eq!(window.suspects().count(), suspects, "{sign:?} {tags_are_kept}");
    }
}

#[test]
fn a_source_that_has_healed_is_seen_to_be_well_by_fifty_of_any_number_whose_tags_were_kept() {
    let mut window = noted(many(0, 1_000, Suspect), true);
    let mut looks = 0;
    for number in 0..1_000 {
        window.doubt(&user(number)); // who is about to be looked at again
        window.note(&user(number), Sound, true);
        window.note(&user(5_000 + number), Sound, true);
        looks += 1;
        if window.is_healthy() {
            break;
        }
    }
    assert_eq!(looks, WINDOW - FEW);
    let mut ill = noted(many(0, 1_000, Suspect), true);
    for number in 0..1_000 {
        ill.doubt(&user(number));
        ill.note(&user(number), if number % 2 == 0 { Sound } else { Suspect }, true);
        assert!(!ill.is_healthy(), "half of them are ill");
    }
}

fn any_syncs() -> impl Strategy<Value = Vec<(usize, Sign)>> {
    let sign = prop::sample::select(vec![Suspect, StillUnknown, Plain, Sound, Restored]);
    prop::collection::vec((0..70_usize, sign), 0..300)
}

proptest! {
    #[test]
    fn users_with_nothing_to_lose_change_nothing_whatever_comes_between(
        syncs in any_syncs(),
        others in prop::collection::vec(0..300_usize, 0..300),
        tags_are_kept in any::<bool>(),
    ) {
        let alone = noted(syncs.clone(), tags_are_kept);
        let mut between: Vec<(usize, Sign)> = syncs;
        for (number, at) in others.into_iter().enumerate() {
            between.insert(at.min(between.len()), (1_000 + number, Plain));
        }
        prop_assert_eq!(alone.0, noted(between, tags_are_kept).0);
    }

    #[test]
    fn while_it_is_off_a_window_is_the_last_fifty_different_users_with_anything_to_lose(syncs in any_syncs()) {
        let syncs: Vec<_> = syncs.into_iter().filter(|(_, sign)| matches!(sign, Suspect | Sound | Restored)).collect();
        let window = window(syncs.clone());
        // The same from the end: the last sync of each user, as long as there are fewer than fifty.
        let mut latest: Vec<usize> = Vec::new();
        for (number, _) in syncs.iter().rev() {
            if latest.len() < WINDOW && !latest.contains(number) {
                latest.push(*number);
            }
        }
        let shown: Vec<usize> = window.0.iter().rev().map(|(id, _)| id.as_str()[1..].parse().unwrap()).collect();
        prop_assert_eq!(&shown, &latest);
        for (id, state) in &window.0 {
            let own: Vec<Sign> = syncs.iter().filter(|(number, _)| user(*number) == *id).map(|it| it.1).collect();
            match (own.last(), state) {
                (Some(Suspect), state) => prop_assert_eq!(*state, State::Suspect),
                (Some(Restored), state) => prop_assert_eq!(*state, State::Sound),
                (_, State::Suspect) => prop_assert!(own.contains(&Suspect)),
                (_, State::Sound) => {}
                (_, State::Recovered) => prop_assert!(false, "nobody's tags were kept"),
            }
        }
    }

    #[test]
    fn while_tags_are_kept_nobody_else_takes_a_suspicion_back_but_a_newer_one_of_fifty(
        syncs in any_syncs(),
        number in 0..70_usize,
        sign in prop::sample::select(vec![Plain, StillUnknown, Sound, Restored]),
    ) {
        let mut window = noted(syncs, true);
        let is_new = window.state_of(&user(number)).is_none();
        let has_room = window.0.len() < WINDOW || window.0.iter().any(|(_, state)| *state == State::Sound);
        let before: Vec<UserId> = window.suspects().filter(|it| **it != user(number)).cloned().collect();
        window.note(&user(number), sign, true);
        let after: HashSet<&UserId> = window.suspects().collect();
        let lost = before.iter().filter(|it| !after.contains(it)).count();
        prop_assert!(lost <= usize::from(is_new && !has_room && sign == StillUnknown));
    }

    #[test]
    fn it_is_never_alarming_and_healthy_at_once(syncs in any_syncs(), tags_are_kept in any::<bool>()) {
        let window = noted(syncs, tags_are_kept);
        prop_assert!(window.0.len() <= WINDOW);
        prop_assert_eq!(window.0.iter().map(|(id, _)| id).collect::<HashSet<_>>().len(), window.0.len());
        prop_assert!(!(window.is_alarming() && window.is_healthy()));
    }
}
