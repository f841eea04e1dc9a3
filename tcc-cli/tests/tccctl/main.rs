//! The built `tccctl` against a real Redis.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod book;
mod changes;
mod ctl;
mod doctor;
mod errors;
mod grants;
mod page;
mod scale;
mod screens;
#[allow(dead_code, reason = "shared with the tests of the store")]
#[path = "../../../tcc-redis/tests/support/server.rs"]
mod server;
mod shop;
#[allow(dead_code, reason = "shared with the tests of the store")]
#[path = "../../../tcc-redis/tests/support/story.rs"]
mod story;
mod ways;
mod words;
