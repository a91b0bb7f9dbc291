//! Keeps a Mailmojo list in step with Sesamy.
//!
//! An event only says that something changed for a user. The service never applies an event: it brings the user's
//! contact to where Sesamy's present state says that it should be. That makes an event that comes twice, late or out
//! of order harmless, and lets a failed sync be tried again at any later time.
//!
//! ```text
//!  Sesamy ──POST──▶ server ─verify─▶ event ──▶ queue ◀──lease── worker ──▶ sync
//!                   (axum)                    (SQLite |                    │ 1 sesamy: profile, contracts, entitlements
//!                   2xx once durable           Postgres)                   │ 2 tags: the sesamy_ tags wanted     (pure)
//!                                                                          │ 3 mailmojo: the contact now
//!                                                                          │ 4 merge: the smallest change        (pure)
//!                                                                          ▼ 5 mailmojo: create, subscribe, patch, or nothing
//! ```
//!
//! # The map
//!
//! Data flows from the top of this table to its bottom; no room imports one above it.
//!
//! | room | knows | does not know |
//! |---|---|---|
//! | [`cli`] | one file per command: parses, asks `app`, prints | how anything works inside |
//! | `admin` | the operations page, its JSON API, who may open them | how anything is done |
//! | `config` | every setting, its default, its check | who uses it |
//! | [`server`] | routes, authentication, limits, problem responses, health | Mailmojo, the merge |
//! | [`event`] | the shape of an event, the eight types | HTTP |
//! | `app` | what an operator can ask for, once: status, users, preview, sync, retry, pause, forget, backfill | who asks, and how it is shown |
//! | [`worker`] | the loop, concurrency, backoff, shutdown | HTTP details |
//! | [`queue`] | due, lease, settle, park | what a sync is |
//! | [`sync`] | observe, decide, apply for one user | SQL, retries |
//! | [`merge`], [`tags`], [`fields`] | pure functions over plain data | any I/O, any clock, either API |
//! | [`sesamy`], [`mailmojo`] | one API each: its paths, its JSON, translated into [`model`] | each other, the merge |
//! | [`model`] | plain data: a user, a contact, what a row remembers | JSON, HTTP, SQL |
//! | [`upstream`] | what both clients share: tokens, pacing, circuit breakers, error classes | either API |
//! | [`sandbox`] | an in-memory Sesamy and Mailmojo over real HTTP | the service |
//! | [`outcome`], [`telemetry`], [`personal`], [`address`], [`user`], [`clock`], `fingerprint`, `surrogates` | the ground: how a sync ends, logs and metrics, personal data, addresses, ids, time, comparing secrets, half emojis | everything above |

#![allow(rustdoc::private_intra_doc_links, reason = "the map is for readers of the source")]

pub mod address;
pub(crate) mod admin;
pub(crate) mod app;
pub mod cli;
pub mod clock;
pub(crate) mod config;
pub mod event;
pub mod fields;
mod fingerprint;
mod mailmojo;
mod merge;
mod model;
mod outcome;
pub mod personal;
#[cfg(any(test, fuzzing))]
pub mod properties;
pub mod queue;
pub mod sandbox;
pub mod server;
mod sesamy;
mod surrogates;
mod sync;
mod tags;
pub mod telemetry;
pub mod upstream;
pub mod user;
pub mod worker;
