//! The runtime, simulated: thousands of seeds of crashes, lost answers, late messages and stepped clocks
//! break no invariant, and the same seed says the same thing twice.
//!
//! `TCC_SIM_SEEDS` and `TCC_SIM_FIRST` run other seeds than the first 2,000; `TCC_SIM_SEED` says which one
//! `replay` tells whole.

use std::{collections::BTreeMap, env, sync::Mutex};

use tcc::{
    machine::Transition::{self, *},
    record::{
        Direction::{Cancel, Confirm},
        ParkCause, Reason,
    },
};
use tcc_core::testing::sim::{self, Fault, Report};

const SEEDS: u64 = 2_000;

/// What happens in every large run, or it proves too little. Left out is what one service by itself cannot
/// come to: calls of other services (rule 16), and records that are lost.
const TRANSITIONS: [Transition; 50] = [
    Begun,
    BegunAgain,
    KeyTaken,
    KeyTakenOver,
    Created,
    Registered,
    RegisteredAgain,
    Reported,
    ReportedLate,
    Reopened,
    ReportedAgain,
    Decided(Confirm, Reason::Committed),
    Decided(Cancel, Reason::Aborted),
    Decided(Cancel, Reason::Panicked),
    Decided(Cancel, Reason::Dropped),
    Decided(Cancel, Reason::DeadlinePassed),
    Decided(Cancel, Reason::InitiatorLost),
    Decided(Cancel, Reason::Operator),
    Decided(Cancel, Reason::UnknownOutcome),
    DecidedBefore,
    Tombstone,
    ClaimedInline,
    Claimed,
    ClaimedAgain,
    ClaimedNothing,
    Renewed,
    RenewedTooLate,
    KeptAlive,
    Completed(Confirm),
    Completed(Cancel),
    CompletedLate(Confirm),
    CompletedLate(Cancel),
    CompletedUnaware,
    CompletedAgain,
    Failed,
    Ongoing,
    Released,
    HandedOn,
    Parked(ParkCause::AttemptsExhausted),
    Parked(ParkCause::OngoingTooLong),
    Parked(ParkCause::Handler),
    Parked(ParkCause::Undecodable),
    Parked(ParkCause::UnknownAction),
    ClosedAgain,
    Rung,
    Ended(Confirm),
    Ended(Cancel),
    SweptEarly,
    SweptIdle,
    Redriven,
];

fn from_env(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}

/// Looks at the report of each seed, on every core.
fn run_all<T: Send>(seeds: impl Iterator<Item = u64> + Send, look: impl Fn(Report) -> T + Sync) -> Vec<T> {
    let (seeds, looked) = (Mutex::new(seeds), Mutex::new(Vec::new()));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let work = || {
        while let Some(seed) = { seeds.lock().unwrap().next() } {
            let seen = look(sim::run(seed));
            looked.lock().unwrap().push(seen);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(work);
        }
    });
    looked.into_inner().unwrap()
}

fn add<K: Ord + Copy>(sum: &mut BTreeMap<K, u64>, counts: &BTreeMap<K, u64>) {
    for (what, times) in counts {
        *sum.entry(*what).or_default() += times;
    }
}

#[test]
#[allow(clippy::print_stdout, reason = "what a run consisted of belongs into its log")]
fn every_seed_keeps_every_invariant() {
    let first = from_env("TCC_SIM_FIRST").unwrap_or(0);
    let count = from_env("TCC_SIM_SEEDS").unwrap_or(SEEDS);
    let reports = run_all(first..first + count, |mut report| {
        // Thousands of traces would fill the memory.
        if report.violation.is_none() {
            report.trace = String::new();
        }
        report
    });
    let (mut faults, mut transitions) = (BTreeMap::new(), BTreeMap::new());
    for report in &reports {
        add(&mut faults, &report.faults);
        add(&mut transitions, &report.transitions);
    }
    let sum = |of: fn(&Report) -> u64| reports.iter().map(of).sum::<u64>();
    let (confirmed, cancelled) = (sum(|report| report.confirmed), sum(|report| report.cancelled));
    let (redriven, orphans) = (sum(|report| report.redriven), sum(|report| report.orphans));
    println!("{count} seeds: {confirmed} transactions confirmed, {cancelled} cancelled, {redriven} redriven");
    println!("{} polls, {} answers to callers", sum(|report| report.polls), sum(|report| report.answers));
    println!("faults: {faults:?}");
    println!("transitions: {transitions:?}");

    let mut broken: Vec<&Report> = reports.iter().filter(|report| report.violation.is_some()).collect();
    broken.sort_by_key(|report| report.seed);
    for report in &broken {
        println!("seed {}: {}", report.seed, report.violation.as_deref().unwrap_or_default());
    }
    if let Some(worst) = broken.first() {
        panic!("{} of {count} seeds broke an invariant\n\n{worst}", broken.len());
    }

    if count < SEEDS {
        return;
    }
    let missing: Vec<_> = Fault::ALL.iter().filter(|fault| !faults.contains_key(fault)).collect();
    assert!(missing.is_empty(), "the run is void: these faults were never made: {missing:?}");
    let missing: Vec<_> = TRANSITIONS.iter().filter(|one| !transitions.contains_key(one)).collect();
    assert!(missing.is_empty(), "the run is void: these transitions never happened: {missing:?}");
    assert!(cancelled * 20 >= confirmed + cancelled, "the run is void: only {cancelled} were cancelled");
    assert!(confirmed * 5 >= confirmed + cancelled, "the run is void: only {confirmed} were confirmed");
    assert!(redriven > 0 && orphans > 0, "the run is void: {redriven} redriven, {orphans} without a record");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let unequal = run_all((0..SEEDS).step_by(50), |report| {
        let again = sim::run(report.seed);
        assert!(again.trace.lines().count() > 20, "seed {} tells nothing", again.seed);
        (report != again).then_some(report.seed)
    });
    let unequal: Vec<u64> = unequal.into_iter().flatten().collect();
    assert!(unequal.is_empty(), "these seeds gave two different traces: {unequal:?}");
}

/// Tells one seed whole: `TCC_SIM_SEED=7 cargo test --test simulation replay -- --nocapture`.
#[test]
#[allow(clippy::print_stdout, reason = "it is asked for")]
fn replay() {
    let asked = from_env("TCC_SIM_SEED");
    let report = sim::run(asked.unwrap_or(1));
    if asked.is_some() {
        println!("{}", report.trace);
    }
    assert!(report.violation.is_none(), "{report}");
}
