//! What the layers of the proof share: running on every core, and the line that tells what was run.

use std::{sync::Mutex, time::Duration};

/// What one layer of the proof came to.
pub(crate) struct Proof {
    /// The layer's name, as `scripts/prove` knows it.
    pub(crate) layer: &'static str,
    /// How often something was run.
    pub(crate) runs: u64,
    /// How many faults were made.
    pub(crate) faults: u64,
    /// How many runs broke a promise.
    pub(crate) violations: u64,
}

impl Proof {
    /// Prints the line that `scripts/prove` reads.
    #[allow(clippy::print_stdout, reason = "it is what a layer tells")]
    pub(crate) fn print(&self, elapsed: Duration) {
        let Self { layer, runs, faults, violations } = self;
        let seconds = elapsed.as_secs_f64();
        println!(
            "PROOF layer={layer} runs={runs} faults={faults} violations={violations} seconds={seconds:.1}"
        );
    }
}

/// Does one thing after another, on every core. The results come in any order.
pub(crate) fn on_every_core<I: Send, T: Send>(
    what: impl IntoIterator<Item = I, IntoIter: Send>,
    work: impl Fn(I) -> T + Sync,
) -> Vec<T> {
    let (left, done) = (Mutex::new(what.into_iter()), Mutex::new(Vec::new()));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while let Some(next) = { left.lock().unwrap().next() } {
                    let one = work(next);
                    done.lock().unwrap().push(one);
                }
            });
        }
    });
    done.into_inner().unwrap()
}
