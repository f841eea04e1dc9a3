//! Faults on purpose, the same in every run: they follow from the order's id.

/// Where a phase two handler fails on its first attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Before it did anything.
    Before,
    /// After its local transaction committed, as when the answer is lost: the next attempt must not act again.
    After,
}

#[derive(Debug, thiserror::Error)]
#[error("{participant} could not be reached (a fault on purpose)")]
pub(crate) struct Unreachable {
    participant: &'static str,
}

/// The fault that this attempt meets, if any.
pub(crate) fn planned(participant: &'static str, order: &str, attempt: u32) -> Option<Fault> {
    if attempt > 1 {
        return None;
    }
    match fnv1a(participant, order) % 24 {
        0 | 1 => Some(Fault::Before),
        2 => Some(Fault::After),
        _ => None,
    }
}

/// Fails here if the plan says so.
pub(crate) fn fail_if(
    planned: Option<Fault>,
    here: Fault,
    participant: &'static str,
) -> Result<(), Unreachable> {
    if planned == Some(here) { Err(Unreachable { participant }) } else { Ok(()) }
}

fn fnv1a(participant: &str, order: &str) -> u64 {
    participant.bytes().chain([0]).chain(order.bytes()).fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
