//! `tccctl resolve`: attests that one branch was finished by hand.

use tcc_core::machine::Change;
use tcc_redis::RedisStore;

use crate::{
    args::{Filter, ResolveArgs, Selection},
    change::Changes,
    exit::Outcome,
    operator::Operator,
    output::Screen,
};

pub(crate) async fn run(store: &RedisStore, screen: &mut Screen, args: &ResolveArgs) -> Outcome {
    let operator = Operator::of(&args.why)?;
    let change = Change::Resolve { branch: args.branch, direction: args.done.direction() };
    let selection =
        Selection { gids: vec![args.gid.clone()], filter: Filter::default(), yes: false, limit: 1, rate: 1 };
    Changes { store, screen, operator }.run(&selection, "resolved", &change).await
}
