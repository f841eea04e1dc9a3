//! Every transition and refusal of the state machine, so that a test can tell which it never reached.

use std::collections::BTreeSet;

use crate::{
    machine::{Refusal, Transition},
    record::{Direction, ParkCause, Reason},
};

/// Lists values and matches on their patterns without a wildcard: a variant that is added and not listed
/// does not compile.
macro_rules! every {
    ($type:ty: $($value:expr => $pattern:pat),* $(,)?) => {{
        let _exhaustive = |value: $type| match value { $($pattern => (),)* };
        [$($value),*]
    }};
}

/// Every direction.
#[must_use]
pub fn directions() -> [Direction; 2] {
    every!(Direction:
        Direction::Confirm => Direction::Confirm,
        Direction::Cancel => Direction::Cancel,
    )
}

/// Every cause a branch is parked for.
#[must_use]
pub fn park_causes() -> [ParkCause; 5] {
    every!(ParkCause:
        ParkCause::AttemptsExhausted => ParkCause::AttemptsExhausted,
        ParkCause::OngoingTooLong => ParkCause::OngoingTooLong,
        ParkCause::Handler => ParkCause::Handler,
        ParkCause::Undecodable => ParkCause::Undecodable,
        ParkCause::UnknownAction => ParkCause::UnknownAction,
    )
}

/// Every reason of a decision.
#[must_use]
pub fn reasons() -> [Reason; 12] {
    every!(Reason:
        Reason::Committed => Reason::Committed,
        Reason::Aborted => Reason::Aborted,
        Reason::Panicked => Reason::Panicked,
        Reason::Dropped => Reason::Dropped,
        Reason::DeadlinePassed => Reason::DeadlinePassed,
        Reason::InitiatorLost => Reason::InitiatorLost,
        Reason::Operator => Reason::Operator,
        Reason::UnnamedBranch => Reason::UnnamedBranch,
        Reason::UnknownOutcome => Reason::UnknownOutcome,
        Reason::OutcomeConflict => Reason::OutcomeConflict,
        Reason::LostBranch => Reason::LostBranch,
        Reason::PendingCall => Reason::PendingCall,
    )
}

/// Every transition. Confirm is decided for one reason only, cancel for each of the others.
#[must_use]
pub fn transitions() -> BTreeSet<Transition> {
    use Transition as T;
    let plain = every!(Transition:
        T::Begun => T::Begun,
        T::BegunAgain => T::BegunAgain,
        T::KeyTaken => T::KeyTaken,
        T::KeyTakenOver => T::KeyTakenOver,
        T::Created => T::Created,
        T::Registered => T::Registered,
        T::RegisteredAgain => T::RegisteredAgain,
        T::RegisteredElsewhere => T::RegisteredElsewhere,
        T::Reported => T::Reported,
        T::ReportedLate => T::ReportedLate,
        T::Reopened => T::Reopened,
        T::ReportedAgain => T::ReportedAgain,
        T::ReportConflict => T::ReportConflict,
        T::ReportLost => T::ReportLost,
        T::Decided(Direction::Confirm, Reason::Committed) => T::Decided(..),
        T::DecidedBefore => T::DecidedBefore,
        T::Tombstone => T::Tombstone,
        T::ClaimedInline => T::ClaimedInline,
        T::Claimed => T::Claimed,
        T::ClaimedAgain => T::ClaimedAgain,
        T::ClaimedAround => T::ClaimedAround,
        T::ClaimedNothing => T::ClaimedNothing,
        T::Renewed => T::Renewed,
        T::RenewedTooLate => T::RenewedTooLate,
        T::KeptAlive => T::KeptAlive,
        T::Completed(Direction::Confirm) => T::Completed(_),
        T::CompletedLate(Direction::Confirm) => T::CompletedLate(_),
        T::CompletedUnaware => T::CompletedUnaware,
        T::CompletedAgain => T::CompletedAgain,
        T::Failed => T::Failed,
        T::Ongoing => T::Ongoing,
        T::Released => T::Released,
        T::HandedOn => T::HandedOn,
        T::Parked(ParkCause::Handler) => T::Parked(_),
        T::ClosedAgain => T::ClosedAgain,
        T::Rung => T::Rung,
        T::Ended(Direction::Confirm) => T::Ended(_),
        T::SweptEarly => T::SweptEarly,
        T::SweptIdle => T::SweptIdle,
        T::Redriven => T::Redriven,
        T::Resolved(Direction::Confirm) => T::Resolved(_),
        T::ResolvedAgain => T::ResolvedAgain,
    );
    let cancelled = reasons().into_iter().filter(|reason| *reason != Reason::Committed);
    let directed = directions();
    plain
        .into_iter()
        .chain(cancelled.map(|reason| T::Decided(Direction::Cancel, reason)))
        .chain(directed.map(T::Completed))
        .chain(directed.map(T::CompletedLate))
        .chain(directed.map(T::Ended))
        .chain(directed.map(T::Resolved))
        .chain(park_causes().map(T::Parked))
        .collect()
}

macro_rules! refusals {
    ($($name:ident => $pattern:pat),* $(,)?) => {
        /// Every refusal, by the name of its variant.
        #[must_use]
        pub fn refusals() -> BTreeSet<&'static str> {
            BTreeSet::from([$(stringify!($name)),*])
        }

        /// The name of a refusal's variant.
        #[must_use]
        pub fn refusal_name(refusal: &Refusal) -> &'static str {
            match refusal {
                $($pattern => stringify!($name),)*
            }
        }
    };
}

refusals! {
    NotFound => Refusal::NotFound,
    TooLateToCreate => Refusal::TooLateToCreate,
    GidTaken => Refusal::GidTaken,
    AlreadyDecided => Refusal::AlreadyDecided(_),
    DeadlinePassed => Refusal::DeadlinePassed,
    CallMismatch => Refusal::CallMismatch(_),
    TooManyBranches => Refusal::TooManyBranches { .. },
    TooManyPayloadBytes => Refusal::TooManyPayloadBytes { .. },
    NotDecided => Refusal::NotDecided,
    NoSuchBranch => Refusal::NoSuchBranch(_),
    WrongDirection => Refusal::WrongDirection(_),
    StaleEpoch => Refusal::StaleEpoch(_),
    NotParked => Refusal::NotParked,
    WouldFlip => Refusal::WouldFlip(_),
    BranchLeased => Refusal::BranchLeased(_),
}
