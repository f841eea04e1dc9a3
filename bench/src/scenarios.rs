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
    measure::{closed_loop, median, resident_mib},
    recovery,
    server::{Durability, Server},
    work::{self, Shape},
};

const CONCURRENCY: usize = 64;
/// Transactions open beside the work.
const OPEN: usize = 1_000_000;
const OPEN_QUICK: usize = 50_000;
/// Opened at a time, well within their own deadlines.
const OPENING: usize = 256;

/// How many transactions a killed worker leaves in phase two.
const LEFT: usize = 10_000;
const LEFT_QUICK: usize = 1_000;
/// How many transactions at a time the runtime's memory is looked at under, and services join.
const CROWD: usize = 256;

/// What a scenario came to.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Figure {
    /// One shape of work against another.
    Ratio {
        scenario: &'static str,
        /// What the scenario is compared with.
        to: &'static str,
        tx_per_s: f64,
        to_tx_per_s: f64,
        /// The median of the pairs' ratios.
        ratio: f64,
        /// What a branch costs, where the numbers of branches differ: as a multiple of what it costs there.
        branch_cost: Option<f64>,
    },
    /// From a crash to the end of what it left.
    Recovery { scenario: &'static str, transactions: u64, lease_s: f64, seconds: f64 },
    /// What this process holds in memory, early and late in a run.
    Memory { scenario: &'static str, early_mib: f64, late_mib: f64 },
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ratio { scenario, to, tx_per_s, to_tx_per_s, ratio, branch_cost } => {
                write!(f, "{scenario}: {tx_per_s:.0} tx/s, {ratio:.2} of {to} ({to_tx_per_s:.0})")?;
                branch_cost.map_or(Ok(()), |cost| write!(f, ", a branch costs {cost:.2} times as much"))
            }
            Self::Recovery { scenario, transactions, lease_s, seconds } => {
                write!(
                    f,
                    "{scenario}: {transactions} transactions final after {seconds:.1} s, {lease_s:.0} s of them lease"
                )
            }
            Self::Memory { scenario, early_mib, late_mib } => {
                write!(f, "{scenario}: {early_mib:.1} MiB early, {late_mib:.1} MiB late")
            }
        }
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
        ("business keys", Shape { keyed: true, ..plain }, "no keys", plain),
        ("queued phase two", Shape { queued: true, ..plain }, "inline phase two", plain),
        ("history on", Shape { history: true, ..plain }, "history off", plain),
        ("payloads of 4 KiB", Shape { payload_bytes: 4_096, ..plain }, "payloads of 48 bytes", plain),
        ("10 branches", Shape { branches: 10, ..plain }, "1 branch", one_branch),
        ("100 branches", Shape { branches: 100, ..plain }, "1 branch", one_branch),
    ];
    for (scenario, shape, to, other) in pairs {
        tell(&pair(plan, CONCURRENCY, scenario, shape, to, other).await?)?;
    }
    // Whoever began learns of the end by looking now and then, so that more are under way.
    let joined = Shape { joined: true, ..plain };
    tell(&pair(plan, CROWD, "services that joined", joined, "branches tried where it began", plain).await?)?;
    tell(&two_workers(plan).await?)?;
    tell(&resident(plan).await?)?;
    let is_quick = plan.pairs < Plan::FULL.pairs;
    tell(&recovery::measure(if is_quick { LEFT_QUICK } else { LEFT }).await?)?;
    tell(&many_open(plan).await?)
}

async fn pair(
    plan: Plan,
    concurrency: usize,
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
            let run = work::run(&mut server, Durability::Off, concurrency, plan.length, shape).await?;
            let figures = if side == 0 { &mut figures } else { &mut others };
            figures.push(run.tx_per_s);
        }
    }
    let mut figure = figure(scenario, to, figures, others);
    if let Figure::Ratio { ratio, branch_cost, .. } = &mut figure
        && shape.branches != other.branches
    {
        *branch_cost = Some(other.branches as f64 / (*ratio * shape.branches as f64));
    }
    Ok(figure)
}

/// What the process holds while many transactions are under way at a time, Redis being another process.
async fn resident(plan: Plan) -> Result<Figure, BenchError> {
    let mut server = Server::start(Durability::Off).await?;
    let mut seen = Vec::new();
    for _ in 0..2 {
        work::run(&mut server, Durability::Off, CROWD, plan.length, Shape::default()).await?;
        seen.push(resident_mib()?);
    }
    Ok(Figure::Memory { scenario: "256 at a time", early_mib: seen[0], late_mib: seen[1] })
}

fn figure(scenario: &'static str, to: &'static str, figures: Vec<f64>, others: Vec<f64>) -> Figure {
    let ratios = figures.iter().zip(&others).map(|(one, other)| one / other).collect();
    let (tx_per_s, to_tx_per_s) = (median(figures), median(others));
    Figure::Ratio { scenario, to, tx_per_s, to_tx_per_s, ratio: median(ratios), branch_cost: None }
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
