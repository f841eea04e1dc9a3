//! Processes of two versions share one Redis, and each finishes what the other one began (rule 17).

use super::{
    process::{Process, Scene},
    role::Role,
};

/// A process of either version that finishes only one account's branches, and begins transfers.
async fn start(scene: &Scene, name: &str, is_old: bool, finishes: &str) -> Process {
    let other = super::shop::ACCOUNTS.into_iter().find(|account| *account != finishes);
    let tries_only = other.map(str::to_owned).into_iter().collect();
    scene.start(Role { is_old, load: 3, tries_only, ..scene.role(name) }).await
}

#[tokio::test]
async fn processes_of_two_versions_finish_each_others_transfers_and_outlive_each_other() {
    for old_first in [true, false] {
        let scene = Scene::new().await;
        let first = start(&scene, "first", old_first, "from").await;
        let mut second = start(&scene, "second", !old_first, "to").await;
        scene.goes_on(60).await;
        // An upgrade, or the way back: one version's process is killed, and one of the other follows it.
        first.kill();
        let mut third = start(&scene, "third", !old_first, "from").await;
        scene.goes_on(60).await;
        scene.books.mark("enough");
        second.says("done").await;
        third.says("done").await;
        let balance = scene.balance().await;
        assert!(balance.confirmed > 30 && balance.cancelled > 0, "{balance:?}");
        let confirms = scene.books.ran("confirm");
        for (account, processes) in [("from", &["first", "third"][..]), ("to", &["second"])] {
            let ran: Vec<_> = confirms.iter().filter(|ran| ran.account == account).collect();
            assert!(ran.iter().all(|ran| processes.contains(&ran.process.as_str())), "{ran:?}");
            assert!(processes.iter().all(|process| ran.iter().any(|ran| ran.process == *process)), "{ran:?}");
        }
        second.leave().await;
        third.leave().await;
    }
}
