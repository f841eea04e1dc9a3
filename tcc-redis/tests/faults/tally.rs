//! What a layer did, as `scripts/prove` reads it.

use std::{collections::BTreeMap, time::Instant};

use super::audit::Verdict;

pub(crate) struct Tally {
    layer: &'static str,
    started: Instant,
    /// How often each kind of fault struck.
    runs: BTreeMap<String, u64>,
    faults: u64,
    verdict: Verdict,
    /// What this machine could not do.
    unchecked: Vec<String>,
}

impl Tally {
    pub(crate) fn of(layer: &'static str) -> Self {
        Self {
            layer,
            started: Instant::now(),
            runs: BTreeMap::new(),
            faults: 0,
            verdict: Verdict::default(),
            unchecked: Vec::new(),
        }
    }

    /// How many runs the environment asks for, each of every kind.
    pub(crate) fn scale(variable: &str, quick: u64) -> u64 {
        std::env::var(variable).map_or(quick, |text| text.parse().expect("a number of runs"))
    }

    /// Where the random numbers begin; a run that broke a promise tells it.
    pub(crate) fn seed() -> u64 {
        std::env::var("TCC_FAULT_SEED").map_or(1, |text| text.parse().expect("a seed"))
    }

    /// A run in which this kind of fault fired so often.
    pub(crate) fn ran(&mut self, kind: &str, fired: u64) {
        assert!(fired > 0, "void: {kind} did not fire");
        *self.runs.entry(kind.to_owned()).or_default() += 1;
        self.faults += fired;
    }

    pub(crate) fn leaves_out(&mut self, what: &str) {
        if !self.unchecked.iter().any(|left_out| left_out == what) {
            self.unchecked.push(what.to_owned());
        }
    }

    /// How the scene of these runs ended. One that says nothing fails.
    pub(crate) fn judged(&mut self, seed: u64, verdict: Verdict) {
        if let Some(why) = verdict.void() {
            panic!("void: {why} under seed {seed}: {verdict:?}");
        }
        self.broke(seed, verdict);
    }

    /// The same, of one that may hold few transactions.
    pub(crate) fn broke(&mut self, seed: u64, verdict: Verdict) {
        for broken in &verdict.broken {
            self.say(&format!("BROKEN under TCC_FAULT_SEED={seed}: {broken}"));
        }
        self.verdict.confirmed += verdict.confirmed;
        self.verdict.cancelled += verdict.cancelled;
        self.verdict.unknown += verdict.unknown;
        self.verdict.broken.extend(verdict.broken);
    }

    /// Something worth reading in the layer's log.
    pub(crate) fn note(&self, text: &str) {
        self.say(&format!("{}: {text}", self.layer));
    }

    #[allow(clippy::print_stdout, reason = "the proof reads it")]
    fn say(&self, line: &str) {
        println!("{line}");
    }

    /// Tells everything, and fails if a promise was broken.
    pub(crate) fn end(self) {
        for (kind, runs) in &self.runs {
            self.say(&format!("{}: {kind}: {runs}", self.layer));
        }
        let Verdict { confirmed, cancelled, unknown, broken, .. } = &self.verdict;
        self.say(&format!(
            "{}: {confirmed} confirmed, {cancelled} cancelled, {unknown} without an answer",
            self.layer
        ));
        for what in &self.unchecked {
            self.say(&format!("NOT CHECKED: {what}"));
        }
        let runs: u64 = self.runs.values().sum();
        let seconds = self.started.elapsed().as_secs();
        self.say(&format!(
            "PROOF layer={} runs={runs} faults={} violations={} seconds={seconds}",
            self.layer,
            self.faults,
            broken.len()
        ));
        assert!(broken.is_empty(), "{} promises were broken: {broken:#?}", broken.len());
    }
}
