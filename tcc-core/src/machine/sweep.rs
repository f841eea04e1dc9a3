use super::{
    Due, Redrive, Refusal, Step, Sweep, Swept, Transition, decide, due_afresh, participant_of, ring,
};
use crate::{
    name::{Name, Ordinal},
    record::{Decision, Direction, Reason, Record, TransactionState},
    time::Timestamp,
};

use std::collections::BTreeSet;

/// Does what a transaction's timer stands for, and sets the timer anew.
pub(super) fn sweep(
    slot: &mut Option<Record>,
    sweep: &Sweep,
    now: Timestamp,
    step: &mut Step,
) -> Result<Swept, Refusal> {
    let Some(record) = slot.as_mut() else {
        step.effects.due = Due::Remove;
        return Err(Refusal::NotFound);
    };
    let mut swept = Swept { decided: None, rung: 0, next: None };
    if record.state == TransactionState::Trying {
        let overdue = if now >= record.deadline_at {
            Some(Reason::DeadlinePassed)
        } else {
            (now >= record.lease_until).then_some(Reason::InitiatorLost)
        };
        match overdue {
            Some(reason) => {
                let decision =
                    Decision { direction: Direction::Cancel, reason, by: sweep.by.clone(), at: now };
                decide::make(record, decision, None, now, step);
                swept.decided = Some(reason);
                swept.rung = step.effects.ring.len();
            }
            None => step.note(Transition::SweptEarly),
        }
    } else {
        let due: BTreeSet<Name> = record
            .branches
            .iter()
            .filter(|branch| branch.is_drivable())
            .filter(|branch| branch.leased_until(now).is_none() && branch.next_attempt_at <= now)
            .filter_map(participant_of)
            .filter(|participant| record.bells.get(participant).is_none_or(|bell| bell.again_at <= now))
            .collect();
        swept.rung = due.len();
        for participant in due {
            ring(record, &participant, now, step);
        }
        if swept.rung == 0 {
            let idle = record.due_at(now).is_none();
            step.note(if idle { Transition::SweptIdle } else { Transition::SweptEarly });
        }
    }
    swept.next = record.due_at(now);
    step.effects.due = swept.next.map_or(Due::Remove, Due::Set);
    Ok(swept)
}

/// Sets parked branches going again. Their direction is the decision's, as it was.
pub(super) fn redrive(
    slot: &mut Option<Record>,
    redrive: &Redrive,
    now: Timestamp,
    step: &mut Step,
) -> Result<usize, Refusal> {
    let record = slot.as_mut().ok_or(Refusal::NotFound)?;
    set_going(record, &redrive.branches, now, step).map(|going| going.len())
}

/// Sets parked branches going again: those that are asked for, or all. Gives which.
pub(super) fn set_going(
    record: &mut Record,
    asked: &[Ordinal],
    now: Timestamp,
    step: &mut Step,
) -> Result<Vec<Ordinal>, Refusal> {
    if let Some(&missing) = asked.iter().find(|ordinal| record.branch(**ordinal).is_none()) {
        return Err(Refusal::NoSuchBranch(missing));
    }
    let mut participants = BTreeSet::new();
    let mut going = Vec::new();
    for (index, branch) in record.branches.iter_mut().enumerate() {
        let ordinal = Ordinal::from_index(index);
        if branch.parked.is_none() || !asked.is_empty() && !asked.contains(&ordinal) {
            continue;
        }
        due_afresh(branch, now);
        participants.extend(participant_of(branch));
        going.push(ordinal);
        step.note(Transition::Redriven);
    }
    if going.is_empty() {
        return Err(Refusal::NotParked);
    }
    for participant in participants {
        ring(record, &participant, now, step);
    }
    step.effects.due = Due::Earlier(now);
    Ok(going)
}
