//! Mailmojo.
pub mod models;
