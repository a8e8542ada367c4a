-- Why: what a teardown did is kept as a document that can be checked elsewhere, and each root has a name by which a signed document says
-- whose it is.

CREATE TABLE root (
    one     INTEGER NOT NULL PRIMARY KEY,
    root_id TEXT    NOT NULL,

    CONSTRAINT there_is_one        CHECK (one = 1),
    CONSTRAINT root_id_has_its_form CHECK (length(root_id) = 32 AND NOT root_id GLOB '*[^0-9a-f]*')
) STRICT;

-- Drawn once, from SQLite's own generator, which the kernel's randomness seeds. It is a name, no secret.
INSERT INTO root (one, root_id) VALUES (1, lower(hex(randomblob(16))));

CREATE TABLE receipts (
    -- A cell is destroyed once.
    cell_id   TEXT    NOT NULL PRIMARY KEY REFERENCES cells (cell_id),
    -- The audit row of the teardown, of the same commit. It references nothing: a migration that makes the audit anew must be able to.
    audit_seq INTEGER NOT NULL,
    document  TEXT    NOT NULL,

    CONSTRAINT rows_count_from_one CHECK (audit_seq >= 1),
    CONSTRAINT document_is_json    CHECK (json_valid(document)),
    CONSTRAINT document_is_bounded CHECK (length(CAST(document AS BLOB)) BETWEEN 2 AND 65536)
) STRICT, WITHOUT ROWID;

-- Against our own mistakes; whoever can write the file can drop these, and a signature then does not fit.
CREATE TRIGGER receipts_are_never_changed BEFORE UPDATE ON receipts BEGIN
    SELECT RAISE(ABORT, 'receipts are never changed');
END;
CREATE TRIGGER receipts_are_never_removed BEFORE DELETE ON receipts BEGIN
    SELECT RAISE(ABORT, 'receipts are never removed');
END;
