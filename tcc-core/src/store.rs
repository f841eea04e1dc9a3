//! What the runtime asks of a store.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;

use crate::{
    gid::Gid,
    machine::{Answer, Op, Refusal},
    name::{BusinessKey, Name},
    operator::{AuditCursor, AuditPage, PAUSES_MAX, Pause, Presence, Scope, Why},
    outcome::BoxError,
    record::Record,
    time::Timestamp,
};

/// For how long a process counts as living after it was heard.
pub const PRESENT_FOR: Duration = Duration::from_secs(60);

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
    async fn apply(&self, gid: &Gid, op: &Op) -> Result<Applied, StoreError>;

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

    /// The pauses that stand, in the order of their scopes: no more than [`PAUSES_MAX`].
    async fn pauses(&self) -> Result<Vec<Pause>, StoreError>;

    /// Pauses phase two of what the scope covers, and keeps it in the audit of shard 0. Gives whether this
    /// call did: a pause that stands already stays as it is. One more than [`PAUSES_MAX`] is refused as
    /// [`StoreErrorKind::Full`].
    ///
    /// A process heeds it from its next look at [`pauses`](Self::pauses): once a round of its sweeper.
    /// Handlers that run already end as they would have.
    async fn pause(&self, scope: &Scope, by: &Name, why: &Why) -> Result<bool, StoreError>;

    /// Ends a pause, and keeps it in the audit of shard 0. Gives whether there was one.
    async fn resume(&self, scope: &Scope, by: &Name, why: &Why) -> Result<bool, StoreError>;

    /// What operators changed in a shard, newest first, from the end or from a place in it, no more than
    /// `max`. No more than [`AUDIT_ENTRIES_MAX`](crate::AUDIT_ENTRIES_MAX) are kept.
    async fn audit(
        &self,
        shard: u16,
        before: Option<&AuditCursor>,
        max: usize,
    ) -> Result<AuditPage, StoreError>;

    /// Keeps what a process tells of itself, which counts for [`PRESENT_FOR`].
    async fn announce(&self, presence: &Presence) -> Result<(), StoreError>;

    /// Processes that were heard within [`PRESENT_FOR`], by their names, no more than `max`.
    async fn processes(&self, max: usize) -> Result<Vec<Presence>, StoreError>;
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
    /// One pause more than there may be.
    #[must_use]
    pub fn too_many_pauses() -> Self {
        let message =
            format!("{PAUSES_MAX} pauses stand, and no more may; resume some, or pause whole participants");
        Self::new(StoreErrorKind::Full, message)
    }

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
