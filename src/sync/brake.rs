//! The brake: where too many users at once would lose the tags of what they pay for, something is wrong with the source and
//! not with them. While it is on, no write takes a tag of ours away; everything else goes on.
//!
//! Each process looks back at the users that it has synced itself ([`Window`]). That the brake is on is known to all of them
//! ([`Brake::news`], [`Brake::adopt`]), as an API's rest is, and stays so over a start. An operator lets go of it, or a
//! source that is seen to be well again.
//!
//! Promises, each a test of that name: `the_user_who_turns_it_on_is_the_first_who_keeps_the_tags`,
//! `an_old_answer_of_the_store_lets_go_of_nothing`, `what_could_not_be_told_is_told_again`.

mod window;

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::clock::{Clock, Millis};
use crate::telemetry;
use crate::user::UserId;
pub use window::{FEW, Sign, TOO_MANY, WINDOW, Window};

/// The brake of one process. Clones of a [`super::Syncer`] share it.
#[derive(Debug)]
pub struct Brake {
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Since when it is on.
    since: Option<Millis>,
    window: Window,
    /// Whether the store is yet to be told.
    is_news: bool,
    /// Counts what has changed, or was told.
    edition: u64,
}

/// What this process has to tell the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct News {
    /// Whether it is on.
    pub is_on: bool,
    edition: u64,
}

/// When the store was asked: its answer is of that time at the earliest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked(u64);

impl Brake {
    /// A brake that is off.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self { clock, state: Mutex::default() }
    }

    /// Since when it is on; none while it is off.
    #[must_use]
    pub fn since(&self) -> Option<Millis> {
        self.lock().since
    }

    /// Takes in what a sync of `user` that is about to be written says about the source; whether the brake is on for it.
    pub(super) fn note(&self, user: &UserId, sign: Sign) -> bool {
        let mut state = self.lock();
        let tags_are_kept = state.since.is_some();
        state.window.note(user, sign, tags_are_kept);
        if state.since.is_none() && state.window.is_alarming() {
            let suspects = state.window.suspects();
            tracing::error!(
                suspects,
                "tags are kept from now on: of the last {WINDOW} users synced, {suspects} would lose a tag of access that has \
                 not run out, or are suddenly unknown to Sesamy. See whether Sesamy still tells of all contracts and users. \
                 Once it does, `queue resume` lets go, or {WINDOW} users who are synced well"
            );
            state.turn(Some(self.clock.now()));
            state.is_news = true;
        } else if state.since.is_some() && state.window.is_healthy() {
            let suspects = state.window.suspects();
            tracing::info!(
                suspects,
                "tags are taken away again: {WINDOW} users have been synced since, and the source looks well"
            );
            state.turn(None);
            state.is_news = true;
        }
        state.since.is_some()
    }

    /// What has changed here and the store does not know; none where it knows all.
    #[must_use]
    pub fn news(&self) -> Option<News> {
        let state = self.lock();
        state.is_news.then_some(News { is_on: state.since.is_some(), edition: state.edition })
    }

    /// Takes in that the store knows of `news`, and since when it is on with that.
    pub fn told(&self, news: News, since: Option<Millis>) {
        let mut state = self.lock();
        if state.edition != news.edition {
            return; // it has changed again meanwhile, which is yet to be told
        }
        state.is_news = false;
        state.edition += 1;
        if since.is_some() == news.is_on {
            state.since = since;
        }
    }

    /// To be called before the store is asked.
    #[must_use]
    pub fn asks(&self) -> Asked {
        Asked(self.lock().edition)
    }

    /// Takes in what the store has, which another process or an operator may have changed. What this one has yet to tell
    /// stands, and so does what it has learnt or told since it `asked`.
    pub fn adopt(&self, asked: Asked, since: Option<Millis>) {
        let mut state = self.lock();
        if state.is_news || Asked(state.edition) != asked || state.since == since {
            return;
        }
        match (state.since, since) {
            (None, Some(since)) => tracing::warn!(
                %since,
                "tags are kept, as another process, or this service before its start, has seen too many users lose theirs"
            ),
            (Some(_), None) => {
                tracing::info!("tags are taken away again: an operator, or another process, has let go");
            }
            _ => {
                state.since = since;
                return;
            }
        }
        state.turn(since);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that holds the lock can leave the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// What was seen before says nothing about what comes.
    fn turn(&mut self, since: Option<Millis>) {
        self.since = since;
        self.window.clear();
        self.edition += 1;
        telemetry::tags_kept(since.is_some());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = Millis(1_000_000);

    fn brake() -> Brake {
        Brake::new(Clock::manual(NOW))
    }

    fn note_many(brake: &Brake, users: std::ops::Range<usize>, sign: Sign) -> Vec<bool> {
        users.map(|number| brake.note(&UserId::new(format!("u{number}")).unwrap(), sign)).collect()
    }

    #[test]
    fn the_user_who_turns_it_on_is_the_first_who_keeps_the_tags() {
        let brake = brake();
        let kept = note_many(&brake, 0..60, Sign::Suspect);
        assert_eq!(kept.iter().position(|kept| *kept), Some(TOO_MANY - 1));
        assert!(kept[TOO_MANY - 1..].iter().all(|kept| *kept));
        assert_eq!(brake.since(), Some(NOW));
    }

    #[test]
    fn users_who_are_synced_well_let_go_of_it_and_it_begins_anew() {
        let brake = brake();
        note_many(&brake, 0..26, Sign::Suspect);
        // The 26 who turned it on count no more.
        assert_eq!(note_many(&brake, 100..150, Sign::Sound).iter().filter(|kept| !**kept).count(), 1);
        assert_eq!(brake.since(), None);
        assert!(!note_many(&brake, 0..25, Sign::Suspect).contains(&true));
        assert!(note_many(&brake, 25..26, Sign::Suspect)[0]);
    }

    #[test]
    fn what_could_not_be_told_is_told_again() {
        let brake = brake();
        assert_eq!(brake.news(), None);
        note_many(&brake, 0..26, Sign::Suspect);
        let news = brake.news().unwrap();
        assert!(news.is_on);
        // The store has not answered: a lease that knows nothing of it yet changes nothing.
        brake.adopt(brake.asks(), None);
        assert_eq!((brake.since(), brake.news()), (Some(NOW), Some(news)));
        brake.told(news, Some(Millis(7)));
        assert_eq!((brake.since(), brake.news()), (Some(Millis(7)), None), "another process was the first");
    }

    #[test]
    fn what_changes_while_it_is_told_is_told_too() {
        let brake = brake();
        note_many(&brake, 0..26, Sign::Suspect);
        let on = brake.news().unwrap();
        note_many(&brake, 100..150, Sign::Sound);
        brake.told(on, Some(NOW));
        assert_eq!(brake.since(), None);
        assert!(!brake.news().unwrap().is_on);
    }

    #[test]
    fn an_old_answer_of_the_store_lets_go_of_nothing() {
        let brake = brake();
        let asked = brake.asks();
        note_many(&brake, 0..26, Sign::Suspect);
        brake.told(brake.news().unwrap(), Some(NOW));
        brake.adopt(asked, None);
        assert_eq!(brake.since(), Some(NOW));
        brake.adopt(brake.asks(), None);
        assert_eq!(brake.since(), None);
    }

    #[test]
    fn what_another_process_has_found_is_taken_over_both_ways() {
        let brake = brake();
        note_many(&brake, 0..25, Sign::Suspect);
        brake.adopt(brake.asks(), Some(Millis(5)));
        assert_eq!((brake.since(), brake.news()), (Some(Millis(5)), None));
        brake.adopt(brake.asks(), None);
        assert_eq!(brake.since(), None);
        assert!(!note_many(&brake, 25..26, Sign::Suspect)[0], "the 25 before count no more");
    }
}
