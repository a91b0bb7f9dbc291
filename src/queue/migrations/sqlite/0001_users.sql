-- One row per user, whether or not there is anything to do. Times are milliseconds since 1970.
CREATE TABLE users (
    connection    TEXT    NOT NULL,
    user_id       TEXT    NOT NULL,
    generation    INTEGER NOT NULL,           -- counts what asked for a sync
    event_type    TEXT    NOT NULL,           -- of the event that came last, for the log
    due_at        INTEGER,                    -- under a lease: when the lease ends; none: nothing to do, or parked
    lease_owner   INTEGER,                    -- random; stays until the lease is settled or taken over
    attempts      INTEGER NOT NULL DEFAULT 0, -- failures since the last sync that ended well
    unsettled     INTEGER NOT NULL DEFAULT 0, -- leases in a row that nobody settled
    failing_since INTEGER,                    -- the first of them
    error         TEXT,                       -- the last of them, personal data masked
    parked_at     INTEGER,
    answer        TEXT,                       -- of a parked row: what all have in common that are parked alike
    held_back     INTEGER NOT NULL DEFAULT 0, -- 1: sync.dry_run kept a change from being written
    PRIMARY KEY (connection, user_id)
) STRICT, WITHOUT ROWID;

-- The only index that every row passes through. The others hold few rows and cost only when one enters or leaves.
CREATE INDEX users_due ON users (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX users_leased ON users (due_at) WHERE lease_owner IS NOT NULL;
CREATE INDEX users_parked ON users (answer) WHERE parked_at IS NOT NULL;
CREATE INDEX users_held_back ON users (held_back) WHERE held_back = 1;

-- Takes the small writes that try whether there is room again; always empty.
CREATE TABLE probe (filler BLOB NOT NULL) STRICT;
