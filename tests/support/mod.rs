//! A bank of accounts, as a participant made by hand: reservations, fences and a journal of what ran.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a surprise ends the test")]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use tcc::{
    Action, ActionPolicy, CancelCx, ConfirmCx, MemoryStore, PhaseError, RetryPolicy, Runtime, RuntimeBuilder,
};
use tcc::{TryCx, TryOutcome};

/// What a handler does, for one action.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Act {
    #[default]
    Succeed,
    Fail,
    Panic,
    Park,
    Ongoing,
    /// Never ends.
    Hang,
    /// Takes this many milliseconds.
    Slow(u64),
}

#[derive(Debug, thiserror::Error)]
#[error("insufficient funds")]
pub struct Insufficient;

#[derive(Clone, Default)]
pub struct Bank {
    pub inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
pub struct Inner {
    pub journal: Vec<String>,
    pub acts: BTreeMap<&'static str, Vec<Act>>,
}

impl Bank {
    /// The next times this phase runs, it does so; then it succeeds again.
    pub fn script(&self, phase: &'static str, acts: &[Act]) -> &Self {
        self.inner.lock().unwrap().acts.insert(phase, acts.iter().rev().copied().collect());
        self
    }

    pub fn journal(&self) -> Vec<String> {
        self.inner.lock().unwrap().journal.clone()
    }

    pub fn count(&self, prefix: &str) -> usize {
        self.journal().iter().filter(|line| line.starts_with(prefix)).count()
    }

    fn write(&self, line: String) {
        self.inner.lock().unwrap().journal.push(line);
    }

    fn next(&self, phase: &'static str) -> Act {
        let mut inner = self.inner.lock().unwrap();
        let acts = inner.acts.entry(phase).or_default();
        match acts.len() {
            // The last of a script of endless ones stands.
            1 if matches!(acts[0], Act::Hang) => acts[0],
            _ => acts.pop().unwrap_or_default(),
        }
    }

    async fn phase(&self, phase: &'static str, line: String) -> Result<(), PhaseError> {
        self.write(line);
        match self.next(phase) {
            Act::Succeed => Ok(()),
            Act::Fail => Err(PhaseError::retry("the ledger is away")),
            Act::Panic => panic!("{phase} panics"),
            Act::Park => Err(PhaseError::park("the account is frozen")),
            Act::Ongoing => Err(PhaseError::ongoing(Duration::from_millis(20))),
            Act::Hang => std::future::pending().await,
            Act::Slow(ms) => {
                tokio::time::sleep(Duration::from_millis(ms)).await;
                self.write(format!("{phase} ended"));
                Ok(())
            }
        }
    }

    /// `bank.debit@1`: takes an amount, returns a hold's name.
    pub fn action(&self, name: &str, version: u32) -> Action {
        let (this, confirm, cancel) = (self.clone(), self.clone(), self.clone());
        Action::new(
            name,
            version,
            move |cx: TryCx, amount: u64| {
                let bank = this.clone();
                async move {
                    bank.write(format!("try {}/{} {amount}", cx.gid(), cx.branch()));
                    match bank.next("try") {
                        Act::Fail => return Err(Insufficient),
                        Act::Panic => panic!("try panics"),
                        Act::Hang => std::future::pending::<()>().await,
                        Act::Slow(ms) => {
                            tokio::time::sleep(Duration::from_millis(ms)).await;
                            bank.write("try ended".into());
                        }
                        _ => {}
                    }
                    Ok(format!("hold-{amount}"))
                }
            },
            move |cx: ConfirmCx, amount: u64, hold: String| {
                let bank = confirm.clone();
                async move {
                    let line = format!(
                        "confirm {}/{} {amount} {hold} attempt {}",
                        cx.gid(),
                        cx.branch(),
                        cx.attempt()
                    );
                    bank.phase("confirm", line).await
                }
            },
            move |cx: CancelCx, amount: u64, hold: TryOutcome<String>| {
                let bank = cancel.clone();
                async move {
                    let line = format!(
                        "cancel {}/{} {amount} {hold:?} attempt {}",
                        cx.gid(),
                        cx.branch(),
                        cx.attempt()
                    );
                    bank.phase("cancel", line).await
                }
            },
        )
        .with_policy(policy())
    }
}

pub fn policy() -> ActionPolicy {
    ActionPolicy::new()
        .timeout(Duration::from_millis(300))
        .hard_limit(Duration::from_secs(5))
        .phase_timeout(Duration::from_millis(400))
        .ongoing_limit(Duration::from_millis(300))
        .retry(RetryPolicy::new().max(3).base(Duration::from_millis(5)).cap(Duration::from_millis(20)))
}

/// Short leases and quick sweeps.
pub fn quick(store: &MemoryStore) -> RuntimeBuilder {
    Runtime::builder()
        .store(store.clone())
        .lease(Duration::from_millis(300))
        .drive_lease(Duration::from_millis(600))
        .sweep_interval(Duration::from_millis(20))
        .grace(Duration::from_secs(2))
}

/// A store, a bank, and a runtime that hosts it.
pub async fn start() -> (MemoryStore, Bank, Runtime) {
    let (store, bank) = (MemoryStore::new(), Bank::default());
    let runtime = quick(&store)
        .actions("bank", [bank.action("debit", 1), bank.action("credit", 1)])
        .start()
        .await
        .unwrap();
    (store, bank, runtime)
}

/// Waits until this is true, no longer than ten seconds.
pub async fn until(what: &str, mut check: impl FnMut() -> bool) {
    for _ in 0..1_000 {
        if check() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what} did not come true");
}
