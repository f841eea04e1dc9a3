//! Beginning, running and ending a transaction.

use std::{
    panic::{AssertUnwindSafe, resume_unwind},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures_util::FutureExt;
use tokio::sync::OwnedSemaphorePermit;
use tracing::Instrument;

use crate::{
    error::{Abort, InvalidInput, TransactionError, TransactionErrorKind as Kind},
    gid::Gid,
    machine::{Begin, Begun, Create, Refusal},
    name::{BusinessKey, Name},
    outcome::{Keyed, Outcome},
    record::{Direction, Reason},
    runtime::{Awaited, Shared, chain},
    seam::within,
    store::StoreErrorKind,
    trace_parent::TraceParent,
    tx::{self, BegunHow, Deciding, Settled, Tx, TxInner},
};

/// Before the store is asked how a transaction stands that this process may end itself.
const LOOK_FIRST: Duration = Duration::from_millis(20);
/// Longest pause between two looks at a transaction someone else finishes.
const LOOK_CAP: Duration = Duration::from_millis(500);
/// How often a begin is repeated whose key was freed between two looks.
const KEY_ROUNDS: u32 = 3;

/// A transaction that is described and not begun.
#[must_use = "a transaction does nothing until it is run or begun"]
#[derive(Debug)]
pub struct Transaction {
    shared: Arc<Shared>,
    name: String,
    timeout: Option<Duration>,
    wait_final: Option<Duration>,
    trace_parent: Option<TraceParent>,
}

/// A transaction with a business key that is described and not begun.
#[must_use = "a transaction does nothing until it is run or begun"]
#[derive(Debug)]
pub struct KeyedTransaction {
    plain: Transaction,
    key: String,
    again_after_cancel: bool,
}

/// What a closure ran into: its own error, or the transaction's.
pub(crate) enum Failed<E> {
    Own(E, Gid, Name),
    Transaction(TransactionError),
}

impl Transaction {
    pub(crate) fn new(shared: Arc<Shared>, name: &str) -> Self {
        Self { shared, name: name.to_owned(), timeout: None, wait_final: None, trace_parent: None }
    }

    /// Cancels the transaction if it is not decided within this time.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Returns when every branch is final, waiting no longer than this after the decision; without it
    /// the decision is enough, which never changes and is carried out whatever happens.
    pub fn wait_final(mut self, at_most: Duration) -> Self {
        self.wait_final = Some(at_most);
        self
    }

    /// Names the trace the transaction belongs to. It is kept with each of its branches, unless
    /// [`RuntimeBuilder::trace_context`](crate::RuntimeBuilder::trace_context) knows better, and travels with calls of
    /// other services.
    pub fn trace_parent(mut self, trace: TraceParent) -> Self {
        self.trace_parent = Some(trace);
        self
    }

    /// Gives the operation a business key: 1 to 512 bytes of the caller's own id for it. A second
    /// transaction of the same name and key does not run; it gets the first one's outcome.
    pub fn key(self, key: impl AsRef<str>) -> KeyedTransaction {
        KeyedTransaction { plain: self, key: key.as_ref().to_owned(), again_after_cancel: false }
    }

    /// Runs a closure in a transaction: `Ok` decides confirm; `Err`, a panic, a dropped future or the
    /// deadline decides cancel. A panic goes on when cancel is decided.
    ///
    /// Cancellation safety: if this future is dropped while the closure runs, the transaction is
    /// cancelled; if it is dropped while it decides, the decision is pursued.
    ///
    /// # Errors
    /// A [`TransactionError`] that tells an aborted closure from a transaction that was cancelled for
    /// another reason, one that never began, and one whose decision is not known.
    pub async fn run<T, F>(self, closure: F) -> Result<T, TransactionError>
    where
        F: AsyncFnOnce(&Tx) -> Result<T, Abort>,
    {
        self.execute(closure).await.map_err(aborted)
    }

    /// Begins a transaction that is ended by hand. Dropping it undecided cancels it.
    ///
    /// # Errors
    /// When it cannot begin.
    pub async fn begin(self) -> Result<OpenTransaction, TransactionError> {
        let permit = self.permit()?;
        let create = self.create(None)?;
        let trace = self.trace_parent;
        let inner = TxInner::new(Arc::clone(&self.shared), create, BegunHow::Unrecorded, trace, permit);
        Ok(OpenTransaction { tx: Tx { inner }, wait_final: self.wait_final })
    }

    pub(crate) async fn execute<T, E, F>(self, closure: F) -> Result<T, Failed<E>>
    where
        F: AsyncFnOnce(&Tx) -> Result<T, E>,
    {
        let open = self.begin().await.map_err(Failed::Transaction)?;
        open.execute(closure).await
    }

    /// Everything that can refuse a beginning before the store is asked.
    fn permit(&self) -> Result<OwnedSemaphorePermit, TransactionError> {
        if let Some(outer) = tx::outer() {
            let message =
                format!("transaction `{}` was begun inside {outer}; hand its `Tx` down instead", self.name);
            return Err(TransactionError::new(Kind::Nested, message));
        }
        if !self.shared.accepting.load(Ordering::SeqCst) {
            return Err(TransactionError::new(
                Kind::ShuttingDown,
                "the runtime is shutting down and begins no transaction; begin it in another process",
            ));
        }
        Arc::clone(&self.shared.open).try_acquire_owned().map_err(|_| {
            let message = format!(
                "{} transactions are open in this process (`open_max`); begin later",
                self.shared.config.open_max
            );
            TransactionError::new(Kind::Overloaded, message)
        })
    }

    fn create(&self, key: Option<BusinessKey>) -> Result<Create, TransactionError> {
        let (shared, config) = (&self.shared, &self.shared.config);
        let name = Name::new(&self.name).map_err(invalid)?;
        let timeout = self.timeout.unwrap_or(config.timeout);
        if timeout < Duration::from_millis(1) {
            return Err(TransactionError::new(
                Kind::Invalid,
                "the transaction's timeout must be at least 1 ms",
            ));
        }
        let needed = config.retention_needed(timeout, shared.registry.hard_limit());
        if config.retention < needed {
            let message = format!(
                "the transaction's timeout {timeout:?} needs a `retention` of at least {needed:?}; it is {:?}",
                config.retention
            );
            return Err(TransactionError::new(Kind::Invalid, message));
        }
        let shards = shared.store.shards();
        let shard = match &key {
            Some(key) => crate::gid::shard_of_key(&name, key, shards),
            None => (shared.seam.random() % u64::from(shards)) as u16,
        };
        let now = shared.clock.now(shard);
        Ok(Create {
            gid: Gid::new(now, shared.seam.random(), shard),
            name,
            key,
            initiator: shared.process.clone(),
            deadline_at: now + timeout,
            lease_ms: crate::time::millis(config.lease),
            retention_ms: crate::time::millis(config.retention),
        })
    }
}

impl KeyedTransaction {
    /// Cancels the transaction if it is not decided within this time.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.plain = self.plain.timeout(timeout);
        self
    }

    /// Returns when every branch is final, waiting no longer than this after the decision.
    pub fn wait_final(mut self, at_most: Duration) -> Self {
        self.plain = self.plain.wait_final(at_most);
        self
    }

    /// Names the trace the transaction belongs to, as [`Transaction::trace_parent`] does.
    pub fn trace_parent(mut self, trace: TraceParent) -> Self {
        self.plain = self.plain.trace_parent(trace);
        self
    }

    /// Lets the key begin again once its transaction is cancelled. By default it does not: same key,
    /// same answer.
    pub fn again_after_cancel(mut self, again: bool) -> Self {
        self.again_after_cancel = again;
        self
    }

    /// Runs a closure in the transaction if its key is new, like [`Transaction::run`]; else waits for the
    /// first one's decision, no longer than this one's timeout, and gives how it stands.
    ///
    /// # Errors
    /// As [`Transaction::run`].
    pub async fn run<T, F>(self, closure: F) -> Result<Keyed<T>, TransactionError>
    where
        F: AsyncFnOnce(&Tx) -> Result<T, Abort>,
    {
        self.execute(closure).await.map_err(aborted)
    }

    /// Begins the transaction if its key is new.
    ///
    /// # Errors
    /// When it cannot begin.
    pub async fn begin(self) -> Result<Keyed<OpenTransaction>, TransactionError> {
        let key = BusinessKey::new(&self.key).map_err(invalid)?;
        let plain = self.plain;
        let patience = plain.timeout.unwrap_or(plain.shared.config.timeout);
        for _ in 0..KEY_ROUNDS {
            let permit = plain.permit()?;
            let create = plain.create(Some(key.clone()))?;
            let (gid, name) = (create.gid.clone(), create.name.clone());
            let asked_at = plain.shared.seam.elapsed();
            let begin = Begin { create: create.clone(), again_after_cancel: self.again_after_cancel };
            match plain.shared.call(&gid, begin, patience).await {
                Ok(Ok(Begun::New)) => {
                    let inner = TxInner::new(
                        Arc::clone(&plain.shared),
                        create,
                        BegunHow::Recorded { asked_at },
                        plain.trace_parent.clone(),
                        permit,
                    );
                    return Ok(Keyed::First(OpenTransaction {
                        tx: Tx { inner },
                        wait_final: plain.wait_final,
                    }));
                }
                Ok(Ok(Begun::Taken(first))) => {
                    drop(permit);
                    if let Some(outcome) = plain.joined(&first, &name, patience).await? {
                        return Ok(Keyed::Repeated(outcome));
                    }
                }
                Ok(Err(Refusal::TooLateToCreate)) => {
                    let message = "the store did not begin the transaction before its deadline";
                    return Err(TransactionError::new(Kind::Store, message).of(&gid, &name));
                }
                Ok(Err(refusal)) => {
                    return Err(TransactionError::new(Kind::Invalid, refusal.to_string()).of(&gid, &name));
                }
                Err(error) => {
                    let message = "the store did not begin the transaction";
                    return Err(TransactionError::new(Kind::Store, message).of(&gid, &name).caused_by(error));
                }
            }
        }
        Err(TransactionError::new(
            Kind::Store,
            format!("the transaction that holds key {key} came and went; try again"),
        ))
    }

    pub(crate) async fn execute<T, E, F>(self, closure: F) -> Result<Keyed<T>, Failed<E>>
    where
        F: AsyncFnOnce(&Tx) -> Result<T, E>,
    {
        match self.begin().await.map_err(Failed::Transaction)? {
            Keyed::First(open) => open.execute(closure).await.map(Keyed::First),
            Keyed::Repeated(outcome) => Ok(Keyed::Repeated(outcome)),
        }
    }
}

impl Transaction {
    /// Waits for the first transaction of a key; nothing if it is gone.
    async fn joined(
        &self,
        first: &Gid,
        name: &Name,
        patience: Duration,
    ) -> Result<Option<Outcome>, TransactionError> {
        let far_enough = |outcome: &Outcome| match self.wait_final {
            Some(_) => outcome.is_final() || outcome.parked > 0,
            None => outcome.decision.is_some(),
        };
        let patience = patience.saturating_add(self.wait_final.unwrap_or_default());
        self.shared.wait_until(first, Duration::ZERO, patience, far_enough).await.map_err(|error| {
            let message = "the key belongs to this transaction, and the store does not say how it stands";
            TransactionError::new(Kind::Store, message).of(first, name).caused_by(error)
        })
    }
}

/// A transaction begun by hand. Dropping it undecided cancels it.
#[derive(Debug)]
pub struct OpenTransaction {
    tx: Tx,
    wait_final: Option<Duration>,
}

impl std::ops::Deref for OpenTransaction {
    type Target = Tx;

    fn deref(&self) -> &Tx {
        &self.tx
    }
}

impl OpenTransaction {
    /// Decides confirm, if every branch was tried and its outcome heard.
    ///
    /// Cancellation safety: if this future is dropped, the decision is pursued.
    ///
    /// # Errors
    /// When the transaction is decided to be cancelled instead, or its decision is not known.
    pub async fn commit(self) -> Result<Ending, TransactionError> {
        self.end(Direction::Confirm, Reason::Committed).await
    }

    /// Decides cancel.
    ///
    /// Cancellation safety: if this future is dropped, the decision is pursued.
    ///
    /// # Errors
    /// When the decision is not known, or was made before.
    pub async fn cancel(self) -> Result<Ending, TransactionError> {
        self.end(Direction::Cancel, Reason::Aborted).await
    }

    /// Decides; nothing if there was nothing to decide.
    async fn decide(
        &self,
        direction: Direction,
        reason: Reason,
    ) -> Result<Option<(Settled, Awaited)>, TransactionError> {
        match self.tx.inner.decide(direction, reason) {
            None => Err(self.error(Kind::Lost, "the transaction was decided before".into())),
            Some(Deciding::Nothing) => Ok(None),
            Some(Deciding::Task(settled, ended)) => match settled.await {
                Ok(settled) => Ok(Some((settled?, ended))),
                Err(_) => Err(self
                    .error(Kind::Undecided, "the decision's task was stopped; ask for the outcome".into())),
            },
        }
    }

    async fn end(&self, direction: Direction, reason: Reason) -> Result<Ending, TransactionError> {
        let mut ending = Ending::new(&self.tx.inner);
        let Some((settled, ended)) = self.decide(direction, reason).await? else { return Ok(ending) };
        ending.under_way = (!settled.state.is_final()).then_some(ended);
        if let Some(limit) = self.wait_final {
            ending.wait_for(limit).await?;
        }
        let Settled { decision, state } = settled;
        if decision.direction == direction {
            return Ok(ending);
        }
        let message = format!("the transaction is {state}, because {}", decision.reason);
        Err(self.error(Kind::Cancelled(decision.reason), message))
    }

    fn error(&self, kind: Kind, message: String) -> TransactionError {
        TransactionError::new(kind, message).of(&self.tx.inner.gid, &self.tx.inner.name)
    }

    pub(crate) async fn execute<T, E, F>(self, closure: F) -> Result<T, Failed<E>>
    where
        F: AsyncFnOnce(&Tx) -> Result<T, E>,
    {
        let inner = Arc::clone(&self.tx.inner);
        let seam = Arc::clone(&inner.shared.seam);
        let work =
            AssertUnwindSafe(tx::inside(inner.gid.clone(), closure(&self.tx).instrument(inner.span.clone())))
                .catch_unwind();
        match within(&*seam, inner.time_left(), work).await {
            Some(Ok(Ok(value))) => {
                self.end(Direction::Confirm, Reason::Committed).await.map_err(Failed::Transaction)?;
                Ok(value)
            }
            Some(Ok(Err(error))) => {
                // Nobody but its initiator can commit it: whatever the store says, it will be cancelled.
                if let Err(error) = self.end(Direction::Cancel, Reason::Aborted).await {
                    tracing::warn!(error = chain(&error), "an aborted transaction is left to its lease");
                }
                Err(Failed::Own(error, inner.gid.clone(), inner.name.clone()))
            }
            Some(Err(panic)) => {
                let _ = self.end(Direction::Cancel, Reason::Panicked).await;
                resume_unwind(panic)
            }
            None => {
                let reason = self.overrun().await;
                let message = format!("the transaction is cancelled, because {reason}");
                Err(Failed::Transaction(self.error(Kind::Cancelled(reason), message)))
            }
        }
    }

    /// Cancels because the deadline passed. Gives the reason that stands: another may have been first.
    async fn overrun(&self) -> Reason {
        match self.decide(Direction::Cancel, Reason::DeadlinePassed).await {
            Ok(Some((settled, ended))) => {
                if let Some(limit) = self.wait_final {
                    let under_way = (!settled.state.is_final()).then_some(ended);
                    let _ = Ending { under_way, ..Ending::new(&self.tx.inner) }.wait_for(limit).await;
                }
                settled.decision.reason
            }
            Ok(None) => Reason::DeadlinePassed,
            Err(error) => {
                tracing::warn!(error = chain(&error), "a transaction that overran is left to its lease");
                Reason::DeadlinePassed
            }
        }
    }
}

impl Drop for OpenTransaction {
    fn drop(&mut self) {
        // Nothing happens if it was decided. The task goes on by itself.
        let _ = self.tx.inner.decide(Direction::Cancel, Reason::Dropped);
    }
}

/// A decided transaction on its way to its end. The decision stands, and is carried out whether or not
/// anybody waits.
#[derive(Debug)]
pub struct Ending {
    shared: Arc<Shared>,
    gid: Gid,
    name: Name,
    /// Where its end is told if it comes about in this process; nothing once it is over.
    under_way: Option<Awaited>,
}

impl Ending {
    fn new(inner: &TxInner) -> Self {
        let (shared, gid, name) = (Arc::clone(&inner.shared), inner.gid.clone(), inner.name.clone());
        Self { shared, gid, name, under_way: None }
    }

    /// The transaction's id.
    #[must_use]
    pub fn gid(&self) -> &Gid {
        &self.gid
    }

    /// Waits until every branch is final, no longer than this.
    ///
    /// # Errors
    /// When the time is over first, a branch waits for an operator, or the store does not answer.
    pub async fn wait(mut self, at_most: Duration) -> Result<(), TransactionError> {
        self.wait_for(at_most).await
    }

    async fn wait_for(&mut self, limit: Duration) -> Result<(), TransactionError> {
        let Some(mut ended) = self.under_way.take() else { return Ok(()) };
        let far_enough = |outcome: &Outcome| outcome.is_final() || outcome.parked > 0;
        let outcome = tokio::select! {
            biased;
            () = ended.told() => return Ok(()),
            // It may be others who end it.
            outcome = self.shared.wait_until(&self.gid, LOOK_FIRST, limit, far_enough) => outcome,
        };
        let error = |message| TransactionError::new(Kind::NotFinal, message).of(&self.gid, &self.name);
        match outcome {
            Ok(Some(outcome)) if outcome.is_final() => Ok(()),
            Ok(Some(outcome)) => {
                let parked = if outcome.parked > 0 { " and waits for an operator" } else { "" };
                let message = format!("the transaction is {}{parked}; the decision stands", outcome.state);
                Err(error(message).with_outcome(outcome))
            }
            Ok(None) => {
                Err(TransactionError::new(Kind::Lost, "the record is gone").of(&self.gid, &self.name))
            }
            Err(cause) => {
                let message = "the transaction is decided; the store does not say how it stands";
                Err(error(message.into()).caused_by(cause))
            }
        }
    }
}

impl Shared {
    /// Looks at a transaction, `first` after now and then over and over, until it is far enough or the limit
    /// is over; gives how it stood last.
    async fn wait_until(
        &self,
        gid: &Gid,
        first: Duration,
        limit: Duration,
        far_enough: impl Fn(&Outcome) -> bool,
    ) -> Result<Option<Outcome>, crate::store::StoreError> {
        let started = self.seam.elapsed();
        if !first.is_zero() {
            self.seam.sleep(first.min(limit)).await;
        }
        let mut pause = Duration::from_millis(10);
        loop {
            let looked = self.outcome(gid).await;
            let left = limit.saturating_sub(self.seam.elapsed().saturating_sub(started));
            let over = left.is_zero();
            match looked {
                Ok(Some(outcome)) if over || far_enough(&outcome) => return Ok(Some(outcome)),
                Ok(None) => return Ok(None),
                Err(error) if over || error.kind() != StoreErrorKind::Unavailable => return Err(error),
                Ok(Some(_)) | Err(_) => {}
            }
            self.seam.sleep(pause.min(left)).await;
            pause = (pause * 2).min(LOOK_CAP);
        }
    }
}

fn invalid(error: InvalidInput) -> TransactionError {
    TransactionError::new(Kind::Invalid, format!("the transaction cannot begin: {error}"))
}

fn aborted(failed: Failed<Abort>) -> TransactionError {
    match failed {
        Failed::Own(cause, gid, name) => TransactionError::aborted(cause).of(&gid, &name),
        Failed::Transaction(error) => error,
    }
}
