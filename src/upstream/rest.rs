//! An API at rest (to come).

use crate::clock::Millis;

/// What `/readyz` tells of one API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Snapshot {
    /// `sesamy` or `mailmojo`.
    pub api: &'static str,
    /// `ok`, `resting` or `probing`.
    pub state: &'static str,
    /// Why it rests: `rate_limit`, `credentials`, `configuration` or `outage`.
    pub why: Option<&'static str>,
    /// When the rest ends.
    pub until: Option<Millis>,
}

/// The rest of one API.
#[derive(Debug)]
pub struct Rest {}

impl Rest {
    /// The state now.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot { api: "sesamy", state: "ok", why: None, until: None }
    }
}
