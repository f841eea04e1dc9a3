//! What the tests of this crate share.
#![allow(dead_code, reason = "each test binary uses a part")]

pub(crate) mod differential;
pub(crate) mod proxy;
pub(crate) mod server;
pub(crate) mod story;
