CREATE TABLE IF NOT EXISTS tcc_fence (
    gid        varchar(25)  NOT NULL,
    branch     varchar(5)   NOT NULL,
    action     varchar(300) NOT NULL,
    -- The last phase that took effect here; `empty` is a cancel that found no try.
    phase      varchar(7)   NOT NULL CHECK (phase IN ('try', 'confirm', 'cancel', 'empty')),
    -- The claim under which it did; 0 for a try.
    epoch      bigint       NOT NULL,
    -- How often a phase came here beside the first one.
    asked      bigint       NOT NULL DEFAULT 0,
    try_answer text,
    answer     text,
    changed_at timestamptz  NOT NULL,
    PRIMARY KEY (gid, branch)
);
CREATE INDEX IF NOT EXISTS tcc_fence_ended ON tcc_fence (changed_at) WHERE phase <> 'try';
