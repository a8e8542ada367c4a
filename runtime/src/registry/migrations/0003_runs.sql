-- Why: each life of an agent, with the process that it was, what enforced its policy, and how it ended.

CREATE TABLE runs (
    run_id     INTEGER NOT NULL PRIMARY KEY,
    cell_id    TEXT    NOT NULL REFERENCES cells (cell_id),
    agent      TEXT    NOT NULL,
    generation INTEGER NOT NULL,
    pid        INTEGER NOT NULL,
    start      INTEGER NOT NULL,
    boot       TEXT    NOT NULL,
    started_at INTEGER NOT NULL,
    ended_at   INTEGER,
    well       INTEGER,
    how        TEXT,
    report     TEXT    NOT NULL,

    CONSTRAINT generation_counts CHECK (generation >= 1),
    CONSTRAINT end_is_whole      CHECK ((ended_at IS NULL) = (well IS NULL) AND (ended_at IS NULL) = (how IS NULL)),
    CONSTRAINT well_is_a_flag    CHECK (well IS NULL OR well IN (0, 1)),
    CONSTRAINT report_is_json    CHECK (json_valid(report))
) STRICT;

-- For the query of a cell's runs, in order.
CREATE INDEX runs_of_cell ON runs (cell_id);

-- For the query of an agent's open run, and so that no agent has two lives at once.
CREATE UNIQUE INDEX runs_open ON runs (cell_id, agent) WHERE ended_at IS NULL;
