//! The store that remembers transactions while they are under way: the user's Redis, one of our own, or memory.

use std::error::Error;
use std::fs::{File, TryLockError};
use std::sync::Arc;
use std::time::Duration;

use tcc::store::Store;
use tcc::{MemoryStore, RedisStore, Runtime, RuntimeBuilder};

use crate::place::Place;
use crate::server::{self, Server};

/// Every write waits for the disk, and one that is busy, with what a compiler has just written for example, keeps it
/// waiting for seconds: better a slow order than one of which nobody knows how it ended.
const CALL_PATIENCE: Duration = Duration::from_secs(20);
const STORE_PATIENCE: Duration = Duration::from_secs(25);

#[derive(Clone)]
pub(crate) enum Kind {
    Redis(RedisStore),
    Memory(MemoryStore),
}

/// A store, for as long as this process uses it. When the last process that uses a private server lets go of it,
/// the server is stopped; its files stay with the books.
pub(crate) struct OpenStore {
    kind: Kind,
    notice: String,
    place: Place,
    users: File,
    server: Option<Server>,
}

impl OpenStore {
    /// `REDIS_URL` if it is set; else a server found on `PATH`, started here or by another process on the same
    /// directory; else memory. One that was asked for and does not do is an error, never silently another.
    pub(crate) async fn open(place: &Place) -> Result<Self, Box<dyn Error>> {
        let _alone = place.alone()?;
        let users = place.users()?;
        let mut open = Self {
            kind: Kind::Memory(MemoryStore::new()),
            notice: "Transactions are recorded in the in-memory store: their state is lost when this process ends.\n\
                     For a store that survives, set REDIS_URL or install redis-server (or valkey-server), 7.0 or later."
                .to_owned(),
            place: place.clone(),
            users,
            server: None,
        };
        if let Some(url) = std::env::var("REDIS_URL").ok().filter(|url| !url.is_empty()) {
            open.share()?;
            let namespace = place.namespace()?;
            let store = RedisStore::builder(url).namespace(&namespace).connect().await.map_err(|error| {
                format!(
                    "the Redis of REDIS_URL cannot be used; unset it to have one started. {}",
                    crate::chain(&error)
                )
            })?;
            open.notice =
                format!("Transactions are recorded in the Redis of REDIS_URL, in namespace {namespace}.");
            for warning in store.warnings() {
                open.notice.push_str(&format!("\n  warning: {warning}"));
            }
            open.kind = Kind::Redis(store);
        } else if let Some(binary) = server::binary() {
            open.share()?;
            let namespace = place.namespace()?;
            let server = Server::find_or_start(&binary, place.path(), &namespace)?;
            let url = server.url();
            open.notice = format!(
                "Transactions are recorded in a private Redis ({}), in namespace {namespace}; look into it with\n  \
                 redis-cli -s {}",
                binary.display(),
                server.socket().display()
            );
            open.server = Some(server);
            let builder = RedisStore::builder(url).namespace(&namespace).call_timeout(CALL_PATIENCE);
            open.kind = Kind::Redis(builder.connect().await?);
        } else {
            // Memory knows nothing of what another process does to the same books.
            match open.users.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(open.in_use()),
                Err(TryLockError::Error(error)) => return Err(error.into()),
            }
        }
        Ok(open)
    }

    fn share(&self) -> Result<(), Box<dyn Error>> {
        match self.users.try_lock_shared() {
            Ok(()) => Ok(()),
            Err(TryLockError::WouldBlock) => Err(self.in_use()),
            Err(TryLockError::Error(error)) => Err(error.into()),
        }
    }

    fn in_use(&self) -> Box<dyn Error> {
        let path = self.place.path().display();
        format!("another process uses {path} with another store; wait for it, or choose another --data")
            .into()
    }

    /// Said before a run, so that nobody takes the store for more or less than it is.
    pub(crate) fn notice(&self) -> &str {
        &self.notice
    }

    /// Whether what is recorded outlives this process.
    pub(crate) fn survives(&self) -> bool {
        matches!(self.kind, Kind::Redis(_))
    }

    pub(crate) fn builder(&self) -> RuntimeBuilder {
        match &self.kind {
            Kind::Redis(store) => Runtime::builder().store(store.clone()).store_timeout(STORE_PATIENCE),
            Kind::Memory(store) => Runtime::builder().store(store.clone()),
        }
    }

    pub(crate) fn store(&self) -> Arc<dyn Store> {
        match &self.kind {
            Kind::Redis(store) => Arc::new(store.clone()),
            Kind::Memory(store) => Arc::new(store.clone()),
        }
    }
}

impl Drop for OpenStore {
    fn drop(&mut self) {
        let Some(server) = self.server.take() else { return };
        let stopped = self.place.alone().and_then(|_alone| {
            self.users.unlock()?;
            match self.users.try_lock() {
                Ok(()) => server.stop(),
                Err(TryLockError::WouldBlock) => Ok(()),
                Err(TryLockError::Error(error)) => Err(error),
            }
        });
        if let Err(error) = stopped {
            eprintln!("checkout: the private Redis was not stopped: {error}");
        }
    }
}
