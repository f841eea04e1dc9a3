//! A transaction begun elsewhere, as the service that was called in it sees it (rule 16).

use std::{
    collections::BTreeMap,
    ops::Deref,
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use super::{LATE_PATIENCE, Phase, Role, Tx, TxInner, TxState};
use crate::{
    answer::CallAnswer,
    event::Event,
    gid::Gid,
    machine::{Refusal, Register, Report, Reported, TryReport},
    name::{CallId, Ordinal},
    outcome::TryOutcome,
    record::{Direction, Known, Seen, Token},
    runtime::Shared,
    store::{StoreError, StoreErrorKind},
    tx::CallContext,
};

/// Between the first two looks at a try that another run of the same call is at.
const LOOK_BASE: Duration = Duration::from_millis(10);
/// The longest between two of them.
const LOOK_CAP: Duration = Duration::from_millis(500);

/// A transaction that another process began and this one was called in: clients are made from it as from a [`Tx`],
/// `InventoryTcc::new(&joined)`. Clones share it. It cannot decide.
///
/// A repetition of the same call makes the same calls in the same order, with the same arguments, and is given what
/// the first run of each came to: a handler must not let randomness or the clock into what it calls.
#[derive(Clone, Debug)]
pub struct Joined {
    tx: Tx,
    call: CallId,
}

/// Why a process could not join.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The deadline has passed.
    #[error("the deadline of {0} has passed")]
    Expired(Gid),
    /// The transaction is decided.
    #[error("{gid} is decided ({direction}): no branch can be added")]
    Decided {
        /// The transaction.
        gid: Gid,
        /// What was decided.
        direction: Direction,
    },
    /// The store holds no such transaction: it belongs to another store or namespace, or was forgotten.
    #[error("{0} is not known here; services of one transaction share one store and namespace")]
    NotKnown(Gid),
    /// The runtime has a [`ContextKey`](crate::ContextKey), and the context no seal.
    #[error("the context of {0} has no seal; the service that called needs the context key of this one")]
    Unsealed(Gid),
    /// The seal is of another context, which was altered on its way, or of another secret.
    #[error(
        "the seal of the context of {0} does not fit: the context was altered, or sealed with a secret not known here"
    )]
    WrongSeal(Gid),
    /// Too many transactions are open in this process.
    #[error("{max} transactions are open in this process (`open_max`); call again later")]
    Overloaded {
        /// The limit.
        max: usize,
    },
    /// The runtime is shutting down.
    #[error("the runtime is shutting down; call another process")]
    ShuttingDown,
    /// The store did not answer.
    #[error("the store does not say whether {gid} can be joined")]
    Store {
        /// The transaction.
        gid: Gid,
        /// The store's error.
        #[source]
        error: StoreError,
    },
}

impl Deref for Joined {
    type Target = Tx;

    fn deref(&self) -> &Tx {
        &self.tx
    }
}

impl Joined {
    pub(crate) async fn new(shared: Arc<Shared>, context: CallContext) -> Result<Self, JoinError> {
        // Before all else: who alters a context learns nothing by it.
        if let Some(key) = &shared.context_key {
            key.check(&context)?;
        }
        let CallContext { gid, name, call, time_left, trace_parent, seal: _ } = context;
        if !shared.accepting.load(Ordering::SeqCst) {
            return Err(JoinError::ShuttingDown);
        }
        if time_left.is_zero() {
            return Err(JoinError::Expired(gid));
        }
        if gid.shard() >= shared.store.shards() {
            return Err(JoinError::NotKnown(gid));
        }
        let permit = Arc::clone(&shared.open)
            .try_acquire_owned()
            .map_err(|_| JoinError::Overloaded { max: shared.config.open_max })?;
        let deadline_at = shared.clock.now(gid.shard()) + time_left;
        ask(&shared, &gid, time_left).await?;
        let run = Token(shared.seam.random());
        let span = crate::spans::transaction(&gid, &name, "joined");
        let inner = TxInner {
            gid,
            name,
            deadline_at,
            begun_at: shared.seam.elapsed(),
            span,
            trace_parent,
            role: Role::Joined { call: call.clone(), run },
            state: Mutex::new(TxState::new(true)),
            _permit: permit,
            _tracked: shared.tracker.token(),
            shared,
        };
        Ok(Self { tx: Tx { inner: Arc::new(inner) }, call })
    }

    /// The call that was made here.
    #[must_use]
    pub fn call_id(&self) -> &CallId {
        &self.call
    }

    /// Ends the call and gives the answer its caller is to be sent. No branch can be added after it; what was not
    /// heard here, or not recorded, is told as unknown.
    #[must_use = "without the answer the caller cannot commit"]
    pub fn finish(&self) -> CallAnswer {
        let mut state = self.tx.inner.state();
        state.phase = Phase::Decided;
        let own = state.branches.iter().map(|(ordinal, branch)| {
            let seen = match &branch.known {
                Some(Known::Succeeded(_)) if branch.heard => Seen::Succeeded,
                Some(Known::Refused) if branch.heard => Seen::Refused,
                _ => Seen::Unknown,
            };
            (*ordinal, seen)
        });
        let theirs = state.remote.iter().map(|(ordinal, branch)| (*ordinal, branch.seen));
        let branches: BTreeMap<Ordinal, Seen> = own.chain(theirs).collect();
        CallAnswer::new(branches, state.pending > 0 || state.awaits_answer())
    }
}

/// Registers nothing, which tells whether the transaction takes branches.
async fn ask(shared: &Shared, gid: &Gid, time_left: Duration) -> Result<(), JoinError> {
    let register = Register {
        create: None,
        branches: Vec::new(),
        branches_max: shared.config.branches_max,
        payload_bytes_max: shared.config.transaction_payload_bytes_max as u64,
    };
    match shared.call(gid, register, time_left).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(Refusal::AlreadyDecided(direction))) => {
            Err(JoinError::Decided { gid: gid.clone(), direction })
        }
        Ok(Err(Refusal::DeadlinePassed)) => Err(JoinError::Expired(gid.clone())),
        Ok(Err(_)) => Err(JoinError::NotKnown(gid.clone())),
        Err(error) => Err(JoinError::Store { gid: gid.clone(), error }),
    }
}

impl TxInner {
    /// Has an outcome recorded before anybody here hears of it. It is pursued after its caller gave up.
    pub(super) async fn record_outcome(&self, ordinal: Ordinal, known: Known) -> Result<(), String> {
        let tries = vec![TryReport { ordinal, known: known.clone() }];
        let report = Report { tries };
        let mut answered = self.shared.call(&self.gid, report.clone(), Duration::ZERO).await;
        if matches!(&answered, Err(error) if error.kind() == StoreErrorKind::Unavailable) {
            // It may have been recorded, heard by another run of the call, and confirmed. If the record is gone when
            // the answer comes, nobody may cancel the branch any more.
            self.state().perhaps_confirmed.insert(ordinal);
            answered = self.shared.call(&self.gid, report, LATE_PATIENCE).await;
        }
        let reported = match answered {
            Ok(Ok(reported)) => reported.first().copied().unwrap_or(Reported::Lost),
            Ok(Err(_)) => Reported::Lost,
            Err(error) => {
                self.shared.trouble("recording an outcome", Some(&self.gid), &error);
                return Err("the store did not record it".into());
            }
        };
        let outcome = match known {
            Known::Succeeded(_) => Seen::Succeeded,
            Known::Refused => Seen::Refused,
        };
        let late = !matches!(reported, Reported::Recorded | Reported::Again);
        if late {
            self.count_late(ordinal);
        }
        self.shared.emit(|| Event::Tried { gid: self.gid.clone(), branch: ordinal, outcome, late });
        match reported {
            Reported::Recorded | Reported::Again => {
                self.adopt(ordinal, known);
                Ok(())
            }
            Reported::Late => Err("the transaction was decided before it ended".into()),
            Reported::Conflict => Err("the record says the opposite of it".into()),
            Reported::Lost => {
                self.cancel_here(ordinal, known).await;
                Err("its record is gone".into())
            }
        }
    }

    /// Takes an outcome from the record.
    pub(crate) fn adopt(&self, ordinal: Ordinal, known: Known) {
        if let Some(branch) = self.state().branches.get_mut(&ordinal) {
            branch.known = Some(known);
        }
    }

    /// The call that made a branch.
    pub(crate) fn call_of(&self, ordinal: Ordinal) -> String {
        self.state().branches.get(&ordinal).map(|branch| branch.call.to_string()).unwrap_or_default()
    }

    /// Looks, over and over, for the outcome of a try that another run is at; nothing if none can come any more.
    /// Ends by itself only then: its caller bounds it.
    pub(crate) async fn outcome_elsewhere(&self, ordinal: Ordinal) -> Option<Known> {
        let mut pause = LOOK_BASE;
        loop {
            match self.shared.load(&self.gid).await {
                Ok(Some(record)) => match record.branch(ordinal)?.try_outcome() {
                    TryOutcome::Succeeded(result) => return Some(Known::Succeeded(result)),
                    TryOutcome::Refused => return Some(Known::Refused),
                    TryOutcome::Unknown if record.decision.is_some() => return None,
                    TryOutcome::Unknown => {}
                },
                Ok(None) => return None,
                Err(error) if !error.is_retryable() => return None,
                Err(_) => {}
            }
            self.shared.seam.sleep(pause).await;
            pause = (pause * 2).min(LOOK_CAP);
        }
    }
}

impl JoinError {
    /// Whether the same call may succeed later, or in another process.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Overloaded { .. } | Self::ShuttingDown => true,
            Self::Store { error, .. } => error.is_retryable(),
            Self::Expired(_)
            | Self::Decided { .. }
            | Self::NotKnown(_)
            | Self::Unsealed(_)
            | Self::WrongSeal(_) => false,
        }
    }
}
