//! Redis's machine loses its power: what was written and not synced is gone, in part or as a whole.

use super::{
    aof::{self, Gauge},
    process::until,
    scene::{Scene, Setting, Who},
    support::server::Server,
    tally::Tally,
};

/// Losses one after another in one scene.
const LOSSES: u64 = 3;
/// Redis never begins a new file.
pub(crate) const ONE_FILE: [&str; 2] = ["--auto-aof-rewrite-percentage", "0"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_without_power_forgets_nothing_that_was_acknowledged() {
    let losses = Tally::scale("TCC_POWER_LOSSES", LOSSES);
    let mut tally = Tally::of("power");
    for round in 0..losses.div_ceil(LOSSES) {
        let seed = Tally::seed() + round;
        let setting = Setting { seed, slow_ms: 20, sabotage: None };
        let mut scene = Scene::new(setting, Server::with(&ONE_FILE).await).await;
        for _ in 0..LOSSES.min(losses - round * LOSSES) {
            scene.pause(0, 300).await;
            let all = scene.random.within(0..=1) == 0;
            let what = if all { "all machines" } else { "the machine of Redis" };
            let lost = scene.loses_power(all).await;
            tally.ran(what, u64::from(lost > 0));
            scene.goes_on(20).await;
        }
        tally.judged(seed, scene.end().await);
    }
    tally.end();
}

impl Scene {
    /// Lets nobody hear of an acknowledgement any more, and Redis write on for a while; what it has written since
    /// may be on its disk or not. Gives back how much had been synced when the last answer was heard.
    pub(crate) async fn last_acknowledged(&mut self) -> u64 {
        let mut gauge = Gauge::of(&self.server).await;
        for link in &self.links {
            link.mute(true);
        }
        let synced = gauge.synced().await;
        let directory = self.server.directory();
        until("something that is not acknowledged", async || aof::length(&directory) > synced).await;
        self.pause(0, 80).await;
        synced
    }

    /// How many bytes were lost.
    async fn loses_power(&mut self, all: bool) -> u64 {
        let synced = self.last_acknowledged().await;
        self.server.kill();
        if all {
            for who in Who::BOTH {
                self.kill(who);
            }
        }
        let directory = self.server.directory();
        let length = aof::length(&directory);
        assert!(length > synced, "{length} is no more than {synced}");
        let left = match self.random.within(0..=2) {
            0 => synced,
            _ => self.random.within(synced..=length - 1),
        };
        aof::cut(&directory, left);
        self.server.restart().await;
        for link in &self.links {
            link.mute(false);
        }
        if all {
            for who in Who::BOTH {
                self.start(who).await;
            }
        }
        length - left
    }
}
