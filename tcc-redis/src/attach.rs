//! Connecting as an operator does: to what is there, as it is.

use tcc_core::{
    SHARDS_MAX,
    store::{StoreError, StoreErrorKind},
};

use crate::{RedisStoreBuilder, connect::Link, preflight, store::RedisStore, trouble::store_error};

impl RedisStoreBuilder {
    /// Connects to a namespace that exists, and creates none: a mistyped name is refused. The number of shards is the
    /// namespace's own. Nothing else is looked at, no durability is demanded and nothing is tried: what is stuck on a
    /// server that refuses writes, or that a service would refuse, must be seen all the same.
    ///
    /// For tools; a service uses [`connect`](Self::connect).
    ///
    /// # Errors
    /// [`StoreErrorKind::Misconfigured`] with what to change, or [`StoreErrorKind::Unavailable`] when Redis
    /// cannot be reached.
    pub async fn attach(self) -> Result<RedisStore, StoreError> {
        let builder = self.attached();
        let shards = Link::new(builder.clone().settings()?).shards_found().await?;
        builder.shards(shards).connect().await
    }
}

impl Link {
    /// The number of shards that the namespace was made with.
    async fn shards_found(&self) -> Result<u16, StoreError> {
        let mut connection = self.open(self.settings.call_timeout).await?;
        let keys = &self.settings.keys;
        let refused = |message| StoreError::new(StoreErrorKind::Misconfigured, message);
        let mut meta = redis::cmd("HMGET");
        meta.arg(keys.of(0, "meta")).arg("schema").arg("shards");
        let (schema, shards): (Option<String>, Option<String>) =
            meta.query_async(&mut connection).await.map_err(store_error)?;
        if schema.is_none() && shards.is_none() {
            return Err(refused(format!(
                "there is no namespace `{}` in this Redis; is the name right, and the database's number?",
                keys.namespace()
            )));
        }
        preflight::check_schema(keys, schema.and_then(|schema| schema.parse().ok()).unwrap_or(u32::MAX))?;
        let shards = shards.and_then(|shards| shards.parse().ok());
        let shards = shards.filter(|shards| (1..=SHARDS_MAX).contains(shards));
        shards.ok_or_else(|| refused(format!("`{}` cannot be read; see it with HGETALL", keys.of(0, "meta"))))
    }
}
