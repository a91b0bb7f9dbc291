-- One row per user, whether or not there is anything to do. Times are milliseconds since 1970.
CREATE TABLE users (
    user_id       TEXT    NOT NULL PRIMARY KEY,
    generation    INTEGER NOT NULL,           -- counts the requests for a sync
    cause         TEXT    NOT NULL,           -- the event type that came last, or a word of ours
    lane          INTEGER NOT NULL DEFAULT 0, -- 0 events, 1 retries, 2 background
    due_at        INTEGER,                    -- under a lease: when the lease ends; null: nothing to do, or parked
    lease         TEXT,                       -- service-… or command-…; stays until it is settled or taken over
    attempts      INTEGER NOT NULL DEFAULT 0, -- failures since the last sync that ended well
    failing_since INTEGER,                    -- the first of them
    error         TEXT,                       -- the last of them, without personal data
    parked_at     INTEGER,
    answer        TEXT,                       -- of a parked row: what all have in common that are parked alike
    held_back     INTEGER NOT NULL DEFAULT 0, -- 1: sync.dry_run or the removal guard kept a change from being written
    tags_held     TEXT,                       -- JSON: the tags that the removal guard kept the last sync from removing
    has_pass      INTEGER NOT NULL DEFAULT 0, -- 1: the next sync passes the removal guard
    synced_at     INTEGER,                    -- when the last sync that ended well did
    outcome       TEXT,                       -- of the last sync
    reason        TEXT,
    check_at      INTEGER,                    -- the next time the clock asks for a sync
    check_cause   TEXT,                       -- expiry, drift or missing
    last_seen     TEXT,                       -- JSON: what is remembered of the user and the contact
    address_key   TEXT,                       -- of the address in last_seen
    missing_since INTEGER                     -- as in last_seen: since when Sesamy has no usable address
) STRICT, WITHOUT ROWID;

-- Every due row passes through the first. The others cost only when a row enters or leaves them.
CREATE INDEX users_due ON users (lane, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX users_leased ON users (due_at) WHERE lease IS NOT NULL;
CREATE INDEX users_parked ON users (answer) WHERE parked_at IS NOT NULL;
CREATE INDEX users_held_back ON users (held_back) WHERE held_back = 1;
CREATE INDEX users_checked ON users (check_at) WHERE check_at IS NOT NULL;
CREATE INDEX users_address ON users (address_key) WHERE address_key IS NOT NULL;
CREATE INDEX users_missing ON users (missing_since) WHERE missing_since IS NOT NULL;

-- What syncs came to. A sync that came to the same as the one before raises a count of the last entry.
CREATE TABLE history (
    id        INTEGER PRIMARY KEY,
    user_id   TEXT    NOT NULL,
    last_at   INTEGER NOT NULL, -- when the last sync ended that the entry counts
    outcome   TEXT    NOT NULL,
    lost_tags INTEGER NOT NULL, -- 1: a contact lost a tag
    entry     TEXT    NOT NULL  -- JSON: all of it
) STRICT;
CREATE INDEX history_of_user ON history (user_id, id);
CREATE INDEX history_by_age ON history (last_at);

-- What there is one of: the state and pace of both APIs, pauses, the removal guard, a backfill's progress, counts per hour.
CREATE TABLE documents (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL -- JSON
) STRICT, WITHOUT ROWID;
INSERT INTO documents (name, value) VALUES ('erasure_key', '"' || hex(randomblob(32)) || '"');

-- Forgotten users: an HMAC-SHA256 of each one's id under the erasure key, and nothing else.
CREATE TABLE forgotten (
    hash         TEXT    NOT NULL PRIMARY KEY,
    forgotten_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
