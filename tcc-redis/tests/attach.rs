//! An operator's tool connects to what is there, as it is.

mod support;

use support::{
    server::{Server, ask},
    story::{STOCK, Story},
};
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
async fn what_takes_no_writes_is_seen_all_the_same() {
    let server = Server::volatile().await;
    let service =
        RedisStore::builder(server.url()).durability(Durability::Volatile).connect().await.expect("a store");
    let story = Story::new(&service, 1);
    story.register(&[STOCK]).await;
    let mut raw = server.raw().await;
    let () = ask(&mut raw, &["CONFIG", "SET", "min-replicas-to-write", "1"]).await;
    let tool = RedisStore::builder(server.url()).attach().await.expect("a store");
    tool.load(&story.gid).await.expect("an answer").expect("a record");
    tool.now(0).await.expect("the time");
    assert_eq!(tool.open(0, None, 10).await.expect("open ones"), [story.gid.clone()][..]);
    let refused = Story { store: &tool, gid: story.gid, key: None, lease_ms: 1 }.sweep().await;
    assert_eq!(refused.expect_err("no write").kind(), StoreErrorKind::Unavailable);
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
    for (schema, shards) in [("1", "0"), ("1", "65"), ("1", "some"), ("one", "1")] {
        let _: i64 = ask(&mut raw, &["HSET", "{tcc:00}:meta", "schema", schema, "shards", shards]).await;
        let strange = RedisStore::builder(server.url()).attach().await.expect_err("a strange namespace");
        assert_eq!(strange.kind(), StoreErrorKind::Misconfigured, "{strange}");
    }
    for (field, other) in [("schema", "shards"), ("shards", "schema")] {
        let () = ask(&mut raw, &["DEL", "{tcc:00}:meta"]).await;
        let _: i64 = ask(&mut raw, &["HSET", "{tcc:00}:meta", field, "1"]).await;
        let half = RedisStore::builder(server.url()).attach().await.expect_err("half a namespace");
        assert!(!half.to_string().contains("there is no namespace"), "without {other}: {half}");
    }
}
