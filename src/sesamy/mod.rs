//! Sesamy.
pub mod models;
