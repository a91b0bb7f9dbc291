//! Stories: the real service in its own process, over real sockets, against the sandbox. One file per story; each test
//! is a sentence of it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a story that cannot go on has failed")]

mod between_look_and_write;
mod dry_run;
mod keeping_in_step;
mod letter_case;
mod never_against_their_will;
mod tags_over_the_wire;
mod town;
mod who_is_skipped;
mod wrong_answers;
