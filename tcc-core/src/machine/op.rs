//! Operations on a record, their answers and refusals.

use serde::{Deserialize, Serialize};

use crate::{
    gid::Gid,
    name::{ActionName, BusinessKey, CallId, Name, Ordinal},
    operator::Why,
    outcome::TryOutcome,
    payload::Payload,
    record::{Closed, Decision, Direction, Known, ParkCause, Reason, Seen, Token, TransactionState},
    time::Timestamp,
    trace_parent::TraceParent,
};

/// One operation on the record of one transaction. Every one may be repeated at any later time without
/// harm (rule 14).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Op {
    /// Begins a transaction in a call of its own.
    Begin(Begin),
    /// Registers branches before they are tried.
    Register(Register),
    /// Reports what tries came to.
    Report(Report),
    /// Decides.
    Decide(Decide),
    /// Takes a participant's open, due and unleased branches.
    Claim(ClaimWork),
    /// Prolongs claims.
    Renew(Renew),
    /// Prolongs the initiator's lease.
    KeepAlive(KeepAlive),
    /// Closes epochs: reports what drives came to.
    Close(Close),
    /// Looks after a transaction whose timer ran out.
    Sweep(Sweep),
    /// Sets parked branches going again, in the same direction.
    Redrive(Redrive),
    /// Makes an operator's change, and keeps who made it and why.
    Operate(Operate),
}

/// What a record is created with.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Create {
    /// Id of the transaction.
    pub gid: Gid,
    /// Its name.
    pub name: Name,
    /// The user's own id for the operation.
    pub key: Option<BusinessKey>,
    /// The process that begins it.
    pub initiator: Name,
    /// Absolute deadline in server time; nothing is created at or after it.
    pub deadline_at: Timestamp,
    /// The initiator's lease, in milliseconds.
    pub lease_ms: u64,
    /// How long the record is kept once final, in milliseconds.
    pub retention_ms: u64,
}

/// Begins a transaction in a call of its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Begin {
    /// What the record is created with.
    pub create: Create,
    /// Whether a key whose transaction was cancelled may begin again.
    pub again_after_cancel: bool,
}

/// Answer to [`Begin`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun {
    /// The transaction is begun, now or by an earlier sending of the same call.
    New,
    /// The key belongs to this transaction, which stands as its own record says.
    Taken(Gid),
}

/// A branch to be registered.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NewBranch {
    /// Id of the call.
    pub call: CallId,
    /// Which run of the call; absent when the initiator itself tries.
    pub runner: Option<Token>,
    /// The action.
    pub action: ActionName,
    /// The trace its try belongs to, [as it is kept](TraceParent::kept). The first registration's stands.
    pub trace: Option<TraceParent>,
    /// Its arguments.
    pub arguments: Payload,
}

/// Registers branches, all or none.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Register {
    /// Creates the record if it is missing; only in calls sent before the first acknowledgement (rule 3).
    pub create: Option<Create>,
    /// The branches.
    pub branches: Vec<NewBranch>,
    /// The most branches the record may hold.
    pub branches_max: u32,
    /// The most bytes of payloads the record may hold.
    pub payload_bytes_max: u64,
}

/// Answer to [`Register`], a branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// Its place.
    pub ordinal: Ordinal,
    /// Whether the caller's own run of the call is the one that tries it (rule 16).
    pub yours: bool,
    /// What the record knows of its try.
    pub outcome: TryOutcome<Payload>,
}

/// Reports what tries came to, at any time (rule 6c).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Report {
    /// The tries.
    pub tries: Vec<TryReport>,
}

/// What one try came to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TryReport {
    /// The branch.
    pub ordinal: Ordinal,
    /// What its try came to.
    pub known: Known,
}

/// Answer to [`Report`], a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reported {
    /// Recorded before the decision.
    Recorded,
    /// Recorded after the decision: cancel will be told, again if need be.
    Late,
    /// It was recorded before.
    Again,
    /// The record says the opposite; the first report stands.
    Conflict,
    /// The record does not hold the branch: it was lost.
    Lost,
}

/// Decides a transaction. The first decision stands (rule 1).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Decide {
    /// What to decide.
    pub direction: Direction,
    /// Why.
    pub reason: Reason,
    /// Who decides.
    pub by: Name,
    /// Writes a tombstone if the record is missing and the decision is cancel; only if no call of the
    /// transaction was ever acknowledged (rule 3).
    pub create: Option<Create>,
    /// Every branch the initiator knows, with the outcome it heard (rule 4).
    pub heard: Vec<Heard>,
    /// Claims these branches in the same step, for a caller that drives them itself.
    pub inline: Option<InlineClaim>,
}

/// A branch the initiator knows.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Heard {
    /// The branch.
    pub ordinal: Ordinal,
    /// What its try came to, if that was heard.
    pub known: Option<Known>,
}

/// A claim made inside a decision.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct InlineClaim {
    /// The caller's token.
    pub token: Token,
    /// Length of the lease, in milliseconds.
    pub lease_ms: u64,
    /// The branches the caller drives; the others' participants are rung.
    pub branches: Vec<Ordinal>,
    /// The actions of these branches, in the same order, from a caller that has their arguments too and
    /// wants none in the answer; empty from one that wants them.
    pub actions: Vec<ActionName>,
}

/// Answer to [`Decide`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// The decision that stands.
    pub decision: Decision,
    /// How the transaction stands.
    pub state: TransactionState,
    /// Branches claimed for the caller.
    pub drives: Vec<Drive>,
    /// Branches the caller named that the record does not hold.
    pub lost: Vec<Ordinal>,
}

/// Takes the open, due and unleased branches of participants and removes their messages (rule 11).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ClaimWork {
    /// The participants: those the caller was rung for at the same time.
    pub participants: Vec<Name>,
    /// The caller's token: the same token gets the same answer.
    pub token: Token,
    /// Length of the lease, in milliseconds.
    pub lease_ms: u64,
    /// Actions that are paused: their branches are left.
    pub except: Vec<ActionName>,
    /// The transaction as the caller itself committed it, if it claims all of its branches: it has their arguments, and
    /// wants none in the answer.
    pub own: Option<OwnCommit>,
}

/// A commit of the caller's own.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OwnCommit {
    /// Why it was decided.
    pub reason: Reason,
    /// The actions of all branches in order, each with its try's result.
    pub branches: Vec<(ActionName, Payload)>,
}

/// A claimed branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drive {
    /// The branch.
    pub ordinal: Ordinal,
    /// Its action.
    pub action: ActionName,
    /// The direction to drive it in.
    pub direction: Direction,
    /// Number of the claim.
    pub epoch: u64,
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// Arguments of its try; absent if the caller has them, or the record lost them.
    pub arguments: Option<Payload>,
    /// Name of the transaction; absent if the caller has it.
    pub name: Option<Name>,
    /// The trace its try belongs to; absent if there is none, or the caller has it.
    pub trace: Option<TraceParent>,
    /// What the record knows of its try.
    pub outcome: TryOutcome<Payload>,
    /// For how long its handler has answered `Ongoing`, in milliseconds.
    pub ongoing_ms: Option<u64>,
    /// For how long processes have handed it on, in milliseconds.
    pub unhandled_ms: Option<u64>,
    /// What is left of the lease, in milliseconds.
    pub lease_ms: u64,
    /// The transaction's decision. A refused branch is cancelled even if that is confirm.
    pub decided: Direction,
    /// Why it was decided so.
    pub reason: Reason,
}

/// Prolongs claims.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Renew {
    /// The claims' token.
    pub token: Token,
    /// The branches, with the epochs they are claimed at.
    pub branches: Vec<(Ordinal, u64)>,
    /// Length of the lease from now, in milliseconds.
    pub lease_ms: u64,
}

/// Prolongs the initiator's lease.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KeepAlive {
    /// Length of the lease from now, in milliseconds.
    pub lease_ms: u64,
}

/// Closes epochs.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Close {
    /// The drives.
    pub drives: Vec<CloseDrive>,
}

/// Reports what one drive came to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CloseDrive {
    /// The branch.
    pub ordinal: Ordinal,
    /// Number of the claim.
    pub epoch: u64,
    /// The direction it was driven in.
    pub direction: Direction,
    /// What it came to.
    pub how: How,
}

/// What a drive came to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum How {
    /// The handler finished, having been told this much of the try.
    Done {
        /// What it was told.
        seen: Seen,
    },
    /// The handler failed.
    Failed {
        /// Before the next attempt, in milliseconds.
        after_ms: u64,
        /// Why.
        error: String,
    },
    /// The handler is still working; the attempt is given back.
    Ongoing {
        /// Before asking again, in milliseconds.
        after_ms: u64,
    },
    /// The branch waits for an operator.
    Park {
        /// Why.
        cause: ParkCause,
        /// The evidence.
        error: String,
    },
    /// The handler was not run, or was stopped; the attempt is given back.
    Release {
        /// Before another may take it, in milliseconds.
        after_ms: u64,
        /// Whether because its action version is not known here.
        unhandled: bool,
    },
}

/// Looks after a transaction whose timer ran out: decides it if nobody did in time, else rings for the
/// branches that are due (rules 7 and 12).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Sweep {
    /// The process that sweeps.
    pub by: Name,
}

/// Sets parked branches going again.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Redrive {
    /// Which; every parked branch if empty.
    pub branches: Vec<Ordinal>,
}

/// An operator's change, by whom and why. Only what changes something is kept in the audit.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Operate {
    /// Who.
    pub by: Name,
    /// Why.
    pub why: Why,
    /// What.
    pub change: Change,
}

/// What an operator changes. None of it turns a decision round.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Change {
    /// Decides to cancel what is not decided yet.
    Cancel,
    /// Sets parked branches going again, in the same direction.
    Redrive {
        /// Which; every parked branch if empty.
        branches: Vec<Ordinal>,
    },
    /// Attests that a branch is final, in the direction it is driven in. A branch that a process holds a
    /// lease of is refused; one whose lease ran out is not, because a completion that comes later finds it
    /// final and changes nothing.
    Resolve {
        /// Which.
        branch: Ordinal,
        /// Confirmed or cancelled.
        direction: Direction,
    },
}

/// Answer to [`Operate`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operated {
    /// To [`Change::Cancel`].
    Cancelled {
        /// The decision that stands.
        decision: Decision,
        /// Whether this call made it.
        changed: bool,
    },
    /// To [`Change::Redrive`]: how many branches were set going.
    Redriven(usize),
    /// To [`Change::Resolve`].
    Resolved {
        /// How the transaction stands after it.
        state: TransactionState,
        /// Whether this call ended the branch.
        changed: bool,
    },
}

/// Answer to [`Close`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closes {
    /// How the transaction stands after it.
    pub state: TransactionState,
    /// How each epoch was closed, in the order asked.
    pub drives: Vec<Result<Closed, Refusal>>,
}

/// Answer to [`KeepAlive`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alive {
    /// Nothing is decided and the lease is prolonged.
    Undecided,
    /// The transaction is decided; there is no lease any more.
    Decided(Direction),
}

/// Answer to [`Op::Sweep`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Swept {
    /// The decision the sweep made.
    pub decided: Option<Reason>,
    /// How many messages it rang.
    pub rung: usize,
    /// When someone must look again.
    pub next: Option<Timestamp>,
}

/// Answer to an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To [`Op::Begin`].
    Begun(Begun),
    /// To [`Op::Register`], in the order asked.
    Registered(Vec<Registered>),
    /// To [`Op::Report`], in the order asked.
    Reported(Vec<Reported>),
    /// To [`Op::Decide`].
    Decided(Decided),
    /// To [`Op::Claim`].
    Claimed(Vec<Drive>),
    /// To [`Op::Renew`], in the order asked: whether the claim still stands.
    Renewed(Vec<bool>),
    /// To [`Op::KeepAlive`].
    Alive(Alive),
    /// To [`Op::Close`].
    Closed(Closes),
    /// To [`Op::Sweep`].
    Swept(Swept),
    /// To [`Op::Redrive`]: how many branches were set going.
    Redriven(usize),
    /// To [`Op::Operate`].
    Operated(Operated),
}

/// Why an operation was refused. The record is as it was.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// There is no such record: it never was, or its retention is over.
    #[error("the transaction is not known: it never began, or its retention is over")]
    NotFound,
    /// The record is missing and its deadline has passed, so that it may not be created any more.
    #[error("the transaction's deadline has passed, so that it cannot begin any more")]
    TooLateToCreate,
    /// Another process's transaction has this gid.
    #[error("another transaction has this gid")]
    GidTaken,
    /// The transaction is decided: no branch can be added.
    #[error("the transaction is already decided ({0}): no branch can be added")]
    AlreadyDecided(Direction),
    /// The deadline has passed: no branch can be added.
    #[error("the transaction's deadline has passed: no branch can be added")]
    DeadlinePassed,
    /// The call id belongs to a branch with another action or other arguments.
    #[error("call {0} was made before with another action or other arguments")]
    CallMismatch(CallId),
    /// The record would hold more branches than allowed.
    #[error("a transaction may have {max} branches at the most; raise `branches_max` or split the operation")]
    TooManyBranches {
        /// The limit.
        max: u32,
    },
    /// The record would hold more bytes of payloads than allowed.
    #[error(
        "a transaction may hold {max} bytes of payloads at the most; raise `transaction_payload_bytes_max` or store references"
    )]
    TooManyPayloadBytes {
        /// The limit.
        max: u64,
    },
    /// Nothing is decided yet, so that there is no phase two.
    #[error("the transaction is not decided yet")]
    NotDecided,
    /// The record holds no such branch.
    #[error("the transaction has no branch {0}")]
    NoSuchBranch(Ordinal),
    /// The branch is driven in the other direction.
    #[error("branch {0} is driven in the other direction")]
    WrongDirection(Ordinal),
    /// A newer claim stands.
    #[error("branch {0} was claimed again since")]
    StaleEpoch(Ordinal),
    /// No branch is parked.
    #[error("no branch is parked")]
    NotParked,
    /// The transaction is decided the other way.
    #[error("the transaction is already decided ({0}), and a decision never changes")]
    WouldFlip(Direction),
    /// A process holds a lease of the branch.
    #[error(
        "a process is driving branch {0} now; wait until its lease ends, or pause its action and wait until then"
    )]
    BranchLeased(Ordinal),
}

/// What can happen to a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Transition {
    /// Begun by a call of its own.
    Begun,
    /// The same begin again.
    BegunAgain,
    /// The key belongs to another transaction.
    KeyTaken,
    /// The key of a cancelled transaction was taken over.
    KeyTakenOver,
    /// Created by a registration.
    Created,
    /// A branch was registered.
    Registered,
    /// The same branch again, by the run that tries it.
    RegisteredAgain,
    /// The same call by another run.
    RegisteredElsewhere,
    /// A try's outcome was recorded before the decision.
    Reported,
    /// An outcome came after the decision, its branch still being cancelled.
    ReportedLate,
    /// An outcome came after its branch was cancelled: it is cancelled again, knowing it.
    Reopened,
    /// The same outcome again.
    ReportedAgain,
    /// The opposite outcome: the first stands.
    ReportConflict,
    /// An outcome of a branch the record does not hold.
    ReportLost,
    /// Decided.
    Decided(Direction, Reason),
    /// Decide came second and learned the first decision.
    DecidedBefore,
    /// Cancelled before anything was recorded.
    Tombstone,
    /// A branch was claimed inside the decision.
    ClaimedInline,
    /// A branch was claimed.
    Claimed,
    /// The same claim again.
    ClaimedAgain,
    /// A claim left branches whose action is paused.
    ClaimedAround,
    /// A claim found nothing to do.
    ClaimedNothing,
    /// A claim was prolonged.
    Renewed,
    /// A claim could not be prolonged: it is closed or another's.
    RenewedTooLate,
    /// The initiator's lease was prolonged.
    KeptAlive,
    /// A branch became final.
    Completed(Direction),
    /// A branch became final by the report of an older claim.
    CompletedLate(Direction),
    /// A drive finished knowing less than the record: due at once.
    CompletedUnaware,
    /// A final branch was reported again, whatever its drive came to.
    CompletedAgain,
    /// An attempt failed and is rescheduled.
    Failed,
    /// The handler is still working.
    Ongoing,
    /// A branch was released.
    Released,
    /// A branch was handed on because its action version is not known.
    HandedOn,
    /// A branch was parked.
    Parked(ParkCause),
    /// An epoch was closed before: its first answer was given again.
    ClosedAgain,
    /// A message was put into a queue.
    Rung,
    /// Every branch is final.
    Ended(Direction),
    /// A sweep found nothing to do yet.
    SweptEarly,
    /// A sweep found a transaction that needs nobody.
    SweptIdle,
    /// A parked branch was set going again.
    Redriven,
    /// An operator attested that a branch is final.
    Resolved(Direction),
    /// An operator attested it of a branch that was.
    ResolvedAgain,
}

macro_rules! typed {
    ($($op:ident => $answer:ident($type:ty)),* $(,)?) => {
        $(impl Operation for $op {
            type Answer = $type;

            fn into_op(self) -> Op {
                self.into()
            }

            fn answer(answer: Answer) -> Option<$type> {
                match answer {
                    Answer::$answer(answer) => Some(answer),
                    _ => None,
                }
            }
        })*
    };
}

/// An operation together with the type of its answer.
pub trait Operation: Send + 'static {
    /// The answer's type.
    type Answer;

    /// The operation as one of all.
    fn into_op(self) -> Op;

    /// The answer out of one of all.
    fn answer(answer: Answer) -> Option<Self::Answer>;
}

macro_rules! into_op {
    ($($type:ident => $variant:ident),* $(,)?) => {
        $(impl From<$type> for Op {
            fn from(op: $type) -> Self {
                Self::$variant(op)
            }
        })*
    };
}

into_op! {
    Begin => Begin, Register => Register, Report => Report, Decide => Decide, ClaimWork => Claim, Renew => Renew,
    KeepAlive => KeepAlive, Close => Close, Sweep => Sweep, Redrive => Redrive,
    Operate => Operate,
}

typed! {
    Begin => Begun(Begun),
    Register => Registered(Vec<Registered>),
    Report => Reported(Vec<Reported>),
    Decide => Decided(Decided),
    ClaimWork => Claimed(Vec<Drive>),
    Renew => Renewed(Vec<bool>),
    KeepAlive => Alive(Alive),
    Close => Closed(Closes),
    Sweep => Swept(Swept),
    Redrive => Redriven(usize),
    Operate => Operated(Operated),
}
