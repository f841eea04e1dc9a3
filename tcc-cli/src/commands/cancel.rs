//! `tccctl cancel`: cancels what is undecided.

use tcc_core::machine::Change;
use tcc_redis::RedisStore;

use crate::{args::CancelArgs, change::Changes, exit::Outcome, operator::Operator, output::Screen};

pub(crate) async fn run(store: &RedisStore, screen: &mut Screen, args: &CancelArgs) -> Outcome {
    let operator = Operator::of(&args.why)?;
    Changes { store, screen, operator }.run(&args.selection, "cancelled", &Change::Cancel).await
}
