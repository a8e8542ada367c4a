-- Why: a cell is written down before anything of it exists, so that a crash at any point leaves a row that explains what is on disk.
--
-- Times are integers: microseconds since 1970, UTC. Durations are integers: microseconds.
-- A state and what exists in it are columns that must agree: `state_has_its_data` lists every combination that there is, and
-- the function that reads a row matches the same list. It is one list of words, since every command parses this schema.

CREATE TABLE cells (
    cell_id         TEXT    NOT NULL PRIMARY KEY,
    project         TEXT    NOT NULL,
    owner           TEXT    NOT NULL,
    backend         TEXT    NOT NULL,
    hermes_home     TEXT    NOT NULL,
    ttl             INTEGER NOT NULL,
    on_expire       TEXT    NOT NULL,
    team            INTEGER NOT NULL,
    throwaway       INTEGER NOT NULL,
    accept_degraded INTEGER NOT NULL,
    created_at      INTEGER NOT NULL,

    -- Processes, each by all that makes it that process. The warden's are there together or not at all.
    summoner_pid    INTEGER NOT NULL,
    summoner_start  INTEGER NOT NULL,
    summoner_boot   TEXT    NOT NULL,
    warden_pid      INTEGER,
    warden_start    INTEGER,
    warden_boot     TEXT,

    state           TEXT    NOT NULL,
    why             TEXT,
    by_whom         TEXT,
    message         TEXT,
    receipt         TEXT,
    state_since     INTEGER NOT NULL,

    expires_at      INTEGER NOT NULL,
    generation      INTEGER NOT NULL,
    version         INTEGER NOT NULL,

    CONSTRAINT cell_id_has_its_form CHECK (cell_id GLOB 'laz-[0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f]'),
    CONSTRAINT backend_exists       CHECK (backend IN ('process', 'wasm')),
    CONSTRAINT on_expire_exists     CHECK (on_expire IN ('close', 'destroy', 'keep')),
    CONSTRAINT flags_are_flags      CHECK (team IN (0, 1) AND throwaway IN (0, 1) AND accept_degraded IN (0, 1)),
    CONSTRAINT counts_count         CHECK (ttl >= 0 AND generation >= 1 AND version >= 0),
    CONSTRAINT warden_is_whole      CHECK ((warden_pid IS NULL) = (warden_start IS NULL) AND (warden_pid IS NULL) = (warden_boot IS NULL)),
    CONSTRAINT state_has_its_data   CHECK (
        state || ifnull(' ' || why, '') || iif(by_whom IS NULL, '', ' +by')
            || iif(message IS NULL, '', ' +message') || iif(receipt IS NULL, '', ' +receipt') IN (
            'proposed', 'active', 'idle',
            'closing asked +by', 'closing finished', 'closing expired',
            'closed asked +by', 'closed finished', 'closed expired',
            'failed not_ready +message', 'failed agent_ended +message', 'failed internal +message',
            'failed warden_died', 'failed summoner_died',
            'destroyed +by +receipt'
        )
    )
) STRICT, WITHOUT ROWID;

-- For the queries that every command may ask, however many cells are over: which are not over, which may have live processes
-- (the same without the failed), which of those are past their time. See `Filter` in registry/read.rs.
CREATE INDEX cells_not_over ON cells (expires_at, state) WHERE state NOT IN ('closed', 'destroyed');

-- For the query of the sweep for cells that ended and were to be destroyed by somebody who died before: `Filter::Leftover`.
CREATE INDEX cells_leftover ON cells (expires_at) WHERE state IN ('closed', 'failed') AND (throwaway = 1 OR on_expire = 'destroy');
