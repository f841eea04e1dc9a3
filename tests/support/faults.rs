//! A store that counts its calls, and fails them or loses their answers as it is told.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use tcc::{
    AuditCursor, AuditPage, BusinessKey, Gid, MemoryStore, Name, Pause, Presence, Scope, Timestamp, Why,
    machine::Op,
    record::Record,
    store::{Applied, Doorbell, Doorbells, Store, StoreError, StoreErrorKind},
};
use tokio::sync::watch;

/// What becomes of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Pass,
    /// It does not reach the store.
    Refuse,
    /// It is applied, and its answer is lost.
    Lose,
    /// It does not reach the store, and never returns.
    Hang,
    /// It waits until the gate is opened, and is then applied.
    Held,
    /// It is applied, and its answer comes when the gate is opened.
    LateAnswer,
    Full,
    Corrupt,
}

/// One process's way to a store that all share.
#[derive(Clone)]
pub(crate) struct Faulty {
    store: MemoryStore,
    inner: Arc<Mutex<Inner>>,
    gate: Arc<watch::Sender<bool>>,
}

#[derive(Default)]
struct Inner {
    calls: Vec<(&'static str, Op)>,
    plan: BTreeMap<&'static str, VecDeque<Fault>>,
    always: BTreeMap<&'static str, Fault>,
    away: bool,
    late_listener: bool,
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faulty").finish_non_exhaustive()
    }
}

impl Faulty {
    pub(crate) fn over(store: &MemoryStore) -> Self {
        Self { store: store.clone(), inner: Arc::default(), gate: Arc::new(watch::Sender::new(false)) }
    }

    /// The next calls of this kind come to this; then they pass again.
    pub(crate) fn fail(&self, kind: &'static str, faults: &[Fault]) {
        self.inner.lock().unwrap().plan.insert(kind, faults.iter().copied().collect());
    }

    /// Every call of this kind comes to this, until it is told otherwise.
    pub(crate) fn always(&self, kind: &'static str, fault: Fault) {
        self.inner.lock().unwrap().always.insert(kind, fault);
    }

    /// Whether the store cannot be reached at all.
    pub(crate) fn set_away(&self, away: bool) {
        self.inner.lock().unwrap().away = away;
    }

    /// Whether this process lets others that wait for messages go first.
    pub(crate) fn set_late_listener(&self, late: bool) {
        self.inner.lock().unwrap().late_listener = late;
    }

    pub(crate) fn open_gate(&self) {
        self.gate.send_replace(true);
    }

    /// The calls of `apply` so far, but for the sweeper's.
    pub(crate) fn calls(&self) -> Vec<&'static str> {
        let inner = self.inner.lock().unwrap();
        inner.calls.iter().map(|(kind, _)| *kind).filter(|kind| *kind != "sweep").collect()
    }

    pub(crate) fn count(&self, kind: &str) -> usize {
        self.inner.lock().unwrap().calls.iter().filter(|(called, _)| *called == kind).count()
    }

    pub(crate) fn ops(&self) -> Vec<Op> {
        self.inner.lock().unwrap().calls.iter().map(|(_, op)| op.clone()).collect()
    }

    fn next(&self, kind: &'static str) -> Fault {
        let mut inner = self.inner.lock().unwrap();
        if inner.away {
            return Fault::Refuse;
        }
        let planned = inner.plan.get_mut(kind).and_then(VecDeque::pop_front);
        planned.or_else(|| inner.always.get(kind).copied()).unwrap_or(Fault::Pass)
    }

    async fn pass(&self, kind: &'static str) -> Result<(), StoreError> {
        match self.next(kind) {
            Fault::Pass | Fault::Lose | Fault::LateAnswer => Ok(()),
            fault => self.come_to(fault).await,
        }
    }

    async fn come_to(&self, fault: Fault) -> Result<(), StoreError> {
        match fault {
            Fault::Pass | Fault::Lose | Fault::LateAnswer => Ok(()),
            Fault::Refuse => Err(unavailable("connection refused")),
            Fault::Full => Err(StoreError::new(StoreErrorKind::Full, "out of memory")),
            Fault::Corrupt => Err(StoreError::new(StoreErrorKind::Corrupt, "the record is torn")),
            Fault::Hang => std::future::pending().await,
            Fault::Held => {
                let _ = self.gate.subscribe().wait_for(|open| *open).await;
                Ok(())
            }
        }
    }
}

fn unavailable(message: &str) -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable, message)
}

/// The name a fault is planned under.
fn kind(op: &Op) -> &'static str {
    match op {
        Op::Begin(_) => "begin",
        Op::Register(_) => "register",
        Op::Report(_) => "report",
        Op::Decide(_) => "decide",
        Op::Claim(_) => "claim",
        Op::Renew(_) => "renew",
        Op::KeepAlive(_) => "keep",
        Op::Close(_) => "close",
        Op::Sweep(_) => "sweep",
        Op::Redrive(_) => "redrive",
        Op::Operate(_) => "operate",
    }
}

#[async_trait]
impl Store for Faulty {
    fn shards(&self) -> u16 {
        self.store.shards()
    }

    async fn now(&self, shard: u16) -> Result<Timestamp, StoreError> {
        self.pass("now").await?;
        self.store.now(shard).await
    }

    async fn apply(&self, gid: &Gid, op: &Op) -> Result<Applied, StoreError> {
        let kind = kind(op);
        self.inner.lock().unwrap().calls.push((kind, op.clone()));
        let fault = self.next(kind);
        self.come_to(fault).await?;
        let applied = self.store.apply(gid, op).await;
        if fault == Fault::LateAnswer {
            self.come_to(Fault::Held).await?;
        }
        if fault == Fault::Lose { Err(unavailable("the answer was lost")) } else { applied }
    }

    async fn load(&self, gid: &Gid) -> Result<Option<Record>, StoreError> {
        self.pass("load").await?;
        self.store.load(gid).await
    }

    async fn find(&self, name: &Name, key: &BusinessKey) -> Result<Option<Gid>, StoreError> {
        self.pass("find").await?;
        self.store.find(name, key).await
    }

    async fn due(&self, shard: u16, max: usize) -> Result<Vec<(Gid, Timestamp)>, StoreError> {
        self.pass("due").await?;
        self.store.due(shard, max).await
    }

    async fn open(&self, shard: u16, after: Option<&Gid>, max: usize) -> Result<Vec<Gid>, StoreError> {
        self.pass("open").await?;
        self.store.open(shard, after, max).await
    }

    async fn take_alarms(
        &self,
        shard: u16,
        ids: &[String],
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<bool>, StoreError> {
        self.pass("take_alarms").await?;
        self.store.take_alarms(shard, ids, now, until).await
    }

    async fn rest_alarms(&self, shard: u16, ids: &[String], until: Timestamp) -> Result<(), StoreError> {
        self.pass("rest_alarms").await?;
        self.store.rest_alarms(shard, ids, until).await
    }

    async fn listen(&self, process: &Name, participants: &[Name]) -> Result<Box<dyn Doorbells>, StoreError> {
        self.pass("listen").await?;
        let bells = self.store.listen(process, participants).await?;
        Ok(Box::new(Bells { faulty: self.clone(), bells }))
    }

    async fn pauses(&self) -> Result<Vec<Pause>, StoreError> {
        self.store.pauses().await
    }

    async fn pause(&self, scope: &Scope, by: &Name, why: &Why) -> Result<bool, StoreError> {
        self.store.pause(scope, by, why).await
    }

    async fn resume(&self, scope: &Scope, by: &Name, why: &Why) -> Result<bool, StoreError> {
        self.store.resume(scope, by, why).await
    }

    async fn audit(
        &self,
        shard: u16,
        before: Option<&AuditCursor>,
        max: usize,
    ) -> Result<AuditPage, StoreError> {
        self.store.audit(shard, before, max).await
    }

    async fn announce(&self, presence: &Presence) -> Result<(), StoreError> {
        self.store.announce(presence).await
    }

    async fn processes(&self, max: usize) -> Result<Vec<Presence>, StoreError> {
        self.store.processes(max).await
    }
}

struct Bells {
    faulty: Faulty,
    bells: Box<dyn Doorbells>,
}

#[async_trait]
impl Doorbells for Bells {
    async fn next(&mut self, max: usize) -> Result<Vec<Doorbell>, StoreError> {
        let late = self.faulty.inner.lock().unwrap().late_listener;
        if late {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let rung = self.bells.next(max).await?;
        match self.faulty.next("bells") {
            Fault::Pass => Ok(rung),
            // What was taken is lost with the error.
            _ => Err(unavailable("the messages were lost")),
        }
    }
}
