use super::{Due, Refusal, Report, Reported, Step, Transition, due_afresh, participant_of, ring};
use crate::{
    name::Ordinal,
    record::{BranchState, Known, Record, Seen, TransactionState},
    time::Timestamp,
};

/// Records what tries came to, whenever it becomes known (rule 6c).
pub(super) fn report(
    slot: &mut Option<Record>,
    report: &Report,
    now: Timestamp,
    step: &mut Step,
) -> Result<Vec<Reported>, Refusal> {
    let record = slot.as_mut().ok_or(Refusal::NotFound)?;
    Ok(report.tries.iter().map(|one| learn(record, one.ordinal, &one.known, now, step)).collect())
}

/// Lets the record learn what a try came to. The first word of it stands.
pub(super) fn learn(
    record: &mut Record,
    ordinal: Ordinal,
    known: &Known,
    now: Timestamp,
    step: &mut Step,
) -> Reported {
    let Some(branch) = record.branches.get_mut(ordinal.index()) else {
        step.note(Transition::ReportLost);
        return Reported::Lost;
    };
    let (seen, result) = match known {
        Known::Succeeded(result) => (Seen::Succeeded, Some(result.clone())),
        Known::Refused => (Seen::Refused, None),
    };
    match branch.known {
        Some(before) if before == seen => {
            step.note(Transition::ReportedAgain);
            return Reported::Again;
        }
        Some(_) => {
            step.note(Transition::ReportConflict);
            return Reported::Conflict;
        }
        None => {}
    }
    branch.known = Some(seen);
    branch.result = result;
    match branch.state {
        BranchState::Trying => {
            branch.state = if seen == Seen::Succeeded { BranchState::Tried } else { BranchState::Refused };
            step.note(Transition::Reported);
            Reported::Recorded
        }
        BranchState::Cancelled => {
            branch.state = BranchState::Cancelling;
            due_afresh(branch, now);
            let participant = participant_of(branch);
            if record.state.is_final() {
                record.state = TransactionState::Cancelling;
                record.ended_at = None;
            }
            step.effects.due = Due::Earlier(now);
            step.note(Transition::Reopened);
            if let Some(participant) = participant {
                ring(record, &participant, now, step);
            }
            Reported::Late
        }
        _ => {
            step.note(Transition::ReportedLate);
            Reported::Late
        }
    }
}
