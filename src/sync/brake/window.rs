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
    /// The user is unknown as before: no news, but no sign that the source is well either.
    StillUnknown,
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
            Self::Plain | Self::Suspect | Self::StillUnknown => false,
        }
    }
}

/// The last [`WINDOW`] different users synced who have anything to lose, the latest last. Who has nothing is not looked at,
/// for any number of such users would hide the others.
///
/// While tags are kept, users who were well all along push out nobody whose tags are kept: however many they are, a
/// suspicion stands until that very user, or fifty others whose tags were kept, were looked at again.
#[derive(Debug, Clone, Default)]
pub struct Window(VecDeque<(UserId, State)>);

/// What counts of a user's signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Suspect,
    Sound,
    /// Sound, after the tags were kept.
    Recovered,
}

impl Window {
    /// Takes in a sync of `user`, in place of an older one.
    pub fn note(&mut self, user: &UserId, sign: Sign, tags_are_kept: bool) {
        let before = self.state_of(user);
        let stays_suspect = before == Some(State::Suspect) && !sign.clears(tags_are_kept);
        let state = match sign {
            Sign::Suspect => State::Suspect,
            Sign::StillUnknown if tags_are_kept => State::Suspect,
            Sign::Plain | Sign::StillUnknown if stays_suspect => return, // as it was, and when it was
            Sign::Plain | Sign::StillUnknown => return self.drop(user),
            Sign::Sound | Sign::Restored if stays_suspect => State::Suspect,
            Sign::Sound | Sign::Restored => match before {
                Some(State::Suspect | State::Recovered) if tags_are_kept => State::Recovered,
                _ => State::Sound,
            },
        };
        self.put(user, state, tags_are_kept);
    }

    /// Takes in that tags of `user` are known to be kept: a suspect, unless a sync has told of the user here.
    pub fn doubt(&mut self, user: &UserId) {
        if self.state_of(user).is_none() {
            self.put(user, State::Suspect, true);
        }
    }

    /// Forgets `user`.
    pub fn drop(&mut self, user: &UserId) {
        self.0.retain(|(known, _)| known != user);
    }

    fn state_of(&self, user: &UserId) -> Option<State> {
        self.0.iter().find(|(known, _)| known == user).map(|(_, state)| *state)
    }

    fn put(&mut self, user: &UserId, state: State, tags_are_kept: bool) {
        self.drop(user);
        self.0.push_back((user.clone(), state));
        if self.0.len() > WINDOW {
            let sound = self.0.iter().position(|(_, state)| *state == State::Sound);
            self.0.remove(sound.filter(|_| tags_are_kept).unwrap_or(0));
        }
    }

    /// Whether so many users cannot be at fault themselves.
    #[must_use]
    pub fn is_alarming(&self) -> bool {
        self.suspects().count() >= TOO_MANY
    }

    /// Whether the source is seen to be well: a whole window of users, few of them suspect, and somebody whose tags were kept
    /// was seen well again, if anybody's are.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        let has_recovered = self.0.iter().any(|(_, state)| *state == State::Recovered);
        let suspects = self.suspects().count();
        self.0.len() == WINDOW && suspects <= FEW && (suspects == 0 || has_recovered)
    }

    /// Whether there are users who are well, and nobody else.
    #[must_use]
    pub fn is_all_sound(&self) -> bool {
        !self.0.is_empty() && self.suspects().next().is_none()
    }

    /// Who looks like a fault of the source.
    pub fn suspects(&self) -> impl Iterator<Item = &UserId> {
        self.0.iter().filter(|(_, state)| *state == State::Suspect).map(|(user, _)| user)
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests;
