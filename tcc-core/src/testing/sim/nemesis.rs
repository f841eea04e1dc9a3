//! Starts processes and makes them fail, together with the store and its clock.

use std::{sync::Arc, time::Duration};

use tokio::sync::broadcast::{self, error::RecvError};

use super::{
    clients::Client,
    executor::{Process, ProcessSeam, WORLD},
    participants::Teller,
    plan::{
        DECIDE_PATIENCE, DRIVE_LEASE, Fault, GRACE, LEASE, REPLAY_WINDOW, STORE_TIMEOUT, SWEEP, TIMEOUT,
        UNHANDLED_LIMIT,
    },
    wire::{REPEATED_WITHIN, Wire},
    world::{Outage, World},
};
use crate::{
    event::Event,
    name::Name,
    runtime::{Runtime, StartError},
};

/// How often a watcher looks whether its process lives.
const WATCH: Duration = Duration::from_millis(200);
const HOUR_MS: u64 = 3_600_000;

/// Keeps a place's process running: it is started again whenever it died.
pub(super) async fn watch(world: Arc<World>, place: usize) {
    loop {
        begin_life(&world, place);
        loop {
            world.sleep(WATCH).await;
            let at = world.places()[place].clone();
            if !world.executor.is_alive(at.process) {
                break;
            }
        }
        // What is left of the runtime's handle dies with the process.
        let handle = world.places()[place].runtime.take();
        drop(handle);
        let down = world.dice().magnitude(Duration::from_millis(20), Duration::from_secs(12));
        world.sleep(if world.is_healed() { WATCH } else { down }).await;
        world.fault(WORLD, Fault::Restart);
    }
}

fn begin_life(world: &Arc<World>, place: usize) {
    let process = {
        let mut places = world.places();
        let at = &mut places[place];
        at.lives += 1;
        at.process = world.executor.start_process(format!("p{place}.{}", at.lives));
        at.process
    };
    world.note(process, format_args!("starts, {:?}", world.plan.processes[place]));
    let life = live(Arc::clone(world), place, process);
    world.executor.spawn(process, Box::pin(life));
}

async fn live(world: Arc<World>, place: usize, process: Process) {
    let runtime = loop {
        match start(&world, place, process).await {
            Ok(runtime) => break runtime,
            Err(error) => world.note(process, format_args!("does not start: {error}")),
        }
        world.sleep_millis(100, 1_000).await;
    };
    world.note(process, format_args!("has started"));
    world.places()[place].runtime = Some(runtime.clone());
    let watcher = follow(Arc::clone(&world), process, runtime.events());
    world.executor.spawn(process, Box::pin(watcher));
    let deployed = &world.plan.processes[place];
    if !deployed.initiates {
        return;
    }
    if let Some(script) = &world.script {
        if script.begins() {
            let work = super::workload::go(Arc::clone(&world), process, runtime);
            world.executor.spawn(process, Box::pin(work));
        }
        return;
    }
    let pause_ms = 2 * world.plan.span.as_millis() as u64 / world.plan.transactions;
    loop {
        world.sleep_millis(1, pause_ms).await;
        if !world.takes_another() {
            return;
        }
        let client = Client::new(&world, process, &runtime, deployed);
        world.executor.spawn(process, Box::pin(client.go()));
    }
}

/// Holds what a process tells its subscribers against what is written.
async fn follow(world: Arc<World>, process: Process, mut events: broadcast::Receiver<Event>) {
    loop {
        match events.recv().await {
            Ok(Event::Decided { gid, decision }) => world.oracle().event_decided(&gid, &decision),
            Ok(Event::CancelledWithoutRecord { gid, branch, error, .. }) => {
                world.note(process, format_args!("cancelled {gid}/{branch} without a record: {error:?}"));
                world.oracle().orphaned((gid, branch), error.is_some());
            }
            Ok(_) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}

async fn start(world: &Arc<World>, place: usize, process: Process) -> Result<Runtime, StartError> {
    let deployed = &world.plan.processes[place];
    let name = Name::new(&world.executor.name(process)).map_err(StartError::Name)?;
    let (leaves_to_messages, dice) = {
        let mut dice = world.dice();
        (dice.chance(3_000) && world.script.is_none(), dice.fork())
    };
    let mut builder = Runtime::builder()
        .phase_two_inline(!leaves_to_messages)
        .process(name)
        .store(Wire::new(Arc::clone(world), process, place))
        .seam(Arc::new(ProcessSeam::new(Arc::clone(&world.executor), process, dice)))
        .lease(LEASE)
        .drive_lease(DRIVE_LEASE)
        .sweep_interval(SWEEP)
        .store_timeout(STORE_TIMEOUT)
        .decide_patience(DECIDE_PATIENCE)
        .unhandled_limit(UNHANDLED_LIMIT)
        .timeout(TIMEOUT)
        .replay_window(REPLAY_WINDOW)
        .retention(world.plan.retention)
        .grace(GRACE)
        .open_max(world.plan.limits.open)
        .drives_max(world.plan.limits.drives)
        .branches_max(world.plan.limits.branches)
        .survey_interval(Duration::ZERO);
    for bank in &deployed.banks {
        let teller = Teller { world: Arc::clone(world), process, bank };
        builder = builder.actions(*bank, teller.actions(deployed.old));
        if deployed.tries_only {
            builder = builder.tries_only(*bank);
        }
    }
    builder.start().await
}

/// Makes one kind of trouble again and again, until faults are over.
pub(super) async fn trouble(world: Arc<World>, kind: Fault, mean: Duration) {
    loop {
        let pause = world.dice().millis(0, 2 * mean.as_millis() as u64);
        world.sleep(pause).await;
        if world.is_healed() {
            return;
        }
        match kind {
            Fault::Crash => crash(&world),
            Fault::Shutdown => shut_down(&world),
            Fault::Pause => pause_one(&world).await,
            Fault::ClockForward => step_clock(&world),
            Fault::WritesLost => world.fail_over(),
            _ => cut_off(&world).await,
        }
    }
}

/// A process that is up, at random.
fn victim(world: &World) -> Option<(usize, Process)> {
    let up: Vec<(usize, Process)> = {
        let places = world.places();
        let begun = places.iter().enumerate().filter(|(_, at)| at.lives > 0);
        begun.map(|(place, at)| (place, at.process)).collect()
    };
    let up: Vec<_> = up.into_iter().filter(|(_, process)| world.executor.is_alive(*process)).collect();
    if up.is_empty() { None } else { Some(*world.dice().pick(&up)) }
}

fn crash(world: &World) {
    if let Some((_, process)) = victim(world) {
        world.fault(process, Fault::Crash);
        world.kill(process);
    }
}

fn shut_down(world: &Arc<World>) {
    let Some((place, process)) = victim(world) else { return };
    let Some(runtime) = world.places()[place].runtime.clone() else { return };
    stop(world, process, &runtime);
}

/// Asks a process to stop.
pub(super) fn stop(world: &Arc<World>, process: Process, runtime: &Runtime) {
    world.fault(process, Fault::Shutdown);
    let (inside, runtime) = (Arc::clone(world), runtime.clone());
    let work = async move {
        runtime.shutdown().await;
        inside.note(process, format_args!("has shut down"));
        inside.kill(process);
    };
    world.executor.spawn(process, Box::pin(work));
}

async fn pause_one(world: &Arc<World>) {
    let Some((_, process)) = victim(world) else { return };
    world.fault(process, Fault::Pause);
    let _busy = world.busy();
    world.executor.pause(process, true);
    let pause = world.dice().magnitude(LEASE / 4, DRIVE_LEASE * 6);
    world.sleep(pause).await;
    world.executor.pause(process, false);
    world.stay_busy(REPEATED_WITHIN);
    world.note(process, format_args!("goes on after {pause:?}"));
}

fn step_clock(world: &World) {
    let (forward, step_ms) = {
        let mut dice = world.dice();
        let step = dice.magnitude(Duration::from_millis(50), Duration::from_millis(HOUR_MS));
        (dice.chance(5_000), step.as_millis() as i64)
    };
    let limit = HOUR_MS as i64;
    let before = world.skew_ms();
    let skew = if forward { before + step_ms } else { before - step_ms }.clamp(-limit, limit);
    world.step_clock(skew);
    world.fault(WORLD, if skew > before { Fault::ClockForward } else { Fault::ClockBackward });
    world.note(WORLD, format_args!("the clock is {skew} ms off, before {before} ms"));
}

async fn cut_off(world: &World) {
    let (kind, only, pause) = {
        let mut dice = world.dice();
        let kind = *dice.pick(&[Fault::OutageRefusing, Fault::OutageSilent, Fault::OutageDeaf]);
        let only = dice.chance(5_000).then(|| dice.below(world.plan.processes.len() as u64) as usize);
        (kind, only, dice.magnitude(Duration::from_millis(100), Duration::from_secs(8)))
    };
    world.fault(WORLD, kind);
    if let Some(place) = only {
        world.fault(WORLD, Fault::Partition);
        world.note(WORLD, format_args!("the store is away for p{place} alone"));
    }
    world.set_outage(Some(Outage { kind, only }));
    world.sleep(pause).await;
    world.set_outage(None);
    world.note(WORLD, format_args!("the store is back"));
}
