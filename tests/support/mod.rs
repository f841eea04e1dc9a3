//! What the tests share: a bank as a participant made by hand, processes that can be killed, a store that
//! can be made to fail.
#![allow(dead_code, unused_imports, reason = "each test uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bank;
mod faults;
mod paused;
mod process;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

pub(crate) use bank::*;
pub(crate) use faults::*;
pub(crate) use paused::*;
pub(crate) use process::*;
use tcc::{
    ActionName, CallId, Event, Gid, MemoryStore, Name, Ordinal, Payload, Runtime, RuntimeBuilder, Timestamp,
    machine::{Create, Decide, Heard, NewBranch, Op, Register},
    record::{Direction, Known, Reason, Record, TransactionState},
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

/// Writes a transaction of one tried branch into a store, decided to be confirmed, as a process that died
/// left it.
pub(crate) fn leave_behind(store: &MemoryStore, action: &str, arguments: &str, result: &str) -> Gid {
    let (name, action) = (Name::new("left-behind").unwrap(), ActionName::new(action).unwrap());
    // In the past of every clock here: nothing about it is waited for.
    let now = Timestamp::from_millis(1_000);
    let gid = Gid::new(now, store.records().len() as u64, 0);
    let create = Create {
        gid: gid.clone(),
        name: name.clone(),
        key: None,
        initiator: name.clone(),
        deadline_at: Timestamp::MAX,
        lease_ms: 60_000,
        retention_ms: 60_000,
    };
    let call = CallId::top(1);
    let branch =
        NewBranch { call, runner: None, action, trace: None, arguments: Payload::from_json(arguments) };
    let (branches_max, payload_bytes_max) = (1, 1_000);
    let register = Register { create: Some(create), branches: vec![branch], branches_max, payload_bytes_max };
    let heard =
        Heard { ordinal: Ordinal::from_index(0), known: Some(Known::Succeeded(Payload::from_json(result))) };
    let (direction, reason) = (Direction::Confirm, Reason::Committed);
    let decide = Decide { direction, reason, by: name, create: None, heard: vec![heard], inline: None };
    for op in [Op::from(register), Op::from(decide)] {
        store.apply_now(&gid, &op).0.result.unwrap();
    }
    gid
}

pub(crate) fn wall_clock() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Timestamp::from_millis(since.as_millis() as u64)
}

/// A store on a clock that stands until it is moved.
pub(crate) fn stopped_clock(shards: u16) -> (MemoryStore, Arc<AtomicU64>) {
    let clock = Arc::new(AtomicU64::new(1_795_000_000_000));
    let reads = Arc::clone(&clock);
    let store = MemoryStore::with(shards, move || Timestamp::from_millis(reads.load(Ordering::SeqCst)));
    (store, clock)
}

pub(crate) fn move_clock(clock: &AtomicU64, by: Duration) {
    clock.fetch_add(by.as_millis() as u64, Ordering::SeqCst);
}
