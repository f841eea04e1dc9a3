//! A Redis that cannot keep the store's promises is refused with what to change, at start and after every
//! reconnect.

mod support;

use std::time::Duration;

use support::{
    proxy::Proxy,
    server::{Server, ask, free_port},
    story::{MAIL, STOCK, Story, succeeded},
};
use tcc_core::{
    machine::{Begin, Sweep},
    record::{Direction, TransactionState},
    store::{Store, StoreError, StoreErrorKind},
};
use tcc_redis::{Durability, RedisStore, RedisStoreBuilder, Risk, WarningKind};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

async fn refused(builder: RedisStoreBuilder) -> StoreError {
    builder.connect().await.expect_err("a refusal")
}

/// The error's text with all its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let source = error.source().map(chain).unwrap_or_default();
    format!("{error}; {source}")
}

async fn says(builder: RedisStoreBuilder, words: &[&str]) {
    let error = refused(builder).await;
    assert_eq!(error.kind(), StoreErrorKind::Misconfigured, "{}", chain(&error));
    for word in words {
        assert!(error.to_string().contains(word), "{word:?} is missing in: {error}");
    }
}

#[tokio::test]
async fn a_wrong_url_is_told_without_its_password() {
    for url in ["", "localhost", "http://localhost", "redis://user:secret@:x/"] {
        says(RedisStore::builder(url), &["redis://"]).await;
    }
    let port = free_port();
    let error = refused(RedisStore::builder(format!("redis://user:secret@127.0.0.1:{port}/"))).await;
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    assert!(error.to_string().contains(&format!("127.0.0.1:{port}")), "{error}");
    assert!(!chain(&error).contains("secret"));
    let builder = RedisStore::builder("redis://user:secret@127.0.0.1/").namespace("shop");
    let shown = format!("{builder:?}");
    assert!(shown.contains("shop") && !shown.contains("secret"), "{shown}");
}

#[tokio::test]
async fn a_wrong_namespace_or_number_of_shards_is_told() {
    says(RedisStore::builder("redis://127.0.0.1/").shards(0), &["1 to 64"]).await;
    says(RedisStore::builder("redis://127.0.0.1/").shards(65), &["1 to 64"]).await;
    says(RedisStore::builder("redis://127.0.0.1/").namespace("a}b"), &["namespace"]).await;
}

/// Answers as Redis 6 does, as far as it is asked, and calls itself this version.
async fn redis_6(version: &'static str) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let port = listener.local_addr().expect("its address").port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = vec![0; 65_536];
                while let Ok(count @ 1..) = client.read(&mut buffer).await {
                    let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
                    for command in text.split("\r\n*") {
                        let info = format!("redis_version:{version}\r\nrole:master\r\n");
                        let answer = if command.contains("INFO\r\n") && !command.contains("SETINFO") {
                            format!("${}\r\n{info}\r\n", info.len())
                        } else {
                            "-ERR unknown command\r\n".to_owned()
                        };
                        if client.write_all(answer.as_bytes()).await.is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
    port
}

#[tokio::test]
async fn redis_6_is_refused() {
    // What it calls itself does not count.
    for version in ["6.2.14", "7.4.0"] {
        let port = redis_6(version).await;
        says(RedisStore::builder(format!("redis://127.0.0.1:{port}/")), &[version, "7.0 or later"]).await;
    }
}

#[tokio::test]
async fn valkey_and_others_are_judged_by_what_they_do() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    // As Valkey 8 presents itself, and as something nobody heard of does.
    let valkey =
        "# Server\r\nredis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.0.1\r\nrole:master\r\n";
    let strange = "# Server\r\nserver_name:quickkey\r\nquickkey_version:0.1\r\nrole:master\r\n";
    let proxy = Proxy::replacing(server.port(), &[("INFO", "GET info")]).await;
    for info in [valkey, strange] {
        let () = ask(&mut raw, &["SET", "info", info]).await;
        let store = RedisStore::connect(proxy.url_of(0)).await.expect("a server that does what is needed");
        Story::new(&store, 1).trying().await;
        let () = ask(&mut raw, &["FLUSHALL"]).await;
    }
    let () = ask(&mut raw, &["SET", "info", &valkey.replace("master", "replica")]).await;
    says(RedisStore::builder(proxy.url_of(0)), &["replica", "primary"]).await;
}

#[tokio::test]
async fn an_evicting_redis_is_refused_unless_accepted() {
    let server = Server::with(&["--maxmemory-policy", "allkeys-lru"]).await;
    says(RedisStore::builder(server.url()), &["allkeys-lru", "noeviction", ".accept(Risk::Eviction)"]).await;
    let store = RedisStore::builder(server.url()).accept(Risk::Eviction).connect().await.expect("accepted");
    assert!(store.warnings().iter().any(|warning| warning.kind == WarningKind::RiskAccepted));
}

#[tokio::test]
async fn a_redis_that_forgets_is_refused_unless_accepted() {
    let cases = [
        (["--appendonly", "no", "--appendfsync", "always"], "`appendonly` is `no`", Durability::Volatile),
        (["--appendonly", "yes", "--appendfsync", "no"], "`appendfsync` is `no`", Durability::Volatile),
        (["--appendonly", "yes", "--appendfsync", "everysec"], "everysec", Durability::EverySecond),
    ];
    for (arguments, cause, durability) in cases {
        let server = Server::with(&arguments).await;
        let remedy = format!(".durability(Durability::{durability:?})");
        says(RedisStore::builder(server.url()), &[cause, "appendfsync always", &remedy]).await;
        if durability == Durability::Volatile {
            says(RedisStore::builder(server.url()).durability(Durability::EverySecond), &[cause]).await;
        }
        let store =
            RedisStore::builder(server.url()).durability(durability).connect().await.expect("accepted");
        assert!(store.warnings().iter().any(|warning| warning.kind == WarningKind::RiskAccepted));
    }
}

#[tokio::test]
async fn a_hidden_configuration_needs_the_users_word() {
    let server = Server::with(&["--rename-command", "CONFIG", ""]).await;
    says(RedisStore::builder(server.url()), &["hides", ".durability("]).await;
    let store =
        RedisStore::builder(server.url()).durability(Durability::Always).connect().await.expect("stated");
    assert!(store.warnings().iter().any(|warning| warning.kind == WarningKind::DurabilityUnchecked));

    // What INFO still tells is not overridden by a word.
    let server = Server::with(&["--rename-command", "CONFIG", "", "--appendonly", "no"]).await;
    for durability in [Durability::Always, Durability::EverySecond] {
        says(RedisStore::builder(server.url()).durability(durability), &["`appendonly` is `no`"]).await;
    }
    RedisStore::builder(server.url()).durability(Durability::Volatile).connect().await.expect("accepted");
    let server =
        Server::with(&["--rename-command", "CONFIG", "", "--maxmemory-policy", "volatile-ttl"]).await;
    says(RedisStore::builder(server.url()).durability(Durability::Always), &["volatile-ttl"]).await;

    let server = Server::start().await;
    let mut raw = server.raw().await;
    let () = ask(&mut raw, &["ACL", "SETUSER", "hidden", "on", ">pw", "~*", "+@all", "-config"]).await;
    let url = format!("redis://hidden:pw@127.0.0.1:{}/", server.port());
    says(RedisStore::builder(&url), &["hides", ".durability("]).await;
}

#[tokio::test]
async fn a_replica_is_refused_and_a_primary_without_promise_is_warned_of() {
    let primary = Server::start().await;
    let port = primary.port().to_string();
    let replica = Server::with(&["--replicaof", "127.0.0.1", &port]).await;
    says(RedisStore::builder(replica.url()), &["replica", "primary"]).await;
    let mut raw = primary.raw().await;
    let mut says = async |word: &str| {
        for _ in 0..400 {
            let info: String = ask(&mut raw, &["INFO", "replication"]).await;
            if info.contains(word) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("INFO never says {word}");
    };
    says("connected_slaves:1").await;
    let store = RedisStore::connect(primary.url()).await.expect("the primary");
    assert!(store.warnings().iter().any(|warning| warning.kind == WarningKind::NoReplicaPromise));
    let mut other = primary.raw().await;
    let () = ask(&mut other, &["CONFIG", "SET", "min-replicas-to-write", "1"]).await;
    says("min_slaves_good_slaves:1").await;
    let store = RedisStore::connect(primary.url()).await.expect("the primary");
    assert!(store.warnings().iter().all(|warning| warning.kind != WarningKind::NoReplicaPromise));
}

#[tokio::test]
async fn missing_permissions_are_tried_and_named() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    let denied = [
        ("INFO", "-info"),
        ("FCALL", "-fcall"),
        ("FUNCTION LOAD", "-function"),
        ("FUNCTION LOAD", "-function|load"),
        ("TIME", "-time"),
        ("SET", "-set"),
        ("GET", "-get"),
        ("DEL", "-del"),
        ("HSET", "-hset"),
        ("HMGET", "-hmget"),
        ("HGET", "-hget"),
        ("HGETALL", "-hgetall"),
        ("HEXISTS", "-hexists"),
        ("HDEL", "-hdel"),
        ("HLEN", "-hlen"),
        ("TYPE", "-type"),
        ("EXISTS", "-exists"),
        ("PEXPIREAT", "-pexpireat"),
        ("PERSIST", "-persist"),
        ("ZADD", "-zadd"),
        ("ZRANGE", "-zrange"),
        ("ZREM", "-zrem"),
        ("ZREMRANGEBYSCORE", "-zremrangebyscore"),
        ("RPUSH", "-rpush"),
        ("LTRIM", "-ltrim"),
        ("XGROUP", "-xgroup"),
        ("XGROUP", "-xgroup|create"),
        ("XGROUP", "-xgroup|delconsumer"),
        ("XADD", "-xadd"),
        ("XREADGROUP", "-xreadgroup"),
        ("XPENDING", "-xpending"),
        ("XINFO", "-xinfo"),
        ("XACK", "-xack"),
        ("XTRIM", "-xtrim"),
        ("XDEL", "-xdel"),
    ];
    for (command, rule) in denied {
        let () =
            ask(&mut raw, &["ACL", "SETUSER", "shop", "reset", "on", ">pw", "~{tcc:*", "+@all", rule]).await;
        let url = format!("redis://shop:pw@127.0.0.1:{}/", server.port());
        says(RedisStore::builder(url), &[&format!("denies this user {command}"), "ACL SETUSER"]).await;
    }
    let () = ask(&mut raw, &["ACL", "SETUSER", "shop", "reset", "on", ">pw", "~other:*", "+@all"]).await;
    let url = format!("redis://shop:pw@127.0.0.1:{}/", server.port());
    says(RedisStore::builder(&url), &["denies this user FCALL", "ACL SETUSER", "keys needed"]).await;
    let () = ask(&mut raw, &["ACL", "SETUSER", "shop", "reset", "on", ">pw", "~{tcc:*", "+@all"]).await;
    let store = RedisStore::connect(&url).await.expect("a user of this namespace");
    let left: Vec<String> = ask(&mut raw, &["KEYS", "*"]).await;
    assert_eq!(left, ["{tcc:00}:meta"], "a rehearsal leaves nothing behind");
    let () = ask(&mut raw, &["ACL", "SETUSER", "shop", "-xgroup"]).await;
    let listening =
        store.listen(&"worker".parse().expect("a name"), &["stock".parse().expect("a name")]).await;
    assert_eq!(listening.err().map(|error| error.kind()), Some(StoreErrorKind::Misconfigured));
    let url = format!("redis://shop:wrong@127.0.0.1:{}/", server.port());
    says(RedisStore::builder(url), &["password"]).await;
}

#[tokio::test]
async fn a_namespace_of_another_making_is_refused() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    RedisStore::builder(server.url()).shards(2).connect().await.expect("the first start");
    says(RedisStore::builder(server.url()), &["has 2 shards", ".shards(2)"]).await;
    RedisStore::builder(server.url()).namespace("other").connect().await.expect("another namespace");
    RedisStore::builder(server.url()).shards(2).connect().await.expect("the same again");
    let () = ask(&mut raw, &["HSET", "{tcc:00}:meta", "schema", "2"]).await;
    says(RedisStore::builder(server.url()).shards(2), &["schema 2", "upgrade"]).await;
    let () = ask(&mut raw, &["HDEL", "{tcc:00}:meta", "schema"]).await;
    says(RedisStore::builder(server.url()).shards(2), &["{tcc:00}:meta"]).await;
}

#[tokio::test]
async fn what_is_worth_knowing_is_told() {
    let server = Server::with(&["--maxmemory", "0"]).await;
    let kinds = |store: &RedisStore| store.warnings().iter().map(|warning| warning.kind).collect::<Vec<_>>();
    let store = RedisStore::connect(server.url()).await.expect("a store");
    assert_eq!(kinds(&store), [WarningKind::NoMemoryLimit, WarningKind::NoPassword]);
    // 127.1 leads here as well, and does not look it.
    let store = RedisStore::connect(format!("redis://127.1:{}/", server.port())).await.expect("a store");
    assert!(kinds(&store).contains(&WarningKind::NoTls));

    let proxy = Proxy::replacing(server.port(), &[("TIME", "LRANGE time 0 -1")]).await;
    let mut raw = server.raw().await;
    let (seconds, micros): (u64, u64) = ask(&mut raw, &["TIME"]).await;
    for apart in [-3_600, 3_600] {
        let _: i64 = ask(&mut raw, &["DEL", "time"]).await;
        let seconds = seconds.saturating_add_signed(apart).to_string();
        let _: i64 = ask(&mut raw, &["RPUSH", "time", &seconds, &micros.to_string()]).await;
        let store = RedisStore::connect(proxy.url_of(0)).await.expect("a store");
        assert!(kinds(&store).contains(&WarningKind::ClockApart), "{apart} s: {:?}", store.warnings());
    }
}

#[tokio::test]
async fn every_new_connection_is_looked_at_before_it_is_used() {
    let mut server = Server::start().await;
    let store = RedisStore::connect(server.url()).await.expect("a store");
    let story = Story::new(&store, 1);
    story.register(&[STOCK]).await;
    let before = story.record().await;
    server.restart_with(&["--appendfsync", "everysec"]).await;
    let mut errors = Vec::new();
    for _ in 0..3 {
        errors.push(store.load(&story.gid).await.expect_err("a weaker Redis"));
    }
    let last = errors.last().expect("an error");
    assert_eq!(last.kind(), StoreErrorKind::Misconfigured, "{last}");
    assert!(last.to_string().contains("everysec"));
    server.restart_with(&[]).await;
    let mut found = None;
    for _ in 0..3 {
        found = store.load(&story.gid).await.ok().flatten();
    }
    assert_eq!(found, Some(before), "what was acknowledged at `always` is there after two kills");
}

#[tokio::test]
async fn full_memory_refuses_what_begins_and_lets_finish_what_runs() {
    let server = Server::start().await;
    let store = RedisStore::connect(server.url()).await.expect("a store");
    let (confirmed, swept, new) = (Story::new(&store, 1), Story::new(&store, 2), Story::new(&store, 3));
    confirmed.register(&[STOCK, MAIL]).await;
    let mut short = Story::new(&store, 2);
    short.lease_ms = 0;
    short.register(&[STOCK]).await;
    let mut raw = server.raw().await;
    let () = ask(&mut raw, &["CONFIG", "SET", "maxmemory", "1"]).await;

    let create = new.create().await;
    let begin = new.try_apply(Begin { create: create.clone(), again_after_cancel: false }).await;
    let register = new.try_apply(support::story::register(Some(create), &[STOCK])).await;
    for refused in [begin.expect_err("begin"), register.expect_err("register")] {
        assert_eq!(refused.kind(), StoreErrorKind::Full, "{refused}");
        assert!(refused.is_retryable() && refused.to_string().contains("maxmemory"));
    }
    // A full Redis loads no library either, and what finishes goes on without.
    let () = ask(&mut raw, &["FUNCTION", "FLUSH"]).await;
    let restarted = RedisStore::connect(server.url()).await.expect("a process starts on a full Redis");
    Story::new(&restarted, 1).record().await;
    let heard = [(1, Some(succeeded())), (2, Some(succeeded()))];
    confirmed.decide(Direction::Confirm, &heard, &[]).await;
    let mut bells = store
        .listen(&"worker".parse().expect("a name"), &["stock".parse().expect("a name")])
        .await
        .expect("a listener");
    let bell = tokio::time::timeout(Duration::from_secs(5), bells.next(1))
        .await
        .expect("in time")
        .expect("a message");
    assert_eq!(bell[0].gid, confirmed.gid);
    for participant in ["stock", "mail"] {
        let drives = confirmed.claim(participant, 5).await;
        confirmed.finish(&drives).await;
    }
    assert_eq!(confirmed.record().await.state, TransactionState::Confirmed);
    let by = "sweeper".parse().expect("a name");
    swept.try_apply(Sweep { by }).await.expect("a sweep").result.expect("an answer");
    swept.finish(&swept.claim("stock", 6).await).await;
    assert_eq!(swept.record().await.state, TransactionState::Cancelled);
    RedisStore::connect(server.url()).await.expect("a full Redis can be started on, to let work drain");
}

#[tokio::test]
async fn a_gid_of_another_configuration_is_refused() {
    let server = Server::start().await;
    let store = RedisStore::connect(server.url()).await.expect("a store");
    for shard in [1, 3] {
        let foreign = tcc_core::Gid::new(tcc_core::Timestamp::from_millis(1), 1, shard);
        assert_eq!(store.load(&foreign).await.expect("an answer"), None);
        let sweep = Sweep { by: "sweeper".parse().expect("a name") };
        let error = store.apply(&foreign, &sweep.into()).await.expect_err("a foreign gid");
        assert_eq!(error.kind(), StoreErrorKind::Misconfigured);
    }
}
