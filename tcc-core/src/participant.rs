//! Participants: services whose methods can be branches.

use std::sync::Arc;

use crate::action::Action;

/// A service whose methods can be branches.
///
/// The `#[tcc::participant]` macro implements it from annotated methods. By hand, hand actions to
/// `Runtime::builder().actions(name, ..)` instead, unless a typed client must find the value.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a participant",
    label = "not a participant",
    note = "annotate one of its `impl` blocks with `#[tcc::participant(name = \"..\")]`"
)]
pub trait Participant: Send + Sync + Sized + 'static {
    /// Its stable name: 1 to 128 of `[A-Za-z0-9._-]`.
    const NAME: &'static str;

    /// Its actions, their handlers bound to this value.
    fn actions(this: &Arc<Self>) -> Vec<Action>;
}
