//! The old names of what a row remembers.
pub use crate::model::{
    ContactKeys, Earlier, LastSeen as Memory, SeenByOthers, SeenContact as Seen, TagKinds,
};
