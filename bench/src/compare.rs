//! The framework against the floor, alternated, on every durability and concurrency.

use std::{fmt, time::Duration};

use serde::Serialize;

use crate::{
    BenchError, floor,
    measure::{Run, median},
    memory,
    server::{Durability, Server},
    work::{self, Shape},
};

const CONCURRENCIES: [usize; 4] = [1, 16, 64, 256];
/// Below this at 64 concurrent without an append-only file, the machine was not free.
const FLOOR_MIN: f64 = 40_000.0;

/// How long and how often.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Pairs of runs for each figure; their median counts.
    pub(crate) pairs: usize,
    /// How long each run is measured.
    pub(crate) length: Duration,
}

impl Plan {
    /// Within 12 minutes.
    pub(crate) const FULL: Self = Self { pairs: 5, length: Duration::from_millis(4_200) };
    /// Within 2 minutes.
    pub(crate) const QUICK: Self = Self { pairs: 3, length: Duration::from_millis(1_000) };
}

/// One durability and concurrency. Times in microseconds, medians over the runs.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    durability: &'static str,
    concurrency: usize,
    tcc_tx_per_s: f64,
    floor_tx_per_s: f64,
    /// The median of the pairs' ratios.
    ratio: f64,
    tcc_p50_decided_us: f64,
    tcc_p99_decided_us: f64,
    tcc_p50_final_us: f64,
    tcc_p99_final_us: f64,
    floor_p50_decided_us: f64,
    floor_p99_decided_us: f64,
    floor_p50_final_us: f64,
    floor_p99_final_us: f64,
    /// Calls of a script or function that a client sent, for each transaction: less than 3 where calls are
    /// combined.
    tcc_scripts_per_tx: f64,
    floor_scripts_per_tx: f64,
    tcc_commands_per_tx: f64,
    floor_commands_per_tx: f64,
    tcc_redis_cpu_us_per_tx: f64,
    floor_redis_cpu_us_per_tx: f64,
    tcc_client_cpu_us_per_tx: f64,
    floor_client_cpu_us_per_tx: f64,
    bytes_per_live_tx: f64,
    bytes_per_finished_tx: f64,
    /// The floor was too slow for two free cores: the machine had other work.
    void: bool,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<9}{:>4} at once: {:>7.0} tx/s, floor {:>7.0}, ratio {:.2}; final p50 {:.1} ms p99 {:.1} ms (floor {:.1}, {:.1}); \
             a transaction: {:.2} calls, {:.1} commands, {:.0}+{:.0} us of processor (floor {:.0}+{:.0}), {:.0} bytes live, {:.0} finished{}",
            self.durability,
            self.concurrency,
            self.tcc_tx_per_s,
            self.floor_tx_per_s,
            self.ratio,
            self.tcc_p50_final_us / 1e3,
            self.tcc_p99_final_us / 1e3,
            self.floor_p50_final_us / 1e3,
            self.floor_p99_final_us / 1e3,
            self.tcc_scripts_per_tx,
            self.tcc_commands_per_tx,
            self.tcc_redis_cpu_us_per_tx,
            self.tcc_client_cpu_us_per_tx,
            self.floor_redis_cpu_us_per_tx,
            self.floor_client_cpu_us_per_tx,
            self.bytes_per_live_tx,
            self.bytes_per_finished_tx,
            if self.void { "; VOID: the machine was not free" } else { "" },
        )
    }
}

/// Measures everything, telling each row as it is done.
pub(crate) async fn compare(
    plan: Plan,
    durabilities: &[Durability],
    concurrencies: &[usize],
    tell: impl Fn(&Row) -> Result<(), BenchError>,
) -> Result<(), BenchError> {
    let shape = Shape::default();
    let bytes = memory::measure(shape).await?;
    for durability in durabilities {
        let mut server = Server::start(*durability).await?;
        for concurrency in concurrencies {
            let (mut tcc, mut floor) = (Vec::new(), Vec::new());
            for pair in 0..plan.pairs {
                // Neither side always comes first.
                for side in [pair % 2, 1 - pair % 2] {
                    server.empty().await?;
                    if side == 0 {
                        floor.push(
                            floor::run(&mut server, *concurrency, plan.length, shape.payload_bytes).await?,
                        );
                    } else {
                        tcc.push(
                            work::run(&mut server, *durability, *concurrency, plan.length, shape).await?,
                        );
                    }
                }
            }
            tell(&row(*durability, *concurrency, &tcc, &floor, bytes))?;
        }
    }
    Ok(())
}

/// How many transactions at once, where nobody says.
pub(crate) fn concurrencies() -> &'static [usize] {
    &CONCURRENCIES
}

fn row(durability: Durability, concurrency: usize, tcc: &[Run], floor: &[Run], bytes: memory::Bytes) -> Row {
    let of = |runs: &[Run], value: fn(&Run) -> f64| median(runs.iter().map(value).collect());
    let ratios = tcc.iter().zip(floor).map(|(tcc, floor)| tcc.tx_per_s / floor.tx_per_s).collect();
    let floor_tx_per_s = of(floor, |run| run.tx_per_s);
    Row {
        durability: durability.name(),
        concurrency,
        tcc_tx_per_s: of(tcc, |run| run.tx_per_s),
        floor_tx_per_s,
        ratio: median(ratios),
        tcc_p50_decided_us: of(tcc, |run| run.decided_p50_us),
        tcc_p99_decided_us: of(tcc, |run| run.decided_p99_us),
        tcc_p50_final_us: of(tcc, |run| run.final_p50_us),
        tcc_p99_final_us: of(tcc, |run| run.final_p99_us),
        floor_p50_decided_us: of(floor, |run| run.decided_p50_us),
        floor_p99_decided_us: of(floor, |run| run.decided_p99_us),
        floor_p50_final_us: of(floor, |run| run.final_p50_us),
        floor_p99_final_us: of(floor, |run| run.final_p99_us),
        tcc_scripts_per_tx: of(tcc, |run| run.scripts_per_tx),
        floor_scripts_per_tx: of(floor, |run| run.scripts_per_tx),
        tcc_commands_per_tx: of(tcc, |run| run.commands_per_tx),
        floor_commands_per_tx: of(floor, |run| run.commands_per_tx),
        tcc_redis_cpu_us_per_tx: of(tcc, |run| run.redis_cpu_us_per_tx),
        floor_redis_cpu_us_per_tx: of(floor, |run| run.redis_cpu_us_per_tx),
        tcc_client_cpu_us_per_tx: of(tcc, |run| run.client_cpu_us_per_tx),
        floor_client_cpu_us_per_tx: of(floor, |run| run.client_cpu_us_per_tx),
        bytes_per_live_tx: bytes.live,
        bytes_per_finished_tx: bytes.finished,
        void: durability == Durability::Off && concurrency == 64 && floor_tx_per_s < FLOOR_MIN,
    }
}
