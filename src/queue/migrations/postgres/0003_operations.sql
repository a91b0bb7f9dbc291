-- For the people who run it: lanes, the history of each user, and syncs that an operator has paused.
-- 0 events, 1 retries, 2 background: a lease takes from the lowest that has anybody who is due.
ALTER TABLE users ADD COLUMN lane smallint NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN synced_at bigint; -- when the last sync that ended well did
DROP INDEX users_due;
CREATE INDEX users_due ON users (lane, due_at) WHERE due_at IS NOT NULL;

ALTER TABLE apis ADD COLUMN background_used bigint NOT NULL DEFAULT 0; -- of its share of the rate, counted as `used` is
ALTER TABLE apis ADD COLUMN paused_at bigint; -- since when an operator has paused syncs; the same for both APIs

-- What syncs came to. One that came to the same as the one before, or to nothing, only raises a count of the last row.
CREATE TABLE history (
    id              bigint  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    connection      text    COLLATE "C" NOT NULL,
    user_id         text    COLLATE "C" NOT NULL,
    first_at        bigint  NOT NULL,
    last_at         bigint  NOT NULL,
    times           integer NOT NULL DEFAULT 1,
    unchanged_times integer NOT NULL DEFAULT 0, -- how often, since, there was nothing to do
    event_type      text    NOT NULL,
    outcome         text    NOT NULL,
    reason          text    NOT NULL,
    held_back       boolean NOT NULL,
    changed         text    NOT NULL,           -- names of fields, a line each
    tags_added      text    NOT NULL,           -- a line each, addresses masked
    tags_removed    text    NOT NULL,
    attempt         integer NOT NULL,
    ms              bigint  NOT NULL,
    error           text                        -- personal data masked
);
CREATE INDEX history_of_user ON history (connection, user_id, id);
CREATE INDEX history_by_age ON history (last_at);

-- How many syncs of a minute (counted from 1970) came to what; kept for a day.
CREATE TABLE sync_counts (
    connection text   COLLATE "C" NOT NULL,
    minute     bigint NOT NULL,
    outcome    text   COLLATE "C" NOT NULL,
    count      bigint NOT NULL,
    PRIMARY KEY (connection, minute, outcome)
);

-- How far the last backfill has come.
CREATE TABLE backfills (
    connection text   COLLATE "C" NOT NULL PRIMARY KEY,
    started_at bigint NOT NULL,
    ended_at   bigint,
    asked      text   NOT NULL, -- its options
    done       text   NOT NULL  -- its counts so far
);
