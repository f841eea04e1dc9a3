//! Random sequences on the in-memory store, every invariant checked after every step.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{
    invariants::Snapshot,
    scene::{close, done, text},
};
use crate::{
    gid::Gid,
    machine::{Answer, ClaimWork, Close, Op, Sweep},
    memory::MemoryStore,
    name::Name,
    record::Token,
    store::{Applied, Doorbell},
    testing::{
        sequences::{Generator, START, Step},
        variants,
    },
    time::Timestamp,
};

const SEEDS: u64 = 200;
const STEPS: u64 = 300;
/// Timers that run out until a sequence must have come to rest.
const ROUNDS: u64 = 400;

#[test]
fn random_sequences_keep_every_invariant_and_reach_every_transition_and_refusal() {
    let mut transitions = BTreeSet::new();
    let mut refusals = BTreeSet::new();
    for seed in 0..SEEDS {
        let mut run = Run::new(seed);
        for _ in 0..STEPS {
            run.step();
        }
        run.drain();
        transitions.extend(run.store.transitions().into_keys());
        refusals.extend(run.refusals.iter().copied());
        run.finished = true;
    }
    let missed: Vec<_> = variants::transitions().difference(&transitions).copied().collect();
    assert!(missed.is_empty(), "no sequence reached {missed:?}");
    let missed: Vec<_> = variants::refusals().difference(&refusals).copied().collect();
    assert!(missed.is_empty(), "no sequence reached {missed:?}");
}

struct Run {
    seed: u64,
    clock: Arc<AtomicU64>,
    store: MemoryStore,
    generator: Generator,
    snapshot: Snapshot,
    now: Timestamp,
    refusals: BTreeSet<&'static str>,
    steps: u64,
    finished: bool,
}

impl Run {
    fn new(seed: u64) -> Self {
        let clock = Arc::new(AtomicU64::new(START.as_millis()));
        let hand = clock.clone();
        let store = MemoryStore::with(1, move || Timestamp::from_millis(hand.load(Ordering::Relaxed)));
        let snapshot = Snapshot::of(&store);
        let generator = Generator::new(seed);
        Self {
            seed,
            clock,
            store,
            generator,
            snapshot,
            now: START,
            refusals: BTreeSet::new(),
            steps: 0,
            finished: false,
        }
    }

    fn step(&mut self) {
        self.steps += 1;
        match self.generator.step() {
            Step::Clock(ms) => self.tick(ms),
            Step::Apply(gid, op) => {
                let applied = self.apply(&gid, &op);
                self.generator.hear(&gid, &op, &applied);
            }
        }
    }

    fn tick(&mut self, ms: i64) {
        let clock = self.clock.load(Ordering::Relaxed).saturating_add_signed(ms);
        self.clock.store(clock, Ordering::Relaxed);
        self.now = self.now.max(Timestamp::from_millis(clock));
        let after = Snapshot::of(&self.store);
        self.snapshot.check_forgotten(&after, self.now);
        after.check(self.now);
        self.snapshot = after;
    }

    fn apply(&mut self, gid: &Gid, op: &Op) -> Applied {
        let (applied, saw) = self.store.apply_now(gid, op);
        assert!(applied.result.is_ok() || saw.is_empty(), "a refused operation went through {saw:?}");
        assert_eq!(applied.now, self.now, "server time went astray");
        let after = Snapshot::of(&self.store);
        self.snapshot.check_step(&after, gid, op, &applied.result, self.now);
        after.check(self.now);
        after.check_repetition(gid, op, &applied.result, self.now);
        self.snapshot = after;
        let closes = match &applied.result {
            Ok(Answer::Closed(closes)) => closes.drives.as_slice(),
            _ => &[],
        };
        let refused =
            closes.iter().filter_map(|close| close.as_ref().err()).chain(applied.result.as_ref().err());
        self.refusals.extend(refused.map(variants::refusal_name));
        applied
    }

    /// Faults end: sweepers and workers do their part, led by timers and messages alone.
    fn drain(&mut self) {
        for _ in 0..ROUNDS {
            let Some(next) = self.snapshot.timers.values().min().copied() else { return };
            let clock = self.clock.load(Ordering::Relaxed);
            self.tick(next.max(self.now).as_millis() as i64 - clock as i64);
            let due = self.snapshot.timers.iter().filter(|(_, at)| **at <= self.now);
            for gid in due.map(|(gid, _)| gid.clone()).collect::<Vec<_>>() {
                self.apply(&gid, &Sweep { by: text("sweeper") }.into());
            }
            for Doorbell { gid, participant } in self.snapshot.standing.clone() {
                self.work(&gid, &participant);
            }
        }
        panic!("I9: still open after all faults ended: {:#?}", self.snapshot);
    }

    /// Every other sequence loses the first message of each kind.
    fn work(&mut self, gid: &Gid, participant: &Name) {
        let Some(bell) = self.snapshot.records[gid].bells.get(participant) else { return };
        if self.seed % 2 == 1 && bell.count < 2 {
            return;
        }
        let token = Token(self.seed ^ self.now.as_millis());
        let claim = ClaimWork {
            participants: vec![participant.clone()],
            token,
            lease_ms: 1_000,
            except: Vec::new(),
            own: None,
        };
        let Ok(Answer::Claimed(drives)) = self.apply(gid, &claim.into()).result else { panic!("no claim") };
        let drives = drives.iter().map(|drive| close(drive, done(drive))).collect();
        self.apply(gid, &Close { drives }.into());
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if !self.finished {
            tell(&format!("seed {}, step {}, at {}", self.seed, self.steps, self.now));
        }
    }
}

#[allow(clippy::print_stderr, reason = "a failed sequence must tell how to repeat it")]
fn tell(text: &str) {
    eprintln!("{text}");
}
