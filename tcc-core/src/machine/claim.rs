use super::{ClaimWork, Drive, Due, Refusal, Step, Transition, drive, open_claim};
use std::collections::BTreeSet;

use crate::{
    name::Ordinal,
    record::{Branch, Record},
    time::Timestamp,
};

/// Takes the open, due and unleased branches of participants (rule 11).
pub(super) fn claim(
    slot: &mut Option<Record>,
    work: &ClaimWork,
    now: Timestamp,
    step: &mut Step,
) -> Result<Vec<Drive>, Refusal> {
    let record = slot.as_mut().ok_or(Refusal::NotFound)?;
    let decision = record.decision.clone().ok_or(Refusal::NotDecided)?;
    let name = record.name.clone();
    let named = |name: &str| work.participants.iter().any(|participant| participant.as_str() == name);
    let theirs = |branch: &Branch| named(branch.action.participant());
    let held = |branch: &Branch| branch.claim.is_some_and(|claim| claim.token == work.token);
    // A repetition takes no more than the first sending did, and leaves what was rung since.
    let repeated = record.branches.iter().any(|branch| theirs(branch) && held(branch));
    let mut drives = Vec::new();
    let mut left = BTreeSet::new();
    for (index, branch) in record.branches.iter_mut().enumerate() {
        if !branch.is_drivable() || !theirs(branch) {
            continue;
        }
        if work.except.contains(&branch.action) {
            left.insert(branch.action.participant().to_owned());
            continue;
        }
        let leased = branch.leased_until(now).is_some();
        if repeated {
            if !held(branch) || !leased {
                continue;
            }
            step.note(Transition::ClaimedAgain);
        } else {
            if leased || branch.next_attempt_at > now {
                continue;
            }
            open_claim(branch, work.token, work.lease_ms, now);
            step.note(Transition::Claimed);
        }
        let bare = work.own.is_some();
        drives.extend(drive((&name, &decision), Ordinal::from_index(index), branch, bare, now));
    }
    if drives.is_empty() {
        step.note(Transition::ClaimedNothing);
    }
    if !left.is_empty() {
        step.note(Transition::ClaimedAround);
    }
    if !repeated {
        // The message goes on standing for what is paused, so that it is rung in growing intervals.
        for participant in work.participants.iter().filter(|name| !left.contains(name.as_str())) {
            if record.bells.remove(participant).is_some() {
                step.effects.hush.insert(participant.clone());
            }
        }
        // Without its message, a branch that was not taken may be due before the timer says so.
        step.effects.due = record.due_at(now).map_or(Due::Keep, Due::Earlier);
    }
    Ok(drives)
}
