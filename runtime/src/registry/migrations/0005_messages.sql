-- Why: what the members of a cell say to each other. A message is accepted when its row is committed: from then on no crash loses it.
--
-- `place` is the order in which messages were accepted. `failures` counts the deliveries that failed. A message is waiting (for its first
-- delivery, or until `not_before` for the next one), handled, or parked: given up, with its reason. `settled_no` numbers the messages of a
-- cell that were handled, and those that were parked, one by one, so that the oldest beyond a bound are found without counting.
-- Destroying a cell removes its rows, as it removes its home; the audit keeps each message's digest. The text is the last column,
-- so that nothing else has to be read past it.

CREATE TABLE messages (
    place       INTEGER NOT NULL PRIMARY KEY,
    cell_id     TEXT    NOT NULL REFERENCES cells (cell_id),
    message_id  TEXT    NOT NULL,
    sender      TEXT    NOT NULL,
    receiver    TEXT    NOT NULL,
    in_reply_to TEXT,
    sent_at     INTEGER NOT NULL,
    state       TEXT    NOT NULL,
    failures    INTEGER NOT NULL,
    not_before  INTEGER,
    why         TEXT,
    settled_at  INTEGER,
    settled_no  INTEGER,
    text        TEXT    NOT NULL,

    CONSTRAINT message_id_has_its_form CHECK (message_id GLOB 'msg-*' AND length(message_id) = 36),
    CONSTRAINT sender_has_its_kind     CHECK (sender GLOB 'agent:?*' OR sender GLOB 'bot:?*' OR sender GLOB 'human:?*'),
    CONSTRAINT receiver_has_its_kind   CHECK (receiver GLOB 'agent:?*' OR receiver GLOB 'bot:?*' OR receiver GLOB 'human:?*'),
    CONSTRAINT failures_count          CHECK (failures >= 0),
    CONSTRAINT text_is_bounded         CHECK (length(CAST(text AS BLOB)) BETWEEN 1 AND 32768),
    CONSTRAINT state_has_its_data      CHECK (
        state || iif(not_before IS NULL, '', ' +not_before') || iif(why IS NULL, '', ' +why')
            || iif(settled_at IS NULL, '', ' +at') || iif(settled_no IS NULL, '', ' +no') IN (
            'waiting', 'waiting +not_before +why', 'handled +at +no', 'parked +why +at +no'
        )
    )
) STRICT;

-- So that no id is accepted twice, and for every query that names a message.
CREATE UNIQUE INDEX messages_by_id ON messages (message_id);

-- For the next message of a receiver, sender by sender, each in the order of acceptance: `next_message` steps through it.
CREATE INDEX messages_waiting ON messages (cell_id, receiver, sender, place) WHERE state = 'waiting';

-- For the query of the next moment at which a message that waits for its retry is due.
CREATE INDEX messages_retrying ON messages (cell_id, not_before) WHERE state = 'waiting' AND not_before IS NOT NULL;

-- For the number of the next message that is handled or parked, and for those beyond the bounds.
CREATE INDEX messages_settled ON messages (cell_id, state, settled_no) WHERE settled_no IS NOT NULL;

-- For the history of a cell, a member's too, without reading what others said.
CREATE INDEX messages_of_cell ON messages (cell_id, place, sender, receiver);

-- For the query of the answer to a message.
CREATE INDEX messages_answering ON messages (in_reply_to) WHERE in_reply_to IS NOT NULL;

-- For the question whether somebody who is in a cell no more ever was.
CREATE INDEX members_left ON members (cell_id, identity) WHERE revoked_at IS NOT NULL;
