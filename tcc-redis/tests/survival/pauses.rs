//! Processes frozen past their leases, which go on afterwards as if nothing had happened.

use super::{
    audit::{branches, decision, only, only_gid, word},
    kills::{hold, holding},
    process::Scene,
    role::Role,
};

#[tokio::test]
async fn an_initiator_paused_past_its_lease_finds_its_transaction_cancelled() {
    for point in ["begun", "first-try", "to.try"] {
        let scene = Scene::new().await;
        let mut raw = scene.raw().await;
        let mut initiator = hold(&scene, holding(&scene, point)).await;
        assert_eq!(only(&mut raw).await["state"], "trying");
        initiator.pause();
        let worker = scene.start(scene.role("worker")).await;
        assert_eq!(scene.balance().await.cancelled, 1, "{point}");
        let record = only(&mut raw).await;
        assert_eq!(decision(&record).map(|[_, reason, _]| reason), Some("initiator_lost"));

        // Its second try comes after the cancel, and so does its commit.
        initiator.go_on();
        initiator.resume();
        initiator.says("done").await;
        assert_eq!(scene.balance().await.cancelled, 1, "{point}");
        let gid = only_gid(&mut raw).await;
        assert_eq!(scene.books.journal("heard"), [format!("begun {gid}"), format!("cancel {gid}")]);
        initiator.leave().await;
        worker.leave().await;
    }
}

#[tokio::test]
async fn an_initiator_paused_in_phase_two_is_overtaken_and_its_late_end_changes_nothing() {
    for point in ["to.confirm.before", "to.confirm.after"] {
        let scene = Scene::new().await;
        overtaken(&scene, hold(&scene, holding(&scene, point)).await, "initiator").await;
    }
}

#[tokio::test]
async fn a_worker_paused_in_a_confirm_is_overtaken_and_its_late_end_changes_nothing() {
    for point in ["to.confirm.before", "to.confirm.after"] {
        let scene = Scene::new().await;
        let mut worker = scene.start(Role { hold: Some(point.into()), ..scene.role("paused") }).await;
        let tries_only = super::shop::ACCOUNTS.map(str::to_owned).to_vec();
        let mut initiator = scene.start(Role { transfers: 1, tries_only, ..scene.role("initiator") }).await;
        initiator.says("done").await;
        worker.says("holds").await;
        overtaken(&scene, worker, "paused").await;
        initiator.leave().await;
    }
}

/// Pauses the process in its confirm of `to`; another one confirms, and it goes on afterwards.
async fn overtaken(scene: &Scene, process: super::process::Process, name: &str) {
    let mut raw = scene.raw().await;
    let record = only(&mut raw).await;
    assert_eq!(word(&branches(&record)["02"], "epoch"), Some("1"), "its claim stands");
    process.pause();
    let other = scene.start(scene.role("other")).await;
    assert_eq!(scene.balance().await.confirmed, 1);
    let before = only(&mut raw).await;

    process.go_on();
    process.resume();
    process.leave().await;
    assert_eq!(scene.balance().await.confirmed, 1);
    assert_eq!(only(&mut raw).await, before, "a final record stays as it is");
    let confirms = scene.books.ran("confirm");
    let of_to: Vec<_> = confirms.iter().filter(|ran| ran.account == "to").collect();
    let who: Vec<_> = of_to.iter().map(|ran| (ran.process.as_str(), ran.attempt)).collect();
    assert_eq!(who, [(name, 1), ("other", 2)]);
    other.leave().await;
}
