//! The participants: two accounts, `from` and `to`, whose handlers keep the books and can be held.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tcc_core::{
    Action, ActionPolicy, CancelCx, ConfirmCx, Gid, Ordinal, PhaseError, RetryPolicy, TryCx, TryOutcome,
};

use super::books::Books;

pub(crate) const ACCOUNTS: [&str; 2] = ["from", "to"];
/// The account `to` refuses this amount.
pub(crate) const REFUSED: u64 = 7;

/// Where a process does its work: its books, and the point it holds at.
pub(crate) struct Desk {
    books: Books,
    process: String,
    hold: Option<String>,
    held: AtomicBool,
}

#[derive(Debug, thiserror::Error)]
#[error("the account takes no such amount")]
struct Refused;

impl Desk {
    pub(crate) fn new(books: Books, process: &str, hold: Option<String>) -> Self {
        Self { books, process: process.to_owned(), hold, held: AtomicBool::new(false) }
    }

    pub(crate) fn books(&self) -> &Books {
        &self.books
    }

    pub(crate) fn process(&self) -> &str {
        &self.process
    }

    /// Holds here, if this is the point: says so, and waits until it is told to go on.
    pub(crate) async fn point(&self, point: &str) {
        if self.hold.as_deref() != Some(point) || self.held.swap(true, Ordering::Relaxed) {
            return;
        }
        self.books.mark(&format!("{}.holds", self.process));
        while !self.books.is_marked(&format!("{}.goes-on", self.process)) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    fn began(&self, phase: &str, account: &str, gid: &Gid, attempt: u32) {
        self.books.note("ran", &format!("{phase} {account} {gid} {attempt} {}", self.process));
    }

    async fn attempt(&self, account: &str, cx: &TryCx, amount: u64) -> Result<String, Refused> {
        self.began("try", account, cx.gid(), 0);
        self.point(&format!("{account}.try")).await;
        if account == "to" && amount == REFUSED {
            return Err(Refused);
        }
        let text = format!("reserved {account} {amount}");
        if self.books.enter(&branch(cx.gid(), cx.branch()), "try", &text) == text {
            Ok(text)
        } else {
            Err(Refused)
        }
    }

    async fn finish(
        &self,
        phase: &str,
        account: &str,
        gid: &Gid,
        ordinal: Ordinal,
        attempt: u32,
    ) -> Result<(), PhaseError> {
        self.began(phase, account, gid, attempt);
        self.point(&format!("{account}.{phase}.before")).await;
        let branch = branch(gid, ordinal);
        let reserved = self.books.enter(&branch, "try", "barred");
        if phase == "confirm" && reserved == "barred" {
            return Err(PhaseError::park("nothing is reserved that could be confirmed"));
        }
        if self.books.enter(&branch, "end", phase) != phase {
            return Err(PhaseError::park("the books say the opposite"));
        }
        self.point(&format!("{account}.{phase}.after")).await;
        Ok(())
    }
}

fn branch(gid: &Gid, ordinal: Ordinal) -> String {
    format!("{gid}.{ordinal}")
}

/// The one action of an account.
pub(crate) fn action(account: &str, desk: &Arc<Desk>) -> Action {
    let [attempts, confirms, cancels] = [0; 3].map(|_| (Arc::clone(desk), account.to_owned()));
    let retry = RetryPolicy::new().max(100).base(Duration::from_millis(20)).cap(Duration::from_millis(500));
    Action::new(
        "move",
        1,
        move |cx: TryCx, amount: u64| {
            let (desk, account) = attempts.clone();
            async move { desk.attempt(&account, &cx, amount).await }
        },
        move |cx: ConfirmCx, _: u64, _: String| {
            let (desk, account) = confirms.clone();
            async move { desk.finish("confirm", &account, cx.gid(), cx.branch(), cx.attempt()).await }
        },
        move |cx: CancelCx, _: u64, _: TryOutcome<String>| {
            let (desk, account) = cancels.clone();
            async move { desk.finish("cancel", &account, cx.gid(), cx.branch(), cx.attempt()).await }
        },
    )
    .with_policy(ActionPolicy::new().retry(retry).timeout(Duration::from_secs(20)))
}
