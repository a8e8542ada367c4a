-- Why: a teardown can take several attempts: one leaves a file that cannot be removed, another is killed. What each of them did is written down as
-- it goes, so that the receipt of the last one has it all, or says what is not known.
--
-- A cell's rows are there from the first attempt to its tombstone; the receipt then has them.

CREATE TABLE teardowns (
    cell_id     TEXT    NOT NULL REFERENCES cells (cell_id),
    attempt     INTEGER NOT NULL,
    -- Of which life.
    generation  INTEGER NOT NULL,
    -- On whose word.
    actor       TEXT    NOT NULL,
    at          INTEGER NOT NULL,
    -- begun: under way, or cut short and not seen to be yet. failed: over, and these are its numbers. cut_short: over, and these are the least.
    stage       TEXT    NOT NULL,
    processes   INTEGER NOT NULL,
    files       INTEGER NOT NULL,
    directories INTEGER NOT NULL,
    bytes       INTEGER NOT NULL,
    -- What the cell held before anything was removed.
    home_sha256 TEXT,
    home_covers TEXT,

    PRIMARY KEY (cell_id, attempt),
    CONSTRAINT attempts_count_from_one CHECK (attempt >= 1),
    CONSTRAINT stage_exists            CHECK (stage IN ('begun', 'failed', 'cut_short')),
    CONSTRAINT numbers_count_from_none CHECK (processes >= 0 AND files >= 0 AND directories >= 0 AND bytes >= 0),
    CONSTRAINT digest_says_what_of     CHECK ((home_sha256 IS NULL) = (home_covers IS NULL))
) STRICT, WITHOUT ROWID;
