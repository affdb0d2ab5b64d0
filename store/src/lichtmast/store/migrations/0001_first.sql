-- Everything but the days: tables of one day's rows are made and dropped as days come and go (see days.py).
-- commit_no numbers commits from 1; rows carry it so that sealing and folding can say "up to here".
CREATE TABLE positions (commit_no BIGINT NOT NULL, log VARCHAR NOT NULL, position BIGINT NOT NULL);

-- One line per day and kind that has rows: `hot` where a table of its own exists, generation 0 where no file exists.
CREATE TABLE days (
    kind VARCHAR NOT NULL, day INTEGER NOT NULL, hot BOOLEAN NOT NULL,
    generation BIGINT NOT NULL, rows BIGINT NOT NULL, bytes BIGINT NOT NULL
);

CREATE TABLE observations_late (
    commit_no BIGINT NOT NULL, datastream_id INTEGER NOT NULL, phenomenon_time BIGINT NOT NULL, result DOUBLE,
    result_text VARCHAR, quality INTEGER NOT NULL, result_time BIGINT NOT NULL
);
CREATE TABLE ledger_late (
    commit_no BIGINT NOT NULL, device VARCHAR NOT NULL, epoch BIGINT, seq BIGINT, received_at BIGINT NOT NULL,
    log_seq BIGINT NOT NULL, part INTEGER NOT NULL, outcome TINYINT NOT NULL, readings INTEGER NOT NULL,
    digest UBIGINT NOT NULL, transport TINYINT NOT NULL
);
CREATE TABLE quarantine (
    commit_no BIGINT NOT NULL, log_seq BIGINT NOT NULL, part INTEGER NOT NULL, device VARCHAR NOT NULL,
    received_at BIGINT NOT NULL, transport TINYINT NOT NULL, reason VARCHAR NOT NULL, detail VARCHAR NOT NULL,
    content_format INTEGER NOT NULL, payload BLOB NOT NULL
);

-- What was removed on purpose, for good: the audit subtracts it, and it proves that a term was kept.
CREATE TABLE erased (
    erased_at BIGINT NOT NULL, cause VARCHAR NOT NULL, datastream_id INTEGER,
    start_us BIGINT NOT NULL, end_us BIGINT NOT NULL, rows BIGINT NOT NULL
);

-- Folded state, true up to its mark; newer rows are folded in when the store opens.
CREATE TABLE marks (name VARCHAR NOT NULL, commit_no BIGINT NOT NULL);
INSERT INTO marks VALUES ('folded', 0);
CREATE TABLE latest (
    datastream_id INTEGER NOT NULL, phenomenon_time BIGINT NOT NULL, result DOUBLE, result_text VARCHAR,
    quality INTEGER NOT NULL, result_time BIGINT NOT NULL
);
CREATE TABLE arrived (device VARCHAR NOT NULL, epoch BIGINT NOT NULL, first BIGINT NOT NULL, last BIGINT NOT NULL);
