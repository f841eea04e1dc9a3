//! Contexts of numbered transactions with one branch.
#![allow(dead_code, reason = "each test uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a surprise ends the test")]

use tcc_core::{ActionName, CancelCx, Config, ConfirmCx, Gid, Ordinal, Timestamp, TryCx, testing::contexts};

pub(crate) fn gid(number: u64) -> Gid {
    Gid::new(Timestamp::from_millis(1_795_000_000_000), number, 0)
}

pub(crate) fn branch() -> Ordinal {
    Ordinal::from_index(0)
}

pub(crate) fn action() -> ActionName {
    "stock.reserve@1".parse().unwrap()
}

pub(crate) fn try_cx(number: u64) -> TryCx {
    contexts::try_cx(&gid(number), branch(), &action())
}

pub(crate) fn confirm_cx(number: u64, epoch: u64) -> ConfirmCx {
    contexts::confirm_cx(&gid(number), branch(), &action(), epoch, &Config::default())
}

pub(crate) fn cancel_cx(number: u64, epoch: u64) -> CancelCx {
    contexts::cancel_cx(&gid(number), branch(), &action(), epoch, &Config::default())
}
