//! What becomes of a look at a server that breaks off, is told too little, or finds a clock apart.

mod support;

use futures_util::future::join_all;
use support::{
    proxy::Proxy,
    server::{Server, ask},
};
use tcc_core::store::{Store, StoreErrorKind};
use tcc_redis::{Durability, RedisStore, WarningKind};

const CONFIG: &str = "CONFIG GET maxmemory-policy maxmemory appendonly appendfsync min-replicas-to-write";

#[tokio::test]
async fn a_server_that_goes_while_it_is_looked_at_is_unavailable_and_not_at_fault() {
    for request in ["INFO", "FCALL tcc_probe 0", CONFIG, "ACL WHOAMI", "TIME"] {
        let server = Server::start().await;
        let proxy = Proxy::replacing(server.port(), &[(request, "SHUTDOWN NOSAVE")]).await;
        let error = RedisStore::connect(proxy.url_of(0)).await.expect_err("no server any more");
        assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{request}: {error}");
    }
}

#[tokio::test]
async fn a_configuration_that_says_nothing_is_a_hidden_one() {
    let server = Server::start().await;
    let proxy = Proxy::replacing(server.port(), &[(CONFIG, "CONFIG GET maxmemory")]).await;
    let error = RedisStore::connect(proxy.url_of(0)).await.expect_err("a refusal");
    assert!(error.to_string().contains("hides"), "{error}");
    let stated = RedisStore::builder(proxy.url_of(0)).durability(Durability::Always).connect().await;
    let warnings = stated.expect("a store").warnings();
    let unchecked = warnings.iter().find(|warning| warning.kind == WarningKind::DurabilityUnchecked);
    let told = unchecked.expect("a warning").to_string();
    assert!(told.contains("`always`") && told.contains(".durability("), "{told}");
    let words =
        [Durability::Volatile, Durability::EverySecond, Durability::Always].map(|one| one.to_string());
    assert_eq!(words, ["volatile", "every second", "always"]);
}

#[tokio::test]
async fn a_default_user_without_a_password_is_told_and_another_is_not() {
    let server = Server::start().await;
    for (user, is_told) in [("default", true), ("shop", false)] {
        let whoami = format!("ECHO {user}");
        let proxy = Proxy::replacing(server.port(), &[("ACL WHOAMI", &whoami)]).await;
        let warnings = RedisStore::connect(proxy.url_of(0)).await.expect("a store").warnings();
        assert_eq!(warnings.iter().any(|one| one.kind == WarningKind::NoPassword), is_told, "{warnings:?}");
    }
    // Who may not ask its own name is not told, and is served.
    let () = ask(&mut server.raw().await, &["ACL", "SETUSER", "default", "-acl|whoami"]).await;
    let warnings = RedisStore::connect(server.url()).await.expect("a store").warnings();
    assert!(warnings.iter().all(|one| one.kind != WarningKind::NoPassword), "{warnings:?}");
}

#[tokio::test]
async fn permissions_are_tried_in_the_first_shard_and_in_the_last() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    let url = format!("redis://shop:pw@127.0.0.1:{}/", server.port());
    for (keys, is_enough) in
        [(&["~{tcc:00}:*"][..], false), (&["~{tcc:01}:*"], false), (&["~{tcc:00}:*", "~{tcc:01}:*"], true)]
    {
        let user = [&["ACL", "SETUSER", "shop", "reset", "on", ">pw", "+@all"], keys].concat();
        let () = ask(&mut raw, &user).await;
        let connected = RedisStore::builder(&url).shards(2).connect().await;
        assert_eq!(connected.is_ok(), is_enough, "{keys:?}: {connected:?}");
    }
}

#[tokio::test]
async fn a_clock_that_is_apart_is_told_by_how_much() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    let proxy = Proxy::replacing(server.port(), &[("TIME", "LRANGE time 0 -1")]).await;
    let time = async |raw: &mut _| {
        let (seconds, micros): (u64, u64) = ask(raw, &["TIME"]).await;
        seconds * 1_000 + micros / 1_000
    };
    let before = time(&mut raw).await;
    // Late in a second, an hour ago.
    let (seconds, millis) = (before / 1_000 - 3_600, 999);
    let _: i64 = ask(&mut raw, &["RPUSH", "time", &seconds.to_string(), "999000"]).await;
    let store = RedisStore::connect(proxy.url_of(0)).await.expect("a store");
    let after = time(&mut raw).await;
    let told = store.warnings().into_iter().find(|warning| warning.kind == WarningKind::ClockApart);
    let told = told.expect("a warning").message;
    let apart: Vec<u64> = told.split(' ').filter_map(|word| word.parse().ok()).collect();
    let there = seconds * 1_000 + millis;
    assert!((before - there..=after - there).contains(&apart[0]), "{told}");
}

#[tokio::test]
async fn callers_that_wait_for_the_same_attempt_share_its_outcome() {
    let mut server = Server::volatile().await;
    let proxy = Proxy::to(server.port()).await;
    let builder = RedisStore::builder(proxy.url_of(0)).durability(Durability::Volatile);
    let store = builder.connect().await.expect("a store");
    server.kill();
    store.now(0).await.expect_err("no server");
    let before = proxy.accepted();
    let answers = join_all((0..20).map(|_| store.now(0))).await;
    assert!(answers.into_iter().all(|answer| answer.is_err()));
    assert!((1..=2).contains(&(proxy.accepted() - before)), "{} attempts", proxy.accepted() - before);
}
