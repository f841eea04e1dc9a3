//! Closed loops and what they took.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use serde::Serialize;
use tokio::task::JoinSet;

use crate::{BenchError, server::Server};

/// How long one operation took to its decision and to its end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Took {
    pub(crate) decided: Duration,
    pub(crate) ended: Duration,
}

/// What a run of a closed loop came to. Times in microseconds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Run {
    pub(crate) tx_per_s: f64,
    pub(crate) decided_p50_us: f64,
    pub(crate) decided_p99_us: f64,
    pub(crate) final_p50_us: f64,
    pub(crate) final_p99_us: f64,
    pub(crate) scripts_per_tx: f64,
    pub(crate) commands_per_tx: f64,
    pub(crate) redis_cpu_us_per_tx: f64,
    pub(crate) client_cpu_us_per_tx: f64,
}

/// Runs `one` from `concurrency` tasks, each over and over, for this long; the first tenth warms up.
pub(crate) async fn closed_loop<F, W>(
    server: &mut Server,
    concurrency: usize,
    length: Duration,
    one: F,
) -> Result<Run, BenchError>
where
    F: Fn() -> W + Clone + Send + 'static,
    W: Future<Output = Result<Took, BenchError>> + Send,
{
    let (stop, counting) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let mut tasks = JoinSet::new();
    for _ in 0..concurrency {
        let (one, stop, counting) = (one.clone(), Arc::clone(&stop), Arc::clone(&counting));
        tasks.spawn(async move {
            let mut took = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let counted = counting.load(Ordering::Relaxed);
                let one = one().await?;
                if counted {
                    took.push(one);
                }
            }
            Ok::<_, BenchError>(took)
        });
    }
    tokio::time::sleep(length / 10).await;
    let (scripts, commands) = server.commands().await?;
    let (redis_cpu, client_cpu) = (server.cpu().await?, client_cpu()?);
    let started = Instant::now();
    counting.store(true, Ordering::Relaxed);
    tokio::time::sleep(length).await;
    counting.store(false, Ordering::Relaxed);
    let lasted = started.elapsed().as_secs_f64();
    let (redis_cpu, client_cpu) = (server.cpu().await? - redis_cpu, self::client_cpu()? - client_cpu);
    let (scripts, commands) = {
        let now = server.commands().await?;
        (now.0 - scripts, now.1 - commands)
    };
    stop.store(true, Ordering::Relaxed);
    let mut took = Vec::new();
    while let Some(task) = tasks.join_next().await {
        took.extend(task.map_err(|error| BenchError::Loop(error.to_string()))??);
    }
    if took.is_empty() {
        return Err(BenchError::Loop("nothing ended in time".into()));
    }
    let count = took.len() as f64;
    let mut decided: Vec<Duration> = took.iter().map(|one| one.decided).collect();
    let mut ended: Vec<Duration> = took.iter().map(|one| one.ended).collect();
    Ok(Run {
        tx_per_s: count / lasted,
        decided_p50_us: percentile(&mut decided, 50),
        decided_p99_us: percentile(&mut decided, 99),
        final_p50_us: percentile(&mut ended, 50),
        final_p99_us: percentile(&mut ended, 99),
        scripts_per_tx: scripts / count,
        commands_per_tx: commands / count,
        redis_cpu_us_per_tx: redis_cpu / count * 1e6,
        client_cpu_us_per_tx: client_cpu / count * 1e6,
    })
}

/// The value below which this percentage lies, in microseconds.
fn percentile(values: &mut [Duration], percentage: usize) -> f64 {
    values.sort_unstable();
    let place = (values.len() * percentage / 100).min(values.len().saturating_sub(1));
    values.get(place).map_or(0.0, |value| value.as_secs_f64() * 1e6)
}

/// The middle value.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        count if count % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

/// Seconds of processor time this process has used (Linux; 0 elsewhere).
fn client_cpu() -> Result<f64, BenchError> {
    if !cfg!(target_os = "linux") {
        return Ok(0.0);
    }
    // Fields 14 and 15 of proc(5), counted after the command's name in brackets; in ticks of 10 ms.
    let text = std::fs::read_to_string("/proc/self/stat")?;
    let rest = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = rest.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok());
    Ok(ticks.sum::<f64>() / 100.0)
}

/// What this process holds in memory, in MiB (Linux; 0 elsewhere).
pub(crate) fn resident_mib() -> Result<f64, BenchError> {
    if !cfg!(target_os = "linux") {
        return Ok(0.0);
    }
    let text = std::fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    Ok(kib.unwrap_or_default() / 1_024.0)
}
