use super::{Decide, Decided, Drive, Due, InlineClaim, Refusal, Reported, Step, Transition};
use super::{begin, drive, open_claim, participant_of, report, ring, settle};
use crate::{
    name::{Name, Ordinal},
    record::{BranchState, Decision, Direction, Reason, Record, TransactionState},
    time::Timestamp,
};

use std::collections::BTreeSet;

/// Decides, once (rules 1, 4, 6c and 7).
pub(super) fn decide(
    slot: &mut Option<Record>,
    decide: &Decide,
    now: Timestamp,
    step: &mut Step,
) -> Result<Decided, Refusal> {
    let mut tombstone = match (&slot, &decide.create, decide.direction) {
        (None, Some(create), Direction::Cancel) => Some(begin::create(create, now, step)?),
        _ => None,
    };
    let record = tombstone.as_mut().or(slot.as_mut()).ok_or(Refusal::NotFound)?;

    let undecided = record.decision.is_none();
    let mut lost = Vec::new();
    let mut conflict = false;
    for heard in &decide.heard {
        match &heard.known {
            Some(known) => match report::learn(record, heard.ordinal, known, now, step) {
                Reported::Lost => lost.push(heard.ordinal),
                Reported::Conflict => conflict = true,
                Reported::Recorded | Reported::Late | Reported::Again => {}
            },
            None if record.branch(heard.ordinal).is_none() => lost.push(heard.ordinal),
            None => {}
        }
    }

    if undecided {
        let objection = match decide.direction {
            Direction::Cancel => None,
            Direction::Confirm => objection(record, decide, conflict, !lost.is_empty(), now),
        };
        let (direction, reason) = match objection {
            Some(reason) => (Direction::Cancel, reason),
            None => (decide.direction, decide.reason),
        };
        let decision = Decision { direction, reason, by: decide.by.clone(), at: now };
        make(record, decision, decide.inline.as_ref(), now, step);
    } else {
        step.note(Transition::DecidedBefore);
    }

    let decision = record.decision.clone().ok_or(Refusal::NotDecided)?;
    let drives =
        decide.inline.as_ref().map_or_else(Vec::new, |inline| drives(record, &decision, inline, now));
    let decided = Decided { decision, state: record.state, drives, lost };
    if let Some(record) = tombstone {
        step.note(Transition::Tombstone);
        *slot = Some(record);
    }
    Ok(decided)
}

/// Why a commit must cancel instead (rules 1 and 4).
fn objection(record: &Record, decide: &Decide, conflict: bool, lost: bool, now: Timestamp) -> Option<Reason> {
    if now >= record.deadline_at {
        return Some(Reason::DeadlinePassed);
    }
    if conflict {
        return Some(Reason::OutcomeConflict);
    }
    if lost {
        return Some(Reason::LostBranch);
    }
    let named: BTreeSet<Ordinal> = decide.heard.iter().map(|heard| heard.ordinal).collect();
    if record.branches().any(|(ordinal, _)| !named.contains(&ordinal)) {
        return Some(Reason::UnnamedBranch);
    }
    decide.heard.iter().any(|heard| heard.known.is_none()).then_some(Reason::UnknownOutcome)
}

/// Writes the decision together with what leads a worker to the work (rule 7).
pub(super) fn make(
    record: &mut Record,
    decision: Decision,
    inline: Option<&InlineClaim>,
    now: Timestamp,
    step: &mut Step,
) {
    let (direction, reason) = (decision.direction, decision.reason);
    record.decision = Some(decision);
    record.state = match direction {
        Direction::Confirm => TransactionState::Confirming,
        Direction::Cancel => TransactionState::Cancelling,
    };
    step.note(Transition::Decided(direction, reason));
    let mut others: BTreeSet<Name> = BTreeSet::new();
    for (index, branch) in record.branches.iter_mut().enumerate() {
        // A branch whose try was refused is cancelled, whatever becomes of the rest (rule 4).
        branch.state = match (direction, branch.state) {
            (Direction::Confirm, BranchState::Tried) => BranchState::Confirming,
            _ => BranchState::Cancelling,
        };
        branch.next_attempt_at = now;
        match inline.filter(|inline| inline.branches.contains(&Ordinal::from_index(index))) {
            Some(inline) => {
                open_claim(branch, inline.token, inline.lease_ms, now);
                step.note(Transition::ClaimedInline);
            }
            None => others.extend(participant_of(branch)),
        }
    }
    for participant in others {
        ring(record, &participant, now, step);
    }
    step.effects.due = record.due_at(now).map_or(Due::Remove, Due::Earlier);
    settle(record, now, step);
}

fn drives(record: &Record, decision: &Decision, inline: &InlineClaim, now: Timestamp) -> Vec<Drive> {
    record
        .branches()
        .filter(|(_, branch)| branch.claim.is_some_and(|claim| claim.token == inline.token))
        .filter(|(_, branch)| branch.leased_until(now).is_some())
        .filter_map(|(ordinal, branch)| {
            drive((&record.name, decision), ordinal, branch, !inline.actions.is_empty(), now)
        })
        .collect()
}
