//! How much of what happened to a transaction is kept beside its record.

/// How much of each transaction's history is kept: a list of entries, oldest first, which lives as long as the
/// record. An entry says what one step did, in 512 bytes at the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct History {
    entries_max: u16,
}

impl Default for History {
    fn default() -> Self {
        Self { entries_max: 64 }
    }
}

impl History {
    /// Keeps none.
    #[must_use]
    pub const fn off() -> Self {
        Self { entries_max: 0 }
    }

    /// Keeps the latest `entries_max` entries.
    #[must_use]
    pub const fn latest(entries_max: u16) -> Self {
        Self { entries_max }
    }

    pub(crate) fn entries_max(self) -> u16 {
        self.entries_max
    }
}
