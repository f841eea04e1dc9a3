//! What a step, or a record that a step left behind, can do wrong.

/// A broken rule. A state that holds one is a counter-example and has no successors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Violation {
    /// I2: a decision changed, or a branch turned round.
    DecisionChanged,
    /// I7: a branch was registered after the decision.
    RegisteredAfterDecision,
    /// Rule 1: whoever came second was told another decision than the one that stands.
    LoserMisled,
    /// Rule 1: a commit that came after the deadline confirmed.
    CommittedAfterDeadline,
    /// Rule 4: a branch was to be confirmed that the commit did not name with its outcome.
    ConfirmedUnheard,
    /// Rule 4: a refused branch stopped a commit, or was confirmed.
    RefusedMishandled,
    /// Rule 6c: a late outcome did not reopen its cancelled branch, or a repeated one did again.
    LateOutcomeForgotten,
    /// Rule 7: a decision, a reopening or a redrive left nothing that leads a worker to the work.
    NoMessage,
    /// I10: the timer is missing, or later than the moment when someone must look.
    TimerLate,
    /// I10: an open record has a time-to-live, or a final one none.
    OpenExpires,
    /// I9: left to live workers and a sweeper, a transaction came to no end.
    Stuck,
    /// I5: terminal and not every branch final, or the states contradict each other.
    StatesDisagree,
    /// I4: a branch was claimed while a lease held.
    LeaseStolen,
    /// Rule 10: an attempt was not counted when claimed, or not given back when it should be.
    AttemptMiscounted,
    /// Rule 11: a stale epoch failed, rescheduled, parked or prolonged something.
    StaleEpochActed,
    /// Rule 11: a completion was refused, or one that knew too little was taken for the end.
    CompletionMishandled,
    /// Rule 11: an epoch was closed twice, or a repeat got another answer.
    ClosedTwice,
    /// Rule 14: the same operation again changed something.
    RepeatActed,
    /// A refused operation changed something.
    RefusalActed,
    /// Rule 16: one call became two branches.
    CallRegisteredTwice,
    /// Rule 16: two runs of one call were both told to try.
    CallTriedTwice,
    /// A payload of one branch came to another.
    PayloadMixed,
    /// A drive was given a branch without its payloads, in the wrong direction, or told the wrong outcome.
    DriveMisled,
    /// Rule 8: bells, counts or evidence decided something.
    HiddenActed,
    /// Rule 6d: the fence saw confirm and cancel of the same branch.
    FenceContradiction,
    /// I8: an acknowledged record is gone.
    RecordGone,
}
