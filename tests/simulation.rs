//! The runtime, simulated: every seed keeps every invariant, and says the same thing twice.

use std::{
    collections::BTreeMap,
    env,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use tcc_core::testing::sim::{self, Report};

const SEEDS: u64 = 2_000;

fn from_env(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}

/// Runs seeds on every core; what is kept of each report is up to the caller.
fn run_all<T: Send>(seeds: impl Iterator<Item = u64> + Send, look: impl Fn(Report) -> T + Sync) -> Vec<T> {
    let (seeds, looked) = (Mutex::new(seeds), Mutex::new(Vec::new()));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let Some(seed) = seeds.lock().unwrap().next() else { return };
                    let seen = look(sim::run(seed));
                    looked.lock().unwrap().push(seen);
                }
            });
        }
    });
    looked.into_inner().unwrap()
}

#[test]
fn every_seed_keeps_every_invariant() {
    let first = from_env("TCC_SIM_FIRST").unwrap_or(0);
    let count = from_env("TCC_SIM_SEEDS").unwrap_or(SEEDS);
    let polls = AtomicU64::new(0);
    let reports = run_all(first..first + count, |mut report| {
        polls.fetch_add(report.polls, Ordering::Relaxed);
        if report.violation.is_none() {
            report.trace.clear();
        }
        report
    });
    let mut broken: Vec<&Report> = reports.iter().filter(|report| report.violation.is_some()).collect();
    broken.sort_by_key(|report| report.seed);
    let mut faults = BTreeMap::new();
    for report in &reports {
        for (fault, times) in &report.faults {
            *faults.entry(*fault).or_insert(0) += times;
        }
    }
    println!("{} polls, faults {faults:?}", polls.load(Ordering::Relaxed));
    let mut transitions = BTreeMap::new();
    for report in &reports {
        for (transition, times) in &report.transitions {
            *transitions.entry(*transition).or_insert(0) += times;
        }
    }
    println!("{transitions:?}");
    let sum = |of: fn(&Report) -> u64| reports.iter().map(of).sum::<u64>();
    println!(
        "confirmed {} cancelled {} redriven {} answers {}",
        sum(|r| r.confirmed),
        sum(|r| r.cancelled),
        sum(|r| r.redriven),
        sum(|r| r.answers)
    );
    for report in &broken {
        println!("{}: {}", report.seed, report.violation.as_deref().unwrap_or_default());
    }
    if let Some(first) = broken.first() {
        panic!("{} of {} seeds broke an invariant\n\n{first}", broken.len(), reports.len());
    }
}

#[test]
#[ignore]
fn replay() {
    let seed = from_env("TCC_SIM_SEED").unwrap();
    let report = sim::run(seed);
    println!("{}", report.trace);
    println!("{:?}", report.violation);
}
