//! Judging a record by itself.

use std::collections::BTreeSet;

use tcc_core::{
    Name, Ordinal, TryOutcome,
    machine::{
        Answer, ClaimWork, Close, CloseDrive, Decide, Drive, Heard, How as RealHow, Op, Renew, Report, Sweep,
        TryReport,
    },
    record::{BranchState, Direction, Known, Reason, Record, Seen, Token, TransactionState},
};

use crate::{
    judge::must,
    part::{DRIVE_LEASE_MS, HIDDEN, Hidden, NOW, Part},
    request::{How, real_how},
    step::{Stepper, latest_timer},
    violation::Violation,
};

/// Looks a record left alone may need to come to its end: its decision, its branches' work, and a message
/// nobody took in between.
const LOOKS_MAX: usize = 8;

pub(crate) fn audit(stepper: &Stepper, part: &Part, deadline_passed: bool) -> Result<(), Violation> {
    for hidden in &HIDDEN {
        let Some(record) = stepper.names.decode(part, hidden, deadline_passed) else { return Ok(()) };
        agrees(part, &record)?;
        disturb(stepper, part, &record, hidden)?;
        contradict(stepper, part, &record)?;
        heal(stepper, part, record)?;
    }
    Ok(())
}

/// What must be true of any record.
fn agrees(part: &Part, record: &Record) -> Result<(), Violation> {
    must(record.expires_at().is_some() == record.state.is_final(), Violation::OpenExpires)?;
    let open = match record.state {
        TransactionState::Trying => true,
        _ => record.branches.iter().any(|branch| branch.is_drivable()),
    };
    must(!open || part.timer, Violation::TimerLate)?;
    let direction = record.decision.as_ref().map(|decision| decision.direction);
    let states_agree = match record.state {
        TransactionState::Trying => direction.is_none(),
        TransactionState::Confirming | TransactionState::Confirmed => direction == Some(Direction::Confirm),
        TransactionState::Cancelling | TransactionState::Cancelled => direction == Some(Direction::Cancel),
    };
    must(states_agree, Violation::StatesDisagree)?;
    let all_final = record.branches.iter().all(|branch| branch.state.is_final());
    must(record.state.is_final() == (direction.is_some() && all_final), Violation::StatesDisagree)?;
    for branch in &record.branches {
        use BranchState::{Cancelled, Cancelling, Confirmed, Confirming, Refused, Tried, Trying};
        let fits = match (branch.state, branch.known) {
            (Trying, known) => direction.is_none() && known.is_none(),
            (Tried, known) => direction.is_none() && known == Some(Seen::Succeeded),
            (Refused, known) => direction.is_none() && known == Some(Seen::Refused),
            (Confirming | Confirmed, known) => {
                direction == Some(Direction::Confirm) && known == Some(Seen::Succeeded)
            }
            (Cancelling | Cancelled, known) => match direction {
                Some(Direction::Confirm) => known == Some(Seen::Refused),
                Some(Direction::Cancel) => true,
                None => false,
            },
        };
        must(fits, Violation::StatesDisagree)?;
        must(branch.parked.is_none() || branch.state.open_direction().is_some(), Violation::StatesDisagree)?;
        let payloads = branch.arguments.is_some()
            && (branch.result.is_some() == (branch.known == Some(Seen::Succeeded)));
        must(branch.state.is_final() || payloads, Violation::DriveMisled)?;
        must(branch.known.is_some() || branch.arguments.is_some(), Violation::DriveMisled)?;
    }
    Ok(())
}

/// Sends what stale workers, strangers and repeats may send, and expects nothing to come of it (rule 11).
fn disturb(stepper: &Stepper, part: &Part, record: &Record, hidden: &Hidden) -> Result<(), Violation> {
    let unmoved = |op: Op, violation: Violation| {
        let mut slot = Some(record.clone());
        let before = latest_timer(part, Some(record));
        let mut timer = before;
        let step = stepper.apply(&mut slot, &mut timer, &op, NOW);
        must(slot.as_ref() == Some(record) && timer == before && step.effects.ring.is_empty(), violation)?;
        Ok(step)
    };
    for (ordinal, branch) in record.branches() {
        let direction = match branch.state {
            BranchState::Confirming | BranchState::Confirmed => Direction::Confirm,
            _ => Direction::Cancel,
        };
        let close = |epoch: u64, direction: Direction, how: RealHow| -> Op {
            Close { drives: vec![CloseDrive { ordinal, epoch, direction, how }] }.into()
        };
        let all = [
            How::Failed,
            How::Ongoing,
            How::Parked,
            How::Released,
            How::HandedOn,
            How::Done(branch.seen()),
            How::Done(Seen::Unknown),
        ];
        for how in all {
            if record.decision.is_none() {
                unmoved(close(branch.epoch, direction, real_how(how, hidden)), Violation::StaleEpochActed)?;
                continue;
            }
            if branch.epoch == 0 {
                continue;
            }
            let done = matches!(how, How::Done(_));
            let wrong = matches!(how, How::Done(seen) if seen != branch.seen());
            if !done || wrong || branch.state.is_final() {
                unmoved(
                    close(branch.epoch - 1, direction, real_how(how, hidden)),
                    Violation::StaleEpochActed,
                )?;
            }
            if branch.claim.is_some_and(|claim| claim.closed.is_some()) {
                let step =
                    unmoved(close(branch.epoch, direction, real_how(how, hidden)), Violation::ClosedTwice)?;
                let first = branch.claim.and_then(|claim| claim.closed);
                let told = match step.result {
                    Ok(Answer::Closed(closes)) => closes.drives[0].clone().ok(),
                    _ => None,
                };
                must(told == first, Violation::ClosedTwice)?;
            } else {
                let other = match direction {
                    Direction::Confirm => Direction::Cancel,
                    Direction::Cancel => Direction::Confirm,
                };
                unmoved(close(branch.epoch, other, real_how(how, hidden)), Violation::DecisionChanged)?;
            }
        }
        let renew = |token: u64, epoch: u64| -> Op {
            Renew { token: Token(token), branches: vec![(ordinal, epoch)], lease_ms: DRIVE_LEASE_MS }.into()
        };
        unmoved(renew(999, branch.epoch), Violation::StaleEpochActed)?;
        if let Some(claim) = branch.claim {
            unmoved(renew(claim.token.0, branch.epoch.wrapping_sub(1)), Violation::StaleEpochActed)?;
            if claim.closed.is_some() {
                unmoved(renew(claim.token.0, branch.epoch), Violation::StaleEpochActed)?;
            }
        }
    }
    Ok(())
}

/// Commits that leave out, add or get wrong a branch, and reports of the opposite outcome (rules 4 and 6c).
/// Honest initiators do not send them.
fn contradict(stepper: &Stepper, part: &Part, record: &Record) -> Result<(), Violation> {
    let outcome = |seen: Seen| match seen {
        Seen::Succeeded => Known::Succeeded(stepper.names.results[0].clone()),
        Seen::Refused | Seen::Unknown => Known::Refused,
    };
    let opposite =
        |seen: Seen| outcome(if seen == Seen::Succeeded { Seen::Refused } else { Seen::Succeeded });
    for (ordinal, branch) in record.branches() {
        let Some(known) = branch.known else { continue };
        let mut slot = Some(record.clone());
        let mut timer = latest_timer(part, Some(record));
        let report = Report { tries: vec![TryReport { ordinal, known: opposite(known) }] };
        stepper.apply(&mut slot, &mut timer, &report.into(), NOW);
        must(slot.as_ref() == Some(record), Violation::LateOutcomeForgotten)?;
    }
    if record.decision.is_some() || record.branches.is_empty() {
        return Ok(());
    }
    let honest: Vec<Heard> = record
        .branches()
        .map(|(ordinal, branch)| Heard {
            ordinal,
            known: Some(outcome(branch.known.unwrap_or(Seen::Succeeded))),
        })
        .collect();
    let mut wrong = vec![honest[1..].to_vec(), honest[..honest.len() - 1].to_vec(), honest.clone()];
    wrong[2].push(Heard { ordinal: Ordinal::from_index(honest.len()), known: Some(Known::Refused) });
    for (place, branch) in record.branches.iter().enumerate() {
        let mut unknown = honest.clone();
        unknown[place].known = None;
        wrong.push(unknown);
        if let Some(known) = branch.known {
            let mut conflict = honest.clone();
            conflict[place].known = Some(opposite(known));
            wrong.push(conflict);
        }
    }
    for heard in wrong {
        let mut slot = Some(record.clone());
        let mut timer = latest_timer(part, Some(record));
        let commit = Decide {
            direction: Direction::Confirm,
            reason: Reason::Committed,
            by: stepper.names.initiator.clone(),
            create: None,
            heard,
            inline: None,
        };
        stepper.apply(&mut slot, &mut timer, &commit.into(), NOW);
        let decision = slot.and_then(|record| record.decision);
        must(decision.is_some_and(|made| made.direction == Direction::Cancel), Violation::ConfirmedUnheard)?;
    }
    Ok(())
}

/// Leaves a record to its timer, its messages and workers that succeed: within a few looks it must be final,
/// or every open branch parked (I9).
fn heal(stepper: &Stepper, part: &Part, record: Record) -> Result<(), Violation> {
    let mut timer = latest_timer(part, Some(&record));
    let mut slot = Some(record);
    let mut now = NOW;
    for look in 0..LOOKS_MAX {
        let Some(record) = &slot else { return Err(Violation::RecordGone) };
        if record.state != TransactionState::Trying
            && !record.branches.iter().any(|branch| branch.is_drivable())
        {
            return Ok(());
        }
        now = now.max(timer.ok_or(Violation::TimerLate)?);
        let sweep = Sweep { by: stepper.names.sweeper.clone() };
        let step = stepper.apply(&mut slot, &mut timer, &sweep.into(), now);
        if let (Some(at), Some(record)) = (timer, &slot) {
            // A timer that does not move on would be looked at for ever.
            must(at > now || record.state.is_final(), Violation::TimerLate)?;
        }
        let mut messages: BTreeSet<Name> = step.effects.ring;
        while let Some(participant) = messages.pop_first() {
            let claim = ClaimWork {
                participants: vec![participant],
                token: Token(1_000 + look as u64),
                lease_ms: DRIVE_LEASE_MS,
                except: Vec::new(),
                own: None,
            };
            let claimed = stepper.apply(&mut slot, &mut timer, &claim.into(), now);
            let Ok(Answer::Claimed(drives)) = claimed.result else { return Err(Violation::Stuck) };
            if drives.is_empty() {
                continue;
            }
            let close = Close { drives: drives.iter().map(finished).collect() };
            let closed = stepper.apply(&mut slot, &mut timer, &close.into(), now);
            messages.extend(closed.effects.ring);
        }
    }
    Err(Violation::Stuck)
}

fn finished(drive: &Drive) -> CloseDrive {
    let seen = match drive.outcome {
        TryOutcome::Succeeded(_) => Seen::Succeeded,
        TryOutcome::Refused => Seen::Refused,
        TryOutcome::Unknown => Seen::Unknown,
    };
    CloseDrive {
        ordinal: drive.ordinal,
        epoch: drive.epoch,
        direction: drive.direction,
        how: RealHow::Done { seen },
    }
}
