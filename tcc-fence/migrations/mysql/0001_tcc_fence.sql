CREATE TABLE IF NOT EXISTS tcc_fence (
    gid        VARCHAR(25)  NOT NULL,
    branch     VARCHAR(5)   NOT NULL,
    action     VARCHAR(300) NOT NULL,
    -- The last phase that took effect here; `empty` is a cancel that found no try.
    phase      VARCHAR(7)   NOT NULL CHECK (phase IN ('try', 'confirm', 'cancel', 'empty')),
    -- The claim under which it did; 0 for a try.
    epoch      BIGINT       NOT NULL,
    -- How often a phase came here beside the first one.
    asked      BIGINT       NOT NULL DEFAULT 0,
    try_answer LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
    answer     LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
    -- In UTC.
    changed_at DATETIME(3)  NOT NULL,
    PRIMARY KEY (gid, branch),
    KEY tcc_fence_ended (phase, changed_at)
) ENGINE = InnoDB DEFAULT CHARACTER SET ascii COLLATE ascii_bin;
