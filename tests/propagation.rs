//! A transaction begun in one process has branches in others, which share the store (rule 16).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use support::*;
use tcc::{
    CallAnswer, CallContext, CallId, Gid, JoinError, Joined, MemoryStore, NotRun, OpenTransaction,
    RemoteCall, Runtime, Timestamp, TraceParent, TransactionErrorKind, TryError, TryOutcome, UnknownTry,
    record::{BranchState, Direction, Reason, Seen, TransactionState},
};

/// Two processes over one store: the front begins and decides, the shop hosts the bank.
struct Two {
    store: MemoryStore,
    bank: Bank,
    front: Runtime,
    shop: Runtime,
}

impl Two {
    async fn start() -> Self {
        let (store, bank) = (MemoryStore::new(), Bank::default());
        let front = quick(&store).actions("till", [Bank::named("till").action("ring", 1)]);
        let (front, shop) = (front.start().await.unwrap(), host(&store, &bank).await);
        Self { store, bank, front, shop }
    }

    async fn begin(&self) -> OpenTransaction {
        self.front.transaction("checkout").wait_final(LONG).begin().await.unwrap()
    }

    async fn join(&self, call: &RemoteCall) -> Joined {
        self.shop.join(call.context().unwrap()).await.unwrap()
    }

    /// Serves a call in the shop: debits these amounts one after the other, as far as they succeed.
    async fn serve(&self, call: &RemoteCall, amounts: &[u64]) -> CallAnswer {
        let joined = self.join(call).await;
        for amount in amounts {
            if joined.call("bank.debit@1", amount).await.is_err() {
                break;
            }
        }
        joined.finish()
    }
}

fn cancelled(ended: Result<tcc::Ending, tcc::TransactionError>) -> Reason {
    match ended.unwrap_err().kind() {
        TransactionErrorKind::Cancelled(reason) => reason,
        other => panic!("{other:?}"),
    }
}

fn states(store: &MemoryStore) -> Vec<BranchState> {
    only(store).branches.iter().map(|branch| branch.state).collect()
}

#[tokio::test]
async fn a_branch_of_another_process_is_confirmed_with_the_rest() {
    let two = Two::start().await;
    let open = two.begin().await;
    open.call("till.ring@1", &1).await.unwrap();
    let call = open.remote_call().await.unwrap();
    let answer = two.serve(&call, &[10, 20]).await;
    assert_eq!(answer.to_string(), "g2s");
    call.answered(&answer);
    open.commit().await.unwrap();
    let record = only(&two.store);
    assert_eq!(record.state, TransactionState::Confirmed);
    let calls: Vec<&str> = record.branches.iter().map(|branch| branch.call.as_str()).collect();
    assert_eq!(calls, ["1", "2.1", "2.2"]);
    assert_eq!(two.bank.counts(), (2, 2, 0));
}

#[tokio::test]
async fn an_outcome_is_in_the_record_before_the_answer_is_made() {
    let two = Two::start().await;
    let open = two.begin().await;
    let call = open.remote_call().await.unwrap();
    let joined = two.join(&call).await;
    joined.call("bank.debit@1", &10).await.unwrap();
    let branch = only(&two.store).branches.remove(0);
    assert_eq!((branch.known, branch.state), (Some(Seen::Succeeded), BranchState::Tried));
    assert_eq!(branch.result.unwrap().as_str(), "\"hold-10\"");
}

#[tokio::test]
async fn rule_03_the_begin_is_recorded_before_a_call_leaves_and_a_join_creates_nothing() {
    let two = Two::start().await;
    let open = two.begin().await;
    let name = open.name().clone();
    let early = CallContext::new(open.gid().clone(), name, CallId::top(1), SECOND);
    let error = two.shop.join(early).await.unwrap_err();
    assert!(matches!(error, JoinError::NotKnown(_)), "{error}");
    assert!(two.store.records().is_empty());
    let _call = open.remote_call().await.unwrap();
    assert_eq!(only(&two.store).state, TransactionState::Trying);
}

#[tokio::test]
async fn rule_03_a_call_whose_begin_is_not_known_to_be_recorded_forbids_commit() {
    let (store, bank) = (MemoryStore::new(), Bank::default());
    let faulty = Faulty::over(&store);
    let runtime = hosting(&faulty, &bank).start().await.unwrap();
    let open = runtime.transaction("checkout").timeout(ms(300)).wait_final(LONG).begin().await.unwrap();
    faulty.fail("begin", &[Fault::Lose; 50]);
    let error = open.remote_call().await.unwrap_err();
    assert!(matches!(error, NotRun::Store { .. }), "{error:?}");
    assert!(matches!(cancelled(open.commit().await), Reason::UnknownOutcome | Reason::DeadlinePassed));
}

#[tokio::test]
async fn rule_16_a_call_made_twice_is_one_branch_with_the_first_ones_result() {
    let two = Two::start().await;
    let open = two.begin().await;
    let call = open.remote_call().await.unwrap();
    // Its answer is lost, and the caller calls again.
    let lost = two.serve(&call, &[10, 20]).await;
    let again = two.join(&call).await;
    let hold = again.call("bank.debit@1", &10).await.unwrap();
    assert_eq!(hold.as_str(), "\"hold-10\"");
    again.call("bank.debit@1", &20).await.unwrap();
    let answer = again.finish();
    assert_eq!(answer, lost);
    call.answered(&answer);
    open.commit().await.unwrap();
    assert_eq!(two.bank.counts(), (2, 2, 0));
}

#[tokio::test]
async fn rule_16_a_repetition_waits_while_the_first_run_tries() {
    let two = Two::start().await;
    two.bank.script("try", &[Act::Held]);
    let open = two.begin().await;
    let call = open.remote_call().await.unwrap();
    let (first, second) = (two.join(&call).await, two.join(&call).await);
    let first_call = tokio::spawn({
        let first = first.clone();
        async move { first.call("bank.debit@1", &10).await }
    });
    until("the try runs", || two.bank.count("try") == 1).await;
    let second_call = tokio::spawn({
        let second = second.clone();
        async move { second.call("bank.debit@1", &10).await }
    });
    tokio::time::sleep(ms(100)).await;
    assert!(!second_call.is_finished(), "nobody knows yet what the try comes to");
    two.bank.open_gate();
    let holds = [first_call.await.unwrap().unwrap(), second_call.await.unwrap().unwrap()];
    assert_eq!(holds[0], holds[1]);
    assert_eq!((first.finish(), second.finish().to_string()), ("s".parse().unwrap(), "s".into()));
    assert_eq!(two.bank.count("try"), 1);
}

#[tokio::test]
async fn rule_16_a_repetition_of_a_rejected_call_learns_that_it_was_rejected() {
    let two = Two::start().await;
    two.bank.script("try", &[Act::Fail]);
    let open = two.begin().await;
    open.call("till.ring@1", &1).await.unwrap();
    let call = open.remote_call().await.unwrap();
    assert_eq!(two.serve(&call, &[10]).await.to_string(), "gr");
    let again = two.join(&call).await;
    let error = again.call("bank.debit@1", &10).await.unwrap_err();
    assert!(matches!(error, TryError::NotRun(NotRun::RejectedBefore { .. })), "{error:?}");
    let answer = again.finish();
    assert_eq!(answer.to_string(), "gr");
    call.answered(&answer);
    // Its caller handled it: the rest is confirmed (rule 4).
    open.commit().await.unwrap();
    assert_eq!(states(&two.store), [BranchState::Confirmed, BranchState::Cancelled]);
    assert_eq!(two.bank.counts(), (1, 0, 1));
}

#[tokio::test]
async fn rule_16_a_repetition_with_other_arguments_is_refused() {
    let two = Two::start().await;
    let open = two.begin().await;
    let call = open.remote_call().await.unwrap();
    two.serve(&call, &[10]).await;
    let error = two.join(&call).await.call("bank.debit@1", &11).await.unwrap_err();
    assert_names(&error, &["call 1.1 was made before with another action or other arguments"]);
}

#[tokio::test]
async fn rule_16_a_call_that_was_not_answered_forbids_commit_though_its_fallback_succeeded() {
    let two = Two::start().await;
    let open = two.begin().await;
    let slow = open.remote_call().await.unwrap();
    // The first warehouse reserves, and its answer never comes.
    two.serve(&slow, &[10]).await;
    let fallback = open.remote_call().await.unwrap();
    fallback.answered(&two.serve(&fallback, &[10]).await);
    drop((slow, fallback));
    assert_eq!(cancelled(open.commit().await), Reason::PendingCall);
    assert_eq!(states(&two.store), [BranchState::Cancelled; 2]);
    assert_eq!(two.bank.counts(), (2, 0, 2));
}

#[tokio::test]
async fn rule_16_a_call_that_was_never_sent_is_not_waited_for() {
    let two = Two::start().await;
    let open = two.begin().await;
    drop(open.remote_call().await.unwrap());
    let call = open.remote_call().await.unwrap();
    call.answered(&two.serve(&call, &[10]).await);
    open.commit().await.unwrap();
}

#[tokio::test]
async fn rule_16_an_answer_carries_the_branches_of_the_calls_behind_it() {
    let two = Two::start().await;
    let open = two.begin().await;
    let call = open.remote_call().await.unwrap();
    let middle = two.front.join(call.context().unwrap()).await.unwrap();
    middle.call("till.ring@1", &1).await.unwrap();
    let onwards = middle.remote_call().await.unwrap();
    assert_eq!(onwards.id().as_str(), "1.2");
    onwards.answered(&two.serve(&onwards, &[10, 20]).await);
    let answer = middle.finish();
    assert_eq!(answer.to_string(), "3s");
    call.answered(&answer);
    open.commit().await.unwrap();
    let calls: Vec<String> = only(&two.store).branches.iter().map(|branch| branch.call.to_string()).collect();
    assert_eq!(calls, ["1.1", "1.2.1", "1.2.2"]);
    assert_eq!(two.bank.counts(), (2, 2, 0));
}

#[tokio::test]
async fn rule_16_a_call_behind_a_call_that_was_not_answered_forbids_commit() {
    let two = Two::start().await;
    let open = two.begin().await;
    let call = open.remote_call().await.unwrap();
    let middle = two.front.join(call.context().unwrap()).await.unwrap();
    let onwards = middle.remote_call().await.unwrap();
    onwards.context().unwrap();
    middle.call("till.ring@1", &1).await.unwrap();
    let answer = middle.finish();
    assert_eq!(answer.to_string(), "sp");
    call.answered(&answer);
    assert_eq!(cancelled(open.commit().await), Reason::PendingCall);
}

#[tokio::test]
async fn rule_04_a_branch_that_the_answer_leaves_out_forbids_commit() {
    let two = Two::start().await;
    let open = two.begin().await;
    let call = open.remote_call().await.unwrap();
    two.serve(&call, &[10]).await;
    call.answered(&"-".parse().unwrap());
    assert_eq!(cancelled(open.commit().await), Reason::UnnamedBranch);
}

#[tokio::test]
async fn rule_04_a_branch_that_only_the_answer_knows_forbids_commit() {
    let two = Two::start().await;
    let open = two.begin().await;
    let call = open.remote_call().await.unwrap();
    two.serve(&call, &[10]).await;
    call.answered(&"3s".parse().unwrap());
    assert_eq!(cancelled(open.commit().await), Reason::LostBranch);
    until_state(&two.store, TransactionState::Cancelled).await;
}

#[tokio::test]
async fn an_answer_that_names_a_branch_of_another_call_forbids_commit() {
    for (own, answers) in [(true, ["s", "2s"]), (false, ["s", "s"])] {
        let two = Two::start().await;
        let open = two.shop.transaction("checkout").wait_final(LONG).begin().await.unwrap();
        if own {
            open.call("bank.debit@1", &5).await.unwrap();
        }
        for answer in answers {
            let call = open.remote_call().await.unwrap();
            two.serve(&call, &[10]).await;
            call.answered(&answer.parse().unwrap());
        }
        assert_eq!(cancelled(open.commit().await), Reason::PendingCall, "{answers:?}");
    }
}

#[tokio::test]
async fn rule_04_what_the_called_service_did_not_hear_is_told_as_unknown() {
    let two = Two::start().await;
    two.bank.script("try", &[Act::Held]);
    let open = two.begin().await;
    let call = open.remote_call().await.unwrap();
    let joined = two.join(&call).await;
    let dropped = tokio::time::timeout(ms(200), joined.call("bank.debit@1", &10)).await;
    assert!(dropped.is_err());
    two.bank.open_gate();
    until("its outcome is recorded", || only(&two.store).branches[0].known.is_some()).await;
    let answer = joined.finish();
    assert_eq!(answer.to_string(), "u");
    call.answered(&answer);
    assert_eq!(cancelled(open.commit().await), Reason::UnknownOutcome);
}

#[tokio::test]
async fn a_repetition_that_knows_more_is_believed() {
    let two = Two::start().await;
    let open = two.begin().await;
    let call = open.remote_call().await.unwrap();
    let answer = two.serve(&call, &[10]).await;
    call.answered(&"u".parse().unwrap());
    call.answered(&answer);
    call.answered(&"u".parse().unwrap());
    open.commit().await.unwrap();
    assert_eq!(two.bank.counts(), (1, 1, 0));
}

#[tokio::test]
async fn a_service_killed_in_the_middle_of_a_try_makes_the_transaction_cancel() {
    let (store, bank) = (MemoryStore::new(), Bank::default());
    let doomed = Process::start(hosting(&store, &bank)).await;
    let other = host(&store, &bank.branch_office("other")).await;
    let front = quick(&store).start().await.unwrap();
    bank.script("try", &[Act::Hang]);
    let open = front.transaction("checkout").timeout(SECOND * 3).wait_final(LONG).begin().await.unwrap();
    let call = open.remote_call().await.unwrap();
    let context = call.context().unwrap();
    let running = doomed.spawn(|runtime| async move {
        let joined = runtime.join(context).await.unwrap();
        joined.call("bank.debit@1", &10).await.map(|_| ())
    });
    until("the try runs", || bank.count("try") == 1).await;
    doomed.kill();
    assert!(running.await.is_err());
    // Called again, another process finds the try begun and nobody who knows what it came to.
    let joined = other.join(call.context().unwrap()).await.unwrap();
    let error = joined.call("bank.debit@1", &10).await.unwrap_err();
    assert!(matches!(error, TryError::NotRun(NotRun::Elsewhere { .. })), "{error:?}");
    call.answered(&joined.finish());
    let reason = cancelled(open.commit().await);
    assert!(matches!(reason, Reason::UnknownOutcome | Reason::DeadlinePassed), "{reason:?}");
    until("its cancel runs", || bank.count("cancel") == 1).await;
    assert_eq!(bank.ran("cancel")[0].outcome, Some(TryOutcome::Unknown));
    assert_eq!(bank.count("try"), 1);
}

#[tokio::test]
async fn rule_06b_the_callers_deadline_bounds_the_try() {
    let two = Two::start().await;
    two.bank.script("try", &[Act::Held]);
    let open = two.begin().await;
    let call = open.remote_call().await.unwrap();
    let mut context = call.context().unwrap();
    assert!(context.time_left > SECOND * 20);
    context.time_left = ms(300);
    let joined = two.shop.join(context).await.unwrap();
    assert!(joined.deadline() < open.deadline());
    let Err(TryError::Unknown(why)) = joined.call("bank.debit@1", &10).await else { panic!("it is held") };
    assert_eq!(why, UnknownTry::TimedOut);
    assert!(wall_clock() < open.deadline(), "it was not waited for as long as the action allows");
    two.bank.open_gate();
}

#[tokio::test]
async fn rule_06c_a_try_that_ends_after_the_decision_is_cancelled_knowing_it() {
    let two = Two::start().await;
    two.bank.script("try", &[Act::Held]);
    let open = two.begin().await;
    let call = open.remote_call().await.unwrap();
    let joined = two.join(&call).await;
    let trying = tokio::spawn(async move { joined.call("bank.debit@1", &10).await });
    until("the try runs", || two.bank.count("try") == 1).await;
    open.cancel().await.unwrap();
    two.bank.open_gate();
    let Err(TryError::Unknown(UnknownTry::Unkept(why))) = trying.await.unwrap() else { panic!("too late") };
    assert!(why.contains("decided"), "{why}");
    let outcomes = || two.bank.ran("cancel").into_iter().filter_map(|ran| ran.outcome).collect::<Vec<_>>();
    until("cancel is told", || outcomes().last() == Some(&TryOutcome::Succeeded("hold-10".into()))).await;
    until_state(&two.store, TransactionState::Cancelled).await;
}

#[tokio::test]
async fn an_outcome_that_the_store_did_not_record_is_not_heard() {
    let (store, bank) = (MemoryStore::new(), Bank::default());
    let faulty = Faulty::over(&store);
    let debit = bank.action("debit", 1).with_policy(policy().timeout(ms(300)));
    let shop = quick(&faulty).actions("bank", [debit]).start().await.unwrap();
    let front = quick(&store).start().await.unwrap();
    let open = front.transaction("checkout").wait_final(LONG).begin().await.unwrap();
    let call = open.remote_call().await.unwrap();
    faulty.always("report", Fault::Refuse);
    let joined = shop.join(call.context().unwrap()).await.unwrap();
    let error = joined.call("bank.debit@1", &10).await.unwrap_err();
    assert!(matches!(error, TryError::Unknown(UnknownTry::TimedOut)), "{error:?}");
    let answer = joined.finish();
    assert_eq!(answer.to_string(), "u");
    call.answered(&answer);
    assert_eq!(cancelled(open.commit().await), Reason::UnknownOutcome);
    faulty.always("report", Fault::Pass);
    until("the report is pursued", || bank.count("cancel") == 2).await;
    until_state(&store, TransactionState::Cancelled).await;
}

#[tokio::test]
async fn a_called_service_adds_no_branch_after_its_answer() {
    let two = Two::start().await;
    let open = two.begin().await;
    let call = open.remote_call().await.unwrap();
    let joined = two.join(&call).await;
    assert_eq!(joined.finish().to_string(), "-");
    let error = joined.call("bank.debit@1", &10).await.unwrap_err();
    assert!(matches!(error, TryError::NotRun(NotRun::Over(_))), "{error:?}");
    assert!(matches!(joined.remote_call().await.unwrap_err(), NotRun::Over(_)));
}

#[tokio::test]
async fn a_call_cannot_leave_after_the_decision_or_the_deadline() {
    let two = Two::start().await;
    let open = two.front.transaction("checkout").timeout(ms(100)).begin().await.unwrap();
    let (tx, call) = ((*open).clone(), open.remote_call().await.unwrap());
    until("the deadline", || wall_clock() > open.deadline() + ms(50)).await;
    assert_names(&call.context().unwrap_err(), &["deadline"]);
    open.cancel().await.ok();
    assert!(matches!(tx.remote_call().await.unwrap_err(), NotRun::Over(_)));
}

#[tokio::test]
async fn a_context_that_cannot_be_joined_says_why() {
    let two = Two::start().await;
    let open = two.begin().await;
    let call = open.remote_call().await.unwrap();
    let context = call.context().unwrap();

    let mut expired = context.clone();
    expired.time_left = Duration::ZERO;
    assert!(matches!(two.shop.join(expired).await.unwrap_err(), JoinError::Expired(_)));

    let mut foreign = context.clone();
    foreign.gid = Gid::new(Timestamp::from_millis(1_795_000_000_000), 7, 0);
    assert!(matches!(two.shop.join(foreign.clone()).await.unwrap_err(), JoinError::NotKnown(_)));
    foreign.gid = Gid::new(Timestamp::from_millis(1_795_000_000_000), 7, 63);
    assert!(matches!(two.shop.join(foreign).await.unwrap_err(), JoinError::NotKnown(_)));

    call.answered(&"-".parse().unwrap());
    open.cancel().await.unwrap();
    let error = two.shop.join(context.clone()).await.unwrap_err();
    assert!(matches!(error, JoinError::Decided { direction: Direction::Cancel, .. }), "{error}");

    two.shop.shutdown().await;
    let error = two.shop.join(context).await.unwrap_err();
    assert!(matches!(error, JoinError::ShuttingDown) && error.is_retryable(), "{error}");
}

#[tokio::test]
async fn joined_transactions_count_as_open() {
    let (store, bank) = (MemoryStore::new(), Bank::default());
    let shop = hosting(&store, &bank).open_max(1).start().await.unwrap();
    let front = quick(&store).start().await.unwrap();
    let open = front.transaction("checkout").begin().await.unwrap();
    let call = open.remote_call().await.unwrap();
    let joined = shop.join(call.context().unwrap()).await.unwrap();
    let error = shop.join(call.context().unwrap()).await.unwrap_err();
    assert!(matches!(error, JoinError::Overloaded { max: 1 }), "{error}");
    drop(joined);
    shop.join(call.context().unwrap()).await.unwrap();
}

#[tokio::test]
async fn rule_12_a_call_into_the_initiators_own_process_leaves_its_lease_alone() {
    let (store, bank) = (MemoryStore::new(), Bank::default());
    let runtime = hosting(&store, &bank).lease(ms(600)).start().await.unwrap();
    let open = runtime.transaction("checkout").wait_final(LONG).begin().await.unwrap();
    let call = open.remote_call().await.unwrap();
    let joined = runtime.join(call.context().unwrap()).await.unwrap();
    joined.call("bank.debit@1", &10).await.unwrap();
    call.answered(&joined.finish());
    drop(joined);
    tokio::time::sleep(ms(1_500)).await;
    assert_eq!(only(&store).state, TransactionState::Trying);
    open.commit().await.unwrap();
}

#[tokio::test]
async fn a_transaction_begun_while_a_call_is_served_is_refused() {
    let two = Two::start().await;
    let open = two.begin().await;
    let call = open.remote_call().await.unwrap();
    let context = call.context().unwrap();
    let error = context.scope(two.shop.transaction("second").begin()).await.unwrap_err();
    assert_eq!(error.kind(), TransactionErrorKind::Nested);
}

#[tokio::test]
async fn a_trace_is_handed_on() {
    let trace = TraceParent::new("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap();
    let two = Two::start().await;
    let open = two.begin().await;
    let call = open.remote_call().await.unwrap();
    assert_eq!(call.context().unwrap().trace_parent, None);
    let joined = two.join(&call.with_trace_parent(trace.clone())).await;
    let onwards = joined.remote_call().await.unwrap();
    assert_eq!(onwards.context().unwrap().trace_parent, Some(trace));
}
