-- Why: what was done, and what was refused, in a chain of hashes that breaks where a row is changed (see src/audit).
--
-- `cell_id` references nothing: a refusal may name a cell that never was. There is no index but the order of the rows:
-- each row is written by every command, and read by few.

CREATE TABLE audit (
    seq      INTEGER NOT NULL PRIMARY KEY,
    at       INTEGER NOT NULL,
    actor    TEXT    NOT NULL,
    action   TEXT    NOT NULL,
    phase    TEXT    NOT NULL,
    cell_id  TEXT,
    detail   TEXT    NOT NULL,
    previous BLOB    NOT NULL,
    hash     BLOB    NOT NULL,

    CONSTRAINT rows_count_from_one CHECK (seq >= 1),
    CONSTRAINT action_exists       CHECK (action IN (
        'summon', 'team', 'run', 'invite', 'revoke', 'close', 'destroy', 'extend', 'resurrect', 'sweep', 'send', 'exec', 'drill',
        'agent_add', 'agent_remove', 'warden', 'ready', 'rest', 'wake', 'ended', 'failed', 'expired', 'run_started', 'run_ended', 'denied'
    )),
    CONSTRAINT phase_exists        CHECK (phase IN ('intent', 'done', 'refused', 'failed')),
    CONSTRAINT detail_is_bounded   CHECK (length(CAST(detail AS BLOB)) <= 2048),
    CONSTRAINT hashes_are_sha256   CHECK (length(previous) = 32 AND length(hash) = 32)
) STRICT;

-- Against our own mistakes; whoever can write the file can drop these, and is found by the chain.
CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON audit BEGIN
    SELECT RAISE(ABORT, 'audit rows are never changed');
END;
CREATE TRIGGER audit_is_never_shortened BEFORE DELETE ON audit BEGIN
    SELECT RAISE(ABORT, 'audit rows are never removed');
END;
