//! Rule 14: a retry of any store call is harmless, and a store that fails loses no transaction.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use support::*;
use tcc::{
    Abort, Keyed, MemoryStore, NotRun, Runtime, TransactionErrorKind, TryError, Tx,
    record::{BranchState, TransactionState},
    store::StoreErrorKind,
};

async fn transfer(tx: &Tx) -> Result<(), Abort> {
    tcc::try_join!(tx.call("bank.debit@1", &10), tx.call("bank.credit@1", &10))?;
    Ok(())
}

async fn run(runtime: &Runtime) -> Result<Keyed<()>, tcc::TransactionError> {
    runtime.transaction("transfer").key("17").wait_final(LONG).run(transfer).await
}

#[tokio::test]
async fn rule_14_any_call_may_fail_or_lose_its_answer_several_times() {
    let calls = ["begin", "register", "decide", "close", "load"].into_iter();
    let cases = calls.flat_map(|call| {
        [Fault::Refuse, Fault::Lose]
            .into_iter()
            .flat_map(move |fault| (1..=3).map(move |times| (call, fault, times)))
    });
    futures_util::future::join_all(cases.map(async |(call, fault, times)| {
        let (store, bank) = (MemoryStore::new(), Bank::default());
        let faulty = Faulty::over(&store);
        let runtime = host(&faulty, &bank).await;
        faulty.fail(call, &vec![fault; times]);
        let ended = run(&runtime).await;
        assert_eq!(ended.unwrap(), Keyed::First(()), "{call} {fault:?} {times} times");
        assert_eq!(only(&store).state, TransactionState::Confirmed, "{call} {fault:?} {times} times");
        assert_eq!(bank.counts(), (2, 2, 0), "{call} {fault:?} {times} times: nothing ran twice");
        assert_eq!((store.timers().len(), store.standing().len()), (0, 0));
    }))
    .await;
}

#[tokio::test]
async fn rule_14_a_call_that_hangs_is_sent_again() {
    for call in ["begin", "register", "decide", "close"] {
        let (store, bank) = (MemoryStore::new(), Bank::default());
        let faulty = Faulty::over(&store);
        let runtime = hosting(&faulty, &bank).store_timeout(ms(100)).start().await.unwrap();
        faulty.fail(call, &[Fault::Hang, Fault::Lose]);
        assert_eq!(run(&runtime).await.unwrap(), Keyed::First(()), "{call}");
        assert_eq!((only(&store).state, bank.counts()), (TransactionState::Confirmed, (2, 2, 0)), "{call}");
    }
}

#[tokio::test]
async fn rule_14_messages_and_claims_may_fail_too() {
    let cases = ["bells", "claim", "due", "sweep", "listen"]
        .into_iter()
        .flat_map(|call| [Fault::Refuse, Fault::Lose].map(|fault| (call, fault)));
    // Each takes as long as a message that was lost; together they take no longer.
    futures_util::future::join_all(cases.map(async |(call, fault)| {
        let (store, bank) = (MemoryStore::new(), Bank::default());
        let faulty = Faulty::over(&store);
        faulty.fail(call, &[fault; 2]);
        // Room for one, so that all work comes by message.
        let runtime = hosting(&faulty, &bank).drives_max(1).start().await.unwrap();
        assert_eq!(run(&runtime).await.unwrap(), Keyed::First(()), "{call} {fault:?}");
        let record = only(&store);
        let attempts: Vec<u32> = record.branches.iter().map(|branch| branch.attempts).collect();
        assert_eq!((record.state, attempts), (TransactionState::Confirmed, vec![1, 1]), "{call} {fault:?}");
        assert_eq!((bank.counts(), bank.overlaps()), ((2, 2, 0), 0), "{call} {fault:?}");
    }))
    .await;
}

#[tokio::test]
async fn rule_14_a_cancel_may_fail_and_lose_answers_too() {
    for (call, fault) in [("decide", Fault::Lose), ("decide", Fault::Refuse), ("close", Fault::Lose)] {
        let (store, bank) = (MemoryStore::new(), Bank::default());
        let faulty = Faulty::over(&store);
        let runtime = host(&faulty, &bank).await;
        faulty.fail(call, &[fault; 2]);
        bank.script("credit.try", &[Act::Fail]);
        run(&runtime).await.unwrap_err();
        assert_eq!((only(&store).state, bank.counts()), (TransactionState::Cancelled, (2, 0, 2)), "{call}");
    }
}

#[tokio::test]
async fn a_decision_is_undecided_only_while_the_store_stays_away() {
    // Whether it was taken, only the store knows, and says so when it is back.
    for (fault, state) in
        [(Fault::Refuse, TransactionState::Cancelled), (Fault::Lose, TransactionState::Confirmed)]
    {
        let (store, bank) = (MemoryStore::new(), Bank::default());
        let faulty = Faulty::over(&store);
        let builder = hosting(&faulty, &bank).lease(ms(1_500)).drive_lease(ms(500));
        let runtime = builder.decide_patience(ms(100)).start().await.unwrap();
        faulty.always("decide", fault);
        let error = run(&runtime).await.unwrap_err();
        assert_eq!(error.kind(), TransactionErrorKind::Undecided);
        assert!(!error.is_retryable(), "it may be confirmed yet");
        assert_names(&error, &["confirm", "outcome", error.gid().unwrap().as_str()]);
        assert!(faulty.count("decide") > 2, "it was pursued");
        faulty.always("decide", Fault::Pass);
        until_state(&store, state).await;
        let outcome = runtime.outcome(error.gid().unwrap()).await.unwrap().unwrap();
        assert_eq!(outcome.state, state);
    }
}

#[tokio::test]
async fn a_registration_the_store_never_answers_cancels() {
    for fault in [Fault::Refuse, Fault::Lose] {
        let (store, bank) = (MemoryStore::new(), Bank::default());
        let faulty = Faulty::over(&store);
        let runtime = host(&faulty, &bank).await;
        let open = runtime.transaction("transfer").timeout(ms(300)).wait_final(LONG).begin().await.unwrap();
        faulty.always("register", fault);
        let Err(TryError::NotRun(NotRun::Store { error, .. })) = open.call("bank.debit@1", &10).await else {
            panic!()
        };
        assert_eq!(error.kind(), StoreErrorKind::Unavailable);
        open.commit().await.unwrap_err();
        assert_eq!(bank.counts().1, 0);
        assert!(store.records().iter().all(|record| record.state == TransactionState::Cancelled));
    }
}

#[tokio::test]
async fn a_full_store_refuses_beginnings_at_once() {
    let (store, bank) = (MemoryStore::new(), Bank::default());
    let faulty = Faulty::over(&store);
    let runtime = host(&faulty, &bank).await;
    let open = runtime.transaction("transfer").wait_final(LONG).begin().await.unwrap();
    open.call("bank.debit@1", &10).await.unwrap();

    faulty.always("begin", Fault::Full);
    faulty.always("register", Fault::Full);
    let error = run(&runtime).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (TransactionErrorKind::Store, true));
    let error = runtime.transaction("transfer").run(transfer).await.unwrap_err();
    assert_names(&error, &["out of memory"]);
    assert_eq!((faulty.count("begin"), faulty.count("register")), (1, 2), "neither was repeated");
    // What is in flight drains.
    let gid = open.gid().clone();
    open.commit().await.unwrap();
    assert_eq!((record(&store, &gid).state, bank.counts()), (TransactionState::Confirmed, (1, 1, 0)));
}

#[tokio::test]
async fn invariant_i9_reports_that_never_arrive_cost_a_repeat_and_no_more() {
    let (store, bank) = (MemoryStore::new(), Bank::default());
    let faulty = Faulty::over(&store);
    let runtime = hosting(&faulty, &bank).drive_lease(ms(200)).start().await.unwrap();
    faulty.always("close", Fault::Refuse);
    runtime.transaction("transfer").run(transfer).await.unwrap();
    until("it is driven again", || bank.count("confirm") >= 3).await;
    faulty.always("close", Fault::Pass);
    until_state(&store, TransactionState::Confirmed).await;
    assert_eq!(bank.overlaps(), 0);
}

#[tokio::test]
async fn invariant_i9_no_transaction_is_lost_while_the_store_comes_and_goes() {
    let (store, bank) = (MemoryStore::new(), Bank::default());
    let faulty = Faulty::over(&store);
    let builder = hosting(&faulty, &bank).lease(ms(500)).drive_lease(ms(500)).store_timeout(ms(100));
    let runtime = builder.timeout(SECOND).decide_patience(SECOND).start().await.unwrap();
    let flapping = tokio::spawn({
        let faulty = faulty.clone();
        async move {
            for _ in 0..8 {
                for away in [true, false] {
                    faulty.set_away(away);
                    tokio::time::sleep(ms(40)).await;
                }
            }
        }
    });
    let mut runs = Vec::new();
    for _ in 0..60 {
        let runtime = runtime.clone();
        runs.push(tokio::spawn(async move { runtime.transaction("transfer").run(transfer).await }));
        tokio::time::sleep(ms(5)).await;
    }
    flapping.await.unwrap();
    let mut told = Vec::new();
    for run in runs {
        told.push(run.await.unwrap().map_err(|error| (error.kind(), error.gid().cloned())));
    }
    let final_all = || store.records().iter().all(|record| record.state.is_final());
    until("all are final", final_all).await;
    for record in store.records() {
        let states: Vec<BranchState> = record.branches.iter().map(|branch| branch.state).collect();
        let expected = match record.state {
            TransactionState::Confirmed => BranchState::Confirmed,
            _ => BranchState::Cancelled,
        };
        assert!(states.iter().all(|state| *state == expected), "I1: {record:?}");
    }
    let confirmed =
        store.records().iter().filter(|record| record.state == TransactionState::Confirmed).count();
    let heard = told.iter().filter(|told| told.is_ok()).count();
    assert!(heard > 0 && heard <= confirmed, "I8: {heard} heard of, {confirmed} confirmed");
    for (kind, gid) in told.into_iter().filter_map(Result::err) {
        let state = gid.and_then(|gid| store.records().into_iter().find(|record| record.gid == gid));
        match (kind, state.map(|record| record.state)) {
            (TransactionErrorKind::Undecided, _) => {}
            (_, None | Some(TransactionState::Cancelled)) => {}
            (kind, state) => panic!("told {kind:?}, and it is {state:?}"),
        }
    }
    assert_eq!((bank.overlaps(), store.timers().len()), (0, 0));
}

#[tokio::test]
async fn what_the_store_cannot_read_is_told_at_once() {
    let (store, bank) = (MemoryStore::new(), Bank::default());
    let faulty = Faulty::over(&store);
    let runtime = host(&faulty, &bank).await;
    let open = runtime.transaction("transfer").begin().await.unwrap();
    open.call("bank.debit@1", &10).await.unwrap();
    faulty.fail("decide", &[Fault::Corrupt]);
    let error = open.commit().await.unwrap_err();
    assert_eq!((error.kind(), faulty.count("decide")), (TransactionErrorKind::Undecided, 1));
    assert_names(&error, &["torn"]);
}
