//! A bank of accounts: handlers that do as they are told, and a journal of what ran.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use tcc::{
    Action, ActionPolicy, CancelCx, ConfirmCx, Gid, Ordinal, PhaseError, RetryPolicy, TryCx, TryOutcome,
};
use tokio::sync::watch;

/// What a handler does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Act {
    #[default]
    Succeed,
    Fail,
    Panic,
    Park,
    /// Asks to be asked again in 20 ms.
    Ongoing,
    /// Never ends.
    Hang,
    /// Ends well when the gate is opened.
    Held,
    /// Fails when the gate is opened.
    HeldThenFail,
    /// Takes this many milliseconds.
    Slow(u64),
}

#[derive(Debug, thiserror::Error)]
#[error("insufficient funds")]
pub(crate) struct Insufficient;

/// A handler that ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ran {
    /// `try`, `confirm` or `cancel`.
    pub(crate) phase: &'static str,
    pub(crate) action: String,
    pub(crate) gid: Gid,
    pub(crate) branch: Ordinal,
    pub(crate) amount: u64,
    /// What a cancel was told.
    pub(crate) outcome: Option<TryOutcome<String>>,
    pub(crate) attempt: u32,
    /// The bank it ran in.
    pub(crate) bank: &'static str,
}

#[derive(Clone)]
pub(crate) struct Bank {
    name: &'static str,
    inner: Arc<Mutex<Inner>>,
    gate: Arc<watch::Sender<bool>>,
}

#[derive(Default)]
struct Inner {
    journal: Vec<Ran>,
    ended: Vec<&'static str>,
    acts: BTreeMap<String, Vec<Act>>,
    running: BTreeMap<(&'static str, Gid, Ordinal), u32>,
    running_max: BTreeMap<&'static str, u32>,
    overlaps: u32,
}

impl Default for Bank {
    fn default() -> Self {
        Self::named("bank")
    }
}

impl Bank {
    pub(crate) fn named(name: &'static str) -> Self {
        Self { name, inner: Arc::default(), gate: Arc::new(watch::Sender::new(false)) }
    }

    /// The same books and gate under another name: the bank as another process hosts it.
    pub(crate) fn branch_office(&self, name: &'static str) -> Self {
        Self { name, ..self.clone() }
    }

    /// The next times this phase runs, it does so; then it succeeds again. `confirm` is every action's,
    /// `debit.confirm` one's. A script that ends in `Hang` or `Held` ends there.
    pub(crate) fn script(&self, phase: &str, acts: &[Act]) -> &Self {
        self.inner.lock().unwrap().acts.insert(phase.into(), acts.iter().rev().copied().collect());
        self
    }

    /// This phase does so from now on.
    pub(crate) fn always(&self, phase: &str, act: Act) -> &Self {
        self.script(phase, &[act; 100])
    }

    /// Lets everything go on that is held, now and later.
    pub(crate) fn open_gate(&self) {
        self.gate.send_replace(true);
    }

    pub(crate) fn journal(&self) -> Vec<Ran> {
        self.inner.lock().unwrap().journal.clone()
    }

    pub(crate) fn ran(&self, phase: &str) -> Vec<Ran> {
        self.journal().into_iter().filter(|ran| ran.phase == phase).collect()
    }

    pub(crate) fn count(&self, phase: &str) -> usize {
        self.ran(phase).len()
    }

    /// How many tries, confirms and cancels ran.
    pub(crate) fn counts(&self) -> (usize, usize, usize) {
        (self.count("try"), self.count("confirm"), self.count("cancel"))
    }

    /// How often this phase came to its end.
    pub(crate) fn ended(&self, phase: &str) -> usize {
        self.inner.lock().unwrap().ended.iter().filter(|ended| **ended == phase).count()
    }

    /// Runs of one phase of one branch that overlapped.
    pub(crate) fn overlaps(&self) -> u32 {
        self.inner.lock().unwrap().overlaps
    }

    /// The most handlers of a phase that ran at a time.
    pub(crate) fn running_max(&self, phase: &str) -> u32 {
        self.inner.lock().unwrap().running_max.get(phase).copied().unwrap_or(0)
    }

    fn next(&self, action: &str, phase: &str) -> Act {
        let mut inner = self.inner.lock().unwrap();
        for script in [format!("{action}.{phase}"), phase.to_owned()] {
            let Some(acts) = inner.acts.get_mut(&script).filter(|acts| !acts.is_empty()) else { continue };
            return match acts.len() {
                1 if matches!(acts[0], Act::Hang | Act::Held) => acts[0],
                _ => acts.pop().unwrap_or_default(),
            };
        }
        Act::Succeed
    }

    /// Runs a handler. `Err` is how it wants to fail.
    async fn run(&self, ran: Ran) -> Result<(), Act> {
        let (phase, act) = (ran.phase, self.next(&ran.action, ran.phase));
        let _running = Running::begin(self, &ran);
        self.inner.lock().unwrap().journal.push(ran);
        match act {
            Act::Succeed => {}
            Act::Panic => panic!("{phase} panics"),
            Act::Hang => std::future::pending().await,
            Act::Held | Act::HeldThenFail => {
                let _ = self.gate.subscribe().wait_for(|open| *open).await;
            }
            Act::Slow(millis) => tokio::time::sleep(Duration::from_millis(millis)).await,
            Act::Fail | Act::Park | Act::Ongoing => return Err(act),
        }
        self.inner.lock().unwrap().ended.push(phase);
        if act == Act::HeldThenFail { Err(Act::Fail) } else { Ok(()) }
    }

    async fn phase(&self, ran: Ran) -> Result<(), PhaseError> {
        self.run(ran).await.map_err(|act| match act {
            Act::Park => PhaseError::park("the account is frozen"),
            Act::Ongoing => PhaseError::ongoing(Duration::from_millis(20)),
            _ => PhaseError::retry("the ledger is away"),
        })
    }

    /// `bank.debit@1`: takes an amount, returns a hold's name.
    pub(crate) fn action(&self, name: &str, version: u32) -> Action {
        let (this, confirm, cancel) = (self.clone(), self.clone(), self.clone());
        Action::new(
            name,
            version,
            move |cx: TryCx, amount: u64| {
                let bank = this.clone();
                async move {
                    let ran = bank.entry("try", cx.action().action(), cx.gid(), cx.branch(), amount);
                    match bank.run(ran).await {
                        Ok(()) => Ok(format!("hold-{amount}")),
                        Err(_) => Err(Insufficient),
                    }
                }
            },
            move |cx: ConfirmCx, amount: u64, _hold: String| {
                let bank = confirm.clone();
                let ran = bank.entry("confirm", cx.action().action(), cx.gid(), cx.branch(), amount);
                let ran = Ran { attempt: cx.attempt(), ..ran };
                async move { bank.phase(ran).await }
            },
            move |cx: CancelCx, amount: u64, hold: TryOutcome<String>| {
                let bank = cancel.clone();
                let ran = bank.entry("cancel", cx.action().action(), cx.gid(), cx.branch(), amount);
                let ran = Ran { attempt: cx.attempt(), outcome: Some(hold), ..ran };
                async move { bank.phase(ran).await }
            },
        )
        .with_policy(policy())
    }

    fn entry(&self, phase: &'static str, action: &str, gid: &Gid, branch: Ordinal, amount: u64) -> Ran {
        let (action, gid) = (action.to_owned(), gid.clone());
        Ran { phase, action, gid, branch, amount, outcome: None, attempt: 0, bank: self.name }
    }
}

/// Counts a handler as running for as long as it does.
struct Running {
    bank: Bank,
    what: (&'static str, Gid, Ordinal),
}

impl Running {
    fn begin(bank: &Bank, ran: &Ran) -> Self {
        let what = (ran.phase, ran.gid.clone(), ran.branch);
        let mut inner = bank.inner.lock().unwrap();
        let count = inner.running.entry(what.clone()).or_default();
        *count += 1;
        let overlaps = *count > 1;
        inner.overlaps += u32::from(overlaps);
        let running = inner.running.iter().filter(|((phase, ..), _)| *phase == ran.phase);
        let running: u32 = running.map(|(_, count)| count).sum();
        let most = inner.running_max.entry(ran.phase).or_default();
        *most = running.max(*most);
        drop(inner);
        Self { bank: bank.clone(), what }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(count) = self.bank.inner.lock().unwrap().running.get_mut(&self.what) {
            *count -= 1;
        }
    }
}

pub(crate) fn policy() -> ActionPolicy {
    ActionPolicy::new()
        .timeout(Duration::from_secs(5))
        .hard_limit(Duration::from_secs(30))
        .phase_timeout(Duration::from_secs(10))
        .ongoing_limit(Duration::from_millis(100))
        .retry(retry())
}

pub(crate) fn retry() -> RetryPolicy {
    RetryPolicy::new().max(3).base(Duration::from_millis(2)).cap(Duration::from_millis(5))
}
