use super::{Begin, Begun, Create, Due, Refusal, Step, Transition};
use crate::{
    record::{FORMAT, Record, TransactionState},
    time::Timestamp,
};

use std::{collections::BTreeMap, time::Duration};

/// Begins a transaction in a call of its own (rule 15: same key, same answer).
pub(super) fn begin(
    slot: &mut Option<Record>,
    rival: Option<&Record>,
    begin: &Begin,
    now: Timestamp,
    step: &mut Step,
) -> Result<Begun, Refusal> {
    if let Some(record) = slot {
        if record.initiator != begin.create.initiator || record.name != begin.create.name {
            return Err(Refusal::GidTaken);
        }
        step.note(Transition::BegunAgain);
        return Ok(Begun::New);
    }
    if let Some(rival) = rival {
        let free = begin.again_after_cancel && rival.state == TransactionState::Cancelled;
        if !free {
            step.note(Transition::KeyTaken);
            return Ok(Begun::Taken(rival.gid.clone()));
        }
    }
    *slot = Some(create(&begin.create, now, step)?);
    if rival.is_some() {
        step.note(Transition::KeyTakenOver);
    }
    step.effects.take_key = begin.create.key.is_some();
    step.note(Transition::Begun);
    Ok(Begun::New)
}

/// Makes a record, unless its deadline has passed (rule 3).
pub(super) fn create(create: &Create, now: Timestamp, step: &mut Step) -> Result<Record, Refusal> {
    if now >= create.deadline_at {
        return Err(Refusal::TooLateToCreate);
    }
    let lease_until = now + Duration::from_millis(create.lease_ms);
    step.effects.due = Due::Set(lease_until.min(create.deadline_at));
    Ok(Record {
        format: FORMAT,
        gid: create.gid.clone(),
        name: create.name.clone(),
        key: create.key.clone(),
        initiator: create.initiator.clone(),
        state: TransactionState::Trying,
        decision: None,
        begun_at: now,
        deadline_at: create.deadline_at,
        lease_until,
        retention_ms: create.retention_ms,
        ended_at: None,
        branches: Vec::new(),
        bells: BTreeMap::new(),
    })
}
