//! `kill -9` of an initiator and of a worker, at named points.

use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;

use super::{
    audit::{Fields, branches, decision, only, only_gid, state, word},
    process::{Process, Scene, until},
    role::Role,
    support::server::ask,
};

/// A process that begins one transfer and holds at this point of it.
pub(crate) fn holding(scene: &Scene, point: &str) -> Role {
    Role { transfers: 1, hold: Some(point.to_owned()), ..scene.role("initiator") }
}

/// Starts it, and waits until it is there.
pub(crate) async fn hold(scene: &Scene, role: Role) -> Process {
    let mut process = scene.start(role).await;
    process.says("holds").await;
    process
}

/// The states of the branches.
fn states(record: &Fields) -> Vec<String> {
    branches(record).values().map(|line| state(line).to_owned()).collect()
}

/// Who decided, and why.
fn decided(record: &Fields) -> (&str, &str) {
    let [_, reason, by] = decision(record).expect("a decision");
    (reason, by)
}

#[tokio::test]
async fn an_initiator_killed_after_begin_is_followed_by_a_cancel() {
    let scene = Scene::new().await;
    let mut raw = scene.raw().await;
    let initiator = hold(&scene, holding(&scene, "begun")).await;
    let record = only(&mut raw).await;
    assert_eq!((record["state"].as_str(), states(&record).len()), ("trying", 0));
    initiator.kill();

    let worker = scene.start(scene.role("worker")).await;
    assert_eq!(scene.balance().await.cancelled, 1);
    assert_eq!(decided(&only(&mut raw).await), ("initiator_lost", "worker"));
    worker.leave().await;
}

#[tokio::test]
async fn an_initiator_killed_after_the_first_try_is_followed_by_a_cancel_of_what_it_reserved() {
    let scene = Scene::new().await;
    let mut raw = scene.raw().await;
    let initiator = hold(&scene, holding(&scene, "first-try")).await;
    let record = only(&mut raw).await;
    assert_eq!((record["state"].as_str(), states(&record)), ("trying", vec!["trying".to_owned()]));
    let entries = scene.books.entries();
    assert!(
        entries[&only_gid(&mut raw).await]["01"]
            .attempt
            .as_ref()
            .is_some_and(|text| text.starts_with("reserved"))
    );
    initiator.kill();

    let worker = scene.start(scene.role("worker")).await;
    assert_eq!(scene.balance().await.cancelled, 1);
    assert_eq!(decided(&only(&mut raw).await), ("initiator_lost", "worker"));
    assert_eq!(scene.books.ran("cancel")[0].process, "worker");
    worker.leave().await;
}

#[tokio::test]
async fn an_initiator_killed_in_the_middle_of_a_try_is_followed_by_a_cancel_without_one() {
    let scene = Scene::new().await;
    let mut raw = scene.raw().await;
    let initiator = hold(&scene, holding(&scene, "from.try")).await;
    assert_eq!(states(&only(&mut raw).await), ["trying"], "registered before tried");
    initiator.kill();

    let worker = scene.start(scene.role("worker")).await;
    assert_eq!(scene.balance().await.cancelled, 1);
    let gid = only_gid(&mut raw).await;
    assert_eq!(scene.books.entries()[&gid]["01"].attempt.as_deref(), Some("barred"));
    worker.leave().await;
}

#[tokio::test]
async fn an_initiator_killed_after_its_decision_is_followed_by_whoever_hosts_the_participants() {
    let scene = Scene::new().await;
    let mut raw = scene.raw().await;
    // It decides, and nobody is there to confirm.
    let tries_only = super::shop::ACCOUNTS.map(str::to_owned).to_vec();
    let mut initiator =
        scene.start(Role { transfers: 1, tries_only, hold: None, ..scene.role("initiator") }).await;
    initiator.says("done").await;
    let record = only(&mut raw).await;
    assert_eq!(decision(&record).map(|[direction, ..]| direction), Some("confirm"));
    assert!(branches(&record).values().all(|line| word(line, "epoch").is_none()), "nothing was claimed");
    initiator.kill();
    assert!(scene.books.ran("confirm").is_empty());

    let worker = scene.start(scene.role("worker")).await;
    assert_eq!(scene.balance().await.confirmed, 1);
    worker.leave().await;
}

#[tokio::test]
async fn an_initiator_killed_between_two_confirms_is_followed_in_the_same_direction() {
    for point in ["to.confirm.before", "to.confirm.after"] {
        let scene = Scene::new().await;
        let mut raw = scene.raw().await;
        let initiator = hold(&scene, holding(&scene, point)).await;
        let gid = only_gid(&mut raw).await;
        until("the other one is confirmed", async || {
            scene.books.entries()[&gid]["01"].end.as_deref() == Some("confirm")
        })
        .await;
        let record = only(&mut raw).await;
        assert_eq!(record["state"], "confirming");
        let line = &branches(&record)["02"];
        assert_eq!((state(line), word(line, "epoch")), ("confirming", Some("1")), "its claim stands");
        initiator.kill();

        let worker = scene.start(scene.role("worker")).await;
        assert_eq!(scene.balance().await.confirmed, 1);
        let confirms = scene.books.ran("confirm");
        let last = confirms.iter().rfind(|ran| ran.account == "to").expect("it ran");
        assert_eq!((last.process.as_str(), last.attempt), ("worker", 2), "{point}: {confirms:?}");
        worker.leave().await;
    }
}

#[tokio::test]
async fn a_worker_killed_in_the_middle_of_a_confirm_is_followed_by_another() {
    for point in ["from.confirm.before", "from.confirm.after"] {
        let scene = Scene::new().await;
        let mut raw = scene.raw().await;
        let worker = scene.start(Role { hold: Some(point.into()), ..scene.role("first") }).await;
        let tries_only = super::shop::ACCOUNTS.map(str::to_owned).to_vec();
        let initiator = Role { transfers: 1, tries_only, ..scene.role("initiator") };
        let mut initiator = scene.start(initiator).await;
        initiator.says("done").await;
        let mut worker = worker;
        worker.says("holds").await;
        assert_claimed(&mut raw).await;
        worker.kill();

        let other = scene.start(scene.role("second")).await;
        assert_eq!(scene.balance().await.confirmed, 1);
        let confirms = scene.books.ran("confirm");
        let of_from: Vec<_> = confirms.iter().filter(|ran| ran.account == "from").collect();
        let who: Vec<_> = of_from.iter().map(|ran| (ran.process.as_str(), ran.attempt)).collect();
        assert_eq!(who, [("first", 1), ("second", 2)], "{point}");
        other.leave().await;
        initiator.leave().await;
    }
}

/// The branch of `from` is in the middle of its first confirm.
async fn assert_claimed(raw: &mut MultiplexedConnection) {
    let record = only(raw).await;
    let line = &branches(&record)["01"];
    assert_eq!((state(line), word(line, "epoch"), word(line, "closed")), ("confirming", Some("1"), None));
}

#[tokio::test]
async fn at_default_settings_a_dead_initiator_is_noticed_within_ten_seconds() {
    let scene = Scene::new().await;
    let mut raw = scene.raw().await;
    let worker = scene.start(Role { lease_ms: None, ..scene.role("worker") }).await;
    let initiator = hold(&scene, Role { lease_ms: None, ..holding(&scene, "first-try") }).await;
    // It lives longer than its lease, and keeps it.
    tokio::time::sleep(Duration::from_secs(6)).await;
    let record = only(&mut raw).await;
    assert_eq!(record["state"], "trying", "a living initiator is left alone");
    let killed = Instant::now();
    initiator.kill();
    let key = format!("{{tcc:00}}:tx:{}", only_gid(&mut raw).await);
    until("somebody decides", async || {
        ask::<Option<String>>(&mut raw, &["HGET", &key, "decided"]).await.is_some()
    })
    .await;
    let waited = killed.elapsed();
    assert!(waited < Duration::from_secs(10), "acted on after {waited:?}");
    assert_eq!(decided(&only(&mut raw).await), ("initiator_lost", "worker"));
    assert_eq!(scene.balance().await.cancelled, 1);
    worker.leave().await;
}
