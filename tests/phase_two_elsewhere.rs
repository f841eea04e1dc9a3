//! Where phase two runs: with the decision, by message, or in other processes only.

mod support;

use support::*;
use tcc::{
    MemoryStore, Runtime, StartError, Tx,
    machine::Transition,
    record::{Record, TransactionState},
};

async fn debit(runtime: &Runtime) {
    let body = async |tx: &Tx| Ok(tx.call("bank.debit@1", &10).await?);
    runtime.transaction("transfer").run(body).await.unwrap();
}

/// Nobody has claimed anything, and a message stands instead.
fn only_rung(record: &Record) -> bool {
    record.branches.iter().all(|branch| branch.epoch == 0) && record.bells.len() == 1
}

#[tokio::test]
async fn phase_two_is_claimed_with_the_decision_or_by_message() {
    for (inline, how) in [(true, Transition::ClaimedInline), (false, Transition::Claimed)] {
        let (store, bank) = (MemoryStore::new(), Bank::default());
        let runtime = hosting(&store, &bank).phase_two_inline(inline).start().await.unwrap();
        debit(&runtime).await;
        until_state(&store, TransactionState::Confirmed).await;
        let claims = [Transition::ClaimedInline, Transition::Claimed]
            .map(|claim| store.transitions().get(&claim).copied().unwrap_or(0));
        assert_eq!(claims.iter().sum::<u64>(), 1, "{claims:?}");
        assert_eq!(store.transitions().get(&how), Some(&1), "inline: {inline}");
        assert_eq!(bank.count("confirm"), 1);
    }
}

#[tokio::test]
async fn phase_two_of_a_participant_that_is_only_tried_here_waits_for_another_process() {
    let (store, here, there) = (MemoryStore::new(), Bank::default(), Bank::default());
    let tries = hosting(&store, &here).tries_only("bank").start().await.unwrap();
    debit(&tries).await;
    tokio::time::sleep(ms(100)).await;
    assert!(only_rung(&only(&store)), "it was taken by nobody: {:#?}", only(&store));
    assert_eq!(only(&store).branches[0].attempts, 0, "and no attempt was spent");

    let finishes = host(&store, &there).await;
    until_state(&store, TransactionState::Confirmed).await;
    assert_eq!((here.count("try"), here.count("confirm")), (1, 0));
    assert_eq!((there.count("try"), there.count("confirm")), (0, 1));
    finishes.shutdown().await;
}

#[tokio::test]
async fn one_decision_claims_what_is_finished_here_and_rings_for_the_rest() {
    let (store, bank, far) = (MemoryStore::new(), Bank::default(), Bank::named("far"));
    let runtime = hosting(&store, &bank)
        .actions("far", [far.action("debit", 1)])
        .tries_only("far")
        .start()
        .await
        .unwrap();
    let body = async |tx: &Tx| Ok(tcc::try_join!(tx.call("bank.debit@1", &1), tx.call("far.debit@1", &2))?);
    runtime.transaction("transfer").run(body).await.unwrap();
    until("the branch here is confirmed", || bank.ended("confirm") == 1).await;
    let record = only(&store);
    assert_eq!(record.branches.iter().map(|branch| branch.epoch).collect::<Vec<_>>(), [1, 0]);
    assert_eq!(record.bells.keys().map(|name| name.as_str()).collect::<Vec<_>>(), ["far"]);
    assert_eq!(far.count("confirm"), 0);
}

#[tokio::test]
async fn only_a_registered_participant_can_be_left_to_others() {
    let refused =
        hosting(&MemoryStore::new(), &Bank::default()).tries_only("bnak").start().await.unwrap_err();
    assert!(matches!(refused, StartError::TriesOnlyUnknown(_)));
    assert_names(&refused, &["bnak", "tries_only"]);
}
