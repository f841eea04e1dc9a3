//! Which keys a transaction's operations are likely to need.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
};

use tcc_core::Gid;

/// Transactions remembered in one generation; two are kept.
const GENERATION_MAX: usize = 2_048;
/// Keys remembered of one transaction.
const SUFFIXES_MAX: usize = 32;

/// Remembers, for the transactions heard of last, the keys that depend on what their records hold. A wrong
/// or missing hint costs one round trip: the script names what it needs.
#[derive(Debug, Default)]
pub(crate) struct Hints {
    generations: Mutex<[BTreeMap<Gid, BTreeSet<String>>; 2]>,
}

impl Hints {
    /// Remembers keys of a transaction and gives back all that are known.
    pub(crate) fn learn(&self, gid: &Gid, suffixes: Vec<String>) -> Vec<String> {
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        let [young, old] = &mut *generations;
        let known = match young.get_mut(gid) {
            Some(known) => known,
            None => {
                let known = old.remove(gid).unwrap_or_default();
                if known.is_empty() && suffixes.is_empty() {
                    return Vec::new();
                }
                if young.len() >= GENERATION_MAX {
                    *old = std::mem::take(young);
                }
                young.entry(gid.clone()).or_insert(known)
            }
        };
        known.extend(suffixes);
        while known.len() > SUFFIXES_MAX {
            known.pop_first();
        }
        known.iter().cloned().collect()
    }

    /// Forgets a transaction that is over.
    pub(crate) fn forget(&self, gid: &Gid) {
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        for generation in &mut *generations {
            generation.remove(gid);
        }
    }
}

#[cfg(test)]
mod tests {
    use tcc_core::Timestamp;

    use super::*;

    #[test]
    fn hints_are_kept_for_the_newest_transactions_only() {
        let hints = Hints::default();
        let gid = |n: usize| Gid::new(Timestamp::from_millis(n as u64), 0, 0);
        for n in 0..3 * GENERATION_MAX {
            assert_eq!(hints.learn(&gid(n), vec!["ready:a".into()]), ["ready:a"]);
        }
        assert_eq!(hints.learn(&gid(0), vec![]), [] as [&str; 0]);
        let newest = gid(3 * GENERATION_MAX - 1);
        assert_eq!(hints.learn(&newest, vec!["ready:b".into()]), ["ready:a", "ready:b"]);
        hints.forget(&newest);
        assert_eq!(hints.learn(&newest, vec![]), [] as [&str; 0]);
    }
}
