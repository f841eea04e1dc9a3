//! Every call of the store and the queues, and every run of a handler, in every workload: struck by a crash, an
//! error, a lost answer, a pause or a repetition, one at a time. The points are found by a first run of each
//! scene; nothing here lists them.
//!
//! `TCC_POINT` says which one `replay` tells whole; `TCC_POINT_SEEDS` runs each scene in more orders than one.

#![allow(clippy::unwrap_used, reason = "a surprise ends the test")]
#![allow(clippy::disallowed_methods, reason = "how long a proof takes, a clock on the wall tells")]

mod proof;

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    time::Instant,
};

use proof::{Proof, on_every_core};
use tcc_core::testing::sim::points::{self, Aim, Deployment, Point, Scene, Strike, Workload};
use tcc_core::{
    machine::Transition::{self, *},
    record::{
        Direction::{Cancel, Confirm},
        ParkCause, Reason,
    },
};

/// Every store call of the runtime, and the handlers: a run that does not come by all of them is void.
const CALLS: [&str; 20] = [
    "begin",
    "register",
    "report",
    "decide",
    "claim",
    "renew",
    "keep-alive",
    "close",
    "sweep",
    "redrive",
    "now",
    "load",
    "due",
    "open",
    "listen",
    "next",
    "try",
    "confirm",
    "cancel",
    "find",
];

fn scenes() -> Vec<Scene> {
    let seeds = env::var("TCC_POINT_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(1);
    let mut scenes = Vec::new();
    for workload in Workload::ALL {
        for deployment in Deployment::ALL {
            scenes.extend((0..seeds).map(|seed| Scene { workload, deployment, seed }));
        }
    }
    scenes
}

/// What an undisturbed run must come to, or its points prove nothing.
fn expected(workload: Workload) -> &'static [Transition] {
    const CONFIRMED: &[Transition] = &[Decided(Confirm, Reason::Committed), Ended(Confirm)];
    match workload {
        Workload::Rollback => &[Decided(Cancel, Reason::Aborted), Ended(Cancel)],
        Workload::Panics => &[Decided(Cancel, Reason::Panicked), Ended(Cancel)],
        Workload::Dropped => &[Decided(Cancel, Reason::Dropped), Ended(Cancel)],
        Workload::Overruns => &[KeptAlive, Decided(Cancel, Reason::DeadlinePassed), Ended(Cancel)],
        Workload::LateTry => &[Decided(Cancel, Reason::UnknownOutcome), Reopened, Ended(Cancel)],
        Workload::OperatorCancels => &[Decided(Cancel, Reason::Operator), DecidedBefore, Ended(Cancel)],
        Workload::Handled => &[Decided(Confirm, Reason::Committed), Completed(Cancel), Ended(Confirm)],
        Workload::Keyed => &[Begun, Ended(Confirm)],
        Workload::Retried => &[Failed, Ended(Confirm)],
        Workload::Slow => &[Renewed, Ended(Confirm)],
        Workload::Ongoing => &[Ongoing, Ended(Confirm)],
        Workload::Parked => &[Parked(ParkCause::Handler), Redriven, Ended(Confirm)],
        _ => CONFIRMED,
    }
}

fn record(scene: Scene) -> (Scene, Vec<Point>) {
    let (report, points) = points::record(scene);
    assert!(report.violation.is_none(), "{scene:?} undisturbed: {report}");
    let expected = expected(scene.workload);
    let missing: Vec<_> = expected.iter().filter(|one| !report.transitions.contains_key(one)).collect();
    assert!(missing.is_empty(), "{scene:?} is void: {missing:?} never happened\n{}", report.trace);
    (scene, points)
}

#[test]
#[allow(clippy::print_stdout, reason = "what a run consisted of belongs into its log")]
fn no_strike_at_any_point_breaks_an_invariant() {
    let started = Instant::now();
    let recorded = on_every_core(scenes(), record);
    let called: BTreeSet<&str> =
        recorded.iter().flat_map(|(_, points)| points).map(|point| point.call).collect();
    let missing: Vec<_> = CALLS.iter().filter(|call| !called.contains(*call)).collect();
    let points: usize = recorded.iter().map(|(_, points)| points.len()).sum();
    let mut aims = Vec::new();
    for (scene, points) in &recorded {
        for point in points {
            aims.extend(point.strikes().into_iter().map(|strike| Aim {
                scene: *scene,
                number: point.number,
                strike,
            }));
        }
    }
    let mut strikes: BTreeMap<Strike, u64> = BTreeMap::new();
    for aim in &aims {
        *strikes.entry(aim.strike).or_default() += 1;
    }
    let runs = aims.len() as u64;
    let broken: Vec<String> = on_every_core(aims, |aim| {
        let (report, hit) = points::strike(aim);
        let why =
            report.violation.clone().or_else(|| (!hit).then(|| "the point was not met again".into()))?;
        Some((aim, why))
    })
    .into_iter()
    .flatten()
    .map(|(aim, why)| {
        format!("{why}\n  replay it: TCC_POINT={aim} cargo test -p tcc-core --features testing --test crash_points replay -- --nocapture")
    })
    .collect();
    println!("{points} points of {} scenes, calls {called:?}", recorded.len());
    println!("{runs} strikes: {strikes:?}");
    let proof = Proof { layer: "crash-points", runs, faults: runs, violations: broken.len() as u64 };
    proof.print(started.elapsed());
    assert!(broken.is_empty(), "{} of {runs} strikes broke an invariant\n{}", broken.len(), first(&broken));
    assert!(missing.is_empty(), "the run is void: these calls were never made: {missing:?}");
    assert_eq!(strikes.len(), Strike::ALL.len(), "the run is void: {strikes:?}");
}

fn first(broken: &[String]) -> String {
    broken.iter().take(20).cloned().collect::<Vec<_>>().join("\n")
}

/// Tells one strike whole: `TCC_POINT=Commit/One/0/17/Lost cargo test -p tcc-core --features testing --test crash_points replay -- --nocapture`.
#[test]
#[allow(clippy::print_stdout, reason = "it is asked for")]
fn replay() {
    let asked = env::var("TCC_POINT").ok();
    let aim: Aim = asked.as_deref().unwrap_or("Commit/One/0/0/Lost").parse().unwrap();
    let (report, hit) = points::strike(aim);
    if asked.is_some() {
        let (_, points) = points::record(aim.scene);
        println!("{}", report.trace);
        println!("struck: {} by {}", points[aim.number], aim.strike);
    }
    assert!(hit && report.violation.is_none(), "{report}");
}
