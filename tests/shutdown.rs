//! Stopping: take nothing new, drain within the grace, hand the rest over.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    sync::{Arc, Mutex},
    time::Instant,
};

use support::*;
use tcc::{
    Abort, MemoryStore, OpenTransaction, TransactionErrorKind, Tx,
    record::{BranchState, Reason, TransactionState},
};
use tokio_util::sync::CancellationToken;

async fn debit(tx: &Tx) -> Result<(), Abort> {
    tx.call("bank.debit@1", &10).await?;
    Ok(())
}

#[tokio::test]
async fn a_cancelled_token_begins_a_shutdown() {
    let (store, bank) = (MemoryStore::new(), Bank::default());
    let token = CancellationToken::new();
    let runtime = hosting(&store, &bank).shutdown_on(&token).start().await.unwrap();
    assert!(runtime.health().await.accepting);
    token.cancel();
    runtime.stopped().await;
    let health = runtime.health().await;
    assert!(!health.accepting && !health.ready && health.store.is_ok());
    runtime.shutdown().await;
}

#[tokio::test]
async fn a_shutdown_leaves_the_callers_token_alone() {
    let (store, bank) = (MemoryStore::new(), Bank::default());
    let token = CancellationToken::new();
    let runtime = hosting(&store, &bank).shutdown_on(&token).start().await.unwrap();
    runtime.shutdown().await;
    assert!(!token.is_cancelled());
}

#[tokio::test]
async fn dropping_the_last_handle_stops_the_runtime_and_leaves_nothing_of_it() {
    let (store, bank) = (MemoryStore::new(), Bank::default());
    let held = Arc::new(());
    let probe = Arc::downgrade(&held);
    let hold = move |stored| {
        let _ = &held;
        Ok::<_, std::io::Error>(stored)
    };
    let action = bank.action("debit", 2).reads(1, hold);
    let runtime = quick(&store).actions("bank", [action]).start().await.unwrap();
    let other = runtime.clone();
    drop(runtime);
    other.transaction("transfer").run(async |tx| Ok(tx.call("bank.debit@2", &1).await?)).await.unwrap();
    drop(other);
    until("its participants are dropped", || probe.upgrade().is_none()).await;
}

#[tokio::test]
async fn a_shutdown_takes_nothing_new() {
    let (store, bank, runtime) = start().await;
    runtime.shutdown().await;
    for kind in [
        runtime.transaction("transfer").run(debit).await.unwrap_err(),
        runtime.transaction("transfer").begin().await.unwrap_err(),
        runtime.transaction("transfer").key("17").run(debit).await.unwrap_err(),
    ] {
        assert_eq!(kind.kind(), TransactionErrorKind::ShuttingDown);
        assert!(kind.is_retryable());
        assert_names(&kind, &["shutting down", "another process"]);
    }
    leave_behind(&store, "bank.debit@1", "10", "\"hold\"");
    tokio::time::sleep(ms(50)).await;
    assert_eq!((bank.counts(), store.standing().len()), ((0, 0, 0), 1), "its messages are left to others");
}

#[tokio::test]
async fn a_shutdown_waits_for_open_transactions_and_their_phase_two() {
    let (store, bank, runtime) = start().await;
    bank.script("try", &[Act::Held]).script("confirm", &[Act::Slow(50)]);
    let run = tokio::spawn({
        let runtime = runtime.clone();
        async move {
            let body = async |tx: &Tx| {
                debit(tx).await?;
                // Nothing of the runtime runs while its user thinks.
                tokio::time::sleep(ms(50)).await;
                tx.call("bank.credit@1", &20).await?;
                Ok(())
            };
            runtime.transaction("transfer").run(body).await
        }
    });
    until("it is tried", || bank.count("try") == 1).await;
    let stopping = tokio::spawn({
        let runtime = runtime.clone();
        async move { runtime.shutdown().await }
    });
    until_async("it takes nothing new", async || !runtime.health().await.accepting).await;
    assert!(!stopping.is_finished());
    bank.open_gate();
    stopping.await.unwrap();
    assert_eq!((only(&store).state, bank.counts()), (TransactionState::Confirmed, (2, 2, 0)));
    run.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_outlives_the_grace_is_handed_over_and_its_attempt_given_back() {
    let (store, bank) = (MemoryStore::new(), Bank::default());
    let runtime = hosting(&store, &bank.branch_office("stopping")).grace(ms(100)).start().await.unwrap();
    bank.script("debit.confirm", &[Act::Slow(60_000)]);
    let body =
        async |tx: &Tx| Ok(tcc::try_join!(tx.call("bank.debit@1", &10), tx.call("bank.credit@1", &20))?);
    runtime.transaction("transfer").run(body).await.unwrap();
    until("it runs", || bank.count("confirm") == 2).await;
    runtime.shutdown().await;
    let branches = only(&store).branches;
    assert_eq!((branches[0].state, branches[0].attempts), (BranchState::Confirming, 0));
    assert_eq!(branches[1].state, BranchState::Confirmed);
    // Its lease, of seconds, holds nobody up.
    let _other = host(&store, &bank.branch_office("other")).await;
    let record = until_state(&store, TransactionState::Confirmed).await;
    let debits: Vec<_> = bank.ran("confirm").into_iter().filter(|ran| ran.action == "debit").collect();
    assert_eq!((debits.len(), debits[1].bank, debits[1].attempt), (2, "other", 1));
    assert_eq!((record.branches[0].attempts, bank.overlaps()), (1, 0));
}

#[tokio::test]
async fn a_branch_that_waits_for_its_turn_does_not_begin_while_it_is_handed_over() {
    let (store, bank) = (MemoryStore::new(), Bank::default());
    let action = bank.action("debit", 1).with_policy(policy().concurrency(1));
    let runtime = quick(&store).actions("bank", [action]).grace(ms(100)).start().await.unwrap();
    bank.script("confirm", &[Act::Slow(60_000)]);
    let body = async |tx: &Tx| {
        let calls = (0..5_u64).map(|amount| tx.call("bank.debit@1", &amount));
        Ok(tcc::try_join_all(calls).await?)
    };
    runtime.transaction("transfer").run(body).await.unwrap();
    until("one runs", || bank.count("confirm") == 1).await;
    runtime.shutdown().await;
    assert_eq!(bank.count("confirm"), 1);
    for branch in only(&store).branches {
        assert_eq!((branch.state, branch.attempts), (BranchState::Confirming, 0));
        assert!(branch.claim.unwrap().closed.is_some(), "nobody waits for its lease");
    }
}

#[tokio::test]
async fn a_try_that_hangs_costs_a_shutdown_one_grace() {
    let (store, bank) = (MemoryStore::new(), Bank::default());
    let action = bank.action("debit", 1).with_policy(policy().timeout(ms(20)));
    let grace = ms(1_500);
    let runtime = quick(&store).actions("bank", [action]).grace(grace).start().await.unwrap();
    bank.script("try", &[Act::Hang]);
    runtime.transaction("transfer").wait_final(LONG).run(debit).await.unwrap_err();
    let began = Instant::now();
    runtime.shutdown().await;
    let took = began.elapsed();
    assert!(took >= grace && took < grace * 2, "{took:?}");
}

#[tokio::test]
async fn a_transaction_left_open_is_cancelled_by_another_process_when_its_lease_ends() {
    let (store, bank) = (MemoryStore::new(), Bank::default());
    let builder = hosting(&store, &bank).lease(ms(300)).grace(ms(20));
    let runtime = builder.start().await.unwrap();
    let open = runtime.transaction("transfer").begin().await.unwrap();
    debit(&open).await.map_err(|error| error.to_string()).unwrap();
    runtime.shutdown().await;
    let _other = host(&store, &bank).await;
    let record = until_state(&store, TransactionState::Cancelled).await;
    assert_eq!(record.decision.unwrap().reason, Reason::InitiatorLost);
    drop(open);
}

#[tokio::test]
async fn a_transaction_that_ends_while_its_runtime_is_gone_is_decided_all_the_same() {
    let (store, bank) = (MemoryStore::new(), Bank::default());
    let runtime = hosting(&store, &bank).grace(ms(20)).start().await.unwrap();
    let open: OpenTransaction = runtime.transaction("transfer").begin().await.unwrap();
    debit(&open).await.map_err(|error| error.to_string()).unwrap();
    runtime.shutdown().await;
    drop(runtime);
    open.commit().await.unwrap();
    // Handing over, it leaves phase two to others.
    assert_eq!((only(&store).state, bank.count("confirm")), (TransactionState::Confirming, 0));
    let _other = host(&store, &bank).await;
    until_state(&store, TransactionState::Confirmed).await;
}

#[tokio::test]
async fn stopped_waits_for_a_shutdown_that_someone_else_begins() {
    let (_, _, runtime) = start().await;
    let order = Arc::new(Mutex::new(Vec::new()));
    let waiting = tokio::spawn({
        let (runtime, order) = (runtime.clone(), Arc::clone(&order));
        async move {
            runtime.stopped().await;
            order.lock().unwrap().push("stopped");
        }
    });
    tokio::time::sleep(ms(20)).await;
    order.lock().unwrap().push("begun");
    drop(runtime.shutdown());
    assert!(!waiting.is_finished(), "a future that is never polled begins nothing");
    runtime.shutdown().await;
    waiting.await.unwrap();
    assert_eq!(*order.lock().unwrap(), ["begun", "stopped"]);
}
