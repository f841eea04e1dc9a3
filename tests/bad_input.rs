//! Bad input is refused, with a message that names the field, the limit and the way out.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use support::*;
use tcc::{
    Abort, Action, BusinessKey, MemoryStore, NotRun, Participant, Runtime, StartError, TransactionErrorKind,
    TryError, Tx, WireCall, record::Reason,
};

/// Awaits a call in a transaction of its own and gives why it did not run.
async fn not_run(runtime: &Runtime, call: impl Fn(&Tx) -> WireCall) -> NotRun {
    let open = runtime.transaction("transfer").begin().await.unwrap();
    match call(&open).await {
        Err(TryError::NotRun(why)) => why,
        other => panic!("it ran: {other:?}"),
    }
}

#[tokio::test]
async fn a_thousand_and_one_branches() {
    let (store, bank, runtime) = start().await;
    let open = runtime.transaction("transfer").wait_final(LONG).begin().await.unwrap();
    let calls = (0..1_001_u64).map(|amount| open.call("bank.debit@1", &amount));
    let Err(TryError::NotRun(refused)) = tcc::try_join_all(calls).await else { panic!() };
    assert_names(&refused, &[open.gid().as_str(), "1000 branches", "`branches_max`", "split"]);
    assert_eq!((bank.count("try"), store.records().len()), (0, 0), "all or none");

    // One by one it is the thousand-and-first that is refused, and the rest stands.
    let calls = (0..1_000_u64).map(|amount| open.call("bank.debit@1", &amount));
    tcc::try_join_all(calls).await.unwrap();
    let Err(TryError::NotRun(refused)) = open.call("bank.debit@1", &1).await else { panic!() };
    assert_names(&refused, &["1000 branches", "`branches_max`"]);
    open.cancel().await.unwrap();
    assert_eq!(bank.counts(), (1_000, 0, 1_000));
}

#[tokio::test]
async fn a_payload_over_its_limit() {
    let (store, _, runtime) = start().await;
    let text = "x".repeat(256 * 1_024 - 1);
    let refused = not_run(&runtime, |tx| tx.call("bank.debit@1", &text)).await;
    assert_names(
        &refused,
        &["bank.debit@1", "262145 bytes", "`payload_bytes_max` is 262144", "raise it or store a reference"],
    );
    assert_eq!(store.records(), []);
}

#[tokio::test]
async fn all_payloads_over_theirs() {
    let (store, _, runtime) = start().await;
    let open = runtime.transaction("transfer").begin().await.unwrap();
    let text = "x".repeat(256 * 1_024 - 2);
    let calls = (0..17).map(|_| open.call("bank.debit@1", &text));
    let Err(TryError::NotRun(refused)) = tcc::try_join_all(calls).await else { panic!() };
    assert_names(
        &refused,
        &[open.gid().as_str(), "4194304 bytes", "`transaction_payload_bytes_max`", "store references"],
    );
    assert_eq!(store.records(), [], "all or none");
    let calls = (0..16).map(|_| open.call("bank.debit@1", &text));
    // They fit exactly; that they are no amounts is the action's to say.
    assert!(matches!(tcc::try_join_all(calls).await, Err(TryError::Rejected(_))));
    assert_eq!(only(&store).branches.len(), 16);
}

#[tokio::test]
async fn a_float_json_cannot_hold() {
    let (store, _, runtime) = start().await;
    for (float, name) in [(f64::NAN, "NaN"), (f64::INFINITY, "inf"), (f64::NEG_INFINITY, "-inf")] {
        let refused = not_run(&runtime, |tx| tx.call("bank.debit@1", &float)).await;
        assert!(matches!(refused, NotRun::Arguments(_)));
        assert_names(&refused, &["argument", "JSON", name, "integer or text"]);
    }
    let folded = not_run(&runtime, |tx| tx.call("bank.debit@1", &Some(None::<u8>))).await;
    assert_names(&folded, &["Some(null)"]);
    assert_eq!(store.records(), []);
}

#[tokio::test]
async fn a_name_with_spaces() {
    let (store, bank, runtime) = start().await;
    for begun in [
        runtime.transaction("a transfer").begin().await.unwrap_err(),
        runtime.transaction("a transfer").key("17").run(async |_| Ok(())).await.unwrap_err(),
    ] {
        assert_eq!(begun.kind(), TransactionErrorKind::Invalid);
        assert_names(&begun, &["name", "\"a transfer\"", "1 to 128", "A-Z"]);
    }
    let action = not_run(&runtime, |tx| tx.call("bank.de bit@1", &10)).await;
    assert_names(&action, &["action", "\"bank.de bit@1\"", "inventory.reserve@1"]);

    let participant = quick(&store).actions("the bank", [bank.action("debit", 1)]).start().await.unwrap_err();
    assert_names(&participant, &["name", "\"the bank\"", "1 to 128"]);
    for name in ["de bit", "de.bit", ""] {
        let action = quick(&store).actions("bank", [bank.action(name, 1)]).start().await.unwrap_err();
        assert!(matches!(action, StartError::Name(_)));
        assert_names(&action, &["action", &format!("{name:?}"), "no dot"]);
    }
}

#[tokio::test]
async fn a_key_that_is_empty_or_too_long() {
    let (store, _, runtime) = start().await;
    for key in [String::new(), "k".repeat(513)] {
        let refused = runtime.transaction("order").key(&key).begin().await.unwrap_err();
        assert_eq!(refused.kind(), TransactionErrorKind::Invalid);
        assert_names(&refused, &["business key", "1 to 512 bytes"]);
    }
    assert_eq!(store.records(), []);
    runtime.transaction("order").key("k".repeat(512)).begin().await.unwrap();
    assert!(BusinessKey::new("order 17 / ä").is_ok());
}

#[tokio::test]
async fn an_action_registered_twice() {
    let (store, bank) = (MemoryStore::new(), Bank::default());
    let twice = [bank.action("debit", 1), bank.action("debit", 1)];
    let refused = quick(&store).actions("bank", twice).start().await.unwrap_err();
    assert!(matches!(refused, StartError::ActionTwice(_)));
    assert_names(&refused, &["`bank.debit@1`", "twice", "another name or version"]);

    // Reading an old version is serving it.
    let read = bank.action("debit", 2).reads(1, Ok::<_, std::io::Error>);
    let refused = quick(&store).actions("bank", [bank.action("debit", 1), read]).start().await.unwrap_err();
    assert_names(&refused, &["`bank.debit@1`", "twice"]);

    let refused = hosting(&store, &bank).actions("bank", []).start().await.unwrap_err();
    assert!(matches!(refused, StartError::ParticipantTwice(_)));
    assert_names(&refused, &["`bank`", "twice", "participant_as"]);
}

#[tokio::test]
async fn a_transaction_on_a_runtime_that_is_shutting_down() {
    let (_, bank, runtime) = start().await;
    bank.script("confirm", &[Act::Held]);
    let body = async |tx: &Tx| Ok(tx.call("bank.debit@1", &10).await?);
    runtime.transaction("transfer").run(body).await.unwrap();
    let stopping = tokio::spawn({
        let runtime = runtime.clone();
        async move { runtime.shutdown().await }
    });
    until_async("it is shutting down", async || !runtime.health().await.accepting).await;
    let refused = runtime.transaction("transfer").run(body).await.unwrap_err();
    assert_eq!(refused.kind(), TransactionErrorKind::ShuttingDown);
    assert_names(&refused, &["shutting down", "another process"]);
    bank.open_gate();
    stopping.await.unwrap();
}

#[tokio::test]
async fn run_inside_run() {
    let (_, _, runtime) = start().await;
    let nested = runtime.transaction("outer").run(async |_| {
        runtime.transaction("inner").run(async |_| Ok(())).await?;
        Ok(())
    });
    let error = nested.await.unwrap_err();
    let nested = error.abort().unwrap().downcast_ref::<tcc::TransactionError>().unwrap();
    assert_eq!(nested.kind(), TransactionErrorKind::Nested);
    assert_names(nested, &["`inner`", "inside", "hand its `Tx` down"]);
}

#[tokio::test]
async fn a_client_for_a_participant_nobody_registered() {
    let (store, _, runtime) = start().await;
    let refused = not_run(&runtime, |tx| tx.call("inventory.reserve@1", &10)).await;
    assert!(matches!(refused, NotRun::NoParticipant { .. }));
    assert_names(&refused, &["`inventory`", "not registered", "Runtime::builder().participant(..)", "bank"]);
    for action in ["bank.withdraw@1", "bank.debit@2"] {
        let refused = not_run(&runtime, |tx| tx.call(action, &10)).await;
        assert!(matches!(refused, NotRun::NoAction { .. }));
        assert_names(&refused, &["`bank`", action, "register"]);
    }
    assert_eq!(store.records(), []);
    let empty = quick(&store).start().await.unwrap();
    assert_names(&not_run(&empty, |tx| tx.call("bank.debit@1", &10)).await, &["registered: none"]);
}

#[tokio::test]
async fn a_join_with_one_bad_call_registers_nothing() {
    let (store, bank, runtime) = start().await;
    let open = runtime.transaction("transfer").begin().await.unwrap();
    let joined =
        async { tcc::try_join!(open.call("bank.debit@1", &10), open.call("inventory.reserve@1", &1)) };
    let error: Abort = joined.await.unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(NotRun::NoParticipant { .. })), "{error:?}");
    assert_eq!((store.records().len(), bank.count("try")), (0, 0));
    // The caller may handle it and go on: nothing has happened.
    open.call("bank.debit@1", &10).await.unwrap();
    open.commit().await.unwrap();
}

#[tokio::test]
async fn more_transactions_than_may_be_open() {
    let (store, bank) = (MemoryStore::new(), Bank::default());
    let runtime = hosting(&store, &bank).open_max(2).start().await.unwrap();
    let _one = runtime.transaction("transfer").begin().await.unwrap();
    let two = runtime.transaction("transfer").key("17").begin().await.unwrap();
    for refused in [
        runtime.transaction("transfer").begin().await.unwrap_err(),
        runtime.transaction("transfer").key("18").begin().await.unwrap_err(),
    ] {
        assert_eq!((refused.kind(), refused.is_retryable()), (TransactionErrorKind::Overloaded, true));
        assert_names(&refused, &["2 transactions", "`open_max`", "later"]);
    }
    drop(two);
    until_async("there is room again", async || runtime.transaction("transfer").begin().await.is_ok()).await;
}

#[tokio::test]
async fn a_timeout_of_no_time() {
    let (_, _, runtime) = start().await;
    let refused = runtime.transaction("transfer").timeout(Duration::ZERO).begin().await.unwrap_err();
    assert_eq!(refused.kind(), TransactionErrorKind::Invalid);
    assert_names(&refused, &["timeout", "1 ms"]);
}

#[tokio::test]
async fn settings_out_of_range_are_refused_by_name() {
    let (store, bank) = (MemoryStore::new(), Bank::default());
    let zero = Duration::ZERO;
    let begin = || hosting(&store, &bank);
    for (field, builder) in [
        ("timeout", begin().timeout(zero)),
        ("lease", begin().lease(zero)),
        ("lease", begin().lease(Duration::MAX)),
        ("drive_lease", begin().drive_lease(zero)),
        ("drive_lease", begin().drive_lease(Duration::MAX)),
        ("sweep_interval", begin().sweep_interval(zero)),
        ("sweep_interval", begin().sweep_interval(Duration::MAX)),
        ("store_timeout", begin().store_timeout(zero)),
        ("store_timeout", begin().store_timeout(Duration::MAX)),
        ("open_max", begin().open_max(0)),
        ("drives_max", begin().drives_max(0)),
        ("branches_max", begin().branches_max(0)),
        ("branches_max", begin().branches_max(65_536)),
        ("payload_bytes_max", begin().payload_bytes_max(0)),
        ("transaction_payload_bytes_max", begin().transaction_payload_bytes_max(0)),
        ("retention", begin().retention(zero)),
        ("retention", begin().timeout(Duration::MAX)),
        ("retention", begin().replay_window(Duration::MAX)),
    ] {
        let refused = builder.start().await.unwrap_err();
        let StartError::Setting { field: named, rule } = &refused else { panic!("{field}: {refused}") };
        assert_eq!(*named, field);
        assert_names(&refused, &[&format!("`{field}`"), "must be", rule]);
    }
    let unbounded = begin().open_max(usize::MAX).drives_max(usize::MAX).start().await.unwrap();
    assert_eq!(unbounded.health().await.open_transactions, 0);
}

#[tokio::test]
async fn a_runtime_without_a_store() {
    let refused = Runtime::builder().start().await.unwrap_err();
    assert!(matches!(refused, StartError::NoStore));
    assert_names(&refused, &["Runtime::builder().store(..)"]);
}

#[test]
fn a_runtime_outside_tokio() {
    let started = futures_util::FutureExt::now_or_never(quick(&MemoryStore::new()).start());
    let refused = started.expect("it does not wait").unwrap_err();
    assert!(matches!(refused, StartError::NoTokio));
    assert_names(&refused, &["Tokio", "#[tokio::main]"]);
}

#[tokio::test]
async fn a_store_that_does_not_answer_at_start() {
    let (store, bank) = (MemoryStore::new(), Bank::default());
    for (call, fault) in
        [("now", Fault::Refuse), ("now", Fault::Hang), ("open", Fault::Refuse), ("open", Fault::Hang)]
    {
        let faulty = Faulty::over(&store);
        faulty.fail(call, &[fault]);
        let refused = hosting(&faulty, &bank).store_timeout(ms(50)).start().await.unwrap_err();
        assert!(matches!(refused, StartError::Store(_)), "{call}: {refused}");
        assert_eq!(causes(&refused).len(), 2, "{refused:?}");
    }
}

/// A participant by hand, for a typed value.
struct Ledger;

impl Participant for Ledger {
    const NAME: &'static str = "ledger";

    fn actions(_: &std::sync::Arc<Self>) -> Vec<Action> {
        vec![Bank::default().action("debit", 1)]
    }
}

#[tokio::test]
async fn one_type_under_two_names_is_two_participants() {
    let store = MemoryStore::new();
    let refused = quick(&store).participant(Ledger).participant(Ledger).start().await.unwrap_err();
    assert_names(&refused, &["`ledger`", "participant_as"]);
    let both = quick(&store).participant(Ledger).participant_as("other", Ledger).start().await.unwrap();
    let body =
        async |tx: &Tx| Ok(tcc::try_join!(tx.call("ledger.debit@1", &1), tx.call("other.debit@1", &2))?);
    both.transaction("transfer").wait_final(LONG).run(body).await.unwrap();
}

#[tokio::test]
async fn a_commit_after_a_call_that_did_not_run_is_allowed_and_after_an_unknown_one_is_not() {
    let (_, bank, runtime) = start().await;
    let open = runtime.transaction("transfer").wait_final(LONG).begin().await.unwrap();
    assert!(open.call("inventory.reserve@1", &1).await.is_err());
    open.call("bank.debit@1", &1).await.unwrap();
    open.commit().await.unwrap();
    bank.script("try", &[Act::Panic]);
    let open = runtime.transaction("transfer").begin().await.unwrap();
    assert!(open.call("bank.debit@1", &1).await.is_err());
    let error = open.commit().await.unwrap_err();
    assert_eq!(error.kind(), TransactionErrorKind::Cancelled(Reason::UnknownOutcome));
}
