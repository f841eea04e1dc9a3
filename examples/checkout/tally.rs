//! What happened on the way, counted where it happens.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

#[derive(Default)]
pub(crate) struct Tally {
    /// Confirms and cancels by participant.
    attempts: Mutex<BTreeMap<&'static str, usize>>,
    retries: AtomicUsize,
    turned_away: AtomicUsize,
}

impl Tally {
    /// Says that a participant is here, so that it is listed even if it has nothing to do.
    pub(crate) fn expect(&self, participant: &'static str) {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner).entry(participant).or_default();
    }

    /// Notes an attempt at a confirm or cancel.
    pub(crate) fn attempt(&self, participant: &'static str, attempt: u32) {
        *self.attempts.lock().unwrap_or_else(PoisonError::into_inner).entry(participant).or_default() += 1;
        if attempt > 1 {
            self.retries.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Notes a try that its fence turned away because its cancel had been there.
    pub(crate) fn turn_away(&self) {
        self.turned_away.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn attempts(&self) -> BTreeMap<&'static str, usize> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn retries(&self) -> usize {
        self.retries.load(Ordering::Relaxed)
    }

    pub(crate) fn turned_away(&self) -> usize {
        self.turned_away.load(Ordering::Relaxed)
    }
}
