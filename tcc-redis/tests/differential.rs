//! Two implementations, one machine: the scripts do what the in-memory store does, operation by operation.

mod support;

use std::collections::BTreeSet;

use support::{
    differential::{Bench, Coverage},
    server::Server,
};
use tcc_core::testing::variants;
use tcc_redis::History;

const SEQUENCES: u64 = 1_000;
const STEPS: usize = 80;
const WORKERS: u64 = 4;

/// The first `SEQUENCES` seeds, or those that `TCC_SEEDS=from..to` names.
fn seeds() -> std::ops::Range<u64> {
    let named = std::env::var("TCC_SEEDS").ok();
    let parse = |text: &str| -> Option<std::ops::Range<u64>> {
        let (from, to) = text.split_once("..")?;
        Some(from.parse().ok()?..to.parse().ok()?)
    };
    named.map_or(0..SEQUENCES, |text| parse(&text).expect("TCC_SEEDS=from..to"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_and_memory_agree_after_every_operation() {
    let server = Server::volatile().await;
    let seeds = seeds();
    let workers = (0..WORKERS).map(|worker| {
        let (url, seeds) = (server.url_of(worker as u32), seeds.clone());
        tokio::spawn(async move {
            let history = if worker % 2 == 0 { History::off() } else { History::default() };
            let mut bench = Bench::new(&url, history).await;
            let mut coverage = Coverage::default();
            for seed in seeds.filter(|seed| seed % WORKERS == worker) {
                let reached =
                    bench.run(seed, STEPS).await.unwrap_or_else(|difference| panic!("{difference}"));
                assert!(reached.operations >= 30 && reached.transactions >= 3, "seed {seed} does too little");
                coverage.add(reached);
            }
            coverage
        })
    });
    let mut coverage = Coverage::default();
    for worker in workers.collect::<Vec<_>>() {
        coverage.add(worker.await.expect("a worker"));
    }
    if seeds == (0..SEQUENCES) {
        let missed: BTreeSet<_> =
            variants::transitions().difference(&coverage.transitions).copied().collect();
        assert!(missed.is_empty(), "transitions that never happened: {missed:?}");
        let missed: BTreeSet<_> = variants::refusals().difference(&coverage.refusals).copied().collect();
        assert!(missed.is_empty(), "refusals that never happened: {missed:?}");
    }
}
