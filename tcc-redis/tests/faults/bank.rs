//! The participants: accounts, whose handlers do everything in the ledger.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tcc_core::{
    Action, ActionPolicy, CancelCx, ConfirmCx, Gid, Ordinal, PhaseError, RetryPolicy, TryCx, TryOutcome,
};

use super::{
    customer::Customer,
    ledger::{Answer, Branch, Order, Side, Step},
    support::random::Random,
};

/// A harm that a test does to the participants, to see that the oracle finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Sabotage {
    /// Every other cancel does nothing.
    SkipsCancels,
    /// A confirm in twenty is done as a cancel.
    TurnsRound,
    /// A confirm in twenty moves another amount.
    AltersAmounts,
    /// A commit in twenty is told as its opposite.
    TellsTheOpposite,
    /// A begin in twenty is told of that never was.
    InventsBegins,
}

pub(crate) struct Bank {
    pub(crate) ledger: Customer,
    /// The most that a confirm or cancel takes on top, in milliseconds.
    pub(crate) slow_ms: u64,
    pub(crate) sabotage: Option<Sabotage>,
    pub(crate) random: Mutex<Random>,
}

#[derive(Debug, thiserror::Error)]
#[error("the account refuses")]
struct Refused;

impl Bank {
    pub(crate) fn within(&self, range: std::ops::RangeInclusive<u64>) -> u64 {
        self.random.lock().expect("the random numbers").within(range)
    }

    pub(crate) fn is_hit_by(&self, sabotage: Sabotage) -> bool {
        let one_in = if sabotage == Sabotage::SkipsCancels { 2 } else { 20 };
        self.sabotage == Some(sabotage) && self.within(1..=one_in) == 1
    }

    async fn attempt(&self, branch: Branch) -> Result<String, Refused> {
        match self.ledger.take(Step::Try(branch)).await {
            Answer::Reserved(receipt) => Ok(receipt),
            _ => Err(Refused),
        }
    }

    async fn confirm(&self, mut branch: Branch, receipt: String) -> Result<(), PhaseError> {
        tokio::time::sleep(Duration::from_millis(self.within(0..=self.slow_ms))).await;
        if self.is_hit_by(Sabotage::TurnsRound) {
            return finished(self.ledger.take(Step::Cancel { branch, receipt: Some(receipt) }).await);
        }
        if self.is_hit_by(Sabotage::AltersAmounts) {
            branch.order.amount += 1;
        }
        finished(self.ledger.take(Step::Confirm { branch, receipt }).await)
    }

    async fn cancel(&self, branch: Branch, outcome: TryOutcome<String>) -> Result<(), PhaseError> {
        tokio::time::sleep(Duration::from_millis(self.within(0..=self.slow_ms))).await;
        if self.is_hit_by(Sabotage::SkipsCancels) {
            return Ok(());
        }
        let receipt = match outcome {
            TryOutcome::Succeeded(receipt) => Some(receipt),
            TryOutcome::Refused | TryOutcome::Unknown => None,
        };
        finished(self.ledger.take(Step::Cancel { branch, receipt }).await)
    }
}

fn finished(answer: Answer) -> Result<(), PhaseError> {
    match answer {
        Answer::Done => Ok(()),
        other => Err(PhaseError::park(format!("the ledger says {other:?}"))),
    }
}

/// Paying out of an account, and taking in: its two actions.
pub(crate) fn actions(account: &str, bank: &Arc<Bank>) -> [Action; 2] {
    [("pay", Side::Pay), ("get", Side::Get)].map(|(name, side)| {
        let branch_of = {
            let account = account.to_owned();
            move |gid: &Gid, ordinal: Ordinal, order: Order| Branch {
                gid: gid.to_string(),
                ordinal: ordinal.to_string(),
                account: account.clone(),
                side,
                order,
            }
        };
        let [tried, confirmed, cancelled] = [0; 3].map(|_| (Arc::clone(bank), branch_of.clone()));
        let retry =
            RetryPolicy::new().max(10_000).base(Duration::from_millis(20)).cap(Duration::from_millis(300));
        Action::new(
            name,
            1,
            move |cx: TryCx, order: Order| {
                let (bank, branch_of) = tried.clone();
                let branch = branch_of(cx.gid(), cx.branch(), order);
                async move { bank.attempt(branch).await }
            },
            move |cx: ConfirmCx, order: Order, receipt: String| {
                let (bank, branch_of) = confirmed.clone();
                let branch = branch_of(cx.gid(), cx.branch(), order);
                async move { bank.confirm(branch, receipt).await }
            },
            move |cx: CancelCx, order: Order, outcome: TryOutcome<String>| {
                let (bank, branch_of) = cancelled.clone();
                let branch = branch_of(cx.gid(), cx.branch(), order);
                async move { bank.cancel(branch, outcome).await }
            },
        )
        .with_policy(ActionPolicy::new().retry(retry).timeout(Duration::from_secs(20)))
    })
}
