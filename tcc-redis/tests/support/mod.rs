//! What the tests of this crate share.
#![allow(dead_code, reason = "each test binary uses a part")]

pub(crate) mod differential;
pub(crate) mod harm;
pub(crate) mod link;
pub(crate) mod proxy;
pub(crate) mod random;
pub(crate) mod records;
pub(crate) mod server;
pub(crate) mod stories;
pub(crate) mod story;

/// Scripts of the version before this one, as `tests/versions.rs` froze them.
pub(crate) const VERSION_BEFORE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/versions/before");
