use super::{
    Close, CloseDrive, Closes, Due, How, Refusal, Step, Transition, due_afresh, participant_of, ring, settle,
};
use crate::{
    record::{Branch, BranchState, Closed, Direction, Parked, Record, Token, cut_error},
    time::Timestamp,
};

use std::time::Duration;

/// Closes epochs, each once (rule 11), every branch on its own (rule 9).
pub(super) fn close(
    slot: &mut Option<Record>,
    close: &Close,
    now: Timestamp,
    step: &mut Step,
) -> Result<Closes, Refusal> {
    let record = slot.as_mut().ok_or(Refusal::NotFound)?;
    if record.decision.is_none() {
        return Err(Refusal::NotDecided);
    }
    let drives = close.drives.iter().map(|drive| close_one(record, drive, now, step)).collect();
    settle(record, now, step);
    Ok(Closes { state: record.state, drives })
}

fn close_one(
    record: &mut Record,
    drive: &CloseDrive,
    now: Timestamp,
    step: &mut Step,
) -> Result<Closed, Refusal> {
    let ordinal = drive.ordinal;
    let branch = record.branches.get_mut(ordinal.index()).ok_or(Refusal::NoSuchBranch(ordinal))?;
    let claim = branch.claim.filter(|_| branch.epoch == drive.epoch);
    let current = claim.is_some();
    if let Some(closed) = claim.and_then(|claim| claim.closed) {
        step.note(Transition::ClosedAgain);
        return Ok(closed);
    }
    let driven = match branch.state {
        BranchState::Confirming | BranchState::Confirmed => Direction::Confirm,
        _ => Direction::Cancel,
    };
    if driven != drive.direction {
        return Err(Refusal::WrongDirection(ordinal));
    }
    if branch.state.is_final() && (current || matches!(drive.how, How::Done { .. })) {
        if current {
            close_claim(branch, Closed::Final);
        }
        step.note(Transition::CompletedAgain);
        return Ok(Closed::Final);
    }
    if let How::Done { seen } = drive.how {
        // The effect did happen, whoever holds the claim by now.
        if branch.seen() == seen {
            branch.state = match driven {
                Direction::Confirm => BranchState::Confirmed,
                Direction::Cancel => BranchState::Cancelled,
            };
            branch.parked = None;
            branch.ongoing_since = None;
            branch.unhandled_since = None;
            // A newer claim is its holder's to close: its handler may still run, and if a late outcome
            // reopens the branch, nobody else may (I4).
            if current {
                close_claim(branch, Closed::Final);
            }
            step.note(if current {
                Transition::Completed(driven)
            } else {
                Transition::CompletedLate(driven)
            });
            return Ok(Closed::Final);
        }
        step.note(Transition::CompletedUnaware);
        if current {
            due_afresh(branch, now);
            close_claim(branch, Closed::DriveAgain);
            step.effects.due = Due::Earlier(now);
            if let Some(participant) = participant_of(branch) {
                ring(record, &participant, now, step);
            }
        }
        return Ok(Closed::DriveAgain);
    }

    if !current {
        return Err(Refusal::StaleEpoch(ordinal));
    }
    let closed = match &drive.how {
        How::Park { cause, error } => {
            branch.parked = Some(Parked { cause: *cause, at: now });
            branch.last_error = Some(cut_error(error.clone()));
            step.note(Transition::Parked(*cause));
            Closed::Parked
        }
        How::Failed { after_ms, error } => {
            branch.last_error = Some(cut_error(error.clone()));
            branch.ongoing_since = None;
            branch.unhandled_since = None;
            step.note(Transition::Failed);
            Closed::Rescheduled(now + Duration::from_millis(*after_ms))
        }
        How::Ongoing { after_ms } => {
            branch.attempts = branch.attempts.saturating_sub(1);
            branch.ongoing_since = branch.ongoing_since.or(Some(now));
            branch.unhandled_since = None;
            step.note(Transition::Ongoing);
            Closed::Rescheduled(now + Duration::from_millis(*after_ms))
        }
        How::Release { after_ms, unhandled } => {
            branch.attempts = branch.attempts.saturating_sub(1);
            if *unhandled {
                branch.unhandled_since = branch.unhandled_since.or(Some(now));
            }
            step.note(if *unhandled { Transition::HandedOn } else { Transition::Released });
            Closed::Rescheduled(now + Duration::from_millis(*after_ms))
        }
        How::Done { .. } => Closed::Final,
    };
    if let Closed::Rescheduled(at) = closed {
        branch.next_attempt_at = at;
        step.effects.due = match step.effects.due {
            Due::Earlier(earlier) => Due::Earlier(earlier.min(at)),
            _ => Due::Earlier(at),
        };
    }
    close_claim(branch, closed);
    Ok(closed)
}

fn close_claim(branch: &mut Branch, closed: Closed) {
    if let Some(claim) = &mut branch.claim {
        claim.closed = Some(closed);
        claim.until = Timestamp::default();
        if closed == Closed::Final {
            claim.token = Token::NOBODY;
        }
    }
}
