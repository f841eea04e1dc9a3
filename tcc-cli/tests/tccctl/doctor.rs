//! `doctor` finds what is planted, and nothing where all is well.

use serde_json::Value;
use tcc_core::{
    Gid, Presence, Timestamp,
    machine::How,
    record::{Direction, ParkCause},
    store::Store,
};

use crate::{
    ctl::Ctl,
    server::{Server, ask},
    shop::{Mood, Moods, Scene},
    story::{MAIL, STOCK, Story, gid, succeeded},
};

/// A transaction with one parked branch and one whose next attempt is far away, which a sweep has seen.
async fn waiting(scene: &Scene, number: u64, key: Option<&str>) -> Gid {
    let mut story = Story::new(&scene.store, number);
    story.key = key.map(str::to_owned);
    if key.is_some() {
        story.begin().await;
    }
    story.register(&[STOCK, MAIL]).await;
    let drives =
        story.decide(Direction::Confirm, &[(1, Some(succeeded())), (2, Some(succeeded()))], &[1, 2]).await;
    let later = How::Failed { after_ms: 600_000, error: "no answer".into() };
    story.close(&drives[0], how_parked()).await;
    story.close(&drives[1], later).await;
    story.sweep().await.unwrap().result.unwrap();
    story.gid
}

fn how_parked() -> How {
    How::Park { cause: ParkCause::Handler, error: "no answer".into() }
}

/// One whose only branch is parked.
async fn wholly_parked(scene: &Scene, number: u64) -> Gid {
    let story = Story::new(&scene.store, number);
    story.register(&[STOCK]).await;
    let drives = story.decide(Direction::Confirm, &[(1, Some(succeeded()))], &[1]).await;
    story.close(&drives[0], how_parked()).await;
    story.gid
}

/// One whose only branch waits for its next attempt, which a sweep has seen.
async fn retrying(scene: &Scene, number: u64) -> Gid {
    let story = Story::new(&scene.store, number);
    story.register(&[STOCK]).await;
    let drives = story.decide(Direction::Confirm, &[(1, Some(succeeded()))], &[1]).await;
    story.close(&drives[0], How::Failed { after_ms: 600_000, error: "no answer".into() }).await;
    story.sweep().await.unwrap().result.unwrap();
    story.gid
}

/// Problems and what they are about, in their order.
async fn findings(scene: &Scene) -> Vec<(String, String)> {
    let found = scene.ctl.json(&["doctor", "--durability", "volatile"]).await;
    let of = |finding: &Value, field: &str| finding[field].as_str().unwrap().to_owned();
    let found = found["items"].as_array().unwrap().iter().filter(|finding| finding["warning"] == false);
    let mut found: Vec<_> = found.map(|finding| (of(finding, "problem"), of(finding, "subject"))).collect();
    found.sort();
    found
}

#[tokio::test]
async fn all_is_well_where_nothing_is_planted() {
    let scene = Scene::new().await;
    waiting(&scene, 1, Some("order-1")).await;
    wholly_parked(&scene, 2).await;
    retrying(&scene, 3).await;
    Story::new(&scene.store, 4).trying().await;
    Story::new(&scene.store, 5).confirm_all().await;
    let _process = scene.host("shop-1", &Moods::new(Mood::Well)).await;
    assert_eq!(findings(&scene).await, []);
    let said = scene.ctl.run(&["doctor", "--durability", "volatile"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.words.contains("0 findings"), "{said:?}");
    let little = scene.ctl.run(&["doctor", "--durability", "volatile", "--limit", "2"]).await;
    assert!(little.words.contains("not everything was looked at"), "{little:?}");
}

#[tokio::test]
async fn every_planted_inconsistency_is_found() {
    let scene = Scene::new().await;
    let mut raw = scene.server.raw().await;
    let mut planted: Vec<(&str, String)> = Vec::new();
    let mut plant = |problem, subject: &Gid| planted.push((problem, subject.to_string()));
    let key = |suffix: &str| format!("{{tcc:00}}:{suffix}");
    let record = |gid: &Gid| scene.store.inspect().record_key(gid);
    let far = (scene.store.now(0).await.unwrap().as_millis() + 86_400_000).to_string();

    let one = retrying(&scene, 1).await;
    let _: i64 = ask(&mut raw, &["ZREM", &key("due"), one.as_str()]).await;
    plant("timer_missing", &one);

    let two = retrying(&scene, 2).await;
    let _: i64 = ask(&mut raw, &["ZADD", &key("due"), &far, two.as_str()]).await;
    plant("timer_late", &two);

    let three = retrying(&scene, 3).await;
    let _: i64 = ask(&mut raw, &["PEXPIRE", &record(&three), "3600000"]).await;
    plant("expires_in_flight", &three);
    let _: i64 = ask(&mut raw, &["PEXPIRE", &key(&format!("history:{three}")), "3600000"]).await;
    plant("expires_in_flight", &three);

    let four = Story::new(&scene.store, 4);
    four.confirm_all().await;
    let _: i64 = ask(&mut raw, &["PERSIST", &record(&four.gid)]).await;
    let _: i64 = ask(&mut raw, &["ZADD", &key("parked"), "1", four.gid.as_str()]).await;
    plant("never_expires", &four.gid);
    plant("listed_final", &four.gid);

    let five = retrying(&scene, 5).await;
    let _: i64 = ask(&mut raw, &["HSET", &record(&five), "01.state", "conforming"]).await;
    plant("unreadable", &five);

    let gone = gid(6);
    let _: i64 = ask(&mut raw, &["ZADD", &key("open"), "0", gone.as_str()]).await;
    plant("listed_gone", &gone);

    let seven = wholly_parked(&scene, 7).await;
    let _: i64 = ask(&mut raw, &["ZREM", &key("open"), seven.as_str()]).await;
    plant("not_listed_open", &seven);

    let eight = waiting(&scene, 8, None).await;
    let _: i64 = ask(&mut raw, &["ZREM", &key("parked"), eight.as_str()]).await;
    plant("not_listed_parked", &eight);

    let nine = retrying(&scene, 9).await;
    let _: i64 = ask(&mut raw, &["ZADD", &key("parked"), "1", nine.as_str()]).await;
    plant("listed_not_parked", &nine);

    let ten = waiting(&scene, 10, Some("order-10")).await;
    let () = ask(&mut raw, &["SET", &key("key:checkout:order-10"), one.as_str()]).await;
    plant("key_elsewhere", &ten);

    let eleven = waiting(&scene, 11, Some("order-11")).await;
    let _: i64 = ask(&mut raw, &["PEXPIRE", &key("key:checkout:order-11"), "3600000"]).await;
    plant("key_expires", &eleven);

    let twelve = retrying(&scene, 12).await;
    let _: i64 = ask(&mut raw, &["HSET", &key("unreadable"), twelve.as_str(), "01.state: once"]).await;
    plant("readable_again", &twelve);

    let _: i64 = ask(&mut raw, &["ZADD", &key("due"), &far, "nonsense"]).await;
    planted.push(("foreign_member", "nonsense".into()));

    let presence = Presence {
        process: "shop-1".parse().unwrap(),
        actions: vec!["letters.send@1".parse().unwrap()],
        version: "0.1.0".into(),
        heard_at: Timestamp::from_millis(1),
    };
    scene.store.announce(&presence).await.unwrap();
    let message: String =
        ask(&mut raw, &["XADD", &key("ready:letters"), "*", "gid", four.gid.as_str()]).await;
    planted.push(("message_stray", message));
    let message: String = ask(&mut raw, &["XADD", &key("ready:stock"), "*", "gid", four.gid.as_str()]).await;
    planted.push(("message_stray", message));

    let found = findings(&scene).await;
    let told: Vec<(&str, String)> =
        found.iter().map(|(problem, subject)| (problem.as_str(), subject.clone())).collect();
    planted.sort();
    assert_eq!(told, planted, "what is found is what was planted, and nothing else");
    assert!(planted.len() >= 10);

    let said = scene.ctl.run(&["doctor", "--durability", "volatile"]).await;
    assert_eq!(said.code, 1, "{said:?}");
    for (problem, subject) in &planted {
        assert!(said.data.contains(&format!("{problem}  {subject}")), "{problem} is not in {said:?}");
    }
    assert!(said.words.contains(&format!("{} findings", planted.len())), "{said:?}");
}

#[tokio::test]
async fn a_server_that_a_service_would_refuse_is_a_finding() {
    let scene = Scene::new().await;
    let said = scene.ctl.run(&["doctor"]).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.data.contains("`appendonly` is `no`"), "{said:?}");
    let good = Server::start().await;
    tcc_redis::RedisStore::connect(good.url()).await.expect("a store");
    let ctl = Ctl::new(good.url());
    let said = ctl.done(&["doctor"]).await;
    assert!(said.data.contains("no_password  server"), "a warning is told, and no reason to fail: {said:?}");
    let () = ask(&mut good.raw().await, &["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]).await;
    let said = ctl.run(&["doctor"]).await;
    assert!(said.code == 1 && said.data.contains("noeviction"), "{said:?}");
}
