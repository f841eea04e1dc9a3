//! Actions: a try with its confirm and cancel, and the policy they run under.

use std::{error::Error, fmt, sync::Arc, time::Duration};

use futures_util::{FutureExt, future::BoxFuture};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    context::{CancelCx, ConfirmCx, TryCx},
    outcome::{BoxError, PhaseError, TryOutcome},
    payload::{DecodeError, EncodeError, Payload, Stored},
    retry::RetryPolicy,
};

/// How an action's handlers are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActionPolicy {
    pub(crate) timeout: Duration,
    pub(crate) hard_limit: Duration,
    pub(crate) phase_timeout: Duration,
    pub(crate) ongoing_limit: Duration,
    pub(crate) concurrency: usize,
    pub(crate) retry: RetryPolicy,
}

impl Default for ActionPolicy {
    fn default() -> Self {
        Self::new()
    }
}

impl ActionPolicy {
    /// Try 5 s and at the most 60 s, confirm and cancel 30 s, `Ongoing` for an hour, 64 at a time.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            timeout: Duration::from_secs(5),
            hard_limit: Duration::from_secs(60),
            phase_timeout: Duration::from_secs(30),
            ongoing_limit: Duration::from_secs(3_600),
            concurrency: 64,
            retry: RetryPolicy::new(),
        }
    }

    /// How long a caller waits for try. A try that takes longer runs on, detached.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How long a detached try may run at the most before it is stopped.
    #[must_use]
    pub const fn hard_limit(mut self, limit: Duration) -> Self {
        self.hard_limit = limit;
        self
    }

    /// How long one attempt at confirm or cancel may take before it is stopped and counts as failed.
    #[must_use]
    pub const fn phase_timeout(mut self, timeout: Duration) -> Self {
        self.phase_timeout = timeout;
        self
    }

    /// For how long confirm or cancel may answer [`PhaseError::Ongoing`] before the branch is parked.
    #[must_use]
    pub const fn ongoing_limit(mut self, limit: Duration) -> Self {
        self.ongoing_limit = limit;
        self
    }

    /// How many confirms and cancels of the action run at a time in one process, at least 1.
    #[must_use]
    pub const fn concurrency(mut self, most: usize) -> Self {
        self.concurrency = if most == 0 { 1 } else { most };
        self
    }

    /// How often and how fast confirm and cancel are tried again.
    #[must_use]
    pub const fn retry(mut self, retry: RetryPolicy) -> Self {
        self.retry = retry;
        self
    }
}

/// Why a try called by wire name gave no payload.
#[derive(Debug)]
pub enum TryFailure {
    /// It returned an error.
    Rejected(BoxError),
    /// Its result cannot be kept.
    Unkept(EncodeError),
}

/// A try, called by wire name.
pub type TryFn = Box<
    dyn Fn(TryCx, Payload) -> Result<BoxFuture<'static, Result<Payload, TryFailure>>, DecodeError>
        + Send
        + Sync,
>;
/// A confirm, given the arguments and the result of its try.
pub type ConfirmFn = Box<
    dyn Fn(ConfirmCx, Payload, Payload) -> Result<BoxFuture<'static, Result<(), PhaseError>>, DecodeError>
        + Send
        + Sync,
>;
/// A cancel, given the arguments and the outcome of its try.
pub type CancelFn = Box<
    dyn Fn(
            CancelCx,
            Payload,
            TryOutcome<Payload>,
        ) -> Result<BoxFuture<'static, Result<(), PhaseError>>, DecodeError>
        + Send
        + Sync,
>;

type Upgrade = Arc<dyn Fn(Stored) -> Result<Stored, BoxError> + Send + Sync>;

/// A try with its confirm and cancel, as a participant offers it.
///
/// The [`participant`](https://docs.rs/tcc) macro makes these; [`Action::new`] makes one by hand.
pub struct Action {
    pub(crate) name: String,
    pub(crate) version: u32,
    pub(crate) policy: ActionPolicy,
    pub(crate) attempt: Option<TryFn>,
    pub(crate) confirm: ConfirmFn,
    pub(crate) cancel: CancelFn,
    pub(crate) reads: Vec<(u32, Upgrade)>,
}

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Action")
            .field("name", &self.name)
            .field("version", &self.version)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

impl Action {
    /// An action of three functions: `name` within its participant (no dot), its version, and handlers
    /// that take the arguments `A` as one value. `T` is what try returns.
    ///
    /// ```
    /// use tcc_core::{Action, CancelCx, ConfirmCx, PhaseError, TryCx, TryOutcome};
    ///
    /// let reserve = Action::new(
    ///     "reserve",
    ///     1,
    ///     |_: TryCx, sku: String| async move { Ok::<_, std::io::Error>(format!("hold-{sku}")) },
    ///     |_: ConfirmCx, _sku: String, _hold: String| async { Ok::<(), PhaseError>(()) },
    ///     |_: CancelCx, _sku: String, _hold: TryOutcome<String>| async { Ok::<(), PhaseError>(()) },
    /// );
    /// # let _ = reserve;
    /// ```
    pub fn new<A, T, E, Try, TryFuture, Confirm, ConfirmFuture, Cancel, CancelFuture>(
        name: impl Into<String>,
        version: u32,
        attempt: Try,
        confirm: Confirm,
        cancel: Cancel,
    ) -> Self
    where
        A: DeserializeOwned + Send + 'static,
        T: Serialize + DeserializeOwned + Send + 'static,
        E: Into<BoxError>,
        Try: Fn(TryCx, A) -> TryFuture + Send + Sync + 'static,
        TryFuture: Future<Output = Result<T, E>> + Send + 'static,
        Confirm: Fn(ConfirmCx, A, T) -> ConfirmFuture + Send + Sync + 'static,
        ConfirmFuture: Future<Output = Result<(), PhaseError>> + Send + 'static,
        Cancel: Fn(CancelCx, A, TryOutcome<T>) -> CancelFuture + Send + Sync + 'static,
        CancelFuture: Future<Output = Result<(), PhaseError>> + Send + 'static,
    {
        let attempt: TryFn = Box::new(move |cx, arguments| {
            let work = attempt(cx, arguments.decode()?);
            Ok(async move {
                let value = work.await.map_err(|error| TryFailure::Rejected(error.into()))?;
                Payload::encode(&value).map_err(TryFailure::Unkept)
            }
            .boxed())
        });
        let confirm: ConfirmFn = Box::new(move |cx, arguments, result| {
            Ok(confirm(cx, arguments.decode()?, result.decode()?).boxed())
        });
        let cancel: CancelFn = Box::new(move |cx, arguments, outcome| {
            Ok(cancel(cx, arguments.decode()?, decode_outcome(outcome)?).boxed())
        });
        Self::from_parts(name.into(), version, ActionPolicy::new(), Some(attempt), confirm, cancel)
    }

    pub(crate) fn from_parts(
        name: String,
        version: u32,
        policy: ActionPolicy,
        attempt: Option<TryFn>,
        confirm: ConfirmFn,
        cancel: CancelFn,
    ) -> Self {
        Self { name, version, policy, attempt, confirm, cancel, reads: Vec::new() }
    }

    /// Runs its handlers under this policy.
    #[must_use]
    pub fn with_policy(mut self, policy: ActionPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Also serves phase two of an older version, whose payloads `upgrade` rewrites to this version's.
    #[must_use]
    pub fn reads<E: Into<BoxError>>(
        mut self,
        version: u32,
        upgrade: impl Fn(Stored) -> Result<Stored, E> + Send + Sync + 'static,
    ) -> Self {
        self.reads.push((version, Arc::new(move |stored| upgrade(stored).map_err(Into::into))));
        self
    }

    /// Rewrites a payload of an older version, if it is one this action reads.
    pub(crate) fn upgrade(
        &self,
        version: u32,
        arguments: Payload,
        outcome: TryOutcome<Payload>,
    ) -> Result<(Payload, TryOutcome<Payload>), DecodeError> {
        let Some((_, upgrade)) =
            self.reads.iter().find(|(read, _)| *read == version && version != self.version)
        else {
            return Ok((arguments, outcome));
        };
        let result = match &outcome {
            TryOutcome::Succeeded(result) => Some(result.decode()?),
            TryOutcome::Refused | TryOutcome::Unknown => None,
        };
        let stored = Stored { arguments: arguments.decode()?, result };
        let upgraded =
            upgrade(stored).map_err(|error| DecodeError::new(format!("version {version}"), error))?;
        let encode = |value: &serde_json::Value| {
            Payload::encode(value)
                .map_err(|error| DecodeError::new(format!("upgraded version {version}"), error))
        };
        let outcome = match (outcome, &upgraded.result) {
            (TryOutcome::Succeeded(_), Some(result)) => TryOutcome::Succeeded(encode(result)?),
            (TryOutcome::Succeeded(_), None) => {
                return Err(DecodeError::new(format!("version {version}"), "the upgrade lost the result"));
            }
            (outcome, _) => outcome,
        };
        Ok((encode(&upgraded.arguments)?, outcome))
    }
}

/// Reads the value in an outcome.
pub fn decode_outcome<T: DeserializeOwned>(
    outcome: TryOutcome<Payload>,
) -> Result<TryOutcome<T>, DecodeError> {
    Ok(match outcome {
        TryOutcome::Succeeded(result) => TryOutcome::Succeeded(decode_result(&result)?),
        TryOutcome::Refused => TryOutcome::Refused,
        TryOutcome::Unknown => TryOutcome::Unknown,
    })
}

/// Reads what a try returned.
pub fn decode_result<T: DeserializeOwned>(result: &Payload) -> Result<T, DecodeError> {
    serde_json::from_str(result.as_str()).map_err(|error| DecodeError::new("the try's result", error))
}

/// What a try returned by wire name: the error of any action, boxed.
#[derive(Debug)]
pub struct Rejection(pub(crate) BoxError);

impl Rejection {
    /// The action's own error.
    #[must_use]
    pub fn into_inner(self) -> BoxError {
        self.0
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for Rejection {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}
