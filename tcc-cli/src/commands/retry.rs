//! `tccctl retry`: sets parked branches going again.

use tcc_core::machine::Change;
use tcc_redis::RedisStore;

use crate::{
    args::RetryArgs,
    change::Changes,
    exit::{Code, Failure, Outcome},
    operator::Operator,
    output::Screen,
};

pub(crate) async fn run(store: &RedisStore, screen: &mut Screen, args: &RetryArgs) -> Outcome {
    if !args.branch.is_empty() && args.selection.gids.len() != 1 {
        return Err(Failure::said(Code::Usage, "--branch needs one id"));
    }
    let operator = Operator::of(&args.why)?;
    let change = Change::Redrive { branches: args.branch.clone() };
    Changes { store, screen, operator }.run(&args.selection, "retried", &change).await
}
