//! Stories: the real service in its own process, over real sockets, against the sandbox. One file per story; each test
//! is a sentence of it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a story that cannot go on has failed")]

mod bursts;
mod canary;
mod checking;
mod commands;
mod configuration;
mod crash;
mod credentials;
mod deadline;
mod demo;
mod keeping_in_step;
mod logs;
mod one_at_a_time;
mod permanent;
mod rate_limits;
mod shell;
mod stopping;
mod town;
mod trouble;
mod trying_again;
