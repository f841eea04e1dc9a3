//! A deterministic simulator: the real runtime in several processes over the in-memory store, behind a
//! network, a clock and a scheduler that a seed decides.
//!
//! One seed, one run, one trace: [`run`] gives the same bytes for the same seed. Faults are made first and
//! healed then; the oracle watches the invariants I1 to I10 at every operation, every run of a handler and
//! every answer to a caller, and asks in the end whether everything is final, or parked where an operator
//! sees it, and then final once the operator sets it going.

mod bank;
mod bells;
mod clients;
mod executor;
mod nemesis;
mod oracle;
mod participants;
mod plan;
pub mod points;
mod random;
mod trace;
mod wire;
mod workload;
mod world;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use executor::WORLD;
use plan::LIVENESS;
use world::World;

pub use plan::Fault;

use crate::{
    gid::Gid,
    machine::{Change, Op, Operate, Redrive, Transition},
    record::ParkCause,
};

/// More steps than any run takes that comes to rest.
const STEPS_MAX: u64 = 4_000_000;
/// The same of a run that does one transaction.
const SCRIPTED_STEPS_MAX: u64 = 200_000;
const LOOK: Duration = Duration::from_millis(250);
const REDRIVES_MAX: u32 = 10;

/// What one seed came to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// The first broken invariant, if one broke.
    pub violation: Option<String>,
    /// Every fault that was made, with how often.
    pub faults: BTreeMap<Fault, u64>,
    /// Every transition of the state machine, with how often it happened.
    pub transitions: BTreeMap<Transition, u64>,
    /// Transactions confirmed in the end.
    pub confirmed: u64,
    /// Transactions cancelled in the end.
    pub cancelled: u64,
    /// Transactions an operator had to set going again.
    pub redriven: u64,
    /// Callers that got an answer.
    pub answers: u64,
    /// Tries whose record was gone when they ended, so that their process cancelled them by itself.
    pub orphans: u64,
    /// Polls of a task.
    pub polls: u64,
    /// How long it took in simulated time.
    pub simulated: Duration,
    /// All that happened, a line each.
    pub trace: String,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.violation {
            None => write!(f, "seed {}: no violation", self.seed),
            Some(violation) => write!(
                f,
                "seed {seed}: {violation}\n\nthe last that happened:\n{}\nreplay it whole: \
                 TCC_SIM_SEED={seed} cargo test -p tcc-core --features testing --test simulation replay -- --nocapture",
                trace::tail(&self.trace),
                seed = self.seed,
            ),
        }
    }
}

/// Runs one seed to its end.
#[must_use]
pub fn run(seed: u64) -> Report {
    let world = World::new(seed);
    for place in 0..world.plan.processes.len() {
        world.executor.spawn(WORLD, Box::pin(nemesis::watch(Arc::clone(&world), place)));
    }
    let troubles = &world.plan.troubles;
    for (kind, mean) in [
        (Fault::Crash, troubles.crash),
        (Fault::Shutdown, troubles.shutdown),
        (Fault::Pause, troubles.pause),
        (Fault::OutageRefusing, troubles.outage),
        (Fault::ClockForward, troubles.clock),
        (Fault::WritesLost, troubles.failover),
    ] {
        if let Some(mean) = mean {
            world.executor.spawn(WORLD, Box::pin(nemesis::trouble(Arc::clone(&world), kind, mean)));
        }
    }
    finish(seed, &world)
}

/// Steps a world to its end and tells what it came to.
fn finish(seed: u64, world: &Arc<World>) -> Report {
    let redriven = Arc::new(AtomicU64::new(0));
    world.executor.spawn(WORLD, Box::pin(direct(Arc::clone(world), Arc::clone(&redriven))));
    step_until_over(world);
    report(seed, world, redriven.load(Ordering::SeqCst))
}

fn step_until_over(world: &World) {
    let most = if world.script.is_some() { SCRIPTED_STEPS_MAX } else { STEPS_MAX };
    for _ in 0..most {
        let goes_on = world.executor.step();
        if let Some(panic) = world.executor.panics().first() {
            world.oracle().violate(format!("a task panicked: {panic}"));
        }
        if world.is_over() || world.oracle().violation().is_some() {
            return;
        }
        if !goes_on {
            break;
        }
    }
    world.oracle().violate("the simulation did not come to its end".into());
}

/// Sets everything parked going, signed by an operator or not.
fn retry(signed: bool) -> Op {
    let branches = Vec::new();
    match ("operator".parse(), "what failed is mended".parse()) {
        (Ok(by), Ok(why)) if signed => Operate { by, why, change: Change::Redrive { branches } }.into(),
        _ => Redrive { branches }.into(),
    }
}

/// Faults first, then healing, then liveness, then the operator, then the books.
async fn direct(world: Arc<World>, redriven: Arc<AtomicU64>) {
    world.sleep(world.plan.span).await;
    world.heal();
    if !rest(&world).await {
        return;
    }
    for round in 1.. {
        let mut parked = world.oracle().settled().parked;
        if round > 1 {
            // What a failover left on both sides stays with the operator.
            parked.retain(|gid| !world.oracle().is_excused(gid));
        }
        if parked.is_empty() {
            break;
        }
        // While an old release and a new one share the work, the old one may be the quicker time after time.
        let hopeless =
            round > REDRIVES_MAX || round > 1 && !parked.iter().all(|gid| lacks_version(&world, gid));
        if hopeless {
            world.oracle().violate(format!("parked again without a fault: {parked:?}"));
            return;
        }
        redriven.fetch_add(parked.len() as u64, Ordering::SeqCst);
        for (place, gid) in parked.into_iter().enumerate() {
            world.note(WORLD, format_args!("the operator redrives {gid}"));
            let request = world.next_request();
            world.apply(WORLD, request, &gid, &retry(place % 2 == 0));
        }
        if !rest(&world).await {
            return;
        }
    }
    let (kept, now) = (world.store.records(), world.server_now());
    let books = world.books();
    world.oracle().check_end(&kept, &books, now);
    drop(books);
    world.end();
}

/// Whether a transaction waits only for a process that knows its actions' version.
fn lacks_version(world: &World, gid: &Gid) -> bool {
    let parked =
        world.record(gid).into_iter().flat_map(|record| record.branches).filter_map(|branch| branch.parked);
    parked.map(|parked| parked.cause).all(|cause| cause == ParkCause::UnknownAction)
}

/// Waits until nothing moves any more; false, and a violation, if that takes too long (I9). What was still at two looks
/// has stopped: at one alone, a try may just have ended and be about to tell so.
async fn rest(world: &Arc<World>) -> bool {
    let patience = world.executor.now() + LIVENESS;
    let mut was_still = false;
    loop {
        world.sleep(LOOK).await;
        let open = world.oracle().settled().open;
        let idle = !world.is_busy() && !world.oracle().is_running();
        let is_still = open.is_empty() && idle;
        if is_still && was_still {
            return true;
        }
        was_still = is_still;
        if world.executor.now() > patience {
            let what = if open.is_empty() { "clients or handlers hang".into() } else { format!("{open:?}") };
            world.oracle().violate(format!("{LIVENESS:?} after the last fault: {what} (I9)"));
            return false;
        }
    }
}

fn report(seed: u64, world: &World, redriven: u64) -> Report {
    let oracle = world.oracle();
    let settled = oracle.settled();
    let report = Report {
        seed,
        violation: oracle.violation().map(str::to_owned),
        faults: world.faults(),
        transitions: world.store.transitions(),
        confirmed: settled.confirmed,
        cancelled: settled.cancelled,
        redriven,
        answers: oracle.answers(),
        orphans: oracle.orphans(),
        polls: world.executor.polls(),
        simulated: world.executor.now(),
        trace: world.take_trace(),
    };
    drop(oracle);
    let places = std::mem::take(&mut *world.places());
    drop(places);
    world.executor.finish();
    report
}
