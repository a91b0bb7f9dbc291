//! Users whom an operator makes due at once.

use std::time::Duration;

use super::{ask, by_hand};
use crate::queue::tests::{
    DEBOUNCE, LEASE, Shop, UPDATE, done, leased, names, next_due, only_job, park, retry, stories, user,
};
use crate::queue::{Lane, LeaseRequest, Queue, RESTRICTED, Retry, RowState, Settlement, Slots};

stories! {
    a_parked_user_is_due_at_once_and_afresh,
    a_retry_of_a_sync_that_may_create_nobody_stays_one,
    who_waits_for_the_next_try_is_due_at_once,
    who_is_synced_just_now_or_has_nothing_to_do_is_left_alone,
    who_is_due_for_an_event_stays_in_front,
    all_who_are_parked_are_retried_together,
    who_is_parked_for_a_reason_is_found_by_it,
    to_count_first_tells_what_a_retry_does,
    a_retry_beside_the_service_is_seen_by_its_next_lease,
}

const HOUR: Duration = Duration::from_secs(3_600);

async fn parked_for(shop: &Shop, queue: &Queue, name: &str, error: &str, answer: &str) {
    let job = leased(shop, queue, name).await;
    let how = Settlement::Park { error: error.to_owned(), answer: answer.to_owned() };
    queue.settle(&job, how, None).await.unwrap();
}

async fn three_parked(shop: &Shop, queue: &Queue) {
    parked_for(shop, queue, "a", "400: Tag X is refused, 100%", "400 tag refused").await;
    parked_for(shop, queue, "b", "400: tag Y is refused", "400 tag refused").await;
    parked_for(shop, queue, "c", "422: no such list", "422 LIST").await;
}

async fn a_parked_user_is_due_at_once_and_afresh(shop: Shop) {
    let queue = shop.opens().await;
    let job = leased(&shop, &queue, "kari").await;
    queue.settle(&job, retry(shop.clock.now(), true), None).await.unwrap();
    let job = only_job(&queue).await;
    queue.settle(&job, park("400"), None).await.unwrap();
    shop.clock.advance(HOUR);
    assert_eq!(queue.retry(Retry::Users(vec![user("kari"), user("kari")])).await.unwrap(), 1);
    assert_eq!(next_due(&queue).await, Some(shop.clock.now()));
    let row = &queue.rows_of(&[user("kari")]).await.unwrap()[0];
    assert_eq!((row.state, row.parked_at, row.answer.clone()), (RowState::Due, None, None));
    let job = only_job(&queue).await;
    assert_eq!((job.attempts, job.failing_since, job.lane), (0, None, Lane::Retries));
    assert_eq!(job.event_type, "retry");
}

async fn a_retry_of_a_sync_that_may_create_nobody_stays_one(shop: Shop) {
    let queue = shop.opens().await;
    for cause in RESTRICTED {
        let job = ask(&queue, LeaseRequest { cause, ..by_hand("kari") }).await.unwrap();
        queue.settle(&job, park("400"), None).await.unwrap();
        assert_eq!(queue.retry(Retry::Users(vec![user("kari")])).await.unwrap(), 1);
        let job = only_job(&queue).await;
        assert_eq!(job.event_type, cause);
        queue.settle(&job, done(), None).await.unwrap();
    }
}

async fn who_waits_for_the_next_try_is_due_at_once(shop: Shop) {
    let queue = shop.opens().await;
    let job = leased(&shop, &queue, "kari").await;
    queue.settle(&job, retry(shop.later(HOUR).unwrap(), true), None).await.unwrap();
    assert_eq!(queue.retry(Retry::Users(vec![user("kari")])).await.unwrap(), 1);
    let job = only_job(&queue).await;
    assert_eq!((job.attempts, job.failing_since, job.lane), (0, None, Lane::Retries));
}

async fn who_is_synced_just_now_or_has_nothing_to_do_is_left_alone(shop: Shop) {
    let queue = shop.opens().await;
    let idle = leased(&shop, &queue, "idle").await;
    queue.settle(&idle, done(), None).await.unwrap();
    let running = leased(&shop, &queue, "running").await;
    let whom = Retry::Users(["idle", "running", "nobody"].map(user).to_vec());
    assert_eq!(queue.count_retry(&whom).await.unwrap(), 0);
    assert_eq!(queue.retry(whom).await.unwrap(), 0);
    assert_eq!(next_due(&queue).await, shop.later(LEASE));
    assert!(queue.rows_of(&[user("nobody")]).await.unwrap().is_empty());
    queue.settle(&running, done(), None).await.unwrap();
    assert_eq!(next_due(&queue).await, None);
}

async fn who_is_due_for_an_event_stays_in_front(shop: Shop) {
    let queue = shop.opens().await;
    queue.push(&user("kari"), UPDATE).await.unwrap();
    assert_eq!(queue.retry(Retry::Users(vec![user("kari")])).await.unwrap(), 1);
    assert_eq!(only_job(&queue).await.lane, Lane::Events);
}

async fn all_who_are_parked_are_retried_together(shop: Shop) {
    let queue = shop.opens().await;
    three_parked(&shop, &queue).await;
    let job = leased(&shop, &queue, "waits").await;
    queue.settle(&job, retry(shop.later(HOUR).unwrap(), true), None).await.unwrap();
    assert_eq!(queue.retry(Retry::AllParked).await.unwrap(), 3);
    let jobs = queue.lease(Slots::for_any(10)).await.unwrap().jobs;
    let mut retried = names(&jobs);
    retried.sort_unstable();
    assert_eq!(retried, ["email|a", "email|b", "email|c"]);
    assert!(jobs.iter().all(|job| job.lane == Lane::Retries), "events go before a thousand of them");
}

async fn who_is_parked_for_a_reason_is_found_by_it(shop: Shop) {
    for (whom, found) in [
        (Retry::Answer("400 tag refused".to_owned()), 2),
        (Retry::Answer("400 tag".to_owned()), 0),
        (Retry::Reason("tAG x".to_owned()), 1),
        (Retry::Reason("list".to_owned()), 1),
        (Retry::Reason("TAG REFUSED".to_owned()), 2),
        (Retry::Reason("100%".to_owned()), 1),
        (Retry::Reason("4%0".to_owned()), 0),
        (Retry::Reason("tag_y".to_owned()), 0),
    ] {
        let queue = shop.opens().await;
        queue.retry(Retry::AllParked).await.unwrap();
        for job in queue.lease(Slots::for_any(10)).await.unwrap().jobs {
            queue.settle(&job, done(), None).await.unwrap();
        }
        three_parked(&shop, &queue).await;
        assert_eq!(queue.count_retry(&whom).await.unwrap(), found, "{whom:?}");
        assert_eq!(queue.retry(whom.clone()).await.unwrap(), found, "{whom:?}");
        shop.clock.advance(Duration::from_secs(15));
        assert_eq!(queue.census().await.unwrap().parked, 3 - found, "{whom:?}");
        queue.close().await;
    }
}

async fn to_count_first_tells_what_a_retry_does(shop: Shop) {
    let queue = shop.opens().await;
    three_parked(&shop, &queue).await;
    queue.push(&user("due"), UPDATE).await.unwrap();
    let some = Retry::Users(["a", "b", "b", "due", "nobody"].map(user).to_vec());
    for whom in [some, Retry::AllParked] {
        let counted = queue.count_retry(&whom).await.unwrap();
        assert_eq!(counted, queue.count_retry(&whom).await.unwrap(), "to count changes nothing");
        assert_eq!(queue.retry(whom.clone()).await.unwrap(), counted, "{whom:?}");
    }
    assert_eq!(queue.count_retry(&Retry::AllParked).await.unwrap(), 0);
}

async fn a_retry_beside_the_service_is_seen_by_its_next_lease(shop: Shop) {
    let service = shop.opens().await;
    three_parked(&shop, &service).await;
    let command = shop.opens_beside();
    assert_eq!(command.retry(Retry::Users(vec![user("a")])).await.unwrap(), 1);
    command.close().await;
    assert_eq!(only_job(&service).await.user, user("a"));
    shop.clock.advance(DEBOUNCE);
    let command = shop.opens_beside();
    command.push(&user("later"), UPDATE).await.unwrap();
    assert!(service.lease(Slots::for_any(1)).await.unwrap().jobs.is_empty());
    assert_eq!(next_due(&service).await, shop.later(DEBOUNCE), "known with each lease, at the latest");
}
