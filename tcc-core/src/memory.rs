//! The in-memory store: the state machine with a map under it.
//!
//! For tests, simulation and trying things out: its state is lost when the process ends.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use tokio::sync::Notify;

use crate::{
    gid::{Gid, SHARDS_MAX},
    machine::{self, Due, Effects, Op, Transition},
    name::{BusinessKey, Name},
    operator::{
        AUDIT_ENTRIES_MAX, AuditCursor, AuditEntry, AuditPage, Changed, PAUSES_MAX, Pause, Presence, Scope,
        Why,
    },
    record::Record,
    seam,
    store::{Applied, Doorbell, Doorbells, PRESENT_FOR, Store, StoreError},
    time::Timestamp,
};

#[cfg(test)]
mod tests;

/// Records forgotten at the most when an operation finds some past their retention.
const FORGET_MAX: usize = 64;
/// Processes known at the most; those that were heard longest ago are forgotten.
const PROCESSES_MAX: usize = 1_024;

/// A state of a store.
#[cfg(any(test, feature = "testing"))]
pub(crate) struct Snapshot {
    shards: Vec<Shard>,
    queues: Queues,
}

type Clock = dyn Fn() -> Timestamp + Send + Sync;

/// A store in this process's memory. Clones share the same state.
#[derive(Clone)]
pub struct MemoryStore {
    inner: Arc<Inner>,
}

struct Inner {
    shards: Vec<Mutex<Shard>>,
    queues: Mutex<Queues>,
    whole: Mutex<Whole>,
    rung: Notify,
    clock: Box<Clock>,
}

#[derive(Clone, Default)]
struct Shard {
    /// Time never goes back (high-water mark).
    now: Timestamp,
    records: BTreeMap<Gid, Record>,
    timers: Timers,
    keys: BTreeMap<(Name, BusinessKey), Gid>,
    expiries: BTreeSet<(Timestamp, Gid)>,
    /// Until when each alarm is held.
    alarms: BTreeMap<String, Timestamp>,
    audit: Audit,
    transitions: BTreeMap<Transition, u64>,
}

#[derive(Clone, Default)]
struct Timers {
    by_gid: BTreeMap<Gid, Timestamp>,
    by_time: BTreeSet<(Timestamp, Gid)>,
}

impl Timers {
    fn set(&mut self, gid: &Gid, at: Option<Timestamp>) {
        if let Some(before) = self.by_gid.remove(gid) {
            self.by_time.remove(&(before, gid.clone()));
        }
        if let Some(at) = at {
            self.by_gid.insert(gid.clone(), at);
            self.by_time.insert((at, gid.clone()));
        }
    }

    fn apply(&mut self, gid: &Gid, due: Due) {
        match due {
            Due::Keep => {}
            Due::Set(at) => self.set(gid, Some(at)),
            Due::Earlier(at) => {
                let at = self.by_gid.get(gid).map_or(at, |before| at.min(*before));
                self.set(gid, Some(at));
            }
            Due::Remove => self.set(gid, None),
        }
    }
}

#[derive(Clone, Default)]
struct Audit {
    written: u64,
    entries: VecDeque<(u64, AuditEntry)>,
}

impl Audit {
    fn keep(&mut self, entry: AuditEntry) {
        self.written += 1;
        self.entries.push_back((self.written, entry));
        if self.entries.len() > AUDIT_ENTRIES_MAX {
            self.entries.pop_front();
        }
    }

    fn page(&self, before: Option<&AuditCursor>, max: usize) -> AuditPage {
        let before = before.and_then(|cursor| cursor.as_str().parse().ok()).unwrap_or(u64::MAX);
        let older = self.entries.iter().rev().skip_while(|(place, _)| *place >= before);
        let page: Vec<_> = older.take(max).collect();
        let next = page.last().filter(|_| page.len() == max);
        AuditPage {
            next: next.map(|(place, _)| AuditCursor::new(place.to_string())),
            entries: page.iter().map(|(_, entry)| entry.clone()).collect(),
        }
    }
}

/// What is known of a namespace as a whole.
#[derive(Default)]
struct Whole {
    pauses: BTreeMap<Scope, Pause>,
    processes: BTreeMap<Name, Presence>,
}

#[derive(Clone, Default)]
struct Queues {
    sequence: u64,
    ready: BTreeMap<Name, BTreeMap<u64, Gid>>,
    standing: BTreeMap<(Gid, Name), u64>,
}

impl Queues {
    fn ring(&mut self, gid: &Gid, participant: &Name) {
        self.hush(gid, participant);
        self.sequence += 1;
        self.ready.entry(participant.clone()).or_default().insert(self.sequence, gid.clone());
        self.standing.insert((gid.clone(), participant.clone()), self.sequence);
    }

    fn hush(&mut self, gid: &Gid, participant: &Name) {
        if let Some(place) = self.standing.remove(&(gid.clone(), participant.clone()))
            && let Some(queue) = self.ready.get_mut(participant)
        {
            queue.remove(&place);
        }
    }

    fn take(&mut self, participants: &[Name], max: usize) -> Vec<Doorbell> {
        let mut taken = Vec::new();
        while taken.len() < max {
            let first = participants
                .iter()
                .filter_map(|name| self.ready.get(name)?.keys().next().map(|place| (*place, name)))
                .min();
            let Some((place, participant)) = first else { break };
            let Some(gid) = self.ready.get_mut(participant).and_then(|queue| queue.remove(&place)) else {
                break;
            };
            self.standing.remove(&(gid.clone(), participant.clone()));
            taken.push(Doorbell { gid, participant: participant.clone() });
        }
        taken
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("shards", &self.inner.shards.len()).finish_non_exhaustive()
    }
}

impl MemoryStore {
    /// An empty store of one shard on the system's clock.
    #[must_use]
    pub fn new() -> Self {
        Self::with(1, seam::system_time)
    }

    /// An empty store with this many shards (1 to [`SHARDS_MAX`], else the nearest) on a clock of the
    /// caller's.
    pub fn with(shards: u16, clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        let shards = (0..shards.clamp(1, SHARDS_MAX)).map(|_| Mutex::default()).collect();
        let inner = Inner {
            shards,
            queues: Mutex::default(),
            whole: Mutex::default(),
            rung: Notify::new(),
            clock: Box::new(clock),
        };
        Self { inner: Arc::new(inner) }
    }

    /// How often each transition of the state machine has happened here.
    #[must_use]
    pub fn transitions(&self) -> BTreeMap<Transition, u64> {
        let mut all = BTreeMap::new();
        for shard in 0..self.shards() {
            for (transition, count) in &self.shard(shard).transitions {
                *all.entry(*transition).or_default() += count;
            }
        }
        all
    }

    /// Every record that is kept, in the order of ids.
    #[must_use]
    pub fn records(&self) -> Vec<Record> {
        let mut all: Vec<Record> = (0..self.shards())
            .flat_map(|shard| self.shard(shard).records.values().cloned().collect::<Vec<_>>())
            .collect();
        all.sort_by(|a, b| a.gid.cmp(&b.gid));
        all
    }

    /// The timer of each transaction that has one, in the order of ids.
    #[must_use]
    pub fn timers(&self) -> BTreeMap<Gid, Timestamp> {
        (0..self.shards()).flat_map(|shard| self.shard(shard).timers.by_gid.clone()).collect()
    }

    /// Messages that stand in the queues.
    #[must_use]
    pub fn standing(&self) -> BTreeSet<Doorbell> {
        let queues = self.inner.queues.lock().unwrap_or_else(PoisonError::into_inner);
        queues
            .standing
            .keys()
            .map(|(gid, participant)| Doorbell { gid: gid.clone(), participant: participant.clone() })
            .collect()
    }

    /// Business keys and their transactions.
    #[must_use]
    pub fn keys(&self) -> BTreeMap<(Name, BusinessKey), Gid> {
        (0..self.shards()).flat_map(|shard| self.shard(shard).keys.clone()).collect()
    }

    /// Every entry of the audit that is kept, oldest first, shard by shard.
    #[must_use]
    pub fn audited(&self) -> Vec<AuditEntry> {
        let entries = |shard| self.shard(shard).audit.entries.clone().into_iter().map(|(_, entry)| entry);
        (0..self.shards()).flat_map(entries).collect()
    }

    /// Forgets a record as if it had been lost, for tests of what follows.
    pub fn lose(&self, gid: &Gid) {
        let mut shard = self.shard(gid.shard());
        shard.forget(gid);
        shard.timers.set(gid, None);
    }

    /// All that is kept, as it is now.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn snapshot(&self) -> Snapshot {
        let shards = (0..self.shards()).map(|shard| self.shard(shard).clone()).collect();
        let queues = self.inner.queues.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Snapshot { shards, queues }
    }

    /// Goes back to an earlier state, as a failover to a replica that lags does.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn restore(&self, snapshot: &Snapshot) {
        for (shard, earlier) in (0..).zip(&snapshot.shards) {
            let mut shard = self.shard(shard);
            let transitions = std::mem::take(&mut shard.transitions);
            *shard = Shard { transitions, ..earlier.clone() };
        }
        *self.inner.queues.lock().unwrap_or_else(PoisonError::into_inner) = snapshot.queues.clone();
        self.inner.rung.notify_waiters();
    }

    fn shard(&self, shard: u16) -> MutexGuard<'_, Shard> {
        let place = usize::from(shard) % self.inner.shards.len();
        let mut guard = self.inner.shards[place].lock().unwrap_or_else(PoisonError::into_inner);
        guard.now = guard.now.max((self.inner.clock)());
        guard.expire();
        guard
    }

    fn whole(&self) -> MutexGuard<'_, Whole> {
        self.inner.whole.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Applies one operation now.
    pub fn apply_now(&self, gid: &Gid, op: &Op) -> (Applied, Vec<Transition>) {
        let mut shard = self.shard(gid.shard());
        let now = shard.now;
        let (step, effects) = shard.apply(gid, op);
        // Queues are locked inside the shard's lock, so that a decision and its message are one write.
        let mut queues = self.inner.queues.lock().unwrap_or_else(PoisonError::into_inner);
        for participant in &effects.hush {
            queues.hush(gid, participant);
        }
        for participant in &effects.ring {
            queues.ring(gid, participant);
        }
        drop((queues, shard));
        if !effects.ring.is_empty() {
            self.inner.rung.notify_waiters();
        }
        (Applied { now, result: step.result }, step.transitions)
    }
}

impl Shard {
    fn apply(&mut self, gid: &Gid, op: &Op) -> (machine::Step, Effects) {
        let mut slot = self.records.remove(gid);
        let expiry_before = slot.as_ref().and_then(Record::expires_at);
        let rival = match op {
            Op::Begin(begin) => begin
                .create
                .key
                .as_ref()
                .and_then(|key| self.keys.get(&(begin.create.name.clone(), key.clone())))
                .filter(|holder| *holder != gid)
                .and_then(|holder| self.records.get(holder)),
            _ => None,
        };
        let mut step = machine::apply(&mut slot, rival, op, self.now);
        let mut effects = std::mem::take(&mut step.effects);
        if let Some(entry) = effects.audit.take() {
            self.audit.keep(entry);
        }
        if let Some(record) = slot {
            let expiry = record.expires_at();
            if expiry != expiry_before {
                if let Some(before) = expiry_before {
                    self.expiries.remove(&(before, gid.clone()));
                }
                if let Some(at) = expiry {
                    self.expiries.insert((at, gid.clone()));
                }
            }
            if effects.take_key
                && let Some(key) = &record.key
            {
                self.keys.insert((record.name.clone(), key.clone()), gid.clone());
            }
            self.records.insert(gid.clone(), record);
        }
        self.timers.apply(gid, effects.due);
        for transition in &step.transitions {
            *self.transitions.entry(*transition).or_default() += 1;
        }
        (step, effects)
    }

    fn expire(&mut self) {
        for _ in 0..FORGET_MAX {
            let Some((at, gid)) = self.expiries.first().cloned() else { break };
            if at > self.now {
                break;
            }
            self.forget(&gid);
        }
    }

    fn forget(&mut self, gid: &Gid) {
        let Some(record) = self.records.remove(gid) else { return };
        if let Some(at) = record.expires_at() {
            self.expiries.remove(&(at, gid.clone()));
        }
        if let Some(key) = record.key {
            let place = (record.name, key);
            if self.keys.get(&place) == Some(gid) {
                self.keys.remove(&place);
            }
        }
    }
}

#[async_trait]
impl Store for MemoryStore {
    fn shards(&self) -> u16 {
        self.inner.shards.len() as u16
    }

    async fn now(&self, shard: u16) -> Result<Timestamp, StoreError> {
        Ok(self.shard(shard).now)
    }

    async fn apply(&self, gid: &Gid, op: &Op) -> Result<Applied, StoreError> {
        Ok(self.apply_now(gid, op).0)
    }

    async fn load(&self, gid: &Gid) -> Result<Option<Record>, StoreError> {
        Ok(self.shard(gid.shard()).records.get(gid).cloned())
    }

    async fn find(&self, name: &Name, key: &BusinessKey) -> Result<Option<Gid>, StoreError> {
        let place = (name.clone(), key.clone());
        Ok((0..self.shards()).find_map(|shard| self.shard(shard).keys.get(&place).cloned()))
    }

    async fn due(&self, shard: u16, max: usize) -> Result<Vec<(Gid, Timestamp)>, StoreError> {
        let shard = self.shard(shard);
        let past = shard.timers.by_time.iter().take_while(|(at, _)| *at <= shard.now);
        Ok(past.take(max).map(|(at, gid)| (gid.clone(), *at)).collect())
    }

    async fn open(&self, shard: u16, after: Option<&Gid>, max: usize) -> Result<Vec<Gid>, StoreError> {
        let shard = self.shard(shard);
        let later = shard.records.values().filter(|record| after.is_none_or(|after| record.gid > *after));
        Ok(later
            .filter(|record| !record.state.is_final())
            .take(max)
            .map(|record| record.gid.clone())
            .collect())
    }

    async fn take_alarms(
        &self,
        shard: u16,
        ids: &[String],
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<bool>, StoreError> {
        let held = &mut self.shard(shard).alarms;
        held.retain(|_, until| *until > now);
        let take = |id: &String| {
            held.insert(id.clone(), until).is_none_or(|before| {
                held.insert(id.clone(), before);
                false
            })
        };
        Ok(ids.iter().map(take).collect())
    }

    async fn rest_alarms(&self, shard: u16, ids: &[String], until: Timestamp) -> Result<(), StoreError> {
        self.shard(shard).alarms.extend(ids.iter().map(|id| (id.clone(), until)));
        Ok(())
    }

    async fn listen(&self, _process: &Name, participants: &[Name]) -> Result<Box<dyn Doorbells>, StoreError> {
        Ok(Box::new(Listener { store: self.clone(), participants: participants.to_vec() }))
    }

    async fn pauses(&self) -> Result<Vec<Pause>, StoreError> {
        Ok(self.whole().pauses.values().cloned().collect())
    }

    async fn pause(&self, scope: &Scope, by: &Name, why: &Why) -> Result<bool, StoreError> {
        let mut shard = self.shard(0);
        let mut whole = self.whole();
        if whole.pauses.contains_key(scope) {
            return Ok(false);
        }
        if whole.pauses.len() >= PAUSES_MAX {
            return Err(StoreError::too_many_pauses());
        }
        let (scope, by, why, at) = (scope.clone(), by.clone(), why.clone(), shard.now);
        let pause = Pause { scope: scope.clone(), by: by.clone(), why: why.clone(), since: at };
        whole.pauses.insert(scope.clone(), pause);
        shard.audit.keep(AuditEntry { at, by, why, changed: Changed::Paused(scope) });
        Ok(true)
    }

    async fn resume(&self, scope: &Scope, by: &Name, why: &Why) -> Result<bool, StoreError> {
        let mut shard = self.shard(0);
        if self.whole().pauses.remove(scope).is_none() {
            return Ok(false);
        }
        let (at, changed) = (shard.now, Changed::Resumed(scope.clone()));
        shard.audit.keep(AuditEntry { at, by: by.clone(), why: why.clone(), changed });
        Ok(true)
    }

    async fn audit(
        &self,
        shard: u16,
        before: Option<&AuditCursor>,
        max: usize,
    ) -> Result<AuditPage, StoreError> {
        Ok(self.shard(shard).audit.page(before, max))
    }

    async fn announce(&self, presence: &Presence) -> Result<(), StoreError> {
        let heard_at = self.shard(0).now;
        let processes = &mut self.whole().processes;
        processes.insert(presence.process.clone(), Presence { heard_at, ..presence.clone() });
        if processes.len() > PROCESSES_MAX {
            let oldest = processes.values().min_by_key(|presence| presence.heard_at);
            let oldest = oldest.map(|presence| presence.process.clone());
            oldest.and_then(|process| processes.remove(&process));
        }
        Ok(())
    }

    async fn processes(&self, max: usize) -> Result<Vec<Presence>, StoreError> {
        let now = self.shard(0).now;
        let whole = self.whole();
        let living = whole.processes.values().filter(|presence| presence.heard_at + PRESENT_FOR > now);
        Ok(living.take(max).cloned().collect())
    }
}

struct Listener {
    store: MemoryStore,
    participants: Vec<Name>,
}

#[async_trait]
impl Doorbells for Listener {
    async fn next(&mut self, max: usize) -> Result<Vec<Doorbell>, StoreError> {
        loop {
            let rung = self.store.inner.rung.notified();
            tokio::pin!(rung);
            rung.as_mut().enable();
            let taken = {
                let mut queues = self.store.inner.queues.lock().unwrap_or_else(PoisonError::into_inner);
                queues.take(&self.participants, max.max(1))
            };
            if !taken.is_empty() {
                return Ok(taken);
            }
            rung.await;
        }
    }
}
