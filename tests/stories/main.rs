//! Stories: the real service in its own process, over real sockets, against the sandbox. One file per story; each test
//! is a sentence of it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a story that cannot go on has failed")]

mod accepted_events;
mod bad_input;
mod credentials;
mod durable;
mod figures;
mod health;
mod keeping_in_step;
mod order_of_checks;
mod slow_callers;
mod town;
mod wire;
