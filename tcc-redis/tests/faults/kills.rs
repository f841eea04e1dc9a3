//! Services, Redis and the ledger are killed, stopped and restarted under load, and Redis refuses in every way.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use super::{
    process::{LONG, becomes, signal, until},
    role::LEASE,
    scene::{Scene, Setting, Who},
    support::server::{LOG, Server, ask},
    tally::Tally,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Strike {
    KillInitiator,
    KillWorker,
    KillRedis,
    KillLedger,
    PauseInitiator,
    PauseWorker,
    PauseRedis,
    RestartWorker,
    RestartRedis,
    Flush,
    Busy,
    ReadOnly,
    FullMemory,
    FullDisk,
}

const ALL: [Strike; 14] = [
    Strike::KillInitiator,
    Strike::Flush,
    Strike::KillRedis,
    Strike::PauseWorker,
    Strike::Busy,
    Strike::FullDisk,
    Strike::KillWorker,
    Strike::ReadOnly,
    Strike::PauseInitiator,
    Strike::KillLedger,
    Strike::FullMemory,
    Strike::RestartWorker,
    Strike::PauseRedis,
    Strike::RestartRedis,
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_pauses_and_refusals_of_every_kind_cost_time_and_cancels_and_nothing_else() {
    let rounds = Tally::scale("TCC_KILLS", 10);
    let mut tally = Tally::of("kills");
    let can_fill = Command::new("prlimit").arg("--version").output().is_ok();
    for round in 0..rounds {
        let seed = Tally::seed() + round;
        let setting = Setting { seed, slow_ms: 20, sabotage: None };
        let mut scene = Scene::new(setting, Server::on_a_limited_disk(&[]).await).await;
        for strike in ALL {
            if strike == Strike::FullDisk && !can_fill {
                tally.leaves_out("a full disk: there is no `prlimit` (util-linux) here");
                continue;
            }
            scene.pause(0, 60).await;
            let fired = scene.suffers(strike).await;
            tally.ran(&format!("{strike:?}"), u64::from(fired));
            scene.goes_on(12).await;
        }
        tally.judged(seed, scene.end().await);
    }
    tally.end();
}

impl Scene {
    /// Strikes, and takes care that the load can go on; whether the strike had an effect.
    async fn suffers(&mut self, strike: Strike) -> bool {
        match strike {
            Strike::KillInitiator => self.replace(Who::Initiator).await,
            Strike::KillWorker => self.replace(Who::Worker).await,
            Strike::KillRedis => {
                self.server.kill();
                self.pause(0, 200).await;
                self.server.restart().await;
            }
            Strike::KillLedger => {
                self.ledger.kill();
                self.ledger.reopen().await;
            }
            Strike::PauseInitiator => self.stop_past_a_lease(Who::Initiator).await,
            Strike::PauseWorker => self.stop_past_a_lease(Who::Worker).await,
            Strike::PauseRedis => {
                signal("-STOP", self.server.pid());
                self.pause(100, 1_200).await;
                signal("-CONT", self.server.pid());
            }
            Strike::RestartWorker => {
                self.leave(Who::Worker).await;
                self.start(Who::Worker).await;
            }
            Strike::RestartRedis => {
                signal("-TERM", self.server.pid());
                until("the end of Redis", async || self.server.has_ended()).await;
                self.server.restart().await;
            }
            Strike::Flush => return self.flush().await,
            Strike::Busy => return self.is_busy().await,
            Strike::ReadOnly => {
                let refused = self.refusals("READONLY").await;
                let mut raw = self.raw().await;
                // A replica of nobody: the port is the one that no server has.
                let () = ask(&mut raw, &["REPLICAOF", "127.0.0.1", "1"]).await;
                let fired = self.refuses("READONLY", refused).await;
                self.pause(0, 300).await;
                let () = ask(&mut raw, &["REPLICAOF", "NO", "ONE"]).await;
                return fired;
            }
            Strike::FullMemory => {
                let refused = self.refusals("OOM").await;
                let mut raw = self.raw().await;
                let () = ask(&mut raw, &["CONFIG", "SET", "maxmemory", "1"]).await;
                let fired = self.refuses("OOM", refused).await;
                // What finishes something goes on as a script, which may be forgotten as well.
                let () = ask(&mut raw, &["SCRIPT", "FLUSH"]).await;
                self.pause(0, 300).await;
                let () = ask(&mut raw, &["CONFIG", "SET", "maxmemory", "1gb"]).await;
                return fired;
            }
            Strike::FullDisk => return self.fills_the_disk().await,
        }
        true
    }

    async fn replace(&mut self, who: Who) {
        self.kill(who);
        self.pause(0, 100).await;
        self.start(who).await;
    }

    async fn stop_past_a_lease(&mut self, who: Who) {
        self.service(who).pause();
        tokio::time::sleep(LEASE + Duration::from_millis(100)).await;
        self.pause(0, 200).await;
        self.service(who).resume();
    }

    /// Redis forgets the library and all scripts; whether the library is there again.
    async fn flush(&mut self) -> bool {
        let mut raw = self.raw().await;
        let libraries: redis::Value = ask(&mut raw, &["FUNCTION", "LIST"]).await;
        assert_ne!(libraries, redis::Value::Array(Vec::new()), "there is a library to be forgotten");
        let () = ask(&mut raw, &["FUNCTION", "FLUSH"]).await;
        let () = ask(&mut raw, &["SCRIPT", "FLUSH"]).await;
        becomes(LONG, async || {
            ask::<redis::Value>(&mut raw, &["FUNCTION", "LIST"]).await != redis::Value::Array(Vec::new())
        })
        .await
    }

    /// Somebody else's script runs and runs.
    async fn is_busy(&mut self) -> bool {
        let mut raw = self.raw().await;
        let () = ask(&mut raw, &["CONFIG", "SET", "lua-time-limit", "20"]).await;
        let refused = self.refusals("BUSY").await;
        let mut other = self.raw().await;
        let busy = tokio::spawn(async move {
            let ended: redis::RedisResult<()> =
                redis::cmd("EVAL").arg("while true do end").arg(0).query_async(&mut other).await;
            ended.is_err()
        });
        self.pause(100, 900).await;
        until("the script is stopped", async || {
            let stopped: redis::RedisResult<()> =
                redis::cmd("SCRIPT").arg("KILL").query_async(&mut raw).await;
            stopped.is_ok() || busy.is_finished()
        })
        .await;
        let was_stopped = busy.await.expect("the script's client");
        was_stopped && self.refuses("BUSY", refused).await
    }

    /// The append-only file may grow by a little and no more: at `appendfsync always` Redis ends at the first write
    /// that fails.
    async fn fills_the_disk(&mut self) -> bool {
        let file = self.server.directory().join("appendonlydir/appendonly.aof.1.incr.aof");
        let bytes = std::fs::metadata(&file).expect("the append-only file").len();
        let limit = format!("--fsize={}:", bytes + self.random.within(0..=4_000));
        let limited =
            Command::new("prlimit").args(["--pid", &self.server.pid().to_string(), &limit]).status();
        assert!(limited.expect("the command `prlimit`").success(), "{limit} was not set");
        until("Redis ends at a full disk", async || self.server.has_ended()).await;
        let log = std::fs::read_to_string(self.server.directory().join(LOG)).expect("what Redis says");
        let said = log.lines().rev().take(4).any(|line| line.contains("AOF write error"));
        assert!(said, "Redis ended for another reason: {log}");
        self.pause(0, 100).await;
        self.server.restart().await;
        true
    }

    /// How often Redis refused with this code.
    async fn refusals(&self, code: &str) -> u64 {
        let mut raw = self.raw().await;
        let info: String = ask(&mut raw, &["INFO", "errorstats"]).await;
        let line = format!("errorstat_{code}:count=");
        let count = info.lines().find_map(|text| text.strip_prefix(&line));
        count.map_or(0, |count| count.trim().parse().expect("a number"))
    }

    /// Waits until it refused more often than before.
    async fn refuses(&self, code: &str, before: u64) -> bool {
        let started = Instant::now();
        while self.refusals(code).await == before {
            if started.elapsed() > LONG {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        true
    }
}
