-- What all processes share of each API: how much of its rate is used, and its rest. Times are milliseconds since 1970.
CREATE TABLE apis (
    connection     TEXT    NOT NULL,
    api            TEXT    NOT NULL,           -- sesamy, mailmojo
    used           INTEGER NOT NULL DEFAULT 0, -- microseconds since 1970: when all calls taken so far are earned (GCRA)
    revision       INTEGER NOT NULL DEFAULT 0, -- counts the changes of the rest
    rest_why       TEXT,                       -- rate_limit, credentials, configuration, outage; none: it does not rest
    rest_until     INTEGER,
    rest_doublings INTEGER NOT NULL DEFAULT 0, -- how often an outage's rest has been doubled
    rest_answer    TEXT,                       -- of an outage in which all got the same answer: that one
    probe_owner    INTEGER,                    -- the lease that tries whether the API is back
    probe_until    INTEGER,                    -- when that lease ends
    PRIMARY KEY (connection, api)
) STRICT, WITHOUT ROWID;
