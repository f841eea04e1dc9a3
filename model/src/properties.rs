//! What must hold in every state, and what must be reached in some.

use stateright::Property;
use tcc_core::record::{BranchState, Direction, Reason, Seen, TransactionState};

use crate::{
    Config,
    model::Tcc,
    request::How,
    state::{Attempt, Gone, Row, Runner, State},
    violation::Violation,
};

fn confirms(state: BranchState) -> bool {
    matches!(state, BranchState::Confirming | BranchState::Confirmed)
}

fn cancels(state: BranchState) -> bool {
    matches!(state, BranchState::Cancelling | BranchState::Cancelled)
}

/// I1: no branch confirmed while another is cancelled after a successful try.
fn all_or_nothing(_: &Tcc, state: &State) -> bool {
    let pairs = || state.part.branches.iter().zip(&state.locals);
    let confirmed = pairs().any(|(branch, local)| confirms(branch.state) || local.row == Row::Confirmed);
    let undone = pairs().any(|(branch, local)| {
        local.attempt == Attempt::Succeeded && (cancels(branch.state) || local.row == Row::Released)
    });
    !(confirmed && undone)
}

/// I3: only tried branches are confirmed.
fn only_tried(_: &Tcc, state: &State) -> bool {
    state.part.branches.iter().zip(&state.locals).all(|(branch, local)| {
        !(confirms(branch.state) || local.row == Row::Confirmed) || local.attempt == Attempt::Succeeded
    })
}

/// I4: no two drives of a branch while their leases hold.
fn one_at_a_time(_: &Tcc, state: &State) -> bool {
    state.locals.iter().all(|local| local.drives.iter().flatten().filter(|drive| drive.leased).count() <= 1)
}

/// I5: what the record calls final is so at the participant: confirmed is confirmed and, with a fence,
/// cancelled is released, whatever comes late.
fn final_is_final(tcc: &Tcc, state: &State) -> bool {
    state.part.branches.iter().zip(&state.locals).all(|(branch, local)| match branch.state {
        BranchState::Confirmed => local.row == Row::Confirmed,
        BranchState::Cancelled => !tcc.config.fence || local.row == Row::Released,
        _ => true,
    })
}

/// I6 without a fence: once the record knows what a try came to, nothing of a cancelled branch is reserved.
fn no_suspension(_: &Tcc, state: &State) -> bool {
    state.part.branches.iter().zip(&state.locals).all(|(branch, local)| {
        let known = branch.known.is_some() && branch.known == local.attempt.ended();
        !(branch.state == BranchState::Cancelled && known && local.row == Row::Held)
    })
}

/// Rule 6c: whoever was told that its record is gone has undone its try, and nothing holds it again.
fn no_orphan(_: &Tcc, state: &State) -> bool {
    state.locals.iter().all(|local| !local.undone || local.row != Row::Held)
}

/// Rules 1 and 2, I2: what anybody was told of the decision is what the record says.
fn heard_is_true(_: &Tcc, state: &State) -> bool {
    let heard = [state.initiator.decided.and_then(|decided| decided.heard), state.operator.heard];
    heard.into_iter().flatten().all(|heard| !state.part.exists || state.part.direction() == Some(heard))
}

/// I8: an acknowledged record is there until its retention ends.
fn kept(_: &Tcc, state: &State) -> bool {
    let heard = state.initiator.acked || state.operator.heard.is_some();
    !heard || state.part.exists || state.gone != Gone::No
}

macro_rules! unbroken {
    ($($violation:ident: $name:literal),* $(,)?) => {
        vec![$(Property::always($name, |_, state: &State| state.violation != Some(Violation::$violation))),*]
    };
}

/// Something every exploration of some configuration must come across.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Landmark {
    Trying,
    Confirming,
    Confirmed,
    Cancelling,
    Cancelled,
    BranchTrying,
    BranchTried,
    BranchRefused,
    BranchConfirming,
    BranchConfirmed,
    BranchCancelling,
    BranchCancelled,
    Parked,
    ParkedBesideFinal,
    RefusedBesideConfirmed,
    EmptyCancel,
    TryAfterCancel,
    TwoDrivesOfABranch,
    ThreeDrives,
    CommitBeforeDeadline,
    DeadlineBeforeCommit,
    CommitBeforeOperator,
    OperatorBeforeCommit,
    CommitBeforeLostLease,
    LostLeaseBeforeCommit,
    CancelBeforeOperator,
    OperatorBeforeCancel,
    CancelBeforeDeadline,
    DeadlineBeforeCancel,
    CancelBeforeLostLease,
    LostLeaseBeforeCancel,
    OperatorBeforeDeadline,
    DeadlineBeforeOperator,
    Tombstone,
    CrashedAndDone,
    LateSuccess,
    LateRefusal,
    LateRefusalAfterEffect,
    TriedAndNeverEnded,
    HandlerFailedBeforeEffect,
    HandlerFailedAfterEffect,
    StaleCompletion,
    JoinedAndConfirmed,
    JoinedTwice,
    Forgotten,
    LostAndMadeAgain,
}

fn decided(state: &State, direction: Direction) -> bool {
    state.initiator.decided.is_some_and(|decided| decided.direction == direction)
}

fn told(state: &State, direction: Direction) -> bool {
    state.initiator.decided.is_some_and(|decided| decided.heard == Some(direction))
}

fn reason(state: &State) -> Option<Reason> {
    state.part.decision.map(|(_, reason)| reason)
}

/// A drive has failed, with its participant's row like this.
fn failed(state: &State, row: fn(Row) -> bool) -> bool {
    state.locals.iter().any(|local| local.close == Some(How::Failed) && row(local.row))
}

impl Landmark {
    /// Whether a state is one.
    #[must_use]
    pub fn is_at(self, state: &State) -> bool {
        let part = &state.part;
        let branch = |wanted| part.branches.iter().any(|branch| branch.place > 0 && branch.state == wanted);
        let lost_race = |why| {
            decided(state, Direction::Confirm) && told(state, Direction::Cancel) && reason(state) == Some(why)
        };
        let cancelled_by = |why| {
            decided(state, Direction::Cancel) && told(state, Direction::Cancel) && reason(state) == Some(why)
        };
        // The branch was cancelled with its outcome unknown, and then learned of it.
        let late = |ended, row: fn(Row) -> bool| {
            part.branches.iter().zip(&state.locals).any(|(branch, local)| {
                cancels(branch.state)
                    && branch.known.is_none()
                    && local.attempt.ended() == Some(ended)
                    && row(local.row)
                    && state.initiator.decided.is_some_and(|decided| decided.answered)
            })
        };
        match self {
            Self::Trying => part.exists && part.state == TransactionState::Trying,
            Self::Confirming => part.state == TransactionState::Confirming,
            Self::Confirmed => part.state == TransactionState::Confirmed,
            Self::Cancelling => part.state == TransactionState::Cancelling,
            Self::Cancelled => part.state == TransactionState::Cancelled,
            Self::BranchTrying => branch(BranchState::Trying),
            Self::BranchTried => branch(BranchState::Tried),
            Self::BranchRefused => branch(BranchState::Refused),
            Self::BranchConfirming => branch(BranchState::Confirming),
            Self::BranchConfirmed => branch(BranchState::Confirmed),
            Self::BranchCancelling => branch(BranchState::Cancelling),
            Self::BranchCancelled => branch(BranchState::Cancelled),
            Self::Parked => part.branches.iter().any(|branch| branch.parked),
            Self::ParkedBesideFinal => {
                part.branches.iter().any(|branch| branch.parked)
                    && part.branches.iter().any(|branch| branch.state.is_final())
            }
            Self::RefusedBesideConfirmed => {
                part.state == TransactionState::Confirmed && branch(BranchState::Cancelled)
            }
            Self::EmptyCancel => state.part.branches.iter().zip(&state.locals).any(|(branch, local)| {
                branch.state == BranchState::Cancelled && local.attempt == Attempt::Idle
            }),
            Self::TryAfterCancel => state.part.branches.iter().zip(&state.locals).any(|(branch, local)| {
                branch.state == BranchState::Cancelled && local.attempt == Attempt::Running
            }),
            Self::TwoDrivesOfABranch => {
                state.locals.iter().any(|local| local.drives.iter().flatten().count() > 1)
            }
            Self::ThreeDrives => {
                state.locals.iter().map(|local| local.drives.iter().flatten().count()).sum::<usize>() > 2
            }
            Self::CommitBeforeDeadline => reason(state) == Some(Reason::Committed) && state.deadline_passed,
            Self::DeadlineBeforeCommit => lost_race(Reason::DeadlinePassed),
            Self::CommitBeforeOperator => {
                reason(state) == Some(Reason::Committed) && state.operator.heard == Some(Direction::Confirm)
            }
            Self::OperatorBeforeCommit => lost_race(Reason::Operator),
            Self::CommitBeforeLostLease => reason(state) == Some(Reason::Committed) && part.lease_passed,
            Self::LostLeaseBeforeCommit => lost_race(Reason::InitiatorLost),
            Self::CancelBeforeOperator => {
                reason(state) == Some(Reason::Aborted) && state.operator.heard == Some(Direction::Cancel)
            }
            Self::OperatorBeforeCancel => cancelled_by(Reason::Operator),
            Self::CancelBeforeDeadline => reason(state) == Some(Reason::Aborted) && state.deadline_passed,
            Self::DeadlineBeforeCancel => cancelled_by(Reason::DeadlinePassed),
            Self::CancelBeforeLostLease => reason(state) == Some(Reason::Aborted) && part.lease_passed,
            Self::LostLeaseBeforeCancel => cancelled_by(Reason::InitiatorLost),
            Self::OperatorBeforeDeadline => reason(state) == Some(Reason::Operator) && state.deadline_passed,
            Self::DeadlineBeforeOperator => {
                reason(state) == Some(Reason::DeadlinePassed) && state.operator.heard.is_some()
            }
            Self::Tombstone => part.is_final() && part.branches.iter().all(|branch| branch.place == 0),
            Self::CrashedAndDone => state.initiator.crashed && part.is_final(),
            Self::LateSuccess => late(Seen::Succeeded, |_| true),
            Self::LateRefusal => late(Seen::Refused, |row| row != Row::Held),
            Self::LateRefusalAfterEffect => late(Seen::Refused, |row| row == Row::Held),
            Self::TriedAndNeverEnded => {
                part.is_final()
                    && state.initiator.crashed
                    && state
                        .locals
                        .iter()
                        .any(|local| matches!(local.attempt, Attempt::Running | Attempt::Took))
            }
            Self::HandlerFailedBeforeEffect => failed(state, |row| row == Row::Held),
            Self::HandlerFailedAfterEffect => {
                failed(state, |row| matches!(row, Row::Confirmed | Row::Released))
            }
            Self::StaleCompletion => state.locals.iter().any(|local| local.stale_done != 0),
            Self::JoinedTwice => state.locals.iter().any(|local| {
                local.runners.contains(&Runner::Tries) && local.runners.contains(&Runner::Waits)
            }),
            Self::JoinedAndConfirmed => {
                part.branches.iter().any(|branch| branch.runner > 0 && branch.state == BranchState::Confirmed)
            }
            Self::Forgotten => state.gone == Gone::Expired,
            Self::LostAndMadeAgain => state.gone == Gone::Lost && part.exists,
        }
    }
}

macro_rules! landmarks {
    ($($landmark:ident: $name:literal, $when:expr;)*) => {
        fn landmarks(config: &Config) -> Vec<Property<Tcc>> {
            let mut all: Vec<Property<Tcc>> = Vec::new();
            $(
                let when: fn(&Config) -> bool = $when;
                if when(config) {
                    // True once, at the first of its states: the checker would keep every one.
                    all.push(Property::sometimes($name, |tcc: &Tcc, state: &State| {
                        let bit = Landmark::$landmark as u32;
                        !tcc.marked(bit) && Landmark::$landmark.is_at(state) && tcc.mark(bit)
                    }));
                }
            )*
            all
        }
    };
}

landmarks! {
    Trying: "a transaction is trying", |_| true;
    Confirming: "a transaction is confirming", |_| true;
    Confirmed: "a transaction is confirmed", |_| true;
    Cancelling: "a transaction is cancelling", |_| true;
    Cancelled: "a transaction is cancelled", |_| true;
    BranchTrying: "a branch is trying", |_| true;
    BranchTried: "a branch is tried", |config| config.joined.is_some();
    BranchRefused: "a branch is refused", |config| config.joined.is_some() && config.refuse;
    BranchConfirming: "a branch is confirming", |_| true;
    BranchConfirmed: "a branch is confirmed", |_| true;
    BranchCancelling: "a branch is cancelling", |_| true;
    BranchCancelled: "a branch is cancelled", |_| true;
    Parked: "a branch is parked", |config| config.park;
    ParkedBesideFinal: "a branch is parked beside a final one", |config| config.park && config.layout.len() > 1;
    RefusedBesideConfirmed: "a refused branch is cancelled beside a confirmed one",
        |config| config.refuse && config.layout.len() > 1;
    EmptyCancel: "a branch is cancelled whose try never began", |config| config.late && config.joined.is_none();
    TryAfterCancel: "a try runs on after its branch is cancelled", |config| config.late;
    TwoDrivesOfABranch: "two workers drive one branch", |config| config.expiry && config.workers > 1;
    ThreeDrives: "three drives at a time", |config| config.workers > 2;
    CommitBeforeDeadline: "race: commit before the deadline", |config| config.reasons && config.deadline;
    DeadlineBeforeCommit: "race: the deadline before commit", |config| config.reasons && config.deadline;
    CommitBeforeOperator: "race: commit before the operator", |config| config.reasons && config.operator;
    OperatorBeforeCommit: "race: the operator before commit", |config| config.reasons && config.operator;
    CommitBeforeLostLease: "race: commit before a lost lease is swept", |config| config.reasons && config.lease;
    LostLeaseBeforeCommit: "race: a lost lease is swept before commit", |config| config.reasons && config.lease;
    CancelBeforeOperator: "race: cancel before the operator", |config| config.reasons && config.operator;
    OperatorBeforeCancel: "race: the operator before cancel", |config| config.reasons && config.operator;
    CancelBeforeDeadline: "race: cancel before the deadline", |config| config.reasons && config.deadline;
    DeadlineBeforeCancel: "race: the deadline before cancel", |config| config.reasons && config.deadline;
    CancelBeforeLostLease: "race: cancel before a lost lease is swept", |config| config.reasons && config.lease;
    LostLeaseBeforeCancel: "race: a lost lease is swept before cancel", |config| config.reasons && config.lease;
    OperatorBeforeDeadline: "race: the operator before the deadline",
        |config| config.reasons && config.deadline && config.operator;
    DeadlineBeforeOperator: "race: the deadline before the operator",
        |config| config.reasons && config.deadline && config.operator;
    Tombstone: "a transaction is cancelled before anything is registered",
        |config| config.late && config.lost_answers && config.joined.is_none();
    CrashedAndDone: "a crashed initiator's transaction is finished", |config| config.crash;
    LateSuccess: "a try succeeds after its branch was cancelled", |config| config.late;
    LateRefusal: "a try is refused after its branch was cancelled", |config| config.late && config.refuse;
    LateRefusalAfterEffect: "a try is refused late and after its effect", |config| config.late && config.sloppy;
    TriedAndNeverEnded: "a try dies with its process, and the transaction ends", |config| config.late && config.crash;
    HandlerFailedBeforeEffect: "a handler fails before its effect", |config| config.fail && config.delayed_reports;
    HandlerFailedAfterEffect: "a handler fails after its effect", |config| config.fail && config.delayed_reports;
    StaleCompletion: "a completion of an older epoch is still on its way", |config| config.delayed_reports && config.expiry;
    JoinedTwice: "two processes receive one call", |config| config.joined.is_some();
    JoinedAndConfirmed: "a joined branch is confirmed", |config| config.joined.is_some();
    Forgotten: "a record is forgotten", |config| config.retention;
    LostAndMadeAgain: "a lost record is made again by a replay", |config| config.loss && config.lost_answers;
}

pub(crate) fn properties(config: &Config) -> Vec<Property<Tcc>> {
    let mut all = unbroken! {
        DecisionChanged: "I2 a decision never changes",
        RegisteredAfterDecision: "I7 no branch is registered after the decision",
        LoserMisled: "rule 1: the loser learns the winner's decision",
        CommittedAfterDeadline: "rule 1: a commit after the deadline cancels",
        ConfirmedUnheard: "rule 4: only what was named with its outcome is confirmed",
        RefusedMishandled: "rule 4: a refused branch is cancelled beside the confirmed",
        LateOutcomeForgotten: "rule 6c: a late outcome reopens its branch, once",
        NoMessage: "rule 7: work and what leads to it are one write",
        TimerLate: "I10 whatever is open is in due, no later than it must be",
        OpenExpires: "I10 no open transaction has a time-to-live",
        Stuck: "I9 after faults end every transaction comes to its end",
        StatesDisagree: "I5 terminal means every branch final",
        LeaseStolen: "I4 no branch is claimed while a lease holds",
        AttemptMiscounted: "rule 10: an attempt is counted when claimed",
        StaleEpochActed: "rule 11: a stale epoch cannot park, fail or reschedule",
        CompletionMishandled: "rule 11: a completion is accepted, if it knew enough",
        ClosedTwice: "rule 11: each epoch is closed once",
        RepeatActed: "rule 14: a repeat changes nothing",
        RefusalActed: "a refusal changes nothing",
        CallRegisteredTwice: "rule 16: one call is one branch",
        CallTriedTwice: "rule 16: one call is tried once",
        PayloadMixed: "no payload comes to another branch",
        DriveMisled: "a drive is told the truth",
        HiddenActed: "rule 8: bells, counts and evidence decide nothing",
        FenceContradiction: "rule 6d: the fence sees no contradiction",
        RecordGone: "no operation loses a record or a branch",
    };
    all.push(Property::always("I6 nothing known to be tried stays reserved", no_suspension));
    if config.loss {
        all.push(Property::always("rule 6c: a late outcome without a record is undone", no_orphan));
    } else {
        all.push(Property::always("I4 never two drives of a branch while leases hold", one_at_a_time));
        all.push(Property::always("I1 all or nothing", all_or_nothing));
        all.push(Property::always("I3 only tried branches are confirmed", only_tried));
        all.push(Property::always("I5 final is final at the participant", final_is_final));
        all.push(Property::always("rule 2: what was heard of the decision is so", heard_is_true));
        all.push(Property::always("I8 an acknowledged record is kept", kept));
    }
    all.extend(landmarks(config));
    all
}
