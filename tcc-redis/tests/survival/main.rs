//! Processes and servers killed, stopped and away: every transaction ends, and the books balance.
//!
//! The processes are real ones: this test binary, started again for one ignored test with a role to play.
//! Their books are files, which survive them; after each story Redis and the books are read by the test
//! itself, not through the framework.
#![cfg(unix)]

#[path = "../support/mod.rs"]
mod support;

mod audit;
mod away;
mod books;
mod clock;
mod full;
mod harm;
mod kills;
mod pauses;
mod process;
mod role;
mod server_kills;
mod shop;
mod versions;

#[test]
#[ignore = "is the process that the other tests start and kill"]
fn play_a_role() {
    role::play();
}
