//! The spans of `tracing`: one for each transaction, try, confirm, cancel and recovery.
//!
//! They carry what identifies the work and never what it is about: no argument, no result.

use tracing::{
    Span,
    field::{Empty, display},
    span::Id,
};

use crate::{
    gid::Gid,
    machine::Drive,
    name::{ActionName, Name, Ordinal},
    record::Direction,
    trace_parent::TraceParent,
};

/// The target of every span, for filters: `tcc=info`.
const TARGET: &str = "tcc";

/// A transaction, from its begin until nothing of it is under way in this process. `role` is `initiator` or `joined`.
pub(crate) fn transaction(gid: &Gid, name: &Name, role: &'static str) -> Span {
    tracing::info_span!(target: TARGET, "transaction", %gid, %name, role, outcome = Empty)
}

/// A try, from before its branch is registered. It belongs to the span its caller is in, or to its transaction's.
pub(crate) fn attempt(transaction: &Span, gid: &Gid, name: &Name, action: &ActionName) -> Span {
    let current = Span::current();
    let parent = if current.is_none() { transaction } else { &current };
    tracing::info_span!(
        target: TARGET, parent: parent, "try",
        %gid, %name, branch = Empty, %action, tcc.traceparent = Empty, outcome = Empty
    )
}

/// A branch's place and trace, once they are known.
pub(crate) fn registered(span: &Span, branch: Ordinal, trace: Option<&TraceParent>) {
    span.record("branch", display(branch));
    if let Some(trace) = trace {
        span.record("tcc.traceparent", display(trace));
    }
}

/// An attempt at confirm or cancel. Where its try ran in this process it follows from the try's span; wherever it ran,
/// it names the try's trace context.
pub(crate) fn phase(gid: &Gid, drive: &Drive, before: &Before) -> Span {
    let (branch, action, attempt, epoch) = (drive.ordinal, &drive.action, drive.attempt, drive.epoch);
    let (name, parent) = (drive.name.as_ref().map(display), before.transaction.as_ref().and_then(Span::id));
    let trace = drive.trace.as_ref().map(display);
    let span = match drive.direction {
        Direction::Confirm => tracing::info_span!(
            target: TARGET, parent: parent, "confirm",
            %gid, name, %branch, %action, attempt, epoch, tcc.try_traceparent = trace, outcome = Empty
        ),
        Direction::Cancel => tracing::info_span!(
            target: TARGET, parent: parent, "cancel",
            %gid, name, %branch, %action, attempt, epoch, tcc.try_traceparent = trace, outcome = Empty
        ),
    };
    if let Some(tried) = before.tries.iter().find(|(ordinal, _)| *ordinal == drive.ordinal) {
        span.follows_from(&tried.1);
    }
    span
}

/// A sweep of a transaction whose timer ran out.
pub(crate) fn recovery(gid: &Gid) -> Span {
    tracing::info_span!(target: TARGET, "recovery", %gid, decided = Empty, rung = Empty)
}

/// What this process did for a transaction before its phase two.
#[derive(Default)]
pub(crate) struct Before {
    pub(crate) transaction: Option<Span>,
    /// The spans of the tries that ran here.
    pub(crate) tries: Vec<(Ordinal, Id)>,
}
