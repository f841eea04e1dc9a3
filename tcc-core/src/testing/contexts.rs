//! Contexts made by hand, for tests that call a participant's methods without a runtime.

use std::time::Duration;

use crate::{
    ActionName, CancelCx, Config, ConfirmCx, Gid, Ordinal, Timestamp, TryCx,
    record::{Direction, Reason},
};

/// What the first try of a branch is told, 30 s before its deadline.
#[must_use]
pub fn try_cx(gid: &Gid, branch: Ordinal, action: &ActionName) -> TryCx {
    let time_left = Duration::from_secs(30);
    let deadline = Timestamp::from_millis(u64::MAX);
    TryCx { gid: gid.clone(), branch, action: action.clone(), trace: None, deadline, time_left }
}

/// What an attempt of a branch's confirm is told, under the epoch of its claim and the settings of its runtime.
#[must_use]
pub fn confirm_cx(gid: &Gid, branch: Ordinal, action: &ActionName, epoch: u64, config: &Config) -> ConfirmCx {
    ConfirmCx {
        gid: gid.clone(),
        branch,
        action: action.clone(),
        trace: None,
        attempt: u32::try_from(epoch).unwrap_or(u32::MAX),
        epoch,
        fence_retention: config.fence_retention(),
    }
}

/// What an attempt of a branch's cancel is told after its transaction was aborted, under the epoch of its claim and
/// the settings of its runtime.
#[must_use]
pub fn cancel_cx(gid: &Gid, branch: Ordinal, action: &ActionName, epoch: u64, config: &Config) -> CancelCx {
    CancelCx {
        gid: gid.clone(),
        branch,
        action: action.clone(),
        trace: None,
        attempt: u32::try_from(epoch).unwrap_or(u32::MAX),
        epoch,
        fence_retention: config.fence_retention(),
        decided: Direction::Cancel,
        reason: Reason::Aborted,
    }
}
