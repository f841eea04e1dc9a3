//! What the tests of the SQL databases share. Each names its database as `crate::Db`.
#![allow(dead_code, reason = "each test uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a surprise ends the test")]

pub(crate) mod actor;
pub(crate) mod behaviour;
pub(crate) mod contexts;
pub(crate) mod forgetting;
pub(crate) mod interleavings;
pub(crate) mod oracle;
pub(crate) mod random;
pub(crate) mod server;

use std::time::{Duration, Instant};

pub(crate) use contexts::*;
pub(crate) use random::Random;

/// The longest wait for anything in these tests.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// Asks again and again until it is so; says what was waited for if it never is.
pub(crate) async fn until(what: &str, mut so: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    let mut asked = 0;
    while !so().await {
        assert!(began.elapsed() < LONG, "waited {LONG:?} until {what}");
        asked += 1;
        // What is so within a round trip or two, thousands of times, is not worth the tick of a timer.
        if asked > 20 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}
