//! Renewing the leases of transactions that live longer than a third of one (rule 12).

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use futures_util::stream::{self, StreamExt};

use super::Shared;
use crate::{
    machine::{Alive, KeepAlive},
    tx::TxInner,
};

/// Renewals under way at a time.
const AT_ONCE: usize = 32;

impl Shared {
    /// Renews leases, over and over; ends only by being aborted.
    pub(crate) async fn keep_leases(self: Arc<Self>) {
        let third = self.config.lease / 3;
        loop {
            self.seam.sleep(third.max(Duration::from_millis(1))).await;
            let old: Vec<Arc<TxInner>> = {
                let leases = self.leases.lock().unwrap_or_else(PoisonError::into_inner);
                let alive = leases.values().filter_map(std::sync::Weak::upgrade);
                alive.filter(|tx| tx.needs_lease(third)).collect()
            };
            stream::iter(old).for_each_concurrent(AT_ONCE, |tx| self.keep_one(tx)).await;
        }
    }

    async fn keep_one(&self, tx: Arc<TxInner>) {
        let keep = KeepAlive { lease_ms: crate::time::millis(self.config.lease) };
        match self.call(&tx.gid, keep, self.config.lease / 3).await {
            Ok(Ok(Alive::Undecided)) => {}
            // Its closure learns this when it decides, or registers another branch.
            Ok(Ok(Alive::Decided(_)) | Err(_)) => tx.forget_lease(),
            Err(error) => self.trouble("renewing a transaction's lease", Some(&tx.gid), &error),
        }
    }
}
