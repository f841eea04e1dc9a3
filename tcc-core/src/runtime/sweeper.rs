//! Looking after transactions whose timer ran out, whoever began them (rules 7, 8 and 12).

use std::{sync::Arc, time::Duration};

use futures_util::stream::{self, StreamExt};

use super::Shared;
use crate::{event::Event, gid::Gid, machine::Sweep, retry::jittered};

/// Sweeps under way at a time.
const AT_ONCE: usize = 16;
/// How often a process says that it lives.
const ANNOUNCE_EVERY: Duration = Duration::from_secs(10);

impl Shared {
    /// Sweeps every shard, over and over; ends only by being aborted.
    pub(crate) async fn sweep(self: Arc<Self>) {
        let mut announced_at = None;
        loop {
            if let Err(error) = self.look_at_pauses().await {
                self.trouble("looking for pauses", None, &error);
            }
            let now = self.seam.elapsed();
            if announced_at.is_none_or(|at| now.saturating_sub(at) >= ANNOUNCE_EVERY) {
                announced_at = Some(now);
                if let Err(error) = self.announce().await {
                    self.trouble("announcing this process", None, &error);
                }
            }
            let mut more = false;
            for shard in 0..self.store.shards() {
                match self.in_time(self.store.due(shard, self.config.sweep_max)).await {
                    Ok(due) => {
                        more |= due.len() >= self.config.sweep_max;
                        stream::iter(due).for_each_concurrent(AT_ONCE, |gid| self.sweep_one(gid)).await;
                    }
                    Err(error) => {
                        more = false;
                        self.trouble("looking for due transactions", None, &error);
                    }
                }
            }
            // Processes that started together must not sweep together.
            let pause = self.config.sweep_interval;
            let pause = if more { pause / 20 } else { pause };
            self.seam.sleep(jittered(pause, self.seam.random())).await;
        }
    }

    /// Each transaction fails alone.
    async fn sweep_one(&self, gid: Gid) {
        let sweep = Sweep { by: self.process.clone() };
        match self.call(&gid, sweep, Duration::ZERO).await {
            Ok(Ok(swept)) => {
                if let Some(reason) = swept.decided {
                    tracing::info!(%gid, %reason, "a transaction nobody decided is cancelled");
                    self.tell_decision(&gid).await;
                }
            }
            Ok(Err(_)) => {}
            Err(error) => self.trouble("sweeping", Some(&gid), &error),
        }
    }

    async fn tell_decision(&self, gid: &Gid) {
        if self.events.receiver_count() == 0 {
            return;
        }
        let decision = self.outcome(gid).await.ok().flatten().and_then(|outcome| outcome.decision);
        if let Some(decision) = decision {
            self.emit(|| Event::Decided { gid: gid.clone(), decision });
        }
    }
}
