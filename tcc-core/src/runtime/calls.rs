//! Calls of the store: each repeated until it is answered or the caller's patience ends (rule 14).

use std::time::Duration;

use super::Shared;
use crate::{
    gid::Gid,
    machine::{Op, Operation, Refusal},
    metrics::StoreCall,
    outcome::Outcome,
    record::Record,
    retry::jittered,
    seam::{Seam, within},
    store::{StoreError, StoreErrorKind},
};

const REPEAT_BASE: Duration = Duration::from_millis(20);
const REPEAT_CAP: Duration = Duration::from_secs(1);

/// What a patient call came to.
pub(crate) type Called<T> = Result<Result<T, Refusal>, StoreError>;

impl Shared {
    /// Applies an operation, again and again until the store answers; at least once, and no longer than
    /// `patience` after that.
    pub(crate) async fn call<O: Operation>(&self, gid: &Gid, op: O, patience: Duration) -> Called<O::Answer> {
        let op: Op = op.into_op();
        let started = self.seam.elapsed();
        let (mut asked_at, mut wait) = (started, REPEAT_BASE);
        loop {
            let error = match self.call_once(gid, &op, asked_at).await {
                Ok(Ok(answer)) => match O::answer(answer) {
                    Some(answer) => return Ok(Ok(answer)),
                    None => {
                        return Err(StoreError::new(
                            StoreErrorKind::Corrupt,
                            "the store answered another question",
                        ));
                    }
                },
                Ok(Err(refusal)) => return Ok(Err(refusal)),
                Err(error) => error,
            };
            let waited = self.seam.elapsed().saturating_sub(started);
            // Memory full refuses beginnings at once, so that work in flight can drain.
            if error.kind() != StoreErrorKind::Unavailable || waited + wait > patience {
                return Err(error);
            }
            self.seam.sleep(jittered(wait, self.seam.random())).await;
            wait = (wait * 2).min(REPEAT_CAP);
            asked_at = self.seam.elapsed();
        }
    }

    async fn call_once(
        &self,
        gid: &Gid,
        op: &Op,
        asked_at: Duration,
    ) -> Result<Result<crate::machine::Answer, Refusal>, StoreError> {
        let applied = self.read_since(asked_at, StoreCall::of(op), self.store.apply(gid, op)).await?;
        self.clock.hear(gid.shard(), applied.now, asked_at);
        Ok(applied.result)
    }

    /// The record of a transaction, asked for once.
    pub(crate) async fn load(&self, gid: &Gid) -> Result<Option<Record>, StoreError> {
        self.read(StoreCall::Load, self.store.load(gid)).await
    }

    /// How a transaction stands, asked for once.
    pub(crate) async fn outcome(&self, gid: &Gid) -> Result<Option<Outcome>, StoreError> {
        Ok(self.load(gid).await?.map(|record| record.outcome()))
    }

    /// One call of the store, in time and measured.
    pub(crate) async fn read<T>(
        &self,
        what: StoreCall,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.read_since(self.seam.elapsed(), what, call).await
    }

    async fn read_since<T>(
        &self,
        asked_at: Duration,
        what: StoreCall,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let answered = in_time(&*self.seam, self.config.store_timeout, call).await;
        let took = || self.seam.elapsed().saturating_sub(asked_at);
        self.meter.stored(what, answered.as_ref().err().map(StoreError::kind), took);
        answered
    }
}

/// One call of the store, given up when its time is over: its outcome is unknown then.
pub(super) async fn in_time<T>(
    seam: &dyn Seam,
    limit: Duration,
    call: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    within(seam, limit, call).await.unwrap_or_else(|| {
        let message = format!("the store did not answer within {limit:?} (`store_timeout`)");
        Err(StoreError::new(StoreErrorKind::Unavailable, message))
    })
}
