-- One row per user, whether or not there is anything to do. Times are milliseconds since 1970.
-- COLLATE "C": rows are locked in the order of their ids, and every replica has to mean the same order.
CREATE TABLE users (
    connection    text    COLLATE "C" NOT NULL,
    user_id       text    COLLATE "C" NOT NULL,
    generation    bigint  NOT NULL,               -- counts what asked for a sync
    event_type    text    NOT NULL,               -- of the event that came last, for the log
    due_at        bigint,                         -- under a lease: when the lease ends; none: nothing to do, or parked
    lease_owner   bigint,                         -- random; stays until the lease is settled or taken over
    attempts      integer NOT NULL DEFAULT 0,     -- failures since the last sync that ended well
    unsettled     integer NOT NULL DEFAULT 0,     -- leases in a row that nobody settled
    failing_since bigint,                         -- the first of them
    error         text,                           -- the last of them, personal data masked
    parked_at     bigint,
    answer        text,                           -- of a parked row: what all have in common that are parked alike
    held_back     boolean NOT NULL DEFAULT false, -- sync.dry_run kept a change from being written
    PRIMARY KEY (connection, user_id)
) WITH (
    -- Room in each page, so that an event of a user who is due already rewrites the row in its page and no index.
    fillfactor = 70,
    -- A queue leaves its dead rows where the next lease begins to read: clear them away early, and without pauses.
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0,
    autovacuum_analyze_scale_factor = 0.05
);

-- The only index that every row passes through. The others hold few rows and cost only when one enters or leaves.
CREATE INDEX users_due ON users (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX users_leased ON users (due_at) WHERE lease_owner IS NOT NULL;
-- The beginning only: an entry may not be longer than a third of a page.
CREATE INDEX users_parked ON users (left(answer, 200)) WHERE parked_at IS NOT NULL;
CREATE INDEX users_held_back ON users (user_id) WHERE held_back;

-- Takes the small writes that try whether there is room again; always empty.
CREATE TABLE probe (filler text NOT NULL);
