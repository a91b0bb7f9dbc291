//! The pages: what each shows. They are made whole on the server, and the templates escape whatever comes from elsewhere.

pub(super) mod chart;
pub(super) mod flash;
mod format;
pub(super) mod layout;
pub(super) mod login;
pub(super) mod overview;
pub(super) mod parked;
mod preview;
pub(super) mod settings;
pub(super) mod user;
pub(super) mod user_table;
pub(super) mod users;
