-- One row per user, whether or not there is anything to do. Times are milliseconds since 1970.
-- COLLATE "C": rows are locked in the order of their ids, and every replica has to mean the same order.
CREATE TABLE users (
    user_id       text     COLLATE "C" NOT NULL PRIMARY KEY,
    generation    bigint   NOT NULL,           -- counts the requests for a sync
    cause         text     NOT NULL,           -- the event type that came last, or a word of ours
    lane          smallint NOT NULL DEFAULT 0, -- 0 events, 1 retries, 2 background
    due_at        bigint,                      -- under a lease: when the lease ends; null: nothing to do, or parked
    lease         text     COLLATE "C",        -- service-… or command-…; stays until it is settled or taken over
    attempts      integer  NOT NULL DEFAULT 0, -- failures since the last sync that ended well
    failing_since bigint,                      -- the first of them
    error         text,                        -- the last of them, without personal data
    parked_at     bigint,
    answer        text,                        -- of a parked row: what all have in common that are parked alike
    held_back     smallint NOT NULL DEFAULT 0, -- 1: sync.dry_run or the removal guard kept a change from being written
    tags_held     text,                        -- JSON: the tags that the removal guard kept the last sync from removing
    has_pass      smallint NOT NULL DEFAULT 0, -- 1: the next sync passes the removal guard
    synced_at     bigint,                      -- when the last sync that ended well did
    outcome       text,                        -- of the last sync
    reason        text,
    check_at      bigint,                      -- the next time the clock asks for a sync
    check_cause   text,                        -- expiry, drift or missing
    last_seen     text,                        -- JSON: what is remembered of the user and the contact
    address_key   text     COLLATE "C",        -- of the address in last_seen
    missing_since bigint                       -- as in last_seen: since when Sesamy has no usable address
) WITH (
    -- Room in each page, so that an event of a user who is due already rewrites the row in its page and no index.
    fillfactor = 70,
    -- A queue leaves its dead rows where the next lease begins to read: vacuum them early, and without pauses.
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0,
    autovacuum_analyze_scale_factor = 0.05
);

-- Every due row passes through the first. The others cost only when a row enters or leaves them.
CREATE INDEX users_due ON users (lane, due_at, user_id) WHERE due_at IS NOT NULL;
CREATE INDEX users_leased ON users (due_at, user_id) WHERE lease IS NOT NULL;
-- An entry of an ordered index has a limit, which an API's answer may pass.
CREATE INDEX users_parked ON users (left(answer, 200)) WHERE parked_at IS NOT NULL;
CREATE INDEX users_held_back ON users (user_id) WHERE held_back = 1;
CREATE INDEX users_checked ON users (check_at, user_id) WHERE check_at IS NOT NULL;
-- By a hash: an address may be longer than an entry of an ordered index.
CREATE INDEX users_address ON users USING hash (address_key) WHERE address_key IS NOT NULL;
CREATE INDEX users_missing ON users (missing_since, user_id) WHERE missing_since IS NOT NULL;

-- What syncs came to. A sync that came to the same as the one before raises a count of the last entry.
CREATE TABLE history (
    id        bigint   GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id   text     COLLATE "C" NOT NULL,
    last_at   bigint   NOT NULL, -- when the last sync ended that the entry counts
    outcome   text     NOT NULL,
    lost_tags smallint NOT NULL, -- 1: a contact lost a tag
    entry     text     NOT NULL  -- JSON: all of it
);
CREATE INDEX history_of_user ON history (user_id, id);
CREATE INDEX history_by_age ON history (last_at);

-- What there is one of: the state and pace of both APIs, pauses, the removal guard, a backfill's progress, counts per hour.
CREATE TABLE documents (
    name  text COLLATE "C" NOT NULL PRIMARY KEY,
    value text NOT NULL -- JSON
) WITH (fillfactor = 50); -- a few rows that are rewritten all the time
-- 244 random bits; what makes them is a part of Postgres from version 13 on.
INSERT INTO documents (name, value)
VALUES ('erasure_key', '"' || replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', '') || '"');

-- Forgotten users: an HMAC-SHA256 of each one's id under the erasure key, and nothing else.
CREATE TABLE forgotten (
    hash         text   COLLATE "C" NOT NULL PRIMARY KEY,
    forgotten_at bigint NOT NULL
);
