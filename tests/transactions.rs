//! What a transaction comes to: run, begun by hand, nested, aborted, dropped, out of time.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{error::Error, sync::OnceLock};

use support::*;
use tcc::{
    Abort, Action, Keyed, MemoryStore, Payload, PhaseError, Runtime, TransactionError, TransactionErrorKind,
    TryCx, TryError, Tx,
    record::{Direction, Reason, TransactionState},
};

#[tokio::test]
async fn ok_confirms_every_branch() {
    let (store, bank, runtime) = start().await;
    let holds = runtime
        .transaction("transfer")
        .wait_final(LONG)
        .run(async |tx| Ok(tcc::try_join!(tx.call("bank.debit@1", &10), tx.call("bank.credit@1", &20))?))
        .await
        .unwrap();
    assert_eq!((holds.0.as_str(), holds.1.as_str()), ("\"hold-10\"", "\"hold-20\""));
    assert_eq!(bank.counts(), (2, 2, 0));
    assert_eq!(only(&store).state, TransactionState::Confirmed);
}

#[tokio::test]
async fn an_ending_waits_until_every_branch_is_final() {
    for inline in [true, false] {
        let (store, bank) = (MemoryStore::new(), Bank::default());
        let runtime = hosting(&store, &bank).phase_two_inline(inline).start().await.unwrap();
        bank.always("confirm", Act::Held);
        let open = runtime.transaction("transfer").begin().await.unwrap();
        open.call("bank.debit@1", &10).await.unwrap();
        let ending = open.commit().await.unwrap();
        let gid = ending.gid().clone();
        assert_eq!(record(&store, &gid).state, TransactionState::Confirming);
        let waited = ending.wait(ms(50)).await.unwrap_err();
        assert_eq!(waited.kind(), TransactionErrorKind::NotFinal, "the decision stands: {waited}");

        let open = runtime.transaction("transfer").begin().await.unwrap();
        open.call("bank.debit@1", &10).await.unwrap();
        let ending = open.commit().await.unwrap();
        let gid = ending.gid().clone();
        bank.open_gate();
        ending.wait(LONG).await.unwrap();
        assert_eq!(record(&store, &gid).state, TransactionState::Confirmed);

        let open = runtime.transaction("transfer").begin().await.unwrap();
        open.cancel().await.unwrap().wait(ms(0)).await.unwrap();
    }
}

#[tokio::test]
async fn err_cancels_every_branch_and_gives_the_error_back() {
    let (store, bank, runtime) = start().await;
    let error = runtime
        .transaction("transfer")
        .wait_final(LONG)
        .run(async |tx| {
            tx.call("bank.debit@1", &10).await?;
            Err::<(), _>(Abort::new(Insufficient))
        })
        .await
        .unwrap_err();
    assert_eq!(error.kind(), TransactionErrorKind::Aborted);
    assert!(error.abort().unwrap().downcast_ref::<Insufficient>().is_some());
    assert_eq!(bank.counts(), (1, 0, 1));
    let record = only(&store);
    assert_eq!((record.state, error.gid()), (TransactionState::Cancelled, Some(&record.gid)));
}

#[tokio::test]
async fn rule_04_a_refused_branch_whose_error_is_handled_is_cancelled_while_the_rest_is_confirmed() {
    let (store, bank, runtime) = start().await;
    bank.script("try", &[Act::Fail]);
    runtime
        .transaction("transfer")
        .wait_final(LONG)
        .run(async |tx| {
            let refused = tx.call("bank.debit@1", &10).await;
            assert!(matches!(refused, Err(TryError::Rejected(_))));
            tx.call("bank.debit@1", &20).await?;
            Ok(())
        })
        .await
        .unwrap();
    assert_eq!((bank.ran("confirm")[0].amount, bank.ran("cancel")[0].amount), (20, 10));
    assert_eq!(bank.counts(), (2, 1, 1));
    assert_eq!(only(&store).state, TransactionState::Confirmed);
    assert!(store.timers().is_empty());
}

#[tokio::test]
async fn a_panic_goes_on_once_cancel_is_decided() {
    let (store, bank, runtime) = start().await;
    let run = tokio::spawn({
        let runtime = runtime.clone();
        async move {
            let transaction = runtime.transaction("transfer");
            let body = async |tx: &Tx| {
                tx.call("bank.debit@1", &10).await?;
                panic!("the closure panics")
            };
            transaction.run::<(), _>(body).await
        }
    });
    let panic = run.await.unwrap_err().into_panic();
    assert_eq!(panic.downcast_ref(), Some(&"the closure panics"));
    let decision = only(&store).decision.expect("it is decided when the panic is seen");
    assert_eq!((decision.direction, decision.reason), (Direction::Cancel, Reason::Panicked));
    until_state(&store, TransactionState::Cancelled).await;
    assert_eq!(bank.counts(), (1, 0, 1));
}

#[tokio::test]
async fn a_dropped_future_cancels() {
    let (store, bank, runtime) = start().await;
    let run = tokio::spawn(async move {
        let body = async |tx: &Tx| {
            tx.call("bank.debit@1", &10).await?;
            std::future::pending::<Result<(), Abort>>().await
        };
        runtime.transaction("transfer").run(body).await
    });
    until("the try ended", || bank.ended("try") == 1).await;
    run.abort();
    let record = until_state(&store, TransactionState::Cancelled).await;
    assert_eq!(record.decision.unwrap().reason, Reason::Dropped);
    assert_eq!(bank.counts(), (1, 0, 1));
}

#[tokio::test]
async fn a_decision_is_pursued_when_the_future_that_waits_for_it_is_dropped() {
    let (store, bank) = (MemoryStore::new(), Bank::default());
    let faulty = Faulty::over(&store);
    let runtime = host(&faulty, &bank).await;
    faulty.fail("decide", &[Fault::Held]);
    let run = tokio::spawn({
        let runtime = runtime.clone();
        async move {
            let body = async |tx: &Tx| Ok(tx.call("bank.debit@1", &10).await?);
            runtime.transaction("transfer").run(body).await
        }
    });
    until("decide is sent", || faulty.count("decide") == 1).await;
    run.abort();
    assert!(run.await.unwrap_err().is_cancelled());
    faulty.open_gate();
    until_state(&store, TransactionState::Confirmed).await;
    assert_eq!(bank.counts(), (1, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_closure_that_overruns_its_deadline_is_cancelled_and_run_returns() {
    let (paused, bank) = (Paused::new(), Bank::default());
    let store = paused.store.clone();
    // Nobody sweeps: a sweeper that decides first may cancel the branch before its outcome is known.
    let runtime = paused.hosting(&store, &bank).sweep_interval(LONG).start().await.unwrap();
    let error = runtime
        .transaction("transfer")
        .timeout(ms(500))
        .wait_final(LONG)
        .run(async |tx| {
            tx.call("bank.debit@1", &10).await?;
            std::future::pending::<Result<(), Abort>>().await
        })
        .await
        .unwrap_err();
    assert_eq!(error.kind(), TransactionErrorKind::Cancelled(Reason::DeadlinePassed));
    assert_eq!(only(&store).state, TransactionState::Cancelled);
    assert_eq!(bank.counts(), (1, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn rule_01_a_commit_after_the_deadline_cancels() {
    let (paused, bank) = (Paused::new(), Bank::default());
    let store = paused.store.clone();
    // Nobody sweeps, so that the late commit itself meets the deadline.
    let runtime = paused.hosting(&store, &bank).sweep_interval(LONG).start().await.unwrap();
    let open = runtime.transaction("transfer").timeout(ms(500)).wait_final(LONG).begin().await.unwrap();
    open.call("bank.debit@1", &10).await.unwrap();
    let deadline = open.deadline();
    until("the deadline", || paused.now() >= deadline).await;
    let error = open.commit().await.unwrap_err();
    assert_eq!(error.kind(), TransactionErrorKind::Cancelled(Reason::DeadlinePassed));
    assert_eq!(bank.counts(), (1, 0, 1));
}

#[tokio::test]
async fn rule_01_an_operators_cancel_stands_against_a_later_commit() {
    let (store, bank, runtime) = start().await;
    let open = runtime.transaction("transfer").wait_final(LONG).begin().await.unwrap();
    open.call("bank.debit@1", &10).await.unwrap();
    let decision = runtime.cancel(open.gid()).await.unwrap();
    assert_eq!((decision.direction, decision.reason), (Direction::Cancel, Reason::Operator));
    let error = open.commit().await.unwrap_err();
    assert_eq!(error.kind(), TransactionErrorKind::Cancelled(Reason::Operator));
    assert_eq!(bank.counts(), (1, 0, 1));
    assert_eq!(only(&store).decision, Some(decision));
}

#[tokio::test]
async fn rule_01_a_closure_that_overruns_after_an_operators_cancel_learns_that_reason() {
    let (store, bank) = (MemoryStore::new(), Bank::default());
    let runtime = hosting(&store, &bank).sweep_interval(LONG).start().await.unwrap();
    let operator = runtime.clone();
    let error = runtime
        .transaction("transfer")
        .timeout(ms(150))
        .run(async |tx| {
            tx.call("bank.debit@1", &10).await?;
            operator.cancel(tx.gid()).await?;
            std::future::pending::<Result<(), Abort>>().await
        })
        .await
        .unwrap_err();
    assert_eq!(error.kind(), TransactionErrorKind::Cancelled(Reason::Operator));
}

#[tokio::test]
async fn a_transaction_begun_by_hand_is_committed_or_cancelled_by_hand() {
    let (store, bank, runtime) = start().await;
    let open = runtime.transaction("transfer").wait_final(LONG).begin().await.unwrap();
    open.call("bank.debit@1", &10).await.unwrap();
    let first = open.gid().clone();
    open.commit().await.unwrap();
    assert_eq!(record(&store, &first).state, TransactionState::Confirmed);

    let open = runtime.transaction("transfer").wait_final(LONG).begin().await.unwrap();
    open.call("bank.debit@1", &10).await.unwrap();
    let second = open.gid().clone();
    open.cancel().await.unwrap();
    assert_eq!(record(&store, &second).state, TransactionState::Cancelled);
    assert_eq!(record(&store, &second).decision.unwrap().reason, Reason::Aborted);
    assert_eq!(bank.counts(), (2, 1, 1));
}

#[tokio::test]
async fn an_open_transaction_that_is_dropped_is_cancelled() {
    let (store, bank, runtime) = start().await;
    let open = runtime.transaction("transfer").begin().await.unwrap();
    open.call("bank.debit@1", &10).await.unwrap();
    drop(open);
    let record = until_state(&store, TransactionState::Cancelled).await;
    assert_eq!(record.decision.unwrap().reason, Reason::Dropped);
    assert_eq!(bank.counts(), (1, 0, 1));
}

#[tokio::test]
async fn a_commit_that_is_never_polled_cancels() {
    let (store, _, runtime) = start().await;
    let open = runtime.transaction("transfer").begin().await.unwrap();
    open.call("bank.debit@1", &10).await.unwrap();
    drop(open.commit());
    until_state(&store, TransactionState::Cancelled).await;
}

#[tokio::test]
async fn an_empty_transaction_asks_the_store_nothing() {
    let (store, bank) = (MemoryStore::new(), Bank::default());
    let faulty = Faulty::over(&store);
    let runtime = host(&faulty, &bank).await;
    let begin = || runtime.transaction("nothing").wait_final(SECOND);
    assert_eq!(begin().run(async |_| Ok(7)).await.unwrap(), 7);
    assert_eq!(
        begin().run(async |_| Err::<(), _>(Abort::msg("no"))).await.unwrap_err().kind(),
        TransactionErrorKind::Aborted
    );
    begin().begin().await.unwrap().commit().await.unwrap();
    begin().begin().await.unwrap().cancel().await.unwrap();
    drop(begin().begin().await.unwrap());
    assert_eq!((faulty.calls().len(), store.records().len()), (0, 0));
    assert_eq!(runtime.health().await.open_transactions, 0);
}

#[tokio::test]
async fn run_returns_at_the_decision_and_phase_two_goes_on() {
    let (store, bank, runtime) = start().await;
    bank.script("confirm", &[Act::Held]);
    let body = async |tx: &Tx| Ok(tx.call("bank.debit@1", &10).await?);
    runtime.transaction("transfer").run(body).await.unwrap();
    assert_eq!((only(&store).state, bank.ended("confirm")), (TransactionState::Confirming, 0));
    bank.open_gate();
    until_state(&store, TransactionState::Confirmed).await;
}

#[tokio::test]
async fn rule_02_a_decision_is_heard_only_once_it_is_written() {
    let (store, bank) = (MemoryStore::new(), Bank::default());
    let faulty = Faulty::over(&store);
    let runtime = host(&faulty, &bank).await;
    let mut events = runtime.events();
    faulty.fail("decide", &[Fault::Held]);
    let mut run = tokio::spawn({
        let runtime = runtime.clone();
        async move {
            let body = async |tx: &Tx| Ok(tx.call("bank.debit@1", &10).await?);
            runtime.transaction("transfer").run(body).await
        }
    });
    until("decide is sent", || faulty.count("decide") == 1).await;
    assert!(tokio::time::timeout(ms(50), &mut run).await.is_err(), "nobody has decided");
    assert_eq!(bank.count("confirm"), 0, "no confirm before the decision is written");
    while let Ok(event) = events.try_recv() {
        assert!(!matches!(event, tcc::Event::Decided { .. }), "{event:?}");
    }
    faulty.open_gate();
    run.await.unwrap().unwrap();
    until_state(&store, TransactionState::Confirmed).await;
}

#[tokio::test]
async fn wait_final_tells_what_is_not_final_in_time() {
    let (store, bank, runtime) = start().await;
    bank.script("confirm", &[Act::Held]);
    let body = async |tx: &Tx| Ok(tx.call("bank.debit@1", &10).await?);
    let error = runtime.transaction("transfer").wait_final(ms(50)).run(body).await.unwrap_err();
    assert_eq!(error.kind(), TransactionErrorKind::NotFinal);
    let outcome = error.outcome().unwrap();
    assert_eq!((outcome.state, outcome.parked), (TransactionState::Confirming, 0));
    bank.open_gate();
    until_state(&store, TransactionState::Confirmed).await;
}

#[tokio::test]
async fn wait_final_does_not_wait_for_an_operator() {
    let (store, bank, runtime) = start().await;
    bank.script("debit.confirm", &[Act::Park]);
    let body =
        async |tx: &Tx| Ok(tcc::try_join!(tx.call("bank.debit@1", &10), tx.call("bank.credit@1", &20))?);
    let error = runtime.transaction("transfer").wait_final(LONG).run(body).await.unwrap_err();
    assert_eq!(error.kind(), TransactionErrorKind::NotFinal);
    assert_eq!(error.outcome().unwrap().parked, 1);
    assert_names(&error, &["transfer", only(&store).gid.as_str(), "operator"]);
    assert!(!error.is_retryable());
}

#[tokio::test]
async fn waiting_for_ever_is_allowed() {
    let (_, _, runtime) = start().await;
    let body = async |tx: &Tx| Ok(tx.call("bank.debit@1", &10).await?);
    let forever = std::time::Duration::MAX;
    runtime.transaction("transfer").wait_final(forever).run(body).await.unwrap();
    let keyed = || runtime.transaction("transfer").key("k").wait_final(forever);
    assert!(matches!(keyed().run(body).await.unwrap(), Keyed::First(_)));
    assert!(matches!(keyed().run(body).await.unwrap(), Keyed::Repeated(_)));
}

#[tokio::test]
async fn run_inside_run_is_refused_and_the_outer_one_goes_on() {
    let (store, bank, runtime) = start().await;
    runtime
        .transaction("outer")
        .wait_final(LONG)
        .run(async |tx| {
            let inner = runtime.transaction("inner").run(async |_| Ok(())).await.unwrap_err();
            assert_eq!(inner.kind(), TransactionErrorKind::Nested);
            assert_names(&inner, &["`inner`", tx.gid().as_str(), "`Tx`"]);
            let keyed = runtime.transaction("inner").key("k").run(async |_| Ok(())).await.unwrap_err();
            assert_eq!(keyed.kind(), TransactionErrorKind::Nested);
            let begun = runtime.transaction("inner").begin().await.unwrap_err();
            assert_eq!(begun.kind(), TransactionErrorKind::Nested);
            Ok(hand_down(tx).await?)
        })
        .await
        .unwrap();
    assert_eq!((only(&store).state, bank.counts()), (TransactionState::Confirmed, (1, 1, 0)));
}

async fn hand_down(tx: &Tx) -> Result<Payload, TryError<tcc::Rejection>> {
    tx.call("bank.debit@1", &10).await
}

#[tokio::test]
async fn run_inside_a_handler_is_refused() {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    static SEEN: std::sync::Mutex<Vec<TransactionErrorKind>> = std::sync::Mutex::new(Vec::new());
    async fn nest() {
        let runtime = RUNTIME.get().unwrap();
        let error = runtime.transaction("inner").run(async |_| Ok(())).await.unwrap_err();
        SEEN.lock().unwrap().push(error.kind());
    }
    let nesting = Action::new(
        "nest",
        1,
        |_: TryCx, _: ()| async {
            nest().await;
            Ok::<_, Insufficient>(())
        },
        |_, _: (), _: ()| async {
            nest().await;
            Ok::<_, PhaseError>(())
        },
        |_, _: (), _| async { Ok::<_, PhaseError>(()) },
    );
    let runtime = quick(&MemoryStore::new()).actions("bank", [nesting]).start().await.unwrap();
    RUNTIME.set(runtime.clone()).unwrap();
    let body = async |tx: &Tx| Ok(tx.call("bank.nest@1", &()).await?);
    runtime.transaction("outer").wait_final(LONG).run(body).await.unwrap();
    assert_eq!(*SEEN.lock().unwrap(), [TransactionErrorKind::Nested; 2]);
}

#[tokio::test]
async fn an_abort_gives_back_the_error_it_was_made_of() {
    let (_, bank, runtime) = start().await;
    bank.script("try", &[Act::Fail]);
    let body = async |tx: &Tx| Ok(tx.call("bank.debit@1", &10).await?);
    let error = runtime.transaction("transfer").run(body).await.unwrap_err();
    let abort = error.into_abort().unwrap();
    let Ok(TryError::Rejected(rejection)) = abort.downcast::<TryError<tcc::Rejection>>() else {
        panic!("another error")
    };
    assert!(rejection.into_inner().is::<Insufficient>());
    assert!(Abort::new(Insufficient).downcast::<std::fmt::Error>().is_err());
    assert_eq!(Abort::msg("as text").to_string(), "as text");
}

#[tokio::test]
async fn an_aborted_closure_gets_its_error_back_though_the_store_is_gone() {
    let (store, bank) = (MemoryStore::new(), Bank::default());
    let faulty = Faulty::over(&store);
    let runtime = hosting(&faulty, &bank).lease(ms(300)).decide_patience(ms(20)).start().await.unwrap();
    let error = runtime
        .transaction("transfer")
        .run(async |tx| {
            tx.call("bank.debit@1", &10).await?;
            faulty.always("decide", Fault::Refuse);
            Err::<(), _>(Abort::new(Insufficient))
        })
        .await
        .unwrap_err();
    assert_eq!(error.kind(), TransactionErrorKind::Aborted);
    let record = until_state(&store, TransactionState::Cancelled).await;
    assert_eq!(record.decision.unwrap().reason, Reason::InitiatorLost);
}

#[tokio::test]
async fn causes_are_told_once_each() {
    let (store, bank) = (MemoryStore::new(), Bank::default());
    let faulty = Faulty::over(&store);
    let runtime = hosting(&faulty, &bank).decide_patience(ms(20)).start().await.unwrap();
    let mut errors: Vec<TransactionError> = Vec::new();

    bank.script("try", &[Act::Fail]);
    let body = async |tx: &Tx| Ok(tx.call("bank.debit@1", &10).await?);
    errors.push(runtime.transaction("aborted").run(body).await.unwrap_err());

    faulty.always("decide", Fault::Refuse);
    errors.push(runtime.transaction("undecided").run(body).await.unwrap_err());
    faulty.always("decide", Fault::Pass);

    faulty.always("begin", Fault::Refuse);
    let keyed = runtime.transaction("unbegun").timeout(ms(20)).key("k");
    errors.push(keyed.run(body).await.unwrap_err());
    faulty.always("begin", Fault::Pass);

    faulty.always("load", Fault::Corrupt);
    bank.script("confirm", &[Act::Held]);
    errors.push(runtime.transaction("unseen").wait_final(SECOND).run(body).await.unwrap_err());
    let first = runtime.transaction("first").key("k").begin().await.unwrap();
    errors.push(runtime.transaction("first").key("k").run(body).await.unwrap_err());
    drop(first);

    use TransactionErrorKind::{Aborted, NotFinal, Store, Undecided};
    let kinds: Vec<_> = errors.iter().map(TransactionError::kind).collect();
    assert_eq!(kinds, [Aborted, Undecided, Store, NotFinal, Store]);
    let retryable: Vec<_> = errors.iter().map(TransactionError::is_retryable).collect();
    assert_eq!(retryable, [false, false, true, false, true]);
    for error in &errors {
        let causes = causes(error);
        assert!(error.source().is_some() && causes.len() > 1, "{causes:?}");
        for (place, cause) in causes.iter().enumerate() {
            let before = &causes[..place];
            assert!(before.iter().all(|before| !before.contains(cause.as_str())), "told twice: {causes:?}");
        }
        assert_eq!(error.abort().is_some(), error.kind() == Aborted);
    }
    bank.open_gate();
}
