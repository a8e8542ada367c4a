-- Why: who is in a cell, as what, let in by whom; and who was. A revoked member stays as a row: the registry forgets nobody.

CREATE TABLE members (
    member_id  INTEGER NOT NULL PRIMARY KEY,
    cell_id    TEXT    NOT NULL REFERENCES cells (cell_id),
    identity   TEXT    NOT NULL,
    role       TEXT    NOT NULL,
    joined_at  INTEGER NOT NULL,
    invited_by TEXT    NOT NULL,
    revoked_at INTEGER,
    revoked_by TEXT,

    CONSTRAINT identity_has_its_kind CHECK (identity GLOB 'agent:?*' OR identity GLOB 'bot:?*' OR identity GLOB 'human:?*'),
    CONSTRAINT role_exists           CHECK (role IN ('executor', 'observer', 'director', 'auditor')),
    CONSTRAINT revocation_is_whole   CHECK ((revoked_at IS NULL) = (revoked_by IS NULL))
) STRICT;

-- For the query of a cell's present members, and so that nobody is in a cell twice.
CREATE UNIQUE INDEX members_present ON members (cell_id, identity) WHERE revoked_at IS NULL;
