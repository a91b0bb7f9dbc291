//! What asked for a sync, where that was no event: words that a row keeps in place of an event's type.

/// Access ends, or a check is due. It creates and subscribes nobody.
pub const EXPIRY: &str = "expiry";
/// The last sync is long ago (`sync.resync_every`). It creates and subscribes nobody.
pub const DRIFT: &str = "drift";
/// Sesamy had no usable address for a user: a check confirms that, or finds one after all. It creates and subscribes nobody.
pub const MISSING: &str = "missing";
/// A backfill that creates and subscribes nobody.
pub const EXISTING_ONLY: &str = "backfill --existing-only";
/// An operator who wants a user forgotten. Where that was cut off, the user must not be put on the list by it.
pub const FORGET: &str = "forget";
/// An operator who wants a user back whom somebody has removed, or who has left under an earlier address. That holds for the
/// sync that was asked for, and for no later try: what somebody has done in Mailmojo since then would count for nothing.
pub const AGAIN: &str = "sync --again";
/// The causes of syncs that create and subscribe nobody.
pub const RESTRICTED: [&str; 5] = [EXISTING_ONLY, FORGET, EXPIRY, DRIFT, MISSING];
