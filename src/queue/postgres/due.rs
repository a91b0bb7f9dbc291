//! When the next row is due, as far as this process knows.
//!
//! Pushes and other replicas can only bring it forward, and say so at once; what the store was asked replaces it,
//! unless it was brought forward while the store was being asked.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::clock::Millis;

/// The known next due time. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Due {
    known: Arc<watch::Sender<Option<Millis>>>,
    brought_forward: Arc<Mutex<u64>>,
}

/// How often it had been brought forward when the store was asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked(u64);

impl Due {
    pub(super) fn new(known: watch::Sender<Option<Millis>>) -> Self {
        Self { known: Arc::new(known), brought_forward: Arc::default() }
    }

    /// A row is due at `at`; whether that is earlier than what was known.
    pub(super) fn at(&self, at: Millis) -> bool {
        let mut brought_forward = self.brought_forward.lock().unwrap_or_else(PoisonError::into_inner);
        *brought_forward += 1;
        self.earlier(Some(at))
    }

    /// Whether what is known is past: then this process has all in hand that it can do at a time, or is about to look.
    /// It may not have heard that others have done it meanwhile.
    pub(super) fn is_behind(&self, now: Millis) -> bool {
        self.known.borrow().is_some_and(|known| known <= now)
    }

    /// Call before the store is asked.
    pub(super) fn ask(&self) -> Asked {
        Asked(*self.brought_forward.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The store's own next due time; whether that is earlier than what was known.
    pub(super) fn found(&self, asked: Asked, next: Option<Millis>) -> bool {
        let brought_forward = self.brought_forward.lock().unwrap_or_else(PoisonError::into_inner);
        if *brought_forward != asked.0 {
            return self.earlier(next);
        }
        let mut is_earlier = false;
        self.known.send_if_modified(|known| {
            is_earlier = next.is_some_and(|next| known.is_none_or(|known| next < known));
            std::mem::replace(known, next) != next
        });
        is_earlier
    }

    fn earlier(&self, at: Option<Millis>) -> bool {
        self.known.send_if_modified(|known| {
            let is_earlier = at.is_some_and(|at| known.is_none_or(|known| at < known));
            if is_earlier {
                *known = at;
            }
            is_earlier
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_while_the_store_was_asked_is_not_forgotten() {
        let (sender, known) = watch::channel(Some(Millis(50)));
        let due = Due::new(sender);
        let asked = due.ask();
        assert!(due.at(Millis(10)));
        assert!(!due.found(asked, Some(Millis(90))));
        assert_eq!(*known.borrow(), Some(Millis(10)));

        let asked = due.ask();
        assert!(!due.found(asked, Some(Millis(90))) && !due.at(Millis(95)));
        assert_eq!(*known.borrow(), Some(Millis(90)));
        let asked = due.ask();
        assert!(due.found(asked, Some(Millis(40))));
        due.found(due.ask(), None);
        assert_eq!(*known.borrow(), None);
    }

    #[test]
    fn who_has_not_looked_when_somebody_was_due_is_behind_until_the_store_is_asked() {
        let due = Due::new(watch::Sender::new(None));
        assert!(!due.is_behind(Millis(99)));
        due.at(Millis(50));
        assert_eq!((due.is_behind(Millis(49)), due.is_behind(Millis(50))), (false, true));
        due.at(Millis(60)); // not sooner, and still nobody has looked
        assert!(due.is_behind(Millis(60)));
        due.found(due.ask(), Some(Millis(90)));
        assert!(!due.is_behind(Millis(60)));
    }
}
