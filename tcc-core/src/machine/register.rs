use super::{NewBranch, Refusal, Register, Registered, Step, Transition, begin};
use crate::{
    name::{CallId, Ordinal},
    record::{Branch, BranchState, Record},
    time::Timestamp,
    trace_parent::TraceParent,
};

use std::collections::BTreeMap;

/// Records branches before their tries run, all or none (rules 3 and 7).
pub(super) fn register(
    slot: &mut Option<Record>,
    register: &Register,
    now: Timestamp,
    step: &mut Step,
) -> Result<Vec<Registered>, Refusal> {
    let mut created = match (&slot, &register.create) {
        (None, Some(create)) => Some(begin::create(create, now, step)?),
        _ => None,
    };
    let record = created.as_mut().or(slot.as_mut()).ok_or(Refusal::NotFound)?;
    check(record, register, now)?;
    let answers = register
        .branches
        .iter()
        .map(|new| match find(record, new) {
            Some((ordinal, branch)) => {
                let yours = branch.runner == new.runner;
                step.note(if yours { Transition::RegisteredAgain } else { Transition::RegisteredElsewhere });
                Registered { ordinal, yours, outcome: branch.try_outcome() }
            }
            None => {
                step.note(Transition::Registered);
                let ordinal = Ordinal::from_index(record.branches.len());
                let branch = branch(new);
                let outcome = branch.try_outcome();
                record.branches.push(branch);
                Registered { ordinal, yours: true, outcome }
            }
        })
        .collect();
    if let Some(record) = created {
        step.transitions.insert(0, Transition::Created);
        *slot = Some(record);
    }
    Ok(answers)
}

/// Everything that can refuse a registration.
fn check(record: &Record, register: &Register, now: Timestamp) -> Result<(), Refusal> {
    if let Some(decision) = &record.decision {
        return Err(Refusal::AlreadyDecided(decision.direction));
    }
    if now >= record.deadline_at {
        return Err(Refusal::DeadlinePassed);
    }
    let mut added: BTreeMap<&CallId, &NewBranch> = BTreeMap::new();
    let mut bytes = record.payload_bytes();
    for new in &register.branches {
        let known = match find(record, new) {
            Some((_, branch)) => Some((&branch.action, branch.arguments.as_ref())),
            None => added.get(&new.call).map(|twin| (&twin.action, Some(&twin.arguments))),
        };
        match known {
            Some(same) if same == (&new.action, Some(&new.arguments)) => {}
            Some(_) => return Err(Refusal::CallMismatch(new.call.clone())),
            None => {
                added.insert(&new.call, new);
                bytes += new.arguments.len();
            }
        }
    }
    // A repetition adds nothing, so that limits lowered since do not refuse it.
    if added.is_empty() {
        return Ok(());
    }
    if record.branches.len() + added.len() > register.branches_max as usize {
        return Err(Refusal::TooManyBranches { max: register.branches_max });
    }
    if bytes as u64 > register.payload_bytes_max {
        return Err(Refusal::TooManyPayloadBytes { max: register.payload_bytes_max });
    }
    Ok(())
}

fn find<'a>(record: &'a Record, new: &NewBranch) -> Option<(Ordinal, &'a Branch)> {
    record.branches().find(|(_, branch)| branch.call == new.call)
}

fn branch(new: &NewBranch) -> Branch {
    Branch {
        call: new.call.clone(),
        runner: new.runner,
        action: new.action.clone(),
        trace: new.trace.as_ref().map(TraceParent::kept),
        state: BranchState::Trying,
        arguments: Some(new.arguments.clone()),
        known: None,
        result: None,
        attempts: 0,
        epoch: 0,
        claim: None,
        next_attempt_at: Timestamp::default(),
        ongoing_since: None,
        unhandled_since: None,
        parked: None,
        last_error: None,
    }
}
