//! Readers tidy up behind those that died, now and then, and leave to the others what is theirs.

mod support;

use std::{collections::BTreeSet, time::Duration};

use redis::aio::MultiplexedConnection;
use support::{
    server::{Server, ask},
    story::{STOCK, Story, name},
};
use tcc_core::{
    record::Direction,
    store::{Doorbells, Store},
};
use tcc_redis::{Durability, RedisStore};
use tokio::time::timeout;

const QUEUE: &str = "{tcc:00}:ready:stock";
const MINUTE_MS: u64 = 60_000;

async fn store(server: &Server) -> RedisStore {
    RedisStore::builder(server.url()).durability(Durability::Volatile).connect().await.expect("a store")
}

async fn listen(store: &RedisStore) -> Box<dyn Doorbells> {
    store.listen(&name("worker"), &[name("stock")]).await.expect("a listener")
}

/// Decides a transaction, and waits until its participant was rung for. Nothing claims, so that messages go on standing,
/// and a group that is made anew brings those before as well.
async fn ring(store: &RedisStore, bells: &mut Box<dyn Doorbells>, number: u64) {
    let story = Story::new(store, number);
    story.register(&[STOCK]).await;
    story.decide(Direction::Cancel, &[(1, None)], &[]).await;
    for _ in 0..number {
        let rung = timeout(Duration::from_secs(20), bells.next(1)).await.expect("a message in time");
        if rung.expect("a message")[0].gid == story.gid {
            return;
        }
    }
    panic!("other messages came instead");
}

async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    for _ in 0..400 {
        if done().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("{what} did not happen");
}

async fn consumers(raw: &mut MultiplexedConnection) -> BTreeSet<String> {
    let all: Vec<Vec<redis::Value>> = ask(raw, &["XINFO", "CONSUMERS", QUEUE, "workers"]).await;
    let name = |consumer: Vec<redis::Value>| redis::from_redis_value(consumer[1].clone()).expect("its name");
    all.into_iter().map(name).collect()
}

/// Makes the queue as it is when these consumers were seen so long ago: in a dump, a consumer's name is followed
/// by when it was seen, in milliseconds.
async fn seen_ago(raw: &mut MultiplexedConnection, consumers: &[(&str, u64)]) {
    let mut dump: Vec<u8> = ask(raw, &["DUMP", QUEUE]).await;
    for (consumer, millis) in consumers {
        let named = [&[consumer.len() as u8], consumer.as_bytes()].concat();
        let place = dump.windows(named.len()).position(|bytes| bytes == named).expect("the consumer");
        let seen = &mut dump[place + named.len()..][..8];
        let at = u64::from_le_bytes((&*seen).try_into().expect("eight bytes"));
        seen.copy_from_slice(&(at - millis).to_le_bytes());
    }
    let () = ask(raw, &["DEBUG", "SET-SKIP-CHECKSUM-VALIDATION", "1"]).await;
    let mut restore = redis::cmd("RESTORE");
    let () = restore.arg(QUEUE).arg(0).arg(dump).arg("REPLACE").query_async(raw).await.expect("the queue");
}

#[tokio::test]
async fn a_reader_long_silent_is_removed_unless_messages_are_left_with_it() {
    let server = Server::volatile().await;
    let store = store(&server).await;
    let mut raw = server.raw().await;
    let _: String = ask(&mut raw, &["XGROUP", "CREATE", QUEUE, "workers", "0", "MKSTREAM"]).await;
    for consumer in ["fresh", "quiet", "silent"] {
        let _: i64 = ask(&mut raw, &["XGROUP", "CREATECONSUMER", QUEUE, "workers", consumer]).await;
    }
    let _: String = ask(&mut raw, &["XADD", QUEUE, "*", "gid", "nonsense"]).await;
    let _: redis::Value =
        ask(&mut raw, &["XREADGROUP", "GROUP", "workers", "owing", "STREAMS", QUEUE, ">"]).await;
    let long = 61 * MINUTE_MS;
    seen_ago(&mut raw, &[("quiet", 55 * MINUTE_MS), ("silent", long), ("owing", long)]).await;
    let mut bells = listen(&store).await;
    until("removal", async || !consumers(&mut raw).await.contains("silent")).await;
    ring(&store, &mut bells, 1).await;
    let left = ["fresh", "owing", "quiet", "worker"].map(str::to_owned);
    assert_eq!(consumers(&mut raw).await, left.into());
}

#[tokio::test]
async fn readers_tidy_now_and_then_and_not_after_every_message() {
    let server = Server::volatile().await;
    let store = store(&server).await;
    let mut raw = server.raw().await;
    let mut bells = listen(&store).await;
    ring(&store, &mut bells, 1).await;
    let () = ask(&mut raw, &["CONFIG", "RESETSTAT"]).await;
    for number in 2..=20 {
        ring(&store, &mut bells, number).await;
    }
    let stats: String = ask(&mut raw, &["INFO", "commandstats"]).await;
    let looked = stats.lines().find_map(|line| line.strip_prefix("cmdstat_xinfo|consumers:calls="));
    let looked =
        looked.map_or(0, |line| line.split(',').next().expect("a number").parse().expect("a number"));
    assert!(looked < 10, "{looked} times in 19 messages");
}

#[tokio::test]
async fn a_reader_keeps_its_connection_when_its_group_is_gone() {
    let server = Server::volatile().await;
    let store = store(&server).await;
    let mut raw = server.raw().await;
    let mut bells = listen(&store).await;
    ring(&store, &mut bells, 1).await;
    let mut clients = async || -> BTreeSet<String> {
        let clients: String = ask(&mut raw, &["CLIENT", "LIST"]).await;
        clients.lines().filter_map(|client| Some(client.split_once(' ')?.0.to_owned())).collect()
    };
    let before = clients().await;
    let mut other = server.raw().await;
    let _: i64 = ask(&mut other, &["XGROUP", "DESTROY", QUEUE, "workers"]).await;
    ring(&store, &mut bells, 2).await;
    let _: i64 = ask(&mut other, &["DEL", QUEUE]).await;
    ring(&store, &mut bells, 3).await;
    drop(other);
    let gone = async || clients().await == before;
    until("the same connections as before", gone).await;
}
