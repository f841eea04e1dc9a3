//! A call of an action: registered first, then tried.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::{BoxFuture, FutureExt, lazy};
use serde::Serialize;
use tracing::{Instrument, Span};

use crate::{
    action::{ActionPolicy, Rejection, TryFailure},
    context::TryCx,
    error::{NotRun, TryError, UnknownTry},
    machine::Registered,
    name::{ActionName, Ordinal},
    outcome::TryOutcome,
    payload::{DecodeError, EncodeError, Payload},
    record::{Known, Seen},
    seam::{Begun, Ended, Task, begin, within},
    spans,
    tx::{Tx, TxInner, Wanted, inside, inside_now},
};

/// A call of an action, to be awaited.
///
/// Awaiting it registers the branch, durably, and then runs try for as long as the action's timeout and the
/// transaction's deadline allow: it begins where it is awaited, and goes on in a task of its own if it has to
/// wait. Several calls are best awaited together by [`try_join!`](crate::try_join), which registers them in one
/// call of the store.
///
/// Cancellation safety: a call that is dropped unfinished is not torn; its try runs on, detached, and the
/// transaction can only cancel, because its outcome was never heard.
#[must_use = "a call does nothing until it is awaited"]
pub struct Call<T, E> {
    state: CallState<T, E>,
}

/// A call by wire name: it gives the action's result as JSON.
pub type WireCall = Call<Payload, Rejection>;

enum CallState<T, E> {
    Prepared(Box<Prepared<T, E>>),
    Running(BoxFuture<'static, Result<T, TryError<E>>>),
    Done,
}

/// How a try's result is read back.
type Decode<T> = fn(&Payload) -> Result<T, DecodeError>;

pub(crate) type Start<T, E> = Box<dyn FnOnce(TryCx) -> BoxFuture<'static, Tried<T, E>> + Send>;

/// What a try itself returned.
pub(crate) enum Tried<T, E> {
    /// With the result as it is kept.
    Succeeded(T, Payload),
    Rejected(E),
    Unkept(String),
}

impl<T, E> Tried<T, E> {
    pub(crate) fn succeeded(value: T, encode: fn(&T) -> Result<Payload, EncodeError>) -> Self {
        match encode(&value) {
            Ok(kept) => Self::Succeeded(value, kept),
            Err(error) => Self::Unkept(error.to_string()),
        }
    }

    /// What the transaction is to know of it, if there is room for it; else the outcome is not known.
    fn known(self, tx: &TxInner) -> Result<(Self, Known), String> {
        let known = match &self {
            Self::Succeeded(_, kept) => {
                tx.take_room(kept.len())?;
                Known::Succeeded(kept.clone())
            }
            Self::Rejected(_) => Known::Refused,
            Self::Unkept(why) => return Err(why.clone()),
        };
        Ok((self, known))
    }

    fn answered(self, ordinal: Ordinal) -> Answered<T, E> {
        match self {
            Self::Succeeded(value, _) => Answered { ordinal: Some(ordinal), result: Ok(value) },
            Self::Rejected(error) => {
                Answered { ordinal: Some(ordinal), result: Err(TryError::Rejected(error)) }
            }
            Self::Unkept(why) => unknown(UnknownTry::Unkept(why)),
        }
    }
}

/// A call whose branch is not registered yet.
pub(crate) struct Prepared<T, E> {
    pub(crate) tx: Tx,
    pub(crate) wanted: Result<(ActionName, Payload), NotRun>,
    pub(crate) policy: ActionPolicy,
    pub(crate) decode: Decode<T>,
    pub(crate) start: Option<Start<T, E>>,
    /// The span of its try, once it is to be registered.
    pub(crate) span: Span,
}

/// A try under way.
pub(crate) struct Trying<T, E> {
    tx: Arc<TxInner>,
    ordinal: Ordinal,
    patience: Duration,
    task: Task<Tried<T, E>>,
}

/// What came of a try, and which branch must be told that its outcome was heard.
pub(crate) struct Answered<T, E> {
    pub(crate) ordinal: Option<Ordinal>,
    pub(crate) result: Result<T, TryError<E>>,
}

impl<T, E> fmt::Debug for Call<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Call")
    }
}

impl<T: Send + 'static, E: Send + 'static> Call<T, E> {
    pub(crate) fn new(prepared: Prepared<T, E>) -> Self {
        Self { state: CallState::Prepared(Box::new(prepared)) }
    }

    /// The call before it starts; nothing if it was polled before.
    pub(crate) fn into_prepared(self) -> Option<Prepared<T, E>> {
        match self.state {
            CallState::Prepared(prepared) => Some(*prepared),
            CallState::Running(_) | CallState::Done => None,
        }
    }
}

impl<T: Send + 'static, E: Send + 'static> Future for Call<T, E> {
    type Output = Result<T, TryError<E>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            match std::mem::replace(&mut self.state, CallState::Done) {
                CallState::Prepared(prepared) => self.state = CallState::Running(alone(*prepared).boxed()),
                CallState::Running(mut running) => {
                    let polled = running.as_mut().poll(cx);
                    if polled.is_pending() {
                        self.state = CallState::Running(running);
                    }
                    return polled;
                }
                // Like any other future, it must not be polled after its end.
                CallState::Done => return Poll::Pending,
            }
        }
    }
}

// The state holds only boxed futures.
impl<T, E> Unpin for Call<T, E> {}

async fn alone<T: Send + 'static, E: Send + 'static>(prepared: Prepared<T, E>) -> Result<T, TryError<E>> {
    let tx = Arc::clone(&prepared.tx.inner);
    let mut prepared = prepared;
    let wanted = prepared.wanted().map_err(TryError::NotRun)?;
    let registered = tx.register(vec![wanted]).await.map_err(TryError::NotRun)?;
    let Some(registered) = registered.into_iter().next() else {
        return Err(TryError::NotRun(NotRun::Over(tx.gid.clone())));
    };
    let answered = prepared.start(registered).await.finish().await;
    if let Some(ordinal) = answered.ordinal {
        tx.hear(ordinal);
    }
    answered.result
}

impl<T: Send + 'static, E: Send + 'static> Prepared<T, E> {
    /// What is to be registered, or why the try cannot run. Asked once.
    pub(crate) fn wanted(&mut self) -> Result<Wanted, NotRun> {
        let over = Err(NotRun::Over(self.tx.inner.gid.clone()));
        let (action, arguments) = std::mem::replace(&mut self.wanted, over)?;
        let tx = &self.tx.inner;
        self.span = spans::attempt(&tx.span, &tx.gid, &tx.name, &action);
        Ok(Wanted { action, arguments, span: self.span.clone() })
    }

    /// Starts the try of a registered branch, without waiting for anything.
    pub(crate) async fn start(self, registered: Registered) -> Started<T, E> {
        let tx = Arc::clone(&self.tx.inner);
        let ordinal = registered.ordinal;
        if !registered.yours {
            if let Some((action, _)) = tx.registered_as(ordinal) {
                tx.shared.meter.duplicate(&action);
            }
            return Started::Ended(match registered.outcome {
                TryOutcome::Succeeded(result) => decoded(&tx, ordinal, result, self.decode),
                TryOutcome::Refused => rejected_before(&tx, ordinal),
                TryOutcome::Unknown => {
                    let patience = self.policy.timeout.min(tx.time_left());
                    return Started::Elsewhere(Elsewhere { tx, ordinal, patience, decode: self.decode });
                }
            });
        }
        let Some(start) = self.start else { return Started::Ended(unknown(UnknownTry::Stopped)) };
        let patience = self.policy.timeout.min(tx.time_left());
        // What begins after the deadline could only be cancelled (rule 6b).
        if patience.is_zero() {
            return Started::Ended(unknown(UnknownTry::TimedOut));
        }
        let hard_limit = self.policy.hard_limit.max(patience);
        let Some((action, trace)) = tx.registered_as(ordinal) else {
            return Started::Ended(unknown(UnknownTry::Stopped));
        };
        let mut trial = Trial::new(Arc::clone(&tx), action.clone());
        let cx = TryCx {
            gid: tx.gid.clone(),
            branch: ordinal,
            action,
            trace,
            deadline: tx.deadline_at,
            time_left: patience,
        };
        let pace = tx.shared.registry.action(&trial.action).map(|hosted| &hosted.try_pace);
        let begun = match pace.filter(|pace| pace.is_prompt()) {
            Some(pace) => {
                let span = &self.span;
                let begun = lazy(|context| {
                    inside_now(tx.gid.clone(), || span.in_scope(|| begin(context, move || start(cx))))
                });
                let begun = begun.await;
                pace.kept(tx.shared.seam.elapsed().saturating_sub(trial.began));
                begun
            }
            None => Begun::Running(async move { start(cx).await }.boxed()),
        };
        let running = match begun {
            Begun::Ended(Ended::Done(tried)) if tx.settles_here() => {
                return Started::Ended(match tried.known(&tx) {
                    Ok((tried, known)) => {
                        self.span.in_scope(|| trial.came_to(&known));
                        tx.learn(ordinal, known);
                        tried.answered(ordinal)
                    }
                    Err(why) => unknown(UnknownTry::Unkept(why)),
                });
            }
            Begun::Ended(Ended::Done(tried)) => std::future::ready(tried).boxed(),
            Begun::Ended(Ended::Panicked(message)) => {
                return Started::Ended(unknown(UnknownTry::Panicked(message)));
            }
            Begun::Ended(Ended::Aborted) => return Started::Ended(unknown(UnknownTry::Stopped)),
            Begun::Running(running) => running,
        };
        let (gid, learner) = (tx.gid.clone(), Arc::clone(&tx));
        let seam = Arc::clone(&tx.shared.seam);
        let work = async move {
            // Torn at the hard limit, and only there: its outcome stays unknown.
            let Some(tried) = within(&*seam, hard_limit, inside(gid, running)).await else {
                return Tried::Unkept(format!("it was stopped after {hard_limit:?} (`hard_limit`)"));
            };
            let (tried, known) = match tried.known(&learner) {
                Ok(known) => known,
                Err(why) => return Tried::Unkept(why),
            };
            trial.came_to(&known);
            match learner.settle(ordinal, known).await {
                Ok(()) => tried,
                Err(why) => Tried::Unkept(why),
            }
        };
        let work = tx.shared.tracker.track_future(work.instrument(self.span));
        let task = Task::spawn(&*tx.shared.seam, work);
        Started::Running(Trying { tx, ordinal, patience, task })
    }
}

/// A try that runs: measured when it ends, however it does.
struct Trial {
    tx: Arc<TxInner>,
    action: ActionName,
    began: Duration,
    outcome: Seen,
}

impl Trial {
    fn new(tx: Arc<TxInner>, action: ActionName) -> Self {
        let began = tx.shared.seam.elapsed();
        Self { tx, action, began, outcome: Seen::Unknown }
    }

    fn came_to(&mut self, known: &Known) {
        self.outcome = match known {
            Known::Succeeded(_) => Seen::Succeeded,
            Known::Refused => Seen::Refused,
        };
        let outcome = if self.outcome == Seen::Succeeded { "succeeded" } else { "refused" };
        Span::current().record("outcome", outcome);
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        let shared = &self.tx.shared;
        shared.meter.tried(&self.action, self.outcome, || shared.seam.elapsed().saturating_sub(self.began));
    }
}

/// A registered branch whose try runs, has ended, or is known not to run here.
pub(crate) enum Started<T, E> {
    Running(Trying<T, E>),
    Ended(Answered<T, E>),
    Elsewhere(Elsewhere<T>),
}

/// A try that another run of the same call is at (rule 16).
pub(crate) struct Elsewhere<T> {
    tx: Arc<TxInner>,
    ordinal: Ordinal,
    patience: Duration,
    decode: Decode<T>,
}

impl<T> Elsewhere<T> {
    /// Waits for its outcome, no longer than for a try of one's own.
    async fn finish<E>(self) -> Answered<T, E> {
        let Self { tx, ordinal, patience, decode } = self;
        match within(&*tx.shared.seam, patience, tx.outcome_elsewhere(ordinal)).await.flatten() {
            Some(Known::Succeeded(result)) => decoded(&tx, ordinal, result, decode),
            Some(Known::Refused) => rejected_before(&tx, ordinal),
            None => {
                let call = tx.call_of(ordinal);
                let why = NotRun::Elsewhere { gid: tx.gid.clone(), call };
                Answered { ordinal: None, result: Err(TryError::NotRun(why)) }
            }
        }
    }
}

/// The stored result of an earlier run.
fn decoded<T, E>(tx: &TxInner, ordinal: Ordinal, result: Payload, decode: Decode<T>) -> Answered<T, E> {
    match decode(&result) {
        Ok(value) => {
            tx.adopt(ordinal, Known::Succeeded(result));
            Answered { ordinal: Some(ordinal), result: Ok(value) }
        }
        Err(error) => unknown(UnknownTry::Unkept(error.to_string())),
    }
}

fn rejected_before<T, E>(tx: &TxInner, ordinal: Ordinal) -> Answered<T, E> {
    tx.adopt(ordinal, Known::Refused);
    let why = NotRun::RejectedBefore { gid: tx.gid.clone(), call: tx.call_of(ordinal) };
    Answered { ordinal: Some(ordinal), result: Err(TryError::NotRun(why)) }
}

impl<T: Send + 'static, E: Send + 'static> Started<T, E> {
    /// Waits for the try, no longer than its caller may.
    pub(crate) async fn finish(self) -> Answered<T, E> {
        let mut trying = match self {
            Self::Running(trying) => trying,
            Self::Ended(answered) => return answered,
            // Seldom, and large.
            Self::Elsewhere(elsewhere) => return elsewhere.finish().boxed().await,
        };
        let ended = trying.task.join_within(&*trying.tx.shared.seam, trying.patience).await;
        match ended {
            Some(Ended::Done(tried)) => tried.answered(trying.ordinal),
            Some(Ended::Panicked(message)) => unknown(UnknownTry::Panicked(message)),
            Some(Ended::Aborted) => unknown(UnknownTry::Stopped),
            None => unknown(UnknownTry::TimedOut),
        }
    }
}

fn unknown<T, E>(why: UnknownTry) -> Answered<T, E> {
    Answered { ordinal: None, result: Err(TryError::Unknown(why)) }
}

/// A call by wire name.
pub(crate) fn by_wire_name<A: Serialize + ?Sized>(tx: &Tx, action: &str, arguments: &A) -> WireCall {
    let shared = &tx.inner.shared;
    let found = ActionName::new(action).map_err(NotRun::from).and_then(|name| {
        let (name, hosted) = shared.registry.called(name.participant(), name.action(), name.version())?;
        if hosted.action.attempt.is_none() {
            return Err(NotRun::TypedOnly(name.to_string()));
        }
        Ok((name, Arc::clone(hosted), Payload::encode(arguments)?))
    });
    let (wanted, policy, start) = match found {
        Ok((name, hosted, payload)) => {
            let policy = *hosted.policy();
            let arguments = payload.clone();
            let start: Start<Payload, Rejection> =
                Box::new(move |cx| try_by_wire_name(&hosted, cx, arguments));
            (Ok((name, payload)), policy, Some(start))
        }
        Err(error) => (Err(error), ActionPolicy::new(), None),
    };
    let decode = |payload: &Payload| Ok(payload.clone());
    Call::new(Prepared { tx: tx.clone(), wanted, policy, decode, start, span: Span::none() })
}

fn try_by_wire_name(
    hosted: &crate::runtime::Hosted,
    cx: TryCx,
    arguments: Payload,
) -> BoxFuture<'static, Tried<Payload, Rejection>> {
    let Some(attempt) = &hosted.action.attempt else {
        return std::future::ready(Tried::Unkept("it has no try by wire name".into())).boxed();
    };
    match attempt(cx, arguments) {
        // A try that cannot read its arguments has not begun.
        Err(error) => std::future::ready(Tried::Rejected(Rejection(Box::new(error)))).boxed(),
        Ok(work) => async move {
            match work.await {
                Ok(result) => Tried::Succeeded(result.clone(), result),
                Err(TryFailure::Rejected(error)) => Tried::Rejected(Rejection(error)),
                Err(TryFailure::Unkept(error)) => Tried::Unkept(error.to_string()),
            }
        }
        .boxed(),
    }
}
