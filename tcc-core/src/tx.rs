//! The handle of an open transaction: it registers branches, learns what their tries came to, and decides.

mod joined;
mod remote;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::{Span, span::Id};

use crate::{
    call::WireCall,
    context::CancelCx,
    error::{NotRun, TransactionError, TransactionErrorKind},
    event::Event,
    gid::Gid,
    machine::{
        Create, Decide, Decided, Drive, Heard, InlineClaim, NewBranch, Refusal, Register, Registered, Report,
    },
    machine::{Reported, TryReport},
    name::{ActionName, CallId, Name, Ordinal},
    outcome::TryOutcome,
    payload::Payload,
    record::{Decision, Direction, Known, Reason, Seen, Token, TransactionState},
    runtime::{Awaited, Called, Group, Kept, KeptBranch, Shared},
    seam::{Ended, Task},
    spans::{self, Before},
    store::{StoreError, StoreErrorKind},
    time::Timestamp,
    trace_parent::TraceParent,
};

pub use joined::{JoinError, Joined};
pub use remote::{CallContext, RemoteCall};

/// For how long an outcome that came after the decision is pursued while the store does not answer.
const LATE_PATIENCE: Duration = Duration::from_secs(600);
/// Attempts at a cancel whose record is gone.
const ORPHAN_ATTEMPTS: u32 = 5;

tokio::task_local! {
    static INSIDE: Gid;
}

/// Runs a future that belongs to a transaction, so that a transaction begun in it can be refused.
pub(crate) fn inside<F: Future>(gid: Gid, work: F) -> impl Future<Output = F::Output> {
    INSIDE.scope(gid, work)
}

/// [`inside`] for what does not wait.
pub(crate) fn inside_now<T>(gid: Gid, work: impl FnOnce() -> T) -> T {
    INSIDE.sync_scope(gid, work)
}

/// The transaction the caller runs in.
pub(crate) fn outer() -> Option<Gid> {
    INSIDE.try_with(Clone::clone).ok()
}

/// Handle of an open transaction, for its clients: `InventoryTcc::new(tx)`. Clones share the transaction.
#[derive(Clone)]
pub struct Tx {
    pub(crate) inner: Arc<TxInner>,
}

impl fmt::Debug for Tx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tx")
            .field("gid", &self.inner.gid)
            .field("name", &self.inner.name)
            .finish_non_exhaustive()
    }
}

impl Tx {
    /// Its id.
    #[must_use]
    pub fn gid(&self) -> &Gid {
        &self.inner.gid
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.inner.name
    }

    /// When it is cancelled if it is not decided, in server time.
    #[must_use]
    pub fn deadline(&self) -> Timestamp {
        self.inner.deadline_at
    }

    /// Calls an action by its wire name, such as `inventory.reserve@1`. `arguments` is what the action
    /// takes: for a macro's action an object of its arguments by name, for one made by hand the value it
    /// takes.
    pub fn call<A: serde::Serialize + ?Sized>(&self, action: &str, arguments: &A) -> WireCall {
        crate::call::by_wire_name(self, action, arguments)
    }
}

pub(crate) struct TxInner {
    pub(crate) shared: Arc<Shared>,
    pub(crate) gid: Gid,
    pub(crate) name: Name,
    pub(crate) deadline_at: Timestamp,
    role: Role,
    begun_at: Duration,
    pub(crate) span: Span,
    /// The trace it belongs to, as it was told.
    trace_parent: Option<TraceParent>,
    state: Mutex<TxState>,
    _permit: OwnedSemaphorePermit,
    /// A shutdown waits for open transactions.
    _tracked: TaskTrackerToken,
}

/// What a process is to the transaction.
enum Role {
    /// It began it and decides it. What the record is created with, until a call that carries it is acknowledged.
    Initiator(Create),
    /// It was called, and its branches are the caller's.
    Joined {
        /// The caller's call, of which every call made here is a child.
        call: CallId,
        /// This run of it: a repetition of the same call is another (rule 16).
        run: Token,
    },
}

/// How a transaction began.
pub(crate) enum BegunHow {
    /// The first call that carries a branch will create its record.
    Unrecorded,
    /// Its record was created by a call sent then, in [`Seam::elapsed`](crate::seam::Seam::elapsed).
    Recorded { asked_at: Duration },
}

struct TxState {
    phase: Phase,
    /// Whether a call that may create the record was acknowledged (rule 3).
    acked: bool,
    /// Registrations sent whose answer is not known: commit is refused while there is one (rule 4).
    pending: u32,
    calls: u32,
    payload_bytes: usize,
    branches: BTreeMap<Ordinal, LocalBranch>,
    /// Branches named by a commit, or by a report before one, of which one sending was not answered: they may have
    /// been confirmed.
    perhaps_confirmed: BTreeSet<Ordinal>,
    /// Branches that other services registered for calls made here, as their answers told.
    remote: BTreeMap<Ordinal, RemoteBranch>,
    /// Calls sent to other services, and whether they were answered (rule 16).
    sent: BTreeMap<CallId, bool>,
}

impl TxState {
    fn new(acked: bool) -> Self {
        Self {
            phase: Phase::Open,
            acked,
            pending: 0,
            calls: 0,
            payload_bytes: 0,
            branches: BTreeMap::new(),
            perhaps_confirmed: BTreeSet::new(),
            remote: BTreeMap::new(),
            sent: BTreeMap::new(),
        }
    }

    /// Whether a call to another service was sent and not answered.
    fn awaits_answer(&self) -> bool {
        self.sent.values().any(|answered| !answered)
    }

    /// Counts these bytes in, unless they are too many: then it gives what they would come to.
    fn take_bytes(&mut self, bytes: usize, max: usize) -> Result<(), usize> {
        let total = self.payload_bytes.saturating_add(bytes);
        if total > max {
            return Err(total);
        }
        self.payload_bytes = total;
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// Decide was sent: an outcome that comes now reports itself.
    Decided,
}

struct LocalBranch {
    call: CallId,
    action: ActionName,
    arguments: Payload,
    trace: Option<TraceParent>,
    /// The span of its try, if anybody listens.
    span: Option<Id>,
    known: Option<Known>,
    /// Whether the closure was given the outcome. What it never heard of is not confirmed (rule 4).
    heard: bool,
}

/// A branch that another service registered.
struct RemoteBranch {
    /// The call that it was registered for.
    call: CallId,
    seen: Seen,
}

/// A branch about to be registered.
pub(crate) struct Wanted {
    pub(crate) action: ActionName,
    pub(crate) arguments: Payload,
    /// The span of its try.
    pub(crate) span: Span,
}

impl TxInner {
    pub(crate) fn new(
        shared: Arc<Shared>,
        create: Create,
        begun: BegunHow,
        trace_parent: Option<TraceParent>,
        permit: OwnedSemaphorePermit,
    ) -> Arc<Self> {
        let (acked, begun_at) = match begun {
            BegunHow::Recorded { asked_at } => (true, asked_at),
            BegunHow::Unrecorded => (false, shared.seam.elapsed()),
        };
        let inner = Arc::new(Self {
            gid: create.gid.clone(),
            name: create.name.clone(),
            deadline_at: create.deadline_at,
            begun_at,
            span: spans::transaction(&create.gid, &create.name, "initiator"),
            trace_parent,
            role: Role::Initiator(create),
            state: Mutex::new(TxState::new(acked)),
            _permit: permit,
            _tracked: shared.tracker.token(),
            shared,
        });
        let mut leases = inner.shared.leases.lock().unwrap_or_else(PoisonError::into_inner);
        leases.insert(inner.gid.clone(), Arc::downgrade(&inner));
        drop(leases);
        inner.shared.meter.begun(&inner.name);
        inner.shared.emit(|| Event::Begun { gid: inner.gid.clone(), name: inner.name.clone() });
        inner
    }

    fn state(&self) -> MutexGuard<'_, TxState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn time_left(&self) -> Duration {
        self.shared.clock.now(self.gid.shard()).until(self.deadline_at)
    }

    /// Whether it is old enough to have its lease renewed, and still undecided.
    pub(crate) fn needs_lease(&self, age: Duration) -> bool {
        let old = self.shared.seam.elapsed().saturating_sub(self.begun_at) >= age;
        let state = self.state();
        old && state.acked && state.phase == Phase::Open
    }

    pub(crate) fn forget_lease(&self) {
        self.shared.leases.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.gid);
    }

    /// What the record is to be created with by a call sent now.
    fn create(&self, state: &TxState) -> Option<Create> {
        match &self.role {
            Role::Initiator(create) if !state.acked => Some(create.clone()),
            Role::Initiator(_) | Role::Joined { .. } => None,
        }
    }

    /// Whether what a try came to is known once this process knows it.
    pub(crate) fn settles_here(&self) -> bool {
        matches!(self.role, Role::Initiator(_))
    }

    /// The id of the next call.
    fn next_call(&self, state: &mut TxState) -> Result<CallId, NotRun> {
        state.calls += 1;
        match &self.role {
            Role::Initiator(_) => Ok(CallId::top(state.calls)),
            Role::Joined { call, .. } => Ok(call.child(state.calls)?),
        }
    }

    /// The trace the caller is in, as far as anybody knows.
    fn trace_here(&self) -> Option<TraceParent> {
        let asked = self.shared.trace_context.as_ref().and_then(|current| current());
        asked.and_then(|text| TraceParent::new(&text).ok()).or_else(|| self.trace_parent.clone())
    }

    /// Which run of its call tries a branch.
    fn run(&self) -> Option<Token> {
        match &self.role {
            Role::Initiator(_) => None,
            Role::Joined { run, .. } => Some(*run),
        }
    }

    /// Registers branches, all or none, durably before their tries may start (rule 3).
    ///
    /// If the future is dropped, it is not known whether they are registered, and commit is refused.
    pub(crate) async fn register(self: &Arc<Self>, wanted: Vec<Wanted>) -> Result<Vec<Registered>, NotRun> {
        let limits = &self.shared.config;
        let bytes = wanted.iter().map(|one| one.arguments.len()).sum();
        // Asked before the lock is taken: it is the user's code.
        let mut traces =
            wanted.iter().map(|one| one.span.in_scope(|| self.trace_here())).collect::<Vec<_>>().into_iter();
        let calls: Vec<(CallId, Option<TraceParent>)>;
        let (register, mut pending) = {
            let mut state = self.state();
            if state.phase != Phase::Open {
                return Err(NotRun::Over(self.gid.clone()));
            }
            let mut branches = Vec::with_capacity(wanted.len());
            for one in &wanted {
                if one.arguments.len() > limits.payload_bytes_max {
                    return Err(NotRun::TooLarge {
                        action: one.action.to_string(),
                        bytes: one.arguments.len(),
                        max: limits.payload_bytes_max,
                    });
                }
                branches.push(NewBranch {
                    call: self.next_call(&mut state)?,
                    runner: self.run(),
                    action: one.action.clone(),
                    trace: traces.next().flatten().map(|trace| trace.kept()),
                    arguments: one.arguments.clone(),
                });
            }
            // What tries returned counts too, and the record hears of it only with the decision.
            let max = limits.transaction_payload_bytes_max;
            state.take_bytes(bytes, max).map_err(|_| NotRun::Refused {
                gid: self.gid.clone(),
                refusal: Refusal::TooManyPayloadBytes { max: max as u64 },
            })?;
            calls = branches.iter().map(|branch| (branch.call.clone(), branch.trace.clone())).collect();
            let register = Register {
                create: self.create(&state),
                branches,
                branches_max: limits.branches_max,
                payload_bytes_max: limits.transaction_payload_bytes_max as u64,
            };
            state.pending += 1;
            (register, Pending { tx: self, answered: false })
        };
        let registered = self.shared.call(&self.gid, register, self.time_left()).await;
        let refused = |refusal| NotRun::Refused { gid: self.gid.clone(), refusal };
        match registered {
            Ok(Ok(registered)) => {
                let mut state = self.state();
                state.acked = true;
                // A place that is taken is given again only by a record that lost its newest branches. The call
                // stays pending, so that nothing is committed.
                let known =
                    |ordinal| state.branches.contains_key(ordinal) || state.remote.contains_key(ordinal);
                if let Some(again) = registered.iter().find(|one| known(&one.ordinal)) {
                    let message =
                        format!("the store lost acknowledged writes: branch {} came again", again.ordinal);
                    let error = StoreError::new(StoreErrorKind::Corrupt, message);
                    return Err(NotRun::Store { gid: self.gid.clone(), error });
                }
                pending.answered = true;
                for ((one, branch), (call, trace)) in wanted.into_iter().zip(&registered).zip(calls) {
                    spans::registered(&one.span, branch.ordinal, trace.as_ref());
                    let local = LocalBranch {
                        call,
                        action: one.action,
                        arguments: one.arguments,
                        span: one.span.id(),
                        trace,
                        known: None,
                        heard: false,
                    };
                    self.shared.emit(|| Event::Registered {
                        gid: self.gid.clone(),
                        branch: branch.ordinal,
                        action: local.action.clone(),
                    });
                    state.branches.insert(branch.ordinal, local);
                }
                // The decision may have been sent while the registration was under way.
                let over = state.phase != Phase::Open;
                drop(state);
                if over { Err(NotRun::Over(self.gid.clone())) } else { Ok(registered) }
            }
            Ok(Err(refusal)) => {
                // An earlier sending may have created a record that came and went: it counts as unanswered, so
                // that a closure which ignores the error cannot commit after the deadline (rule 1).
                pending.answered = refusal != Refusal::TooLateToCreate;
                let mut state = self.state();
                state.payload_bytes -= bytes;
                // These come from a record that exists.
                if matches!(refusal, Refusal::AlreadyDecided(_) | Refusal::DeadlinePassed) {
                    state.acked = true;
                }
                drop(state);
                Err(refused(refusal))
            }
            Err(error) => Err(NotRun::Store { gid: self.gid.clone(), error }),
        }
    }

    /// Takes in what a try came to. A service that was called has it recorded first (rule 16): an error says why
    /// its caller must not count on it.
    pub(crate) async fn settle(self: &Arc<Self>, ordinal: Ordinal, known: Known) -> Result<(), String> {
        match &self.role {
            Role::Initiator(_) => {
                self.learn(ordinal, known);
                Ok(())
            }
            Role::Joined { .. } => Box::pin(self.record_outcome(ordinal, known)).await,
        }
    }

    /// Takes in what a try came to; after the decision was sent it goes to the record by itself (rule 6c).
    pub(crate) fn learn(self: &Arc<Self>, ordinal: Ordinal, known: Known) {
        let seen = match known {
            Known::Succeeded(_) => Seen::Succeeded,
            Known::Refused => Seen::Refused,
        };
        let late = {
            let mut state = self.state();
            let late = state.phase != Phase::Open;
            if let Some(branch) = state.branches.get_mut(&ordinal) {
                branch.known = Some(known.clone());
            }
            late
        };
        self.shared.emit(|| Event::Tried { gid: self.gid.clone(), branch: ordinal, outcome: seen, late });
        if late {
            self.count_late(ordinal);
            let tx = Arc::clone(self);
            let tries = vec![TryReport { ordinal, known }];
            self.shared.spawn_tracked(async move { tx.report_late(tries).await });
        }
    }

    fn count_late(&self, ordinal: Ordinal) {
        if let Some((action, _)) = self.registered_as(ordinal) {
            self.shared.meter.late_try(&action);
        }
    }

    /// The action and the trace of a branch registered here.
    pub(crate) fn registered_as(&self, ordinal: Ordinal) -> Option<(ActionName, Option<TraceParent>)> {
        self.state().branches.get(&ordinal).map(|branch| (branch.action.clone(), branch.trace.clone()))
    }

    /// Takes room for a result of this size, if there is some left.
    pub(crate) fn take_room(&self, bytes: usize) -> Result<(), String> {
        let limits = &self.shared.config;
        if bytes > limits.payload_bytes_max {
            return Err(format!(
                "it takes {bytes} bytes; the limit `payload_bytes_max` is {}; raise it or return a reference",
                limits.payload_bytes_max
            ));
        }
        let max = limits.transaction_payload_bytes_max;
        self.state().take_bytes(bytes, max).map_err(|total| {
            format!(
                "the transaction's payloads would take {total} bytes; the limit `transaction_payload_bytes_max` is {max}; raise it or return references"
            )
        })
    }

    /// Notes that the closure was given a branch's outcome.
    pub(crate) fn hear(&self, ordinal: Ordinal) {
        if let Some(branch) = self.state().branches.get_mut(&ordinal) {
            branch.heard = true;
        }
    }

    async fn report_late(self: Arc<Self>, tries: Vec<TryReport>) {
        let report = Report { tries: tries.clone() };
        let lost: Vec<TryReport> = match self.shared.call(&self.gid, report, LATE_PATIENCE).await {
            Ok(Ok(reported)) => {
                let lost =
                    tries.into_iter().zip(reported).filter(|(_, reported)| *reported == Reported::Lost);
                lost.map(|(one, _)| one).collect()
            }
            Ok(Err(_)) => tries,
            Err(error) => return self.shared.trouble("reporting a late outcome", Some(&self.gid), &error),
        };
        for one in lost {
            self.cancel_here(one.ordinal, one.known).await;
        }
    }

    /// Runs a branch's cancel in this process, because its record is gone (rule 6c).
    async fn cancel_here(&self, ordinal: Ordinal, known: Known) {
        let Some((action, arguments, trace)) = self
            .state()
            .branches
            .get(&ordinal)
            .map(|branch| (branch.action.clone(), branch.arguments.clone(), branch.trace.clone()))
        else {
            return;
        };
        let error = if self.state().perhaps_confirmed.contains(&ordinal) {
            Some("its commit may have been applied before the record was gone: cancel was not run".to_owned())
        } else {
            self.cancel_orphan(ordinal, &action, arguments, trace, known).await.err()
        };
        tracing::error!(gid = %self.gid, branch = %ordinal, %action, error, "the record of a tried branch is gone; its cancel belongs here");
        self.shared.emit(|| Event::CancelledWithoutRecord {
            gid: self.gid.clone(),
            branch: ordinal,
            action,
            error,
        });
    }

    async fn cancel_orphan(
        &self,
        ordinal: Ordinal,
        action: &ActionName,
        arguments: Payload,
        trace: Option<TraceParent>,
        known: Known,
    ) -> Result<(), String> {
        let hosted = self.shared.registry.action(action).ok_or("its participant is not hosted here")?;
        let outcome = match known {
            Known::Succeeded(result) => TryOutcome::Succeeded(result),
            Known::Refused => TryOutcome::Refused,
        };
        let mut failure = String::new();
        for attempt in 1..=ORPHAN_ATTEMPTS {
            let cx = CancelCx {
                gid: self.gid.clone(),
                branch: ordinal,
                action: action.clone(),
                trace: trace.clone(),
                attempt,
                epoch: 0,
                fence_retention: self.shared.config.fence_retention(),
                decided: Direction::Cancel,
                reason: Reason::LostBranch,
            };
            let (hosted_here, arguments, outcome) = (Arc::clone(hosted), arguments.clone(), outcome.clone());
            let work = async move {
                let work = (hosted_here.action.cancel)(cx, arguments, outcome);
                work.map_err(|error| error.to_string())?.await.map_err(|error| error.to_string())
            };
            let mut task = Task::spawn(&*self.shared.seam, inside(self.gid.clone(), work));
            match task.join_within(&*self.shared.seam, hosted.policy().phase_timeout).await {
                Some(Ended::Done(Ok(()))) => return Ok(()),
                Some(Ended::Done(Err(error))) => failure = error,
                Some(Ended::Panicked(message)) => failure = format!("it panicked: {message}"),
                Some(Ended::Aborted) => failure = "it was stopped".into(),
                None => {
                    task.abort();
                    task.join().await;
                    failure = "it did not end in time".into();
                }
            }
            let delay = hosted.policy().retry.delay(attempt, self.shared.seam.random());
            self.shared.seam.sleep(delay).await;
        }
        Err(failure)
    }

    /// Decides, in a task of its own: once sent, a decision is pursued whoever waits for it. Gives the
    /// decision that stands, and where to hear of the transaction's end if it comes about in this process. The
    /// task goes on to drive the branches that were claimed with the decision.
    ///
    /// `None` if it was decided here before.
    pub(crate) fn decide(self: &Arc<Self>, direction: Direction, reason: Reason) -> Option<Deciding> {
        let (decide, claimed) = self.prepare(direction, reason)?;
        let Some(decide) = decide else {
            // There is no record and can be none: nothing to do.
            self.forget_lease();
            return Some(Deciding::Nothing);
        };
        let ended = self.shared.endings.expect(&self.gid);
        let (tell, settled) = oneshot::channel();
        let tx = Arc::clone(self);
        let deciding = self.shared.tracker.token();
        self.shared.seam.spawn(Box::pin(async move {
            let (settled, group) = tx.pursue(decide, claimed).await;
            if !matches!(&settled, Ok(settled) if settled.decision.direction == Direction::Confirm) {
                tx.shared.commits.forget(&tx.gid);
            }
            tx.forget_lease();
            // A shutdown sees it among the drives before it is gone from the decisions.
            let shared = Arc::clone(&tx.shared);
            let driving = shared.driving.token();
            let _ = tell.send(settled);
            drop((tx, deciding));
            if let Some((group, permit)) = group {
                shared.drive(group).await;
                drop(permit);
            }
            drop(driving);
        }));
        Some(Deciding::Task(settled, ended))
    }

    /// Closes the transaction to further branches and puts the decision together.
    #[allow(clippy::type_complexity, reason = "used once, by `decide`")]
    fn prepare(
        &self,
        direction: Direction,
        reason: Reason,
    ) -> Option<(Option<Decide>, Option<(Token, OwnedSemaphorePermit)>)> {
        let mut state = self.state();
        if state.phase != Phase::Open {
            return None;
        }
        state.phase = Phase::Decided;
        let nothing_recorded = !state.acked && state.pending == 0 && state.branches.is_empty();
        if nothing_recorded {
            return Some((None, None));
        }
        let unheard = state.pending > 0
            || state.branches.values().any(|branch| !branch.heard)
            || state.remote.values().any(|branch| branch.seen == Seen::Unknown);
        let (direction, reason) = match direction {
            Direction::Confirm if state.awaits_answer() => (Direction::Cancel, Reason::PendingCall),
            Direction::Confirm if unheard => (Direction::Cancel, Reason::UnknownOutcome),
            _ => (direction, reason),
        };
        let heard = state
            .branches
            .iter()
            .map(|(ordinal, branch)| Heard { ordinal: *ordinal, known: branch.known.clone() })
            .chain(remote::heard(&state.remote, direction))
            .collect();
        // What is not claimed with the decision gets a message.
        let driven_here = |branch: &LocalBranch| {
            self.shared.config.phase_two_inline
                && self.shared.registry.finishes(branch.action.participant())
                && !self.shared.pauses.cover(&branch.action)
        };
        let (branches, actions): (Vec<Ordinal>, Vec<ActionName>) = state
            .branches
            .iter()
            .filter(|(_, branch)| driven_here(branch))
            .map(|(ordinal, branch)| (*ordinal, branch.action.clone()))
            .unzip();
        let permit = Arc::clone(&self.shared.drives).try_acquire_owned().ok();
        let claimed =
            permit.filter(|_| !branches.is_empty()).map(|permit| (Token(self.shared.seam.random()), permit));
        let inline = claimed.as_ref().map(|(token, _)| InlineClaim {
            token: *token,
            lease_ms: self.shared.drive_lease_ms(),
            branches,
            actions,
        });
        if direction == Direction::Confirm && inline.is_none() {
            self.keep_commit(&state, reason);
        }
        let decide = Decide {
            direction,
            reason,
            by: self.shared.process.clone(),
            create: self.create(&state),
            heard,
            inline,
        };
        Some((Some(decide), claimed))
    }

    /// Keeps what messages will lead to, if this process is to answer all of them.
    fn keep_commit(&self, state: &TxState, reason: Reason) {
        let branches = state.branches.iter().enumerate().map(|(index, (ordinal, branch))| {
            let Some(Known::Succeeded(result)) = &branch.known else { return None };
            let here = self.shared.registry.finishes(branch.action.participant());
            (here && ordinal.index() == index).then(|| KeptBranch {
                action: branch.action.clone(),
                arguments: branch.arguments.clone(),
                result: result.clone(),
                trace: branch.trace.clone(),
            })
        });
        let branches: Option<Vec<_>> = branches.collect();
        if let Some(branches) = branches.filter(|_| state.remote.is_empty()) {
            self.shared.commits.keep(&self.gid, Kept { name: self.name.clone(), reason, branches });
        }
    }

    async fn pursue(
        self: &Arc<Self>,
        decide: Decide,
        claimed: Option<(Token, OwnedSemaphorePermit)>,
    ) -> (Result<Settled, TransactionError>, Option<(Group, OwnedSemaphorePermit)>) {
        let (asked, known) = (decide.direction, decide.heard.clone());
        let by = decide.by.clone();
        let claimed_at = self.shared.seam.elapsed();
        let decided: Decided = match self.send(decide).await {
            Ok(Ok(decided)) => decided,
            Ok(Err(Refusal::TooLateToCreate)) => {
                // Nothing was recorded, and by its deadline nothing can be any more.
                let decision = Decision {
                    direction: Direction::Cancel,
                    reason: Reason::DeadlinePassed,
                    by,
                    at: self.deadline_at,
                };
                return (Ok(Settled { decision, state: TransactionState::Cancelled }), None);
            }
            Ok(Err(refusal)) => {
                let all = known.iter().map(|heard| heard.ordinal).collect();
                Box::pin(self.cancel_lost(all, known)).await;
                let message = format!("the decision ({asked}) found no record: {refusal}");
                let error = TransactionError::new(TransactionErrorKind::Lost, message);
                return (Err(error.of(&self.gid, &self.name)), None);
            }
            Err(error) => {
                self.report_known(known);
                return (Err(self.undecided(asked, error)), None);
            }
        };
        self.shared.emit(|| Event::Decided { gid: self.gid.clone(), decision: decided.decision.clone() });
        let Decided { decision, state, mut drives, lost } = decided;
        self.span.record("outcome", tracing::field::display(decision.direction));
        self.shared.meter.decided(&decision);
        if state.is_final() {
            self.shared.meter.finished(&self.gid, Some(&self.name), state, decision.at);
        }
        let before = self.complete(&mut drives);
        let group = claimed.filter(|_| !drives.is_empty()).map(|(token, permit)| {
            (Group { gid: self.gid.clone(), token, claimed_at, drives, before }, permit)
        });
        if !lost.is_empty() {
            // What was claimed does not wait for it.
            let tx = Arc::clone(self);
            self.shared.spawn_tracked(async move { tx.cancel_lost(lost, known).await });
        }
        (Ok(Settled { decision, state }), group)
    }

    /// Gives drives that were claimed with the decision what the record was not asked for.
    ///
    /// The seal of their arguments was not looked at: a record that was spoiled meanwhile must not send them to another
    /// action. What it would is left to its timer, which finds it when the lease is over.
    fn complete(&self, drives: &mut Vec<Drive>) -> Before {
        let state = self.state();
        drives.retain(|drive| {
            state.branches.get(&drive.ordinal).is_none_or(|branch| branch.action == drive.action)
        });
        let mut tries = Vec::new();
        for drive in drives {
            drive.name = Some(self.name.clone());
            let Some(branch) = state.branches.get(&drive.ordinal) else { continue };
            drive.arguments = Some(branch.arguments.clone());
            drive.trace = branch.trace.clone();
            tries.extend(branch.span.clone().map(|id| (drive.ordinal, id)));
        }
        Before { transaction: Some(self.span.clone()), tries }
    }

    /// Sends a decision until it is answered, no longer than `decide_patience` allows.
    async fn send(&self, decide: Decide) -> Called<Decided> {
        let direction = decide.direction;
        let first = self.shared.call(&self.gid, decide.clone(), Duration::ZERO).await;
        if !matches!(&first, Err(error) if error.kind() == StoreErrorKind::Unavailable) {
            return first;
        }
        // The commit may have been applied, and its branches confirmed by others. If the record is gone when
        // the answer comes, its retention may be over: nobody may cancel them any more (rule 1).
        if direction == Direction::Confirm {
            self.state().perhaps_confirmed = decide.heard.iter().map(|heard| heard.ordinal).collect();
        }
        Box::pin(self.shared.call(&self.gid, decide, self.shared.config.decide_patience)).await
    }

    /// Outcomes that a decision was to carry are reported without it when it is given up: another may
    /// have cancelled first, not knowing them (rule 6c).
    fn report_known(self: &Arc<Self>, heard: Vec<Heard>) {
        let own: BTreeSet<Ordinal> = self.state().branches.keys().copied().collect();
        let known = heard.into_iter().filter(|heard| own.contains(&heard.ordinal)).filter_map(|heard| {
            let known = heard.known?;
            Some(TryReport { ordinal: heard.ordinal, known })
        });
        let tries: Vec<TryReport> = known.collect();
        if !tries.is_empty() {
            let tx = Arc::clone(self);
            self.shared.spawn_tracked(async move { tx.report_late(tries).await });
        }
    }

    async fn cancel_lost(&self, lost: Vec<Ordinal>, known: Vec<Heard>) {
        for heard in known.into_iter().filter(|heard| lost.contains(&heard.ordinal)) {
            if let Some(known) = heard.known {
                self.cancel_here(heard.ordinal, known).await;
            }
        }
    }

    fn undecided(&self, asked: Direction, error: StoreError) -> TransactionError {
        let message = format!(
            "the store did not say whether the decision ({asked}) was taken; ask for the outcome of this gid"
        );
        TransactionError::new(TransactionErrorKind::Undecided, message)
            .of(&self.gid, &self.name)
            .caused_by(error)
    }
}

impl Drop for TxInner {
    fn drop(&mut self) {
        // One that was called has none, and may share its process with the one that has. Once decided it was forgotten.
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if matches!(self.role, Role::Initiator(_)) && state.phase == Phase::Open {
            self.forget_lease();
        }
    }
}

/// A registration under way.
struct Pending<'a> {
    tx: &'a TxInner,
    answered: bool,
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if self.answered {
            self.tx.state().pending -= 1;
        }
    }
}

/// The decision that stands, and how the transaction stood then.
#[derive(Debug)]
pub(crate) struct Settled {
    pub(crate) decision: Decision,
    pub(crate) state: TransactionState,
}

/// A decision under way.
#[derive(Debug)]
pub(crate) enum Deciding {
    /// There was nothing to decide.
    Nothing,
    /// Where the decision is told, and the end if it comes about here.
    Task(oneshot::Receiver<Result<Settled, TransactionError>>, Awaited),
}
