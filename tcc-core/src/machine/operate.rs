use super::{Change, Operate, Operated, Refusal, Step, Transition, decide, settle, sweep};
use crate::{
    name::{Name, Ordinal},
    operator::{AUDIT_BRANCHES_MAX, AuditEntry, Changed},
    record::{BranchState, Decision, Direction, Reason, Record},
    time::Timestamp,
};

/// Makes an operator's change, and has it kept if it changed something.
pub(super) fn operate(
    slot: &mut Option<Record>,
    operate: &Operate,
    now: Timestamp,
    step: &mut Step,
) -> Result<Operated, Refusal> {
    let record = slot.as_mut().ok_or(Refusal::NotFound)?;
    let gid = record.gid.clone();
    let (operated, changed) = match &operate.change {
        Change::Cancel => {
            let (decision, changed) = cancel(record, &operate.by, now, step)?;
            (Operated::Cancelled { decision, changed }, changed.then_some(Changed::Cancelled { gid }))
        }
        Change::Redrive { branches } => {
            if record.decision.is_none() {
                return Err(Refusal::NotDecided);
            }
            let mut branches = sweep::set_going(record, branches, now, step)?;
            let count = branches.len();
            branches.truncate(AUDIT_BRANCHES_MAX);
            (Operated::Redriven(count), Some(Changed::Retried { gid, branches, count }))
        }
        Change::Resolve { branch, direction } => {
            let (branch, direction) = (*branch, *direction);
            let changed = resolve(record, branch, direction, now, step)?;
            let operated = Operated::Resolved { state: record.state, changed };
            (operated, changed.then_some(Changed::Resolved { gid, branch, direction }))
        }
    };
    step.effects.audit = changed.map(|changed| AuditEntry {
        at: now,
        by: operate.by.clone(),
        why: operate.why.clone(),
        changed,
    });
    Ok(operated)
}

/// The decision that stands, and whether it was made now (rule 1).
fn cancel(
    record: &mut Record,
    by: &Name,
    now: Timestamp,
    step: &mut Step,
) -> Result<(Decision, bool), Refusal> {
    if let Some(decision) = &record.decision {
        if decision.direction == Direction::Confirm {
            return Err(Refusal::WouldFlip(Direction::Confirm));
        }
        step.note(Transition::DecidedBefore);
        return Ok((decision.clone(), false));
    }
    let decision =
        Decision { direction: Direction::Cancel, reason: Reason::Operator, by: by.clone(), at: now };
    decide::make(record, decision.clone(), None, now, step);
    Ok((decision, true))
}

/// Whether the branch was ended by it. The claim it may have had stays as it is: whoever holds it finds the
/// branch final when it reports.
fn resolve(
    record: &mut Record,
    ordinal: Ordinal,
    direction: Direction,
    now: Timestamp,
    step: &mut Step,
) -> Result<bool, Refusal> {
    if record.decision.is_none() {
        return Err(Refusal::NotDecided);
    }
    let branch = record.branches.get_mut(ordinal.index()).ok_or(Refusal::NoSuchBranch(ordinal))?;
    let ended = match direction {
        Direction::Confirm => BranchState::Confirmed,
        Direction::Cancel => BranchState::Cancelled,
    };
    if branch.state == ended {
        step.note(Transition::ResolvedAgain);
        return Ok(false);
    }
    if branch.state.open_direction() != Some(direction) {
        return Err(Refusal::WrongDirection(ordinal));
    }
    if branch.leased_until(now).is_some() {
        return Err(Refusal::BranchLeased(ordinal));
    }
    branch.state = ended;
    branch.parked = None;
    branch.ongoing_since = None;
    branch.unhandled_since = None;
    step.note(Transition::Resolved(direction));
    settle(record, now, step);
    Ok(true)
}
