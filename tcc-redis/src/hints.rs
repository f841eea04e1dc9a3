//! Which keys operations are likely to need beside those they name.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use tcc_core::Gid;

/// Queues remembered. A process knows few participants.
const QUEUES_MAX: usize = 64;
/// Transactions remembered in one generation; two are kept.
const GENERATION_MAX: usize = 2_048;

/// Remembers the queues this process has met, and the business keys of the transactions it has met last. A
/// wrong or missing hint costs one round trip: the function names what it needs.
#[derive(Debug, Default)]
pub(crate) struct Hints {
    queues: Mutex<BTreeSet<String>>,
    keys: Mutex<[BTreeMap<Gid, String>; 2]>,
}

impl Hints {
    /// Remembers a key that an operation on a transaction needs, if it will need it again.
    pub(crate) fn learn(&self, gid: &Gid, suffix: &str) {
        if let Some(participant) = suffix.strip_prefix("ready:") {
            self.learn_queue(participant);
        } else if suffix.starts_with("key:") {
            let mut keys = lock(&self.keys);
            let [young, old] = &mut *keys;
            if young.len() >= GENERATION_MAX {
                *old = std::mem::take(young);
            }
            young.insert(gid.clone(), suffix.to_owned());
        }
    }

    /// Remembers a participant's queue.
    pub(crate) fn learn_queue(&self, participant: &str) {
        let mut queues = lock(&self.queues);
        if queues.len() < QUEUES_MAX && !queues.contains(participant) {
            queues.insert(participant.to_owned());
        }
    }

    /// The participants whose queues were met so far.
    pub(crate) fn queues(&self) -> Vec<String> {
        lock(&self.queues).iter().cloned().collect()
    }

    /// The business key of a transaction, if it is known to have one.
    pub(crate) fn key(&self, gid: &Gid) -> Option<String> {
        lock(&self.keys).iter().find_map(|generation| generation.get(gid).cloned())
    }

    /// Forgets a transaction that is over.
    pub(crate) fn forget(&self, gid: &Gid) {
        for generation in &mut *lock(&self.keys) {
            generation.remove(gid);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use tcc_core::Timestamp;

    use super::*;

    #[test]
    fn hints_are_bounded() {
        let hints = Hints::default();
        let gid = |n: usize| Gid::new(Timestamp::from_millis(n as u64), 0, 0);
        for n in 0..3 * GENERATION_MAX {
            hints.learn(&gid(n), &format!("key:a:{n}"));
            hints.learn(&gid(n), &format!("ready:{n}"));
            hints.learn(&gid(n), "tx:other");
        }
        assert_eq!(hints.queues().len(), QUEUES_MAX);
        let known: Vec<usize> = (0..3 * GENERATION_MAX).filter(|n| hints.key(&gid(*n)).is_some()).collect();
        assert_eq!(known, Vec::from_iter(GENERATION_MAX..3 * GENERATION_MAX), "two generations");
        let newest = gid(3 * GENERATION_MAX - 1);
        assert_eq!(hints.key(&newest), Some(format!("key:a:{}", 3 * GENERATION_MAX - 1)));
        hints.forget(&newest);
        assert_eq!(hints.key(&newest), None);
    }
}
