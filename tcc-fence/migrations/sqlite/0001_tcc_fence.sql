CREATE TABLE IF NOT EXISTS tcc_fence (
    gid        TEXT    NOT NULL,
    branch     TEXT    NOT NULL,
    action     TEXT    NOT NULL,
    -- The last phase that took effect here; `empty` is a cancel that found no try.
    phase      TEXT    NOT NULL CHECK (phase IN ('try', 'confirm', 'cancel', 'empty')),
    -- The claim under which it did; 0 for a try.
    epoch      INTEGER NOT NULL,
    -- How often a phase came here beside the first one.
    asked      INTEGER NOT NULL DEFAULT 0,
    try_answer TEXT,
    answer     TEXT,
    -- In milliseconds since 1970.
    changed_at INTEGER NOT NULL,
    PRIMARY KEY (gid, branch)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS tcc_fence_ended ON tcc_fence (changed_at) WHERE phase <> 'try';
