//! The record of a global transaction and its branches: the truth that every process works from.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    gid::Gid,
    name::{ActionName, BusinessKey, CallId, Name, Ordinal},
    outcome::{Outcome, TryOutcome},
    payload::Payload,
    time::Timestamp,
    trace_parent::TraceParent,
};

/// Version of the record's format; a store refuses to read a newer one.
pub const FORMAT: u32 = 1;
/// The longest error text a record keeps, in bytes.
pub const ERROR_BYTES_MAX: usize = 512;

/// The direction of phase two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Make every tried reservation final.
    Confirm,
    /// Release every reservation.
    Cancel,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Confirm => "confirm",
            Self::Cancel => "cancel",
        })
    }
}

/// State of a global transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TransactionState {
    /// Branches are being tried; nothing is decided.
    Trying,
    /// Decided to confirm; some branch is not final.
    Confirming,
    /// Confirmed: every branch is final.
    Confirmed,
    /// Decided to cancel; some branch is not final.
    Cancelling,
    /// Cancelled: every branch is final.
    Cancelled,
}

impl TransactionState {
    /// Whether every branch is final.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Confirmed | Self::Cancelled)
    }
}

impl fmt::Display for TransactionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Trying => "trying",
            Self::Confirming => "confirming",
            Self::Confirmed => "confirmed",
            Self::Cancelling => "cancelling",
            Self::Cancelled => "cancelled",
        })
    }
}

/// State of a branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BranchState {
    /// Registered; its try's outcome is not recorded.
    Trying,
    /// Its try succeeded.
    Tried,
    /// Its try returned an error.
    Refused,
    /// To be confirmed.
    Confirming,
    /// Confirmed.
    Confirmed,
    /// To be cancelled.
    Cancelling,
    /// Cancelled.
    Cancelled,
}

impl BranchState {
    /// The direction phase two drives the branch in, while it is open.
    #[must_use]
    pub fn open_direction(self) -> Option<Direction> {
        match self {
            Self::Confirming => Some(Direction::Confirm),
            Self::Cancelling => Some(Direction::Cancel),
            _ => None,
        }
    }

    /// Whether phase two is done with the branch.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Confirmed | Self::Cancelled)
    }
}

impl fmt::Display for BranchState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Trying => "trying",
            Self::Tried => "tried",
            Self::Refused => "refused",
            Self::Confirming => "confirming",
            Self::Confirmed => "confirmed",
            Self::Cancelling => "cancelling",
            Self::Cancelled => "cancelled",
        })
    }
}

/// Why a transaction was decided as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// The initiator committed, and every branch was tried and heard.
    Committed,
    /// The initiator's closure returned an error, or its caller cancelled.
    Aborted,
    /// The initiator's closure panicked.
    Panicked,
    /// The initiator's future was dropped before it decided.
    Dropped,
    /// The deadline passed first.
    DeadlinePassed,
    /// The initiator stopped renewing its lease: its process died or hangs.
    InitiatorLost,
    /// An operator cancelled it.
    Operator,
    /// Commit was refused: the record holds a branch the initiator did not name.
    UnnamedBranch,
    /// Commit was refused: the outcome of a branch is not known.
    UnknownOutcome,
    /// Commit was refused: initiator and record disagree about a branch's outcome.
    OutcomeConflict,
    /// Commit was refused: the record lost a branch the initiator had registered.
    LostBranch,
    /// Commit was refused: a remote call was sent and not answered.
    PendingCall,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Committed => "every branch was tried",
            Self::Aborted => "the initiator aborted",
            Self::Panicked => "the initiator panicked",
            Self::Dropped => "the initiator's future was dropped",
            Self::DeadlinePassed => "the deadline passed",
            Self::InitiatorLost => "the initiator's lease ran out",
            Self::Operator => "an operator cancelled",
            Self::UnnamedBranch => "commit did not name every branch",
            Self::UnknownOutcome => "a branch's outcome is not known",
            Self::OutcomeConflict => "initiator and record disagree about an outcome",
            Self::LostBranch => "the record lost a branch",
            Self::PendingCall => "a call was sent and not answered",
        })
    }
}

/// The decision of a transaction: made once, never changed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Decision {
    /// Confirm or cancel.
    pub direction: Direction,
    /// Why.
    pub reason: Reason,
    /// Who decided: a process's name, or an operator's.
    pub by: Name,
    /// When, in server time.
    pub at: Timestamp,
}

/// What a branch's try is known to have come to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Known {
    /// It succeeded with this result.
    Succeeded(Payload),
    /// It returned an error.
    Refused,
}

/// The [`TryOutcome`] a drive was given, without its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Seen {
    /// Try succeeded.
    Succeeded,
    /// Try returned an error.
    Refused,
    /// Not known.
    Unknown,
}

/// Why a branch is parked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ParkCause {
    /// Its retry policy allows no more attempts.
    AttemptsExhausted,
    /// It answered `Ongoing` for longer than its policy allows.
    OngoingTooLong,
    /// Its handler asked for it.
    Handler,
    /// Its payload could not be decoded.
    Undecodable,
    /// No process took its action's version for longer than configured.
    UnknownAction,
}

impl fmt::Display for ParkCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AttemptsExhausted => "attempts ran out",
            Self::OngoingTooLong => "still working for too long",
            Self::Handler => "the handler asked for it",
            Self::Undecodable => "the payload could not be decoded",
            Self::UnknownAction => "no process knows this action version",
        })
    }
}

/// The mark of a parked branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Parked {
    /// Why.
    pub cause: ParkCause,
    /// Since when, in server time.
    pub at: Timestamp,
}

/// A caller's proof that a claim is its own: the same token gets the same answer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(pub u64);

impl Token {
    /// Nobody's: the token of a claim that ended its branch.
    pub const NOBODY: Self = Self(0);
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The newest claim of a branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Claim {
    /// Whose it is; nobody's once it ended the branch.
    pub token: Token,
    /// Until when its holder alone may drive the branch; of no meaning, and zero, once the epoch is closed.
    pub until: Timestamp,
    /// How the claim's epoch was closed; open while absent.
    pub closed: Option<Closed>,
}

/// How an epoch was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Closed {
    /// The branch is final.
    Final,
    /// The record knew more about the try than the drive did: the branch is due at once.
    DriveAgain,
    /// The branch is due again at this time.
    Rescheduled(Timestamp),
    /// The branch is parked.
    Parked,
}

/// One call of an action inside a transaction.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Branch {
    /// Id of the call that made it.
    pub call: CallId,
    /// Which run of the call tries it; absent when the initiator itself does.
    pub runner: Option<Token>,
    /// The action.
    pub action: ActionName,
    /// The trace its try belongs to, [as it is kept](TraceParent::kept).
    pub trace: Option<TraceParent>,
    /// How far it is.
    pub state: BranchState,
    /// Arguments of the try; deleted when the transaction is final, unless the outcome is still unknown
    /// then: a late outcome would need them.
    pub arguments: Option<Payload>,
    /// What is known of the try, from the first report of it.
    pub known: Option<Seen>,
    /// What try returned; deleted when the transaction is final.
    pub result: Option<Payload>,
    /// Attempts of phase two, counted when claimed.
    pub attempts: u32,
    /// Number of the newest claim.
    pub epoch: u64,
    /// The newest claim.
    pub claim: Option<Claim>,
    /// Earliest time of the next attempt.
    pub next_attempt_at: Timestamp,
    /// Since when its handler answers `Ongoing`.
    pub ongoing_since: Option<Timestamp>,
    /// Since when processes hand it on because they do not know its action version.
    pub unhandled_since: Option<Timestamp>,
    /// Set while it waits for an operator.
    pub parked: Option<Parked>,
    /// The newest error of phase two, cut to [`ERROR_BYTES_MAX`].
    pub last_error: Option<String>,
}

impl Branch {
    /// What the record knows of the try.
    #[must_use]
    pub fn seen(&self) -> Seen {
        self.known.unwrap_or(Seen::Unknown)
    }

    /// What cancel is to be told.
    #[must_use]
    pub fn try_outcome(&self) -> TryOutcome<Payload> {
        match (self.known, &self.result) {
            (Some(Seen::Succeeded), Some(result)) => TryOutcome::Succeeded(result.clone()),
            (Some(Seen::Refused), _) => TryOutcome::Refused,
            _ => TryOutcome::Unknown,
        }
    }

    /// The end of its lease, if it is leased at `now`.
    #[must_use]
    pub fn leased_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.claim.filter(|claim| claim.closed.is_none() && claim.until > now).map(|claim| claim.until)
    }

    /// Whether phase two has work with it: open and not parked.
    #[must_use]
    pub fn is_drivable(&self) -> bool {
        self.state.open_direction().is_some() && self.parked.is_none()
    }
}

/// The message that stands for a participant of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Bell {
    /// How often it was rung since the participant's work was last claimed.
    pub count: u32,
    /// When it may be rung again.
    pub again_at: Timestamp,
}

/// The record of a global transaction.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Record {
    /// [`FORMAT`] of the process that began it.
    pub format: u32,
    /// Its id.
    pub gid: Gid,
    /// Its name.
    pub name: Name,
    /// The user's own id for the operation.
    pub key: Option<BusinessKey>,
    /// The process that began it.
    pub initiator: Name,
    /// How far it is.
    pub state: TransactionState,
    /// The decision, once made.
    pub decision: Option<Decision>,
    /// When it began.
    pub begun_at: Timestamp,
    /// When it is cancelled if nothing is decided; when it ended, once it is final.
    pub deadline_at: Timestamp,
    /// When its initiator counts as dead if nothing is decided; when it ended, once it is final.
    pub lease_until: Timestamp,
    /// How long it is kept once final, in milliseconds.
    pub retention_ms: u64,
    /// When it became final.
    pub ended_at: Option<Timestamp>,
    /// Its branches; a branch's [`Ordinal`] is its place.
    pub branches: Vec<Branch>,
    /// Messages that stand for its participants.
    pub bells: BTreeMap<Name, Bell>,
}

impl Record {
    /// How it stands.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        Outcome {
            gid: self.gid.clone(),
            name: self.name.clone(),
            state: self.state,
            decision: self.decision.clone(),
            parked: self.parked(),
        }
    }

    /// How many branches are parked.
    #[must_use]
    pub fn parked(&self) -> usize {
        self.branches.iter().filter(|branch| branch.parked.is_some()).count()
    }

    /// The branch at an ordinal.
    #[must_use]
    pub fn branch(&self, ordinal: Ordinal) -> Option<&Branch> {
        self.branches.get(ordinal.index())
    }

    /// Branches with their ordinals.
    pub fn branches(&self) -> impl Iterator<Item = (Ordinal, &Branch)> {
        self.branches.iter().enumerate().map(|(index, branch)| (Ordinal::from_index(index), branch))
    }

    /// When the record may be forgotten; never while it is open (invariant I10).
    #[must_use]
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.ended_at.map(|ended| ended + Duration::from_millis(self.retention_ms))
    }

    /// When someone must look at it next; nobody needs to once it is final or wholly parked.
    #[must_use]
    pub fn due_at(&self, now: Timestamp) -> Option<Timestamp> {
        match self.state {
            TransactionState::Trying => Some(self.lease_until.min(self.deadline_at)),
            TransactionState::Confirmed | TransactionState::Cancelled => None,
            TransactionState::Confirming | TransactionState::Cancelling => self
                .branches
                .iter()
                .filter(|branch| branch.is_drivable())
                .map(|branch| {
                    let free = branch.leased_until(now).unwrap_or(branch.next_attempt_at);
                    // While a message stands, nobody has anything to do.
                    let rung = self.bells.get(branch.action.participant());
                    rung.map_or(free, |bell| bell.again_at.max(free))
                })
                .min(),
        }
    }

    /// Bytes of all payloads.
    #[must_use]
    pub fn payload_bytes(&self) -> usize {
        let size = |payload: &Option<Payload>| payload.as_ref().map_or(0, Payload::len);
        self.branches.iter().map(|branch| size(&branch.arguments) + size(&branch.result)).sum()
    }
}

/// Cuts an error text to [`ERROR_BYTES_MAX`] at a character's end.
#[must_use]
pub fn cut_error(mut text: String) -> String {
    if text.len() > ERROR_BYTES_MAX {
        let mut end = ERROR_BYTES_MAX - '…'.len_utf8();
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::variants;

    #[test]
    fn long_errors_are_cut_at_a_character() {
        let longest = "x".repeat(ERROR_BYTES_MAX);
        assert_eq!(cut_error(longest.clone()), longest);
        let cut = cut_error(longest + "x");
        assert_eq!((cut.len(), cut.ends_with("xx…")), (ERROR_BYTES_MAX, true));
        let cut = cut_error("ä".repeat(400));
        assert!((ERROR_BYTES_MAX - 1..=ERROR_BYTES_MAX).contains(&cut.len()) && cut.ends_with("ä…"));
        assert_eq!(cut_error("short".into()), "short");
    }

    #[test]
    fn states_and_directions_print_as_they_are_stored() {
        use BranchState as B;
        use TransactionState as T;
        let stored = |value: serde_json::Value| value.as_str().expect("text").to_owned();
        for direction in variants::directions() {
            assert_eq!(direction.to_string(), stored(serde_json::to_value(direction).unwrap()));
        }
        for state in [T::Trying, T::Confirming, T::Confirmed, T::Cancelling, T::Cancelled] {
            assert_eq!(state.to_string(), stored(serde_json::to_value(state).unwrap()));
        }
        for state in
            [B::Trying, B::Tried, B::Refused, B::Confirming, B::Confirmed, B::Cancelling, B::Cancelled]
        {
            assert_eq!(state.to_string(), stored(serde_json::to_value(state).unwrap()));
        }
    }

    #[test]
    fn reasons_and_causes_are_told_apart() {
        let reasons: std::collections::BTreeSet<_> =
            variants::reasons().iter().map(ToString::to_string).collect();
        assert_eq!(reasons.len(), variants::reasons().len());
        let causes: std::collections::BTreeSet<_> =
            variants::park_causes().iter().map(ToString::to_string).collect();
        assert_eq!(causes.len(), variants::park_causes().len());
        assert!(reasons.union(&causes).all(|text| !text.is_empty()));
        assert_eq!(format!("{:?}", Token(255)), "00000000000000ff");
    }
}
