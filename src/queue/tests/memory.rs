//! What a row remembers of its user from one sync to the next.

use std::time::Duration;

use super::operators::{ask, by_hand};
use super::{LEASE, Shop, UPDATE, done, done_with, leased, only_job, park, retry, seen, stories, user};
use crate::model::{Earlier, LastSeen, SeenByOthers, SeenContact};
use crate::queue::{Filter, Job, Queue, Settled, Settlement, UserRow};
use crate::sync::AddressIndex;

stories! {
    what_a_sync_leaves_is_there_at_the_next,
    a_sync_that_ends_otherwise_leaves_what_it_has_seen_and_nothing_else,
    who_is_parked_is_not_looked_at_by_the_clock,
    what_is_late_leaves_nothing,
    an_event_meanwhile_takes_nothing_of_it_away,
    the_address_of_another_user_is_found_in_any_letter_case,
    what_other_users_have_seen_of_a_contact_is_found_by_address_and_list,
}

const HOUR: Duration = Duration::from_secs(3_600);

/// All kinds of what may be remembered.
fn memories() -> Vec<LastSeen> {
    let gone = SeenContact { status: Some("d".to_owned()), on_list: true, list_status: None };
    vec![
        seen("Kari@Example.com"),
        LastSeen { contact: Some(SeenContact::default()), ..seen("kari@example.com") },
        LastSeen { contact: Some(gone), has_left: true, ..seen("kari@example.com") },
        LastSeen { contact: None, ..seen("kari@example.com") },
        LastSeen { missing_since: Some(crate::clock::Millis(7)), ..LastSeen::default() },
        LastSeen { list: Some("12 at https://api.mailmojo.no".to_owned()), ..seen("kari@example.com") },
        LastSeen {
            earlier: vec![
                Earlier { key: "ab".repeat(16), contact: Some(SeenContact::default()), has_left: false },
                Earlier { key: "cd".repeat(16), contact: seen("").contact, has_left: true },
            ],
            ..seen("kari@example.com")
        },
        LastSeen::default(),
    ]
}

async fn row(queue: &Queue, name: &str) -> UserRow {
    queue.rows_of(&[user(name)]).await.unwrap().remove(0)
}

async fn what_a_sync_leaves_is_there_at_the_next(shop: Shop) {
    let mut queue = shop.opens().await;
    let mut job = leased(&shop, &queue, "kari").await;
    assert_eq!(job.memory, LastSeen::default());
    for memory in memories() {
        for check_at in [shop.later(HOUR), shop.later(HOUR), None, shop.later(2 * HOUR)] {
            let settled = queue.settle(&job, done_with(memory.clone(), check_at), None).await.unwrap();
            assert_eq!(settled, Settled::AsAsked);
            queue = shop.restarts(queue).await;
            let row = row(&queue, "kari").await;
            assert_eq!((&row.memory, row.check_at), (&memory, check_at));
            let listed = queue.rows(&Filter { limit: 9, ..Filter::default() }).await.unwrap();
            assert_eq!(listed[0].check_at, check_at);
            job = leased(&shop, &queue, "kari").await;
            assert_eq!(job.memory, memory);
            queue.settle(&job, Settlement::Release { at: shop.clock.now() }, None).await.unwrap();
            job = ask(&queue, by_hand("kari")).await.unwrap();
            assert_eq!(job.memory, memory, "by name too");
        }
    }
}

async fn a_sync_that_ends_otherwise_leaves_what_it_has_seen_and_nothing_else(shop: Shop) {
    let queue = shop.opens().await;
    let at = shop.later(HOUR).unwrap();
    let ends = [
        retry(at, true),
        Settlement::Release { at: shop.clock.now() },
        Settlement::Abandon { until: at },
        park("400"),
    ];
    for (number, how) in ends.into_iter().enumerate() {
        let (name, memory) = (number.to_string(), seen("kari@example.com"));
        let job = ask(&queue, by_hand(&name)).await.unwrap();
        queue.settle(&job, done_with(memory.clone(), Some(at)), None).await.unwrap();
        for learned in [None, Some(seen("kari@example.org")), None] {
            let job = ask(&queue, by_hand(&name)).await.unwrap();
            let kept = learned.clone().unwrap_or_else(|| job.memory.clone());
            let job = Job { learned: learned.map(Box::new), ..job };
            queue.settle(&job, how.clone(), None).await.unwrap();
            let row = row(&queue, &name).await;
            let check_at = Some(at).filter(|_| row.parked_at.is_none());
            assert_eq!((&row.memory, row.check_at), (&kept, check_at), "{how:?}");
            shop.clock.advance(LEASE + HOUR);
        }
    }
}

async fn who_is_parked_is_not_looked_at_by_the_clock(shop: Shop) {
    let queue = shop.opens().await;
    let job = leased(&shop, &queue, "kari").await;
    queue.settle(&job, done_with(seen("kari@example.com"), shop.later(HOUR)), None).await.unwrap();
    let job = leased(&shop, &queue, "kari").await;
    queue.push(&user("kari"), UPDATE).await.unwrap();
    assert_eq!(queue.settle(&job, park("400"), None).await.unwrap(), Settled::DueAgain);
    shop.clock.advance(HOUR);
    let job = only_job(&queue).await;
    queue.settle(&job, park("400"), None).await.unwrap();
    assert_eq!(row(&queue, "kari").await.check_at, None);
}

async fn what_is_late_leaves_nothing(shop: Shop) {
    let queue = shop.opens().await;
    let late = leased(&shop, &queue, "kari").await;
    shop.clock.advance(LEASE);
    let current = only_job(&queue).await;
    let how = done_with(seen("kari@example.com"), shop.later(HOUR));
    assert_eq!(queue.settle(&late, how, None).await.unwrap(), Settled::LeaseLost);
    let before = row(&queue, "kari").await;
    assert_eq!((before.memory, before.check_at), (LastSeen::default(), None));
    queue.settle(&current, done(), None).await.unwrap();
    assert_eq!(row(&queue, "kari").await.memory, LastSeen::default());
}

async fn an_event_meanwhile_takes_nothing_of_it_away(shop: Shop) {
    let queue = shop.opens().await;
    let job = leased(&shop, &queue, "kari").await;
    queue.push(&user("kari"), UPDATE).await.unwrap();
    let how = done_with(seen("kari@example.com"), shop.later(HOUR));
    assert_eq!(queue.settle(&job, how, None).await.unwrap(), Settled::DueAgain);
    queue.push(&user("kari"), UPDATE).await.unwrap();
    let row = row(&queue, "kari").await;
    assert_eq!((row.memory, row.check_at), (seen("kari@example.com"), shop.later(HOUR)));
}

async fn the_address_of_another_user_is_found_in_any_letter_case(shop: Shop) {
    let queue = shop.opens().await;
    for (name, address) in
        [("kari", "Kåre@Example.com"), ("ola", "ola@example.com"), ("per", "per@blåbær.no")]
    {
        let job = leased(&shop, &queue, name).await;
        queue.settle(&job, done_with(seen(address), None), None).await.unwrap();
    }
    for (name, address, is_anothers) in [
        ("kari", "kåre@example.com", false),
        ("kari", "OLA@example.com ", true),
        ("nobody", "KÅRE@EXAMPLE.COM", true),
        ("nobody", "kari@example.com", false),
        ("nobody", "Per@xn--blbr-roah.no", true),
        ("nobody", " ", false),
    ] {
        let others = queue.others_at(&user(name), address, 9).await.unwrap();
        assert_eq!(others.len(), usize::from(is_anothers), "{name} {address}");
    }
    let job = leased(&shop, &queue, "ola").await;
    queue.settle(&job, done(), None).await.unwrap();
    let others = queue.others_at(&user("kari"), "ola@example.com", 9).await.unwrap();
    assert!(others.is_empty(), "it was forgotten again");
}

async fn what_other_users_have_seen_of_a_contact_is_found_by_address_and_list(shop: Shop) {
    let queue = shop.opens().await;
    let (ours, other) = ("12 at https://api.mailmojo.no", "13 at https://api.mailmojo.no");
    let remember = |contact: Option<SeenContact>, list: &str| LastSeen {
        contact,
        list: Some(list.to_owned()),
        ..seen("Kari@example.com")
    };
    let off_list = Some(SeenContact { status: Some("a".to_owned()), ..SeenContact::default() });
    for (name, memory) in [
        ("none", remember(None, ours)),
        ("off", remember(off_list, ours)),
        ("there", remember(seen("").contact, other)),
    ] {
        let job = leased(&shop, &queue, name).await;
        queue.settle(&job, done_with(memory, None), None).await.unwrap();
    }
    let (nothing, contact) = (SeenByOthers::default(), SeenByOthers { contact: true, on_list: false });
    for (name, address, list, expected) in [
        ("somebody", "KARI@example.com", ours, contact),
        ("off", "kari@example.com", ours, nothing),
        ("somebody", "kari@example.com", other, SeenByOthers { contact: true, on_list: true }),
        ("there", "kari@example.com", other, nothing),
        ("somebody", "ola@example.com", ours, nothing),
        ("somebody", " ", ours, nothing),
    ] {
        let seen = queue.seen_by_others(&user(name), address, list).await.unwrap();
        assert_eq!(seen, expected, "{name} {address} {list}");
    }
}
