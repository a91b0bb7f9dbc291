//! It goes on through a pause, and ends with the queue. What a tick does is the queue's to prove.

use std::num::NonZeroU32;

use super::*;
use crate::clock::Millis;
use crate::queue::{Options, Rates, Role, Round};
use crate::upstream::{PerApi, Quota};

const DAY: Duration = Duration::from_secs(86_400);

fn clockwork(folder: &std::path::Path) -> Clockwork {
    let quota = Quota { per_minute: NonZeroU32::MAX, burst: NonZeroU32::MAX };
    let second = Duration::from_secs(1);
    let options = Options {
        debounce: second,
        lease: second,
        request_timeout: second,
        furthest_due: second,
        dry_run: false,
        rates: Rates {
            quotas: PerApi { sesamy: quota, mailmojo: quota },
            calls: PerApi { sesamy: 1, mailmojo: 1 },
        },
    };
    let clock = Clock::manual(Millis(1_000_000));
    let queue =
        Queue::open_sqlite(&folder.join("queue.db"), Role::Service, options, clock.clone(), 1).unwrap();
    let brake = Arc::new(Brake::new(clock.clone()));
    Clockwork { queue, clock, pause: Pause::default(), resync_every: Some(DAY), gap: second, brake }
}

#[tokio::test]
async fn a_pause_holds_rounds_up_and_not_the_clock() {
    let folder = tempfile::tempdir().unwrap();
    let works = clockwork(folder.path());
    assert_eq!(works.tick(&mut Canaries::default()), Tick { resync_every: Some(DAY), canary_after: None });
    works.pause.set(Some(Millis(1_000_000)));
    assert_eq!(works.tick(&mut Canaries::default()), Tick { resync_every: None, canary_after: None });
    works.pause.set(None);
    assert_eq!(works.tick(&mut Canaries::default()), Tick { resync_every: Some(DAY), canary_after: None });
    let never = Clockwork { resync_every: None, ..works };
    assert_eq!(never.tick(&mut Canaries::default()), Tick { resync_every: None, canary_after: None });
}

#[tokio::test(start_paused = true)]
async fn it_ticks_time_and_again_and_ends_with_the_queue() {
    let folder = tempfile::tempdir().unwrap();
    let works = clockwork(folder.path());
    let (queue, clock) = (works.queue.clone(), works.clock.clone());
    let running = tokio::spawn(works.run());
    let mut seen: Vec<Round> = Vec::new();
    while seen.len() < 3 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let round = queue.round().await.unwrap();
        if let Some(round) = round.filter(|round| seen.last() != Some(round)) {
            seen.push(round);
            clock.advance(DAY);
        }
    }
    assert!(seen.iter().all(|round| round.ended_at.is_some()), "of nobody, over at once: {seen:?}");
    queue.close().await;
    running.await.unwrap();
}

#[tokio::test]
async fn while_tags_are_kept_who_is_held_back_is_looked_at_in_turn_and_when_nobody_is_it_may_let_go() {
    let folder = tempfile::tempdir().unwrap();
    let works = clockwork(folder.path());
    let mut canaries = Canaries::default();
    assert_eq!(works.tick(&mut canaries).canary_after, None, "tags are taken away");
    works.brake.adopt(works.brake.asks(), Some(Millis(1_000_000)));
    assert_eq!(works.tick(&mut canaries).canary_after.as_deref(), Some(""));
    canaries.hear(Some("kari"), &works.queue, &works.brake).await;
    assert_eq!(works.tick(&mut canaries).canary_after, None, "not so soon");
    works.clock.advance(canaries::EVERY);
    works.pause.set(Some(Millis(1)));
    assert_eq!(works.tick(&mut canaries).canary_after, None, "syncs are paused");
    works.pause.set(None);
    assert_eq!(works.tick(&mut canaries).canary_after.as_deref(), Some("kari"));
    assert_eq!(works.brake.suspects(), [crate::user::UserId::new("kari").unwrap()]);
    canaries.hear(None, &works.queue, &works.brake).await;
    assert_eq!(works.brake.suspects(), [], "kari is held back no more");
    works.clock.advance(canaries::EVERY);
    assert_eq!(works.tick(&mut canaries).canary_after.as_deref(), Some(""), "from the first again");
    canaries.hear(None, &works.queue, &works.brake).await;
    assert!(works.brake.since().is_some(), "nobody was seen to be well yet");
}
