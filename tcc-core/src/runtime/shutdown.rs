//! Stopping: take nothing new, drain within the grace, hand the rest over.

use std::sync::{Arc, atomic::Ordering};

use super::Shared;
use crate::seam::{Task, within};

impl Shared {
    /// Waits for the word to stop, and stops.
    pub(crate) async fn stop(self: Arc<Self>, takers: Vec<Task<()>>, keeper: Task<()>) {
        self.stopping.cancelled().await;
        self.accepting.store(false, Ordering::SeqCst);
        for mut task in takers {
            task.abort();
            task.join().await;
        }
        self.tracker.close();
        self.driving.close();
        // In this order: what is open may yet be decided, and what is decided driven.
        let drained = async {
            self.tracker.wait().await;
            self.driving.wait().await;
        };
        if within(&*self.seam, self.config.grace, drained).await.is_none() {
            // Handlers that still run are stopped, and their branches released for others to take.
            self.handing_over.cancel();
            within(&*self.seam, self.config.grace, self.driving.wait()).await;
        }
        // From here on the leases of what is left run out, and other processes cancel or drive it.
        let mut keeper = keeper;
        keeper.abort();
        keeper.join().await;
        self.stopped.cancel();
    }
}
