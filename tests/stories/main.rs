//! Stories: the real service in its own process, over real sockets, against the sandbox. One file per story; each test
//! is a sentence of it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a story that cannot go on has failed")]

mod configuration;
mod credentials;
mod keeping_in_step;
mod outage;
mod permanent;
mod rate_limits;
mod town;
mod trouble;
mod trying_again;
