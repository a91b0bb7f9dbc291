//! What asked for a sync, where that was no event: words that are kept in place of an event's type.

/// Somebody's access ends, or a check is due. It creates and subscribes nobody.
pub const EXPIRY: &str = "expiry";
/// A round has asked for it. It creates and subscribes nobody.
pub const DRIFT: &str = "drift";
/// A backfill that creates and subscribes nobody.
pub const EXISTING_ONLY: &str = "backfill --existing-only";
/// An operator who wants a user forgotten. Where that was cut off, the user must not be put on the list by it.
pub const FORGET: &str = "forget";
/// An operator who wants a user back whom somebody has removed, or who has left under an earlier address. That holds for the
/// sync that was asked for, and for no later try: what somebody has done in Mailmojo since then would count for nothing.
pub const AGAIN: &str = "sync --again";
/// The causes of syncs that create and subscribe nobody.
pub const RESTRICTED: [&str; 4] = [EXISTING_ONLY, FORGET, EXPIRY, DRIFT];

/// The cause of a row that an operator makes due, in SQL: a retry of a restricted sync stays restricted.
macro_rules! retried_cause {
    () => {
        "CASE WHEN event_type IN ('backfill --existing-only', 'forget', 'expiry', 'drift') THEN event_type ELSE 'retry' END"
    };
}
pub(super) use retried_cause;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_statement_knows_every_restricted_cause() {
        let quoted = RESTRICTED.map(|cause| format!("'{cause}'")).join(", ");
        assert!(retried_cause!().contains(&format!("IN ({quoted})")));
        assert!(retried_cause!().ends_with("ELSE 'retry' END"));
    }
}
