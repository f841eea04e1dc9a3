//! What became of a try, of a phase, and of a whole transaction.

use std::{error::Error, fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    error::{Contradiction, find},
    gid::Gid,
    name::Name,
    record::{Decision, TransactionState},
};

/// An error of any type, boxed.
pub type BoxError = Box<dyn Error + Send + Sync + 'static>;

/// What cancel is told about the try it undoes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum TryOutcome<T> {
    /// Try returned this value: its reservation stands and must be released.
    Succeeded(T),
    /// Try returned an error. It should have left nothing behind.
    Refused,
    /// The process died, the try ran out of time, or its answer was lost: it may have taken effect,
    /// and may yet. Cancel must make sure that it never does, and may be called again when more is known.
    Unknown,
}

impl<T> TryOutcome<T> {
    /// What try returned, if it is known to have succeeded.
    #[must_use]
    pub fn succeeded(self) -> Option<T> {
        match self {
            Self::Succeeded(value) => Some(value),
            Self::Refused | Self::Unknown => None,
        }
    }

    /// The same outcome of another type.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> TryOutcome<U> {
        match self {
            Self::Succeeded(value) => TryOutcome::Succeeded(change(value)),
            Self::Refused => TryOutcome::Refused,
            Self::Unknown => TryOutcome::Unknown,
        }
    }
}

/// Why a confirm or cancel did not finish. It can never turn the decision round.
///
/// `?` on any error gives [`PhaseError::Retry`], unless a [`Contradiction`] is the error or among its causes: that
/// gives [`PhaseError::Park`].
#[derive(Debug)]
pub enum PhaseError {
    /// Try again later, as the action's retry policy says.
    Retry(BoxError),
    /// Stop and wait for an operator; the decision stands.
    Park(BoxError),
    /// Still working: ask again after this long. Spends no attempt.
    Ongoing {
        /// How long to wait before asking again.
        after: Duration,
    },
}

impl PhaseError {
    /// Try again later.
    pub fn retry(cause: impl Into<BoxError>) -> Self {
        Self::Retry(cause.into())
    }

    /// Stop and wait for an operator.
    pub fn park(cause: impl Into<BoxError>) -> Self {
        Self::Park(cause.into())
    }

    /// Still working: ask again after this long.
    #[must_use]
    pub const fn ongoing(after: Duration) -> Self {
        Self::Ongoing { after }
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for PhaseError {
    fn from(error: E) -> Self {
        if find::<Contradiction>(&error).is_some() {
            return Self::Park(Box::new(error));
        }
        Self::Retry(Box::new(error))
    }
}

impl fmt::Display for PhaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Retry(cause) => write!(f, "to be retried: {cause}"),
            Self::Park(cause) => write!(f, "parked: {cause}"),
            Self::Ongoing { after } => write!(f, "still working, ask again in {after:?}"),
        }
    }
}

/// Where a transaction stands, as the store tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Outcome {
    /// The transaction.
    pub gid: Gid,
    /// Its name.
    pub name: Name,
    /// How far it is.
    pub state: TransactionState,
    /// The decision, once made.
    pub decision: Option<Decision>,
    /// How many of its branches are parked and wait for an operator.
    pub parked: usize,
}

impl Outcome {
    /// Whether the transaction is decided to be confirmed. The decision never changes.
    #[must_use]
    pub fn is_confirm(&self) -> bool {
        matches!(self.state, TransactionState::Confirming | TransactionState::Confirmed)
    }

    /// Whether the transaction is decided to be cancelled. The decision never changes.
    #[must_use]
    pub fn is_cancel(&self) -> bool {
        matches!(self.state, TransactionState::Cancelling | TransactionState::Cancelled)
    }

    /// Whether every branch is final.
    #[must_use]
    pub fn is_final(&self) -> bool {
        self.state.is_final()
    }
}

/// What a transaction with a business key came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keyed<T> {
    /// The key was new: the closure ran, and this is what it returned.
    First(T),
    /// The key was taken: nothing ran, and this is how the first transaction stands.
    Repeated(Outcome),
}

impl<T> Keyed<T> {
    /// What the closure returned, if it ran.
    #[must_use]
    pub fn first(self) -> Option<T> {
        match self {
            Self::First(value) => Some(value),
            Self::Repeated(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum BooksError {
        #[error("the database did not answer")]
        Database(#[source] fmt::Error),
        #[error("the books of order 17 are wrong")]
        Wrong(#[source] Contradiction),
        #[error(transparent)]
        Passed(Box<BooksError>),
    }

    fn asked(error: impl Error + Send + Sync + 'static) -> PhaseError {
        let settle = || -> Result<(), PhaseError> { Err(error)? };
        settle().expect_err("an error")
    }

    #[test]
    fn a_contradiction_anywhere_in_the_chain_of_causes_parks() {
        let contradiction = || Contradiction::new("confirmed");
        assert!(matches!(asked(contradiction()), PhaseError::Park(_)));
        assert!(matches!(asked(BooksError::Wrong(contradiction())), PhaseError::Park(_)));
        let passed = asked(BooksError::Passed(Box::new(BooksError::Wrong(contradiction()))));
        let PhaseError::Park(kept) = passed else { panic!("{passed}") };
        assert!(kept.is::<BooksError>(), "the error is kept whole");
    }

    #[test]
    fn any_other_error_is_retried() {
        assert!(matches!(asked(fmt::Error), PhaseError::Retry(_)));
        assert!(matches!(asked(BooksError::Database(fmt::Error)), PhaseError::Retry(_)));
    }
}
