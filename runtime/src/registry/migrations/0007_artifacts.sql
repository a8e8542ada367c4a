-- Why: which files an agent declared as its results, and whether anybody fetched them: `destroy` asks before they are lost.
--
-- The files themselves are in the cell's directory, each under its digest. Destroying a cell removes its rows with them.

CREATE TABLE artifacts (
    cell_id     TEXT    NOT NULL REFERENCES cells (cell_id),
    agent       TEXT    NOT NULL,
    name        TEXT    NOT NULL,
    sha256      TEXT    NOT NULL,
    bytes       INTEGER NOT NULL,
    declared_at INTEGER NOT NULL,
    fetched_at  INTEGER,

    CONSTRAINT name_has_its_form CHECK (length(name) BETWEEN 1 AND 64 AND name GLOB '[A-Za-z0-9]*' AND NOT name GLOB '*[^A-Za-z0-9._-]*'),
    CONSTRAINT sha256_is_hex     CHECK (length(sha256) = 64 AND NOT sha256 GLOB '*[^0-9a-f]*'),
    CONSTRAINT bytes_count       CHECK (bytes >= 0),

    -- An agent has one artifact of a name. Also for the list of a cell's artifacts.
    PRIMARY KEY (cell_id, agent, name)
) STRICT, WITHOUT ROWID;

-- For the question whether a file is still anybody's artifact.
CREATE INDEX artifacts_by_digest ON artifacts (cell_id, sha256);
