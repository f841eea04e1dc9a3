//! Shapes of work against each other, alternated, on a Redis without an append-only file.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Serialize;

use crate::{
    BenchError,
    compare::Plan,
    measure::{closed_loop, median},
    server::{Durability, Server},
    work::{self, Shape},
};

const CONCURRENCY: usize = 64;
/// Transactions open beside the work.
const OPEN: usize = 1_000_000;
const OPEN_QUICK: usize = 50_000;
/// Opened at a time, well within their own deadlines.
const OPENING: usize = 256;

/// One figure, and what it is a ratio to.
#[derive(Debug, Serialize)]
pub(crate) struct Figure {
    scenario: &'static str,
    /// What the scenario is compared with.
    to: &'static str,
    tx_per_s: f64,
    to_tx_per_s: f64,
    /// The median of the pairs' ratios.
    ratio: f64,
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scenario, to, tx_per_s, to_tx_per_s, ratio } = self;
        write!(f, "{scenario}: {tx_per_s:.0} tx/s, {ratio:.2} of {to} ({to_tx_per_s:.0})")
    }
}

/// Measures every scenario, telling each figure as it is done.
pub(crate) async fn all(
    plan: Plan,
    tell: impl Fn(&Figure) -> Result<(), BenchError>,
) -> Result<(), BenchError> {
    let plain = Shape::default();
    let one_branch = Shape { branches: 1, ..plain };
    let pairs = [
        ("tries in sequence", Shape { in_sequence: true, ..plain }, "tries together", plain),
        ("queued phase two", Shape { queued: true, ..plain }, "inline phase two", plain),
        ("history on", Shape { history: true, ..plain }, "history off", plain),
        ("payloads of 4 KiB", Shape { payload_bytes: 4_096, ..plain }, "payloads of 48 bytes", plain),
        ("10 branches", Shape { branches: 10, ..plain }, "1 branch", one_branch),
        ("100 branches", Shape { branches: 100, ..plain }, "1 branch", one_branch),
    ];
    for (scenario, shape, to, other) in pairs {
        tell(&pair(plan, scenario, shape, to, other).await?)?;
    }
    tell(&two_workers(plan).await?)?;
    tell(&many_open(plan).await?)
}

async fn pair(
    plan: Plan,
    scenario: &'static str,
    shape: Shape,
    to: &'static str,
    other: Shape,
) -> Result<Figure, BenchError> {
    let mut server = Server::start(Durability::Off).await?;
    let (mut figures, mut others) = (Vec::new(), Vec::new());
    for turn in 0..plan.pairs {
        for side in [turn % 2, 1 - turn % 2] {
            server.empty().await?;
            let shape = if side == 0 { shape } else { other };
            let run = work::run(&mut server, Durability::Off, CONCURRENCY, plan.length, shape).await?;
            let figures = if side == 0 { &mut figures } else { &mut others };
            figures.push(run.tx_per_s);
        }
    }
    Ok(figure(scenario, to, figures, others))
}

fn figure(scenario: &'static str, to: &'static str, figures: Vec<f64>, others: Vec<f64>) -> Figure {
    let ratios = figures.iter().zip(&others).map(|(one, other)| one / other).collect();
    Figure { scenario, to, tx_per_s: median(figures), to_tx_per_s: median(others), ratio: median(ratios) }
}

/// Two runtimes on one Redis share the work that one does otherwise.
async fn two_workers(plan: Plan) -> Result<Figure, BenchError> {
    let mut server = Server::start(Durability::Off).await?;
    let (mut two, mut one) = (Vec::new(), Vec::new());
    for turn in 0..plan.pairs {
        for side in [turn % 2, 1 - turn % 2] {
            server.empty().await?;
            if side == 1 {
                let run = work::run(&mut server, Durability::Off, CONCURRENCY, plan.length, Shape::default());
                one.push(run.await?.tx_per_s);
                continue;
            }
            let shape = Shape::default();
            let left = work::runtime(&server.url, Durability::Off, shape).await?;
            let right = work::runtime(&server.url, Durability::Off, shape).await?;
            let (turns, both) =
                (Arc::new(std::sync::atomic::AtomicUsize::new(0)), [left.clone(), right.clone()]);
            let both = Arc::new(both);
            let run = closed_loop(&mut server, CONCURRENCY, plan.length, move || {
                let (turns, both) = (Arc::clone(&turns), Arc::clone(&both));
                async move {
                    let turn = turns.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    work::one(&both[turn % 2], shape).await
                }
            })
            .await?;
            left.shutdown().await;
            right.shutdown().await;
            two.push(run.tx_per_s);
        }
    }
    Ok(figure("two runtimes", "one runtime", two, one))
}

/// Work beside transactions that stay open, against work on an empty store.
async fn many_open(plan: Plan) -> Result<Figure, BenchError> {
    let shape = Shape::default();
    let (mut empty, mut full) = (Vec::new(), Vec::new());
    let (mut free, mut crowded) =
        (Server::start(Durability::Off).await?, Server::start(Durability::Off).await?);
    let count = if plan.pairs < Plan::FULL.pairs { OPEN_QUICK } else { OPEN };
    let keeper = work::patient_runtime(&crowded.url, count).await?;
    let open = open_many(&keeper, count, shape).await?;
    for turn in 0..plan.pairs {
        for side in [turn % 2, 1 - turn % 2] {
            let (server, runs) = if side == 0 { (&mut crowded, &mut full) } else { (&mut free, &mut empty) };
            let run = work::run(server, Durability::Off, CONCURRENCY, plan.length, shape).await?;
            runs.push(run.tx_per_s);
        }
    }
    drop(open);
    let scenario = if count == OPEN { "1,000,000 open" } else { "50,000 open" };
    Ok(figure(scenario, "none open", full, empty))
}

async fn open_many(
    runtime: &tcc::Runtime,
    count: usize,
    shape: Shape,
) -> Result<Vec<tcc::OpenTransaction>, BenchError> {
    let mut open = Vec::with_capacity(count);
    let started = Instant::now();
    while open.len() < count {
        let some = (0..OPENING.min(count - open.len())).map(|_| work::tried(runtime, shape));
        for one in futures_util::future::join_all(some).await {
            open.push(one?);
        }
        if started.elapsed() > Duration::from_secs(600) {
            return Err(BenchError::Loop(format!(
                "only {} of {count} were opened in 10 minutes",
                open.len()
            )));
        }
    }
    Ok(open)
}
