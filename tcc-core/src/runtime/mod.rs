//! The runtime a user embeds: it begins and decides transactions, drives phase two, and looks after
//! whatever other processes left.

mod builder;
mod calls;
mod driver;
mod endings;
mod keeper;
mod kept;
mod pace;
mod pauses;
mod registry;
mod shutdown;
mod survey;
mod sweeper;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::{Semaphore, broadcast, mpsc};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

pub use builder::{RuntimeBuilder, StartError};
pub(crate) use calls::Called;
pub(crate) use driver::{Group, chain};
pub(crate) use endings::Awaited;
use endings::Endings;
use kept::Commits;
pub(crate) use kept::{Kept, KeptBranch};
use pauses::Pauses;
pub(crate) use registry::Hosted;
use registry::Registry;
pub(crate) use survey::Suspect;

use crate::{
    config::{Config, FenceRetention},
    context_key::ContextKey,
    event::Event,
    gid::Gid,
    machine::{Decide, Operate, Operated, Redrive, Refusal},
    metrics::{Meter, StoreCall},
    name::{ActionName, BusinessKey, Name, Ordinal},
    outcome::Outcome,
    record::{Decision, Direction, Reason, Record},
    seam::{Seam, ServerClock},
    store::{Store, StoreError},
    transaction::Transaction,
    tx::{CallContext, JoinError, Joined, TxInner},
};

/// A runtime: a cheap handle that clones share.
///
/// Dropping the last handle, or cancelling the token given to the builder, begins a graceful shutdown.
#[derive(Clone)]
pub struct Runtime {
    shared: Arc<Shared>,
    _stop: Arc<DropGuard>,
}

pub(crate) struct Shared {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) seam: Arc<dyn Seam>,
    pub(crate) clock: ServerClock,
    pub(crate) config: Config,
    pub(crate) process: Name,
    pub(crate) registry: Registry,
    pub(crate) pauses: Pauses,
    /// Bounds the groups of branches driven at a time.
    pub(crate) drives: Arc<Semaphore>,
    /// Bounds the transactions open at a time.
    pub(crate) open: Arc<Semaphore>,
    /// Transactions of this process that may need their lease renewed.
    pub(crate) leases: Mutex<BTreeMap<Gid, Weak<TxInner>>>,
    /// Who waits here for a transaction's end.
    pub(crate) endings: Arc<Endings>,
    /// What was committed here and left to messages.
    pub(crate) commits: Commits,
    pub(crate) events: broadcast::Sender<Event>,
    pub(crate) accepting: AtomicBool,
    pub(crate) stopping: CancellationToken,
    pub(crate) handing_over: CancellationToken,
    pub(crate) stopped: CancellationToken,
    /// Open transactions, and the tasks of tries, decisions and late outcomes.
    pub(crate) tracker: TaskTracker,
    /// Groups of branches being driven.
    pub(crate) driving: TaskTracker,
    pub(crate) unhandled: Mutex<Vec<(Gid, ActionName)>>,
    pub(crate) trace_context: Option<TraceContext>,
    pub(crate) context_key: Option<ContextKey>,
    pub(crate) meter: Meter,
    /// What may have to be told, if anybody is to be.
    pub(crate) suspects: Option<mpsc::Sender<Suspect>>,
}

/// Gives the W3C trace context of the span the caller is in.
pub(crate) type TraceContext = Arc<dyn Fn() -> Option<String> + Send + Sync>;

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime")
            .field("process", &self.shared.process)
            .field("participants", &self.shared.registry.participants())
            .field("paused", &self.shared.pauses.scopes())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("process", &self.process).finish_non_exhaustive()
    }
}

/// An error of an operator's call.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OperateError {
    /// The record refuses it.
    #[error("{gid}: {refusal}")]
    Refused {
        /// The transaction.
        gid: Gid,
        /// Why.
        refusal: Refusal,
    },
    /// The store did not answer: it is not known whether it was done.
    #[error("it is not known whether it was done")]
    Store(#[from] StoreError),
}

/// Whether a runtime is fit for work, for a readiness probe.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Health {
    /// It takes new transactions and the store answers.
    pub ready: bool,
    /// It takes new transactions.
    pub accepting: bool,
    /// What the store answered just now.
    pub store: Result<(), StoreError>,
    /// How long ago the store answered a call before this one.
    pub store_silence: Duration,
    /// Transactions this process has open.
    pub open_transactions: usize,
    /// Groups of branches this process drives.
    pub drives: usize,
    /// Actions in flight, seen at start, whose participant is hosted here and whose version is not.
    pub unhandled: Vec<(Gid, ActionName)>,
}

impl Runtime {
    /// Begins the making of a runtime.
    pub fn builder() -> RuntimeBuilder {
        RuntimeBuilder::new()
    }

    /// Describes a transaction by its stable name (1 to 128 of `[A-Za-z0-9._-]`); nothing happens until
    /// it is run or begun.
    pub fn transaction(&self, name: &str) -> Transaction {
        Transaction::new(Arc::clone(&self.shared), name)
    }

    /// Joins a transaction that another process began, on behalf of the call it made here. What joins registers
    /// branches of its own, and cannot decide.
    ///
    /// # Errors
    /// When the transaction takes no more branches, is not known, or this process takes no more work; with a
    /// [context key](RuntimeBuilder::context_key), also when the context has no seal or one that does not fit.
    pub async fn join(&self, context: CallContext) -> Result<Joined, JoinError> {
        Joined::new(Arc::clone(&self.shared), context).await
    }

    /// How a transaction stands; nothing if it never began or its retention is over.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn outcome(&self, gid: &Gid) -> Result<Option<Outcome>, StoreError> {
        self.shared.outcome(gid).await
    }

    /// How the transaction of this name stands that holds a business key; nothing if none does.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn outcome_of(&self, name: &str, key: impl AsRef<str>) -> Result<Option<Outcome>, StoreError> {
        // What is no name or no key cannot have begun a transaction.
        let (Ok(name), Ok(key)) = (Name::new(name), BusinessKey::new(key.as_ref())) else { return Ok(None) };
        match self.shared.read(StoreCall::Find, self.shared.store.find(&name, &key)).await? {
            Some(gid) => self.outcome(&gid).await,
            None => Ok(None),
        }
    }

    /// The whole record of a transaction, for those who look into it.
    ///
    /// # Errors
    /// When the store does not answer, or the record cannot be read.
    pub async fn record(&self, gid: &Gid) -> Result<Option<Record>, StoreError> {
        self.shared.load(gid).await
    }

    /// Cancels a transaction that is not decided yet, on an operator's behalf. Gives the decision that
    /// stands, which may be an earlier one.
    ///
    /// # Errors
    /// When the transaction is not known, or the store does not answer.
    pub async fn cancel(&self, gid: &Gid) -> Result<Decision, OperateError> {
        let decide = Decide {
            direction: Direction::Cancel,
            reason: Reason::Operator,
            by: self.shared.process.clone(),
            create: None,
            heard: Vec::new(),
            inline: None,
        };
        let decided = self.shared.call(gid, decide, self.shared.config.decide_patience).await?;
        let decided = decided.map_err(|refusal| OperateError::Refused { gid: gid.clone(), refusal })?;
        self.shared.meter.decided(&decided.decision);
        self.shared.emit(|| Event::Decided { gid: gid.clone(), decision: decided.decision.clone() });
        Ok(decided.decision)
    }

    /// Sets parked branches going again, in the direction they had; all of them if none is named. Gives
    /// their number.
    ///
    /// # Errors
    /// When nothing is parked there, or the store does not answer.
    pub async fn redrive(&self, gid: &Gid, branches: &[Ordinal]) -> Result<usize, OperateError> {
        let redrive = Redrive { branches: branches.to_vec() };
        let redriven = self.shared.call(gid, redrive, self.shared.config.decide_patience).await?;
        redriven.map_err(|refusal| OperateError::Refused { gid: gid.clone(), refusal })
    }

    /// Makes an operator's change of a transaction, by whom and why, which the store's audit keeps.
    ///
    /// ```
    /// use tcc_core::{Gid, Runtime, machine::{Change, Operate}, record::Direction};
    ///
    /// async fn it_was_paid(runtime: &Runtime, gid: &Gid) -> Result<(), Box<dyn std::error::Error>> {
    ///     let (branch, direction) = ("02".parse()?, Direction::Confirm);
    ///     let change = Change::Resolve { branch, direction };
    ///     let operate = Operate { by: "alice".parse()?, why: "paid by hand, ticket 17".parse()?, change };
    ///     runtime.operate(gid, operate).await?;
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// When the record refuses it, or the store does not answer.
    pub async fn operate(&self, gid: &Gid, operate: Operate) -> Result<Operated, OperateError> {
        let operated = self.shared.call(gid, operate, self.shared.config.decide_patience).await?;
        let operated = operated.map_err(|refusal| OperateError::Refused { gid: gid.clone(), refusal })?;
        if let Operated::Cancelled { decision, changed: true } = &operated {
            self.shared.meter.decided(decision);
            self.shared.emit(|| Event::Decided { gid: gid.clone(), decision: decision.clone() });
        }
        Ok(operated)
    }

    /// Subscribes to what happens in this process from now on.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.shared.events.subscribe()
    }

    /// Asks whether the runtime is fit for work. Takes no longer than a second.
    pub async fn health(&self) -> Health {
        let shared = &self.shared;
        let store_silence = shared.clock.silence();
        let asked_at = shared.seam.elapsed();
        let ask = crate::seam::within(&*shared.seam, Duration::from_secs(1), shared.store.now(0));
        let store = match ask.await {
            Some(answer) => answer.map(|now| shared.clock.hear(0, now, asked_at)),
            None => {
                let kind = crate::store::StoreErrorKind::Unavailable;
                Err(StoreError::new(kind, "the store did not answer within a second"))
            }
        };
        let accepting = shared.accepting.load(Ordering::SeqCst);
        Health {
            ready: accepting && store.is_ok(),
            accepting,
            store,
            store_silence,
            open_transactions: shared.config.open_permits() - shared.open.available_permits(),
            drives: shared.driving.len(),
            unhandled: shared.unhandled.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    /// This process's name in the records it writes.
    #[must_use]
    pub fn process(&self) -> &Name {
        &self.shared.process
    }

    /// For how long fences must remember a branch after its end: what they may forget is older.
    #[must_use]
    pub fn fence_retention(&self) -> FenceRetention {
        self.shared.config.fence_retention()
    }

    /// Begins a graceful shutdown and waits for its end: no new transaction, no new work; what is in
    /// flight gets the configured grace; the rest is handed over to other processes.
    ///
    /// Cancellation safety: the shutdown goes on if this future is dropped.
    pub async fn shutdown(&self) {
        self.shared.stopping.cancel();
        self.stopped().await;
    }

    /// Waits for the end of a shutdown that someone else begins.
    pub async fn stopped(&self) {
        self.shared.stopped.cancelled().await;
    }
}

impl Shared {
    pub(crate) fn emit(&self, event: impl FnOnce() -> Event) {
        if self.events.receiver_count() > 0 {
            let _ = self.events.send(event());
        }
    }

    pub(crate) fn trouble(&self, doing: &'static str, gid: Option<&Gid>, error: &StoreError) {
        tracing::warn!(
            doing,
            gid = gid.map(Gid::as_str),
            error = chain(error),
            "the store failed a background task"
        );
        self.emit(|| Event::StoreTrouble { doing, gid: gid.cloned(), error: chain(error) });
    }

    /// Runs a task that a shutdown waits for.
    pub(crate) fn spawn_tracked(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.seam.spawn(Box::pin(self.tracker.track_future(work)));
    }

    /// Runs a task that drives branches, and that a shutdown waits for or hands over.
    pub(crate) fn spawn_drive(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.seam.spawn(Box::pin(self.driving.track_future(work)));
    }

    pub(crate) fn drive_lease_ms(&self) -> u64 {
        crate::time::millis(self.config.drive_lease)
    }
}
