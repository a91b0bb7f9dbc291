//! Stories: the real service in its own process, over real sockets, against the sandbox. One file per story; each test
//! is a sentence of it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a story that cannot go on has failed")]

mod accepted_events;
mod bad_input;
mod between_look_and_write;
mod bursts;
mod canary;
mod checking;
mod commands;
mod compose;
mod configuration;
mod crash;
mod credentials;
mod damaged_file;
mod deadline;
mod demo;
mod dry_run;
mod durable;
mod encrypted;
mod figures;
mod full_disk;
mod health;
mod hostile_answers;
mod keeping_in_step;
mod letter_case;
mod locked_file;
mod logs;
mod masked;
mod moved_clock;
mod never_against_their_will;
mod no_such_host;
mod odd_requests;
mod one_at_a_time;
mod order_of_checks;
mod outage;
mod pacing;
mod permanent;
mod postgres;
mod rate_limits;
mod replicas;
mod shell;
mod slow_callers;
mod stopping;
mod tags_over_the_wire;
mod ten_thousand_due;
mod token_endpoint_down;
mod town;
mod trouble;
mod trying_again;
mod unwritable_file;
mod what_is_kept;
mod who_is_skipped;
mod who_may_send;
mod wire;
mod wrong_answers;
