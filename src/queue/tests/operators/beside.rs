//! A command beside a service: by being opened it begins nothing anew, and ends nothing by being closed.

use std::time::Duration;

use crate::queue::tests::sharing::opened;
use crate::queue::tests::{LEASE, Shop, leased, next_due, only_job, retry, stories};
use crate::queue::{Settled, Settlement, Slots};
use crate::upstream::Api;
use crate::upstream::circuit_breaker::OpenReason;

stories! {
    a_command_ends_no_lease_of_the_service,
    a_command_closes_no_circuit,
    a_command_makes_nobody_due_who_was_held_back,
    a_command_brings_nobody_back,
    a_lease_of_a_command_that_died_is_taken_over,
}

async fn a_command_ends_no_lease_of_the_service(shop: Shop) {
    let service = shop.opens().await;
    let job = leased(&shop, &service, "kari").await;
    let command = shop.opens_beside();
    assert_eq!(next_due(&command).await, shop.later(LEASE));
    assert!(command.lease(Slots::for_any(1)).await.unwrap().jobs.is_empty());
    command.close().await;
    let settled = service.settle(&job, Settlement::done(false), None).await.unwrap();
    assert_eq!(settled, Settled::AsAsked);
}

async fn a_command_closes_no_circuit(shop: Shop) {
    let service = shop.opens().await;
    let known = opened(&service, Api::Sesamy, OpenReason::Outage, Duration::from_secs(600)).await;
    let command = shop.opens_beside();
    assert_eq!(command.known().await.unwrap(), known);
    assert_eq!(service.known().await.unwrap(), known);
}

async fn a_command_makes_nobody_due_who_was_held_back(shop: Shop) {
    let service = shop.opens_with(true).await;
    let job = leased(&shop, &service, "kari").await;
    service.settle(&job, Settlement::done(true), None).await.unwrap();
    let command = shop.opens_beside();
    assert_eq!(next_due(&command).await, None);
    command.close().await;
    service.close().await;
    let service = shop.opens().await;
    assert_eq!(service.run_checks().await.unwrap().released, 1, "the service does, when it runs without");
}

async fn a_command_brings_nobody_back(shop: Shop) {
    let service = shop.opens().await;
    let job = leased(&shop, &service, "kari").await;
    let far = shop.later(Duration::from_secs(30 * 24 * 3_600));
    service.settle(&job, retry(far.unwrap(), true), None).await.unwrap();
    assert_eq!(next_due(&shop.opens_beside()).await, far);
}

async fn a_lease_of_a_command_that_died_is_taken_over(shop: Shop) {
    let service = shop.opens().await;
    let command = shop.opens_beside();
    super::ask(&command, super::by_hand("kari")).await.unwrap();
    drop(command);
    assert!(service.lease(Slots::for_any(1)).await.unwrap().jobs.is_empty());
    assert_eq!(next_due(&service).await, shop.later(LEASE));
    shop.clock.advance(LEASE);
    let job = only_job(&service).await;
    assert_eq!((job.attempts, job.is_taken_over), (1, true));
}
