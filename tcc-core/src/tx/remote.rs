//! Calls of other services: the context that travels with one, and the answer that must come back (rule 16).

use std::{collections::BTreeMap, time::Duration};

use super::{Pending, Phase, RemoteBranch, Tx, TxInner};
use crate::{
    answer::CallAnswer,
    context_key::ContextSeal,
    error::NotRun,
    gid::Gid,
    machine::{Begin, Heard, Refusal},
    name::{CallId, Name, Ordinal},
    payload::Payload,
    record::{Direction, Known, Seen},
    trace_parent::TraceParent,
};

/// The result of a remote branch, which its service has recorded and its caller never had. It is no JSON: should a
/// record that lost the result take this for it, the branch is parked, and nothing is confirmed by a guess.
const RECORDED_ELSEWHERE: &str = "recorded elsewhere";
/// The most that is told to be left, in milliseconds: 31 years, in 12 digits.
const MILLIS_LEFT_MAX: u64 = 999_999_999_999;

/// What travels with a call of another service, so that it can join.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallContext {
    /// The transaction.
    pub gid: Gid,
    /// Its name.
    pub name: Name,
    /// The call.
    pub call: CallId,
    /// What is left until the transaction's deadline.
    pub time_left: Duration,
    /// The trace the call belongs to.
    pub trace_parent: Option<TraceParent>,
    /// Its seal, which [`Runtime::join`](crate::Runtime::join) checks where there is a
    /// [`ContextKey`](crate::ContextKey).
    pub seal: Option<ContextSeal>,
}

impl CallContext {
    /// A context without a trace and without a seal.
    #[must_use]
    pub fn new(gid: Gid, name: Name, call: CallId, time_left: Duration) -> Self {
        Self { gid, name, call, time_left, trace_parent: None, seal: None }
    }

    /// The same, with the trace it belongs to.
    #[must_use]
    pub fn with_trace_parent(mut self, trace_parent: Option<TraceParent>) -> Self {
        self.trace_parent = trace_parent;
        self
    }

    /// The same, with the seal that came with it.
    #[must_use]
    pub fn with_seal(mut self, seal: Option<ContextSeal>) -> Self {
        self.seal = seal;
        self
    }

    /// What is left, as it is sent and sealed: in whole milliseconds, 12 digits at the most.
    #[must_use]
    pub fn millis_left(&self) -> u64 {
        u64::try_from(self.time_left.as_millis()).unwrap_or(u64::MAX).min(MILLIS_LEFT_MAX)
    }

    /// Runs a future as the work of this call, so that a transaction begun in it by mistake, which would end by
    /// itself whatever becomes of this one, is refused.
    pub fn scope<F: Future>(&self, work: F) -> impl Future<Output = F::Output> + use<F> {
        super::inside(self.gid.clone(), work)
    }
}

/// A call of another service, inside a transaction. Clones are the same call: sending it again repeats it, and
/// however often it is sent, its branches are registered once.
///
/// Once its context is taken it counts as sent, and commit is refused until an answer that tells all its branches
/// is taken in: a call that timed out may still reserve something. A call that is not answered cannot be taken
/// back, only repeated.
#[derive(Clone, Debug)]
#[must_use = "a call that is not sent does nothing"]
pub struct RemoteCall {
    tx: Tx,
    call: CallId,
    trace_parent: Option<TraceParent>,
}

impl Tx {
    /// Makes a call of another service, to be sent with its [context](RemoteCall::context). The first one of a
    /// transaction that has recorded nothing yet records its begin. It belongs to the trace that
    /// [`RuntimeBuilder::trace_context`](crate::RuntimeBuilder::trace_context) gives, or to the transaction's.
    ///
    /// # Errors
    /// When the transaction is over, has made too many calls, or could not be recorded.
    pub async fn remote_call(&self) -> Result<RemoteCall, NotRun> {
        let call = self.inner.new_remote_call()?;
        self.inner.ensure_recorded().await?;
        let trace_parent = self.inner.trace_here();
        Ok(RemoteCall { tx: self.clone(), call, trace_parent })
    }
}

impl RemoteCall {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> &CallId {
        &self.call
    }

    /// The transaction it belongs to.
    #[must_use]
    pub fn gid(&self) -> &Gid {
        &self.tx.inner.gid
    }

    /// The same call, with the trace it belongs to. A service that was called hands on the trace it was given.
    pub fn with_trace_parent(mut self, trace_parent: TraceParent) -> Self {
        self.trace_parent = Some(trace_parent);
        self
    }

    /// What is to travel with it, as of now. From here on commit is refused until the call is answered.
    ///
    /// # Errors
    /// When the transaction is over, or its deadline has passed.
    pub fn context(&self) -> Result<CallContext, NotRun> {
        let tx = &self.tx.inner;
        let time_left = tx.time_left();
        if time_left.is_zero() {
            return Err(NotRun::Refused { gid: tx.gid.clone(), refusal: Refusal::DeadlinePassed });
        }
        let mut state = tx.state();
        if state.phase != Phase::Open {
            return Err(NotRun::Over(tx.gid.clone()));
        }
        state.sent.entry(self.call.clone()).or_insert(false);
        drop(state);
        let context = CallContext::new(tx.gid.clone(), tx.name.clone(), self.call.clone(), time_left);
        let seal = tx.shared.context_key.as_ref().map(|key| key.seal(&context));
        Ok(context.with_trace_parent(self.trace_parent.clone()).with_seal(seal))
    }

    /// Takes in an answer: its branches count as known, and as heard, because whoever sent the call is given what
    /// the service says of them. An answer after the decision changes nothing.
    pub fn answered(&self, answer: &CallAnswer) {
        let mut state = self.tx.inner.state();
        if state.phase != Phase::Open {
            return;
        }
        let state = &mut *state;
        let known = |ordinal: &Ordinal| {
            let theirs = state.remote.get(ordinal).is_some_and(|branch| branch.call != self.call);
            theirs || state.branches.contains_key(ordinal)
        };
        // A place is given twice only by a record that lost its newest branches. The call stays pending, so that
        // nothing is committed.
        if answer.branches().keys().any(known) {
            state.sent.insert(self.call.clone(), false);
            return;
        }
        for (ordinal, seen) in answer.branches() {
            let first = || RemoteBranch { call: self.call.clone(), seen: *seen };
            let branch = state.remote.entry(*ordinal).or_insert_with(first);
            // A repetition may know more. The record's own first word stands, and refuses a contradiction.
            if branch.seen == Seen::Unknown {
                branch.seen = *seen;
            }
        }
        if !answer.is_pending() {
            state.sent.insert(self.call.clone(), true);
        }
    }
}

impl TxInner {
    fn new_remote_call(&self) -> Result<CallId, NotRun> {
        let mut state = self.state();
        if state.phase != Phase::Open {
            return Err(NotRun::Over(self.gid.clone()));
        }
        let max = self.shared.config.branches_max;
        if state.sent.len() >= max as usize {
            return Err(NotRun::Refused { gid: self.gid.clone(), refusal: Refusal::TooManyBranches { max } });
        }
        self.next_call(&mut state)
    }

    /// Has the record created before another service looks for it: nothing that joins creates one (rule 3).
    async fn ensure_recorded(&self) -> Result<(), NotRun> {
        let (create, mut pending) = {
            let mut state = self.state();
            let Some(create) = self.create(&state) else { return Ok(()) };
            state.pending += 1;
            (create, Pending { tx: self, answered: false })
        };
        let begin = Begin { create, again_after_cancel: false };
        match self.shared.call(&self.gid, begin, self.time_left()).await {
            Ok(Ok(_)) => {
                pending.answered = true;
                self.state().acked = true;
                Ok(())
            }
            Ok(Err(refusal)) => {
                // An earlier sending may have created a record that came and went.
                pending.answered = refusal != Refusal::TooLateToCreate;
                Err(NotRun::Refused { gid: self.gid.clone(), refusal })
            }
            Err(error) => Err(NotRun::Store { gid: self.gid.clone(), error }),
        }
    }
}

/// What a decision says of remote branches. Their outcomes are recorded: commit claims to have heard them, and cancel
/// need only name them.
pub(super) fn heard(
    remote: &BTreeMap<Ordinal, RemoteBranch>,
    direction: Direction,
) -> impl Iterator<Item = Heard> + use<'_> {
    remote.iter().map(move |(ordinal, branch)| {
        let known = match (direction, branch.seen) {
            (Direction::Cancel, _) | (_, Seen::Unknown) => None,
            (Direction::Confirm, Seen::Succeeded) => {
                Some(Known::Succeeded(Payload::from_json(RECORDED_ELSEWHERE)))
            }
            (Direction::Confirm, Seen::Refused) => Some(Known::Refused),
        };
        Heard { ordinal: *ordinal, known }
    })
}
