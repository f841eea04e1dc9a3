//! What may happen in a run of the model.

/// What may happen in a run of the model. Everything off is one transaction without adversity.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its name.
    pub name: &'static str,
    /// The participant of each branch, numbered from 0 in order.
    pub layout: &'static [u8],
    /// How many workers there are.
    pub workers: usize,
    /// Whether each branch has a registration of its own, at most two; else one registers all.
    pub apart: bool,
    /// The branch, if any, that is a joined call, received by two processes.
    pub joined: Option<usize>,
    /// Whether branches are alike, so that states may be merged that differ by their order.
    pub alike: bool,
    /// Whether reasons of decisions are kept.
    pub reasons: bool,
    /// Whether the participants have a fence.
    pub fence: bool,
    /// Whether the initiator begins in a call of its own.
    pub begins: bool,
    /// Whether the initiator may commit knowing less than it must.
    pub careless: bool,
    /// Whether decisions may claim branches.
    pub inline: bool,
    /// Whether the initiator may crash.
    pub crash: bool,
    /// Whether tries may be refused.
    pub refuse: bool,
    /// Whether a try may be refused after its effect.
    pub sloppy: bool,
    /// Whether tries may be unfinished when the decision is sent.
    pub late: bool,
    /// Whether the deadline may pass.
    pub deadline: bool,
    /// Whether the initiator's lease may run out.
    pub lease: bool,
    /// Whether claims may run out while their drives go on.
    pub expiry: bool,
    /// Whether answers to requests may be lost.
    pub lost_answers: bool,
    /// Whether reports of drives may be delayed and repeated.
    pub delayed_reports: bool,
    /// Whether a failed branch waits before its next attempt.
    pub backoff: bool,
    /// Whether handlers may fail before and after their effect.
    pub fail: bool,
    /// Whether handlers may be still working, handed on and released.
    pub ongoing: bool,
    /// Whether workers may park branches, and the operator set them going again.
    pub park: bool,
    /// Whether workers may crash.
    pub worker_crash: bool,
    /// Whether claims are prolonged.
    pub renew: bool,
    /// Whether the operator may cancel.
    pub operator: bool,
    /// Whether an acknowledged record may be lost.
    pub loss: bool,
    /// Whether a record may be forgotten when its retention ends.
    pub retention: bool,
}

impl Config {
    /// One transaction without adversity, its branches alike.
    #[must_use]
    pub const fn calm(name: &'static str, layout: &'static [u8], workers: usize) -> Self {
        Self {
            name,
            layout,
            workers,
            apart: false,
            joined: None,
            alike: true,
            reasons: false,
            fence: true,
            begins: false,
            careless: false,
            inline: false,
            crash: false,
            refuse: false,
            sloppy: false,
            late: false,
            deadline: false,
            lease: false,
            expiry: false,
            lost_answers: false,
            delayed_reports: false,
            backoff: false,
            fail: false,
            ongoing: false,
            park: false,
            worker_crash: false,
            renew: false,
            operator: false,
            loss: false,
            retention: false,
        }
    }
}
