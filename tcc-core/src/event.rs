//! What a runtime tells those who subscribe to it.

use std::time::Duration;

use crate::{
    gid::Gid,
    name::{ActionName, Name, Ordinal},
    record::{Decision, Direction, ParkCause, Seen},
};

/// Something that happened to a transaction in this process.
///
/// Events are for eyes and metrics: they are sent once, without waiting, to whoever listens, and a slow
/// listener loses the oldest. The record in the store is the truth.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A transaction began.
    Begun {
        /// The transaction.
        gid: Gid,
        /// Its name.
        name: Name,
    },
    /// A branch was registered, and its try starts.
    Registered {
        /// The transaction.
        gid: Gid,
        /// The branch.
        branch: Ordinal,
        /// Its action.
        action: ActionName,
    },
    /// A try ended.
    Tried {
        /// The transaction.
        gid: Gid,
        /// The branch.
        branch: Ordinal,
        /// What is known of it.
        outcome: Seen,
        /// Whether it ended after the decision was sent.
        late: bool,
    },
    /// A transaction was decided, by this process or before it.
    Decided {
        /// The transaction.
        gid: Gid,
        /// The decision that stands.
        decision: Decision,
    },
    /// A branch became final.
    BranchFinal {
        /// The transaction.
        gid: Gid,
        /// The branch.
        branch: Ordinal,
        /// Confirmed or cancelled.
        direction: Direction,
        /// Number of the attempt that did it.
        attempt: u32,
    },
    /// An attempt at confirm or cancel failed.
    AttemptFailed {
        /// The transaction.
        gid: Gid,
        /// The branch.
        branch: Ordinal,
        /// Confirm or cancel.
        direction: Direction,
        /// Number of the attempt.
        attempt: u32,
        /// Why.
        error: String,
        /// Before the next attempt.
        retry_in: Duration,
    },
    /// A branch was parked and waits for an operator.
    Parked {
        /// The transaction.
        gid: Gid,
        /// The branch.
        branch: Ordinal,
        /// Its action.
        action: ActionName,
        /// Why.
        cause: ParkCause,
        /// The evidence.
        error: String,
    },
    /// A branch was tried and its record is gone. Its cancel was run here, unless a commit whose answer was
    /// lost may have confirmed it.
    CancelledWithoutRecord {
        /// The transaction.
        gid: Gid,
        /// The branch.
        branch: Ordinal,
        /// Its action.
        action: ActionName,
        /// Why cancel failed or was not run, if so: its reservation may stand, and only this event tells.
        error: Option<String>,
    },
    /// A transaction in flight has an action that no version in this process can serve.
    Unhandled {
        /// The transaction.
        gid: Gid,
        /// The action.
        action: ActionName,
    },
    /// The store failed a background task, which goes on.
    StoreTrouble {
        /// What was being done.
        doing: &'static str,
        /// The transaction, where it was one.
        gid: Option<Gid>,
        /// The error.
        error: String,
    },
}
