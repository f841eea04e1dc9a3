use super::{Alive, KeepAlive, Refusal, Renew, Step, Transition};
use crate::{record::Record, time::Timestamp};

use std::time::Duration;

/// Prolongs claims that still stand. Their timer is left alone: the sweeper, when it comes, finds the
/// new lease.
pub(super) fn renew(
    slot: &mut Option<Record>,
    renew: &Renew,
    now: Timestamp,
    step: &mut Step,
) -> Result<Vec<bool>, Refusal> {
    let record = slot.as_mut().ok_or(Refusal::NotFound)?;
    let until = now + Duration::from_millis(renew.lease_ms);
    let answers = renew.branches.iter().map(|&(ordinal, epoch)| {
        let branch = record.branches.get_mut(ordinal.index());
        let claim = branch.filter(|branch| branch.epoch == epoch).and_then(|branch| branch.claim.as_mut());
        match claim.filter(|claim| claim.token == renew.token && claim.closed.is_none()) {
            Some(claim) => {
                claim.until = claim.until.max(until);
                step.note(Transition::Renewed);
                true
            }
            None => {
                step.note(Transition::RenewedTooLate);
                false
            }
        }
    });
    Ok(answers.collect())
}

/// Prolongs the initiator's lease while nothing is decided (rule 12).
pub(super) fn keep_alive(
    slot: &mut Option<Record>,
    keep: &KeepAlive,
    now: Timestamp,
    step: &mut Step,
) -> Result<Alive, Refusal> {
    let record = slot.as_mut().ok_or(Refusal::NotFound)?;
    if let Some(decision) = &record.decision {
        return Ok(Alive::Decided(decision.direction));
    }
    record.lease_until = record.lease_until.max(now + Duration::from_millis(keep.lease_ms));
    step.note(Transition::KeptAlive);
    Ok(Alive::Undecided)
}
