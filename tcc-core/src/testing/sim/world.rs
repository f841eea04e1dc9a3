//! All that the simulated processes share: time, the store, the network's fate, what is written down.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::FutureExt;

use super::{
    bank::Books,
    executor::{Executor, Process, WORLD},
    oracle::Oracle,
    plan::{Fault, Plan, Rates, WRITES_LOST_MAX},
    points::Script,
    random::Random,
    trace::Trace,
};
use crate::{
    gid::Gid,
    machine::Op,
    memory::{MemoryStore, Snapshot},
    record::Record,
    runtime::Runtime,
    store::{Applied, Store},
    time::Timestamp,
};

/// When every simulation begins, in server time.
const EPOCH_MS: u64 = 1_795_000_000_000;

/// How the store is away, and for whom.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outage {
    pub(super) kind: Fault,
    /// The place of the only process that is cut off, if it is not all of them.
    pub(super) only: Option<usize>,
}

/// A process's place in the plan and its newest life.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) process: Process,
    pub(super) lives: u32,
    pub(super) runtime: Option<Runtime>,
}

pub(super) struct World {
    pub(super) plan: Plan,
    /// What is run and struck instead of what the plan would draw.
    pub(super) script: Option<Script>,
    pub(super) executor: Arc<Executor>,
    pub(super) store: MemoryStore,
    /// Faults are made until this is set.
    healed: AtomicBool,
    skew_ms: Arc<AtomicI64>,
    dice: Mutex<Random>,
    trace: Mutex<Trace>,
    faults: Mutex<BTreeMap<Fault, u64>>,
    oracle: Mutex<Oracle>,
    books: Mutex<Books>,
    places: Mutex<Vec<Place>>,
    /// What the store was before each of the last writes.
    earlier: Mutex<VecDeque<Snapshot>>,
    outage: Mutex<Option<Outage>>,
    requests: AtomicU64,
    /// The newest request applied to each transaction, to see them overtake each other.
    newest: Mutex<BTreeMap<Gid, u64>>,
    /// What still happens by itself: clients under way, requests to be repeated.
    pending: AtomicU64,
    begun: AtomicU64,
    over: AtomicBool,
}

/// Keeps the world from being called quiet.
pub(super) struct Busy(Arc<World>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.pending.fetch_sub(1, Ordering::SeqCst);
    }
}

impl World {
    pub(super) fn new(seed: u64) -> Arc<Self> {
        let mut dice = Random::new(seed);
        let plan = Plan::of(&mut dice.fork());
        Self::build(dice, plan, None)
    }

    /// A world in which nothing happens but what a script says.
    pub(super) fn scripted(seed: u64, plan: Plan, script: Script) -> Arc<Self> {
        Self::build(Random::new(seed), plan, Some(script))
    }

    fn build(mut dice: Random, plan: Plan, script: Option<Script>) -> Arc<Self> {
        let leases_hold = plan.leases_hold() && script.as_ref().is_none_or(Script::leases_hold);
        let executor = Executor::new(dice.fork(), plan.poll_micros_max);
        let skew_ms = Arc::new(AtomicI64::new(0));
        let (clock, skew) = (Arc::clone(&executor), Arc::clone(&skew_ms));
        let store = MemoryStore::with(plan.shards, move || {
            let true_ms = EPOCH_MS + clock.now().as_millis() as u64;
            Timestamp::from_millis(true_ms.saturating_add_signed(skew.load(Ordering::SeqCst)))
        });
        let places = plan.processes.iter().map(|_| Place { process: WORLD, lives: 0, runtime: None });
        Arc::new(Self {
            executor,
            store,
            healed: AtomicBool::new(false),
            skew_ms,
            trace: Mutex::default(),
            faults: Mutex::default(),
            oracle: Mutex::new(Oracle::new(leases_hold)),
            books: Mutex::new(Books::new(plan.fenced)),
            places: Mutex::new(places.collect()),
            earlier: Mutex::default(),
            outage: Mutex::default(),
            requests: AtomicU64::new(0),
            newest: Mutex::default(),
            pending: AtomicU64::new(0),
            begun: AtomicU64::new(0),
            over: AtomicBool::new(false),
            dice: Mutex::new(dice),
            script,
            plan,
        })
    }

    pub(super) fn oracle(&self) -> MutexGuard<'_, Oracle> {
        self.oracle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn places(&self) -> MutexGuard<'_, Vec<Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn dice(&self) -> MutexGuard<'_, Random> {
        self.dice.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a line of the trace.
    pub(super) fn note(&self, process: Process, what: fmt::Arguments<'_>) {
        let name = self.executor.name(process);
        let mut trace = self.trace.lock().unwrap_or_else(PoisonError::into_inner);
        trace.line(self.executor.now(), &name, what);
    }

    /// Counts a fault and writes it down.
    pub(super) fn fault(&self, process: Process, fault: Fault) {
        *self.faults.lock().unwrap_or_else(PoisonError::into_inner).entry(fault).or_default() += 1;
        self.note(process, format_args!("! {fault:?}"));
    }

    /// Makes a fault as often as its rate says, unless faults are over.
    pub(super) fn strikes(&self, rate: impl FnOnce(&Rates) -> u32) -> bool {
        let rate = rate(&self.plan.rates);
        rate > 0 && !self.is_healed() && self.dice().chance(rate)
    }

    pub(super) fn is_healed(&self) -> bool {
        self.healed.load(Ordering::SeqCst)
    }

    pub(super) async fn sleep(&self, duration: Duration) {
        self.executor.sleep(duration).await;
    }

    pub(super) async fn sleep_millis(&self, first: u64, last: u64) {
        let duration = self.dice().millis(first, last);
        self.sleep(duration).await;
    }

    pub(super) fn busy(self: &Arc<Self>) -> Busy {
        self.pending.fetch_add(1, Ordering::SeqCst);
        Busy(Arc::clone(self))
    }

    /// Keeps the world from being called quiet for so long.
    pub(super) fn stay_busy(self: &Arc<Self>, duration: Duration) {
        let (busy, wait) = (self.busy(), self.executor.sleep(duration));
        let work = async move {
            wait.await;
            drop(busy);
        };
        self.executor.spawn(WORLD, Box::pin(work));
    }

    pub(super) fn is_busy(&self) -> bool {
        self.pending.load(Ordering::SeqCst) > 0 || self.script.as_ref().is_some_and(Script::is_ahead)
    }

    /// Whether a client may begin one more transaction.
    pub(super) fn takes_another(&self) -> bool {
        !self.is_healed() && self.begun.fetch_add(1, Ordering::SeqCst) < self.plan.transactions
    }

    pub(super) fn next_request(&self) -> u64 {
        self.requests.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Loses the last writes, all of them acknowledged.
    pub(super) fn fail_over(&self) {
        let most = self.dice().below(WRITES_LOST_MAX as u64) as usize + 1;
        self.lose_writes(most);
    }

    /// Loses as many of the last writes.
    pub(super) fn lose_writes(&self, most: usize) {
        let lost = {
            let mut earlier = self.earlier.lock().unwrap_or_else(PoisonError::into_inner);
            let kept = earlier.len().saturating_sub(most);
            let lost = earlier.len() - kept;
            let Some(snapshot) = earlier.get(kept) else { return };
            self.store.restore(snapshot);
            earlier.clear();
            lost
        };
        self.fault(WORLD, Fault::WritesLost);
        self.note(WORLD, format_args!("the last {lost} writes are lost"));
        let (kept, now) = (self.store.records(), self.server_now());
        self.oracle().failed_over(&kept, now);
    }

    /// Steps the store's clock.
    pub(super) fn step_clock(&self, skew_ms: i64) {
        self.skew_ms.store(skew_ms, Ordering::SeqCst);
    }

    pub(super) fn skew_ms(&self) -> i64 {
        self.skew_ms.load(Ordering::SeqCst)
    }

    pub(super) fn set_outage(&self, outage: Option<Outage>) {
        *self.outage.lock().unwrap_or_else(PoisonError::into_inner) = outage;
    }

    /// How the store is away for a process, if it is.
    pub(super) fn outage(&self, place: usize) -> Option<Fault> {
        let outage = *self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        outage.filter(|outage| outage.only.is_none_or(|only| only == place)).map(|outage| outage.kind)
    }

    /// Ends a process at once.
    pub(super) fn kill(&self, process: Process) {
        self.oracle().died(process, self.executor.now());
        self.executor.kill(process);
    }

    /// Ends what the seed did to the world; processes are started by who watches over them.
    pub(super) fn heal(&self) {
        self.healed.store(true, Ordering::SeqCst);
        if self.script.is_none() {
            self.set_outage(None);
        }
        // The clock is right again from where the store's time stands: a step back would only stop it.
        let store_now = self.server_now();
        let true_ms = (EPOCH_MS + self.executor.now().as_millis() as u64) as i64;
        self.step_clock(store_now.as_millis() as i64 - true_ms);
        self.note(WORLD, format_args!("faults are over"));
    }

    pub(super) fn server_now(&self) -> Timestamp {
        let shards = (0..self.store.shards()).filter_map(|shard| self.store.now(shard).now_or_never()?.ok());
        shards.max().unwrap_or_default()
    }

    /// The record of a transaction, as it stands.
    pub(super) fn record(&self, gid: &Gid) -> Option<Record> {
        self.store.load(gid).now_or_never().and_then(Result::ok).flatten()
    }

    /// Applies an operation to the store, before the oracle's eyes.
    pub(super) fn apply(&self, process: Process, request: u64, gid: &Gid, op: &Op) -> Applied {
        let before = self.record(gid);
        let fails_over = self.plan.troubles.failover.is_some() && !self.is_healed();
        if fails_over || self.script.is_some() {
            let mut earlier = self.earlier.lock().unwrap_or_else(PoisonError::into_inner);
            earlier.push_back(self.store.snapshot());
            if earlier.len() > WRITES_LOST_MAX {
                earlier.pop_front();
            }
        }
        let (applied, transitions) = self.store.apply_now(gid, op);
        let after = self.record(gid);
        let name = name_of(op);
        match &applied.result {
            Ok(_) => self.note(process, format_args!("#{request} {name} {gid} {transitions:?}")),
            Err(refusal) => self.note(process, format_args!("#{request} {name} {gid} refused: {refusal}")),
        }
        let overtaken = {
            let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
            let newest = newest.entry(gid.clone()).or_default();
            let overtaken = *newest > request;
            *newest = (*newest).max(request);
            overtaken
        };
        if overtaken {
            self.fault(process, Fault::RequestsReordered);
        }
        let step = super::oracle::Step {
            gid,
            op,
            before: before.as_ref(),
            after: after.as_ref(),
            applied: &applied,
            timers: self.store.timers(),
        };
        let rung = self.store.standing();
        self.oracle().applied(&step, &rung);
        applied
    }

    /// Ends the simulation.
    pub(super) fn end(&self) {
        self.over.store(true, Ordering::SeqCst);
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    pub(super) fn take_trace(&self) -> String {
        std::mem::take(&mut *self.trace.lock().unwrap_or_else(PoisonError::into_inner)).into_text()
    }

    pub(super) fn faults(&self) -> BTreeMap<Fault, u64> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

pub(super) fn name_of(op: &Op) -> &'static str {
    match op {
        Op::Begin(_) => "begin",
        Op::Register(_) => "register",
        Op::Report(_) => "report",
        Op::Decide(_) => "decide",
        Op::Claim(_) => "claim",
        Op::Renew(_) => "renew",
        Op::KeepAlive(_) => "keep-alive",
        Op::Close(_) => "close",
        Op::Sweep(_) => "sweep",
        Op::Redrive(_) => "redrive",
        Op::Operate(_) => "operate",
    }
}
