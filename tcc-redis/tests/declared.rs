//! Functions touch the keys they were given and no others, so that a Redis Cluster can run them (§4 "Redis
//! Cluster"); keys of a transaction share one slot.

mod support;

use std::{collections::BTreeSet, time::Duration};

use support::{
    differential::Bench,
    server::{Server, ask},
    story::{MAIL, STOCK, Story, name, succeeded},
};
use tcc_core::{
    Gid, Timestamp,
    machine::{Begin, Create, Sweep},
    record::Direction,
    store::Store,
};
use tcc_redis::{Durability, History, RedisStore};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

/// The quoted words of a line that MONITOR shows.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(char) = chars.next() {
        match (&mut word, char) {
            (None, '"') => word = Some(String::new()),
            (Some(_), '"') => words.extend(word.take()),
            (Some(word), '\\') => word.extend(chars.next()),
            (Some(word), char) => word.push(char),
            (None, _) => {}
        }
    }
    words
}

/// Keys of a command that a function sent; none for commands without.
fn key(words: &[String]) -> Option<&String> {
    words.get(1).filter(|_| words[0] != "TIME")
}

#[tokio::test]
async fn functions_touch_only_the_keys_they_were_given() {
    let server = Server::volatile().await;
    let mut bench = Bench::new(&server.url_of(1), History::default()).await;
    let mut monitor = TcpStream::connect(("127.0.0.1", server.port())).await.expect("a connection");
    monitor.write_all(b"MONITOR\r\n").await.expect("a command");
    let watch = tokio::spawn(async move {
        let mut lines = BufReader::new(monitor).lines();
        let mut declared: BTreeSet<String> = BTreeSet::new();
        let mut touched = 0;
        while let Ok(Some(line)) = lines.next_line().await {
            let words = words(&line);
            if line.contains(" lua] ") {
                let key = key(&words);
                assert!(key.is_none_or(|key| declared.contains(key)), "not declared: {line}");
                touched += 1;
            } else if words.first().is_some_and(|word| word == "FCALL") {
                let count = words[2].parse().expect("a number of keys");
                declared = words.into_iter().skip(3).take(count).collect();
            } else if words.iter().any(|word| word == "the-end") {
                return touched;
            }
        }
        panic!("the connection broke");
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    for seed in 40_000..40_010 {
        bench.run(seed, 80).await.unwrap_or_else(|difference| panic!("{difference}"));
    }
    let _: String = ask(&mut server.raw().await, &["ECHO", "the-end"]).await;
    let touched: usize = watch.await.expect("every key was declared");
    assert!(touched > 1_000);
}

fn in_shard(number: u64, shard: u16) -> Gid {
    Gid::new(Timestamp::from_millis(1_795_000_000_000), number, shard)
}

#[tokio::test]
async fn every_shard_is_served() {
    let server = Server::volatile().await;
    let builder = RedisStore::builder(server.url()).durability(Durability::Volatile);
    let store = builder.namespace("shop").shards(4).connect().await.expect("a store");
    let mut bells = store.listen(&name("worker"), &[name("stock"), name("mail")]).await.expect("a listener");
    let mut rung = BTreeSet::new();
    for shard in 0..4 {
        let mut story = Story::new(&store, 1);
        story.gid = in_shard(u64::from(shard), shard);
        story.key = Some(format!("order-{shard}"));
        story.begin().await;
        story.register(&[STOCK, MAIL]).await;
        let key = format!("order-{shard}").parse().expect("a key");
        assert_eq!(store.find(&name("checkout"), &key).await.expect("an answer"), Some(story.gid.clone()));
        assert_eq!(store.open(shard, None, 10).await.expect("a list"), [story.gid.clone()]);
        story.decide(Direction::Confirm, &[(1, Some(succeeded())), (2, Some(succeeded()))], &[]).await;
        rung.insert((story.gid.clone(), name("stock")));
        rung.insert((story.gid.clone(), name("mail")));
    }
    while !rung.is_empty() {
        let some = tokio::time::timeout(Duration::from_secs(10), bells.next(8)).await.expect("in time");
        for bell in some.expect("messages") {
            assert!(rung.remove(&(bell.gid, bell.participant)), "each comes once");
        }
    }
    let names: Vec<String> = ask(&mut server.raw().await, &["KEYS", "*"]).await;
    assert!(names.iter().all(|name| (0..4).any(|shard| name.starts_with(&format!("{{shop:{shard:02}}}:")))));
}

#[tokio::test]
async fn namespaces_do_not_see_each_other() {
    let server = Server::volatile().await;
    let connect = async |namespace: &str| {
        let builder = RedisStore::builder(server.url()).durability(Durability::Volatile);
        builder.namespace(namespace).connect().await.expect("a store")
    };
    let (one, other) = (connect("one").await, connect("other").await);
    assert!(format!("{one:?}").contains("\"one\""), "{one:?}");
    Story::new(&one, 1).trying().await;
    assert_eq!(other.load(&Story::new(&other, 1).gid).await.expect("an answer"), None);
    assert!(other.open(0, None, 10).await.expect("a list").is_empty());
    Story::new(&other, 1).trying().await;
    assert_eq!(one.open(0, None, 10).await.expect("a list").len(), 1);
}

#[tokio::test]
async fn what_cannot_be_written_as_a_time_is_refused_by_name() {
    let server = Server::volatile().await;
    let store =
        RedisStore::builder(server.url()).durability(Durability::Volatile).connect().await.expect("a store");
    let story = Story::new(&store, 1);
    let create = story.create().await;
    let cases = [
        ("deadline_at", Create { deadline_at: Timestamp::MAX, ..create.clone() }),
        ("lease_ms", Create { lease_ms: u64::MAX, ..create.clone() }),
        ("retention_ms", Create { retention_ms: u64::MAX, ..create.clone() }),
    ];
    for (field, create) in cases {
        let error =
            story.try_apply(Begin { create, again_after_cancel: false }).await.expect_err("a refusal");
        assert!(error.to_string().contains(field) && !error.is_retryable(), "{error}");
    }
    const HUNDRED_YEARS_MS: u64 = 3_155_760_000_000;
    for (lease_ms, is_taken) in [(HUNDRED_YEARS_MS, true), (HUNDRED_YEARS_MS + 1, false)] {
        let create = Create { lease_ms, ..create.clone() };
        let begun = story.try_apply(Begin { create, again_after_cancel: false }).await;
        assert_eq!(begun.is_ok(), is_taken, "{begun:?}");
    }
    let story = Story::new(&store, 2);
    let other = Create { gid: in_shard(9, 0), ..create };
    let error = story.try_apply(Begin { create: other, again_after_cancel: false }).await;
    assert!(error.expect_err("another's record").to_string().contains("was asked to create"));
    assert!(story.try_apply(Sweep { by: name("sweeper") }).await.expect("an answer").result.is_err());
}
