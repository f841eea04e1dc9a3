//! What the tests share: a bank as a participant made by hand, processes that can be killed, a store that
//! can be made to fail.
#![allow(dead_code, unused_imports, reason = "each test uses a part of it")]

mod bank;
mod faults;
mod process;

use std::time::Duration;

pub(crate) use bank::*;
pub(crate) use faults::*;
pub(crate) use process::*;
use tcc::{
    Event, Gid, MemoryStore, Runtime, RuntimeBuilder,
    record::{Record, TransactionState},
    store::Store,
};

pub(crate) const SECOND: Duration = Duration::from_secs(1);
/// Longer than anything here takes; a test that waits so long has failed.
pub(crate) const LONG: Duration = Duration::from_secs(20);

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Quick sweeps, and leases that outlast a busy machine; tests of what follows a lease take shorter ones.
pub(crate) fn quick(store: &(impl Store + Clone)) -> RuntimeBuilder {
    Runtime::builder()
        .store(store.clone())
        .lease(ms(4_000))
        .drive_lease(ms(4_000))
        .sweep_interval(ms(10))
        .grace(Duration::from_secs(2))
}

/// A runtime that hosts a bank.
pub(crate) async fn host(store: &(impl Store + Clone), bank: &Bank) -> Runtime {
    hosting(store, bank).start().await.unwrap()
}

/// A builder that hosts a bank.
pub(crate) fn hosting(store: &(impl Store + Clone), bank: &Bank) -> RuntimeBuilder {
    quick(store).actions("bank", [bank.action("debit", 1), bank.action("credit", 1)])
}

/// A store, a bank, and a runtime that hosts it.
pub(crate) async fn start() -> (MemoryStore, Bank, Runtime) {
    let (store, bank) = (MemoryStore::new(), Bank::default());
    let runtime = host(&store, &bank).await;
    (store, bank, runtime)
}

/// Waits until this is true, no longer than [`LONG`].
pub(crate) async fn until(what: &str, mut check: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(LONG, async {
        while !check() {
            tokio::time::sleep(ms(2)).await;
        }
    });
    assert!(waited.await.is_ok(), "{what}: did not come true");
}

/// The same, for what takes an await to ask.
pub(crate) async fn until_async(what: &str, check: impl AsyncFn() -> bool) {
    let waited = tokio::time::timeout(LONG, async {
        while !check().await {
            tokio::time::sleep(ms(2)).await;
        }
    });
    assert!(waited.await.is_ok(), "{what}: did not come true");
}

/// Waits until the only transaction there is has come this far.
pub(crate) async fn until_state(store: &MemoryStore, state: TransactionState) -> Record {
    until(&format!("{state}: {:#?}", store.records()), || only_state(store) == Some(state)).await;
    only(store)
}

fn only_state(store: &MemoryStore) -> Option<TransactionState> {
    store.records().first().map(|record| record.state)
}

/// The only record there is.
pub(crate) fn only(store: &MemoryStore) -> Record {
    let mut records = store.records();
    assert_eq!(records.len(), 1, "{records:#?}");
    records.remove(0)
}

pub(crate) fn record(store: &MemoryStore, gid: &Gid) -> Record {
    store.records().into_iter().find(|record| record.gid == *gid).expect("it is kept")
}

/// The next event that this holds of.
pub(crate) async fn event(
    events: &mut tokio::sync::broadcast::Receiver<Event>,
    wanted: impl Fn(&Event) -> bool,
) -> Event {
    let found = tokio::time::timeout(LONG, async {
        loop {
            let event = events.recv().await.expect("events go on");
            if wanted(&event) {
                return event;
            }
        }
    });
    found.await.expect("the event comes")
}

/// An error and its causes, each once.
pub(crate) fn causes(error: &dyn std::error::Error) -> Vec<String> {
    std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect()
}

/// Asserts that a message names all of these.
pub(crate) fn assert_names(error: &dyn std::error::Error, parts: &[&str]) {
    let text = causes(error).join(": ");
    for part in parts {
        assert!(text.contains(part), "{part:?} is missing in: {text}");
    }
}
