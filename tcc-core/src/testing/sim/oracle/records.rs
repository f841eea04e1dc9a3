//! What one operation may do to a record, said a second time and otherwise than the state machine says it.

use std::collections::BTreeSet;

use super::Step;
use crate::{
    gid::Gid,
    machine::{Answer, How, Op, Refusal},
    record::{Branch, BranchState, Closed, Direction, Record, Seen, TransactionState},
    store::Doorbell,
    time::Timestamp,
};

pub(super) fn check(step: &Step<'_>, rung: &BTreeSet<Doorbell>) -> Result<(), String> {
    let gid = step.gid;
    answered(step)?;
    let Some(after) = step.after else { return Ok(()) };
    whole(gid, after)?;
    scheduled(gid, after, step.timers.get(gid).copied(), step.applied.now)?;
    match step.before {
        Some(before) => {
            one_way(gid, before, after)?;
            for (index, old) in before.branches.iter().enumerate() {
                let new = &after.branches[index];
                branch_one_way(old, new).map_err(|why| format!("{gid}, branch {}: {why}", index + 1))?;
                leased(old, new, step.applied.now)
                    .map_err(|why| format!("{gid}, branch {}: {why}", index + 1))?;
            }
            current_epochs(step, before, after)?;
        }
        None if after.begun_at >= after.deadline_at && after.ended_at != Some(after.begun_at) => {
            return Err(format!("{gid} was begun after its deadline (rule 3)"));
        }
        None => {}
    }
    if step.before.is_none_or(|before| before.decision.is_none()) {
        led_to_work(gid, after, step.applied.now, rung)?;
    }
    Ok(())
}

/// Whoever hears of a decision hears of one that is written down (rule 2).
fn answered(step: &Step<'_>) -> Result<(), String> {
    let gid = step.gid;
    match &step.applied.result {
        Ok(Answer::Decided(decided)) => {
            let written = step.after.and_then(|record| record.decision.as_ref());
            if written != Some(&decided.decision) {
                return Err(format!(
                    "{gid}: {} was answered and {written:?} is written",
                    decided.decision.direction
                ));
            }
        }
        Ok(Answer::Begun(crate::machine::Begun::New) | Answer::Registered(_)) if step.after.is_none() => {
            return Err(format!("{gid}: a begin was answered and nothing is written (I8)"));
        }
        Err(Refusal::NotFound) if cancels_in_time(step) => {
            return Err(format!("{gid}: cancel came before its record and left no tombstone (rule 3)"));
        }
        Err(refusal) if step.before != step.after => {
            return Err(format!("{gid} was changed by an operation that was refused: {refusal}"));
        }
        _ => {}
    }
    Ok(())
}

/// A cancel that may still write a tombstone.
fn cancels_in_time(step: &Step<'_>) -> bool {
    let Op::Decide(decide) = step.op else { return false };
    let in_time = decide.create.as_ref().is_some_and(|create| step.applied.now < create.deadline_at);
    in_time && decide.direction == Direction::Cancel
}

/// The parts of a record agree.
fn whole(gid: &Gid, record: &Record) -> Result<(), String> {
    let direction = record.decision.as_ref().map(|decision| decision.direction);
    let expected = match record.state {
        TransactionState::Trying => None,
        TransactionState::Confirming | TransactionState::Confirmed => Some(Direction::Confirm),
        TransactionState::Cancelling | TransactionState::Cancelled => Some(Direction::Cancel),
    };
    if direction != expected {
        return Err(format!("{gid} is {} and its decision is {direction:?}", record.state));
    }
    if record.ended_at.is_some() != record.state.is_final() {
        return Err(format!("{gid} is {} and expires at {:?} (I10)", record.state, record.expires_at()));
    }
    let all_final = record.branches.iter().all(|branch| final_state(branch.state));
    if direction.is_some() && record.state.is_final() != all_final {
        return Err(format!("{gid} is {}, whatever its branches' states (I5)", record.state));
    }
    for (ordinal, branch) in record.branches() {
        let confirms = matches!(branch.state, BranchState::Confirming | BranchState::Confirmed);
        let cancels = matches!(branch.state, BranchState::Cancelling | BranchState::Cancelled);
        if confirms && direction != Some(Direction::Confirm) {
            return Err(format!("{gid}/{ordinal} is {} without that decision", branch.state));
        }
        if confirms && branch.known != Some(Seen::Succeeded) {
            return Err(format!(
                "{gid}/{ordinal} is {} and its try is {:?} (I3)",
                branch.state, branch.known
            ));
        }
        if cancels && direction == Some(Direction::Confirm) && branch.known != Some(Seen::Refused) {
            return Err(format!(
                "{gid}/{ordinal} is {} beside branches that are confirmed (I1)",
                branch.state
            ));
        }
        if direction.is_some() != (confirms || cancels) {
            return Err(format!("{gid} is {} and branch {ordinal} is {}", record.state, branch.state));
        }
    }
    Ok(())
}

/// An open transaction has a timer that is not too late, unless all its open branches are parked (I10).
fn scheduled(gid: &Gid, record: &Record, timer: Option<Timestamp>, now: Timestamp) -> Result<(), String> {
    let latest = match record.state {
        TransactionState::Trying => Some(record.deadline_at.min(record.lease_until)),
        _ => {
            record.branches.iter().filter(|branch| open(branch)).map(|branch| due(record, branch, now)).min()
        }
    };
    match (latest, timer) {
        (Some(_), None) => Err(format!("{gid} is {} and has no timer (I10)", record.state)),
        (Some(latest), Some(timer)) if timer > latest.max(now) => {
            Err(format!("{gid} is due at {latest} and its timer is at {timer}"))
        }
        (None, Some(_)) if record.state.is_final() => {
            Err(format!("{gid} is {} and has a timer", record.state))
        }
        _ => Ok(()),
    }
}

fn due(record: &Record, branch: &Branch, now: Timestamp) -> Timestamp {
    let leased = branch.claim.filter(|claim| claim.closed.is_none() && claim.until > now);
    let free = leased.map_or(branch.next_attempt_at, |claim| claim.until);
    let bell = record.bells.iter().find(|(name, _)| name.as_str() == branch.action.participant());
    // While a message stands there is nobody to tell.
    bell.map_or(free, |(_, bell)| bell.again_at.max(free))
}

fn open(branch: &Branch) -> bool {
    !final_state(branch.state) && branch.parked.is_none()
}

fn final_state(state: BranchState) -> bool {
    state == BranchState::Confirmed || state == BranchState::Cancelled
}

/// A decision leads to the work in the same step: each participant is rung, or its branches are leased to
/// the process that decided (rule 7).
fn led_to_work(gid: &Gid, after: &Record, now: Timestamp, rung: &BTreeSet<Doorbell>) -> Result<(), String> {
    if after.decision.is_none() {
        return Ok(());
    }
    for (ordinal, branch) in after.branches() {
        if !open(branch) || branch.claim.is_some_and(|claim| claim.until > now) {
            continue;
        }
        let stands = rung
            .iter()
            .any(|bell| bell.gid == *gid && bell.participant.as_str() == branch.action.participant());
        if !stands {
            return Err(format!("{gid} is decided and nobody is told of branch {ordinal} (rule 7)"));
        }
    }
    Ok(())
}

/// What can never change (I2, I7).
fn one_way(gid: &Gid, before: &Record, after: &Record) -> Result<(), String> {
    if before.decision.is_some() && after.decision != before.decision {
        return Err(format!(
            "{gid}: the decision changed from {:?} to {:?} (I2)",
            before.decision, after.decision
        ));
    }
    if after.branches.len() < before.branches.len() {
        return Err(format!("{gid} lost a branch"));
    }
    if before.decision.is_some() && after.branches.len() > before.branches.len() {
        return Err(format!("{gid}: a branch was registered after the decision (I7)"));
    }
    if before.decision.is_none()
        && let Some(decision) = &after.decision
        && decision.direction == Direction::Confirm
        && decision.at >= before.deadline_at
    {
        return Err(format!("{gid} was committed after its deadline (rule 1)"));
    }
    let same = (&before.name, &before.key, &before.initiator, before.retention_ms)
        == (&after.name, &after.key, &after.initiator, after.retention_ms);
    // What has ended waits for nothing, and its deadline is its end.
    let ended_at = after.ended_at.filter(|_| after.ended_at != before.ended_at);
    if !same || after.deadline_at != ended_at.unwrap_or(before.deadline_at) {
        return Err(format!("{gid}: what it was begun with changed"));
    }
    Ok(())
}

fn branch_one_way(old: &Branch, new: &Branch) -> Result<(), String> {
    let registered =
        |branch: &Branch| (branch.call.clone(), branch.action.clone(), branch.runner, branch.trace.clone());
    if registered(old) != registered(new) {
        return Err("what it was registered with changed".into());
    }
    if old.known.is_some() && new.known != old.known {
        return Err(format!("its try was {:?} and is {:?}", old.known, new.known));
    }
    let learned = old.known.is_none() && new.known.is_some();
    let allowed = old.state == new.state
        || matches!(
            (old.state, new.state),
            (
                BranchState::Trying,
                BranchState::Tried | BranchState::Refused | BranchState::Confirming | BranchState::Cancelling
            ) | (BranchState::Tried, BranchState::Confirming | BranchState::Cancelling)
                | (BranchState::Refused, BranchState::Cancelling)
                | (BranchState::Confirming, BranchState::Confirmed)
                | (BranchState::Cancelling, BranchState::Cancelled)
        )
        // Rule 6c, and only it, leads back.
        || (old.state == BranchState::Cancelled && new.state == BranchState::Cancelling && learned);
    if !allowed {
        return Err(format!("it went from {} to {}", old.state, new.state));
    }
    if old.state == BranchState::Cancelled && learned && new.state == BranchState::Cancelled {
        return Err("a late outcome did not reopen it (rule 6c)".into());
    }
    // Counted when claimed, or a handler that kills its process would be driven for ever (rule 10).
    if new.epoch > old.epoch && new.attempts != old.attempts + 1 {
        return Err(format!(
            "it was claimed and its attempts went from {} to {}",
            old.attempts, new.attempts
        ));
    }
    if new.epoch < old.epoch {
        return Err(format!("its epoch went back from {} to {}", old.epoch, new.epoch));
    }
    Ok(())
}

/// A lease that stands is nobody else's (rule 11).
fn leased(old: &Branch, new: &Branch, now: Timestamp) -> Result<(), String> {
    let Some(claim) = old.claim.filter(|claim| claim.closed.is_none() && claim.until > now) else {
        return Ok(());
    };
    match new.claim {
        Some(other) if other.token == claim.token => Ok(()),
        // It ended the branch, and belongs to nobody now.
        Some(other) if other.closed == Some(Closed::Final) && new.epoch == old.epoch => Ok(()),
        _ => Err(format!("its lease until {} was taken from its holder", claim.until)),
    }
}

/// Failing, rescheduling and parking are the newest claim's alone (rule 11).
fn current_epochs(step: &Step<'_>, before: &Record, after: &Record) -> Result<(), String> {
    let Op::Close(close) = step.op else { return Ok(()) };
    for drive in &close.drives {
        let index = drive.ordinal.index();
        let (Some(old), Some(new)) = (before.branches.get(index), after.branches.get(index)) else {
            continue;
        };
        if drive.epoch == old.epoch || matches!(drive.how, How::Done { .. }) {
            continue;
        }
        let newest =
            close.drives.iter().any(|other| other.ordinal == drive.ordinal && other.epoch == old.epoch);
        let touched = (old.parked, old.next_attempt_at, old.attempts)
            != (new.parked, new.next_attempt_at, new.attempts);
        if touched && !newest {
            return Err(format!(
                "{}/{}: epoch {} touched it in epoch {}",
                step.gid, drive.ordinal, drive.epoch, old.epoch
            ));
        }
    }
    Ok(())
}
