//! Phase two: each branch is driven on its own until it is final or parked.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use support::*;
use tcc::{
    Action, ActionPolicy, CancelCx, ConfirmCx, Event, MemoryStore, Name, Ordinal, PhaseError, Runtime, TryCx,
    TryOutcome, Tx,
    machine::{ClaimWork, Op},
    record::{BranchState, Direction, ParkCause, Token, TransactionState},
};

/// A bank under this policy.
async fn under(store: &MemoryStore, bank: &Bank, policy: ActionPolicy) -> Runtime {
    let actions = ["debit", "credit"].map(|name| bank.action(name, 1).with_policy(policy));
    quick(store).actions("bank", actions).start().await.unwrap()
}

async fn debit(runtime: &Runtime) {
    let body = async |tx: &Tx| Ok(tx.call("bank.debit@1", &10).await?);
    runtime.transaction("transfer").run(body).await.unwrap();
}

async fn debit_and_credit(runtime: &Runtime) {
    let body =
        async |tx: &Tx| Ok(tcc::try_join!(tx.call("bank.debit@1", &10), tx.call("bank.credit@1", &20))?);
    runtime.transaction("transfer").run(body).await.unwrap();
}

async fn until_parked(store: &MemoryStore, cause: ParkCause) -> tcc::record::Record {
    let parked = || only(store).branches.iter().any(|branch| branch.parked.is_some());
    until("a branch is parked", parked).await;
    let record = only(store);
    let parked = record.branches.iter().find_map(|branch| branch.parked).unwrap();
    assert_eq!(parked.cause, cause, "{:?}", record.branches);
    assert_eq!(record.state, TransactionState::Confirming, "the decision stands");
    record
}

#[tokio::test]
async fn rule_10_an_attempt_that_fails_or_panics_is_tried_again() {
    let (store, bank, runtime) = start().await;
    bank.script("confirm", &[Act::Fail, Act::Panic]);
    let mut events = runtime.events();
    debit(&runtime).await;
    let record = until_state(&store, TransactionState::Confirmed).await;
    let attempts: Vec<u32> = bank.ran("confirm").iter().map(|ran| ran.attempt).collect();
    assert_eq!((attempts, record.branches[0].attempts), (vec![1, 2, 3], 3));
    let mut failed = Vec::new();
    while let Ok(event) = events.try_recv() {
        if let Event::AttemptFailed { attempt, error, retry_in, direction: Direction::Confirm, .. } = event {
            assert!(retry_in <= ms(5), "{retry_in:?}");
            failed.push((attempt, error));
        }
    }
    let panicked = "the handler panicked: confirm panics".to_owned();
    assert_eq!(failed, [(1, "the ledger is away".to_owned()), (2, panicked)]);
}

#[tokio::test]
async fn rule_10_a_branch_is_parked_with_its_evidence_when_its_attempts_run_out() {
    let (store, bank, runtime) = start().await;
    bank.always("confirm", Act::Fail);
    let mut events = runtime.events();
    debit(&runtime).await;
    let record = until_parked(&store, ParkCause::AttemptsExhausted).await;
    assert_eq!(record.branches[0].last_error.as_deref(), Some("the ledger is away"));
    let parked = event(&mut events, |event| matches!(event, Event::Parked { .. })).await;
    let Event::Parked { action, cause, error, .. } = parked else { unreachable!() };
    assert_eq!((action.as_str(), cause), ("bank.debit@1", ParkCause::AttemptsExhausted));
    assert_eq!(error, "the ledger is away");
    // It waits for an operator, and nobody looks at it meanwhile.
    assert_eq!((bank.count("confirm"), store.timers().len()), (3, 0));
}

#[tokio::test]
async fn rule_10_a_handler_parks_its_branch_at_once() {
    let (store, bank, runtime) = start().await;
    bank.script("confirm", &[Act::Park]);
    debit(&runtime).await;
    let record = until_parked(&store, ParkCause::Handler).await;
    assert_eq!(record.branches[0].last_error.as_deref(), Some("the account is frozen"));
    assert_eq!(bank.count("confirm"), 1);
}

#[tokio::test]
async fn rule_10_ongoing_spends_no_attempt() {
    let (store, bank) = (MemoryStore::new(), Bank::default());
    let runtime = under(&store, &bank, policy().ongoing_limit(LONG)).await;
    bank.script("confirm", &[Act::Ongoing; 6]);
    debit(&runtime).await;
    let record = until_state(&store, TransactionState::Confirmed).await;
    assert!(bank.ran("confirm").iter().all(|ran| ran.attempt == 1), "{:?}", bank.ran("confirm"));
    assert_eq!((bank.count("confirm"), record.branches[0].attempts), (7, 1));
}

#[tokio::test]
async fn rule_10_ongoing_for_too_long_is_parked() {
    let (store, bank, runtime) = start().await;
    bank.always("confirm", Act::Ongoing);
    debit(&runtime).await;
    let record = until_parked(&store, ParkCause::OngoingTooLong).await;
    assert_eq!(record.branches[0].last_error.as_deref(), Some("still working after 100ms"));
}

#[tokio::test]
async fn rule_10_an_operator_redrives_a_parked_branch_in_the_direction_it_had() {
    let (store, bank, runtime) = start().await;
    bank.script("debit.confirm", &[Act::Park]).script("credit.confirm", &[Act::Park]);
    debit_and_credit(&runtime).await;
    until("both are parked", || only(&store).parked() == 2).await;
    let gid = only(&store).gid;

    let branch: Ordinal = "02".parse().unwrap();
    assert_eq!(runtime.redrive(&gid, &[branch]).await.unwrap(), 1);
    until("one is confirmed", || only(&store).branches[1].state == BranchState::Confirmed).await;
    assert_eq!(only(&store).parked(), 1);
    assert_eq!(runtime.redrive(&gid, &[]).await.unwrap(), 1);
    until_state(&store, TransactionState::Confirmed).await;
    assert_eq!(bank.counts(), (2, 4, 0));
    assert_names(&runtime.redrive(&gid, &[]).await.unwrap_err(), &[gid.as_str(), "no branch is parked"]);
}

#[tokio::test]
async fn rule_01_an_operator_cancels_only_what_is_undecided() {
    let (store, bank, runtime) = start().await;
    bank.script("confirm", &[Act::Park]);
    debit(&runtime).await;
    let record = until_parked(&store, ParkCause::Handler).await;
    let decision = runtime.cancel(&record.gid).await.unwrap();
    assert_eq!(decision.direction, Direction::Confirm, "the first decision stands");
    runtime.redrive(&record.gid, &[]).await.unwrap();
    until_state(&store, TransactionState::Confirmed).await;
    let stranger = tcc::Gid::new(tcc::Timestamp::from_millis(1), 1, 0);
    assert_names(&runtime.cancel(&stranger).await.unwrap_err(), &[stranger.as_str(), "not known"]);
}

#[tokio::test]
async fn rule_11_a_handler_that_outlives_its_timeout_is_stopped_before_it_is_tried_again() {
    let (store, bank) = (MemoryStore::new(), Bank::default());
    let runtime = under(&store, &bank, policy().phase_timeout(ms(50))).await;
    bank.script("confirm", &[Act::Slow(60_000), Act::Succeed]);
    let mut events = runtime.events();
    debit(&runtime).await;
    until_state(&store, TransactionState::Confirmed).await;
    let failed = event(&mut events, |event| matches!(event, Event::AttemptFailed { .. })).await;
    let Event::AttemptFailed { error, .. } = failed else { unreachable!() };
    assert!(error.contains("50ms") && error.contains("`phase_timeout`"), "{error}");
    assert_eq!((bank.count("confirm"), bank.ended("confirm"), bank.overlaps()), (2, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn invariant_i4_a_handler_that_outlives_its_lease_keeps_it_and_runs_once() {
    let (paused, bank) = (Paused::new(), Bank::default());
    let store = paused.store.clone();
    let faulty = Faulty::over(&store);
    let lease = ms(900);
    let runtime = paused.hosting(&faulty, &bank).drive_lease(lease).start().await.unwrap();
    // Another process would take what is not leased.
    let other = bank.branch_office("other");
    let _other = paused.hosting(&store, &other).drive_lease(lease).start().await.unwrap();
    bank.script("confirm", &[Act::Slow(2_500)]);
    debit(&runtime).await;
    until_state(&store, TransactionState::Confirmed).await;
    assert!(faulty.count("renew") >= 2, "{:?}", faulty.calls());
    assert_eq!((bank.count("confirm"), bank.overlaps()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn rule_11_a_sibling_keeps_its_lease_while_another_branch_waits_for_its_report() {
    let (paused, bank) = (Paused::new(), Bank::default());
    let store = paused.store.clone();
    let faulty = Faulty::over(&store);
    let lease = ms(900);
    let runtime =
        paused.hosting(&faulty, &bank).drive_lease(lease).store_timeout(ms(2_000)).start().await.unwrap();
    let other = bank.branch_office("other");
    let _other = paused.hosting(&store, &other).drive_lease(lease).start().await.unwrap();
    // The report of the branch that ends first hangs for longer than the other's lease.
    faulty.fail("close", &[Fault::Hang]);
    bank.script("credit.confirm", &[Act::Slow(2_500)]);
    debit_and_credit(&runtime).await;
    until_state(&store, TransactionState::Confirmed).await;
    let credits: Vec<Ran> = bank.ran("confirm").into_iter().filter(|ran| ran.action == "credit").collect();
    assert_eq!((credits.len(), bank.overlaps()), (1, 0), "{credits:?}");
}

#[tokio::test(start_paused = true)]
async fn rule_11_a_handler_whose_lease_cannot_be_kept_is_stopped_when_it_ends() {
    let (paused, bank) = (Paused::new(), Bank::default());
    let store = paused.store.clone();
    let faulty = Faulty::over(&store);
    let lease = ms(2_000);
    let runtime = paused.hosting(&faulty, &bank).drive_lease(lease).start().await.unwrap();
    let other = bank.branch_office("other");
    let _other = paused.hosting(&store, &other).drive_lease(lease).start().await.unwrap();
    faulty.always("renew", Fault::Hang);
    bank.script("confirm", &[Act::Slow(60_000)]);
    debit(&runtime).await;
    until_state(&store, TransactionState::Confirmed).await;
    assert_eq!(
        (bank.count("confirm"), bank.overlaps()),
        (2, 0),
        "the first was stopped before the second ran"
    );
}

#[tokio::test(start_paused = true)]
async fn rule_11_no_handler_starts_on_what_little_is_left_of_its_lease() {
    let (paused, bank) = (Paused::new(), Bank::default());
    let store = paused.store.clone();
    let faulty = Faulty::over(&store);
    let builder = paused.hosting(&faulty, &bank).drive_lease(ms(1_800)).store_timeout(ms(1_300));
    let runtime = builder.start().await.unwrap();
    // The claim inside the decision is written at once, and heard of when most of its lease is over.
    faulty.fail("decide", &[Fault::Lose, Fault::Hang]);
    debit(&runtime).await;
    let branch = until_state(&store, TransactionState::Confirmed).await.branches.remove(0);
    assert_eq!((branch.epoch, branch.attempts), (2, 1), "it was given back unspent, and claimed afresh");
    assert_eq!(bank.counts(), (1, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn rule_11_a_completion_under_an_older_claim_is_accepted_and_a_failure_is_not() {
    for (act, accepted) in [(Act::Succeed, true), (Act::Fail, false)] {
        let (paused, bank) = (Paused::new(), Bank::default());
        let store = paused.store.clone();
        let faulty = Faulty::over(&store);
        let runtime = paused.hosting(&faulty, &bank).drive_lease(ms(600)).start().await.unwrap();
        bank.script("confirm", &[act]);
        // The report is held back until the lease has run out and another has claimed the branch.
        faulty.fail("close", &[Fault::Held]);
        faulty.always("claim", Fault::Refuse);
        debit(&runtime).await;
        until("it is reported", || faulty.count("close") == 1).await;
        let gid = only(&store).gid;
        let (participants, token) = (vec![Name::new("bank").unwrap()], Token(7));
        let claim =
            Op::from(ClaimWork { participants, token, lease_ms: 60_000, except: Vec::new(), own: None });
        let claimed = || only(&store).branches[0].claim.is_some_and(|claim| claim.token == token);
        until("another claims it", || {
            store.apply_now(&gid, &claim);
            claimed()
        })
        .await;
        faulty.open_gate();
        until_async("the report is answered", async || runtime.health().await.drives == 0).await;
        let branch = only(&store).branches.remove(0);
        let expected = if accepted { BranchState::Confirmed } else { BranchState::Confirming };
        assert_eq!((branch.state, branch.last_error, branch.epoch), (expected, None, 2));
    }
}

/// Its claim asks for nothing that it has, and its handlers are given it all the same.
#[tokio::test]
async fn what_a_process_committed_and_left_to_messages_it_claims_without_reading_it_again() {
    let (store, bank) = (MemoryStore::new(), Bank::default());
    let faulty = Faulty::over(&store);
    let runtime = hosting(&faulty, &bank).phase_two_inline(false).start().await.unwrap();
    debit_and_credit(&runtime).await;
    let gid = until_state(&store, TransactionState::Confirmed).await.gid;
    let claims: Vec<_> = faulty
        .ops()
        .into_iter()
        .filter_map(|op| match op {
            Op::Claim(work) => Some(work),
            _ => None,
        })
        .collect();
    // A slow machine may see its message rung for again, and claimed in vain.
    let Some(ClaimWork { own: Some(own), .. }) = claims.first() else { panic!("{claims:?}") };
    let actions: Vec<_> = own.branches.iter().map(|(action, _)| action.to_string()).collect();
    assert_eq!(actions, ["bank.debit@1", "bank.credit@1"]);
    let mut confirmed = bank.ran("confirm");
    confirmed.sort_by_key(|ran| ran.branch);
    let told: Vec<_> = confirmed.iter().map(|ran| (ran.action.as_str(), ran.amount, &ran.gid)).collect();
    assert_eq!(told, [("debit", 10, &gid), ("credit", 20, &gid)]);
}

#[tokio::test]
async fn rule_09_concurrency_is_bounded_per_action() {
    let (store, bank) = (MemoryStore::new(), Bank::default());
    let runtime = under(&store, &bank, policy().concurrency(3)).await;
    bank.always("confirm", Act::Slow(20));
    let body = async |tx: &Tx| {
        let calls = (0..12_u64).map(|amount| tx.call("bank.debit@1", &amount));
        Ok(tcc::try_join_all(calls).await?)
    };
    runtime.transaction("transfer").wait_final(LONG).run(body).await.unwrap();
    assert_eq!((bank.running_max("confirm"), bank.count("confirm")), (3, 12));
    assert_eq!(only(&store).state, TransactionState::Confirmed);
}

#[tokio::test]
async fn rule_09_a_poisoned_branch_never_holds_up_its_siblings() {
    let (store, bank, runtime) = start().await;
    for poison in [Act::Fail, Act::Panic, Act::Park, Act::Ongoing, Act::Held] {
        bank.always("debit.confirm", poison);
        let body = async |tx: &Tx| {
            Ok((
                tx.gid().clone(),
                tcc::try_join!(tx.call("bank.debit@1", &10), tx.call("bank.credit@1", &20))?,
            ))
        };
        let (gid, _) = runtime.transaction("transfer").run(body).await.unwrap();
        let credited = || record(&store, &gid).branches[1].state == BranchState::Confirmed;
        until(&format!("the sibling of {poison:?} is confirmed"), credited).await;
        assert_ne!(record(&store, &gid).branches[0].state, BranchState::Confirmed);
    }
    bank.open_gate();
}

/// An action whose confirm panics before it gives a future, as a decoder or a plain function may.
fn poisoned() -> Action {
    Action::new(
        "poison",
        1,
        |_: TryCx, _: u64| async { Ok::<_, Insufficient>(()) },
        |_: ConfirmCx, _: u64, _: ()| -> std::future::Ready<Result<(), PhaseError>> { panic!("at once") },
        |_: CancelCx, _: u64, _: TryOutcome<()>| async { Ok::<_, PhaseError>(()) },
    )
    .with_policy(policy())
}

#[tokio::test]
async fn rule_09_a_handler_that_panics_before_its_first_await_poisons_its_own_branch_alone() {
    let (store, bank) = (MemoryStore::new(), Bank::default());
    let actions = [poisoned(), bank.action("credit", 1)];
    let runtime = quick(&store).actions("bank", actions).start().await.unwrap();
    let body =
        async |tx: &Tx| Ok(tcc::try_join!(tx.call("bank.poison@1", &10), tx.call("bank.credit@1", &20))?);
    runtime.transaction("transfer").run(body).await.unwrap();
    let record = until_parked(&store, ParkCause::AttemptsExhausted).await;
    assert_eq!(record.branches[0].last_error.as_deref(), Some("the handler panicked: at once"));
    until("the sibling is confirmed", || only(&store).branches[1].state == BranchState::Confirmed).await;
    assert_eq!(bank.ran("confirm")[0].attempt, 1);
}

#[tokio::test]
async fn rule_10_a_handler_that_kills_its_process_is_parked_too() {
    let (store, bank) = (MemoryStore::new(), Bank::default());
    bank.script("confirm", &[Act::Hang]);
    // Attempts are counted when they are claimed: three processes die of it.
    for attempt in 1..=3 {
        let process = Process::start(hosting(&store, &bank).drive_lease(ms(600))).await;
        if attempt == 1 {
            let begun = process.spawn(|runtime| async move { debit(&runtime).await });
            begun.await.unwrap();
        }
        until("it runs", || bank.count("confirm") >= attempt).await;
        process.kill();
    }
    let _survivor = host(&store, &bank).await;
    let record = until_parked(&store, ParkCause::AttemptsExhausted).await;
    let error = record.branches[0].last_error.as_deref().unwrap();
    assert_eq!((bank.count("confirm"), error), (3, "attempt 3 of 3 did not come back"));
}

#[tokio::test]
async fn rule_10_a_payload_that_cannot_be_decoded_parks_its_branch_with_its_cause() {
    let (store, bank) = (MemoryStore::new(), Bank::default());
    let process = Process::start(hosting(&store, &bank).drive_lease(ms(600))).await;
    bank.script("confirm", &[Act::Hang]);
    process.spawn(|runtime| async move { debit(&runtime).await }).await.unwrap();
    until("it runs", || bank.count("confirm") == 1).await;
    process.kill();
    // The next release changed the types and forgot the version.
    let retyped = Action::new(
        "debit",
        1,
        |_: TryCx, _: (String, u64)| async { Ok::<_, Insufficient>(String::new()) },
        |_: ConfirmCx, _: (String, u64), _: String| async { Ok::<_, PhaseError>(()) },
        |_: CancelCx, _: (String, u64), _: TryOutcome<String>| async { Ok::<_, PhaseError>(()) },
    );
    let _runtime = quick(&store).actions("bank", [retyped]).start().await.unwrap();
    let record = until_parked(&store, ParkCause::Undecodable).await;
    let error = record.branches[0].last_error.as_deref().unwrap();
    assert!(error.contains("cannot be read") && error.contains("tuple"), "{error}");
    // Nothing is dropped: the payload is there for the release that can read it.
    assert_eq!(record.branches[0].arguments.as_ref().unwrap().as_str(), "10");
}

#[tokio::test]
async fn another_process_drives_what_the_deciding_one_does_not_host_any_more() {
    let (store, bank) = (MemoryStore::new(), Bank::default());
    let (first, second) = (bank.branch_office("first"), bank.branch_office("second"));
    let process = Process::start(hosting(&store, &first).lease(ms(200))).await;
    let trying = process.spawn(|runtime| async move {
        let open = runtime.transaction("transfer").begin().await.unwrap();
        open.call("bank.debit@1", &10).await.unwrap();
        std::mem::forget(open);
    });
    trying.await.unwrap();
    process.kill();
    // A process without the participant decides, and leaves the work alone.
    let stranger = quick(&store).start().await.unwrap();
    until("it is decided", || only(&store).decision.is_some()).await;
    assert_eq!(only(&store).decision.unwrap().by, *stranger.process());
    tokio::time::sleep(ms(50)).await;
    let branch = only(&store).branches.remove(0);
    assert_eq!((branch.attempts, branch.epoch, branch.state), (0, 0, BranchState::Cancelling));
    // Whoever hosts it hears of it by the message that stands.
    let _host = host(&store, &second).await;
    until_state(&store, TransactionState::Cancelled).await;
    assert_eq!(bank.ran("cancel")[0].bank, "second");
}

#[tokio::test(start_paused = true)]
async fn rule_08_a_lost_message_only_costs_time() {
    let (paused, bank) = (Paused::new(), Bank::default());
    let store = paused.store.clone();
    let faulty = Faulty::over(&store);
    // Room for one: the reader's, so that the decision is driven by message.
    let runtime = paused.hosting(&faulty, &bank).drives_max(1).start().await.unwrap();
    faulty.fail("bells", &[Fault::Lose]);
    debit(&runtime).await;
    until_state(&store, TransactionState::Confirmed).await;
    assert_eq!((bank.counts(), only(&store).branches[0].attempts), ((1, 1, 0), 1));
}

#[tokio::test]
async fn a_decision_without_room_to_drive_is_driven_by_message() {
    let (store, bank) = (MemoryStore::new(), Bank::default());
    let faulty = Faulty::over(&store);
    let runtime = hosting(&faulty, &bank).drives_max(1).start().await.unwrap();
    // The reader of messages takes the only room as soon as it runs.
    tokio::time::sleep(ms(50)).await;
    for _ in 0..5 {
        debit(&runtime).await;
    }
    until("all are confirmed", || {
        store.records().iter().all(|record| record.state == TransactionState::Confirmed)
    })
    .await;
    assert_eq!((bank.counts(), faulty.count("claim") >= 5), ((5, 5, 0), true));
    assert!(faulty.ops().iter().all(|op| match op {
        Op::Decide(decide) => decide.inline.is_none(),
        _ => true,
    }));
}

#[tokio::test]
async fn the_drives_of_a_process_are_bounded() {
    let (store, bank) = (MemoryStore::new(), Bank::default());
    let runtime = hosting(&store, &bank).drives_max(3).start().await.unwrap();
    bank.always("confirm", Act::Slow(15));
    let transfers: Vec<_> = (0..20)
        .map(|_| {
            let runtime = runtime.clone();
            tokio::spawn(async move { debit(&runtime).await })
        })
        .collect();
    for transfer in transfers {
        transfer.await.unwrap();
    }
    let confirmed = || store.records().iter().all(|record| record.state == TransactionState::Confirmed);
    until("all are confirmed", confirmed).await;
    assert!(bank.running_max("confirm") <= 3, "{}", bank.running_max("confirm"));
    assert_eq!(bank.count("confirm"), 20);
}

#[tokio::test]
async fn a_handler_may_take_for_ever() {
    let (store, bank) = (MemoryStore::new(), Bank::default());
    let action = bank.action("debit", 1).with_policy(policy().phase_timeout(Duration::MAX));
    let runtime = quick(&store).actions("bank", [action]).start().await.unwrap();
    bank.script("confirm", &[Act::Slow(20)]);
    debit(&runtime).await;
    until_state(&store, TransactionState::Confirmed).await;
}
