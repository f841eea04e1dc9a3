//! Two versions of the framework work on one Redis at the same time, an old library beside a new one (rule 17).
//!
//! `tests/versions/` holds the library of the version before this one; `CONTRIBUTING.md` says when they may
//! be frozen anew.

mod support;

use std::path::Path;

use support::{
    VERSION_BEFORE,
    differential::{Bench, Coverage, Mode},
    server::{Server, ask},
    story::{MAIL, PAY, STOCK, Story, succeeded},
};
use tcc_core::{
    record::{Direction, TransactionState},
    testing::variants,
};
use tcc_redis::{Durability, History, RedisStore};

const SEQUENCES: u64 = 160;
const STEPS: usize = 80;

#[test]
#[ignore = "freezes this version's library as that of the version before; CONTRIBUTING.md says when"]
fn freeze() {
    tcc_redis::freeze_library(Path::new(VERSION_BEFORE)).expect("the library is written");
}

async fn run(bench: &mut Bench, seeds: std::ops::Range<u64>, steps: usize) -> Coverage {
    let mut coverage = Coverage::default();
    for seed in seeds {
        coverage.add(bench.run(seed, steps).await.unwrap_or_else(|difference| panic!("{difference}")));
    }
    coverage
}

#[tokio::test]
async fn operations_through_either_version_do_what_the_machine_does() {
    let server = Server::volatile().await;
    let mut bench = Bench::mixed(&server.url(), History::default(), Path::new(VERSION_BEFORE)).await;
    let coverage = run(&mut bench, 50_000..50_000 + SEQUENCES, STEPS).await;
    let missed: Vec<_> = variants::transitions().difference(&coverage.transitions).copied().collect();
    assert!(missed.is_empty(), "transitions that never happened: {missed:?}");
}

#[tokio::test]
async fn a_call_sent_to_one_version_may_be_repeated_by_the_other() {
    let server = Server::volatile().await;
    let mut bench = Bench::mixed(&server.url(), History::off(), Path::new(VERSION_BEFORE)).await;
    bench.mode = Mode::Twice;
    run(&mut bench, 60_000..60_040, 60).await;
    bench.mode = Mode::Later;
    run(&mut bench, 70_000..70_010, 40).await;
}

/// Each version begins a namespace the other one accepts, and finishes what the other one began.
#[tokio::test]
async fn either_version_finishes_what_the_other_one_began() {
    let server = Server::volatile().await;
    let builder = || RedisStore::builder(server.url()).durability(Durability::Volatile);
    for old_first in [true, false] {
        let () = ask(&mut server.raw().await, &["FLUSHALL"]).await;
        let old =
            async || builder().frozen_library(VERSION_BEFORE).connect().await.expect("the version before");
        let new = async || builder().connect().await.expect("this version");
        let (first, second) = if old_first { (old().await, new().await) } else { (new().await, old().await) };
        let (began, finishes) = (Story::new(&first, 1), Story::new(&second, 1));
        began.register(&[STOCK, PAY, MAIL]).await;
        let heard: Vec<_> = (1..=3).map(|place| (place, Some(succeeded()))).collect();
        finishes.decide(Direction::Confirm, &heard, &[]).await;
        began.finish(&began.claim("stock", 5).await).await;
        finishes.sweep().await.expect("a sweep").result.expect("an answer");
        finishes.finish(&finishes.claim("pay", 6).await).await;
        began.finish(&began.claim("mail", 7).await).await;
        assert_eq!(finishes.record().await.state, TransactionState::Confirmed);
    }
}
