//! Real faults on a real Redis under load: every transaction ends, and a ledger that knows nothing of the framework
//! finds its money where it should be.
//!
//! The layers `kills`, `power`, `torn-flipped` and `network` of `scripts/prove`. The processes are real ones: this
//! test binary, started again for one ignored test with a role to play; one of them keeps the ledger.
#![cfg(unix)]

#[path = "../support/mod.rs"]
mod support;

mod aof;
mod audit;
mod bank;
mod customer;
mod kills;
mod ledger;
mod network;
mod office;
mod oracle;
mod power;
mod process;
mod role;
mod scene;
mod swapped;
mod tally;
mod torn_flipped;

#[test]
#[ignore = "is the process that the other tests start and kill"]
fn play_a_role() {
    role::play();
}
