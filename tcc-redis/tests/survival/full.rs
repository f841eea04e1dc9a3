//! Redis without memory in the midst of the work.

use super::{
    process::{Scene, until},
    role::Role,
    support::server::ask,
};

#[tokio::test]
async fn full_memory_in_mid_work_refuses_begins_and_lets_what_runs_drain() {
    let scene = Scene::new().await;
    let mut raw = scene.raw().await;
    let tries_only = vec!["to".to_owned()];
    let mut load = scene.start(Role { load: 6, tries_only, ..scene.role("load") }).await;
    let worker = scene.start(scene.role("worker")).await;
    scene.goes_on(40).await;
    let limit: Vec<String> = ask(&mut raw, &["CONFIG", "GET", "maxmemory"]).await;
    let () = ask(&mut raw, &["CONFIG", "SET", "maxmemory", "1"]).await;
    until("begins are refused", async || scene.books.journal("not-begun").len() > 10).await;
    // The load asks on, and is told why; what had begun comes to its end.
    let balance = scene.balance().await;
    assert!(balance.confirmed > 10, "{balance:?}");
    for refusal in scene.books.journal("not-begun") {
        assert!(refusal.contains("`maxmemory`"), "{refusal}");
    }
    let () = ask(&mut raw, &["CONFIG", "SET", "maxmemory", &limit[1]]).await;
    scene.goes_on(40).await;
    scene.books.mark("enough");
    load.says("done").await;
    scene.balance().await;
    load.leave().await;
    worker.leave().await;
}
