use super::{ClaimWork, Drive, Due, Refusal, Step, Transition, drive, open_claim};
use crate::{name::Ordinal, record::Record, time::Timestamp};

use std::time::Duration;

/// Takes a participant's open, due and unleased branches (rule 11).
pub(super) fn claim(
    slot: &mut Option<Record>,
    work: &ClaimWork,
    now: Timestamp,
    step: &mut Step,
) -> Result<Vec<Drive>, Refusal> {
    let record = slot.as_mut().ok_or(Refusal::NotFound)?;
    let decision = record.decision.clone().ok_or(Refusal::NotDecided)?;
    let mut drives = Vec::new();
    for (index, branch) in record.branches.iter_mut().enumerate() {
        if !branch.is_drivable() || branch.action.participant() != work.participant.as_str() {
            continue;
        }
        match branch.claim {
            Some(claim) if claim.token == work.token => {
                if branch.leased_until(now).is_none() {
                    continue;
                }
                step.note(Transition::ClaimedAgain);
            }
            _ => {
                if branch.leased_until(now).is_some() || branch.next_attempt_at > now {
                    continue;
                }
                open_claim(branch, work.token, work.lease_ms, now);
                step.effects.due = Due::Earlier(now + Duration::from_millis(work.lease_ms));
                step.note(Transition::Claimed);
            }
        }
        drives.extend(drive(&decision, Ordinal::from_index(index), branch, now));
    }
    if record.bells.remove(&work.participant).is_some() {
        step.effects.hush.insert(work.participant.clone());
    }
    if drives.is_empty() {
        step.note(Transition::ClaimedNothing);
    }
    Ok(drives)
}
