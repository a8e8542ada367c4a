-- Why: a person joins with a token that can be used once, until a time, unless it is revoked; and stays known by a session.
--
-- Of both secrets only the SHA-256 is kept: whoever reads this file cannot join with it. Used, late and revoked tokens stay, so that
-- whoever comes with one is told which it is. Destroying a cell removes its rows.

CREATE TABLE tokens (
    token_id   INTEGER NOT NULL PRIMARY KEY,
    cell_id    TEXT    NOT NULL REFERENCES cells (cell_id),
    identity   TEXT    NOT NULL,
    secret     BLOB    NOT NULL,
    issued_at  INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at    INTEGER,
    revoked_at INTEGER,

    CONSTRAINT tokens_are_for_humans CHECK (identity GLOB 'human:?*'),
    CONSTRAINT secret_is_sha256      CHECK (length(secret) = 32)
) STRICT;

-- For the one token that somebody comes with.
CREATE UNIQUE INDEX tokens_by_secret ON tokens (secret);

-- For the tokens that end with a membership.
CREATE INDEX tokens_of_member ON tokens (cell_id, identity);

CREATE TABLE sessions (
    session_id INTEGER NOT NULL PRIMARY KEY,
    cell_id    TEXT    NOT NULL REFERENCES cells (cell_id),
    identity   TEXT    NOT NULL,
    secret     BLOB    NOT NULL,
    begun_at   INTEGER NOT NULL,
    ended_at   INTEGER,

    CONSTRAINT sessions_are_of_humans CHECK (identity GLOB 'human:?*'),
    CONSTRAINT secret_is_sha256       CHECK (length(secret) = 32)
) STRICT;

-- For the one session that somebody comes back with.
CREATE UNIQUE INDEX sessions_by_secret ON sessions (secret);

-- For the sessions that end with a membership.
CREATE INDEX sessions_of_member ON sessions (cell_id, identity);
