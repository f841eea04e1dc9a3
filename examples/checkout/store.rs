//! The store that remembers transactions while they are under way.

use tcc::MemoryStore;

/// Said before a run, so that nobody takes the example's store for more than it is.
pub(crate) const NOTICE: &str =
    "Transactions are recorded in the in-memory store: their state is lost when this process ends.";

pub(crate) fn open() -> MemoryStore {
    MemoryStore::new()
}
