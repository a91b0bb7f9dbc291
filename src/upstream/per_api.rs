//! A pair of values, one of each API.

use serde::{Deserialize, Serialize};

use super::Api;

/// One value of Sesamy's API and one of Mailmojo's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PerApi<T> {
    /// Sesamy's.
    pub sesamy: T,
    /// Mailmojo's.
    pub mailmojo: T,
}

impl<T> PerApi<T> {
    /// What `make` makes of each API.
    pub fn each(mut make: impl FnMut(Api) -> T) -> Self {
        Self { sesamy: make(Api::Sesamy), mailmojo: make(Api::Mailmojo) }
    }

    /// The one of `api`.
    pub fn of(&self, api: Api) -> &T {
        match api {
            Api::Sesamy => &self.sesamy,
            Api::Mailmojo => &self.mailmojo,
        }
    }

    /// The one of `api`, to be changed.
    pub fn of_mut(&mut self, api: Api) -> &mut T {
        match api {
            Api::Sesamy => &mut self.sesamy,
            Api::Mailmojo => &mut self.mailmojo,
        }
    }
}
