//! Rule 15: same key, same answer.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use support::*;
use tcc::{
    Abort, Keyed, MemoryStore, Outcome, Runtime, TransactionErrorKind, Tx,
    record::{Reason, TransactionState},
};

async fn debit(tx: &Tx) -> Result<&'static str, Abort> {
    tx.call("bank.debit@1", &10).await?;
    Ok("done")
}

async fn fail(tx: &Tx) -> Result<&'static str, Abort> {
    tx.call("bank.debit@1", &10).await?;
    Err(Abort::new(Insufficient))
}

async fn order(runtime: &Runtime, key: &str) -> Keyed<&'static str> {
    runtime.transaction("order").key(key).wait_final(LONG).run(debit).await.unwrap()
}

fn repeated<T: std::fmt::Debug>(keyed: Keyed<T>) -> Outcome {
    match keyed {
        Keyed::Repeated(outcome) => outcome,
        Keyed::First(value) => panic!("it ran: {value:?}"),
    }
}

#[tokio::test]
async fn rule_15_the_first_runs_and_a_second_gets_its_outcome() {
    let (store, bank, runtime) = start().await;
    assert_eq!(order(&runtime, "17").await, Keyed::First("done"));
    let outcome = repeated(order(&runtime, "17").await);
    assert_eq!((outcome.state, outcome.gid), (TransactionState::Confirmed, only(&store).gid));
    assert_eq!(bank.counts(), (1, 1, 0));
    // A key belongs to a transaction's name.
    let other = runtime.transaction("refund").key("17").run(debit).await.unwrap();
    assert_eq!(other, Keyed::First("done"));
}

#[tokio::test]
async fn rule_15_of_many_at_the_same_time_one_runs_and_the_others_wait_for_it() {
    let (store, bank) = (MemoryStore::new(), Bank::default());
    let (one, other) = (host(&store, &bank).await, host(&store, &bank).await);
    let ran = Arc::new(AtomicUsize::new(0));
    bank.script("try", &[Act::Held]);
    let orders: Vec<_> = (0..10)
        .map(|place| {
            let (runtime, ran) = (if place % 2 == 0 { &one } else { &other }.clone(), Arc::clone(&ran));
            tokio::spawn(async move {
                let body = async |tx: &Tx| {
                    ran.fetch_add(1, Ordering::SeqCst);
                    debit(tx).await
                };
                runtime.transaction("order").key("17").run(body).await.unwrap()
            })
        })
        .collect();
    until("the first is tried", || bank.count("try") == 1).await;
    tokio::time::sleep(ms(50)).await;
    assert!(orders.iter().all(|order| !order.is_finished()), "nobody hears anything before the decision");
    bank.open_gate();
    let mut firsts = 0;
    for order in orders {
        match order.await.unwrap() {
            Keyed::First(_) => firsts += 1,
            Keyed::Repeated(outcome) => assert!(outcome.is_confirm(), "{outcome:?}"),
        }
    }
    assert_eq!((firsts, ran.load(Ordering::SeqCst), store.records().len()), (1, 1, 1));
}

#[tokio::test]
async fn rule_15_a_second_waits_no_longer_than_its_own_timeout() {
    let (store, bank, runtime) = start().await;
    bank.script("try", &[Act::Held]);
    let first = runtime.transaction("order").key("17").begin().await.unwrap().first().unwrap();
    let second = runtime.transaction("order").key("17").timeout(ms(50)).run(debit).await.unwrap();
    assert_eq!(repeated(second).state, TransactionState::Trying);
    first.cancel().await.unwrap();
    assert_eq!(only(&store).state, TransactionState::Cancelled);
}

#[tokio::test]
async fn rule_15_a_cancelled_key_stays_cancelled_unless_the_transaction_says_otherwise() {
    let (store, bank, runtime) = start().await;
    let keyed = || runtime.transaction("order").key("17").wait_final(LONG);
    assert_eq!(keyed().run(fail).await.unwrap_err().kind(), TransactionErrorKind::Aborted);
    assert_eq!(repeated(keyed().run(debit).await.unwrap()).state, TransactionState::Cancelled);
    let again = keyed().again_after_cancel(true).run(debit).await.unwrap();
    assert_eq!((again, store.records().len(), bank.counts()), (Keyed::First("done"), 2, (2, 1, 1)));
    // A confirmed key never begins again.
    let outcome = repeated(keyed().again_after_cancel(true).run(debit).await.unwrap());
    assert_eq!(outcome.state, TransactionState::Confirmed);
    assert_eq!(runtime.outcome_of("order", "17").await.unwrap().unwrap().gid, outcome.gid);
}

#[tokio::test]
async fn rule_15_a_repeated_begin_is_no_rival_of_itself() {
    let (store, bank) = (MemoryStore::new(), Bank::default());
    let faulty = Faulty::over(&store);
    let runtime = host(&faulty, &bank).await;
    faulty.fail("begin", &[Fault::Lose, Fault::Refuse, Fault::Lose]);
    assert_eq!(order(&runtime, "17").await, Keyed::First("done"));
    assert_eq!((faulty.count("begin"), store.records().len()), (4, 1));
}

#[tokio::test]
async fn rule_12_a_begin_that_is_answered_late_keeps_its_lease() {
    let (store, bank) = (MemoryStore::new(), Bank::default());
    let faulty = Faulty::over(&store);
    let lease = ms(2_400);
    let runtime = hosting(&faulty, &bank).lease(lease).store_timeout(ms(1_360)).start().await.unwrap();
    let _other = host(&store, &bank).await;
    tokio::time::sleep(lease / 5).await;
    // It is written at once and heard of when more than half of the lease is over.
    faulty.fail("begin", &[Fault::Lose, Fault::Hang]);
    let open = runtime.transaction("order").key("17").begin().await.unwrap().first().unwrap();
    let outlived = only(&store).begun_at + lease * 3 / 2;
    until("it outlived its lease", || wall_clock() > outlived).await;
    open.commit().await.unwrap();
}

#[tokio::test]
async fn rule_15_a_key_expires_with_its_record() {
    let (store, clock) = stopped_clock(1);
    let bank = Bank::default();
    let builder = hosting(&store, &bank).timeout(ms(1_000)).replay_window(SECOND);
    let runtime = builder.retention(Duration::from_secs(60)).start().await.unwrap();
    assert_eq!(order(&runtime, "17").await, Keyed::First("done"));
    move_clock(&clock, Duration::from_secs(59));
    // Whatever the store answers tells the runtime the time.
    assert!(runtime.health().await.ready);
    repeated(order(&runtime, "17").await);
    assert!(runtime.outcome_of("order", "17").await.unwrap().is_some());
    move_clock(&clock, Duration::from_secs(1));
    assert!(runtime.health().await.ready);
    assert_eq!(runtime.outcome_of("order", "17").await.unwrap(), None);
    assert_eq!(order(&runtime, "17").await, Keyed::First("done"));
    assert_eq!(bank.counts(), (2, 2, 0));
}

#[tokio::test]
async fn rule_17_a_keys_shard_is_the_hash_of_name_and_key_in_every_process() {
    let (store, bank) = (MemoryStore::with(16, wall_clock), Bank::default());
    let runtime = host(&store, &bank).await;
    for (key, shard) in [("order-1", 3), ("order-2", 6), ("ä", 4)] {
        runtime.transaction("checkout").key(key).run(debit).await.unwrap();
        let record = store
            .records()
            .into_iter()
            .find(|record| record.key.as_ref().is_some_and(|kept| kept.as_str() == key));
        assert_eq!(record.unwrap().gid.shard(), shard, "{key}");
    }
    // Others are spread.
    for _ in 0..40 {
        runtime.transaction("checkout").run(debit).await.unwrap();
    }
    let shards: BTreeSet<u16> = store.records().iter().map(|record| record.gid.shard()).collect();
    assert!(shards.len() > 8, "{shards:?}");
}

#[tokio::test]
async fn a_keyed_transaction_is_begun_by_a_call_of_its_own_before_the_closure_runs() {
    let (store, bank) = (MemoryStore::new(), Bank::default());
    let faulty = Faulty::over(&store);
    let runtime = host(&faulty, &bank).await;
    let body = async |_: &Tx| {
        assert_eq!(only(&store).state, TransactionState::Trying);
        Ok(())
    };
    // It has no branch, and its key is answered for all the same.
    runtime.transaction("order").key("17").run(body).await.unwrap();
    assert_eq!((faulty.calls(), only(&store).state), (vec!["begin", "decide"], TransactionState::Confirmed));
}

#[tokio::test]
async fn a_keyed_transaction_begun_and_dropped_is_cancelled() {
    let (store, _, runtime) = start().await;
    drop(runtime.transaction("order").key("17").begin().await.unwrap());
    let record = until_state(&store, TransactionState::Cancelled).await;
    assert_eq!(record.decision.unwrap().reason, Reason::Dropped);
}

#[tokio::test]
async fn a_key_whose_store_comes_back_after_the_deadline_began_nothing() {
    let (store, bank) = (MemoryStore::new(), Bank::default());
    let faulty = Faulty::over(&store);
    let runtime = hosting(&faulty, &bank).store_timeout(ms(200)).start().await.unwrap();
    faulty.fail("begin", &[Fault::Hang]);
    let begun = runtime.transaction("order").key("17").timeout(ms(230)).run(debit).await;
    // The repeated begin may be in time or not; in neither case did anything run twice.
    if let Err(error) = begin_error(begun) {
        assert_eq!(error, TransactionErrorKind::Store);
        assert_eq!(store.records(), []);
    }
}

fn begin_error<T>(begun: Result<T, tcc::TransactionError>) -> Result<T, TransactionErrorKind> {
    begun.map_err(|error| error.kind())
}
