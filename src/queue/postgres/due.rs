//! When the next row is due, as far as this process knows.
//!
//! Pushes and other replicas can only bring it forward, in the lanes that need not wait for a quiet hour, and say so at once; what the store was asked replaces it,
//! unless it was brought forward while the store was being asked.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::clock::Millis;
use crate::queue::NextDue;

/// The known next due time. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Due {
    known: Arc<watch::Sender<NextDue>>,
    brought_forward: Arc<Mutex<u64>>,
}

/// How often it had been brought forward when the store was asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked(u64);

impl Due {
    pub(super) fn new(known: watch::Sender<NextDue>) -> Self {
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
        self.known.borrow().prompt.is_some_and(|known| known <= now)
    }

    /// Call before the store is asked.
    pub(super) fn ask(&self) -> Asked {
        Asked(*self.brought_forward.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The store's own next due times; whether somebody prompt is due earlier than was known.
    pub(super) fn found(&self, asked: Asked, next: NextDue) -> bool {
        let brought_forward = self.brought_forward.lock().unwrap_or_else(PoisonError::into_inner);
        let mut is_earlier = false;
        self.known.send_if_modified(|known| {
            is_earlier = is_before(next.prompt, known.prompt);
            let keeps = *brought_forward != asked.0 && !is_earlier;
            let next = NextDue { prompt: if keeps { known.prompt } else { next.prompt }, ..next };
            std::mem::replace(known, next) != next
        });
        is_earlier
    }

    fn earlier(&self, at: Option<Millis>) -> bool {
        self.known.send_if_modified(|known| {
            let is_earlier = is_before(at, known.prompt);
            if is_earlier {
                known.prompt = at;
            }
            is_earlier
        })
    }
}

fn is_before(one: Option<Millis>, other: Option<Millis>) -> bool {
    one.is_some_and(|one| other.is_none_or(|other| one < other))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompt(at: i64) -> NextDue {
        NextDue { prompt: Some(Millis(at)), background: None }
    }

    #[test]
    fn what_came_while_the_store_was_asked_is_not_forgotten() {
        let (sender, known) = watch::channel(prompt(50));
        let due = Due::new(sender);
        let asked = due.ask();
        assert!(due.at(Millis(10)));
        assert!(!due.found(asked, prompt(90)));
        assert_eq!(known.borrow().prompt, Some(Millis(10)));

        let asked = due.ask();
        assert!(!due.found(asked, prompt(90)) && !due.at(Millis(95)));
        assert_eq!(known.borrow().prompt, Some(Millis(90)));
        let asked = due.ask();
        assert!(due.found(asked, prompt(40)));
        due.found(due.ask(), NextDue::default());
        assert_eq!(known.borrow().prompt, None);
    }

    #[test]
    fn who_has_not_looked_when_somebody_was_due_is_behind_until_the_store_is_asked() {
        let due = Due::new(watch::Sender::new(NextDue::default()));
        assert!(!due.is_behind(Millis(99)));
        due.at(Millis(50));
        assert_eq!((due.is_behind(Millis(49)), due.is_behind(Millis(50))), (false, true));
        due.at(Millis(60)); // not sooner, and still nobody has looked
        assert!(due.is_behind(Millis(60)));
        due.found(due.ask(), prompt(90));
        assert!(!due.is_behind(Millis(60)));
    }
}
