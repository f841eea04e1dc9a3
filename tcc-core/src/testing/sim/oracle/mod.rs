//! Watches over the invariants of the design, knowing nothing of the runtime: it sees every operation the
//! store applies, every run of a handler, and every answer a caller gets.

mod callers;
mod end;
mod failover;
mod records;
mod runs;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

pub(super) use callers::Caller;
pub(super) use runs::{Ending, Phase, RunId, Start};

use super::{bank::Place, executor::Process};
use crate::{
    gid::Gid,
    machine::Op,
    record::{Direction, Record},
    store::{Applied, Doorbell},
    time::Timestamp,
};

/// One operation applied to the store.
pub(super) struct Step<'a> {
    pub(super) gid: &'a Gid,
    pub(super) op: &'a Op,
    pub(super) before: Option<&'a Record>,
    pub(super) after: Option<&'a Record>,
    pub(super) applied: &'a Applied,
    pub(super) timers: BTreeMap<Gid, Timestamp>,
}

pub(super) struct Oracle {
    /// Whether nothing makes a process overlook the end of its lease.
    leases_hold: bool,
    violation: Option<String>,
    /// Every record as it was seen last, also of those whose retention is over.
    records: BTreeMap<Gid, Record>,
    runs: Vec<runs::Run>,
    /// Runs by branch, in the order they started.
    by_branch: BTreeMap<Place, Vec<usize>>,
    /// Decisions that callers were told of.
    told: BTreeMap<Gid, Direction>,
    /// Transactions whose closure gave up and that nobody could write down: a late registration may begin them
    /// for their lease to end.
    unwritten: BTreeSet<Gid>,
    /// Branches whose value was given to a closure.
    heard: BTreeSet<Place>,
    /// The transaction that ran last under each business key.
    keyed: BTreeMap<String, Gid>,
    deaths: BTreeMap<Process, Duration>,
    answers: u64,
    orphans: u64,
    /// Branches whose process could not cancel them without a record, and said so: an operator must.
    abandoned: BTreeSet<Place>,
    /// What failovers took.
    losses: BTreeMap<Gid, failover::Loss>,
}

impl Oracle {
    pub(super) fn new(leases_hold: bool) -> Self {
        Self {
            leases_hold,
            violation: None,
            records: BTreeMap::new(),
            runs: Vec::new(),
            by_branch: BTreeMap::new(),
            told: BTreeMap::new(),
            unwritten: BTreeSet::new(),
            heard: BTreeSet::new(),
            keyed: BTreeMap::new(),
            deaths: BTreeMap::new(),
            answers: 0,
            orphans: 0,
            abandoned: BTreeSet::new(),
            losses: BTreeMap::new(),
        }
    }

    /// The first violation stands; what follows from it would only confuse.
    pub(super) fn violate(&mut self, what: String) {
        self.violation.get_or_insert(what);
    }

    pub(super) fn violation(&self) -> Option<&str> {
        self.violation.as_deref()
    }

    fn check(&mut self, checked: Result<(), String>) {
        if let Err(what) = checked {
            self.violate(what);
        }
    }

    /// How many callers got an answer.
    pub(super) fn answers(&self) -> u64 {
        self.answers
    }

    /// A branch was cancelled by its own process, because its record was gone.
    pub(super) fn orphaned(&mut self, place: Place, failed: bool) {
        self.orphans += 1;
        if failed {
            self.abandoned.insert(place);
        }
    }

    pub(super) fn orphans(&self) -> u64 {
        self.orphans
    }

    pub(super) fn died(&mut self, process: Process, at: Duration) {
        self.deaths.entry(process).or_insert(at);
    }

    /// An operation was applied; `rung` are the messages that stand after it.
    pub(super) fn applied(&mut self, step: &Step<'_>, rung: &BTreeSet<Doorbell>) {
        let checked = records::check(step, rung)
            .and_then(|()| self.check_known(step))
            .and_then(|()| self.check_decision(step))
            .and_then(|()| self.check_finished(step));
        self.check(checked);
        if let Some(after) = step.after {
            self.records.insert(step.gid.clone(), after.clone());
        }
    }

    /// The record is as it was left, or gone when its retention was over.
    fn check_known(&self, step: &Step<'_>) -> Result<(), String> {
        let (gid, now) = (step.gid, step.applied.now);
        match (self.records.get(gid), step.before) {
            (Some(known), Some(before)) if known != before => {
                Err(format!("{gid} changed beside every operation"))
            }
            (Some(known), None) => gone_rightly(known, now),
            _ => Ok(()),
        }
    }

    /// What was decided agrees with what closures and callers heard.
    fn check_decision(&self, step: &Step<'_>) -> Result<(), String> {
        let gid = step.gid;
        let Some(after) = step.after else { return Ok(()) };
        let decided = after.decision.as_ref();
        if let Some(told) = self.told.get(gid).filter(|told| !self.is_undone(gid, **told)) {
            match decided {
                Some(decision) if decision.direction == *told => {}
                Some(decision) => {
                    return Err(format!(
                        "{gid}: a caller heard {told}, and {} was decided",
                        decision.direction
                    ));
                }
                None if step.before.is_none() && !self.unwritten.contains(gid) => {
                    return Err(format!("{gid}: it was begun after a caller had heard {told} (rule 3)"));
                }
                None => {}
            }
        }
        if step.before.is_some_and(|before| before.decision.is_some()) {
            return Ok(());
        }
        let Some(decision) = decided else { return Ok(()) };
        if decision.direction == Direction::Confirm {
            for (ordinal, branch) in after.branches() {
                let refused = branch.known == Some(crate::record::Seen::Refused);
                if !refused && !self.heard.contains(&(gid.clone(), ordinal)) {
                    return Err(format!(
                        "{gid}/{ordinal} is to be confirmed, and its value was not heard (I3)"
                    ));
                }
            }
        }
        Ok(())
    }
}

/// Whether a record may be missing at this time.
fn gone_rightly(known: &Record, now: Timestamp) -> Result<(), String> {
    let gid = &known.gid;
    match known.ended_at {
        Some(ended) if ended + Duration::from_millis(known.retention_ms) <= now => Ok(()),
        Some(_) => Err(format!("{gid} is gone before its retention is over")),
        None => Err(format!("{gid} was {} and is gone (I8, I10)", known.state)),
    }
}
