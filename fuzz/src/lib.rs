//! What must hold of everything that reads bytes from elsewhere: records, messages, answers, ids, headers, and the
//! arguments of the functions in Redis. Each target takes any bytes, and panics when something does not hold.
//!
//! `tests/targets.rs` feeds them mutated seeds in the ordinary run; `libfuzzer/` does it for as long as one likes, led
//! by coverage.

mod arguments;
mod bench;
mod headers;
mod names;
mod record;
mod replies;
#[allow(dead_code, unreachable_pub, reason = "shared with the tests of the store")]
#[path = "../../tcc-redis/tests/support/server.rs"]
mod server;

/// A thing to feed bytes to, and where it is fed from.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// What it reads.
    pub name: &'static str,
    /// Takes any bytes.
    pub run: fn(&[u8]),
    /// Bytes to begin with, which come close to what is read.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// How many mutated seeds the ordinary run takes.
    pub runs: u32,
}

/// Every target.
pub const TARGETS: &[Target] = &[
    Target { name: "record", run: record::run, seeds: record::seeds, runs: 40_000 },
    Target { name: "message", run: replies::messages, seeds: replies::message_seeds, runs: 40_000 },
    Target { name: "answer", run: replies::answers, seeds: replies::answer_seeds, runs: 40_000 },
    Target { name: "names", run: names::run, seeds: names::seeds, runs: 40_000 },
    Target { name: "headers", run: headers::run, seeds: headers::seeds, runs: 40_000 },
    Target { name: "arguments", run: arguments::run, seeds: arguments::seeds, runs: 500 },
];

/// Feeds bytes to the target of this name.
///
/// # Panics
/// When there is no such target, or something does not hold.
pub fn run(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target of this name");
    (target.run)(bytes);
}
