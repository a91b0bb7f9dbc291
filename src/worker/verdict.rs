//! What follows from a sync that failed: a pure decision.

use crate::clock::Millis;
use crate::queue::{Job, Settlement};
use crate::sync::SyncError;
use crate::upstream::Class;
use crate::upstream::rest::{Blame, Policy, Rest};
use crate::user::UserId;

/// When to try again, and when to give up.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// `sync.backoff_base` and `sync.backoff_cap`.
    pub backoff: Policy,
    /// `sync.max_attempts`.
    pub max_attempts: u32,
}

impl Patience {
    /// When to try again after `failures` (counted from 1): a random moment, by `draw` in `0.0..1.0`, between now and the
    /// backoff's ceiling, so that users who failed together do not come back together.
    ///
    /// Source: "full jitter", <https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>.
    pub(super) fn retry_at(&self, failures: u32, now: Millis, draw: f64) -> Millis {
        let ceiling = self.backoff.doubled(failures.saturating_sub(1));
        now.plus(ceiling.mul_f64(draw.clamp(0.0, 1.0)))
    }
}

/// The settlement of `job` without a sync, where its sync has ended the process time and again: to try once more would
/// end it once more, and everybody else's syncs with it.
pub(super) fn of_a_poison_pill(job: &Job, patience: &Patience) -> Option<Settlement> {
    (job.is_taken_over && job.attempts >= patience.max_attempts).then(|| {
        let error = "the service ended, or hung, in the middle of this user's sync time and again".to_owned();
        Settlement::Park { answer: error.clone(), error }
    })
}

/// A failed sync's settlement, and what it means for others.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) settlement: Settlement,
    pub(super) outage: Option<Outage>,
}

/// Users whose failure turned out to be an outage's.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outage {
    pub(super) users: Vec<UserId>,
    pub(super) answer: Option<String>,
    pub(super) due: Millis,
}

/// Decides about `job`, whose sync failed with `error` on the API of `rest`, by whose fault `blame` says.
pub(super) fn of(
    job: &Job,
    error: &SyncError,
    blame: Blame,
    rest: &Rest,
    patience: &Patience,
    now: Millis,
    draw: f64,
) -> Verdict {
    let message = error.message.clone();
    if let Blame::Api { give_back } = blame {
        // Due at once: nothing is leased before the rest is over, and a start that ends the rest then finds the user
        // due. Whoever has been due for longer comes first, so that the next probe is another user's.
        let settlement = Settlement::Retry { at: now, counts: false, error: message };
        let answer = (error.class == Class::Permanent).then(|| error.answer.clone());
        let outage = (!give_back.is_empty()).then_some(Outage { users: give_back, answer, due: now });
        return Verdict { settlement, outage };
    }
    let failures = job.attempts.saturating_add(1);
    // While nobody else gets through either, it is the API that fails and not this user.
    let others_succeed =
        || job.failing_since.is_some_and(|since| rest.others_succeeded_since(&job.user, since));
    let gives_up = match error.class {
        Class::Permanent => true,
        Class::Transient => failures >= patience.max_attempts && others_succeed(),
        Class::Resting => false,
    };
    let settlement = if gives_up {
        Settlement::Park { error: message, answer: error.answer.clone() }
    } else {
        Settlement::Retry { at: patience.retry_at(failures, now, draw), counts: true, error: message }
    };
    Verdict { settlement, outage: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::queue::{Lane, LeaseName, Role};
    use crate::upstream::{Api, PerApi};
    use std::time::Duration;

    const NOW: Millis = Millis(1_000_000);
    const SECOND: Duration = Duration::from_secs(1);

    fn patience() -> Patience {
        Patience { backoff: Policy { base: 2 * SECOND, cap: 900 * SECOND }, max_attempts: 50 }
    }

    fn user(id: &str) -> UserId {
        UserId::new(id).unwrap()
    }

    fn job(attempts: u32, failing_since: Option<Millis>) -> Job {
        Job {
            user: user("a"),
            event_type: "userVendor.1#update".to_owned(),
            attempts,
            failing_since,
            is_taken_over: false,
            lease: LeaseName::new(Role::Service, 1),
            generation: 1,
            leased_at: NOW,
            calls: PerApi::default(),
            calls_taken: PerApi::default(),
            lane: Lane::Events,
            is_probe: false,
            has_written: false,
            memory: crate::memory::Memory::default(),
            learned: None,
        }
    }

    fn error(class: Class) -> SyncError {
        let text = |it: &str| it.to_owned();
        let (message, answer) = (text("odd"), text("400 odd"));
        SyncError { api: Api::Sesamy, class, message, answer, own_words: None, reached: vec![] }
    }

    fn decide(job: &Job, class: Class, others_succeed: bool) -> Settlement {
        let rest = Rest::new(Api::Sesamy, patience().backoff, Clock::manual(NOW));
        if others_succeed {
            rest.succeeded(&user("b"));
        }
        of(job, &error(class), Blame::User, &rest, &patience(), NOW, 0.5).settlement
    }

    fn retry(at: Millis) -> Settlement {
        Settlement::Retry { at, counts: true, error: "odd".to_owned() }
    }

    fn parked() -> Settlement {
        Settlement::Park { error: "odd".to_owned(), answer: "400 odd".to_owned() }
    }

    #[test]
    fn the_wait_doubles_to_the_cap_and_is_drawn_from_all_of_it() {
        for (failures, draw, wait) in [
            (1, 0.0, 0),
            (1, 1.0, 2),
            (1, 0.5, 1),
            (2, 1.0, 4),
            (5, 1.0, 32),
            (10, 1.0, 900),
            (4_000_000, 1.0, 900),
        ] {
            assert_eq!(
                patience().retry_at(failures, NOW, draw),
                NOW.plus(wait * SECOND),
                "{failures} {draw}"
            );
        }
    }

    #[test]
    fn a_transient_failure_is_tried_again_and_a_permanent_one_parked() {
        assert_eq!(decide(&job(0, None), Class::Transient, false), retry(NOW.plus(SECOND)));
        assert_eq!(decide(&job(0, None), Class::Permanent, false), parked());
    }

    #[test]
    fn a_user_is_given_up_after_max_attempts_but_only_while_others_succeed() {
        assert_eq!(decide(&job(48, Some(NOW)), Class::Transient, true), retry(NOW.plus(450 * SECOND)));
        assert_eq!(decide(&job(49, Some(NOW)), Class::Transient, true), parked());
        assert_eq!(decide(&job(49, Some(NOW)), Class::Transient, false), retry(NOW.plus(450 * SECOND)));
        assert_eq!(
            decide(&job(49, Some(NOW.plus(SECOND))), Class::Transient, true),
            retry(NOW.plus(450 * SECOND))
        );
    }

    #[test]
    fn nobody_is_given_up_for_calls_that_were_not_made() {
        assert_eq!(decide(&job(49, Some(NOW)), Class::Resting, true), retry(NOW.plus(450 * SECOND)));
    }

    #[test]
    fn who_ends_the_process_time_and_again_is_parked_without_a_sync() {
        for (is_taken_over, attempts, parks) in [(true, 50, true), (true, 49, false), (false, 80, false)] {
            let job = Job { is_taken_over, ..job(attempts, Some(NOW)) };
            assert_eq!(of_a_poison_pill(&job, &patience()).is_some(), parks, "{is_taken_over} {attempts}");
        }
    }

    #[test]
    fn an_apis_fault_costs_the_user_nothing_and_gives_others_back_what_it_cost_them() {
        let rest = Rest::new(Api::Sesamy, patience().backoff, Clock::manual(NOW));
        // What is tried again parks nobody but who is given up for good: these are not made due by an outage's end.
        for (class, answer) in [(Class::Permanent, Some("400 odd".to_owned())), (Class::Transient, None)] {
            let blame = Blame::Api { give_back: vec![user("b")] };
            let verdict = of(&job(49, Some(NOW)), &error(class), blame, &rest, &patience(), NOW, 0.5);
            let settlement = Settlement::Retry { at: NOW, counts: false, error: "odd".to_owned() };
            assert_eq!(verdict.settlement, settlement);
            assert_eq!(verdict.outage, Some(Outage { users: vec![user("b")], answer, due: NOW }));
        }
    }
}
