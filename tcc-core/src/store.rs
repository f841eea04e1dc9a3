//! What the runtime asks of a store.

use std::{fmt, sync::Arc};

use async_trait::async_trait;

use crate::{
    gid::Gid,
    machine::{Answer, Op, Refusal},
    name::{BusinessKey, Name},
    outcome::BoxError,
    record::Record,
    time::Timestamp,
};

/// Keeps records, serialises the operations on each, and carries messages to participants.
///
/// A store decides nothing: what an operation does is [`machine::apply`](crate::machine::apply)'s to say.
/// Every call may be repeated at any later time (rule 14), and every error but a refusal means
/// "unknown": the operation may have been applied.
///
/// Cancellation safety: a dropped call may or may not have been applied, like one whose answer was lost.
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Number of shards, at least 1 and at most [`SHARDS_MAX`](crate::SHARDS_MAX).
    fn shards(&self) -> u16;

    /// Server time of a shard.
    async fn now(&self, shard: u16) -> Result<Timestamp, StoreError>;

    /// Applies one operation to one transaction in one atomic step, durably before it answers.
    async fn apply(&self, gid: &Gid, op: Op) -> Result<Applied, StoreError>;

    /// The record of a transaction.
    async fn load(&self, gid: &Gid) -> Result<Option<Record>, StoreError>;

    /// The transaction that holds a business key.
    async fn find(&self, name: &Name, key: &BusinessKey) -> Result<Option<Gid>, StoreError>;

    /// Transactions of a shard whose timer has run out, and when it did, earliest first, no more than `max`.
    async fn due(&self, shard: u16, max: usize) -> Result<Vec<(Gid, Timestamp)>, StoreError>;

    /// Open transactions of a shard in the order of their ids, after one, no more than `max`.
    async fn open(&self, shard: u16, after: Option<&Gid>, max: usize) -> Result<Vec<Gid>, StoreError>;

    /// Takes these alarms of a shard, by id, for the caller to tell: whether each is its own now, because nobody holds it
    /// or nobody does any more at `now`. It is held until `until`. An id has no more than 160 bytes.
    async fn take_alarms(
        &self,
        shard: u16,
        ids: &[String],
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<bool>, StoreError>;

    /// Has these alarms of a shard taken by nobody until `until`.
    async fn rest_alarms(&self, shard: u16, ids: &[String], until: Timestamp) -> Result<(), StoreError>;

    /// Listens for the messages of these participants on behalf of a process.
    async fn listen(&self, process: &Name, participants: &[Name]) -> Result<Box<dyn Doorbells>, StoreError>;
}

/// Messages for a process's participants.
#[async_trait]
pub trait Doorbells: Send {
    /// Waits for messages and takes no more than `max`, at least 1. A message taken is gone; what it
    /// stood for is found again by the transaction's timer.
    ///
    /// Not cancel-safe: a message may be taken and lost with the future. Run it in a task of its own and
    /// end that task.
    async fn next(&mut self, max: usize) -> Result<Vec<Doorbell>, StoreError>;
}

/// A message: a participant of a transaction has work.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Doorbell {
    /// The transaction.
    pub gid: Gid,
    /// The participant.
    pub participant: Name,
}

/// An applied operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Server time of the step.
    pub now: Timestamp,
    /// The answer, or why the operation was refused.
    pub result: Result<Answer, Refusal>,
}

/// What went wrong between runtime and store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// The store could not be reached or did not answer: the operation may have been applied.
    Unavailable,
    /// The store has no room; nothing was begun.
    Full,
    /// What the store holds cannot be read, or contradicts itself.
    Corrupt,
    /// The store refuses this client or this configuration.
    Misconfigured,
}

/// An error between runtime and store.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct StoreError {
    kind: StoreErrorKind,
    message: String,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl StoreError {
    /// An error with what happened and what to do.
    pub fn new(kind: StoreErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// The same, with its cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.source = Some(Arc::from(source.into()));
        self
    }

    /// What kind of error it is.
    #[must_use]
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }

    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind, StoreErrorKind::Unavailable | StoreErrorKind::Full)
    }
}
