//! The runtime, simulated: thousands of seeds of crashes, lost answers, late messages and stepped clocks
//! break no invariant, and the same seed says the same thing twice.
//!
//! `TCC_SIM_SEEDS` and `TCC_SIM_FIRST` run other seeds than the first 2,000; `TCC_SIM_SEED` says which one
//! `replay` tells whole.

#![allow(clippy::unwrap_used, reason = "a surprise ends the test")]
#![allow(clippy::disallowed_methods, reason = "how long a proof takes, a clock on the wall tells")]

mod proof;

use std::{collections::BTreeMap, env, time::Instant};

use proof::{Proof, on_every_core};
use tcc_core::testing::sim::{self, Fault, Report};
use tcc_core::{
    machine::Transition::{self, *},
    record::{
        Direction::{Cancel, Confirm},
        ParkCause, Reason,
    },
};

const SEEDS: u64 = 2_000;
/// Seeds run before their reports are added up.
const AT_ONCE: usize = 10_000;

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

/// What many reports came to.
#[derive(Default)]
struct Sum {
    faults: BTreeMap<Fault, u64>,
    transitions: BTreeMap<Transition, u64>,
    confirmed: u64,
    cancelled: u64,
    redriven: u64,
    orphans: u64,
    polls: u64,
    answers: u64,
    broken: Vec<Report>,
}

impl Sum {
    fn add(&mut self, report: Report) {
        add(&mut self.faults, &report.faults);
        add(&mut self.transitions, &report.transitions);
        self.confirmed += report.confirmed;
        self.cancelled += report.cancelled;
        self.redriven += report.redriven;
        self.orphans += report.orphans;
        self.polls += report.polls;
        self.answers += report.answers;
        if report.violation.is_some() {
            self.broken.push(report);
        }
    }
}

fn add<K: Ord + Copy>(sum: &mut BTreeMap<K, u64>, counts: &BTreeMap<K, u64>) {
    for (what, times) in counts {
        *sum.entry(*what).or_default() += times;
    }
}

#[test]
#[allow(clippy::print_stdout, reason = "what a run consisted of belongs into its log")]
fn every_seed_keeps_every_invariant() {
    let started = Instant::now();
    let first = from_env("TCC_SIM_FIRST").unwrap_or(0);
    let count = from_env("TCC_SIM_SEEDS").unwrap_or(SEEDS);
    let mut sum = Sum::default();
    let end = first + count;
    for from in (first..end).step_by(AT_ONCE) {
        let reports = on_every_core(from..end.min(from + AT_ONCE as u64), |seed| {
            let mut report = sim::run(seed);
            // Thousands of traces would fill the memory.
            if report.violation.is_none() {
                report.trace = String::new();
            }
            report
        });
        reports.into_iter().for_each(|report| sum.add(report));
    }
    let Sum { faults, transitions, confirmed, cancelled, redriven, orphans, polls, answers, mut broken } =
        sum;
    println!("{count} seeds: {confirmed} transactions confirmed, {cancelled} cancelled, {redriven} redriven");
    println!("{polls} polls, {answers} answers to callers");
    println!("faults: {faults:?}");
    println!("transitions: {transitions:?}");

    broken.sort_by_key(|report| report.seed);
    let proof = Proof {
        layer: "simulation",
        runs: count,
        faults: faults.values().sum(),
        violations: broken.len() as u64,
    };
    proof.print(started.elapsed());
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
    let unequal = on_every_core((0..SEEDS).step_by(50), |seed| {
        let (report, again) = (sim::run(seed), sim::run(seed));
        assert!(again.trace.lines().count() > 20, "seed {} tells nothing", again.seed);
        (report != again).then_some(report.seed)
    });
    let unequal: Vec<u64> = unequal.into_iter().flatten().collect();
    assert!(unequal.is_empty(), "these seeds gave two different traces: {unequal:?}");
}

/// Tells one seed whole: `TCC_SIM_SEED=7 cargo test -p tcc-core --features testing --test simulation replay -- --nocapture`.
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
