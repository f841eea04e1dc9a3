//! Processes are heard by the server's clock, and the list of them has an end.

mod support;

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use support::{
    server::{Server, ask},
    story::name,
};
use tcc_core::{
    Presence, Timestamp,
    store::{Store, StoreErrorKind},
};
use tcc_redis::{Durability, RedisStore};

const NODES: &str = "{tcc:00}:nodes";
const NODES_MAX: u64 = 1_024;

async fn store(server: &Server) -> RedisStore {
    RedisStore::builder(server.url()).durability(Durability::Volatile).connect().await.expect("a store")
}

fn presence(process: &str) -> Presence {
    Presence {
        process: name(process),
        actions: Vec::new(),
        version: "0.1.0".into(),
        heard_at: Timestamp::default(),
    }
}

async fn time(raw: &mut MultiplexedConnection) -> u64 {
    let (seconds, micros): (u64, u64) = ask(raw, &["TIME"]).await;
    seconds * 1_000 + micros / 1_000
}

async fn heard(raw: &mut MultiplexedConnection, process: &str) -> Option<u64> {
    ask(raw, &["ZSCORE", NODES, process]).await
}

/// Waits until a reader has said that its process lives.
async fn heard_of_a_reader(raw: &mut MultiplexedConnection, process: &str) -> u64 {
    for _ in 0..400 {
        if let Some(at) = heard(raw, process).await {
            return at;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("`{process}` was not heard");
}

#[tokio::test]
async fn a_process_is_heard_when_the_server_says() {
    let server = Server::volatile().await;
    let store = store(&server).await;
    let mut raw = server.raw().await;
    // The thousandths of a second are right by chance now and then.
    for number in 0..5 {
        let before = time(&mut raw).await;
        let told = store.inspect().server_time().await.expect("the time").as_millis();
        store.announce(&presence(&format!("shop-{number}"))).await.expect("told");
        let bells = store.listen(&name(&format!("worker-{number}")), &[name("stock")]).await;
        let listened = heard_of_a_reader(&mut raw, &format!("worker-{number}")).await;
        drop(bells);
        let announced = heard(&mut raw, &format!("shop-{number}")).await.expect("it was heard");
        let after = time(&mut raw).await;
        for at in [told, announced, listened] {
            assert!((before..=after).contains(&at), "{at} is not between {before} and {after}");
        }
    }
}

#[tokio::test]
async fn only_those_heard_last_are_kept() {
    let server = Server::volatile().await;
    let store = store(&server).await;
    let mut raw = server.raw().await;
    let fill = "for n = 1, 1030 do redis.call('ZADD', KEYS[1], n, 'old-' .. n) end";
    let () = ask(&mut raw, &["EVAL", fill, "1", NODES]).await;
    store.announce(&presence("shop")).await.expect("told");
    let kept: Vec<String> = ask(&mut raw, &["ZRANGE", NODES, "0", "-1"]).await;
    assert_eq!((kept.len() as u64, kept[0].as_str()), (NODES_MAX, "old-8"));
    assert_eq!(kept.last().map(String::as_str), Some("shop"));

    let () = ask(&mut raw, &["EVAL", fill, "1", NODES]).await;
    let _bells = store.listen(&name("worker"), &[name("stock")]).await.expect("a listener");
    heard_of_a_reader(&mut raw, "worker").await;
    let mut kept = 0;
    for _ in 0..400 {
        kept = ask(&mut raw, &["ZCARD", NODES]).await;
        if kept <= NODES_MAX {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    assert_eq!(kept, NODES_MAX);
    assert!(heard(&mut raw, "shop").await.is_some());
}

#[tokio::test]
async fn telling_of_oneself_waits_for_memory_and_for_nothing_else() {
    let server = Server::volatile().await;
    let store = store(&server).await;
    let mut raw = server.raw().await;
    let () = ask(&mut raw, &["CONFIG", "SET", "maxmemory", "1"]).await;
    store.announce(&presence("shop")).await.expect("it may wait");
    let () = ask(&mut raw, &["CONFIG", "SET", "maxmemory", "0"]).await;
    let () = ask(&mut raw, &["SET", NODES, "text"]).await;
    let error = store.announce(&presence("shop")).await.expect_err("no list of nodes");
    assert_eq!(error.kind(), StoreErrorKind::Corrupt, "{error}");
}
