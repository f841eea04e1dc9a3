//! A stock as a participant, in services of its own over one store.
#![allow(dead_code, reason = "each test uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs::OpenOptions,
    io::Write,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    http::{HeaderMap, HeaderValue, StatusCode},
};
use tcc::{
    CancelCx, ConfirmCx, ContextKey, Gid, MemoryStore, PhaseError, Runtime, RuntimeBuilder, TransactionError,
    TransactionErrorKind, TryCx, TryOutcome,
    record::{Reason, Record},
    store::Store,
};
use tcc_propagate::{
    AllowedHosts,
    headers::{CALL, DEADLINE_MS, GID, NAME, SEAL},
    reqwest::Client,
};

/// Longer than anything here takes; a test that waits so long has failed.
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// Names the file in which processes note what ran in them.
pub(crate) const JOURNAL: &str = "TCC_TEST_JOURNAL";

#[derive(Debug, thiserror::Error)]
#[error("out of stock")]
pub(crate) struct OutOfStock;

/// What ran, as words.
#[derive(Clone, Default)]
pub(crate) struct Journal(Arc<Mutex<Vec<String>>>);

impl Journal {
    pub(crate) fn note(&self, what: &str) {
        self.0.lock().unwrap().push(what.to_owned());
        if let Ok(path) = std::env::var(JOURNAL) {
            let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
            file.write_all(format!("{what}\n").as_bytes()).unwrap();
        }
    }

    pub(crate) fn count(&self, what: &str) -> usize {
        self.0.lock().unwrap().iter().filter(|noted| *noted == what).count()
    }

    /// Tries, confirms and cancels.
    pub(crate) fn counts(&self) -> (usize, usize, usize) {
        (self.count("try"), self.count("confirm"), self.count("cancel"))
    }
}

#[derive(Clone, Default)]
pub(crate) struct Stock {
    pub(crate) journal: Journal,
}

#[tcc::participant(name = "stock")]
impl Stock {
    #[tcc(try, confirm = confirm_reserve, cancel = cancel_reserve, timeout = "5s", retry(max = 20, base = "10ms", cap = "100ms"))]
    pub(crate) async fn reserve(&self, _cx: &TryCx, sku: String, qty: u32) -> Result<String, OutOfStock> {
        self.journal.note("try");
        match sku.as_str() {
            "none" => return Err(OutOfStock),
            "slow" => tokio::time::sleep(Duration::from_secs(2)).await,
            _ => {}
        }
        Ok(format!("{sku}-{qty}"))
    }

    async fn confirm_reserve(
        &self,
        _cx: &ConfirmCx,
        _sku: String,
        _qty: u32,
        _hold: String,
    ) -> Result<(), PhaseError> {
        self.journal.note("confirm");
        Ok(())
    }

    async fn cancel_reserve(
        &self,
        _cx: &CancelCx,
        _sku: String,
        _qty: u32,
        _hold: TryOutcome<String>,
    ) -> Result<(), PhaseError> {
        self.journal.note("cancel");
        Ok(())
    }
}

pub(crate) fn quick(store: &(impl Store + Clone)) -> RuntimeBuilder {
    Runtime::builder()
        .store(store.clone())
        .sweep_interval(Duration::from_millis(20))
        .grace(Duration::from_secs(2))
}

/// A runtime that hosts nothing, and one that hosts a stock.
pub(crate) async fn two(store: &(impl Store + Clone)) -> (Runtime, Runtime, Journal) {
    started(quick(store), quick(store)).await
}

/// The same, of these builders.
pub(crate) async fn started(front: RuntimeBuilder, stock: RuntimeBuilder) -> (Runtime, Runtime, Journal) {
    let participant = Stock::default();
    let journal = participant.journal.clone();
    let front = front.start().await.unwrap();
    (front, stock.participant(participant).start().await.unwrap(), journal)
}

/// A key of one secret, made of this letter.
pub(crate) fn key(letter: u8) -> ContextKey {
    ContextKey::new([letter; 32]).unwrap()
}

/// A context's headers, altered in each part that a seal covers to what could be joined without it, and in the seal.
pub(crate) fn altered(good: &HeaderMap, other: &Gid, seal_of_another: &HeaderValue) -> Vec<HeaderMap> {
    let millis: u64 = good[&DEADLINE_MS].to_str().unwrap().parse().unwrap();
    let mut last_digit = good[&SEAL].to_str().unwrap().to_owned();
    let flipped = if last_digit.pop() == Some('0') { '1' } else { '0' };
    last_digit.push(flipped);
    let parts = [
        (GID, other.as_str().parse().unwrap()),
        (NAME, HeaderValue::from_static("checkouts")),
        (CALL, HeaderValue::from_static("2")),
        (DEADLINE_MS, HeaderValue::from(millis + 1)),
        (DEADLINE_MS, HeaderValue::from(millis - 1)),
        (SEAL, last_digit.parse().unwrap()),
        (SEAL, seal_of_another.clone()),
    ];
    let altered = parts.into_iter().map(|(name, value)| {
        let mut headers = good.clone();
        assert_ne!(headers.insert(&name, value.clone()), Some(value), "{name} is altered");
        headers
    });
    altered.collect()
}

/// Serves routes on a port of their own, and gives `127.0.0.1:port`.
pub(crate) async fn serve(routes: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, routes).await });
    address.to_string()
}

pub(crate) fn client(hosts: &[&str]) -> Client {
    Client::new(reqwest::Client::builder().timeout(LONG), AllowedHosts::new(hosts).unwrap()).unwrap()
}

pub(crate) fn reason(error: &TransactionError) -> Reason {
    match error.kind() {
        TransactionErrorKind::Cancelled(reason) => reason,
        other => panic!("{other:?}: {error}"),
    }
}

pub(crate) fn only(store: &MemoryStore) -> Record {
    let mut records = store.records();
    assert_eq!(records.len(), 1, "{records:#?}");
    records.remove(0)
}

/// Waits until this is true, no longer than [`LONG`].
pub(crate) async fn until(what: &str, mut check: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(LONG, async {
        while !check() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(waited.await.is_ok(), "{what}: did not come true");
}

/// How a service answers a try that was rejected.
pub(crate) fn refusal(error: impl std::error::Error) -> (StatusCode, String) {
    (StatusCode::UNPROCESSABLE_ENTITY, error.to_string())
}
