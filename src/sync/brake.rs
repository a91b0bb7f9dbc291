//! The brake: where too many users at once would lose the tags of what they pay for, something is wrong with the source and
//! not with them. While it is on, no write takes a tag of ours away; everything else goes on.
//!
//! Each process looks back at the users that it has synced itself ([`Window`]). That the brake is on is known to all of them
//! ([`Brake::news`], [`Brake::adopt`]), as an API's rest is, and stays so over a start. An operator lets go of it, or a
//! source that is seen to be well again: by a whole window, or because nobody's tags have to be kept any more. Whose are is
//! looked at again now and then ([`Brake::looks_at`]), for users who were well all along prove nothing.
//!
//! Promises, each a test of that name: `the_user_who_turns_it_on_is_the_first_who_keeps_the_tags`,
//! `an_old_answer_of_the_store_lets_go_of_nothing`, `what_could_not_be_told_is_told_again`,
//! `users_who_were_well_all_along_do_not_let_go_while_those_who_turned_it_on_are_ill`.

mod window;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::clock::{Clock, Millis};
use crate::telemetry;
use crate::user::UserId;
pub use window::{FEW, Sign, TOO_MANY, WINDOW, Window};

/// A process that has not seen itself whose tags are kept lets go by its window no sooner: it is to hear some of them first.
const LISTENS: Duration = Duration::from_secs(60);

/// The brake of one process. Clones of a [`super::Syncer`] share it.
#[derive(Debug)]
pub struct Brake {
    clock: Clock,
    state: Mutex<State>,
    /// Told when there is news.
    turned: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Since when it is on.
    since: Option<Millis>,
    window: Window,
    /// Until when it has not heard enough to let go by its window.
    listens_until: Option<Millis>,
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
        Self { clock, state: Mutex::default(), turned: Notify::new() }
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
            let suspects = state.window.suspects().count();
            tracing::error!(
                suspects,
                "tags are kept from now on: of the last {WINDOW} users synced who have any to lose, {suspects} would lose a tag \
                 of access that has not run out, or are suddenly unknown to Sesamy. See whether Sesamy still tells of all \
                 contracts and users. Once it does, users who are synced well let go, or `queue resume`"
            );
            state.turn(Some(self.clock.now()));
            state.window.note(user, sign, true); // the first whose tags are kept
            self.is_news(&mut state);
        } else if state.since.is_some() && state.window.is_healthy() && !state.listens(self.clock.now()) {
            let suspects = state.window.suspects().count();
            tracing::info!(
                suspects,
                "tags are taken away again: {WINDOW} users have been synced since, and the source looks well"
            );
            state.turn(None);
            self.is_news(&mut state);
        }
        state.since.is_some()
    }

    /// Takes in that `user`, whose tags are kept, is about to be looked at again: a suspect until seen well.
    pub fn looks_at(&self, user: &UserId) {
        let mut state = self.lock();
        if state.since.is_some() {
            state.window.doubt(user);
        }
    }

    /// Whose tags are kept, as far as this process knows; [`WINDOW`] users at the most.
    #[must_use]
    pub fn suspects(&self) -> Vec<UserId> {
        self.lock().window.suspects().cloned().collect()
    }

    /// Takes in that all whose tags are kept have had their turn. Those of `free` are kept no more, whoever has seen to that.
    /// Where nobody's are (`is_nobody`), no suspect is left and some are seen to be well, it lets go.
    pub fn all_looked_at(&self, free: &[UserId], is_nobody: bool) {
        let mut state = self.lock();
        free.iter().for_each(|user| state.window.drop(user));
        if state.since.is_some() && is_nobody && state.window.is_all_sound() {
            tracing::info!(
                "tags are taken away again: all whose tags were kept have been looked at again, and are well"
            );
            state.turn(None);
            self.is_news(&mut state);
        }
    }

    /// Waits until there is news. To be told at once: whoever starts before the store knows begins to count anew.
    pub async fn turned(&self) {
        self.turned.notified().await;
    }

    fn is_news(&self, state: &mut State) {
        state.is_news = true;
        self.turned.notify_one();
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
        state.listens_until = since.map(|_| self.clock.now().plus(LISTENS));
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
        self.listens_until = None;
        self.window.clear();
        self.edition += 1;
        telemetry::tags_kept(since.is_some());
    }

    fn listens(&self, now: Millis) -> bool {
        // However far a clock that was wrong was ahead.
        self.listens_until.is_some_and(|until| now < until && until <= now.plus(LISTENS))
    }
}

#[cfg(test)]
mod tests;
