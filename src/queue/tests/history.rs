//! What syncs leave behind: a user's history, and the counts of each minute.

use std::time::Duration;

use super::{LEASE, Shop, UPDATE, done, leased, park, retry, stories, user};
use crate::queue::{Counted, Entry, Job, MinuteCount, Queue, Settled, Settlement};

stories! {
    a_sync_leaves_a_row_with_all_that_is_told_of_it,
    what_comes_to_the_same_again_only_raises_a_count,
    a_sync_with_nothing_to_do_raises_a_count_of_its_own,
    only_who_ends_the_lease_writes_the_history,
    every_end_may_leave_a_row_and_none_has_to,
    histories_are_told_apart_and_the_latest_comes_first,
    syncs_are_counted_by_minute_and_outcome,
    old_history_is_taken_away_in_small_steps,
    activity_outlives_a_restart_and_goes_once_it_is_a_week_old,
    who_was_last_synced_when_is_kept,
}

const MINUTE: Duration = Duration::from_secs(60);

fn gained(tag: &str) -> Entry {
    Entry {
        event_type: UPDATE.to_owned(),
        outcome: "updated",
        changed: vec!["tags".to_owned()],
        tags_added: vec![tag.to_owned()],
        attempt: 1,
        ms: 80,
        ..Entry::default()
    }
}

fn nothing_to_do() -> Entry {
    Entry { event_type: UPDATE.to_owned(), outcome: "unchanged", attempt: 1, ..Entry::default() }
}

async fn synced(shop: &Shop, queue: &Queue, name: &str, entry: Entry) {
    let job = leased(shop, queue, name).await;
    assert_eq!(queue.settle(&job, done(), Some(entry)).await.unwrap(), Settled::AsAsked);
}

async fn a_sync_leaves_a_row_with_all_that_is_told_of_it(shop: Shop) {
    let queue = shop.opens().await;
    let entry = Entry {
        event_type: "checkout.1#confirm".to_owned(),
        outcome: "failed",
        reason: "unavailable",
        held_back: true,
        tags_held: vec!["sesamy_active_sku_a".to_owned()],
        changed: vec!["first_name".to_owned(), "tags".to_owned()],
        tags_added: vec!["sesamy_plus".to_owned(), "sesamy_tag_a|b".to_owned()],
        tags_removed: vec!["sesamy_tag_a\nb".to_owned()],
        old_tags_removed: vec!["sesamy_old".to_owned(), "sesamy_older".to_owned()],
        attempt: 3,
        ms: 1_234,
        error: Some("503 from an API".to_owned()),
    };
    let job = leased(&shop, &queue, "kari").await;
    queue.settle(&job, retry(shop.clock.now(), true), Some(entry.clone())).await.unwrap();

    let queue = shop.restarts(queue).await;
    let rows = queue.history(&user("kari"), 10).await.unwrap();
    assert_eq!(rows.len(), 1);
    let row = &rows[0];
    assert_eq!((row.first_at, row.last_at), (shop.clock.now(), shop.clock.now()));
    assert_eq!((row.times, row.unchanged_times, row.held_back), (1, 0, true));
    assert_eq!((row.outcome.as_str(), row.reason.as_str()), (entry.outcome, entry.reason));
    assert_eq!((&row.event_type, row.attempt, row.ms), (&entry.event_type, 3, 1_234));
    assert_eq!((&row.changed, &row.tags_added), (&entry.changed, &entry.tags_added));
    assert_eq!(row.tags_removed, entry.tags_removed);
    assert_eq!(row.old_tags_removed, entry.old_tags_removed);
    assert_eq!(row.error, entry.error);
    assert!(queue.history(&user("nobody"), 10).await.unwrap().is_empty());
}

async fn what_comes_to_the_same_again_only_raises_a_count(shop: Shop) {
    let queue = shop.opens().await;
    synced(&shop, &queue, "kari", gained("sesamy_plus")).await;
    let first_at = shop.clock.now();
    let again = Entry { event_type: "sync".to_owned(), attempt: 2, ms: 5, ..gained("sesamy_plus") };
    synced(&shop, &queue, "kari", again).await;
    let again_at = shop.clock.now();
    synced(&shop, &queue, "kari", gained("sesamy_extra")).await;

    let rows = queue.history(&user("kari"), 10).await.unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!((rows[1].first_at, rows[1].last_at, rows[1].times), (first_at, again_at, 2));
    assert_eq!((rows[1].event_type.as_str(), rows[1].attempt, rows[1].ms), ("sync", 2, 5), "of the last");
    assert_eq!((rows[0].times, &rows[0].tags_added), (1, &vec!["sesamy_extra".to_owned()]));

    let moved = Entry { old_tags_removed: vec!["sesamy_plus".to_owned()], ..gained("sesamy_extra") };
    synced(&shop, &queue, "kari", moved.clone()).await;
    synced(&shop, &queue, "kari", moved).await;
    let rows = queue.history(&user("kari"), 10).await.unwrap();
    assert_eq!((rows.len(), rows[0].times), (3, 2), "what an older address lost tells them apart");
}

async fn a_sync_with_nothing_to_do_raises_a_count_of_its_own(shop: Shop) {
    let queue = shop.opens().await;
    synced(&shop, &queue, "kari", gained("sesamy_plus")).await;
    let gained_at = shop.clock.now();
    for _ in 0..3 {
        synced(&shop, &queue, "kari", Entry { ms: 1, ..nothing_to_do() }).await;
    }
    let rows = queue.history(&user("kari"), 10).await.unwrap();
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!((rows[0].times, rows[0].unchanged_times), (1, 3));
    assert_eq!((rows[0].first_at, rows[0].last_at), (gained_at, shop.clock.now()));
    assert_eq!((rows[0].outcome.as_str(), rows[0].ms), ("updated", 80), "what it came to last stays");

    for _ in 0..2 {
        synced(&shop, &queue, "ola", nothing_to_do()).await;
    }
    let rows = queue.history(&user("ola"), 10).await.unwrap();
    assert_eq!((rows.len(), rows[0].times, rows[0].unchanged_times), (1, 2, 0), "where it is the first");
}

async fn only_who_ends_the_lease_writes_the_history(shop: Shop) {
    let queue = shop.opens().await;
    let late = leased(&shop, &queue, "kari").await;
    shop.clock.advance(LEASE);
    let current = super::only_job(&queue).await;
    let settled = queue.settle(&late, done(), Some(gained("sesamy_late"))).await.unwrap();
    assert_eq!(settled, Settled::LeaseLost);
    assert!(queue.history(&user("kari"), 10).await.unwrap().is_empty());
    for expected in [Settled::AsAsked, Settled::LeaseLost] {
        assert_eq!(queue.settle(&current, done(), Some(gained("sesamy_plus"))).await.unwrap(), expected);
    }
    let rows = queue.history(&user("kari"), 10).await.unwrap();
    assert_eq!((rows.len(), rows[0].times), (1, 1));
    assert_eq!(queue.counts_since(shop.clock.now()).await.unwrap()[0].count, 1);
}

async fn every_end_may_leave_a_row_and_none_has_to(shop: Shop) {
    let queue = shop.opens().await;
    let at = shop.later(Duration::from_secs(600)).unwrap();
    let ends = [
        done(),
        retry(at, true),
        park("400"),
        Settlement::Release { at: shop.clock.now() },
        Settlement::Abandon { until: at },
    ];
    for (number, how) in ends.into_iter().enumerate() {
        let (told, untold) = (format!("told-{number}"), format!("untold-{number}"));
        let job: Job = leased(&shop, &queue, &told).await;
        queue.settle(&job, how.clone(), Some(gained("sesamy_plus"))).await.unwrap();
        assert_eq!(queue.history(&user(&told), 10).await.unwrap().len(), 1, "{how:?}");
        // What was released is due, and not to be taken for the next.
        queue.lease(crate::queue::Slots::for_any(1)).await.unwrap();
        let job = leased(&shop, &queue, &untold).await;
        queue.settle(&job, how.clone(), None).await.unwrap();
        assert!(queue.history(&user(&untold), 10).await.unwrap().is_empty(), "{how:?}");
        queue.lease(crate::queue::Slots::for_any(1)).await.unwrap();
    }
}

async fn histories_are_told_apart_and_the_latest_comes_first(shop: Shop) {
    let queue = shop.opens().await;
    for tag in ["one", "two", "three"] {
        synced(&shop, &queue, "kari", gained(tag)).await;
        synced(&shop, &queue, "ola", gained("other")).await;
    }
    let rows = queue.history(&user("kari"), 2).await.unwrap();
    let tags: Vec<_> = rows.iter().flat_map(|row| &row.tags_added).collect();
    assert_eq!(tags, ["three", "two"]);
    assert_eq!(queue.history(&user("ola"), 9).await.unwrap().len(), 1);
}

async fn syncs_are_counted_by_minute_and_outcome(shop: Shop) {
    let queue = shop.opens().await;
    // On the first millisecond of a minute, so that the debounces stay within it.
    let into_minute = u64::try_from(shop.clock.now().0 % 60_000).unwrap();
    shop.clock.advance(MINUTE - Duration::from_millis(into_minute));
    let first = shop.clock.now();
    synced(&shop, &queue, "a", gained("one")).await;
    synced(&shop, &queue, "a", nothing_to_do()).await;
    synced(&shop, &queue, "b", gained("one")).await;
    shop.clock.advance(MINUTE);
    let second = first.plus(MINUTE);
    synced(&shop, &queue, "b", gained("one")).await;

    let count = |minute, outcome: &str, count| MinuteCount { minute, outcome: outcome.to_owned(), count };
    let all = [count(first, "unchanged", 1), count(first, "updated", 2), count(second, "updated", 1)];
    assert_eq!(queue.counts_since(first).await.unwrap(), all);
    assert_eq!(queue.counts_since(first.plus(MINUTE / 2)).await.unwrap(), all, "from that minute on");
    assert_eq!(queue.counts_since(second).await.unwrap(), all[2..]);
}

async fn old_history_is_taken_away_in_small_steps(shop: Shop) {
    let queue = shop.opens().await;
    for number in 0..5 {
        synced(&shop, &queue, &number.to_string(), gained("one")).await;
    }
    synced(&shop, &queue, "0", nothing_to_do()).await;
    let before = shop.clock.now(); // of which the last is not
    synced(&shop, &queue, "later", gained("one")).await;

    let mut pruned = Vec::new();
    for _ in 0..4 {
        pruned.push(queue.prune(before, 2).await.unwrap());
    }
    assert_eq!(pruned, [2, 2, 0, 0]);
    for (name, rows) in [("0", 1), ("1", 0), ("4", 0), ("later", 1)] {
        assert_eq!(queue.history(&user(name), 10).await.unwrap().len(), rows, "{name}");
    }
    assert_eq!(queue.rows_of(&[user("1")]).await.unwrap().len(), 1, "the user stays");
}

async fn activity_outlives_a_restart_and_goes_once_it_is_a_week_old(shop: Shop) {
    let queue = shop.opens().await;
    let began = shop.clock.now();
    synced(&shop, &queue, "old", gained("one")).await;
    queue.note(Counted::Refused("unauthorized"));
    let queue = shop.restarts(queue).await;
    synced(&shop, &queue, "old", gained("two")).await;
    for _ in 0..2 {
        let minutes = queue.activity_since(began).await.unwrap();
        let updated: u64 = minutes.iter().map(|(_, saw)| saw.synced["updated"]).sum();
        let refused: u64 = minutes.iter().map(|(_, saw)| saw.refused.values().sum::<u64>()).sum();
        assert_eq!((updated, refused), (2, 1), "stored or not");
        queue.flush_activity().await.unwrap();
    }
    for (days, is_kept) in [(6, true), (2, false)] {
        shop.clock.advance(days * Duration::from_secs(24 * 3_600));
        queue.prune(began, 100).await.unwrap();
        assert_eq!(!queue.activity_since(began).await.unwrap().is_empty(), is_kept);
    }
}

async fn who_was_last_synced_when_is_kept(shop: Shop) {
    let queue = shop.opens().await;
    synced(&shop, &queue, "kari", gained("one")).await;
    let synced_at = Some(shop.clock.now());
    let job = leased(&shop, &queue, "kari").await;
    queue.settle(&job, park("400"), None).await.unwrap();
    assert_eq!(queue.rows_of(&[user("kari")]).await.unwrap()[0].synced_at, synced_at);
    let job = leased(&shop, &queue, "kari").await;
    queue.push(&user("kari"), UPDATE).await.unwrap();
    assert_eq!(queue.settle(&job, done(), None).await.unwrap(), Settled::DueAgain);
    assert_eq!(queue.rows_of(&[user("kari")]).await.unwrap()[0].synced_at, Some(shop.clock.now()));
}
