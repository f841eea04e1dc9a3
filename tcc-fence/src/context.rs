//! What a fence is asked about: one phase of one branch.

use std::{convert::Infallible, fmt};

use tcc_core::{ActionName, CancelCx, ConfirmCx, FenceRetention, Gid, Ordinal, TryCx};

use crate::entry::EmptyCancel;

/// A try's, confirm's or cancel's context: whatever a fence can be asked about.
pub trait Context: sealed::Sealed + Sync {
    /// What tells an empty cancel: [`EmptyCancel`] for a cancel, nothing at all for the others, so that a `match` has
    /// no arm for what cannot be.
    type Empty: EmptyAnswer;

    #[doc(hidden)]
    fn asked(&self) -> Asked<'_>;
}

#[doc(hidden)]
#[allow(unreachable_pub, reason = "a public trait's bound names it, which older compilers overlook")]
pub trait EmptyAnswer: Sized + Send {
    fn new() -> Option<Self>;
}

impl EmptyAnswer for Infallible {
    fn new() -> Option<Self> {
        None
    }
}

impl EmptyAnswer for EmptyCancel {
    fn new() -> Option<Self> {
        Some(Self::here())
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for tcc_core::TryCx {}
    impl Sealed for tcc_core::ConfirmCx {}
    impl Sealed for tcc_core::CancelCx {}
}

#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Try,
    Confirm,
    Cancel,
}

impl Phase {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Try => "try",
            Self::Confirm => "confirm",
            Self::Cancel => "cancel",
        }
    }
}

#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    pub(crate) gid: &'a Gid,
    pub(crate) branch: Ordinal,
    pub(crate) action: &'a ActionName,
    pub(crate) phase: Phase,
    pub(crate) epoch: u64,
    /// For how long the row is needed from now on; nothing for a try, whose row is needed until its branch ends.
    pub(crate) retention: Option<FenceRetention>,
}

impl Asked<'_> {
    pub(crate) fn place(&self) -> Place {
        Place { gid: self.gid.clone(), branch: self.branch }
    }

    /// As databases hold integers; epochs count claims and stay far below.
    pub(crate) fn epoch(&self) -> i64 {
        i64::try_from(self.epoch).unwrap_or(i64::MAX)
    }
}

/// The row of a branch.
#[doc(hidden)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub(crate) gid: Gid,
    pub(crate) branch: Ordinal,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.gid, self.branch)
    }
}

impl Context for TryCx {
    type Empty = Infallible;

    fn asked(&self) -> Asked<'_> {
        let (gid, branch, action) = (self.gid(), self.branch(), self.action());
        Asked { gid, branch, action, phase: Phase::Try, epoch: 0, retention: None }
    }
}

impl Context for ConfirmCx {
    type Empty = Infallible;

    fn asked(&self) -> Asked<'_> {
        let (gid, branch, action) = (self.gid(), self.branch(), self.action());
        let retention = Some(self.fence_retention());
        Asked { gid, branch, action, phase: Phase::Confirm, epoch: self.epoch(), retention }
    }
}

impl Context for CancelCx {
    type Empty = EmptyCancel;

    fn asked(&self) -> Asked<'_> {
        let (gid, branch, action) = (self.gid(), self.branch(), self.action());
        let retention = Some(self.fence_retention());
        Asked { gid, branch, action, phase: Phase::Cancel, epoch: self.epoch(), retention }
    }
}
