//! Redis killed under load, and started again on what it left on the disk.

use super::{
    audit::{branches, records, state},
    process::{Scene, until},
    role::Role,
};

const KILLS: usize = 3;

#[tokio::test]
async fn redis_killed_under_load_forgets_nothing_that_was_acknowledged() {
    let mut scene = Scene::new().await;
    // One decides by message for the other, one finishes its own.
    let tries_only = vec!["to".to_owned()];
    let mut first = scene.start(Role { load: 6, tries_only, ..scene.role("first") }).await;
    let mut second = scene.start(Role { load: 2, ..scene.role("second") }).await;
    let mut heard = 0;
    for kill in 1..=KILLS {
        let mut raw = scene.raw().await;
        until("the load goes on, and something is in the middle of phase two", async || {
            let records = records(&mut raw).await;
            let in_phase_two = |record| branches(record).values().any(|line| state(line) == "confirming");
            scene.books.journal("heard").len() > heard + 40 && records.values().any(in_phase_two)
        })
        .await;
        scene.server.kill();
        heard = scene.books.journal("heard").len();
        assert!(heard > 40 * kill);
        scene.server.restart().await;
    }
    scene.goes_on(40).await;
    scene.books.mark("enough");
    first.says("done").await;
    second.says("done").await;
    let balance = scene.balance().await;
    assert!(balance.confirmed > 50 && balance.cancelled > 0, "{balance:?}");
    first.leave().await;
    second.leave().await;
}
