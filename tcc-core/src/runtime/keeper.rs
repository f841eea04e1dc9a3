//! Renewing the leases of transactions that live longer than a third of one (rule 12).

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use futures_util::stream::{self, StreamExt};

use super::Shared;
use crate::{
    machine::{Alive, KeepAlive},
    seam::within,
    tx::TxInner,
};

/// Renewals under way at a time.
const AT_ONCE: usize = 32;

impl Shared {
    /// Renews leases, over and over; ends only by being aborted.
    pub(crate) async fn keep_leases(self: Arc<Self>) {
        let third = (self.config.lease / 3).max(Duration::from_millis(1));
        let mut round_at = self.seam.elapsed();
        loop {
            // Rounds keep their beat, however long one takes: a lease must see two of them.
            round_at = round_at.saturating_add(third).max(self.seam.elapsed());
            self.seam.sleep(round_at.saturating_sub(self.seam.elapsed())).await;
            let open: Vec<Arc<TxInner>> = {
                let leases = self.leases.lock().unwrap_or_else(PoisonError::into_inner);
                leases.values().filter_map(std::sync::Weak::upgrade).collect()
            };
            // Only now that the lock is free: the last handle of a transaction takes it when dropped.
            let old = open.into_iter().filter(|tx| tx.needs_lease(third));
            stream::iter(old).for_each_concurrent(AT_ONCE, |tx| self.keep_one(tx, third)).await;
        }
    }

    /// Gives up in time for the next round, so that a call that hangs costs no other its lease.
    async fn keep_one(&self, tx: Arc<TxInner>, limit: Duration) {
        let keep = KeepAlive { lease_ms: crate::time::millis(self.config.lease) };
        let Some(kept) = within(&*self.seam, limit, self.call(&tx.gid, keep, limit)).await else { return };
        match kept {
            Ok(Ok(Alive::Undecided)) => {}
            // Its closure learns this when it decides, or registers another branch.
            Ok(Ok(Alive::Decided(_)) | Err(_)) => tx.forget_lease(),
            Err(error) => self.trouble("renewing a transaction's lease", Some(&tx.gid), &error),
        }
    }
}
