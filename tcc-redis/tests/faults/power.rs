//! Redis's machine loses its power: what was written and not synced is gone, in part or as a whole.

use std::time::Duration;

use super::{
    aof::{self, Gauge},
    process::becomes,
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
        let count = LOSSES.min(losses - round * LOSSES);
        for loss in 1..=count {
            scene.pause(0, 300).await;
            let [all, repairs] = [0; 2].map(|_| scene.random.within(0..=1) == 0);
            // What Redis itself makes of a torn file must not be started from twice: `PROOF.md` says why.
            let repairs = repairs || loss < count;
            let what = if all { "all machines" } else { "the machine of Redis" };
            let then = if repairs { "repaired" } else { "as it was" };
            let lost = scene.loses_power(all, repairs).await;
            tally.ran(&format!("{what}, its file {then}"), u64::from(lost > 0));
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
        let directory = self.server.directory();
        for _ in 0..100 {
            self.mute(true);
            let synced = gauge.synced().await;
            // What was on its way at that moment is all that comes: nobody sends more without an answer.
            if becomes(Duration::from_millis(200), async || aof::length(&directory) > synced).await {
                self.pause(0, 80).await;
                return synced;
            }
            self.mute(false);
            self.goes_on(5).await;
        }
        panic!("a hundred times, nothing was on its way to Redis");
    }

    fn mute(&self, mute: bool) {
        for link in &self.links {
            link.mute(mute);
        }
    }

    /// How many bytes were lost.
    async fn loses_power(&mut self, all: bool, repairs: bool) -> u64 {
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
        if repairs {
            self.server.repair();
        }
        self.server.restart().await;
        self.mute(false);
        if all {
            for who in Who::BOTH {
                self.start(who).await;
            }
        }
        length - left
    }
}
