//! The only host of a participant is away for a minute.

use std::time::Duration;

use super::{
    audit::{branches, records, state, word},
    process::{Scene, until},
    role::Role,
    support::server::ask,
};

const AWAY: Duration = Duration::from_secs(60);
const TRANSFERS: usize = 30;

#[tokio::test]
async fn a_minute_without_the_only_host_of_a_participant_costs_nothing_but_time() {
    let scene = Scene::new().await;
    let mut raw = scene.raw().await;
    let only_to = |name: &str| Role { hosts: vec!["to".into()], ..scene.role(name) };
    let host = scene.start(only_to("host")).await;
    let tries_only = vec!["to".to_owned()];
    let first = Role { transfers: TRANSFERS, tries_only: tries_only.clone(), ..scene.role("first") };
    let mut first = scene.start(first).await;
    // It leaves in the midst of the work.
    until("it has work", async || !scene.books.ran("confirm").iter().all(|ran| ran.account != "to")).await;
    host.leave().await;
    first.says("done").await;
    let second = Role { transfers: TRANSFERS, tries_only, ..scene.role("second") };
    let mut second = scene.start(second).await;
    second.says("done").await;
    let before = waiting(&scene).await;
    assert!(before.len() >= TRANSFERS, "{before:?}");

    tokio::time::sleep(AWAY).await;
    let after = waiting(&scene).await;
    assert_eq!(before, after, "nothing of it was tried, finished or lost");
    assert!(after.iter().all(|(_, attempts)| attempts.is_none()), "no attempt was spent: {after:?}");
    let parked: u64 = ask(&mut raw, &["ZCARD", "{tcc:00}:parked"]).await;
    assert_eq!(parked, 0);
    let timers: Vec<String> = ask(&mut raw, &["ZRANGE", "{tcc:00}:due", "0", "-1"]).await;
    assert!(before.iter().all(|(gid, _)| timers.contains(gid)), "each keeps its timer");

    let back = scene.start(only_to("back")).await;
    let balance = scene.balance().await;
    assert_eq!(balance.confirmed + balance.cancelled, 2 * TRANSFERS);
    let ended = records(&mut raw).await;
    for (gid, _) in before {
        let line = &branches(&ended[&gid])["02"];
        assert_eq!(word(line, "attempts"), Some("1"), "{gid} took one attempt");
    }
    for process in [first, second, back] {
        process.leave().await;
    }
}

/// Open transactions whose branch at `to` waits, and how many attempts it took.
async fn waiting(scene: &Scene) -> Vec<(String, Option<String>)> {
    let mut waiting = Vec::new();
    for (gid, record) in records(&mut scene.raw().await).await {
        let Some(line) = branches(&record).remove("02") else { continue };
        if matches!(state(&line), "confirming" | "cancelling") {
            waiting.push((gid, word(&line, "attempts").map(str::to_owned)));
        }
    }
    waiting
}
