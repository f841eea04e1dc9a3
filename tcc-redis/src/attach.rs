//! Connecting as an operator does: to what is there, as it is.

use tcc_core::{
    SHARDS_MAX,
    store::{StoreError, StoreErrorKind},
};

use crate::{
    RedisStoreBuilder,
    connect::Link,
    preflight::{Durability, Risk},
    store::RedisStore,
    trouble::store_error,
};

impl RedisStoreBuilder {
    /// Connects to a namespace that exists, and creates none: a mistyped name is refused. The number of shards is the
    /// namespace's own. A server whose durability or `maxmemory-policy` would be refused at a service's start is
    /// not, because what is stuck there must be seen and mended all the same.
    ///
    /// For tools; a service uses [`connect`](Self::connect).
    ///
    /// # Errors
    /// [`StoreErrorKind::Misconfigured`] with what to change, or [`StoreErrorKind::Unavailable`] when Redis
    /// cannot be reached.
    pub async fn attach(self) -> Result<RedisStore, StoreError> {
        let shards = Link::new(self.clone().settings()?).shards_found().await?;
        self.shards(shards).durability(Durability::Volatile).accept(Risk::Eviction).connect().await
    }
}

impl Link {
    /// The number of shards that the namespace was made with.
    async fn shards_found(&self) -> Result<u16, StoreError> {
        let mut connection = self.open(self.settings.call_timeout).await?;
        let keys = &self.settings.keys;
        let mut meta = redis::cmd("HMGET");
        meta.arg(keys.of(0, "meta")).arg("schema").arg("shards");
        let (schema, shards): (Option<String>, Option<String>) =
            meta.query_async(&mut connection).await.map_err(store_error)?;
        if schema.is_none() && shards.is_none() {
            return Err(StoreError::new(
                StoreErrorKind::Misconfigured,
                format!(
                    "there is no namespace `{}` in this Redis; is the name right, and the database's number?",
                    keys.namespace()
                ),
            ));
        }
        // What a newer version wrote otherwise is refused by its schema.
        let shards = shards.and_then(|shards| shards.parse().ok());
        Ok(shards.filter(|shards| (1..=SHARDS_MAX).contains(shards)).unwrap_or(1))
    }
}
