//! Two implementations, one machine: the functions do what the in-memory store does, operation by operation.

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use support::{
    differential::{Bench, Coverage},
    server::Server,
};
use tcc_core::testing::variants;
use tcc_redis::History;

const SEQUENCES: u64 = 1_000;
const SMOOTH_SEQUENCES: u64 = 400;
const STEPS: usize = 80;
const WORKERS: u64 = 4;

/// The seeds that `TCC_SEEDS=from..to` names.
fn seeds() -> Option<Range<u64>> {
    let named = std::env::var("TCC_SEEDS").ok();
    let parse = |text: &str| -> Option<Range<u64>> {
        let (from, to) = text.split_once("..")?;
        Some(from.parse().ok()?..to.parse().ok()?)
    };
    named.map(|text| parse(&text).expect("TCC_SEEDS=from..to"))
}

/// Compares both stores after each operation of these sequences; what was reached, and how many steps of each
/// operation went the short way.
async fn compare(seeds: Range<u64>, is_smooth: bool) -> (Coverage, BTreeMap<&'static str, u64>) {
    let server = Server::volatile().await;
    let workers = (0..WORKERS).map(|worker| {
        let (url, seeds) = (server.url_of(worker as u32), seeds.clone());
        tokio::spawn(async move {
            let history = if worker % 2 == 0 { History::off() } else { History::default() };
            let mut bench = Bench::new(&url, history).await;
            bench.is_smooth = is_smooth;
            let mut coverage = Coverage::default();
            for seed in seeds.filter(|seed| seed % WORKERS == worker) {
                let reached =
                    bench.run(seed, STEPS).await.unwrap_or_else(|difference| panic!("{difference}"));
                assert!(reached.operations >= 30 && reached.transactions >= 3, "seed {seed} does too little");
                coverage.add(reached);
            }
            (coverage, bench.short_ways())
        })
    });
    let (mut coverage, mut short) = (Coverage::default(), BTreeMap::<_, u64>::new());
    for worker in workers.collect::<Vec<_>>() {
        let (reached, ways) = worker.await.expect("a worker");
        coverage.add(reached);
        ways.into_iter().for_each(|(operation, count)| *short.entry(operation).or_default() += count);
    }
    (coverage, short)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn functions_and_memory_agree_after_every_operation() {
    let seeds = seeds().unwrap_or(0..SEQUENCES);
    let (coverage, _) = compare(seeds.clone(), false).await;
    if seeds == (0..SEQUENCES) {
        let missed: BTreeSet<_> =
            variants::transitions().difference(&coverage.transitions).copied().collect();
        assert!(missed.is_empty(), "transitions that never happened: {missed:?}");
        let missed: BTreeSet<_> = variants::refusals().difference(&coverage.refusals).copied().collect();
        assert!(missed.is_empty(), "refusals that never happened: {missed:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_short_way_does_what_memory_does() {
    let seeds = seeds().unwrap_or(0..SMOOTH_SEQUENCES);
    let (_, short) = compare(seeds.clone(), true).await;
    if seeds == (0..SMOOTH_SEQUENCES) {
        for operation in ["register", "decide", "close"] {
            assert!(short.get(operation) >= Some(&1_000), "{operation} seldom goes the short way: {short:?}");
        }
    }
}
