//! What an operator sees.

use std::time::Duration;

use crate::queue::tests::{LEASE, Shop, UPDATE, done, leased, only_job, park, retry, stories, user};
use crate::queue::{Filter, Lane, Queue, RowState, Settlement, UserRow};

stories! {
    a_row_tells_all_that_is_kept_of_a_user,
    rows_are_listed_by_state,
    rows_are_listed_page_by_page_in_the_order_of_their_ids,
    rows_are_found_by_what_failed,
    any_number_of_users_is_looked_up_at_once,
    who_is_parked_alike_is_one_group,
}

const HOUR: Duration = Duration::from_secs(3_600);

/// One user in each state, named after it; the lease that has ended is due too.
async fn one_of_each(shop: &Shop, queue: &Queue) {
    let job = leased(shop, queue, "idle").await;
    queue.settle(&job, done(), None).await.unwrap();
    let job = leased(shop, queue, "parked").await;
    queue.settle(&job, park("400"), None).await.unwrap();
    leased(shop, queue, "due-lease").await;
    let job = leased(shop, queue, "held").await;
    queue.settle(&job, Settlement::done(true), None).await.unwrap();
    for (name, counts) in [("failing", true), ("scheduled", false)] {
        let job = leased(shop, queue, name).await;
        queue.settle(&job, retry(shop.later(HOUR).unwrap(), counts), None).await.unwrap();
    }
    shop.clock.advance(LEASE - 2 * super::super::DEBOUNCE);
    // Leased in the last moment of the other's lease.
    leased_beside(shop, queue, "leased").await;
    queue.push(&user("due"), UPDATE).await.unwrap();
    shop.clock.advance(super::super::DEBOUNCE);
}

async fn leased_beside(shop: &Shop, queue: &Queue, name: &str) {
    shop.clock.advance(Duration::ZERO);
    super::ask(queue, super::by_hand(name)).await.unwrap();
}

async fn listed(queue: &Queue, filter: Filter) -> Vec<String> {
    let rows = queue.rows(&filter).await.unwrap();
    rows.into_iter().map(|row| row.user.trim_start_matches("email|").to_owned()).collect()
}

async fn a_row_tells_all_that_is_kept_of_a_user(shop: Shop) {
    let queue = shop.opens().await;
    let job = leased(&shop, &queue, "kari").await;
    queue.settle(&job, Settlement::done(true), None).await.unwrap();
    let synced_at = Some(shop.clock.now());
    let job = leased(&shop, &queue, "kari").await;
    let failing_since = Some(shop.clock.now());
    queue.settle(&job, retry(shop.later(HOUR).unwrap(), true), None).await.unwrap();
    let row = UserRow {
        user: "email|kari".to_owned(),
        state: RowState::Failing,
        lane: Lane::Retries,
        due_at: shop.later(HOUR),
        generation: 2,
        event_type: UPDATE.to_owned(),
        attempts: 1,
        failing_since,
        error: Some("503 from an API".to_owned()),
        parked_at: None,
        answer: None,
        held_back: true,
        tags_held: Vec::new(),
        synced_at,
        outcome: None,
        reason: None,
        check_at: None,
        check_cause: None,
        memory: crate::model::LastSeen::default(),
        lease: None,
    };
    assert_eq!(queue.rows_of(&[user("kari")]).await.unwrap(), [row]);

    shop.clock.advance(HOUR);
    let job = only_job(&queue).await;
    queue.settle(&job, park("400"), None).await.unwrap();
    let row = &queue.rows(&Filter { limit: 1, ..Filter::default() }).await.unwrap()[0];
    assert_eq!((row.state, row.due_at, row.parked_at), (RowState::Parked, None, Some(shop.clock.now())));
    assert_eq!((row.answer.as_deref(), row.failing_since), (Some("400"), failing_since));
    assert!(!row.held_back);
}

async fn rows_are_listed_by_state(shop: Shop) {
    let queue = shop.opens().await;
    one_of_each(&shop, &queue).await;
    for (state, expected) in [
        (Some(RowState::Due), vec!["due", "due-lease"]),
        (Some(RowState::Leased), vec!["leased"]),
        (Some(RowState::Scheduled), vec!["scheduled"]),
        (Some(RowState::Failing), vec!["failing"]),
        (Some(RowState::Held), vec!["held"]),
        (Some(RowState::Parked), vec!["parked"]),
        (Some(RowState::Idle), vec!["idle"]),
        (None, vec!["due", "due-lease", "failing", "held", "idle", "leased", "parked", "scheduled"]),
    ] {
        let filter = Filter { state, limit: 10, ..Filter::default() };
        assert_eq!(listed(&queue, filter.clone()).await, expected, "{state:?}");
        let rows = queue.rows(&filter).await.unwrap();
        assert!(rows.iter().all(|row| state.is_none_or(|state| row.state == state)), "{rows:?}");
        assert!(listed(&queue, Filter { limit: 0, ..filter }).await.is_empty());
    }
}

async fn rows_are_listed_page_by_page_in_the_order_of_their_ids(shop: Shop) {
    let queue = shop.opens().await;
    for name in ["c", "a", "e", "b", "d"] {
        queue.push(&user(name), UPDATE).await.unwrap();
    }
    for state in [None, Some(RowState::Scheduled)] {
        let (mut after, mut pages) = (None, Vec::new());
        loop {
            let page = queue.rows(&Filter { state, after, limit: 2, ..Filter::default() }).await.unwrap();
            let Some(last) = page.last() else { break };
            after = Some(last.user.clone());
            pages.push(page.iter().map(|row| row.user.trim_start_matches("email|")).collect::<String>());
        }
        assert_eq!(pages, ["ab", "cd", "e"], "{state:?}");
    }
}

async fn rows_are_found_by_what_failed(shop: Shop) {
    let queue = shop.opens().await;
    one_of_each(&shop, &queue).await;
    for (state, reason, expected) in [
        (None, "FROM an api", vec!["failing", "parked", "scheduled"]),
        (Some(RowState::Parked), "FROM an api", vec!["parked"]),
        (Some(RowState::Due), "FROM an api", vec![]),
        (None, "503", vec!["failing", "scheduled"]),
        (None, "%", vec![]),
    ] {
        let filter = Filter { state, reason: Some(reason.to_owned()), limit: 10, ..Filter::default() };
        assert_eq!(listed(&queue, filter).await, expected, "{state:?} {reason}");
    }
}

async fn any_number_of_users_is_looked_up_at_once(shop: Shop) {
    let queue = shop.opens().await;
    let known: Vec<_> = (0..20).map(|number| user(&format!("known-{number}"))).collect();
    for user in &known {
        queue.push(user, UPDATE).await.unwrap();
    }
    let mut all: Vec<_> = (0..3_000).map(|number| user(&number.to_string())).collect();
    all.extend(known.iter().chain(&known).cloned());
    assert_eq!(queue.rows_of(&all).await.unwrap().len(), known.len(), "and each is told once");
    assert!(queue.rows_of(&[]).await.unwrap().is_empty());
}

async fn who_is_parked_alike_is_one_group(shop: Shop) {
    let queue = shop.opens().await;
    assert!(queue.parked(10).await.unwrap().is_empty());
    let mut times = Vec::new();
    for (name, answer) in [("a", "tag refused"), ("b", "list gone"), ("c", "tag refused"), ("d", "")] {
        let job = leased(&shop, &queue, name).await;
        queue.settle(&job, park(answer), None).await.unwrap();
        times.push(shop.clock.now());
    }
    let groups = queue.parked(10).await.unwrap();
    let told: Vec<_> = groups.iter().map(|group| (group.answer.as_str(), group.users)).collect();
    assert_eq!(told, [("tag refused", 2), ("", 1), ("list gone", 1)], "the largest first, then by name");
    assert_eq!((groups[0].first_at, groups[0].last_at), (Some(times[0]), times[2]));
    assert_eq!(groups[0].error, "400 from an API");
    assert_eq!(queue.parked(1).await.unwrap().len(), 1);
}
