//! A process dies, whatever it was at; another finishes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::future::BoxFuture;
use support::*;
use tcc::{
    MemoryStore, OpenTransaction, TransactionErrorKind, TryOutcome, Tx,
    record::{Reason, TransactionState},
    seam::{Seam, TokioSeam},
};

#[tokio::test]
async fn rule_12_a_transaction_whose_initiator_died_is_cancelled_when_its_lease_ends() {
    let (store, bank) = (MemoryStore::new(), Bank::default());
    let process = Process::start(hosting(&store, &bank.branch_office("dead")).lease(ms(600))).await;
    process.spawn(|runtime| async move {
        let body = async |tx: &Tx| {
            tx.call("bank.debit@1", &10).await?;
            std::future::pending::<Result<(), tcc::Abort>>().await
        };
        // The deadline is far away.
        runtime.transaction("transfer").run(body).await
    });
    until("it is tried", || bank.ended("try") == 1).await;
    process.kill();
    let other = host(&store, &bank.branch_office("other")).await;
    let mut events = other.events();
    let record = until_state(&store, TransactionState::Cancelled).await;
    assert_eq!(record.decision.as_ref().unwrap().reason, Reason::InitiatorLost);
    assert_eq!(record.decision.unwrap().by, *other.process());
    // Nobody but the dead one knew what its try came to (rule 5).
    let cancel = bank.ran("cancel").remove(0);
    assert_eq!((cancel.bank, cancel.outcome), ("other", Some(TryOutcome::Unknown)));
    event(&mut events, |event| matches!(event, tcc::Event::Decided { .. })).await;
}

#[tokio::test]
async fn rule_12_a_branch_whose_process_died_in_its_try_is_cancelled_as_unknown() {
    let (store, bank) = (MemoryStore::new(), Bank::default());
    let process = Process::start(hosting(&store, &bank).lease(ms(600))).await;
    bank.script("try", &[Act::Hang]);
    process.spawn(|runtime| async move {
        let body = async |tx: &Tx| Ok(tx.call("bank.debit@1", &10).await?);
        runtime.transaction("transfer").run(body).await
    });
    until("it is tried", || bank.count("try") == 1).await;
    process.kill();
    let _other = host(&store, &bank).await;
    until_state(&store, TransactionState::Cancelled).await;
    assert_eq!(
        (bank.counts(), bank.ran("cancel")[0].outcome.clone()),
        ((1, 0, 1), Some(TryOutcome::Unknown))
    );
}

#[tokio::test]
async fn rule_12_a_transaction_that_lives_longer_than_its_lease_keeps_it() {
    let (store, bank) = (MemoryStore::new(), Bank::default());
    let faulty = Faulty::over(&store);
    let runtime = hosting(&faulty, &bank).lease(ms(900)).start().await.unwrap();
    let _other = host(&store, &bank).await;
    let open = runtime.transaction("transfer").wait_final(LONG).begin().await.unwrap();
    open.call("bank.debit@1", &10).await.unwrap();
    let first = only(&store).lease_until;
    until("it outlived its lease", || wall_clock() > first + ms(900)).await;
    assert!(only(&store).decision.is_none());
    open.commit().await.unwrap();
    assert!(faulty.count("keep") >= 3, "{:?}", faulty.calls());

    // A short one takes no call more than it needs.
    let before = faulty.calls().len();
    let body = async |tx: &Tx| Ok(tx.call("bank.debit@1", &10).await?);
    runtime.transaction("transfer").wait_final(LONG).run(body).await.unwrap();
    assert_eq!(faulty.calls()[before..], ["register", "decide", "close"]);
}

#[tokio::test]
async fn rule_12_a_renewal_that_hangs_costs_no_other_transaction_its_lease() {
    let (store, bank) = (MemoryStore::new(), Bank::default());
    let faulty = Faulty::over(&store);
    let runtime = hosting(&faulty, &bank).lease(ms(1_500)).store_timeout(LONG).start().await.unwrap();
    let _other = host(&store, &bank).await;
    faulty.fail("keep", &[Fault::Hang]);
    let mut open = Vec::new();
    for _ in 0..2 {
        let transaction = runtime.transaction("transfer").wait_final(LONG).begin().await.unwrap();
        transaction.call("bank.debit@1", &10).await.unwrap();
        open.push(transaction);
    }
    let outlived = wall_clock() + ms(2_500);
    until("they outlived their leases", || wall_clock() > outlived).await;
    for transaction in open {
        transaction.commit().await.unwrap();
    }
}

#[tokio::test]
async fn a_commit_whose_lease_was_lost_learns_why() {
    let (store, bank) = (MemoryStore::new(), Bank::default());
    let faulty = Faulty::over(&store);
    let runtime = hosting(&faulty, &bank).lease(ms(150)).start().await.unwrap();
    faulty.always("keep", Fault::Refuse);
    let open = runtime.transaction("transfer").begin().await.unwrap();
    open.call("bank.debit@1", &10).await.unwrap();
    until("another cancels it", || only(&store).decision.is_some()).await;
    let error = open.commit().await.unwrap_err();
    assert_eq!(error.kind(), TransactionErrorKind::Cancelled(Reason::InitiatorLost));
    assert!(error.is_retryable());
}

#[tokio::test]
async fn rule_07_a_decision_whose_process_died_at_once_is_carried_out_by_another() {
    let (store, bank) = (MemoryStore::new(), Bank::default());
    let faulty = Faulty::over(&store);
    let process = Process::start(hosting(&faulty, &bank).drive_lease(ms(600))).await;
    // It is written, and the process never hears of it.
    faulty.fail("decide", &[Fault::Lose, Fault::Hang]);
    process.spawn(|runtime| async move {
        let body =
            async |tx: &Tx| Ok(tcc::try_join!(tx.call("bank.debit@1", &10), tx.call("bank.credit@1", &20))?);
        runtime.transaction("transfer").run(body).await
    });
    until("it is decided", || faulty.count("decide") == 2).await;
    process.kill();
    assert_eq!((bank.count("confirm"), only(&store).state), (0, TransactionState::Confirming));
    let _other = host(&store, &bank).await;
    until_state(&store, TransactionState::Confirmed).await;
    assert_eq!(bank.counts(), (2, 2, 0));
}

#[tokio::test]
async fn rule_07_a_process_that_dies_in_phase_two_is_followed_by_another() {
    let (store, bank) = (MemoryStore::new(), Bank::default());
    let process = Process::start(hosting(&store, &bank.branch_office("dead")).drive_lease(ms(600))).await;
    bank.script("confirm", &[Act::Slow(60_000)]);
    let begun = process.spawn(|runtime| async move {
        let body = async |tx: &Tx| Ok(tx.call("bank.debit@1", &10).await?);
        runtime.transaction("transfer").run(body).await
    });
    begun.await.unwrap().unwrap();
    until("it runs", || bank.count("confirm") == 1).await;
    process.kill();
    let _other = host(&store, &bank.branch_office("other")).await;
    let record = until_state(&store, TransactionState::Confirmed).await;
    let attempts: Vec<_> = bank.ran("confirm").iter().map(|ran| (ran.bank, ran.attempt)).collect();
    assert_eq!((attempts, record.branches[0].epoch), (vec![("dead", 1), ("other", 2)], 2));
}

#[tokio::test]
async fn rule_03_a_registration_nobody_heard_of_is_cancelled() {
    let (store, bank) = (MemoryStore::new(), Bank::default());
    let faulty = Faulty::over(&store);
    let process = Process::start(hosting(&faulty, &bank).lease(ms(600))).await;
    faulty.fail("register", &[Fault::Lose, Fault::Hang]);
    process.spawn(|runtime| async move {
        let body = async |tx: &Tx| Ok(tx.call("bank.debit@1", &10).await?);
        runtime.transaction("transfer").run(body).await
    });
    until("it is registered", || faulty.count("register") == 2).await;
    process.kill();
    let _other = host(&store, &bank).await;
    until_state(&store, TransactionState::Cancelled).await;
    assert_eq!(bank.counts(), (0, 0, 1));
}

/// Drops an open transaction every time it is asked what time it is.
#[derive(Debug)]
struct Dropping {
    inner: TokioSeam,
    open: Arc<Mutex<Vec<OpenTransaction>>>,
}

impl Seam for Dropping {
    fn elapsed(&self) -> Duration {
        let dropped = self.open.lock().unwrap().pop();
        drop(dropped);
        self.inner.elapsed()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.inner.sleep(duration)
    }

    fn random(&self) -> u64 {
        self.inner.random()
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.inner.spawn(task);
    }
}

#[tokio::test]
async fn transactions_may_be_dropped_while_their_leases_are_looked_at() {
    // In a process of its own, that can be ended though its threads wait for each other.
    let open: Arc<Mutex<Vec<OpenTransaction>>> = Arc::default();
    let (store, bank) = (MemoryStore::new(), Bank::default());
    let builder = hosting(&store, &bank).lease(ms(3));
    let process = Process::start_with(builder, {
        let open = Arc::clone(&open);
        move |builder| builder.seam(Arc::new(Dropping { inner: TokioSeam::current().unwrap(), open }))
    })
    .await;
    let mut begun = Vec::new();
    for _ in 0..500 {
        begun.push(process.runtime.transaction("transfer").begin().await.unwrap());
    }
    open.lock().unwrap().append(&mut begun);
    until("all are dropped", || open.try_lock().is_ok_and(|open| open.is_empty())).await;
    let begun = process.spawn(|runtime| async move { runtime.transaction("transfer").begin().await.is_ok() });
    assert!(tokio::time::timeout(LONG, begun).await.expect("the process lives").unwrap());
    process.kill();
}
