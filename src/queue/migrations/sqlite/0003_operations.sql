-- For the people who run it: lanes, the history of each user, and syncs that an operator has paused.
-- 0 events, 1 retries, 2 background: a lease takes from the lowest that has anybody who is due.
ALTER TABLE users ADD COLUMN lane INTEGER NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN synced_at INTEGER; -- when the last sync that ended well did
DROP INDEX users_due;
CREATE INDEX users_due ON users (lane, due_at) WHERE due_at IS NOT NULL;

ALTER TABLE apis ADD COLUMN background_used INTEGER NOT NULL DEFAULT 0; -- of its share of the rate, counted as `used` is
ALTER TABLE apis ADD COLUMN paused_at INTEGER; -- since when an operator has paused syncs; the same for both APIs

-- What syncs came to. One that came to the same as the one before, or to nothing, only raises a count of the last row.
CREATE TABLE history (
    id              INTEGER PRIMARY KEY,
    connection      TEXT    NOT NULL,
    user_id         TEXT    NOT NULL,
    first_at        INTEGER NOT NULL,
    last_at         INTEGER NOT NULL,
    times           INTEGER NOT NULL DEFAULT 1,
    unchanged_times INTEGER NOT NULL DEFAULT 0, -- how often, since, there was nothing to do
    event_type      TEXT    NOT NULL,
    outcome         TEXT    NOT NULL,
    reason          TEXT    NOT NULL,
    held_back       INTEGER NOT NULL,
    changed         TEXT    NOT NULL,           -- names of fields, a line each
    tags_added      TEXT    NOT NULL,           -- a line each, addresses masked
    tags_removed    TEXT    NOT NULL,
    attempt         INTEGER NOT NULL,
    ms              INTEGER NOT NULL,
    error           TEXT                        -- personal data masked
) STRICT;
CREATE INDEX history_of_user ON history (connection, user_id, id);
CREATE INDEX history_by_age ON history (last_at);

-- How many syncs of a minute (counted from 1970) came to what; kept for a day.
CREATE TABLE sync_counts (
    connection TEXT    NOT NULL,
    minute     INTEGER NOT NULL,
    outcome    TEXT    NOT NULL,
    count      INTEGER NOT NULL,
    PRIMARY KEY (connection, minute, outcome)
) STRICT, WITHOUT ROWID;

-- How far the last backfill has come.
CREATE TABLE backfills (
    connection TEXT    NOT NULL PRIMARY KEY,
    started_at INTEGER NOT NULL,
    ended_at   INTEGER,
    asked      TEXT    NOT NULL, -- its options
    done       TEXT    NOT NULL  -- its counts so far
) STRICT, WITHOUT ROWID;
