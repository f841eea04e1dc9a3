//! A call repeated, at once or at any later time, or sent again because its answer was lost, does what the
//! state machine says of the repetition, and nothing else (rule 14).

mod support;

use support::{
    differential::{Bench, Mode},
    proxy::Proxy,
    server::Server,
};
use tcc_redis::History;

async fn run(bench: &mut Bench, seeds: std::ops::Range<u64>, steps: usize) {
    for seed in seeds {
        bench.run(seed, steps).await.unwrap_or_else(|difference| panic!("{difference}"));
    }
}

#[tokio::test]
async fn every_call_may_be_sent_twice() {
    let server = Server::volatile().await;
    let mut bench = Bench::new(&server.url(), History::default()).await;
    bench.mode = Mode::Twice;
    run(&mut bench, 10_000..10_040, 60).await;
}

#[tokio::test]
async fn every_call_may_be_sent_again_at_every_later_point() {
    let server = Server::volatile().await;
    let mut bench = Bench::new(&server.url(), History::off()).await;
    bench.mode = Mode::Later;
    run(&mut bench, 20_000..20_020, 40).await;
}

#[tokio::test]
async fn every_answer_may_be_lost() {
    let server = Server::volatile().await;
    let proxy = Proxy::to(server.port()).await;
    let mut bench = Bench::lossy(&server.url(), proxy, 0).await;
    run(&mut bench, 30_000..30_006, 50).await;
}
