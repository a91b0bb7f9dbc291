//! What an operator asks for: the same for commands, the admin API and the page, which only print it.

pub mod find;
pub mod preview;
