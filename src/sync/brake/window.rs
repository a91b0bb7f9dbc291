//! The last users synced, and what each of them says about the source. Pure.

use std::collections::VecDeque;

use crate::user::UserId;

/// So many different users are looked back at.
pub const WINDOW: usize = 50;
/// So many of them that look like a fault of the source turn the brake on: more than half, however many there are yet.
pub const TOO_MANY: usize = WINDOW / 2 + 1;
/// No more than so many of a whole window look like a fault where the source is well again.
pub const FEW: usize = WINDOW / 10;

/// What a sync of one user says about the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// The user would lose a `sesamy_active_` tag that no time has ended, or is suddenly unknown.
    Suspect,
    /// Nothing: there is no such tag to keep or to lose.
    Plain,
    /// Sesamy tells of access that the user has now, and nothing is lost.
    Sound,
    /// The user gets such a tag, or is known again.
    Restored,
}

impl Sign {
    /// Whether it takes back the suspicion that the same user has raised before. Who was synced twice has nothing more to
    /// lose the second time, unless tags were kept meanwhile.
    fn clears(self, tags_are_kept: bool) -> bool {
        match self {
            Self::Restored => true,
            Self::Sound => tags_are_kept,
            Self::Plain | Self::Suspect => false,
        }
    }

    fn is_sound(self) -> bool {
        matches!(self, Self::Sound | Self::Restored)
    }
}

/// The last [`WINDOW`] different users synced, the latest last.
#[derive(Debug, Clone, Default)]
pub struct Window(VecDeque<(UserId, Sign)>);

impl Window {
    /// Takes in a sync of `user`, in place of an older one.
    pub fn note(&mut self, user: &UserId, sign: Sign, tags_are_kept: bool) {
        let before = self.0.iter().position(|(known, _)| known == user).and_then(|at| self.0.remove(at));
        let sign = match before {
            Some((_, Sign::Suspect)) if !sign.clears(tags_are_kept) => Sign::Suspect,
            _ => sign,
        };
        self.0.push_back((user.clone(), sign));
        if self.0.len() > WINDOW {
            self.0.pop_front();
        }
    }

    /// Whether so many users cannot be at fault themselves.
    #[must_use]
    pub fn is_alarming(&self) -> bool {
        self.suspects() >= TOO_MANY
    }

    /// Whether the source is seen to be well: a whole window of users, few of them suspect, and more of them sound. Readers
    /// who never bought anything show neither.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        let sound = self.0.iter().filter(|(_, sign)| sign.is_sound()).count();
        self.0.len() == WINDOW && self.suspects() <= FEW && sound > self.suspects()
    }

    /// How many users look like a fault of the source.
    #[must_use]
    pub fn suspects(&self) -> usize {
        self.0.iter().filter(|(_, sign)| *sign == Sign::Suspect).count()
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests;
