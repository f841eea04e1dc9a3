//! What operators stop and change while processes run: phase two of what is paused waits, and spends nothing.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use support::*;
use tcc::{
    Changed, MemoryStore, Name, Ordinal, Runtime, Scope, Tx, Why,
    machine::{Change, Operate, Operated, Transition},
    record::{BranchState, Direction, TransactionState},
    store::Store,
};

fn alice() -> (Name, Why) {
    ("alice".parse().unwrap(), "the bank is down, ticket 17".parse().unwrap())
}

fn by_alice(change: Change) -> Operate {
    let (by, why) = alice();
    Operate { by, why, change }
}

async fn pause(store: &MemoryStore, scope: &str) {
    let (by, why) = alice();
    assert!(store.pause(&scope.parse::<Scope>().unwrap(), &by, &why).await.unwrap());
}

async fn resume(store: &MemoryStore, scope: &str) {
    let (by, why) = alice();
    assert!(store.resume(&scope.parse::<Scope>().unwrap(), &by, &why).await.unwrap());
}

async fn debit_and_credit(runtime: &Runtime) {
    let body =
        async |tx: &Tx| Ok(tcc::try_join!(tx.call("bank.debit@1", &10), tx.call("bank.credit@1", &20))?);
    runtime.transaction("transfer").run(body).await.unwrap();
}

fn rung(store: &MemoryStore) -> u64 {
    store.transitions().get(&Transition::Rung).copied().unwrap_or(0)
}

/// Its message was rung often enough that the next ring is seconds away.
async fn until_rung_often(store: &MemoryStore) {
    until("it is rung again", || only(store).bells.values().any(|bell| bell.count >= 3)).await;
}

#[tokio::test]
async fn phase_two_of_a_paused_participant_waits_and_is_driven_once_it_is_resumed() {
    let (store, bank) = (MemoryStore::new(), Bank::default());
    pause(&store, "bank").await;
    let runtime = host(&store, &bank).await;
    debit_and_credit(&runtime).await;
    assert_eq!(bank.count("try"), 2, "tries go on, and so do decisions");
    until_rung_often(&store).await;
    let record = only(&store);
    assert_eq!(record.state, TransactionState::Confirming);
    assert!(record.branches.iter().all(|branch| (branch.epoch, branch.attempts) == (0, 0)), "{record:#?}");

    let before = rung(&store);
    resume(&store, "bank").await;
    until_state(&store, TransactionState::Confirmed).await;
    assert_eq!(rung(&store), before, "the message that was held is answered, and no other is waited for");
    let entries = store.audited().into_iter().map(|entry| entry.changed);
    let bank: Scope = "bank".parse().unwrap();
    assert_eq!(entries.collect::<Vec<_>>(), [Changed::Paused(bank.clone()), Changed::Resumed(bank)]);
}

#[tokio::test]
async fn a_paused_action_holds_up_no_other_of_its_participant() {
    let (store, bank, runtime) = start().await;
    pause(&store, "bank.debit@1").await;
    until("the pause is heeded", || format!("{runtime:?}").contains("bank.debit@1")).await;
    debit_and_credit(&runtime).await;
    until("the other is confirmed", || only(&store).branches[1].state == BranchState::Confirmed).await;
    until_rung_often(&store).await;
    let branch = &only(&store).branches[0];
    assert_eq!((branch.state, branch.epoch, branch.attempts), (BranchState::Confirming, 0, 0));
    assert_eq!(bank.count("confirm"), 1);

    let before = rung(&store);
    resume(&store, "bank.debit@1").await;
    until_state(&store, TransactionState::Confirmed).await;
    assert_eq!(rung(&store), before);
}

#[tokio::test]
async fn what_is_decided_before_a_pause_is_seen_is_driven_and_its_next_attempt_waits() {
    let (store, bank, runtime) = start().await;
    bank.always("confirm", Act::Fail);
    debit_and_credit(&runtime).await;
    until("an attempt failed", || bank.count("confirm") > 2).await;
    pause(&store, "bank").await;
    until("the pause is heeded", || format!("{runtime:?}").contains("paused: [\"bank\"]")).await;
    // What was claimed before may yet end.
    tokio::time::sleep(ms(200)).await;
    let attempts = bank.count("confirm");
    tokio::time::sleep(ms(300)).await;
    assert_eq!(bank.count("confirm"), attempts, "no attempt is made while it is paused");
    bank.always("confirm", Act::Succeed);
    resume(&store, "bank").await;
    until_state(&store, TransactionState::Confirmed).await;
}

#[tokio::test]
async fn a_runtime_makes_an_operators_changes() {
    let (store, bank, runtime) = start().await;
    bank.script("debit.confirm", &[Act::Park]).script("credit.confirm", &[Act::Park]);
    debit_and_credit(&runtime).await;
    until("both are parked", || only(&store).parked() == 2).await;
    let gid = only(&store).gid;
    let refused = runtime.operate(&gid, by_alice(Change::Cancel)).await.unwrap_err();
    assert_names(&refused, &[gid.as_str(), "already decided (confirm)"]);
    let branch: Ordinal = "02".parse().unwrap();
    let flip = Change::Resolve { branch, direction: Direction::Cancel };
    assert_names(&runtime.operate(&gid, by_alice(flip)).await.unwrap_err(), &["02", "other direction"]);
    let attest = Change::Resolve { branch, direction: Direction::Confirm };
    let resolved = runtime.operate(&gid, by_alice(attest)).await.unwrap();
    assert_eq!(resolved, Operated::Resolved { state: TransactionState::Confirming, changed: true });
    let retry = Change::Redrive { branches: Vec::new() };
    assert_eq!(runtime.operate(&gid, by_alice(retry)).await.unwrap(), Operated::Redriven(1));
    until_state(&store, TransactionState::Confirmed).await;
    assert_eq!(bank.count("confirm"), 3, "each ran once, and one again");
    assert_eq!(store.audited().len(), 2);
}

#[tokio::test]
async fn a_process_tells_what_it_hosts() {
    let (store, _bank, runtime) = start().await;
    let told = async || !store.processes(8).await.unwrap().is_empty();
    until_async("the process tells", told).await;
    let processes = store.processes(8).await.unwrap();
    assert_eq!(&processes[0].process, runtime.process());
    let actions: Vec<&str> = processes[0].actions.iter().map(|action| action.as_str()).collect();
    assert_eq!(actions, ["bank.credit@1", "bank.debit@1"]);
}
