//! What happens to a user whose sync failed: a pure decision, taken in the transaction that ends the lease.

use super::lease::Job;
use super::settle::Settlement;
use crate::clock::Millis;
use crate::outcome::{FailureReason, Outcome};
use crate::upstream::circuit_breaker::{Backoff, Blame, Breaker, FailedCall};
use crate::upstream::{Api, Class};

/// The error of a user who is parked because each sync has ended the process.
pub(crate) const POISON_PILL: &str =
    "the service ended, or hung, in the middle of this user's sync time and again";

/// When to try again, and when to give up.
#[derive(Debug, Clone, Copy)]
pub struct RetryPolicy {
    /// `sync.backoff_base` and `sync.backoff_cap`.
    pub backoff: Backoff,
    /// `sync.max_attempts`.
    pub max_attempts: u32,
}

impl RetryPolicy {
    /// When to try again after `failures` (counted from 1): a random moment, by `draw` in `0.0..1.0`, between now and the
    /// backoff's ceiling, so that users who failed together do not come back together.
    ///
    /// Source: "full jitter", <https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>.
    pub fn retry_at(&self, failures: u32, now: Millis, draw: f64) -> Millis {
        let ceiling = self.backoff.doubled(failures.saturating_sub(1));
        now.plus(ceiling.mul_f64(draw.clamp(0.0, 1.0)))
    }

    /// The settlement of `job` without a sync, if its sync has ended the process at each attempt: another one would end it once
    /// more, and all other syncs with it.
    pub fn of_a_poison_pill(&self, job: &Job) -> Option<Settlement> {
        let is_poison = job.is_taken_over && job.attempts >= self.max_attempts;
        is_poison.then(|| Settlement::Park { error: POISON_PILL.to_owned(), answer: POISON_PILL.to_owned() })
    }
}

/// A sync that failed, as its settlement needs it.
#[derive(Debug, Clone)]
pub struct Failed {
    /// On which API.
    pub api: Api,
    /// On which call.
    pub call: FailedCall,
    /// The limits of its retries.
    pub policy: RetryPolicy,
    /// A random number in `0.0..1.0`, which spreads retries.
    pub draw: f64,
}

/// Decides about `job`, whose sync failed on the API of `breaker`, and takes the failure into account there: how the lease ends,
/// and which users get back attempts that an outage took, this one perhaps among them.
pub(super) fn decide(
    job: &Job,
    failed: &Failed,
    breaker: &mut Breaker,
    now: Millis,
) -> (Settlement, Vec<(String, u32)>) {
    let Failed { call, policy, draw, .. } = failed;
    let user = job.user.as_str();
    let error = call.message.clone();
    let blame = breaker.failed(user, call, now, &policy.backoff);
    if let Blame::Api { at, give_back } = blame {
        // Users who wait for the same moment are spread after it. A user who waits for the API alone is due at once: nobody is
        // leased before the circuit allows it, and the user who has waited longest is the next probe.
        let at = if at > now { at.plus(policy.backoff.doubled(0).mul_f64(draw.clamp(0.0, 1.0))) } else { at };
        return (Settlement::Retry { at, counts: false, error }, give_back);
    }
    let failures = job.attempts.saturating_add(1);
    // While no other user gets through either, it is the API that fails and not this user.
    let others_succeed =
        job.failing_since.is_some_and(|since| breaker.others_succeeded_since(call.kind, user, since));
    let gives_up = match call.class {
        Class::Permanent => blame == Blame::User || others_succeed,
        _ => failures >= policy.max_attempts && others_succeed,
    };
    let settlement = if gives_up {
        Settlement::Park { error, answer: call.answer.clone() }
    } else {
        Settlement::Retry { at: policy.retry_at(failures, now, *draw), counts: true, error }
    };
    (settlement, Vec::new())
}

/// How a failed sync ended, in log, metrics and history.
pub fn outcome(class: Class, settlement: &Settlement) -> Outcome {
    let outcome = match settlement {
        Settlement::Park { .. } => Outcome::Parked,
        Settlement::Retry { counts: true, .. } => Outcome::Failed,
        _ => return Outcome::Postponed(class.reason()),
    };
    outcome(match class {
        // A refusal that turned out to be this user's alone.
        Class::Refused(_) => FailureReason::Permanent,
        class => class.reason(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::LastSeen;
    use crate::queue::{Lane, LeaseName, Role};
    use crate::upstream::PerApi;
    use crate::upstream::circuit_breaker::{CallKind, OpenReason};
    use crate::user::UserId;
    use std::time::Duration;

    const NOW: Millis = Millis(1_000_000);
    const SECOND: Duration = Duration::from_secs(1);
    const POLICY: RetryPolicy = RetryPolicy {
        backoff: Backoff { base: Duration::from_secs(2), cap: Duration::from_secs(900) },
        max_attempts: 50,
    };

    fn job(attempts: u32, failing_since: Option<Millis>) -> Job {
        Job {
            user: UserId::new("a").unwrap(),
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
            expiry_has_come: false,
            has_pass: false,
            suspect: None,
            answered: vec![],
            memory: LastSeen::default(),
            learned: None,
        }
    }

    fn failed(kind: CallKind, class: Class) -> Failed {
        let (message, answer) = ("odd".to_owned(), "400 odd".to_owned());
        let call = FailedCall { kind, class, message, answer, is_api_well: None };
        Failed { api: Api::Mailmojo, call, policy: POLICY, draw: 0.5 }
    }

    fn decided(attempts: u32, since: Option<Millis>, class: Class, success: Option<CallKind>) -> Settlement {
        let mut breaker = Breaker::default();
        if let Some(kind) = success {
            breaker.succeeded(kind, "b", NOW);
        }
        decide(&job(attempts, since), &failed(CallKind::Write, class), &mut breaker, NOW).0
    }

    fn retry(wait: Duration) -> Settlement {
        Settlement::Retry { at: NOW.plus(wait), counts: true, error: "odd".to_owned() }
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
            assert_eq!(POLICY.retry_at(failures, NOW, draw), NOW.plus(wait * SECOND), "{failures} {draw}");
        }
    }

    #[test]
    fn a_user_is_given_up_after_max_attempts_but_only_while_others_succeed_with_the_same_kind_of_call() {
        let (transient, writes) = (Class::Transient, Some(CallKind::Write));
        for (case, attempts, since, class, success, expected) in [
            ("the first failure", 0, None, transient, None, retry(SECOND)),
            ("what no retry can fix", 0, None, Class::Permanent, None, parked()),
            ("one attempt is left", 48, Some(NOW), transient, writes, retry(450 * SECOND)),
            ("none is left", 49, Some(NOW), transient, writes, parked()),
            ("nobody succeeds", 49, Some(NOW), transient, None, retry(450 * SECOND)),
            (
                "others succeed with reads alone",
                49,
                Some(NOW),
                transient,
                Some(CallKind::Read),
                retry(450 * SECOND),
            ),
            ("others succeeded before", 49, Some(NOW.plus(SECOND)), transient, writes, retry(450 * SECOND)),
        ] {
            assert_eq!(decided(attempts, since, class, success), expected, "{case}");
        }
    }

    #[test]
    fn a_failure_of_the_api_costs_nothing_and_one_of_a_write_is_spread_over_time() {
        let mut breaker = Breaker::default();
        let refused = Class::Refused(OpenReason::Credentials);
        let free = |at| Settlement::Retry { at, counts: false, error: "odd".to_owned() };
        let read = decide(&job(3, Some(NOW)), &failed(CallKind::Read, refused), &mut breaker, NOW);
        assert_eq!(read, (free(NOW), vec![]));
        let write = decide(&job(3, Some(NOW)), &failed(CallKind::Write, refused), &mut breaker, NOW);
        assert_eq!(write.0, free(NOW.plus(903 * SECOND)));
    }

    #[test]
    fn a_user_refused_again_after_others_got_through_counts_attempts_and_is_parked() {
        let mut breaker = Breaker::default();
        let refused = failed(CallKind::Read, Class::Refused(OpenReason::Credentials));
        decide(&job(0, None), &refused, &mut breaker, NOW);
        let later = NOW.plus(POLICY.backoff.cap);
        breaker.succeeded(CallKind::Read, "b", later);
        let again = decide(&job(0, None), &refused, &mut breaker, later).0;
        assert_eq!(outcome(refused.call.class, &again), Outcome::Failed(FailureReason::Permanent));
        let last = decide(&job(49, Some(later)), &refused, &mut breaker, later).0;
        assert_eq!(outcome(refused.call.class, &last), Outcome::Parked(FailureReason::Permanent));
        assert_eq!(last, parked());
        assert_eq!(breaker.open(CallKind::Read), None);
    }

    #[test]
    fn a_user_whose_sync_ends_the_process_time_and_again_is_parked_without_a_sync() {
        for (is_taken_over, attempts, parks) in [(true, 50, true), (true, 49, false), (false, 80, false)] {
            let job = Job { is_taken_over, ..job(attempts, Some(NOW)) };
            assert_eq!(POLICY.of_a_poison_pill(&job).is_some(), parks, "{is_taken_over} {attempts}");
        }
    }
}
