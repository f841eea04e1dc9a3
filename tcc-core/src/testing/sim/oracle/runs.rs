//! Runs of handlers: when they may start, and what must have run before a branch is final.

use std::{fmt, time::Duration};

use super::{Oracle, Step};
use crate::{
    gid::Gid,
    name::Ordinal,
    record::{BranchState, Seen},
    testing::sim::{
        bank::{Effect, Movement, Place},
        executor::Process,
        plan::ATTEMPTS_MAX,
    },
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::testing::sim) enum Phase {
    Try { bank: &'static str, movement: Movement },
    Confirm,
    Cancel { told: Seen },
}

/// A handler as it starts.
#[derive(Clone, Debug)]
pub(in crate::testing::sim) struct Start {
    pub(in crate::testing::sim) process: Process,
    pub(in crate::testing::sim) gid: Gid,
    pub(in crate::testing::sim) branch: Ordinal,
    pub(in crate::testing::sim) phase: Phase,
    pub(in crate::testing::sim) epoch: u64,
    pub(in crate::testing::sim) attempt: u32,
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.phase {
            Phase::Try { bank, movement } => write!(f, "{bank} {} {:+}", movement.account, movement.amount),
            Phase::Confirm => write!(f, "epoch {} attempt {}", self.epoch, self.attempt),
            Phase::Cancel { told } => write!(f, "epoch {} attempt {}, {told:?}", self.epoch, self.attempt),
        }
    }
}

/// A run, for those who report what becomes of it.
#[derive(Clone, Debug)]
pub(in crate::testing::sim) struct RunId {
    number: usize,
    text: String,
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::testing::sim) enum Ending {
    Succeeded,
    /// A try returned an error.
    Refused,
    /// A confirm or cancel did.
    Failed,
    /// It panicked, or was stopped from outside, or its process died.
    Stopped,
}

#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) start: Start,
    pub(super) ended: Option<(Ending, Duration)>,
    /// When it took effect on the books, if it did.
    pub(super) effect: Option<(Effect, Duration)>,
}

impl Run {
    pub(super) fn is_try(&self) -> bool {
        matches!(self.start.phase, Phase::Try { .. })
    }
}

impl Oracle {
    pub(in crate::testing::sim) fn run_started(&mut self, start: Start, _now: Duration) -> RunId {
        let checked = self.check_start(&start);
        self.check(checked);
        let number = self.runs.len();
        let what = match start.phase {
            Phase::Try { .. } => "try",
            Phase::Confirm => "confirm",
            Phase::Cancel { .. } => "cancel",
        };
        let text = format!("{what} {}/{}", start.gid, start.branch);
        self.by_branch.entry((start.gid.clone(), start.branch)).or_default().push(number);
        self.runs.push(Run { start, ended: None, effect: None });
        RunId { number, text }
    }

    pub(in crate::testing::sim) fn run_ended(&mut self, id: &RunId, ending: Ending, now: Duration) {
        self.runs[id.number].ended = Some((ending, now));
    }

    /// A try reserved something.
    pub(in crate::testing::sim) fn reserved(&mut self, id: &RunId, now: Duration) {
        if let Phase::Try { movement, .. } = self.runs[id.number].start.phase {
            self.effect(id, Effect::Moved(movement), now);
        }
    }

    /// A confirm or cancel was given something else than its branch was tried with, or than its try gave. A store that
    /// lost a branch may give its number to another.
    pub(in crate::testing::sim) fn misled(&mut self, place: &Place, what: String) {
        if !self.is_forgotten(place) {
            self.violate(what);
        }
    }

    /// A run took effect on the books.
    pub(in crate::testing::sim) fn effect(&mut self, id: &RunId, effect: Effect, now: Duration) {
        self.runs[id.number].effect = Some((effect, now));
        let run = &self.runs[id.number];
        let place = (run.start.gid.clone(), run.start.branch);
        let checked = match effect {
            Effect::Contradiction if self.is_excused(&place.0) => Ok(()),
            Effect::Contradiction => Err(format!("{id}: the fence holds the opposite (I1, I6)")),
            Effect::Nothing => Ok(()),
            Effect::Moved(_) => {
                let confirm = run.start.phase == Phase::Confirm;
                let before = self.runs_of(&place).filter(|other| {
                    (other.start.phase == Phase::Confirm) == confirm
                        && other.is_try() == run.is_try()
                        && matches!(other.effect, Some((Effect::Moved(_), _)))
                });
                match before.count() {
                    // A branch without a fence may be reserved late, and then be cancelled once more.
                    0 | 1 => Ok(()),
                    _ if !confirm && !run.is_try() => Ok(()),
                    times => Err(format!("{id} took effect {times} times (I4)")),
                }
            }
        };
        self.check(checked);
    }

    pub(super) fn runs_of(&self, place: &(Gid, Ordinal)) -> impl Iterator<Item = &Run> {
        self.by_branch.get(place).into_iter().flatten().map(|number| &self.runs[*number])
    }

    fn check_start(&mut self, start: &Start) -> Result<(), String> {
        let (gid, ordinal) = (&start.gid, start.branch);
        let place = (gid.clone(), ordinal);
        let record = self.records.get(gid);
        let Some(branch) = record.and_then(|record| record.branch(ordinal)) else {
            if self.is_forgotten(&place) {
                self.act_on_lost(gid);
                return Ok(());
            }
            return Err(format!("{gid}/{ordinal}: a handler runs and the branch is not registered (rule 3)"));
        };
        let (state, newest) = (branch.state, branch.epoch);
        match start.phase {
            Phase::Try { .. } => {
                if self.runs_of(&place).any(Run::is_try) {
                    return Err(format!("{gid}/{ordinal} is tried twice"));
                }
                return Ok(());
            }
            Phase::Confirm if !matches!(state, BranchState::Confirming | BranchState::Confirmed) => {
                let lost = self.act_on_lost(gid);
                return lost
                    .then_some(())
                    .ok_or_else(|| format!("{gid}/{ordinal} is {state} and its confirm runs"));
            }
            Phase::Cancel { .. } if !matches!(state, BranchState::Cancelling | BranchState::Cancelled) => {
                let lost = self.act_on_lost(gid);
                return lost
                    .then_some(())
                    .ok_or_else(|| format!("{gid}/{ordinal} is {state} and its cancel runs"));
            }
            Phase::Confirm | Phase::Cancel { .. } => {}
        }
        if start.attempt > ATTEMPTS_MAX {
            return Err(format!("{gid}/{ordinal}: attempt {} of {ATTEMPTS_MAX}", start.attempt));
        }
        // Epoch 0 is a cancel whose record is gone, so that it has no lease.
        if start.epoch > newest && !self.is_shaken(gid) {
            return Err(format!("{gid}/{ordinal} is driven at epoch {} before it is claimed", start.epoch));
        }
        let other = self.runs_of(&place).find(|run| !run.is_try() && run.ended.is_none());
        match other {
            Some(other) if self.leases_hold && start.epoch > 0 && !self.is_shaken(gid) => Err(format!(
                "{gid}/{ordinal} is driven at epoch {} while epoch {} still runs (I4)",
                start.epoch, other.start.epoch
            )),
            _ => Ok(()),
        }
    }

    /// A branch is final only when a handler said so that was told all there is to know (rule 11).
    pub(super) fn check_finished(&self, step: &Step<'_>) -> Result<(), String> {
        let Some(after) = step.after else { return Ok(()) };
        for (ordinal, branch) in after.branches() {
            let before = step.before.and_then(|before| before.branch(ordinal));
            if !branch.state.is_final() || before.is_some_and(|before| before.state == branch.state) {
                continue;
            }
            let place = (step.gid.clone(), ordinal);
            let done = self.runs_of(&place).any(|run| {
                let phase = match (branch.state, run.start.phase) {
                    (BranchState::Confirmed, Phase::Confirm) => true,
                    (BranchState::Cancelled, Phase::Cancel { told }) => {
                        told == branch.known.unwrap_or(Seen::Unknown)
                    }
                    _ => false,
                };
                phase && matches!(run.ended, Some((Ending::Succeeded, _)))
            });
            if !done {
                return Err(format!(
                    "{}/{ordinal} is {}, and no handler that knew {:?} has ended well",
                    step.gid, branch.state, branch.known
                ));
            }
        }
        Ok(())
    }
}
