-- What becomes true without an event: what is remembered of each user between syncs, when to look again, and rounds.
ALTER TABLE users
    ADD COLUMN email               text,                            -- the address that was synced last, as Sesamy spelled it
    ADD COLUMN email_key           text COLLATE "C",                -- the same in lower case
    ADD COLUMN contact_seen        boolean NOT NULL DEFAULT false,  -- Mailmojo had the contact of that address
    ADD COLUMN contact_status      text,                            -- its status on the account when it was last seen
    ADD COLUMN contact_on_list     boolean NOT NULL DEFAULT false,  -- it was seen on the list, with whatever status
    ADD COLUMN contact_list_status text,                            -- its status there when it was last seen there
    ADD COLUMN has_left            boolean NOT NULL DEFAULT false,  -- left, or was removed, under an older address
    ADD COLUMN missing_since       bigint,                          -- since when Sesamy does not know the user
    ADD COLUMN changes_at          bigint;                          -- when to look again though nothing asks for it

-- Few rows have a time at which something changes by itself, and few are missing.
CREATE INDEX users_changes ON users (changes_at) WHERE changes_at IS NOT NULL;
CREATE INDEX users_missing ON users (missing_since) WHERE missing_since IS NOT NULL;
-- By a hash: an address may be longer than an entry of an ordered index.
CREATE INDEX users_email ON users USING hash (email_key) WHERE email_key IS NOT NULL;

ALTER TABLE apis ADD COLUMN braked_at bigint; -- since when no write takes a tag away; the same for both APIs

-- Which of our tags the contact of an older address lost, a line each, addresses masked.
ALTER TABLE history ADD COLUMN old_tags_removed text NOT NULL DEFAULT '';

-- Users who were forgotten: an HMAC-SHA256 of each one's id, under the key below, and nothing else.
CREATE TABLE forgotten (
    connection   text   COLLATE "C" NOT NULL,
    hash         bytea  NOT NULL,
    forgotten_at bigint NOT NULL,
    PRIMARY KEY (connection, hash)
);
CREATE TABLE forgetting (key bytea NOT NULL);
-- 244 random bits; what makes them is a part of Postgres from version 13 on.
INSERT INTO forgetting (key)
VALUES (decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex'));

-- How far the last round has come, which brings everybody round again.
CREATE TABLE rounds (
    connection text   COLLATE "C" NOT NULL PRIMARY KEY,
    started_at bigint NOT NULL,
    ended_at   bigint,
    users      bigint NOT NULL,                -- how many rows there were when it began
    passed     bigint NOT NULL,                -- how many it has passed
    cursor     text   COLLATE "C" NOT NULL     -- the last id that it has passed
);
