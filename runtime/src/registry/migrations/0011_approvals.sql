-- Why: what the operator approved of each agent definition, when, and how: a definition that differs from it is not used.
--
-- A history: the newest row of an agent counts, and nothing is ever changed or removed. A definition that is removed gets a row that says so, without
-- digests, so that what is installed later under its name is compared with nothing.

CREATE TABLE approvals (
    seq        INTEGER NOT NULL PRIMARY KEY,
    agent      TEXT    NOT NULL,
    at         INTEGER NOT NULL,
    actor      TEXT    NOT NULL,
    -- add: by installing it; approve: by the command of that name; adopt: a release without approvals had installed it; remove: no more.
    how        TEXT    NOT NULL,
    definition TEXT,
    component  TEXT,
    template   TEXT,
    -- JSON; of variables the digests of their values.
    grants     TEXT,

    CONSTRAINT rows_count_from_one   CHECK (seq >= 1),
    CONSTRAINT agent_has_its_form    CHECK (length(agent) BETWEEN 1 AND 64 AND agent GLOB '[a-z0-9]*' AND NOT agent GLOB '*[^a-z0-9_-]*'),
    CONSTRAINT way_exists            CHECK (how IN ('add', 'approve', 'adopt', 'remove')),
    CONSTRAINT digests_are_sha256    CHECK (
        (definition IS NULL OR (length(definition) = 64 AND NOT definition GLOB '*[^0-9a-f]*'))
        AND (component IS NULL OR (length(component) = 64 AND NOT component GLOB '*[^0-9a-f]*'))
        AND (template IS NULL OR (length(template) = 64 AND NOT template GLOB '*[^0-9a-f]*'))),
    CONSTRAINT grants_are_bounded    CHECK (grants IS NULL OR (json_valid(grants) AND length(CAST(grants AS BLOB)) <= 2097152)),
    CONSTRAINT removal_approves_none CHECK (
        (how = 'remove') = (definition IS NULL)
        AND (how = 'remove') = (grants IS NULL)
        AND (how <> 'remove' OR (component IS NULL AND template IS NULL)))
) STRICT;

-- For the newest row of an agent.
CREATE INDEX approvals_by_agent ON approvals (agent, seq);

-- Against our own mistakes, as of the audit log.
CREATE TRIGGER approvals_are_never_changed BEFORE UPDATE ON approvals BEGIN
    SELECT RAISE(ABORT, 'approvals are never changed');
END;
CREATE TRIGGER approvals_are_never_removed BEFORE DELETE ON approvals BEGIN
    SELECT RAISE(ABORT, 'approvals are never removed');
END;
