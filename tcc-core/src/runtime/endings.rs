//! Who in this process waits for which transaction's end.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

use crate::gid::Gid;

/// Told by whichever task of this process ends a transaction, so that nobody asks the store in a loop for
/// what is known here.
#[derive(Debug, Default)]
pub(crate) struct Endings {
    awaited: Mutex<BTreeMap<Gid, oneshot::Sender<()>>>,
}

/// A transaction's end, awaited. It may come about elsewhere, and never be told here.
#[derive(Debug)]
pub(crate) struct Awaited {
    endings: Arc<Endings>,
    gid: Gid,
    told: oneshot::Receiver<()>,
    over: bool,
}

impl Endings {
    fn awaited(&self) -> MutexGuard<'_, BTreeMap<Gid, oneshot::Sender<()>>> {
        self.awaited.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// To be called before the transaction can end. A later caller takes the earlier one's place.
    pub(crate) fn expect(self: &Arc<Self>, gid: &Gid) -> Awaited {
        let (tell, told) = oneshot::channel();
        self.awaited().insert(gid.clone(), tell);
        Awaited { endings: Arc::clone(self), gid: gid.clone(), told, over: false }
    }

    /// Says that a transaction is final.
    pub(crate) fn tell(&self, gid: &Gid) {
        let awaited = self.awaited().remove(gid);
        if let Some(tell) = awaited {
            let _ = tell.send(());
        }
    }
}

impl Awaited {
    /// Waits until this process ended the transaction; for ever if it did not. Cancel-safe.
    pub(crate) async fn told(&mut self) {
        if (&mut self.told).await.is_err() {
            std::future::pending().await
        }
        self.over = true;
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        // Who told it has taken it out.
        if !self.over {
            self.endings.awaited().remove(&self.gid);
        }
    }
}
