//! Tests of the state machine: a file an operation, the invariants beside them, and random sequences.

mod begin;
mod claim;
mod close;
mod commit;
mod coverage;
mod decide;
mod ending;
mod invariants;
mod late;
mod lease;
mod operate;
mod park;
mod random;
mod register;
mod report;
mod scene;
mod sweep;
mod timer;

use crate::{outcome::TryOutcome, payload::Payload, record::Seen};

fn seen(outcome: &TryOutcome<Payload>) -> Seen {
    match outcome {
        TryOutcome::Succeeded(_) => Seen::Succeeded,
        TryOutcome::Refused => Seen::Refused,
        TryOutcome::Unknown => Seen::Unknown,
    }
}
