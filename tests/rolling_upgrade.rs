//! Versions of an action live together while processes are replaced one by one.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::io;

use support::*;
use tcc::{
    Action, CancelCx, ConfirmCx, Event, MemoryStore, NotRun, PhaseError, Stored, TryCx, TryError, TryOutcome,
    record::{ParkCause, TransactionState},
};

/// `bank.debit@2`: takes an amount and a currency.
fn debit_2(confirmed: impl Fn(Amount, String) + Send + Sync + 'static) -> Action {
    let confirmed = std::sync::Arc::new(confirmed);
    Action::new(
        "debit",
        2,
        |_: TryCx, _: Amount| async { Ok::<_, Insufficient>(String::new()) },
        move |_: ConfirmCx, amount: Amount, hold: String| {
            let confirmed = confirmed.clone();
            async move {
                confirmed(amount, hold);
                Ok::<_, PhaseError>(())
            }
        },
        |_: CancelCx, _: Amount, _: TryOutcome<String>| async { Ok::<_, PhaseError>(()) },
    )
    .with_policy(policy())
}

#[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Amount {
    cents: u64,
    currency: String,
}

fn in_euro(mut stored: Stored) -> Result<Stored, io::Error> {
    let euro = stored.arguments.as_u64().ok_or_else(|| io::Error::other("an amount is a number"))?;
    stored.arguments = serde_json::json!({ "cents": euro * 100, "currency": "EUR" });
    Ok(stored)
}

#[tokio::test]
async fn rule_10_an_unknown_version_is_handed_on_until_a_process_that_knows_it_comes() {
    let (store, old, new) = (MemoryStore::new(), Bank::named("old"), Bank::named("new"));
    leave_behind(&store, "bank.debit@2", "10", "\"hold\"");
    // The in-memory store always wakes the same of two listeners first; a queue would take turns.
    let faulty = Faulty::over(&store);
    faulty.set_late_listener(true);
    let old_process = host(&faulty, &old).await;
    let mut events = old_process.events();
    let unhandled = event(&mut events, |event| matches!(event, Event::Unhandled { .. })).await;
    assert!(matches!(unhandled, Event::Unhandled { action, .. } if action.as_str() == "bank.debit@2"));
    until("it is handed on", || only(&store).branches[0].unhandled_since.is_some()).await;
    assert_eq!(only(&store).branches[0].attempts, 0, "handing on spends no attempt");

    let _new_process = quick(&store).actions("bank", [new.action("debit", 2)]).start().await.unwrap();
    let record = until_state(&store, TransactionState::Confirmed).await;
    assert_eq!((old.count("confirm"), new.count("confirm"), record.branches[0].attempts), (0, 1, 1));
}

#[tokio::test]
async fn rule_10_a_version_that_nobody_takes_for_long_is_parked() {
    let (store, bank) = (MemoryStore::new(), Bank::default());
    let gid = leave_behind(&store, "bank.debit@2", "10", "\"hold\"");
    let runtime = hosting(&store, &bank).unhandled_limit(ms(10)).start().await.unwrap();
    until("it is parked", || only(&store).branches[0].parked.is_some()).await;
    let branch = only(&store).branches.remove(0);
    assert_eq!(branch.parked.unwrap().cause, ParkCause::UnknownAction);
    let error = branch.last_error.unwrap();
    assert!(error.contains("bank.debit@2") && error.contains("`unhandled_limit`"), "{error}");

    // The version comes after all, and an operator sets the branch going.
    let new = Bank::named("new");
    let _new = quick(&store).actions("bank", [new.action("debit", 2)]).start().await.unwrap();
    runtime.shutdown().await;
    runtime.redrive(&gid, &[]).await.unwrap();
    until_state(&store, TransactionState::Confirmed).await;
    assert_eq!(new.count("confirm"), 1);
}

#[tokio::test]
async fn payloads_of_an_older_version_are_rewritten_for_the_one_that_reads_them() {
    let store = MemoryStore::new();
    leave_behind(&store, "bank.debit@1", "10", "\"hold-10\"");
    let (tell, told) = std::sync::mpsc::channel();
    let action = debit_2(move |amount, hold| tell.send((amount, hold)).unwrap()).reads(1, in_euro);
    let runtime = quick(&store).actions("bank", [action]).start().await.unwrap();
    until_state(&store, TransactionState::Confirmed).await;
    let amount = Amount { cents: 1_000, currency: "EUR".into() };
    assert_eq!(told.recv().unwrap(), (amount, "hold-10".into()));

    // It serves the old version's phase two, not new tries of it.
    let open = runtime.transaction("transfer").begin().await.unwrap();
    let old = open.call("bank.debit@1", &10).await;
    assert!(matches!(old, Err(TryError::NotRun(NotRun::NoAction { .. }))));
    open.call("bank.debit@2", &Amount { cents: 1, currency: "EUR".into() }).await.unwrap();
    assert_eq!(runtime.health().await.unhandled, []);
}

#[tokio::test]
async fn a_payload_that_an_upgrade_cannot_rewrite_is_parked_with_its_cause() {
    let store = MemoryStore::new();
    leave_behind(&store, "bank.debit@1", "\"ten\"", "\"hold\"");
    let action = debit_2(|_, _| {}).reads(1, in_euro);
    let _runtime = quick(&store).actions("bank", [action]).start().await.unwrap();
    until("it is parked", || only(&store).branches[0].parked.is_some()).await;
    let branch = only(&store).branches.remove(0);
    assert_eq!(branch.parked.unwrap().cause, ParkCause::Undecodable);
    let error = branch.last_error.unwrap();
    assert!(error.contains("version 1") && error.contains("an amount is a number"), "{error}");
}

#[tokio::test]
async fn a_start_lists_the_actions_in_flight_that_it_cannot_serve() {
    let (store, bank) = (MemoryStore::new(), Bank::default());
    let foreign = leave_behind(&store, "bank.debit@9", "10", "\"hold\"");
    leave_behind(&store, "bank.debit@1", "10", "\"hold\"");
    leave_behind(&store, "elsewhere.reserve@1", "10", "\"hold\"");
    let runtime = host(&store, &bank).await;
    let unhandled: Vec<_> = runtime.health().await.unhandled;
    assert_eq!(unhandled.len(), 1, "{unhandled:?}");
    assert_eq!((&unhandled[0].0, unhandled[0].1.as_str()), (&foreign, "bank.debit@9"));
}
