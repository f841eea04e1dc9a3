//! Errors a user meets.

use std::{error::Error, fmt};

use crate::{
    gid::Gid,
    machine::Refusal,
    name::Name,
    outcome::{BoxError, Outcome},
    payload::EncodeError,
    record::Reason,
    store::StoreError,
};

/// A value a caller gave that does not keep to its rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} {value:?} is refused: it must be {rule}")]
pub struct InvalidInput {
    field: &'static str,
    value: String,
    rule: &'static str,
}

impl InvalidInput {
    pub(crate) fn new(field: &'static str, value: impl Into<String>, rule: &'static str) -> Self {
        let mut value: String = value.into();
        if value.chars().count() > 60 {
            value = value.chars().take(60).chain(['…']).collect();
        }
        Self { field, value, rule }
    }
}

/// A participant's own store says the opposite of what its branch was decided to do: confirmed where it is to be
/// cancelled, never tried where it is to be confirmed.
///
/// No retry mends that, so an error with one of these among its causes is parked by `?`
/// (see [`PhaseError`](crate::PhaseError)). Name it as the source of an error of your own to have the same.
///
/// ```
/// use tcc_core::{Contradiction, PhaseError};
///
/// #[derive(Debug, thiserror::Error)]
/// #[error("the books do not add up")]
/// struct BooksError(#[from] Contradiction);
///
/// fn settle() -> Result<(), PhaseError> {
///     Err(BooksError(Contradiction::new("the charge is gone")))?
/// }
/// assert!(matches!(settle(), Err(PhaseError::Park(_))));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Contradiction(String);

impl Contradiction {
    /// What is said, and what was expected.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// Why a transaction's closure gave up: any error at all, kept whole.
///
/// `?` makes one of every error type, and [`Abort::downcast_ref`] gives it back. It is no
/// [`Error`] itself, so that this conversion can exist.
pub struct Abort(BoxError);

impl Abort {
    /// From an error.
    pub fn new(error: impl Into<BoxError>) -> Self {
        Self(error.into())
    }

    /// From a text.
    pub fn msg(text: impl Into<String>) -> Self {
        Self(text.into().into())
    }

    /// The error, if it is an `E`.
    #[must_use]
    pub fn downcast_ref<E: Error + 'static>(&self) -> Option<&E> {
        self.0.downcast_ref()
    }

    /// The error, if it is an `E`.
    ///
    /// # Errors
    /// Itself, if it is not.
    pub fn downcast<E: Error + 'static>(self) -> Result<E, Self> {
        self.0.downcast().map(|error| *error).map_err(Self)
    }

    /// The error as a trait object.
    #[must_use]
    pub fn as_error(&self) -> &(dyn Error + Send + Sync + 'static) {
        &*self.0
    }

    /// The first `E` in the chain of causes: a participant's own error, an [`UnknownTry`], a [`NotRun`].
    #[must_use]
    pub fn find<E: Error + 'static>(&self) -> Option<&E> {
        find(self.as_error())
    }

    /// The boxed error.
    #[must_use]
    pub fn into_inner(self) -> BoxError {
        self.0
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for Abort {
    fn from(error: E) -> Self {
        Self(Box::new(error))
    }
}

impl fmt::Display for Abort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Abort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// The first `E` in the chain of causes.
pub(crate) fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// Why a try gave no value.
#[derive(Debug)]
#[non_exhaustive]
pub enum TryError<E> {
    /// The try ran and returned this error. The caller may handle it and still commit: this branch is
    /// cancelled while the rest is confirmed.
    Rejected(E),
    /// Nobody knows what the try came to. The transaction can only cancel.
    Unknown(UnknownTry),
    /// The try never ran.
    NotRun(NotRun),
}

/// Why nobody knows what a try came to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnknownTry {
    /// It did not end within its timeout or the transaction's deadline; it runs on, detached.
    TimedOut,
    /// It panicked, with this message.
    Panicked(String),
    /// It was stopped before it ended.
    Stopped,
    /// It returned a value that cannot be kept.
    Unkept(String),
}

impl Error for UnknownTry {}

impl fmt::Display for UnknownTry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str("it did not end in time"),
            Self::Panicked(message) => write!(f, "it panicked: {message}"),
            Self::Stopped => f.write_str("it was stopped before it ended"),
            Self::Unkept(cause) => write!(f, "its result cannot be kept: {cause}"),
        }
    }
}

impl<E: fmt::Display> fmt::Display for TryError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // The cause is the source; saying it here again would print it twice in a chain.
            Self::Rejected(_) => f.write_str("the try was rejected"),
            Self::Unknown(_) => f.write_str("the try's outcome is unknown"),
            Self::NotRun(_) => f.write_str("the try did not run"),
        }
    }
}

impl<E: Error + 'static> Error for TryError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Rejected(error) => Some(error),
            Self::NotRun(why) => Some(why),
            Self::Unknown(why) => Some(why),
        }
    }
}

/// Why a try never ran.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotRun {
    /// An argument cannot be kept.
    #[error("an argument cannot be kept")]
    Arguments(#[from] EncodeError),
    /// An argument is larger than allowed.
    #[error(
        "the arguments of {action} take {bytes} bytes; the limit `payload_bytes_max` is {max}; raise it or store a reference"
    )]
    TooLarge {
        /// The action's wire name.
        action: String,
        /// Size of its arguments.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// This runtime does not host the participant.
    #[error(
        "participant `{participant}` is not registered with this runtime; hand it to `Runtime::builder().participant(..)` (registered: {known})"
    )]
    NoParticipant {
        /// The participant's name.
        participant: String,
        /// The names that are registered.
        known: String,
    },
    /// The participant hosted under this name has another type, or does not have the action.
    #[error(
        "participant `{participant}` is registered with another type, or without action {action}; register the one that offers it"
    )]
    NoAction {
        /// The participant's name.
        participant: String,
        /// The action's wire name.
        action: String,
    },
    /// The action cannot be called by wire name.
    #[error(
        "action {0} has arguments that are never stored (`#[tcc(skip)]`): call it through its typed client"
    )]
    TypedOnly(String),
    /// A name is refused.
    #[error(transparent)]
    Invalid(#[from] InvalidInput),
    /// The record refuses the branch.
    #[error("the branch was not registered in {gid}")]
    Refused {
        /// The transaction.
        gid: Gid,
        /// Why.
        #[source]
        refusal: Refusal,
    },
    /// The store did not say whether the branch is registered.
    #[error("it is not known whether the branch was registered in {gid}")]
    Store {
        /// The transaction.
        gid: Gid,
        /// The store's error.
        #[source]
        error: StoreError,
    },
    /// The transaction is over.
    #[error("transaction {0} is being decided or is decided: no branch can be added")]
    Over(Gid),
    /// A call that is joined belongs to another transaction than the first.
    #[error("calls of different transactions cannot be joined; this one belongs to {0}")]
    OtherTransaction(Gid),
    /// A call was polled before it was joined.
    #[error("a call that was awaited before cannot be joined; hand it to the join at once")]
    AwaitedBefore,
    /// An earlier run of the same call was rejected. The error was told then, and is not kept; the branch will be
    /// cancelled, and the caller may go on without it.
    #[error("call {call} of {gid} was made before, and its try was rejected")]
    RejectedBefore {
        /// The transaction.
        gid: Gid,
        /// Id of the call.
        call: String,
    },
    /// Another run of the same call tries the branch, and did not end in time.
    #[error("call {call} of {gid} is being tried elsewhere")]
    Elsewhere {
        /// The transaction.
        gid: Gid,
        /// Id of the call.
        call: String,
    },
}

/// What became of a transaction that gave no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TransactionErrorKind {
    /// The closure gave up; the transaction is decided to be cancelled.
    Aborted,
    /// The closure succeeded, yet the transaction is decided to be cancelled, for this reason.
    Cancelled(Reason),
    /// The store did not say what was decided. Ask by gid; no decision is final without an answer.
    Undecided,
    /// The transaction is decided, and not final within the time asked for.
    NotFinal,
    /// The record is gone: it was lost, or its retention is over.
    Lost,
    /// Nothing was begun: a name, key or time is refused.
    Invalid,
    /// Nothing was begun: another transaction is running here.
    Nested,
    /// Nothing was begun: too many transactions are open in this process.
    Overloaded,
    /// Nothing was begun: the runtime is shutting down.
    ShuttingDown,
    /// Nothing was begun, as far as is known: the store cannot be reached.
    Store,
}

/// A transaction that gave no value.
#[derive(Debug)]
pub struct TransactionError(Box<Details>);

#[derive(Debug)]
struct Details {
    kind: TransactionErrorKind,
    gid: Option<Gid>,
    name: Option<Name>,
    message: String,
    outcome: Option<Outcome>,
    source: Option<Abort>,
}

impl TransactionError {
    pub(crate) fn new(kind: TransactionErrorKind, message: impl Into<String>) -> Self {
        let message = message.into();
        Self(Box::new(Details { kind, gid: None, name: None, message, outcome: None, source: None }))
    }

    pub(crate) fn of(mut self, gid: &Gid, name: &Name) -> Self {
        self.0.gid = Some(gid.clone());
        self.0.name = Some(name.clone());
        self
    }

    pub(crate) fn belongs_to(&mut self, gid: &Gid, name: &Name) {
        if self.0.gid.is_none() {
            self.0.gid = Some(gid.clone());
            self.0.name = Some(name.clone());
        }
    }

    pub(crate) fn with_outcome(mut self, outcome: Outcome) -> Self {
        self.0.outcome = Some(outcome);
        self
    }

    pub(crate) fn caused_by(mut self, cause: impl Into<Abort>) -> Self {
        self.0.source = Some(cause.into());
        self
    }

    pub(crate) fn aborted(cause: Abort) -> Self {
        Self::new(TransactionErrorKind::Aborted, "the transaction was aborted and is cancelled")
            .caused_by(cause)
    }

    /// What became of it.
    #[must_use]
    pub fn kind(&self) -> TransactionErrorKind {
        self.0.kind
    }

    /// Its id, unless nothing was begun.
    #[must_use]
    pub fn gid(&self) -> Option<&Gid> {
        self.0.gid.as_ref()
    }

    /// How it stood when last heard of, where that is known.
    #[must_use]
    pub fn outcome(&self) -> Option<&Outcome> {
        self.0.outcome.as_ref()
    }

    /// Why the closure gave up.
    #[must_use]
    pub fn abort(&self) -> Option<&Abort> {
        self.0.source.as_ref().filter(|_| self.0.kind == TransactionErrorKind::Aborted)
    }

    /// Why the closure gave up.
    ///
    /// # Errors
    /// Itself, if the closure did not give up.
    pub fn into_abort(mut self) -> Result<Abort, Self> {
        match self.0.source.take() {
            Some(cause) if self.0.kind == TransactionErrorKind::Aborted => Ok(cause),
            cause => {
                self.0.source = cause;
                Err(self)
            }
        }
    }

    /// The first `E` in the chain of causes: a participant's own error as its try returned it, an
    /// [`UnknownTry`] where nobody knows what a try came to, a [`NotRun`] where one never ran.
    #[must_use]
    pub fn find<E: Error + 'static>(&self) -> Option<&E> {
        self.abort().and_then(Abort::find)
    }

    /// Whether the same operation may succeed if it is run again as a new transaction. Never so while
    /// it is not known what was decided.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(
            self.0.kind,
            TransactionErrorKind::Overloaded
                | TransactionErrorKind::ShuttingDown
                | TransactionErrorKind::Store
                | TransactionErrorKind::Cancelled(_)
        )
    }
}

impl fmt::Display for TransactionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.0.name, &self.0.gid) {
            (Some(name), Some(gid)) => write!(f, "{name} {gid}: {}", self.0.message),
            _ => f.write_str(&self.0.message),
        }
    }
}

impl Error for TransactionError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source.as_ref().map(|cause| cause.as_error() as &(dyn Error + 'static))
    }
}

impl From<Abort> for TransactionError {
    fn from(cause: Abort) -> Self {
        Self::aborted(cause)
    }
}

impl<E: Error + Send + Sync + 'static> From<TryError<E>> for TransactionError {
    fn from(error: TryError<E>) -> Self {
        Self::aborted(Abort::from(error))
    }
}
