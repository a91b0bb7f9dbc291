//! The names of what a row remembers, as the queue has them.
pub(crate) use crate::model::{ContactKeys, LastSeen as Memory, SeenByOthers};
#[cfg(test)]
pub(crate) use crate::model::{Earlier, SeenContact as Seen};
