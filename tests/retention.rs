//! Outcomes can be asked for while they are retained; nothing in flight expires.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use support::*;
use tcc::{
    Gid, MemoryStore, StartError, Timestamp, TransactionErrorKind, Tx,
    record::{BranchState, TransactionState},
};

const HOUR: Duration = Duration::from_secs(3_600);

#[tokio::test]
async fn an_outcome_is_asked_for_by_gid_or_by_key() {
    let (store, bank, runtime) = start().await;
    bank.script("confirm", &[Act::Park]);
    let body = async |tx: &Tx| Ok(tx.call("bank.debit@1", &10).await?);
    runtime.transaction("order").key("17").run(body).await.unwrap();
    until("it is parked", || only(&store).parked() == 1).await;
    let gid = only(&store).gid;
    let outcome = runtime.outcome(&gid).await.unwrap().unwrap();
    assert_eq!(
        (outcome.state, outcome.parked, outcome.name.as_str()),
        (TransactionState::Confirming, 1, "order")
    );
    assert!(outcome.is_confirm() && !outcome.is_cancel() && !outcome.is_final());
    assert_eq!(runtime.outcome_of("order", "17").await.unwrap(), Some(outcome));
    assert_eq!(runtime.record(&gid).await.unwrap(), Some(only(&store)));

    let stranger = Gid::new(Timestamp::from_millis(1), 1, 0);
    assert_eq!(runtime.outcome(&stranger).await.unwrap(), None);
    assert_eq!(runtime.record(&stranger).await.unwrap(), None);
    assert_eq!(runtime.outcome_of("order", "18").await.unwrap(), None);
    for (name, key) in [("refund", "17"), ("no name", "17"), ("order", "")] {
        assert_eq!(runtime.outcome_of(name, key).await.unwrap(), None);
    }
}

#[tokio::test]
async fn payloads_are_deleted_when_a_transaction_is_final() {
    let (store, bank, runtime) = start().await;
    bank.script("credit.try", &[Act::Fail]);
    let body = async |tx: &Tx| {
        tx.call("bank.debit@1", &10).await?;
        let _ = tx.call("bank.credit@1", &10).await;
        Ok(())
    };
    runtime.transaction("transfer").wait_final(LONG).run(body).await.unwrap();
    assert_eq!((only(&store).branches.len(), only(&store).payload_bytes()), (2, 0));
}

#[tokio::test]
async fn rule_13_only_what_is_final_expires() {
    let (store, clock) = stopped_clock(1);
    let bank = Bank::default();
    let runtime = hosting(&store, &bank).retention(24 * HOUR).start().await.unwrap();
    bank.script("confirm", &[Act::Succeed, Act::Park]);
    let body = async |tx: &Tx| {
        tx.call("bank.debit@1", &10).await?;
        Ok(tx.gid().clone())
    };
    let ended = runtime.transaction("transfer").wait_final(LONG).run(body).await.unwrap();
    let parked = runtime.transaction("transfer").run(body).await.unwrap();
    until("one is parked", || record(&store, &parked).parked() == 1).await;

    move_clock(&clock, 24 * HOUR - ms(1));
    assert!(runtime.outcome(&ended).await.unwrap().is_some());
    move_clock(&clock, ms(1));
    assert_eq!(runtime.outcome(&ended).await.unwrap(), None);
    // The parked one waits for years, if need be, and is finished then.
    move_clock(&clock, 20_000 * HOUR);
    assert_eq!(runtime.outcome(&parked).await.unwrap().unwrap().state, TransactionState::Confirming);
    runtime.redrive(&parked, &[]).await.unwrap();
    until("it is final", || record(&store, &parked).state == TransactionState::Confirmed).await;
    assert_eq!(record(&store, &parked).branches[0].state, BranchState::Confirmed);
}

#[tokio::test]
async fn rule_13_a_late_outcome_takes_the_time_to_live_off_again() {
    let (store, clock) = stopped_clock(1);
    let bank = Bank::default();
    let action = bank.action("debit", 1).with_policy(policy().timeout(ms(30)));
    let builder = quick(&store).actions("bank", [action]).retention(24 * HOUR);
    let runtime = builder.start().await.unwrap();
    bank.script("try", &[Act::Held]).script("cancel", &[Act::Succeed, Act::Park]);
    let body = async |tx: &Tx| Ok(tx.call("bank.debit@1", &10).await?);
    runtime.transaction("transfer").wait_final(LONG).run(body).await.unwrap_err();
    assert!(only(&store).expires_at().is_some());
    bank.open_gate();
    until("it is cancelled again, and parked", || only(&store).parked() == 1).await;
    assert_eq!((only(&store).expires_at(), only(&store).state), (None, TransactionState::Cancelling));
    move_clock(&clock, 100 * HOUR);
    assert_eq!(store.records().len(), 1);
}

#[tokio::test]
async fn rule_13_a_retention_too_short_for_what_may_come_late_is_refused() {
    let (store, bank) = (MemoryStore::new(), Bank::default());
    // 30 s of deadline, 30 s of a try's hard limit, an hour of fences.
    let needed = HOUR + Duration::from_secs(60);
    let refused = hosting(&store, &bank).retention(needed - ms(1)).start().await.unwrap_err();
    assert!(matches!(refused, StartError::Setting { field: "retention", .. }));
    assert_names(&refused, &["`retention`", "3660s", "timeout", "hard limit", "replay window"]);

    let runtime = hosting(&store, &bank).retention(needed).start().await.unwrap();
    let longer = runtime.transaction("transfer").timeout(Duration::from_secs(31));
    let refused = longer.run(async |_| Ok(())).await.unwrap_err();
    assert_eq!(refused.kind(), TransactionErrorKind::Invalid);
    assert_names(&refused, &["31s", "`retention`", "3661s"]);
    assert!(!refused.is_retryable());
    runtime.transaction("transfer").run(async |_| Ok(())).await.unwrap();
}

#[tokio::test]
async fn invariant_i10_an_open_transaction_has_a_timer_unless_all_its_open_branches_are_parked() {
    let (store, bank, runtime) = start().await;
    bank.script("debit.confirm", &[Act::Park]).script("credit.confirm", &[Act::Held]);
    let body = async |tx: &Tx| {
        tcc::try_join!(tx.call("bank.debit@1", &10), tx.call("bank.credit@1", &20))?;
        assert_eq!(store.timers().len(), 1, "trying");
        Ok(())
    };
    runtime.transaction("transfer").run(body).await.unwrap();
    until("one is parked", || only(&store).parked() == 1).await;
    assert_eq!(store.timers().len(), 1, "the other is being driven");
    bank.open_gate();
    until("the other is confirmed", || only(&store).branches[1].state == BranchState::Confirmed).await;
    assert_eq!((store.timers().len(), only(&store).expires_at()), (0, None), "nobody can do anything");
    runtime.redrive(&only(&store).gid, &[]).await.unwrap();
    let record = until_state(&store, TransactionState::Confirmed).await;
    assert_eq!((store.timers().len(), record.expires_at().is_some()), (0, true));
}
