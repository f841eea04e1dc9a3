//! Messages as a process gets them.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::FutureExt;
use tokio::sync::mpsc;

use super::{
    executor::WORLD,
    plan::{DUPLICATE_AFTER_MAX, Fault},
    points::{Script, Strike},
    wire::{Wire, unavailable},
};
use crate::store::{Doorbell, Doorbells, StoreError};

/// Messages that get lost, come twice, or come late.
pub(super) struct Bells {
    wire: Wire,
    inner: Box<dyn Doorbells>,
    late: mpsc::UnboundedSender<Doorbell>,
    arrived: mpsc::UnboundedReceiver<Doorbell>,
}

impl Bells {
    pub(super) fn new(wire: Wire, inner: Box<dyn Doorbells>) -> Self {
        let (late, arrived) = mpsc::unbounded_channel();
        Self { wire, inner, late, arrived }
    }

    fn strike(&self, bell: &Doorbell, fault: Fault) {
        self.wire.world.fault(self.wire.process, fault);
        if fault == Fault::BellLost {
            return;
        }
        let delay = self.wire.world.dice().magnitude(Duration::from_millis(1), Duration::from_secs(20));
        self.ring_later(bell, delay);
    }

    fn ring_later(&self, bell: &Doorbell, delay: Duration) {
        let (world, late, bell) = (Arc::clone(&self.wire.world), self.late.clone(), bell.clone());
        let arrive = async move {
            world.sleep(delay).await;
            let _ = late.send(bell);
        };
        self.wire.world.executor.spawn(WORLD, arrive.boxed());
    }

    /// Waits for messages, struck as a script says.
    async fn scripted(&mut self, script: &Script, max: usize) -> Result<Vec<Doorbell>, StoreError> {
        let world = Arc::clone(&self.wire.world);
        let call = script.wait(world.executor.name(self.wire.process));
        match call.strike {
            Some(Strike::CrashBefore) => self.wire.die().await,
            Some(Strike::PausedBefore) => self.wire.stand_still().await,
            Some(Strike::Refused) => return Err(unavailable("the connection was refused")),
            _ => {}
        }
        let mut taken = tokio::select! {
            biased;
            Some(bell) = self.arrived.recv() => vec![bell],
            taken = self.inner.next(max) => taken?,
        };
        script.answered(&call);
        world.sleep_millis(0, 1).await;
        match call.strike {
            Some(Strike::CrashAfter) => self.wire.die().await,
            Some(Strike::PausedAfter) => self.wire.stand_still().await,
            Some(Strike::Lost) => return Err(unavailable("the connection broke")),
            Some(Strike::Twice) => taken.extend(taken.clone()),
            Some(Strike::TwiceLate) => {
                taken.iter().for_each(|bell| self.ring_later(bell, DUPLICATE_AFTER_MAX))
            }
            _ => {}
        }
        Ok(taken)
    }
}

#[async_trait]
impl Doorbells for Bells {
    async fn next(&mut self, max: usize) -> Result<Vec<Doorbell>, StoreError> {
        let world = Arc::clone(&self.wire.world);
        if let Some(script) = &world.script {
            return self.scripted(script, max).await;
        }
        loop {
            let taken = tokio::select! {
                biased;
                Some(bell) = self.arrived.recv() => return Ok(vec![bell]),
                taken = self.inner.next(max) => taken?,
            };
            world.sleep_millis(0, 1).await;
            if world.outage(self.wire.place).is_some() || world.strikes(|rates| rates.bell / 20) {
                world.fault(self.wire.process, Fault::BellsFailed);
                return Err(unavailable("the connection broke"));
            }
            let mut whole = Vec::new();
            for bell in taken {
                if !world.strikes(|rates| rates.bell) {
                    whole.push(bell);
                    continue;
                }
                let fault = *world.dice().pick(&[Fault::BellLost, Fault::BellDuplicated, Fault::BellDelayed]);
                self.strike(&bell, fault);
                if fault == Fault::BellDuplicated {
                    whole.push(bell);
                }
            }
            if !whole.is_empty() {
                return Ok(whole);
            }
        }
    }
}
