//! The causes of syncs that no event asked for: a row keeps them in place of an event's type.

/// Access ends, or a check is due. It creates and subscribes nobody.
pub const EXPIRY: &str = "expiry";
/// The last sync is long ago (`sync.resync_every`). It creates and subscribes nobody.
pub const DRIFT: &str = "drift";
/// Sesamy had no usable address for a user: a check confirms that, or finds one after all. It creates and subscribes nobody.
pub const MISSING: &str = "missing";
/// A backfill that creates and subscribes nobody.
pub const EXISTING_ONLY: &str = "backfill --existing-only";
/// An operator forgets the user. If that was cut off, its retry must not put the user on the list.
pub const FORGET: &str = "forget";
/// An operator takes a user up again whose contact was removed, or who has left under an earlier address. That holds for this
/// sync and no retry: a retry would override what was done in Mailmojo since.
pub const AGAIN: &str = "sync --again";
/// The causes of syncs that create and subscribe nobody.
pub const RESTRICTED: [&str; 5] = [EXISTING_ONLY, FORGET, EXPIRY, DRIFT, MISSING];
