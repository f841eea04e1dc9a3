//! The orders in which a participant's handlers may have to run, and what each must leave.

use std::fmt;

/// What a handler does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    Try,
    Confirm,
    /// Told that nobody knows what its try came to.
    CancelUnknown,
    /// Told what its try came to.
    CancelKnown,
    /// A try and the cancel that did not wait for it, at once.
    TryBesideCancel,
    ConfirmBesideConfirm,
    CancelBesideCancel,
}

/// What a handler must answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Must {
    Succeed,
    Refuse,
    Either,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) deed: Deed,
    pub(super) must: Must,
    /// Which branch, if there are two.
    pub(super) branch: usize,
    /// Whether it is dropped at one of its awaits.
    pub(super) cut: bool,
}

/// What an order must leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaves {
    /// What there was before.
    Nothing,
    /// What one try and one confirm leave.
    Confirmed,
}

pub(super) struct Order {
    pub(super) steps: Vec<Step>,
    pub(super) leaves: Leaves,
    pub(super) rule: &'static str,
    /// Whether only a fence can hold it.
    pub(super) fence: bool,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.deed {
            Deed::Try => "try",
            Deed::Confirm => "confirm",
            Deed::CancelUnknown => "cancel (unknown)",
            Deed::CancelKnown => "cancel (known)",
            Deed::TryBesideCancel => "try beside cancel (unknown)",
            Deed::ConfirmBesideConfirm => "confirm beside confirm",
            Deed::CancelBesideCancel => "cancel beside cancel",
        })?;
        if self.branch > 0 {
            f.write_str(" of another branch")?;
        }
        if self.cut { f.write_str(" that is cut") } else { Ok(()) }
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, step) in self.steps.iter().enumerate() {
            write!(f, "{}{step}", if place == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

const fn step(deed: Deed, must: Must) -> Step {
    Step { deed, must, branch: 0, cut: false }
}

const fn other(deed: Deed) -> Step {
    Step { branch: 1, ..step(deed, Must::Succeed) }
}

const fn cut(deed: Deed) -> Step {
    Step { cut: true, ..step(deed, Must::Succeed) }
}

const TRY: Step = step(Deed::Try, Must::Succeed);
const CONFIRM: Step = step(Deed::Confirm, Must::Succeed);
const UNKNOWN: Step = step(Deed::CancelUnknown, Must::Succeed);
const KNOWN: Step = step(Deed::CancelKnown, Must::Succeed);
/// The framework never asks for a second run of a try; whatever repeats it meets the fence.
const TRY_AGAIN: Step = step(Deed::Try, Must::Either);
const TRY_REFUSED: Step = step(Deed::Try, Must::Refuse);
const CONFIRM_REFUSED: Step = step(Deed::Confirm, Must::Refuse);
const CANCEL_REFUSED: Step = step(Deed::CancelKnown, Must::Refuse);

/// What one try and one confirm leave is what the other orders are measured by.
pub(super) const REFERENCE: [Step; 2] = [TRY, CONFIRM];

/// Every order of a call that is granted.
pub(super) fn granted() -> Vec<Order> {
    use Leaves::{Confirmed, Nothing};
    let order = |fence, leaves, steps: &[Step], rule| Order { steps: steps.to_vec(), leaves, rule, fence };
    let always = |leaves, steps: &[Step], rule| order(false, leaves, steps, rule);
    let fenced = |leaves, steps: &[Step], rule| order(true, leaves, steps, rule);
    vec![
        always(Nothing, &[TRY, KNOWN], "a cancel undoes its try"),
        always(Nothing, &[TRY, UNKNOWN], "a cancel undoes its try, whatever it is told of it"),
        always(
            Nothing,
            &[UNKNOWN],
            "a cancel whose try never ran has nothing to undo, and succeeds (empty cancel)",
        ),
        always(Confirmed, &[TRY, CONFIRM, CONFIRM], "a confirm that runs twice takes effect once"),
        always(Nothing, &[TRY, KNOWN, KNOWN], "a cancel that runs twice takes effect once"),
        always(Nothing, &[TRY, UNKNOWN, UNKNOWN], "a cancel that runs twice takes effect once"),
        always(Nothing, &[UNKNOWN, UNKNOWN], "an empty cancel may run twice"),
        always(Nothing, &[TRY, UNKNOWN, KNOWN], "a cancel comes again when the outcome of its try is known"),
        always(
            Confirmed,
            &[TRY, other(Deed::Try), CONFIRM, other(Deed::CancelKnown)],
            "branches are independent",
        ),
        always(
            Confirmed,
            &[TRY, other(Deed::Try), other(Deed::CancelKnown), CONFIRM],
            "branches are independent",
        ),
        always(Confirmed, &[other(Deed::CancelUnknown), TRY, CONFIRM], "branches are independent"),
        always(
            Nothing,
            &[UNKNOWN, TRY_AGAIN, KNOWN],
            "a try after its cancel is cancelled again when its outcome is known",
        ),
        always(
            Nothing,
            &[step(Deed::TryBesideCancel, Must::Either), KNOWN],
            "a try that meets its cancel is undone when its outcome is known",
        ),
        always(Nothing, &[cut(Deed::Try), UNKNOWN], "a try that is cut at any await is undone by its cancel"),
        always(
            Confirmed,
            &[TRY, cut(Deed::Confirm), CONFIRM],
            "a confirm that is cut at any await runs again",
        ),
        always(
            Nothing,
            &[TRY, cut(Deed::CancelKnown), KNOWN],
            "a cancel that is cut at any await runs again",
        ),
        always(
            Nothing,
            &[cut(Deed::CancelUnknown), UNKNOWN],
            "an empty cancel that is cut at any await runs again",
        ),
        fenced(Confirmed, &[TRY, TRY_AGAIN, CONFIRM], "a try that runs twice takes effect once"),
        fenced(Nothing, &[TRY, TRY_AGAIN, KNOWN], "a try that runs twice takes effect once"),
        fenced(Nothing, &[UNKNOWN, TRY_REFUSED], "a try after its cancel is refused (suspension)"),
        fenced(Nothing, &[UNKNOWN, UNKNOWN, TRY_REFUSED], "a try after its cancel is refused (suspension)"),
        fenced(Nothing, &[TRY, KNOWN, TRY_REFUSED], "a try after its cancel is refused"),
        fenced(Confirmed, &[TRY, CONFIRM, TRY_AGAIN], "a try after its confirm takes no effect"),
        fenced(
            Confirmed,
            &[TRY, CONFIRM, CANCEL_REFUSED],
            "a cancel after a confirm is a contradiction, to be parked",
        ),
        fenced(
            Nothing,
            &[TRY, KNOWN, CONFIRM_REFUSED],
            "a confirm after a cancel is a contradiction, to be parked",
        ),
        fenced(
            Nothing,
            &[UNKNOWN, CONFIRM_REFUSED],
            "a confirm after a cancel is a contradiction, to be parked",
        ),
        fenced(Nothing, &[CONFIRM_REFUSED], "a confirm without its try is a contradiction, to be parked"),
        fenced(
            Nothing,
            &[cut(Deed::Try), UNKNOWN, TRY_REFUSED],
            "a try after its cancel is refused (suspension)",
        ),
        fenced(
            Nothing,
            &[cut(Deed::CancelUnknown), UNKNOWN, TRY_REFUSED],
            "a try after its cancel is refused (suspension)",
        ),
        fenced(
            Confirmed,
            &[TRY, step(Deed::ConfirmBesideConfirm, Must::Succeed)],
            "two confirms at once take effect once",
        ),
        fenced(
            Nothing,
            &[TRY, step(Deed::CancelBesideCancel, Must::Succeed)],
            "two cancels at once take effect once",
        ),
    ]
}

/// Every order of a call that is refused.
pub(super) fn refused() -> Vec<Order> {
    let order =
        |steps: &[Step], rule| Order { steps: steps.to_vec(), leaves: Leaves::Nothing, rule, fence: false };
    vec![
        order(&[TRY_REFUSED], "a refused try leaves nothing"),
        order(&[TRY_REFUSED, KNOWN], "the cancel of a refused try has nothing to undo, and succeeds"),
        order(&[TRY_REFUSED, UNKNOWN], "the cancel of a refused try has nothing to undo, and succeeds"),
        order(&[TRY_REFUSED, KNOWN, KNOWN], "the cancel of a refused try may run twice"),
        order(&[TRY_REFUSED, UNKNOWN, KNOWN], "a cancel comes again when the outcome of its try is known"),
        order(
            &[Step { cut: true, ..TRY_REFUSED }, UNKNOWN],
            "a try that is cut at any await is undone by its cancel",
        ),
    ]
}
