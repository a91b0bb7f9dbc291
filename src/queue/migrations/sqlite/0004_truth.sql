-- What becomes true without an event: what is remembered of each user between syncs, when to look again, and rounds.
ALTER TABLE users ADD COLUMN email TEXT;               -- the address that was synced last, as Sesamy spelled it
ALTER TABLE users ADD COLUMN email_key TEXT;           -- the same in lower case
ALTER TABLE users ADD COLUMN contact_seen INTEGER NOT NULL DEFAULT 0; -- 1: Mailmojo had the contact of that address
ALTER TABLE users ADD COLUMN contact_status TEXT;      -- its status on the account when it was last seen
ALTER TABLE users ADD COLUMN contact_on_list INTEGER NOT NULL DEFAULT 0; -- 1: it was seen on the list, with whatever status
ALTER TABLE users ADD COLUMN contact_list_status TEXT; -- its status there when it was last seen there
ALTER TABLE users ADD COLUMN has_left INTEGER NOT NULL DEFAULT 0; -- 1: left, or was removed, under an older address
ALTER TABLE users ADD COLUMN missing_since INTEGER;    -- since when Sesamy does not know the user
ALTER TABLE users ADD COLUMN changes_at INTEGER;       -- when to look again though nothing asks for it

-- Few rows have a time at which something changes by itself, and few are missing.
CREATE INDEX users_changes ON users (changes_at) WHERE changes_at IS NOT NULL;
CREATE INDEX users_missing ON users (missing_since) WHERE missing_since IS NOT NULL;
CREATE INDEX users_email ON users (email_key) WHERE email_key IS NOT NULL;

ALTER TABLE apis ADD COLUMN braked_at INTEGER; -- since when no write takes a tag away; the same for both APIs

-- Which of our tags the contact of an older address lost, a line each, addresses masked.
ALTER TABLE history ADD COLUMN old_tags_removed TEXT NOT NULL DEFAULT '';

-- Users who were forgotten: an HMAC-SHA256 of each one's id, under the key below, and nothing else.
CREATE TABLE forgotten (
    connection   TEXT    NOT NULL,
    hash         BLOB    NOT NULL,
    forgotten_at INTEGER NOT NULL,
    PRIMARY KEY (connection, hash)
) STRICT, WITHOUT ROWID;
CREATE TABLE forgetting (key BLOB NOT NULL) STRICT;
INSERT INTO forgetting (key) VALUES (randomblob(32));

-- How far the last round has come, which brings everybody round again.
CREATE TABLE rounds (
    connection TEXT    NOT NULL PRIMARY KEY,
    started_at INTEGER NOT NULL,
    ended_at   INTEGER,
    users      INTEGER NOT NULL, -- how many rows there were when it began
    passed     INTEGER NOT NULL, -- how many it has passed
    cursor     TEXT    NOT NULL  -- the last id that it has passed
) STRICT, WITHOUT ROWID;
