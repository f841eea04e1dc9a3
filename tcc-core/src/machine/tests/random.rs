//! Random sequences on the in-memory store.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{
    machine::Answer,
    memory::MemoryStore,
    testing::{
        sequences::{Generator, START, Step},
        variants,
    },
    time::Timestamp,
};

const SEEDS: u64 = 120;
const STEPS: u64 = 400;

#[test]
fn random_sequences_reach_every_transition_and_refusal() {
    let mut transitions = BTreeMap::new();
    let mut refusals = BTreeSet::new();
    for seed in 0..SEEDS {
        let mut run = Run::new(seed);
        for _ in 0..STEPS {
            run.step();
        }
        for (transition, count) in run.store.transitions() {
            *transitions.entry(transition).or_insert(0) += count;
        }
        refusals.extend(run.refusals);
    }
    let missed: Vec<_> =
        variants::transitions().into_iter().filter(|one| !transitions.contains_key(one)).collect();
    assert!(missed.is_empty(), "no sequence reached {missed:?}");
    let missed: Vec<_> = variants::refusals().difference(&refusals).copied().collect();
    assert!(missed.is_empty(), "no sequence reached {missed:?}");
}

struct Run {
    clock: Arc<AtomicU64>,
    store: MemoryStore,
    generator: Generator,
    refusals: BTreeSet<&'static str>,
}

impl Run {
    fn new(seed: u64) -> Self {
        let clock = Arc::new(AtomicU64::new(START.as_millis()));
        let hand = clock.clone();
        let store = MemoryStore::with(1, move || Timestamp::from_millis(hand.load(Ordering::Relaxed)));
        Self { clock, store, generator: Generator::new(seed), refusals: BTreeSet::new() }
    }
    fn step(&mut self) {
        match self.generator.step() {
            Step::Clock(ms) => {
                let now = self.clock.load(Ordering::Relaxed).saturating_add_signed(ms);
                self.clock.store(now, Ordering::Relaxed);
            }
            Step::Apply(gid, op) => {
                let (applied, _) = self.store.apply_now(&gid, &op);
                self.generator.hear(&gid, &op, &applied);
                if let Err(refusal) = &applied.result {
                    self.refusals.insert(variants::refusal_name(refusal));
                }
                if let Ok(Answer::Closed(answers)) = &applied.result {
                    self.refusals
                        .extend(answers.iter().filter_map(|a| a.as_ref().err()).map(variants::refusal_name));
                }
            }
        }
    }
}
