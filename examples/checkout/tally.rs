//! What happened on the way, counted where it happens.

use std::sync::atomic::{AtomicUsize, Ordering};

#[derive(Default)]
pub(crate) struct Tally {
    retries: AtomicUsize,
    turned_away: AtomicUsize,
}

impl Tally {
    /// Notes an attempt at a confirm or cancel.
    pub(crate) fn attempt(&self, attempt: u32) {
        if attempt > 1 {
            self.retries.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Notes a try that its fence turned away because its cancel had been there.
    pub(crate) fn turn_away(&self) {
        self.turned_away.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn retries(&self) -> usize {
        self.retries.load(Ordering::Relaxed)
    }

    pub(crate) fn turned_away(&self) -> usize {
        self.turned_away.load(Ordering::Relaxed)
    }
}
