//! The store as a process reaches it: over a network that loses, repeats, delays and overtakes.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures_util::FutureExt;
use tokio::sync::oneshot;

use super::{
    bells::Bells,
    executor::{Process, WORLD},
    plan::{DUPLICATE_AFTER_MAX, Fault, STORE_TIMEOUT},
    points::{Call, FADED, FORGOTTEN_AFTER, FORGOTTEN_STEP_MS, PAUSE, Strike},
    world::{Outage, World, name_of},
};
use crate::{
    gid::Gid,
    machine::Op,
    name::{BusinessKey, Name},
    operator::{AuditCursor, AuditPage, Pause, Presence, Scope, Why},
    record::Record,
    store::{Applied, Doorbells, Store, StoreError, StoreErrorKind},
    time::Timestamp,
};

/// When a call that failed has been given up and made again.
pub(super) const REPEATED_WITHIN: Duration =
    Duration::from_millis(2 * STORE_TIMEOUT.as_millis() as u64 + 1_200);

/// One process's way to the store.
#[derive(Clone)]
pub(super) struct Wire {
    pub(super) world: Arc<World>,
    pub(super) process: Process,
    pub(super) place: usize,
}

/// What becomes of one request.
#[derive(Default)]
struct Fate {
    call: Option<Call>,
    request: Option<Fault>,
    answer: Option<Fault>,
    before: Duration,
    after: Duration,
    again: Option<Duration>,
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("process", &self.process).finish_non_exhaustive()
    }
}

impl Wire {
    pub(super) fn new(world: Arc<World>, process: Process, place: usize) -> Self {
        Self { world, process, place }
    }

    fn fate(&self, what: &'static str, gid: Option<&Gid>) -> Fate {
        let world = &self.world;
        if let Some(script) = &world.script {
            let call = script.call(world.executor.name(self.process), what, gid);
            return self.scripted(call);
        }
        let request = world.strikes(|rates| rates.request).then(|| {
            *world.dice().pick(&[Fault::RequestRefused, Fault::RequestRefused, Fault::RequestSwallowed])
        });
        let answer = world
            .strikes(|rates| rates.answer)
            .then(|| *world.dice().pick(&[Fault::AnswerLost, Fault::AnswerSwallowed]));
        let delay = |fault| match world.strikes(|rates| rates.delay) {
            true => {
                world.fault(self.process, fault);
                // Some arrive when their caller has long given up.
                world.dice().magnitude(Duration::from_millis(2), STORE_TIMEOUT * 8)
            }
            false => Duration::from_micros(world.dice().between(100, 900)),
        };
        let (before, after) = (delay(Fault::RequestDelayed), delay(Fault::AnswerDelayed));
        let again = world
            .strikes(|rates| rates.duplicate)
            .then(|| world.dice().magnitude(Duration::from_micros(200), DUPLICATE_AFTER_MAX));
        Fate { call: None, request, answer, before, after, again }
    }

    fn scripted(&self, call: Call) -> Fate {
        let way = || Duration::from_micros(self.world.dice().between(100, 900));
        let (before, after) = (way(), way());
        let calm = Fate { before, after, ..Fate::default() };
        let struck = match call.strike {
            None => calm,
            Some(Strike::CrashBefore) => Fate { request: Some(Fault::Crash), ..calm },
            Some(Strike::CrashAfter) => Fate { answer: Some(Fault::Crash), ..calm },
            Some(Strike::Refused) => Fate { request: Some(Fault::RequestRefused), ..calm },
            Some(Strike::Lost) => Fate { answer: Some(Fault::AnswerLost), ..calm },
            Some(Strike::SwallowedBefore) => Fate { request: Some(Fault::RequestSwallowed), ..calm },
            Some(Strike::SwallowedAfter) => Fate { answer: Some(Fault::AnswerSwallowed), ..calm },
            Some(Strike::PausedBefore) => Fate { request: Some(Fault::Pause), ..calm },
            Some(Strike::PausedAfter) => Fate { answer: Some(Fault::Pause), ..calm },
            Some(Strike::Twice) => Fate { again: Some(Duration::from_micros(200)), ..calm },
            Some(Strike::LosesOne | Strike::LosesSome) => calm,
            Some(Strike::Fades) => {
                self.world.stay_busy(STORE_TIMEOUT);
                Fate { after: STORE_TIMEOUT * 8 / 9, ..calm }
            }
            Some(Strike::Forgotten) => Fate { answer: Some(Fault::AnswerSwallowed), ..calm },
            Some(Strike::TwiceLate) => Fate { again: Some(DUPLICATE_AFTER_MAX), ..calm },
        };
        Fate { call: Some(call), ..struck }
    }

    /// Stops the process for longer than any lease.
    async fn pause(&self) {
        let world = &self.world;
        world.executor.pause(self.process, true);
        world.stay_busy(PAUSE + REPEATED_WITHIN);
        world.sleep(PAUSE).await;
        world.executor.pause(self.process, false);
    }

    /// Cuts the process off for a while.
    fn fade(&self) {
        let (world, only) = (Arc::clone(&self.world), Some(self.place));
        world.set_outage(Some(Outage { kind: Fault::OutageRefusing, only }));
        world.stay_busy(FADED + REPEATED_WITHIN);
        let back = async move {
            world.sleep(FADED).await;
            world.set_outage(None);
        };
        self.world.executor.spawn(WORLD, back.boxed());
    }

    /// Lets the retention of what is final end, a little later.
    fn forget(&self) {
        let world = Arc::clone(&self.world);
        let step = async move {
            world.sleep(FORGOTTEN_AFTER).await;
            world.step_clock(world.skew_ms() + FORGOTTEN_STEP_MS);
        };
        self.world.executor.spawn(WORLD, step.boxed());
    }

    /// Ends the caller's own process.
    pub(super) async fn die(&self) {
        self.world.kill(self.process);
        std::future::pending::<()>().await;
    }

    /// Stops the caller's own process.
    pub(super) async fn stand_still(&self) {
        let wire = self.clone();
        self.world.executor.spawn(WORLD, async move { wire.pause().await }.boxed());
        self.world.sleep_millis(1, 2).await;
    }

    /// Sends a request, whose way does not depend on its caller's life any more.
    async fn ask<T: Send + 'static>(
        &self,
        what: &'static str,
        gid: Option<&Gid>,
        serve: impl Fn(&World) -> Result<T, StoreError> + Send + Sync + 'static,
    ) -> Result<T, StoreError> {
        let fate = self.fate(what, gid);
        let (tell, answer) = oneshot::channel();
        let wire = self.clone();
        self.world.executor.spawn(WORLD, Box::pin(async move { wire.carry(fate, serve, tell).await }));
        match answer.await {
            Ok(answer) => answer,
            // Swallowed: only the caller's own timeout tells.
            Err(_) => std::future::pending().await,
        }
    }

    async fn carry<T>(
        self,
        fate: Fate,
        serve: impl Fn(&World) -> Result<T, StoreError>,
        tell: oneshot::Sender<Result<T, StoreError>>,
    ) {
        let world = &self.world;
        let _busy = (fate.before + fate.after > STORE_TIMEOUT || fate.again.is_some()).then(|| world.busy());
        world.sleep(fate.before).await;
        if !world.executor.is_alive(self.process) && world.dice().chance(5_000) {
            return;
        }
        let outage = world.outage(self.place);
        if outage.is_some() || fate.request.is_some() || fate.answer.is_some() {
            self.world.stay_busy(REPEATED_WITHIN);
        }
        if outage.is_none()
            && let Some(fault) = fate.request
        {
            world.fault(self.process, fault);
        }
        match outage.or(fate.request) {
            Some(Fault::OutageRefusing | Fault::RequestRefused) => {
                let _ = tell.send(Err(unavailable("the connection was refused")));
                return;
            }
            Some(Fault::OutageSilent | Fault::RequestSwallowed) => return,
            Some(Fault::Crash) => return world.kill(self.process),
            Some(Fault::Pause) => self.pause().await,
            _ => {}
        }
        let answer = serve(world);
        if let Some(after) = fate.again {
            let tell_early = self.answer(&fate, outage, answer, tell);
            futures_util::join!(tell_early, async {
                world.sleep(after).await;
                world.fault(self.process, Fault::RequestDuplicated);
                let _ = serve(world);
            });
        } else {
            self.answer(&fate, outage, answer, tell).await;
        }
    }

    async fn answer<T>(
        &self,
        fate: &Fate,
        outage: Option<Fault>,
        answer: Result<T, StoreError>,
        tell: oneshot::Sender<Result<T, StoreError>>,
    ) {
        self.world.sleep(fate.after).await;
        if let (Some(script), Some(call)) = (&self.world.script, &fate.call) {
            script.answered(call);
            if let Some(writes) = call.strike.and_then(Strike::writes_lost) {
                self.world.lose_writes(writes);
            }
            match call.strike {
                Some(Strike::Fades) => self.fade(),
                Some(Strike::Forgotten) => self.forget(),
                _ => {}
            }
        }
        if outage.is_some() {
            return;
        }
        if let Some(fault) = fate.answer {
            self.world.fault(self.process, fault);
        }
        let _ = match fate.answer {
            Some(Fault::AnswerSwallowed) => return,
            Some(Fault::Crash) => return self.world.kill(self.process),
            Some(Fault::Pause) => {
                self.pause().await;
                tell.send(answer)
            }
            Some(_) => tell.send(Err(unavailable("the connection broke"))),
            None => tell.send(answer),
        };
    }

    /// Reads over the wire.
    async fn read<T, F>(&self, what: &'static str, gid: Option<&Gid>, read: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Fn(crate::memory::MemoryStore) -> futures_util::future::BoxFuture<'static, Result<T, StoreError>>
            + Send
            + Sync
            + 'static,
    {
        // The store in memory answers at once.
        self.ask(what, gid, move |world| {
            read(world.store.clone()).now_or_never().unwrap_or_else(|| Err(unavailable("the store waits")))
        })
        .await
    }
}

pub(super) fn unavailable(why: &str) -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable, why)
}

/// Whether an operation is denied when memory is full.
fn begins(op: &Op) -> bool {
    matches!(op, Op::Begin(_) | Op::Register(_))
}

#[async_trait]
impl Store for Wire {
    fn shards(&self) -> u16 {
        self.world.plan.shards
    }

    async fn now(&self, shard: u16) -> Result<Timestamp, StoreError> {
        self.read("now", None, move |store| async move { store.now(shard).await }.boxed()).await
    }

    async fn apply(&self, gid: &Gid, op: &Op) -> Result<Applied, StoreError> {
        let request = self.world.next_request();
        let full = begins(op) && self.world.strikes(|rates| rates.full);
        if full {
            self.world.fault(self.process, Fault::StoreFull);
        }
        let (what, told) = (name_of(op), gid.clone());
        let (gid, op, process, served) = (gid.clone(), op.clone(), self.process, AtomicBool::new(false));
        self.ask(what, Some(&told), move |world| {
            if full {
                return Err(StoreError::new(StoreErrorKind::Full, "the store has no room"));
            }
            if served.swap(true, Ordering::SeqCst)
                && world.record(&gid).is_none_or(|record| record.state.is_final())
            {
                world.fault(process, Fault::DuplicateAfterTheEnd);
            }
            Ok(world.apply(process, request, &gid, &op))
        })
        .await
    }

    async fn load(&self, gid: &Gid) -> Result<Option<Record>, StoreError> {
        let (told, gid) = (gid, gid.clone());
        self.read("load", Some(told), move |store| {
            let gid = gid.clone();
            async move { store.load(&gid).await }.boxed()
        })
        .await
    }

    async fn find(&self, name: &Name, key: &BusinessKey) -> Result<Option<Gid>, StoreError> {
        let (name, key) = (name.clone(), key.clone());
        self.read("find", None, move |store| {
            let (name, key) = (name.clone(), key.clone());
            async move { store.find(&name, &key).await }.boxed()
        })
        .await
    }

    async fn due(&self, shard: u16, max: usize) -> Result<Vec<(Gid, Timestamp)>, StoreError> {
        self.read("due", None, move |store| async move { store.due(shard, max).await }.boxed()).await
    }

    async fn open(&self, shard: u16, after: Option<&Gid>, max: usize) -> Result<Vec<Gid>, StoreError> {
        let after = after.cloned();
        self.read("open", None, move |store| {
            let after = after.clone();
            async move { store.open(shard, after.as_ref(), max).await }.boxed()
        })
        .await
    }

    async fn take_alarms(
        &self,
        shard: u16,
        ids: &[String],
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<bool>, StoreError> {
        let ids = ids.to_vec();
        self.read("take_alarms", None, move |store| {
            let ids = ids.clone();
            async move { store.take_alarms(shard, &ids, now, until).await }.boxed()
        })
        .await
    }

    async fn rest_alarms(&self, shard: u16, ids: &[String], until: Timestamp) -> Result<(), StoreError> {
        let ids = ids.to_vec();
        self.read("rest_alarms", None, move |store| {
            let ids = ids.clone();
            async move { store.rest_alarms(shard, &ids, until).await }.boxed()
        })
        .await
    }

    async fn listen(&self, process: &Name, participants: &[Name]) -> Result<Box<dyn Doorbells>, StoreError> {
        self.ask("listen", None, |_| Ok(())).await?;
        let inner = self.world.store.listen(process, participants).await?;
        Ok(Box::new(Bells::new(self.clone(), inner)))
    }

    // Nothing of the following touches a transaction, and none of it is struck.
    async fn pauses(&self) -> Result<Vec<Pause>, StoreError> {
        self.world.store.pauses().await
    }

    async fn pause(&self, scope: &Scope, by: &Name, why: &Why) -> Result<bool, StoreError> {
        self.world.store.pause(scope, by, why).await
    }

    async fn resume(&self, scope: &Scope, by: &Name, why: &Why) -> Result<bool, StoreError> {
        self.world.store.resume(scope, by, why).await
    }

    async fn audit(
        &self,
        shard: u16,
        before: Option<&AuditCursor>,
        max: usize,
    ) -> Result<AuditPage, StoreError> {
        self.world.store.audit(shard, before, max).await
    }

    async fn announce(&self, presence: &Presence) -> Result<(), StoreError> {
        self.world.store.announce(presence).await
    }

    async fn processes(&self, max: usize) -> Result<Vec<Presence>, StoreError> {
        self.world.store.processes(max).await
    }
}
