//! Contexts under a key, over real HTTP: what was altered on its way, or sealed by a stranger, is not joined.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use axum::{
    Json, Router,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode},
    routing::{get, post},
};
use proptest::{
    prelude::*,
    test_runner::{RngSeed, TestRunner},
};
use support::*;
use tcc::{ContextKey, JoinError, MemoryStore, OpenTransaction, RemoteCall, Runtime, record::Reason};
use tcc_propagate::{
    JoinLayer,
    axum::JoinedTx,
    headers::{self, BRANCHES, CALL, DEADLINE_MS, GID, NAME, SEAL},
    reqwest::Client,
};

async fn reserve(
    tx: JoinedTx,
    Json((sku, qty)): Json<(String, u32)>,
) -> Result<String, (StatusCode, String)> {
    StockTcc::new(&tx).reserve(sku, qty).await.map_err(refusal)
}

/// A front and a stock that is asked over HTTP, each with its key, or without one.
struct Shop {
    store: MemoryStore,
    journal: Journal,
    front: Runtime,
    stock: Runtime,
    host: String,
    http: Client,
}

impl Shop {
    async fn open(front: Option<ContextKey>, stock: Option<ContextKey>) -> Self {
        let store = MemoryStore::new();
        let builder = |key: Option<ContextKey>| match key {
            Some(key) => quick(&store).context_key(key),
            None => quick(&store),
        };
        let (front, stock, journal) = started(builder(front), builder(stock)).await;
        let routes = Router::new()
            .route("/reserve", post(reserve))
            .route("/maybe", get(async |tx: Option<JoinedTx>| tx.is_some().to_string()))
            .layer(JoinLayer::new(stock.clone()));
        let host = serve(routes).await;
        let http = client(&[&host]);
        Self { store, journal, front, stock, host, http }
    }

    /// A transaction, one of its calls, and that call's headers.
    async fn call(&self) -> (OpenTransaction, RemoteCall, HeaderMap) {
        let open = self.front.transaction("checkout").timeout(LONG).wait_final(LONG).begin().await.unwrap();
        let call = open.remote_call().await.unwrap();
        let mut headers = HeaderMap::new();
        headers::write(&call, &mut headers).unwrap();
        (open, call, headers)
    }

    fn order(&self) -> reqwest::RequestBuilder {
        self.http.requests().post(format!("http://{}/reserve", self.host)).json(&("tea", 1))
    }

    /// Status and text of the answer to an order with these headers.
    async fn sent(&self, headers: &HeaderMap) -> (u16, String) {
        let answer = self.order().headers(headers.clone()).send().await.unwrap();
        let status = answer.status();
        assert_eq!(answer.headers().contains_key(BRANCHES), status.is_success(), "{status}");
        (status.as_u16(), answer.text().await.unwrap())
    }

    fn registered(&self) -> usize {
        self.store.records().iter().map(|record| record.branches.len()).sum()
    }
}

#[tokio::test]
async fn a_context_altered_in_any_part_is_refused_and_registers_nothing() {
    let shop = Shop::open(Some(key(b'a')), Some(key(b'a'))).await;
    let (open, call, good) = shop.call().await;
    let (other, _call, others) = shop.call().await;
    for headers in altered(&good, other.gid(), &others[&SEAL]) {
        let (status, text) = shop.sent(&headers).await;
        assert_eq!(status, 403, "{headers:?}: {text}");
        assert!(text.contains("does not fit"), "{text}");
        assert_eq!((shop.registered(), shop.journal.count("try")), (0, 0), "{headers:?}");
    }
    let answer = shop.http.send_call(&call, shop.order()).await.unwrap();
    assert_eq!((answer.status().as_u16(), &answer.headers()[BRANCHES]), (200, &"s".parse().unwrap()));
    open.commit().await.unwrap();
    assert_eq!(shop.journal.counts(), (1, 1, 0));
}

#[tokio::test]
async fn without_a_key_seals_are_not_looked_at() {
    let shop = Shop::open(Some(key(b'a')), None).await;
    let (_open, _call, good) = shop.call().await;
    let (other, _call, others) = shop.call().await;
    assert_eq!(shop.sent(&good).await.0, 200);
    for headers in altered(&good, other.gid(), &others[&SEAL]) {
        let (status, text) = shop.sent(&headers).await;
        assert_eq!(status, 200, "only a seal tells that it was altered: {headers:?}: {text}");
    }
}

#[tokio::test]
async fn a_context_without_a_seal_or_of_another_secret_is_refused_and_forbids_commit() {
    for (front, says) in [(None, "has no seal"), (Some(key(b'b')), "does not fit")] {
        let shop = Shop::open(front, Some(key(b'a'))).await;
        let (open, call, _) = shop.call().await;
        let answer = shop.http.send_call(&call, shop.order()).await.unwrap();
        assert_eq!(answer.status(), 403);
        assert!(!answer.headers().contains_key(BRANCHES));
        let text = answer.text().await.unwrap();
        assert!(text.contains(says), "{text}");
        assert_eq!((shop.registered(), shop.journal.count("try")), (0, 0));
        assert_eq!(reason(&open.commit().await.unwrap_err()), Reason::PendingCall);
    }
}

#[tokio::test]
async fn a_seal_that_is_none_is_refused_like_any_other_part() {
    let shop = Shop::open(Some(key(b'a')), Some(key(b'a'))).await;
    let (_open, _call, good) = shop.call().await;
    let with = |value: &str| {
        let mut headers = good.clone();
        headers.insert(SEAL, value.parse().unwrap());
        headers
    };
    let mut twice = good.clone();
    twice.append(SEAL, good[&SEAL].clone());
    for (headers, status, says) in [
        (with(""), 400, "`tcc-seal` cannot be read"),
        (with(&good[&SEAL].to_str().unwrap()[1..]), 400, "`tcc-seal` cannot be read"),
        (with(&"z".repeat(64)), 400, "`tcc-seal` cannot be read"),
        (with(&"0".repeat(129)), 431, "129 bytes"),
        (twice, 400, "`tcc-seal` comes more than once"),
    ] {
        let (got, text) = shop.sent(&headers).await;
        assert_eq!(got, status, "{text}");
        assert!(text.contains(says), "{text}");
    }
    // What lost all but its seal belongs to a transaction, though nobody knows to which.
    let mut alone = HeaderMap::new();
    alone.insert(SEAL, good[&SEAL].clone());
    let maybe = shop.http.requests().get(format!("http://{}/maybe", shop.host));
    assert_eq!(maybe.headers(alone).send().await.unwrap().status(), 400);
    assert_eq!(shop.registered(), 0);
}

#[tokio::test]
async fn while_a_secret_is_replaced_the_old_one_is_taken_too() {
    let both = || key(b'n').also_accept([b'o'; 32]).unwrap();
    for (front, stock, status) in [
        (key(b'o'), both(), 200),
        (key(b'n'), both(), 200),
        (both(), key(b'n'), 200),
        (both(), key(b'o'), 403),
        (key(b'x'), both(), 403),
    ] {
        let told = format!("{front:?} to {stock:?}");
        let shop = Shop::open(Some(front), Some(stock)).await;
        let (_open, _call, good) = shop.call().await;
        assert_eq!(shop.sent(&good).await.0, status, "{told}");
    }
}

#[tokio::test]
async fn while_a_key_is_introduced_a_context_without_a_seal_is_taken_and_an_altered_one_is_not() {
    let shop = Shop::open(Some(key(b'a')), Some(key(b'a').accept_unsealed())).await;
    let (_open, _call, good) = shop.call().await;
    let (other, _call, others) = shop.call().await;
    for headers in altered(&good, other.gid(), &others[&SEAL]) {
        assert_eq!(shop.sent(&headers).await.0, 403, "{headers:?}");
    }
    let mut unsealed = good.clone();
    unsealed.remove(SEAL);
    assert_eq!([shop.sent(&unsealed).await.0, shop.sent(&good).await.0], [200, 200]);
}

#[tokio::test]
async fn a_service_that_joined_seals_what_it_calls_in_turn() {
    let shop = Shop::open(Some(key(b'a')), Some(key(b'a'))).await;
    let (_open, call, _) = shop.call().await;
    let middle = quick(&shop.store).context_key(key(b'a')).start().await.unwrap();
    let joined = middle.join(call.context().unwrap()).await.unwrap();
    let behind = joined.remote_call().await.unwrap();
    let answer = shop.http.send_call(&behind, shop.order()).await.unwrap();
    assert_eq!(answer.status(), 200);
}

#[test]
fn no_single_byte_of_a_sealed_context_can_be_another() {
    let tokio = tokio::runtime::Runtime::new().unwrap();
    let shop = tokio.block_on(Shop::open(Some(key(b'a')), Some(key(b'a'))));
    let (_open, _call, good) = tokio.block_on(shop.call());
    let changes = (
        proptest::sample::select(vec![GID, NAME, CALL, DEADLINE_MS, SEAL]),
        any::<prop::sample::Index>(),
        1..=255_u8,
    );
    let mut read = 0;
    let mut change = |(name, at, by): (HeaderName, prop::sample::Index, u8)| {
        let mut bytes = good[&name].as_bytes().to_vec();
        bytes[at.index(good[&name].len())] ^= by;
        // What is no header at all does not arrive.
        let Ok(value) = HeaderValue::from_bytes(&bytes) else { return Ok(()) };
        let mut headers = good.clone();
        headers.insert(&name, value);
        let Ok(context) = headers::read(&headers) else { return Ok(()) };
        read += 1;
        let joined = tokio.block_on(shop.stock.join(context));
        prop_assert!(matches!(joined, Err(JoinError::WrongSeal(_))), "{:?}: {:?}", headers, joined);
        Ok(())
    };
    let config = ProptestConfig {
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(5),
        ..ProptestConfig::with_cases(10_000)
    };
    let change = std::cell::RefCell::new(&mut change);
    TestRunner::new(config).run(&changes, |case| (change.borrow_mut())(case)).unwrap();
    assert!(read >= 500, "only {read} changes could be read as contexts");
    let joined = tokio.block_on(shop.stock.join(headers::read(&good).unwrap()));
    assert!(joined.is_ok(), "{joined:?}");
}
