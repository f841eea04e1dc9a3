//! What a try comes to: known or not, heard or not, in time or late.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use support::*;
use tcc::{
    Abort, Action, CancelCx, ConfirmCx, Event, MemoryStore, NotRun, PhaseError, Runtime,
    TransactionErrorKind, TryCx, TryError, TryOutcome, Tx, UnknownTry,
    record::{BranchState, Reason, Seen, TransactionState},
};

/// A runtime whose `bank.debit@1` is waited for no longer than this.
async fn impatient(timeout: Duration) -> (MemoryStore, Bank, Runtime) {
    let (store, bank) = (MemoryStore::new(), Bank::default());
    let debit = bank.action("debit", 1).with_policy(policy().timeout(timeout));
    let runtime = quick(&store).actions("bank", [debit]).start().await.unwrap();
    (store, bank, runtime)
}

fn unknown<T, E>(result: Result<T, TryError<E>>) -> UnknownTry {
    let Err(TryError::Unknown(why)) = result else { panic!("its outcome is known") };
    why
}

fn outcomes(bank: &Bank) -> Vec<TryOutcome<String>> {
    bank.ran("cancel").into_iter().filter_map(|ran| ran.outcome).collect()
}

#[tokio::test]
async fn rule_06b_a_try_that_outlives_its_timeout_is_unknown_and_is_not_torn() {
    let (store, bank, runtime) = impatient(ms(50)).await;
    bank.script("try", &[Act::Held]);
    let open = runtime.transaction("transfer").wait_final(LONG).begin().await.unwrap();
    assert_eq!(unknown(open.call("bank.debit@1", &10).await), UnknownTry::TimedOut);
    bank.open_gate();
    until("the try ends by itself", || bank.ended("try") == 1).await;
    // It was waited for and not heard: whatever it came to, there is no commit.
    let error = open.commit().await.unwrap_err();
    assert_eq!(error.kind(), TransactionErrorKind::Cancelled(Reason::UnknownOutcome));
    assert_eq!(outcomes(&bank), [TryOutcome::Succeeded("hold-10".into())]);
    assert_eq!(only(&store).state, TransactionState::Cancelled);
}

#[tokio::test]
async fn rule_06b_a_try_is_bounded_by_the_transactions_deadline() {
    let (_, bank, runtime) = impatient(LONG).await;
    bank.script("try", &[Act::Held]);
    let open = runtime.transaction("transfer").timeout(ms(500)).begin().await.unwrap();
    assert_eq!(unknown(open.call("bank.debit@1", &10).await), UnknownTry::TimedOut);
    assert!(
        wall_clock() < open.deadline() + SECOND * 3,
        "it was not waited for as long as the action allows"
    );
    bank.open_gate();
}

#[tokio::test(start_paused = true)]
async fn rule_06b_no_try_begins_once_the_deadline_has_passed() {
    let (paused, bank) = (Paused::new(), Bank::default());
    let store = paused.store.clone();
    let faulty = Faulty::over(&store);
    let runtime = paused.hosting(&faulty, &bank).sweep_interval(LONG).start().await.unwrap();
    let open = runtime.transaction("transfer").timeout(ms(500)).begin().await.unwrap();
    open.call("bank.debit@1", &10).await.unwrap();
    // The registration is in time, and its answer is not.
    faulty.fail("register", &[Fault::LateAnswer]);
    let call = tokio::spawn(open.call("bank.debit@1", &20));
    until("it is registered", || only(&store).branches.len() == 2).await;
    until("the deadline", || paused.now() > open.deadline() + ms(20)).await;
    faulty.open_gate();
    assert_eq!(unknown(call.await.unwrap()), UnknownTry::TimedOut);
    drop(open);
    until_state(&store, TransactionState::Cancelled).await;
    assert_eq!(bank.count("try"), 1);
}

#[tokio::test]
async fn rule_06c_a_success_after_cancel_reopens_its_branch_and_is_cancelled_knowing_it() {
    let (store, bank, runtime) = impatient(ms(50)).await;
    bank.script("try", &[Act::Held]);
    let body = async |tx: &Tx| Ok(tx.call("bank.debit@1", &10).await?);
    let error = runtime.transaction("transfer").wait_final(LONG).run(body).await.unwrap_err();
    assert_eq!(error.kind(), TransactionErrorKind::Aborted);
    assert_eq!(outcomes(&bank), [TryOutcome::Unknown]);
    assert_eq!(only(&store).state, TransactionState::Cancelled);

    let mut events = runtime.events();
    bank.open_gate();
    let late = event(&mut events, |event| matches!(event, Event::Tried { .. })).await;
    assert!(matches!(late, Event::Tried { outcome: Seen::Succeeded, late: true, .. }));
    until("cancel runs again", || bank.count("cancel") == 2).await;
    assert_eq!(outcomes(&bank)[1], TryOutcome::Succeeded("hold-10".into()));
    let record = until_state(&store, TransactionState::Cancelled).await;
    assert_eq!(record.branches[0].known, Some(Seen::Succeeded));
    assert!(store.timers().is_empty());
}

#[tokio::test]
async fn rule_06c_a_refusal_after_cancel_is_cancelled_knowing_it() {
    let (store, bank, runtime) = impatient(ms(50)).await;
    bank.script("try", &[Act::HeldThenFail]);
    let body = async |tx: &Tx| Ok(tx.call("bank.debit@1", &10).await?);
    runtime.transaction("transfer").wait_final(LONG).run(body).await.unwrap_err();
    bank.open_gate();
    until("cancel runs again", || bank.count("cancel") == 2).await;
    assert_eq!(outcomes(&bank), [TryOutcome::Unknown, TryOutcome::Refused]);
    until_state(&store, TransactionState::Cancelled).await;
}

#[tokio::test]
async fn rule_06c_a_late_success_is_reported_until_the_store_answers() {
    let (store, bank) = (MemoryStore::new(), Bank::default());
    let faulty = Faulty::over(&store);
    let debit = bank.action("debit", 1).with_policy(policy().timeout(ms(50)));
    let runtime = quick(&faulty).actions("bank", [debit]).start().await.unwrap();
    bank.script("try", &[Act::Held]);
    faulty.fail("report", &[Fault::Refuse, Fault::Lose, Fault::Refuse]);
    let body = async |tx: &Tx| Ok(tx.call("bank.debit@1", &10).await?);
    runtime.transaction("transfer").wait_final(LONG).run(body).await.unwrap_err();
    bank.open_gate();
    until("the report is answered", || faulty.count("report") == 4).await;
    until("cancel runs again", || bank.count("cancel") == 2).await;
    until_state(&store, TransactionState::Cancelled).await;
}

#[tokio::test]
async fn rule_06c_a_success_whose_record_is_gone_is_cancelled_here_and_told() {
    let (store, bank, runtime) = impatient(ms(50)).await;
    bank.script("try", &[Act::Held]);
    // Its cancel fails twice, and is tried again here: no record keeps its schedule.
    bank.script("cancel", &[Act::Succeed, Act::Fail, Act::Panic]);
    let body = async |tx: &Tx| Ok(tx.call("bank.debit@1", &10).await?);
    runtime.transaction("transfer").wait_final(LONG).run(body).await.unwrap_err();
    let gid = only(&store).gid;
    store.lose(&gid);
    let mut events = runtime.events();
    bank.open_gate();
    let told = event(&mut events, |event| matches!(event, Event::CancelledWithoutRecord { .. })).await;
    let Event::CancelledWithoutRecord { gid: of, action, error, .. } = told else { unreachable!() };
    assert_eq!((of, action.as_str(), error), (gid, "bank.debit@1", None));
    assert_eq!(outcomes(&bank)[1..], vec![TryOutcome::Succeeded("hold-10".to_owned()); 3]);
    assert_eq!(store.records(), [], "a report creates nothing (rule 3)");
}

#[tokio::test]
async fn rule_06c_a_cancel_that_fails_without_a_record_is_told_with_its_error() {
    let (store, bank, runtime) = impatient(ms(50)).await;
    bank.script("try", &[Act::Held]);
    let body = async |tx: &Tx| Ok(tx.call("bank.debit@1", &10).await?);
    runtime.transaction("transfer").wait_final(LONG).run(body).await.unwrap_err();
    store.lose(&only(&store).gid);
    bank.always("cancel", Act::Fail);
    let mut events = runtime.events();
    bank.open_gate();
    let told = event(&mut events, |event| matches!(event, Event::CancelledWithoutRecord { .. })).await;
    let Event::CancelledWithoutRecord { error: Some(error), .. } = told else { panic!("{told:?}") };
    assert!(error.contains("the ledger is away"), "{error}");
}

#[tokio::test]
async fn a_decision_that_finds_no_record_cancels_here_what_succeeded() {
    let (store, bank, runtime) = start().await;
    let mut events = runtime.events();
    let open = runtime.transaction("transfer").begin().await.unwrap();
    open.call("bank.debit@1", &10).await.unwrap();
    store.lose(open.gid());
    let error = open.commit().await.unwrap_err();
    assert_eq!(error.kind(), TransactionErrorKind::Lost);
    event(&mut events, |event| matches!(event, Event::CancelledWithoutRecord { error: None, .. })).await;
    assert_eq!(bank.counts(), (1, 0, 1));
}

#[tokio::test]
async fn a_commit_that_may_have_been_applied_cancels_nothing_when_its_record_is_gone() {
    let (store, bank) = (MemoryStore::new(), Bank::default());
    let faulty = Faulty::over(&store);
    let runtime = hosting(&faulty, &bank).phase_two_inline(false).start().await.unwrap();
    let mut events = runtime.events();
    faulty.fail("decide", &[Fault::Lose, Fault::Held]);
    let open = runtime.transaction("transfer").begin().await.unwrap();
    open.call("bank.debit@1", &10).await.unwrap();
    let gid = open.gid().clone();
    let commit = tokio::spawn(open.commit());
    until("it is confirmed", || store.records().iter().all(|record| record.state.is_final())).await;
    until("the commit is sent again", || faulty.count("decide") == 2).await;
    // Its retention is over, or the clock was set forward.
    store.lose(&gid);
    faulty.open_gate();
    assert_eq!(commit.await.unwrap().unwrap_err().kind(), TransactionErrorKind::Lost);
    let told = event(&mut events, |event| matches!(event, Event::CancelledWithoutRecord { .. })).await;
    let Event::CancelledWithoutRecord { error: Some(error), .. } = told else { panic!("{told:?}") };
    assert!(error.contains("may have been applied"), "{error}");
    assert_eq!(bank.counts(), (1, 1, 0), "a confirmed branch was cancelled (I1)");
}

#[tokio::test]
async fn a_try_that_panics_is_unknown() {
    let (store, bank, runtime) = start().await;
    bank.script("try", &[Act::Panic]);
    let open = runtime.transaction("transfer").wait_final(LONG).begin().await.unwrap();
    assert_eq!(unknown(open.call("bank.debit@1", &10).await), UnknownTry::Panicked("try panics".into()));
    let error = open.commit().await.unwrap_err();
    assert_eq!(error.kind(), TransactionErrorKind::Cancelled(Reason::UnknownOutcome));
    assert_eq!(outcomes(&bank), [TryOutcome::Unknown]);
    assert_eq!(only(&store).state, TransactionState::Cancelled);
}

#[tokio::test]
async fn a_try_is_stopped_at_its_hard_limit_and_stays_unknown() {
    let (store, bank) = (MemoryStore::new(), Bank::default());
    let debit = bank.action("debit", 1).with_policy(policy().timeout(ms(20)).hard_limit(ms(60)));
    let runtime = quick(&store).actions("bank", [debit]).start().await.unwrap();
    bank.script("try", &[Act::Hang]);
    let body = async |tx: &Tx| Ok(tx.call("bank.debit@1", &10).await?);
    runtime.transaction("transfer").wait_final(LONG).run(body).await.unwrap_err();
    until_async("the try is gone", async || runtime.health().await.open_transactions == 0).await;
    assert_eq!((outcomes(&bank), bank.ended("try")), (vec![TryOutcome::Unknown], 0));
}

#[tokio::test]
async fn a_dropped_call_lets_its_try_run_on_and_refuses_the_commit() {
    let (store, bank, runtime) = start().await;
    bank.script("debit.try", &[Act::Held]);
    let error = runtime
        .transaction("transfer")
        .wait_final(LONG)
        .run(async |tx| {
            let slow = tokio::time::timeout(ms(50), tx.call("bank.debit@1", &10)).await;
            assert!(slow.is_err());
            // The fallback works, and yet the first debit may have.
            tx.call("bank.credit@1", &10).await?;
            bank.open_gate();
            until("the try ends by itself", || bank.ended("try") == 2).await;
            Ok(())
        })
        .await
        .unwrap_err();
    assert_eq!(error.kind(), TransactionErrorKind::Cancelled(Reason::UnknownOutcome));
    assert_eq!((only(&store).state, bank.counts()), (TransactionState::Cancelled, (2, 0, 2)));
}

#[tokio::test]
async fn rule_04_a_call_dropped_while_it_is_registered_refuses_the_commit() {
    let (store, bank) = (MemoryStore::new(), Bank::default());
    let faulty = Faulty::over(&store);
    let runtime = host(&faulty, &bank).await;
    let open = runtime.transaction("transfer").wait_final(LONG).begin().await.unwrap();
    open.call("bank.debit@1", &10).await.unwrap();
    faulty.fail("register", &[Fault::Held]);
    assert!(tokio::time::timeout(ms(50), open.call("bank.credit@1", &10)).await.is_err());
    let error = open.commit().await.unwrap_err();
    assert_eq!(error.kind(), TransactionErrorKind::Cancelled(Reason::UnknownOutcome));
    assert_eq!(bank.counts(), (1, 0, 1));
}

#[tokio::test]
async fn rule_04_a_commit_that_names_not_every_branch_cancels_and_empties_the_unnamed_one() {
    let (store, bank) = (MemoryStore::new(), Bank::default());
    let faulty = Faulty::over(&store);
    let runtime = host(&faulty, &bank).await;
    let open = runtime.transaction("transfer").wait_final(LONG).begin().await.unwrap();
    // It is registered, and the caller does not wait for the answer: the branch is known to the record alone.
    faulty.fail("register", &[Fault::Lose, Fault::Hang]);
    assert!(tokio::time::timeout(ms(200), open.call("bank.debit@1", &10)).await.is_err());
    open.commit().await.unwrap_err();
    let record = only(&store);
    assert_eq!(
        (record.state, record.branches[0].state),
        (TransactionState::Cancelled, BranchState::Cancelled)
    );
    assert_eq!(
        (bank.counts(), outcomes(&bank)),
        ((0, 0, 1), vec![TryOutcome::Unknown]),
        "rule 5: empty cancel"
    );
}

#[tokio::test]
async fn rule_03_a_try_starts_only_once_its_branch_is_registered() {
    let (store, bank) = (MemoryStore::new(), Bank::default());
    let faulty = Faulty::over(&store);
    let runtime = host(&faulty, &bank).await;
    faulty.fail("register", &[Fault::Held]);
    let run = tokio::spawn(async move {
        let body = async |tx: &Tx| Ok(tx.call("bank.debit@1", &10).await?);
        runtime.transaction("transfer").wait_final(LONG).run(body).await
    });
    until("it is being registered", || faulty.count("register") == 1).await;
    tokio::time::sleep(ms(30)).await;
    assert_eq!((bank.count("try"), store.records().len()), (0, 0));
    faulty.open_gate();
    run.await.unwrap().unwrap();
    assert_eq!(bank.counts(), (1, 1, 0));
}

#[tokio::test]
async fn rule_03_a_record_that_was_acknowledged_and_lost_is_never_created_again() {
    let (store, bank, runtime) = start().await;
    let begin = async || {
        let open = runtime.transaction("transfer").begin().await.unwrap();
        open.call("bank.debit@1", &10).await.unwrap();
        store.lose(open.gid());
        open
    };
    let open = begin().await;
    let Err(TryError::NotRun(refused)) = open.call("bank.debit@1", &20).await else { panic!() };
    assert_names(&refused, &[open.gid().as_str(), "not known"]);
    assert_eq!(open.commit().await.unwrap_err().kind(), TransactionErrorKind::Lost);
    assert_eq!(begin().await.cancel().await.unwrap_err().kind(), TransactionErrorKind::Lost);
    assert_eq!((store.records(), bank.counts()), (vec![], (2, 0, 2)), "what was tried is cancelled here");
}

#[tokio::test]
async fn rule_06a_no_branch_is_added_after_the_decision() {
    let (store, bank, runtime) = start().await;
    let open = runtime.transaction("transfer").begin().await.unwrap();
    open.call("bank.debit@1", &10).await.unwrap();
    runtime.cancel(open.gid()).await.unwrap();
    let late = open.call("bank.debit@1", &20).await;
    assert!(matches!(late, Err(TryError::NotRun(NotRun::Refused { .. }))));
    let tx: Tx = (*open).clone();
    drop(open);
    let over = tx.call("bank.debit@1", &30).await;
    assert!(matches!(over, Err(TryError::NotRun(NotRun::Over(_)))));
    until_state(&store, TransactionState::Cancelled).await;
    assert_eq!((bank.counts(), only(&store).branches.len()), ((1, 0, 1), 1));
}

#[tokio::test]
async fn a_join_of_two_takes_three_calls_of_the_store() {
    let (store, bank) = (MemoryStore::new(), Bank::default());
    let faulty = Faulty::over(&store);
    let runtime = host(&faulty, &bank).await;
    let body =
        async |tx: &Tx| Ok(tcc::try_join!(tx.call("bank.debit@1", &10), tx.call("bank.credit@1", &10))?);
    runtime.transaction("transfer").wait_final(LONG).run(body).await.unwrap();
    assert_eq!(faulty.calls(), ["register", "decide", "close"]);
    assert_eq!(only(&store).state, TransactionState::Confirmed);
}

#[tokio::test]
async fn a_join_runs_its_tries_at_the_same_time_and_waits_for_all_of_them() {
    let (_, bank, runtime) = start().await;
    bank.script("debit.try", &[Act::Fail]);
    bank.script("credit.try", &[Act::Held]);
    let opening = tokio::spawn({
        let bank = bank.clone();
        async move {
            until("both tries run", || bank.count("try") == 2).await;
            tokio::time::sleep(ms(30)).await;
            assert_eq!(bank.ended("try"), 0);
            bank.open_gate();
        }
    });
    let open = runtime.transaction("transfer").begin().await.unwrap();
    let joined = async { tcc::try_join!(open.call("bank.debit@1", &10), open.call("bank.credit@1", &10)) };
    assert!(joined.await.is_err());
    assert_eq!(bank.ended("try"), 1, "the sibling of a try that failed at once was waited for");
    opening.await.unwrap();
}

#[tokio::test]
async fn a_join_gives_the_error_of_the_first_in_order_not_of_the_first_in_time() {
    for all in [false, true] {
        let (_, bank, runtime) = start().await;
        bank.script("debit.try", &[Act::HeldThenFail]).script("credit.try", &[Act::Panic]);
        let open = runtime.transaction("transfer").begin().await.unwrap();
        let (first, second) = (open.call("bank.debit@1", &1), open.call("bank.credit@1", &2));
        let joined = tokio::spawn(async move {
            match all {
                true => tcc::try_join_all([first, second]).await.map(|_| ()).map_err(Abort::from),
                false => async { tcc::try_join!(first, second) }.await.map(|_| ()),
            }
        });
        until("both tries began", || bank.count("try") == 2).await;
        tokio::time::sleep(ms(20)).await;
        bank.open_gate();
        let error = joined.await.unwrap().unwrap_err();
        let error = error.downcast_ref::<TryError<tcc::Rejection>>();
        assert!(matches!(error, Some(TryError::Rejected(_))), "{error:?}");
    }
}

#[tokio::test]
async fn rule_04_a_siblings_success_that_a_join_did_not_give_out_is_never_confirmed() {
    let (store, bank, runtime) = start().await;
    bank.script("credit.try", &[Act::Fail, Act::Fail]);
    let error = runtime
        .transaction("transfer")
        .wait_final(LONG)
        .run(async |tx| {
            // The closure shrugs the error off; it never got the debit's hold.
            let calls = [tx.call("bank.debit@1", &10), tx.call("bank.credit@1", &10)];
            assert!(tcc::try_join_all(calls).await.is_err());
            Ok(())
        })
        .await
        .unwrap_err();
    assert_eq!(error.kind(), TransactionErrorKind::Cancelled(Reason::UnknownOutcome));
    assert_eq!((only(&store).state, bank.counts()), (TransactionState::Cancelled, (2, 0, 2)));
    let error = runtime
        .transaction("transfer")
        .wait_final(LONG)
        .run(async |tx| {
            let joined = async { tcc::try_join!(tx.call("bank.debit@1", &1), tx.call("bank.credit@1", &1)) };
            assert!(joined.await.is_err());
            Ok(())
        })
        .await
        .unwrap_err();
    assert_eq!(error.kind(), TransactionErrorKind::Cancelled(Reason::UnknownOutcome));
}

#[tokio::test]
async fn calls_of_two_transactions_do_not_join() {
    let (store, bank, runtime) = start().await;
    let one = runtime.transaction("one").begin().await.unwrap();
    let other = runtime.transaction("other").begin().await.unwrap();
    let calls = [one.call("bank.debit@1", &1), other.call("bank.debit@1", &2)];
    let error = tcc::try_join_all(calls).await.unwrap_err();
    assert!(matches!(&error, TryError::NotRun(NotRun::OtherTransaction(gid)) if gid == other.gid()));
    let joined = async { tcc::try_join!(one.call("bank.debit@1", &1), other.call("bank.debit@1", &2)) };
    let error = joined.await.unwrap_err();
    let Some(NotRun::OtherTransaction(gid)) = error.downcast_ref() else { panic!("{error}") };
    assert_eq!(gid, other.gid());
    assert_eq!((bank.count("try"), store.records().len()), (0, 0), "nothing was registered");
}

#[tokio::test]
async fn a_call_that_was_awaited_does_not_join() {
    let (_, bank, runtime) = start().await;
    bank.script("try", &[Act::Held]);
    let open = runtime.transaction("transfer").begin().await.unwrap();
    let mut awaited = open.call("bank.debit@1", &1);
    assert!(tokio::time::timeout(ms(20), &mut awaited).await.is_err());
    let error = tcc::try_join_all([awaited, open.call("bank.debit@1", &2)]).await.unwrap_err();
    assert!(matches!(error, TryError::NotRun(NotRun::AwaitedBefore)));
    bank.open_gate();
}

#[tokio::test]
async fn a_join_of_none_gives_nothing() {
    let joined = tcc::try_join_all(Vec::<tcc::WireCall>::new()).await.unwrap();
    assert!(joined.is_empty());
}

#[tokio::test]
async fn a_thousand_branches_are_registered_in_one_call_and_confirmed() {
    let (store, bank) = (MemoryStore::new(), Bank::default());
    let faulty = Faulty::over(&store);
    let runtime = hosting(&faulty, &bank).drive_lease(LONG).start().await.unwrap();
    let body = async |tx: &Tx| {
        let calls = (0..1_000_u64).map(|amount| tx.call("bank.debit@1", &amount));
        Ok::<_, Abort>(tcc::try_join_all(calls).await?)
    };
    let holds = runtime.transaction("transfer").wait_final(LONG).run(body).await.unwrap();
    assert_eq!((holds.len(), holds[999].as_str()), (1_000, "\"hold-999\""));
    assert_eq!((faulty.count("register"), faulty.count("decide")), (1, 1));
    assert_eq!((only(&store).state, bank.counts()), (TransactionState::Confirmed, (1_000, 1_000, 0)));
}

#[tokio::test]
async fn a_try_whose_result_is_too_large_is_unknown_and_named() {
    let (store, bank) = (MemoryStore::new(), Bank::default());
    let long = Action::new(
        "long",
        1,
        |_: TryCx, length: usize| async move { Ok::<_, Insufficient>("x".repeat(length)) },
        |_: ConfirmCx, _: usize, _: String| async { Ok::<_, PhaseError>(()) },
        |_: CancelCx, _: usize, _: TryOutcome<String>| async { Ok::<_, PhaseError>(()) },
    );
    let builder = hosting(&store, &bank).actions("writer", [long.with_policy(policy())]);
    let runtime = builder.payload_bytes_max(100).transaction_payload_bytes_max(200).start().await.unwrap();
    let open = runtime.transaction("transfer").wait_final(LONG).begin().await.unwrap();
    let UnknownTry::Unkept(why) = unknown(open.call("writer.long@1", &99).await) else { panic!() };
    assert!(why.contains("101 bytes") && why.contains("`payload_bytes_max`"), "{why}");

    // Results count with the arguments: two bytes each of these, and then 92.
    open.call("writer.long@1", &90).await.unwrap();
    open.call("writer.long@1", &90).await.unwrap();
    let UnknownTry::Unkept(why) = unknown(open.call("writer.long@1", &90).await) else { panic!() };
    assert!(why.contains("`transaction_payload_bytes_max`") && why.contains("200"), "{why}");
    let Err(TryError::NotRun(refused)) = open.call("writer.long@1", &"123456789012").await else { panic!() };
    assert_names(&refused, &["200 bytes", "`transaction_payload_bytes_max`"]);
    assert_eq!(only(&store).payload_bytes(), 8, "the results go to the record with the decision");
}
