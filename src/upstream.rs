//! What the clients of both APIs share (to come).

pub mod rest;
