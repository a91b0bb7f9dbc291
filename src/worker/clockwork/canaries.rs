//! While tags are kept, those whose change is held back are looked at again, one after the other: nothing is taken from them
//! meanwhile, and what Sesamy says of them tells whether the source is well again. Without them, others who were well all
//! along would let go of the brake.

use std::time::Duration;

use crate::clock::Millis;
use crate::queue::Queue;
use crate::sync::Brake;
use crate::user::UserId;

/// How long after one of them the next one is looked at.
pub(super) const EVERY: Duration = Duration::from_secs(5);

/// Where the rotation has come to.
#[derive(Debug, Default)]
pub(super) struct Canaries {
    /// The last id; empty where it begins.
    after: String,
    /// Whether this rotation has found anybody.
    found: bool,
    last: Option<Millis>,
}

impl Canaries {
    /// After which id to look for the next one; none where it is not time for one.
    pub(super) fn next(&mut self, brake: &Brake, now: Millis) -> Option<&str> {
        // As long as the store does not know that tags are kept, it tells of nobody.
        if brake.since().is_none() || brake.news().is_some() {
            *self = Self::default();
            return None;
        }
        if self.last.is_some_and(|last| last <= now && now.since(last) < EVERY) {
            return None;
        }
        self.last = Some(now);
        Some(&self.after)
    }

    /// Takes in who was found; none: nobody after the last one, and so the rotation is over.
    pub(super) async fn hear(&mut self, found: Option<&str>, queue: &Queue, brake: &Brake) {
        if let Some(id) = found {
            if let Ok(user) = UserId::new(id) {
                brake.looks_at(&user);
            }
            (self.after, self.found) = (id.to_owned(), true);
            return;
        }
        let is_nobody = !std::mem::take(&mut self.found);
        self.after.clear();
        let suspects = brake.suspects();
        let rows = match queue.rows_of(&suspects).await {
            Ok(rows) => rows,
            Err(error) => {
                tracing::debug!(%error, "cannot see whose tags are still kept; looking again");
                return;
            }
        };
        let is_held = |user: &UserId| rows.iter().any(|row| row.user == user.as_str() && row.held_back);
        let free: Vec<UserId> = suspects.into_iter().filter(|user| !is_held(user)).collect();
        brake.all_looked_at(&free, is_nobody);
    }
}
