//! Stories: the real service in its own process, over real sockets, against the sandbox. One folder per area, one file
//! per story; each test is a sentence of it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a story that cannot go on has failed")]

#[path = "../support"]
mod support {
    pub mod admin;
    pub mod chromium;
    pub mod faults;
    pub mod harness;
    pub mod http;
    pub mod postgres;
    pub mod promql;
    pub mod shell;
}

mod admin {
    mod api;
    mod browser;
    mod forms;
    mod login;
    mod pages;
}

mod backfill {
    pub mod command;
    mod stops;
}

mod config {
    mod commands;
    mod compose;
    mod image;
    mod oldest_rust;
}

mod forget {
    pub mod command;
    mod mailmojo;
    mod page;
    mod postgres;
}

mod operations {
    mod by_hand;
    mod checking;
    mod demo;
    mod failing_parts;
    mod figures;
    mod health;
    mod logs;
    pub mod metrics;
    mod metrics_files;
    mod preview;
    mod stopping;
}

mod privacy {
    mod canary;
    mod masked;
    mod what_an_api_says;
    mod what_is_kept;
}

mod queue {
    mod crash;
    mod damaged_file;
    mod durable;
    mod encrypted;
    mod file_modes;
    mod full_disk;
    mod locked_file;
    mod long_log;
    mod lost_lease;
    mod moved_clock;
    mod moved_file;
    mod one_at_a_time;
    mod replicas;
    mod ten_thousand_due;
    mod unwritable_file;
}

mod sync {
    mod between_look_and_write;
    mod changed_address;
    mod consent;
    mod custom_fields;
    mod deadline;
    mod deleted_users;
    mod drift;
    mod dry_run;
    mod expiry;
    mod keeping_in_step;
    mod letter_case;
    mod never_against_their_will;
    mod not_known_yet;
    mod removal_guard;
    mod removed_by_hand;
    mod shared_address;
    mod tags_over_the_wire;
    mod who_is_skipped;
}

mod upstream {
    mod configuration;
    mod credentials;
    mod hostile_answers;
    mod no_such_host;
    mod one_account;
    mod outage;
    mod pacing;
    mod permanent;
    mod rate_limits;
    mod token_endpoint_down;
    mod trying_again;
    mod wrong_answers;
}

mod webhook {
    mod accepted_events;
    mod bad_input;
    mod bursts;
    mod half_an_emoji;
    mod odd_requests;
    mod order_of_checks;
    mod slow_callers;
    mod who_may_send;
}
