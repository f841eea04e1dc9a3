//! The network between services and Redis breaks in every way, while they work.

use std::time::Duration;

use super::{
    scene::{Scene, Setting, Who},
    support::{link::Fault, server::Server},
    tally::Tally,
};

/// How long a fault lasts, in milliseconds: some are over before a call gives up, some outlast leases.
const SHORT: u64 = 300;
const LONG: u64 = 1_800;
/// Which links break at a time.
const LINKS: [&[Who]; 3] = [&Who::BOTH, &[Who::Initiator], &[Who::Worker]];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_breaks_in_every_way_costs_time_and_cancels_and_nothing_else() {
    let rounds = Tally::scale("TCC_NETWORK_FAULTS", 1);
    let mut tally = Tally::of("network");
    for round in 0..rounds {
        let seed = Tally::seed() + round;
        let setting = Setting { seed, slow_ms: 20, sabotage: None };
        let mut scene = Scene::new(setting, Server::start().await).await;
        for fault in Fault::ALL {
            let fired = strike(&mut scene, fault).await;
            tally.ran(&format!("{fault:?}"), fired);
        }
        tally.judged(seed, scene.end().await);
    }
    tally.end();
}

/// Breaks one link or both, until it was noticed and long enough, and waits until the load goes on.
async fn strike(scene: &mut Scene, fault: Fault) -> u64 {
    let which = *scene.random.one_of(&LINKS);
    let before: u64 = scene.links.iter().map(|link| link.fired()).sum();
    for who in which {
        scene.link(*who).set(Some(fault));
    }
    scene.pause(SHORT, LONG).await;
    let fired = || scene.links.iter().map(|link| link.fired()).sum::<u64>() - before;
    super::process::becomes(Duration::from_secs(20), async || fired() > 0).await;
    let fired = fired();
    for link in &scene.links {
        link.set(None);
    }
    scene.goes_on(20).await;
    fired
}
