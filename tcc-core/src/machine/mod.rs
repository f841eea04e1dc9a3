//! The state machine: every rule of the design that a record can enforce, written down once.
//!
//! Pure: no I/O, no clock, no randomness; time is an argument. An operation checks everything before its
//! first write, so that a refusal leaves the record as it was.
//!
//! A store keeps records, serialises the operations on each, and carries out the [`Effects`].

mod begin;
mod claim;
mod close;
mod decide;
mod lease;
mod op;
mod operate;
mod register;
mod report;
mod sweep;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, time::Duration};

pub use op::*;

use crate::{
    name::{Name, Ordinal},
    operator::AuditEntry,
    record::{Bell, Branch, Claim, Decision, Direction, Record, Token, TransactionState},
    time::{Timestamp, millis},
};

/// Before a message is rung a second time.
pub const BELL_BASE: Duration = Duration::from_secs(1);
/// The longest between two rings of a message nobody takes.
pub const BELL_CAP: Duration = Duration::from_secs(60);

/// Applies one operation to the record of one transaction, absent or not, at server time `now`.
///
/// `rival` is the record that holds the operation's business key, if that is another transaction; only
/// [`Op::Begin`] looks at it.
pub fn apply(slot: &mut Option<Record>, rival: Option<&Record>, op: &Op, now: Timestamp) -> Step {
    let mut step = Step::new();
    step.result = match op {
        Op::Begin(begin) => begin::begin(slot, rival, begin, now, &mut step).map(Answer::Begun),
        Op::Register(register) => register::register(slot, register, now, &mut step).map(Answer::Registered),
        Op::Report(report) => report::report(slot, report, now, &mut step).map(Answer::Reported),
        Op::Decide(decide) => decide::decide(slot, decide, now, &mut step).map(Answer::Decided),
        Op::Claim(claim) => claim::claim(slot, claim, now, &mut step).map(Answer::Claimed),
        Op::Renew(renew) => lease::renew(slot, renew, now, &mut step).map(Answer::Renewed),
        Op::KeepAlive(keep) => lease::keep_alive(slot, keep, now, &mut step).map(Answer::Alive),
        Op::Close(close) => close::close(slot, close, now, &mut step).map(Answer::Closed),
        Op::Sweep(sweep) => sweep::sweep(slot, sweep, now, &mut step).map(Answer::Swept),
        Op::Redrive(redrive) => sweep::redrive(slot, redrive, now, &mut step).map(Answer::Redriven),
        Op::Operate(operate) => operate::operate(slot, operate, now, &mut step).map(Answer::Operated),
    };
    if step.result.is_err() && !matches!(op, Op::Sweep(_)) {
        step.effects = Effects::default();
    }
    step
}

/// What an operation did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The answer, or why the operation was refused.
    pub result: Result<Answer, Refusal>,
    /// The transitions that happened, in order.
    pub transitions: Vec<Transition>,
    /// What the store must do beside keeping the record.
    pub effects: Effects,
}

impl Step {
    fn new() -> Self {
        Self { result: Err(Refusal::NotFound), transitions: Vec::new(), effects: Effects::default() }
    }

    fn note(&mut self, transition: Transition) {
        self.transitions.push(transition);
    }
}

/// What a store must do beside keeping the record, in the same atomic step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// What becomes of the transaction's timer.
    pub due: Due,
    /// Participants whose message is put into their queue, in place of one that stands.
    pub ring: BTreeSet<Name>,
    /// Participants whose message is taken out of their queue.
    pub hush: BTreeSet<Name>,
    /// The business key points at this transaction from now on.
    pub take_key: bool,
    /// An operator's change, for the audit.
    pub audit: Option<AuditEntry>,
}

/// What becomes of a transaction's timer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Due {
    /// Nothing.
    #[default]
    Keep,
    /// It is set.
    Set(Timestamp),
    /// It is set if that is earlier than it was, or if there was none.
    Earlier(Timestamp),
    /// It is removed: nobody must look again.
    Remove,
}

/// Rings once a step, however many of the participant's branches are why.
fn ring(record: &mut Record, participant: &Name, now: Timestamp, step: &mut Step) {
    if !step.effects.ring.insert(participant.clone()) {
        return;
    }
    let count = record.bells.get(participant).map_or(0, |bell| bell.count);
    let wait = BELL_BASE.saturating_mul(1 << count.min(16)).min(BELL_CAP);
    record.bells.insert(participant.clone(), Bell { count: count.saturating_add(1), again_at: now + wait });
    step.effects.hush.remove(participant);
    step.note(Transition::Rung);
}

fn participant_of(branch: &Branch) -> Option<Name> {
    Name::new(branch.action.participant()).ok()
}

/// Ends the transaction if every branch is final (rule 11: derived from the branches' states), else keeps
/// its timer true after branches were closed.
fn settle(record: &mut Record, now: Timestamp, step: &mut Step) {
    let Some(decision) = &record.decision else { return };
    if record.branches.iter().all(|branch| branch.state.is_final()) {
        let ended = match decision.direction {
            Direction::Confirm => TransactionState::Confirmed,
            Direction::Cancel => TransactionState::Cancelled,
        };
        if record.state == ended {
            return;
        }
        record.state = ended;
        record.ended_at = Some(now);
        // Nothing of it is waited for any more.
        (record.deadline_at, record.lease_until) = (now, now);
        for branch in &mut record.branches {
            branch.result = None;
            if branch.known.is_some() {
                branch.arguments = None;
            }
        }
        let rung: Vec<Name> = record.bells.keys().cloned().collect();
        record.bells.clear();
        for participant in rung {
            step.effects.ring.remove(&participant);
            step.effects.hush.insert(participant);
        }
        step.effects.due = Due::Remove;
        step.note(Transition::Ended(decision.direction));
    } else if !record.branches.iter().any(Branch::is_drivable) {
        step.effects.due = Due::Remove;
    }
}

/// What a drive needs to know of a branch that was claimed for it; bare, without what its caller has.
fn drive(
    (name, decision): (&Name, &Decision),
    ordinal: Ordinal,
    branch: &Branch,
    bare: bool,
    now: Timestamp,
) -> Option<Drive> {
    let direction = branch.state.open_direction()?;
    let claim = branch.claim?;
    Some(Drive {
        ordinal,
        action: branch.action.clone(),
        direction,
        epoch: branch.epoch,
        attempt: branch.attempts,
        arguments: branch.arguments.clone().filter(|_| !bare),
        name: Some(name.clone()).filter(|_| !bare),
        trace: branch.trace.clone().filter(|_| !bare),
        outcome: branch.try_outcome(),
        ongoing_ms: branch.ongoing_since.map(|since| since.until(now)).map(millis),
        unhandled_ms: branch.unhandled_since.map(|since| since.until(now)).map(millis),
        lease_ms: millis(now.until(claim.until)),
        decided: decision.direction,
        reason: decision.reason,
    })
}

fn open_claim(branch: &mut Branch, token: Token, lease_ms: u64, now: Timestamp) {
    branch.epoch += 1;
    branch.attempts = branch.attempts.saturating_add(1);
    let until = now + Duration::from_millis(lease_ms);
    branch.claim = Some(Claim { token, until, closed: None });
}

/// Starts phase two of a branch afresh: its attempts are counted from none, and it is due at once.
fn due_afresh(branch: &mut Branch, now: Timestamp) {
    branch.attempts = 0;
    branch.next_attempt_at = now;
    branch.ongoing_since = None;
    branch.unhandled_since = None;
    branch.parked = None;
}
