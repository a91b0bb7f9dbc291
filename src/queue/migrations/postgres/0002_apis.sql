-- What all replicas share of each API: how much of its rate is used, and its rest. Times are milliseconds since 1970.
CREATE TABLE apis (
    connection     text   COLLATE "C" NOT NULL,
    api            text   COLLATE "C" NOT NULL, -- sesamy, mailmojo
    used           bigint NOT NULL DEFAULT 0,   -- microseconds since 1970: when all calls taken so far are earned (GCRA)
    revision       bigint NOT NULL DEFAULT 0,   -- counts the changes of the rest
    rest_why       text,                        -- rate_limit, credentials, configuration, outage; none: it does not rest
    rest_until     bigint,
    rest_doublings bigint NOT NULL DEFAULT 0,   -- how often an outage's rest has been doubled
    rest_answer    text,                        -- of an outage in which all got the same answer: that one
    probe_owner    bigint,                      -- the lease that tries whether the API is back
    probe_until    bigint,                      -- when that lease ends
    PRIMARY KEY (connection, api)
) WITH (fillfactor = 50); -- two rows that are rewritten all the time: with room in their page for it

-- There from the start: who leases locks them, and so takes turns with the other replicas.
INSERT INTO apis (connection, api) VALUES ('default', 'mailmojo'), ('default', 'sesamy');
