//! An operator's tool connects to what is there, as it is.

mod support;

use support::server::{Server, ask};
use tcc_core::{
    Gid, Timestamp,
    store::{Store, StoreErrorKind},
};
use tcc_redis::{Durability, RedisStore};

#[tokio::test]
async fn a_tool_takes_a_namespace_as_it_is_and_makes_none() {
    let server = Server::with(&["--appendonly", "no", "--maxmemory-policy", "allkeys-lru"]).await;
    let mistyped =
        RedisStore::builder(server.url()).namespace("shpo").attach().await.expect_err("no such namespace");
    assert_eq!(mistyped.kind(), StoreErrorKind::Misconfigured);
    assert!(mistyped.to_string().contains("no namespace `shpo`"), "{mistyped}");
    let mut raw = server.raw().await;
    let keys: Vec<String> = ask(&mut raw, &["KEYS", "*"]).await;
    assert_eq!(keys, [""; 0], "nothing was made");

    let service =
        RedisStore::builder(server.url()).namespace("shop").shards(3).durability(Durability::Volatile);
    service.accept(tcc_redis::Risk::Eviction).connect().await.expect("a store");
    let tool = RedisStore::builder(server.url()).namespace("shop").attach().await.expect("a store");
    assert_eq!(tool.shards(), 3);
    let gid = Gid::new(Timestamp::from_millis(1), 1, 2);
    assert!(tool.load(&gid).await.expect("an answer").is_none());
}

#[tokio::test]
async fn a_newer_namespace_is_refused_by_its_schema() {
    let server = Server::volatile().await;
    let mut raw = server.raw().await;
    for shards in ["16", "1000", "sixteen"] {
        let _: i64 = ask(&mut raw, &["HSET", "{tcc:00}:meta", "schema", "99", "shards", shards]).await;
        let newer = RedisStore::builder(server.url()).attach().await.expect_err("a newer schema");
        assert_eq!(newer.kind(), StoreErrorKind::Misconfigured);
        assert!(newer.to_string().contains("newer version (schema 99"), "{newer}");
    }
}
