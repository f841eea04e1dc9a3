//! Reaching Redis, and what stands beside the records.

use tcc_core::{
    Timestamp,
    store::{Store, StoreError},
};
use tcc_redis::{RedisStore, RedisStoreBuilder};

use crate::{args::ConnectionArgs, exit::Outcome, situation::World};

/// Processes looked at, at the most.
pub(crate) const PROCESSES_MAX: usize = 1_024;

pub(crate) fn builder(args: &ConnectionArgs) -> RedisStoreBuilder {
    RedisStore::builder(args.url.as_str())
        .namespace(args.namespace.as_str())
        .connect_timeout(args.timeout)
        .call_timeout(args.timeout)
}

pub(crate) async fn attach(args: &ConnectionArgs) -> Outcome<RedisStore> {
    Ok(builder(args).attach().await?)
}

pub(crate) async fn world(store: &RedisStore) -> Result<World, StoreError> {
    let processes = store.processes(PROCESSES_MAX).await?;
    Ok(World { processes, pauses: store.pauses().await?, clock: store.inspect().server_time().await? })
}

/// Server time: the latest that any shard has seen.
pub(crate) async fn now(store: &RedisStore) -> Result<Timestamp, StoreError> {
    let mut latest = Timestamp::from_millis(0);
    for shard in 0..store.shards() {
        latest = latest.max(store.now(shard).await?);
    }
    Ok(latest)
}
