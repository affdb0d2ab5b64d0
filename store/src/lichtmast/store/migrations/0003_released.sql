-- Entries of the quarantine that were closed by an order (docs/adr/0035): their bytes are gone, this line stays.
CREATE TABLE released (
    commit_no BIGINT NOT NULL, log_seq BIGINT NOT NULL, part INTEGER NOT NULL, received_at BIGINT NOT NULL,
    released_at BIGINT NOT NULL, outcome TINYINT NOT NULL
);
