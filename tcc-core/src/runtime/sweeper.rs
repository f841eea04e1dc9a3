//! Looking after transactions whose timer ran out, whoever began them (rules 7, 8 and 12).

use std::{sync::Arc, time::Duration};

use futures_util::stream::{self, StreamExt};

use tracing::{Instrument, Span};

use super::Shared;
use crate::{
    event::Event, gid::Gid, machine::Sweep, metrics::StoreCall, retry::jittered, spans, time::Timestamp,
};

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
                match self.read(StoreCall::Due, self.store.due(shard, self.config.sweep_max)).await {
                    Ok(due) => {
                        more |= due.len() >= self.config.sweep_max;
                        stream::iter(due).for_each_concurrent(AT_ONCE, |due| self.sweep_one(due)).await;
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
    async fn sweep_one(&self, (gid, at): (Gid, Timestamp)) {
        let span = spans::recovery(&gid);
        self.recover(gid, at).instrument(span).await;
    }

    async fn recover(&self, gid: Gid, at: Timestamp) {
        let sweep = Sweep { by: self.process.clone() };
        match self.call(&gid, sweep, Duration::ZERO).await {
            Ok(Ok(swept)) => {
                let span = Span::current();
                span.record("rung", swept.rung);
                if swept.decided.is_some() || swept.rung > 0 {
                    self.meter.recovered(|| at.until(self.clock.now(gid.shard())));
                }
                if let Some(reason) = swept.decided {
                    span.record("decided", tracing::field::display(reason));
                    tracing::info!(%gid, %reason, "a transaction nobody decided is cancelled");
                    self.tell_decision(&gid).await;
                }
            }
            Ok(Err(_)) => {}
            Err(error) => self.trouble("sweeping", Some(&gid), &error),
        }
    }

    async fn tell_decision(&self, gid: &Gid) {
        if self.events.receiver_count() == 0 && !cfg!(feature = "metrics") {
            return;
        }
        let decision = self.outcome(gid).await.ok().flatten().and_then(|outcome| outcome.decision);
        if let Some(decision) = decision {
            self.meter.decided(&decision);
            self.emit(|| Event::Decided { gid: gid.clone(), decision });
        }
    }
}
