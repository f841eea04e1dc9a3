//! Two implementations, one machine: the functions do what the in-memory store does, operation by operation.

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use support::{
    differential::{Bench, Coverage},
    server::Server,
    stories::{self, Late},
};
use tcc_core::{
    machine::Answer,
    record::{Seen, TransactionState},
    testing::variants,
};
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
        let expected = [
            ("begin", 200),
            ("register", 1_500),
            ("report", 30),
            ("decide", 1_000),
            ("claim", 900),
            ("close", 1_400),
        ];
        for (operation, often) in expected {
            assert!(short.get(operation) >= Some(&often), "{operation} seldom goes the short way: {short:?}");
        }
    }
}

/// A branch that failed, or is due afresh by a late outcome or by an operator, has waited for nothing yet.
#[tokio::test]
async fn a_branch_that_failed_or_is_due_afresh_forgets_what_it_waited_for() {
    let server = Server::volatile().await;
    let mut bench = Bench::new(&server.url_of(0), History::default()).await;
    for unfinished in stories::unfinished() {
        let mut reopened = Late::cancelled();
        reopened.claim();
        reopened.close(&[(1, unfinished.clone())]);
        reopened.pause();
        let (mut redriven, mut failed) = (reopened.clone(), reopened.clone());

        reopened.claim();
        reopened.succeed();
        reopened.close(&[(2, stories::done(Seen::Unknown))]);
        bench.tell(&reopened.gid, reopened.steps).await.expect("both stores agree");

        redriven.claim();
        redriven.close(&[(2, stories::parked())]);
        redriven.redrive();
        bench.tell(&redriven.gid, redriven.steps).await.expect("both stores agree");

        for other in stories::unfinished() {
            failed.claim();
            failed.close(&[(failed.epochs, other)]);
            failed.pause();
        }
        failed.claim();
        failed.close(&[(failed.epochs, stories::failed())]);
        bench.tell(&failed.gid, failed.steps).await.expect("both stores agree");
    }
}

/// One call closes a branch twice: a drive that knew less than the record rings for another, and one from before,
/// which had learned as much, ends the transaction and its messages.
#[tokio::test]
async fn a_message_rung_in_the_call_that_ends_the_transaction_does_not_stand() {
    let server = Server::volatile().await;
    let mut bench = Bench::new(&server.url_of(0), History::default()).await;
    let mut story = Late::cancelled();
    story.claim();
    story.close(&[(1, stories::unfinished()[0].clone())]);
    story.pause();
    story.claim();
    story.succeed();
    story.close(&[(2, stories::done(Seen::Unknown)), (1, stories::done(Seen::Succeeded))]);
    let applied = bench.tell(&story.gid, story.steps).await.expect("both stores agree");
    let Ok(Answer::Closed(closes)) = applied.result else { panic!("{applied:?}") };
    assert_eq!(closes.state, TransactionState::Cancelled);
}

/// The limit counts arguments, and nothing else that a registration carries.
#[tokio::test]
async fn the_short_way_counts_the_bytes_of_arguments() {
    let server = Server::volatile().await;
    let mut bench = Bench::new(&server.url_of(0), History::off()).await;
    for (bytes, is_refused) in [(200, false), (201, true)] {
        let (gid, steps) = stories::registering(bytes, 200);
        let applied = bench.tell(&gid, steps).await.expect("both stores agree");
        assert_eq!(applied.result.is_err(), is_refused, "{applied:?}");
    }
    let (gid, steps) = stories::registering(2, 2);
    let applied = bench.tell(&gid, steps).await.expect("both stores agree");
    assert!(applied.result.is_ok(), "{applied:?}");
    assert_eq!(bench.short_ways().get("register"), Some(&2));
}
