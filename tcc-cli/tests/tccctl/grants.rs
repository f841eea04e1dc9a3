//! The user that `acl` prints can do everything, and is granted nothing that is not needed.

use std::collections::BTreeSet;

use serde_json::Value;
use tcc_core::{
    Runtime,
    machine::How,
    record::{Direction, TransactionState},
    store::Store,
};
use tcc_redis::RedisStore;

use crate::{
    ctl::{Ctl, until},
    server::{Server, ask},
    shop::{Mood, Moods, Scene, action},
    story::{MAIL, STOCK, Story, succeeded},
};

/// What the printed line grants.
fn granted(line: &str) -> Vec<String> {
    line.split_whitespace().filter_map(|word| word.strip_prefix('+')).map(str::to_owned).collect()
}

async fn counted(server: &Server) -> BTreeSet<String> {
    let text: String = ask(&mut server.raw().await, &["INFO", "commandstats"]).await;
    let name = |line: &str| {
        line.strip_prefix("cmdstat_").and_then(|line| line.split_once(':')).map(|(name, _)| name.to_owned())
    };
    text.lines().filter_map(name).collect()
}

#[tokio::test]
async fn everything_runs_under_the_printed_user_and_needs_all_of_it() {
    let server = Server::start().await;
    let line =
        Ctl::new("").done(&["acl", "--user", "shop", "--password", "pw", "--namespace", "tcc"]).await.data;
    let words: Vec<&str> = line.split_whitespace().collect();
    let () = ask(&mut server.raw().await, &words).await;
    let () = ask(&mut server.raw().await, &["CONFIG", "RESETSTAT"]).await;
    let url = format!("redis://shop:pw@127.0.0.1:{}/", server.port());
    let store = RedisStore::connect(&url).await.expect("a service starts under this user");
    let scene = Scene { ctl: Ctl::new(url), server, store };

    everything(&scene).await;

    let log: Vec<Value> = denied(&scene.server).await;
    assert_eq!(log, [Value::Null; 0], "Redis denied something");
    let counted = counted(&scene.server).await;
    let unused: Vec<String> =
        granted(&line).into_iter().filter(|command| !counted.contains(command)).collect();
    assert_eq!(unused, [""; 0], "granted, and never used");
    // Another namespace's keys stay out of reach, one of a longer name among them.
    let mut user = crate::server::raw(&format!("redis://shop:pw@127.0.0.1:{}/", scene.server.port())).await;
    for key in ["{tcc-2:00}:meta", "{other:00}:meta", "tcc"] {
        let read = redis::cmd("GET").arg(key).query_async::<Option<String>>(&mut user).await;
        assert_eq!(read.expect_err("out of reach").code(), Some("NOPERM"), "{key}");
    }
}

/// What Redis denied, as its log tells it.
async fn denied(server: &Server) -> Vec<Value> {
    let log: Vec<std::collections::BTreeMap<String, redis::Value>> =
        ask(&mut server.raw().await, &["ACL", "LOG"]).await;
    let text = |value: &redis::Value| redis::from_redis_value::<String>(value.clone()).unwrap_or_default();
    log.iter()
        .map(|entry| Value::String(format!("{} {}", text(&entry["reason"]), text(&entry["object"]))))
        .collect()
}

/// A service's work and an operator's.
async fn everything(scene: &Scene) {
    let moods = Moods::new(Mood::Well);
    let process: Runtime = scene.host("shop-1", &moods).await;
    let run = async |key: &str, abort: bool| {
        let transaction = process.transaction("checkout").key(key).wait_final(crate::ctl::LONG);
        transaction
            .run(async |tx| {
                tx.call(STOCK, &serde_json::json!({})).await?;
                if abort { Err(tcc_core::Abort::msg("no more tea")) } else { Ok(()) }
            })
            .await
    };
    run("order-1", false).await.expect("it is confirmed");
    run("order-2", true).await.expect_err("it is cancelled");
    run("order-1", false).await.expect("it is repeated");
    process.outcome_of("checkout", "order-1").await.unwrap().expect("an outcome");

    // By messages, parked, retried, and final.
    moods.set(Mood::GivesUp);
    let parked = Story::new(&scene.store, 1);
    parked.register(&[STOCK]).await;
    parked.decide(Direction::Confirm, &[(1, Some(succeeded()))], &[]).await;
    scene.until_parked(&parked.gid).await;
    // Late: it reopens what was cancelled.
    let reopened = Story::new(&scene.store, 2);
    reopened.register(&[STOCK]).await;
    moods.set(Mood::Well);
    reopened.decide(Direction::Cancel, &[(1, None)], &[]).await;
    scene.until_state(&reopened.gid, TransactionState::Cancelled).await;
    reopened.report(&[(1, succeeded())]).await;
    scene.until_state(&reopened.gid, TransactionState::Cancelled).await;

    let stuck = Story::new(&scene.store, 3);
    stuck.trying().await;
    let gid = [&parked, &stuck].map(|story| story.gid.to_string());
    let broken = Story::new(&scene.store, 4);
    broken.register(&[MAIL]).await;
    let key = scene.store.inspect().record_key(&broken.gid);
    let _: i64 = ask(&mut scene.server.raw().await, &["HSET", &key, "state", "nonsense"]).await;
    let _ = broken.sweep().await;

    // A process with a notifier takes what it tells.
    let now = scene.store.now(0).await.expect("the time");
    scene.store.take_alarms(0, &["an alarm".to_owned()], now, now).await.expect("it is taken");

    let reason = ["--reason", "a test"];
    for command in [
        &["list"][..],
        &["list", "--limit", "1"],
        &["list", "--stuck"],
        &["list", "--parked"],
        &["list", "--older-than", "1s"],
        &["list", "--name", "checkout", "--key", "order-1"],
        &["show", &gid[0]],
        &["show", &gid[0][..12]],
        &["show", "--follow", &gid[0]],
        &["stats"],
        &["nodes"],
        &["pause", "mail", reason[0], reason[1]],
        &["paused"],
        &["resume", "mail", reason[0], reason[1]],
        &["retry", "--parked", reason[0], reason[1]],
        &["retry", &gid[0], reason[0], reason[1]],
        &["cancel", &gid[1], reason[0], reason[1]],
        &["resolve", &gid[1], "--branch", "03", "--as", "cancelled", reason[0], reason[1]],
        &["audit"],
        &["audit", "--limit", "1"],
        &["doctor"],
        &["acl"],
        &["completions", "bash"],
    ] {
        let said = scene.ctl.run(command).await;
        assert!(matches!(said.code, 0 | 1 | 4), "{command:?}: {said:?}");
    }
    // A page that ended at something that is gone since.
    let after = "o,0:01m7q5cqg0000000000000-00";
    scene.ctl.done(&["list", "--after", after]).await;
    scene.ctl.done(&["list", "--parked", "--after", after]).await;
    let other_database = Ctl::new(format!("redis://shop:pw@127.0.0.1:{}/1", scene.server.port()));
    assert_eq!(other_database.run(&["list"]).await.code, 7, "the namespace is in the other one");
    full(scene).await;
    process.shutdown().await;
}

/// A Redis that is full and does not know the functions still lets finish what runs.
async fn full(scene: &Scene) {
    let story = Story::new(&scene.store, 9);
    story.register(&["away.take@1"]).await;
    let drives = story.decide(Direction::Confirm, &[(1, Some(succeeded()))], &[1]).await;
    let mut raw = scene.server.raw().await;
    let () = ask(&mut raw, &["CONFIG", "SET", "maxmemory", "1"]).await;
    let () = ask(&mut raw, &["FUNCTION", "FLUSH"]).await;
    let drive = &drives[0];
    let done = How::Done { seen: tcc_core::record::Seen::Succeeded };
    story.close(drive, done).await;
    let () = ask(&mut raw, &["CONFIG", "SET", "maxmemory", "1gb"]).await;
    until("it is confirmed", async || scene.record(&story.gid).await.state == TransactionState::Confirmed)
        .await;
    let other = action::<Value>("take", 1, &Moods::new(Mood::Well));
    let process =
        scene.process("shop-9").actions("away", [other]).start().await.expect("functions are loaded again");
    process.shutdown().await;
}
