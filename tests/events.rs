//! What a runtime tells those who listen to it, and those who ask how it is.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use support::*;
use tcc::{
    Config, Event, MemoryStore, Runtime, Tx,
    record::{Direction, Reason, Seen, TransactionState},
};
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

async fn debit(runtime: &Runtime) {
    let body = async |tx: &Tx| Ok(tx.call("bank.debit@1", &10).await?);
    runtime.transaction("transfer").wait_final(LONG).run(body).await.unwrap();
}

#[tokio::test]
async fn a_transaction_tells_its_life_in_order() {
    let (store, _, runtime) = start().await;
    let mut events = runtime.events();
    debit(&runtime).await;
    let gid = only(&store).gid;
    let mut told = Vec::new();
    while let Ok(event) = events.try_recv() {
        told.push(match event {
            Event::Begun { gid: of, name } if of == gid => format!("begun {name}"),
            Event::Registered { gid: of, branch, action } if of == gid => {
                format!("registered {branch} {action}")
            }
            Event::Tried { gid: of, branch, outcome: Seen::Succeeded, late: false } if of == gid => {
                format!("tried {branch}")
            }
            Event::Decided { gid: of, decision } if of == gid => format!("decided {}", decision.direction),
            Event::BranchFinal { gid: of, branch, direction, attempt: 1 } if of == gid => {
                format!("final {branch} {direction}")
            }
            event => format!("{event:?}"),
        });
    }
    let life =
        ["begun transfer", "registered 01 bank.debit@1", "tried 01", "decided confirm", "final 01 confirm"];
    assert_eq!(told, life);
}

#[tokio::test]
async fn a_refused_try_is_told_as_refused() {
    let (_, bank, runtime) = start().await;
    bank.script("try", &[Act::Fail]);
    let mut events = runtime.events();
    let body = async |tx: &Tx| Ok(tx.call("bank.debit@1", &10).await?);
    runtime.transaction("transfer").run(body).await.unwrap_err();
    let tried = event(&mut events, |event| matches!(event, Event::Tried { .. })).await;
    assert!(matches!(tried, Event::Tried { outcome: Seen::Refused, late: false, .. }));
    let ended = event(&mut events, |event| matches!(event, Event::BranchFinal { .. })).await;
    assert!(matches!(ended, Event::BranchFinal { direction: Direction::Cancel, .. }));
}

#[tokio::test]
async fn a_store_that_fails_background_work_is_told_and_the_work_goes_on() {
    let (store, bank) = (MemoryStore::new(), Bank::default());
    let faulty = Faulty::over(&store);
    faulty.fail("listen", &[Fault::Refuse]);
    let runtime = host(&faulty, &bank).await;
    let mut events = runtime.events();
    faulty.fail("due", &[Fault::Refuse, Fault::Corrupt]);
    let told = event(&mut events, |event| matches!(event, Event::StoreTrouble { .. })).await;
    let Event::StoreTrouble { doing, gid, error } = told else { unreachable!() };
    assert!(!doing.is_empty() && !error.is_empty() && gid.is_none());
    // It listens and sweeps again: what was left behind is found.
    leave_behind(&store, "bank.debit@1", "10", "\"hold\"");
    until_state(&store, TransactionState::Confirmed).await;
}

#[tokio::test]
async fn an_operators_cancel_is_told() {
    let (_, _, runtime) = start().await;
    let mut events = runtime.events();
    let open = runtime.transaction("transfer").begin().await.unwrap();
    open.call("bank.debit@1", &10).await.unwrap();
    runtime.cancel(open.gid()).await.unwrap();
    let told = event(&mut events, |event| matches!(event, Event::Decided { .. })).await;
    let Event::Decided { gid, decision } = told else { unreachable!() };
    assert_eq!((&gid, decision.reason), (open.gid(), Reason::Operator));
}

#[tokio::test]
async fn a_slow_listener_loses_the_oldest_and_holds_nobody_up() {
    let (store, bank) = (MemoryStore::new(), Bank::default());
    let mut config = Config::default();
    config.events_max = 2;
    let actions = [bank.action("debit", 1)];
    let runtime =
        Runtime::builder().store(store).config(config).actions("bank", actions).start().await.unwrap();
    let mut events = runtime.events();
    debit(&runtime).await;
    assert!(matches!(events.recv().await, Err(RecvError::Lagged(3))));
    assert!(matches!(events.recv().await, Ok(Event::Decided { .. })));
    assert!(matches!(events.recv().await, Ok(Event::BranchFinal { .. })));
    assert!(matches!(events.try_recv(), Err(TryRecvError::Empty)));
}

#[tokio::test]
async fn health_counts_what_is_open_and_what_is_driven() {
    let (store, bank, runtime) = start().await;
    let idle = runtime.health().await;
    assert!(idle.ready && idle.accepting && idle.store.is_ok());
    assert_eq!((idle.open_transactions, idle.drives, idle.unhandled), (0, 0, vec![]));

    bank.script("confirm", &[Act::Held]);
    let open = runtime.transaction("transfer").begin().await.unwrap();
    open.call("bank.debit@1", &10).await.unwrap();
    assert_eq!(runtime.health().await.open_transactions, 1);
    open.commit().await.unwrap();
    let busy = runtime.health().await;
    assert_eq!((busy.drives, busy.ready), (1, true));
    bank.open_gate();
    until_state(&store, TransactionState::Confirmed).await;
    until_async("nothing is left", async || {
        let health = runtime.health().await;
        health.open_transactions == 0 && health.drives == 0
    })
    .await;
}

#[tokio::test]
async fn health_tells_a_store_that_is_away_or_does_not_answer() {
    let (store, bank) = (MemoryStore::new(), Bank::default());
    let faulty = Faulty::over(&store);
    let runtime = hosting(&faulty, &bank).sweep_interval(LONG).start().await.unwrap();
    faulty.set_away(true);
    let away = runtime.health().await;
    assert!(!away.ready && away.accepting);
    assert_names(&away.store.unwrap_err(), &["connection refused"]);
    faulty.set_away(false);
    faulty.fail("now", &[Fault::Hang]);
    let silent = runtime.health().await;
    assert!(!silent.ready && silent.store_silence > ms(0));
    assert_names(&silent.store.unwrap_err(), &["within a second"]);
    assert!(runtime.health().await.ready);
}
