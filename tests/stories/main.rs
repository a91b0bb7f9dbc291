//! Stories: the real service in its own process, over real sockets, against the sandbox. One file per story; each test
//! is a sentence of it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a story that cannot go on has failed")]

mod bursts;
mod canary;
mod checking;
mod commands;
mod crash;
mod deadline;
mod demo;
mod keeping_in_step;
mod logs;
mod one_at_a_time;
mod shell;
mod stopping;
mod town;
