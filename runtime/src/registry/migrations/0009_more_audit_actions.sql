-- Why: there is more to audit: limits that were hit, walls that were accepted as lower, archives, and the keys and heads of the log itself.
--
-- SQLite cannot change a CHECK: the table is made anew, and every row goes over as it is. The chain is the same afterwards.

CREATE TABLE audit_anew (
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
        'summon', 'team', 'run', 'invite', 'join', 'revoke', 'close', 'destroy', 'extend', 'resurrect', 'sweep', 'send', 'inbox', 'artifact',
        'exec', 'drill', 'agent_add', 'agent_approve', 'agent_remove', 'warden', 'ready', 'rest', 'wake', 'ended', 'failed', 'expired',
        'run_started', 'run_ended', 'denied', 'limit', 'accept', 'archive', 'audit_keygen', 'audit_head'
    )),
    CONSTRAINT phase_exists        CHECK (phase IN ('intent', 'done', 'refused', 'failed')),
    CONSTRAINT detail_is_bounded   CHECK (length(CAST(detail AS BLOB)) <= 2048),
    CONSTRAINT hashes_are_sha256   CHECK (length(previous) = 32 AND length(hash) = 32)
) STRICT;

INSERT INTO audit_anew (seq, at, actor, action, phase, cell_id, detail, previous, hash)
    SELECT seq, at, actor, action, phase, cell_id, detail, previous, hash FROM audit ORDER BY seq;
-- Takes its triggers along, and fires none.
DROP TABLE audit;
ALTER TABLE audit_anew RENAME TO audit;

-- Against our own mistakes; whoever can write the file can drop these, and is found by the chain.
CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON audit BEGIN
    SELECT RAISE(ABORT, 'audit rows are never changed');
END;
CREATE TRIGGER audit_is_never_shortened BEFORE DELETE ON audit BEGIN
    SELECT RAISE(ABORT, 'audit rows are never removed');
END;
