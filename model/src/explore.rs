//! Exploring every state of a configuration.

use std::{
    collections::BTreeSet,
    fmt,
    time::{Duration, Instant},
};

use stateright::{Checker, Expectation, HasDiscoveries, Model};
use tcc_core::machine::Transition;

use crate::{Action, Config, State, Tcc};

/// A way into a state in which a promise is broken.
#[derive(Clone, Debug)]
pub struct CounterExample {
    /// The promise.
    pub property: &'static str,
    /// What happened, in order.
    pub actions: Vec<Action>,
    /// The state it led to.
    pub state: State,
}

/// What came of exploring a configuration.
#[derive(Clone, Debug)]
pub struct Explored {
    /// The configuration's name.
    pub name: &'static str,
    /// Distinct states.
    pub states: usize,
    /// States generated, repetitions included.
    pub generated: usize,
    /// The longest way without a repetition.
    pub depth: usize,
    /// Distinct pairs of a record and a request that the state machine was run on.
    pub steps: usize,
    /// How long it took.
    pub elapsed: Duration,
    /// Broken promises; exploring stops at the first.
    pub broken: Vec<CounterExample>,
    /// What was expected to be reached and was not.
    pub missed: Vec<&'static str>,
    /// Transitions of the state machine that happened.
    pub transitions: BTreeSet<Transition>,
}

impl Explored {
    /// Whether every promise was kept, and everything expected was reached.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.broken.is_empty() && self.missed.is_empty()
    }
}

impl fmt::Display for Explored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} states, {} generated, depth {}, {} steps, {:.1} s",
            self.name,
            self.states,
            self.generated,
            self.depth,
            self.steps,
            self.elapsed.as_secs_f64()
        )?;
        for broken in &self.broken {
            write!(f, "\n  broken after {} actions: {}", broken.actions.len(), broken.property)?;
            for action in &broken.actions {
                write!(f, "\n    {action:?}")?;
            }
            write!(f, "\n  {:?}", broken.state)?;
        }
        for missed in &self.missed {
            write!(f, "\n  never reached: {missed}")?;
        }
        Ok(())
    }
}

/// Explores every state of a configuration, or as many as it takes to break a promise.
///
/// One thread finds the shortest counter-example.
#[must_use]
pub fn explore(config: Config, threads: usize) -> Explored {
    let started = Instant::now();
    let checker = Tcc::new(config)
        .checker()
        .threads(threads)
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let tcc = checker.model();
    let mut found = checker.discoveries();
    let (mut broken, mut missed) = (Vec::new(), Vec::new());
    for property in tcc.properties() {
        match (property.expectation, found.remove(property.name)) {
            (Expectation::Always, Some(path)) => {
                let steps = path.into_vec();
                let state = steps.last().map(|(state, _)| *state).unwrap_or_default();
                let actions = steps.into_iter().filter_map(|(_, action)| action).collect();
                broken.push(CounterExample { property: property.name, actions, state });
            }
            (Expectation::Sometimes, None) => missed.push(property.name),
            _ => {}
        }
    }
    Explored {
        name: tcc.config().name,
        states: checker.unique_state_count(),
        generated: checker.state_count(),
        depth: checker.max_depth(),
        steps: tcc.distinct_steps(),
        elapsed: started.elapsed(),
        missed: if broken.is_empty() { missed } else { Vec::new() },
        broken,
        transitions: tcc.transitions(),
    }
}
