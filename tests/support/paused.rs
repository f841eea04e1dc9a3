//! Tests under `start_paused`: time stands while anything can run and jumps when everything waits, so that
//! leases and deadlines of seconds take no time and no busy machine can miss them.

use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use tcc::{
    MemoryStore, RuntimeBuilder, Timestamp,
    seam::{Seam, TokioSeam},
    store::Store,
};
use tokio::time::Instant;

use super::{Bank, hosting};

/// One clock, Tokio's, for a store and all runtimes over it.
#[derive(Clone, Debug)]
pub(crate) struct Paused {
    started: Instant,
    pub(crate) store: MemoryStore,
}

impl Paused {
    pub(crate) fn new() -> Self {
        let started = Instant::now();
        Self { started, store: MemoryStore::with(1, move || server_time(started)) }
    }

    pub(crate) fn hosting(&self, store: &(impl Store + Clone), bank: &Bank) -> RuntimeBuilder {
        self.on(hosting(store, bank))
    }

    /// Puts a runtime on this clock.
    pub(crate) fn on(&self, builder: RuntimeBuilder) -> RuntimeBuilder {
        let inner = TokioSeam::current().expect("a test runs in Tokio");
        builder.seam(Arc::new(PausedSeam { inner, started: self.started }))
    }

    pub(crate) fn now(&self) -> Timestamp {
        server_time(self.started)
    }
}

fn server_time(started: Instant) -> Timestamp {
    Timestamp::from_millis(1_795_000_000_000) + started.elapsed()
}

#[derive(Debug)]
struct PausedSeam {
    inner: TokioSeam,
    started: Instant,
}

impl Seam for PausedSeam {
    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.inner.sleep(duration)
    }

    fn random(&self) -> u64 {
        self.inner.random()
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.inner.spawn(task);
    }
}
