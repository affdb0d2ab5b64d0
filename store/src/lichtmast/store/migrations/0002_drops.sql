-- Numbers that devices declared as dropped by themselves, as they came (docs/adr/0022). Kept like the ledger.
CREATE TABLE drops (
    commit_no BIGINT NOT NULL, device VARCHAR NOT NULL, epoch BIGINT NOT NULL, first BIGINT NOT NULL,
    last BIGINT NOT NULL, declared_at BIGINT NOT NULL
);
