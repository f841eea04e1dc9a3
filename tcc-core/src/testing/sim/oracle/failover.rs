//! What may be missing after a failover that lost acknowledged writes, and what must hold all the same.
//!
//! - A write that leaves its transaction's decision, branches and outcomes as they were (claims, reports of
//!   drives, leases) costs repetitions, never a wrong outcome: all is asked for but leases and epochs.
//! - An outcome that is lost is not reported again: without a fence, what its late try reserved may stand.
//! - A branch or a whole record that is lost leaves nobody who knows of its reservation.
//! - A decision that is lost may be followed by the opposite one. As long as nobody had acted on it, the
//!   outcome is still one; a confirm or cancel that ran for it makes a transaction of two halves, of which a
//!   fence tells, so that the second half is parked.
//!
//! Whatever was lost, the machine keeps its rules on what is left, no handler takes effect twice, and every
//! transaction that is left becomes final or parked.

use std::collections::{BTreeMap, BTreeSet};

use super::{Oracle, Place};
use crate::{
    gid::Gid,
    name::Ordinal,
    record::{Direction, Record},
    time::Timestamp,
};

/// What was lost of a transaction.
#[derive(Clone, Debug, Default)]
pub(super) struct Loss {
    /// The whole record.
    record: bool,
    /// Decisions that were written and are not.
    decisions: BTreeSet<Direction>,
    /// Branches that were registered and are not.
    branches: BTreeSet<Ordinal>,
    /// Branches of which less is known than was.
    outcomes: BTreeSet<Ordinal>,
    /// Whether a confirm or cancel ran for a decision that was lost.
    acted: bool,
}

impl Loss {
    fn note(&mut self, known: &Record, kept: Option<&Record>) {
        let kept_branch = |ordinal| kept.and_then(|kept| kept.branch(ordinal));
        self.record |= kept.is_none();
        if kept.is_none_or(|kept| kept.decision.is_none()) {
            self.decisions.extend(known.decision.as_ref().map(|decision| decision.direction));
        }
        for (ordinal, branch) in known.branches() {
            match kept_branch(ordinal) {
                None => {
                    self.branches.insert(ordinal);
                }
                Some(kept) if branch.known.is_some() && kept.known.is_none() => {
                    self.outcomes.insert(ordinal);
                }
                Some(_) => {}
            }
        }
    }
}

impl Oracle {
    /// The store went back to these records.
    pub(in crate::testing::sim) fn failed_over(&mut self, kept: &[Record], now: Timestamp) {
        let kept: BTreeMap<_, _> = kept.iter().map(|record| (&record.gid, record)).collect();
        let mut left = BTreeMap::new();
        for (gid, known) in std::mem::take(&mut self.records) {
            let record = kept.get(&gid).copied();
            if record == Some(&known) || record.is_none() && super::gone_rightly(&known, now).is_ok() {
                left.insert(gid, known);
                continue;
            }
            let driven = self.runs.iter().any(|run| run.start.gid == gid && !run.is_try());
            let loss = self.losses.entry(gid.clone()).or_default();
            loss.note(&known, record);
            loss.acted |= driven && !loss.decisions.is_empty();
            if let Some(record) = record {
                left.insert(gid, record.clone());
            }
        }
        self.records = left;
    }

    /// Whether anything of a transaction was lost: its leases and epochs begin again.
    pub(super) fn is_shaken(&self, gid: &Gid) -> bool {
        self.losses.contains_key(gid)
    }

    /// Whether what was heard of a transaction's decision may be void.
    pub(super) fn is_undone(&self, gid: &Gid, direction: Direction) -> bool {
        self.losses.get(gid).is_some_and(|loss| loss.record || loss.decisions.contains(&direction))
    }

    /// Whether a branch may be unknown to its record.
    pub(super) fn is_forgotten(&self, (gid, branch): &Place) -> bool {
        self.losses.get(gid).is_some_and(|loss| loss.record || loss.branches.contains(branch))
    }

    /// Whether the record may know less of a branch's try than it was told.
    pub(super) fn is_unlearned(&self, place: &Place) -> bool {
        let outcome = |loss: &Loss| loss.outcomes.contains(&place.1);
        self.is_forgotten(place) || self.losses.get(&place.0).is_some_and(outcome)
    }

    /// Whether a transaction may end in two halves, because a decision was lost that had been acted on.
    pub(in crate::testing::sim) fn is_excused(&self, gid: &Gid) -> bool {
        self.losses.get(gid).is_some_and(|loss| loss.record || loss.acted)
    }

    /// A confirm or cancel runs that the record does not account for: whether a lost decision does.
    pub(super) fn act_on_lost(&mut self, gid: &Gid) -> bool {
        match self.losses.get_mut(gid).filter(|loss| loss.record || !loss.decisions.is_empty()) {
            Some(loss) => {
                loss.acted = true;
                true
            }
            None => false,
        }
    }
}
