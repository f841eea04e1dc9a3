//! Messages arrive whatever happens to connections, groups, queues and functions, or `due` finds their work.

mod support;

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use support::{
    harm::mark,
    proxy::Proxy,
    server::{Server, ask},
    story::{MAIL, STOCK, Story, name},
};
use tcc_core::{
    Gid,
    record::Direction,
    store::{Doorbell, Doorbells, Store},
};
use tcc_redis::{Durability, RedisStore};
use tokio::time::timeout;

const QUEUE: &str = "{tcc:00}:ready:stock";

async fn store(url: &str) -> RedisStore {
    RedisStore::builder(url).durability(Durability::Volatile).connect().await.expect("a store")
}

/// Decides a transaction, so that its participants are rung for.
async fn ring(store: &RedisStore, number: u64) -> Gid {
    let story = Story::new(store, number);
    story.register(&[STOCK]).await;
    story.decide(Direction::Cancel, &[(1, None)], &[]).await;
    story.gid
}

async fn listen(store: &RedisStore) -> Box<dyn Doorbells> {
    store.listen(&name("worker"), &[name("stock"), name("mail")]).await.expect("a listener")
}

async fn next(bells: &mut Box<dyn Doorbells>) -> Vec<Doorbell> {
    timeout(Duration::from_secs(10), bells.next(64)).await.expect("a message in time").expect("a message")
}

/// Waits for a message; others may come before.
async fn expect(bells: &mut Box<dyn Doorbells>, gid: &Gid) {
    let mut rung = Vec::new();
    for _ in 0..5 {
        rung.extend(next(bells).await);
        if rung.iter().any(|bell| bell.gid == *gid && bell.participant == name("stock")) {
            return;
        }
    }
    panic!("{gid} did not come: {rung:?}");
}

async fn claim(store: &RedisStore, number: u64) {
    assert_eq!(Story::new(store, number).claim("stock", number).await.len(), 1);
}

async fn length(raw: &mut MultiplexedConnection) -> u64 {
    ask(raw, &["XLEN", QUEUE]).await
}

async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    for _ in 0..200 {
        if done().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("{what} did not happen");
}

#[tokio::test]
async fn messages_from_before_anybody_listened_arrive_and_are_gone() {
    let server = Server::volatile().await;
    let store = store(&server.url()).await;
    let mut raw = server.raw().await;
    let gids = [ring(&store, 1).await, ring(&store, 2).await];
    let mut bells = listen(&store).await;
    let mut rung = Vec::new();
    while rung.len() < 2 {
        let some =
            timeout(Duration::from_secs(10), bells.next(1)).await.expect("in time").expect("a message");
        assert_eq!(some.len(), 1, "no more than asked for");
        rung.extend(some.into_iter().map(|bell| bell.gid));
    }
    assert_eq!(rung, gids);
    assert_eq!(length(&mut raw).await, 2, "they stand until they are claimed");
    claim(&store, 1).await;
    claim(&store, 2).await;
    assert_eq!(length(&mut raw).await, 0);
    let pending: Vec<redis::Value> = ask(&mut raw, &["XPENDING", QUEUE, "workers", "-", "+", "10"]).await;
    assert!(pending.is_empty());
    let nodes = store.inspect().nodes(10).await.expect("the nodes");
    assert_eq!(nodes[0].0, "worker");
}

#[tokio::test]
async fn a_dropped_wait_loses_nothing() {
    let server = Server::volatile().await;
    let store = store(&server.url()).await;
    let mut bells = listen(&store).await;
    for number in 0..20 {
        assert!(timeout(Duration::from_millis(7), bells.next(1)).await.is_err());
        let gid = ring(&store, number).await;
        expect(&mut bells, &gid).await;
    }
}

#[tokio::test]
async fn a_blocked_read_outlives_its_own_timeout() {
    let server = Server::volatile().await;
    let store = store(&server.url()).await;
    let mut bells = listen(&store).await;
    // Longer than a read blocks, and than the client waits by default.
    tokio::time::sleep(Duration::from_millis(2_300)).await;
    let gid = ring(&store, 1).await;
    expect(&mut bells, &gid).await;
}

#[tokio::test]
async fn a_killed_connection_loses_nothing() {
    let server = Server::volatile().await;
    let proxy = Proxy::to(server.port()).await;
    let (reading, writing) = (store(&proxy.url_of(0)).await, store(&server.url()).await);
    let mut bells = listen(&reading).await;
    let gid = ring(&writing, 1).await;
    expect(&mut bells, &gid).await;
    // What was taken and not claimed is taken again.
    proxy.cut();
    expect(&mut bells, &gid).await;
    claim(&writing, 1).await;
    for number in 2..5 {
        proxy.cut();
        let gid = ring(&writing, number).await;
        expect(&mut bells, &gid).await;
        claim(&writing, number).await;
    }
    // The answer is on its way when the connection ends: the message is delivered, and nobody heard it.
    for number in 5..8 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        proxy.lose_next();
        let gid = ring(&writing, number).await;
        expect(&mut bells, &gid).await;
        assert!(proxy.has_lost());
        claim(&writing, number).await;
    }
    assert_eq!(length(&mut server.raw().await).await, 0);
}

#[tokio::test]
async fn a_silent_server_is_left_for_a_new_connection() {
    let server = Server::volatile().await;
    let proxy = Proxy::to(server.port()).await;
    let builder = RedisStore::builder(proxy.url_of(0)).durability(Durability::Volatile);
    let reading = builder.call_timeout(Duration::from_millis(300)).connect().await.expect("a store");
    let writing = store(&server.url()).await;
    let mut bells = listen(&reading).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    proxy.silence(true);
    assert!(reading.now(0).await.expect_err("no answer").is_retryable());
    let gid = ring(&writing, 1).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    proxy.silence(false);
    expect(&mut bells, &gid).await;
    reading.now(0).await.expect("a new connection");
}

#[tokio::test]
async fn a_server_that_is_gone_is_asked_for_less_and_less_often() {
    let mut server = Server::volatile().await;
    let proxy = Proxy::to(server.port()).await;
    let store = store(&proxy.url_of(0)).await;
    let mut bells = listen(&store).await;
    let gid = ring(&store, 1).await;
    expect(&mut bells, &gid).await;
    server.kill();
    let before = proxy.accepted();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let attempts = proxy.accepted() - before;
    assert!(attempts <= 10, "{attempts} attempts");
    server.restart().await;
    tokio::time::timeout(Duration::from_secs(20), async {
        while store.now(0).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .expect("a new connection in time");
    let gid = ring(&store, 2).await;
    expect(&mut bells, &gid).await;
}

#[tokio::test]
async fn a_deleted_group_heals() {
    let server = Server::volatile().await;
    let store = store(&server.url()).await;
    let mut raw = server.raw().await;
    let mut bells = listen(&store).await;
    let gid = ring(&store, 1).await;
    expect(&mut bells, &gid).await;
    let _: i64 = ask(&mut raw, &["XGROUP", "DESTROY", QUEUE, "workers"]).await;
    let gid = ring(&store, 2).await;
    expect(&mut bells, &gid).await;
    let _: i64 = ask(&mut raw, &["DEL", QUEUE]).await;
    let gid = ring(&store, 3).await;
    expect(&mut bells, &gid).await;
}

#[tokio::test]
async fn flushed_functions_heal() {
    let server = Server::volatile().await;
    let store = store(&server.url()).await;
    let mut raw = server.raw().await;
    let mut bells = listen(&store).await;
    for number in 1..4 {
        for library in ["FUNCTION", "SCRIPT"] {
            let () = ask(&mut raw, &[library, "FLUSH"]).await;
        }
        let _: i64 = ask(&mut raw, &["DEL", QUEUE]).await;
        let gid = ring(&store, number).await;
        expect(&mut bells, &gid).await;
    }
}

#[tokio::test]
async fn work_of_a_lost_message_is_found_by_the_timer() {
    let server = Server::volatile().await;
    let store = store(&server.url()).await;
    let mut raw = server.raw().await;
    let gid = ring(&store, 1).await;
    let _: i64 = ask(&mut raw, &["XTRIM", QUEUE, "MAXLEN", "0"]).await;
    let mut bells = listen(&store).await;
    assert!(timeout(Duration::from_millis(300), bells.next(1)).await.is_err());
    until("the timer", async || {
        store.due(0, 10).await.expect("timers").iter().map(|(due, _)| due).eq([&gid])
    })
    .await;
    Story::new(&store, 1).sweep().await.expect("a sweep").result.expect("an answer");
    expect(&mut bells, &gid).await;
}

#[tokio::test]
async fn what_is_no_message_is_removed_and_the_rest_goes_on() {
    let server = Server::volatile().await;
    let store = store(&server.url()).await;
    let mut raw = server.raw().await;
    let mut bells = listen(&store).await;
    let _: String = ask(&mut raw, &["XADD", QUEUE, "*", "gid", "nonsense"]).await;
    let _: String = ask(&mut raw, &["XADD", QUEUE, "*", "colour", "red", "size", "3"]).await;
    let mut odd = redis::cmd("XADD");
    odd.arg(QUEUE).arg("*").arg("gid").arg(&[0xff_u8, 0xfe][..]);
    let _: String = odd.query_async(&mut raw).await.expect("a message");
    let gid = ring(&store, 1).await;
    expect(&mut bells, &gid).await;
    claim(&store, 1).await;
    until("removal", async || length(&mut raw).await == 0).await;
}

#[tokio::test]
async fn a_queue_of_another_type_does_not_stop_the_others() {
    let server = Server::volatile().await;
    let store = store(&server.url()).await;
    let mut raw = server.raw().await;
    let () = ask(&mut raw, &["SET", "{tcc:00}:ready:mail", "text"]).await;
    let mut bells = listen(&store).await;
    let gid = ring(&store, 1).await;
    expect(&mut bells, &gid).await;
    // And while it is being read.
    let _: i64 = ask(&mut raw, &["DEL", "{tcc:00}:ready:mail"]).await;
    let mut both = store.listen(&name("other"), &[name("mail"), name("stock")]).await.expect("a listener");
    drop(bells);
    tokio::time::sleep(Duration::from_millis(200)).await;
    let () = ask(&mut raw, &["SET", "{tcc:00}:ready:mail", "text"]).await;
    let gid = ring(&store, 2).await;
    expect(&mut both, &gid).await;
}

#[tokio::test]
async fn what_a_dead_reader_took_is_removed_and_not_delivered_again() {
    let server = Server::volatile().await;
    let store = store(&server.url()).await;
    let mut raw = server.raw().await;
    ring(&store, 1).await;
    let _: String = ask(&mut raw, &["XGROUP", "CREATE", QUEUE, "workers", "0"]).await;
    let _: redis::Value =
        ask(&mut raw, &["XREADGROUP", "GROUP", "workers", "dead", "STREAMS", QUEUE, ">"]).await;
    let entries: Vec<(String, redis::Value)> = ask(&mut raw, &["XRANGE", QUEUE, "-", "+"]).await;
    let id = &entries[0].0;
    let _: redis::Value =
        ask(&mut raw, &["XCLAIM", QUEUE, "workers", "dead", "0", id, "IDLE", "61000", "JUSTID"]).await;
    let mut bells = listen(&store).await;
    until("removal", async || length(&mut raw).await == 0).await;
    assert!(timeout(Duration::from_millis(200), bells.next(1)).await.is_err());
    let pending: Vec<redis::Value> = ask(&mut raw, &["XPENDING", QUEUE, "workers", "-", "+", "10"]).await;
    assert!(pending.is_empty());
}

#[tokio::test]
async fn a_claim_removes_its_message_from_whoever_took_it() {
    for is_marked in [false, true] {
        let server = Server::volatile().await;
        let store = store(&server.url()).await;
        let mut raw = server.raw().await;
        ring(&store, 1).await;
        let story = Story::new(&store, 1);
        if is_marked {
            mark(&mut raw, &store.inspect().record_key(&story.gid)).await;
        }
        let _: String = ask(&mut raw, &["XGROUP", "CREATE", QUEUE, "workers", "0"]).await;
        let _: redis::Value =
            ask(&mut raw, &["XREADGROUP", "GROUP", "workers", "slow", "STREAMS", QUEUE, ">"]).await;
        assert_eq!(story.claim("stock", 5).await.len(), 1);
        let pending: Vec<redis::Value> = ask(&mut raw, &["XPENDING", QUEUE, "workers", "-", "+", "10"]).await;
        assert!(pending.is_empty());
        assert_eq!(length(&mut raw).await, 0);
        assert_eq!(store.short_ways().contains_key("claim"), !is_marked, "the long way does the same");
    }
}

/// What a claim removes is its own, in whatever order claims come, and whether or not anybody was given it.
#[tokio::test]
async fn claims_remove_their_own_messages_only() {
    let server = Server::volatile().await;
    let store = store(&server.url()).await;
    let mut raw = server.raw().await;
    let _: String = ask(&mut raw, &["XGROUP", "CREATE", QUEUE, "workers", "0", "MKSTREAM"]).await;
    for number in 1..=12 {
        ring(&store, number).await;
    }
    let read =
        |count: &'static str| ["XREADGROUP", "GROUP", "workers", "a", "COUNT", count, "STREAMS", QUEUE, ">"];
    let _: redis::Value = ask(&mut raw, &read("8")).await;
    let mut left: Vec<u64> = (1..=12).collect();
    // In order, out of order, several by one call, and some that nobody was given.
    for claimed in [&[1][..], &[4], &[3, 2], &[7, 8], &[6, 11], &[5], &[12], &[10, 9]] {
        futures_util::future::join_all(claimed.iter().map(|number| claim(&store, *number))).await;
        left.retain(|number| !claimed.contains(number));
        let entries: Vec<(String, Vec<String>)> = ask(&mut raw, &["XRANGE", QUEUE, "-", "+"]).await;
        let gids = entries.into_iter().map(|(_, fields)| fields[1].clone());
        let expected = left.iter().map(|number| Story::new(&store, *number).gid.to_string());
        assert_eq!(gids.collect::<Vec<_>>(), expected.collect::<Vec<_>>(), "after {claimed:?}");
        let undelivered: redis::Value = ask(&mut raw, &["XPENDING", QUEUE, "workers"]).await;
        let redis::Value::Array(summary) = undelivered else { panic!("no summary") };
        let pending = left.iter().filter(|number| **number <= 8).count();
        assert_eq!(summary[0], redis::Value::Int(pending as i64), "after {claimed:?}");
    }
    assert_eq!(store.short_ways()["claim"], 12);
}

/// A decision rings for several participants at once: their messages come together and one after the other, so that
/// one claim answers them.
#[tokio::test]
async fn messages_of_one_transaction_come_together() {
    let server = Server::volatile().await;
    let store = store(&server.url()).await;
    let mut bells = listen(&store).await;
    for number in 1..=20 {
        let story = Story::new(&store, number);
        story.register(&[STOCK, MAIL]).await;
        story.decide(Direction::Cancel, &[(1, None), (2, None)], &[]).await;
        let rung = next(&mut bells).await;
        let gids: Vec<_> = rung.iter().map(|bell| &bell.gid).collect();
        assert_eq!(gids, [&story.gid; 2], "{rung:?}");
        assert_ne!(rung[0].participant, rung[1].participant);
    }
}

/// More messages than a look takes at once, of which none is claimed: each is looked at once.
#[tokio::test]
async fn a_reader_that_comes_back_looks_at_all_it_took() {
    let server = Server::volatile().await;
    let proxy = Proxy::to(server.port()).await;
    let (reading, writing) = (store(&proxy.url_of(0)).await, store(&server.url()).await);
    let mut gids = std::collections::BTreeSet::new();
    for number in 1..=150 {
        gids.insert(ring(&writing, number).await);
    }
    let mut bells = listen(&reading).await;
    for _ in 0..2 {
        let mut rung = Vec::new();
        while rung.len() < gids.len() {
            rung.extend(next(&mut bells).await.into_iter().map(|bell| bell.gid));
        }
        assert_eq!(rung.len(), gids.len(), "none comes twice");
        assert!(rung.iter().eq(&gids), "in order, and every one");
        proxy.cut();
    }
}

#[tokio::test]
async fn readers_end_with_their_listener() {
    let server = Server::volatile().await;
    let store = store(&server.url()).await;
    let mut raw = server.raw().await;
    let mut blocked = async || {
        let info: String = ask(&mut raw, &["INFO", "clients"]).await;
        info.contains("blocked_clients:1")
    };
    let bells = listen(&store).await;
    until("reading", &mut blocked).await;
    drop(bells);
    until("the end", async || !blocked().await).await;
}

#[tokio::test]
async fn nobody_is_rung_for_without_participants() {
    let server = Server::volatile().await;
    let store = store(&server.url()).await;
    let mut bells = store.listen(&name("worker"), &[]).await.expect("a listener");
    let story = Story::new(&store, 1);
    story.register(&[MAIL]).await;
    story.decide(Direction::Cancel, &[(1, None)], &[]).await;
    assert!(timeout(Duration::from_millis(200), bells.next(1)).await.is_err());
}
