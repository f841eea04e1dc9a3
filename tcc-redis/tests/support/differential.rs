//! Runs one random sequence of operations on both stores and compares everything after each.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use redis::{FromRedisValue, Value, aio::MultiplexedConnection, from_redis_value};
use tcc_core::{
    Gid, MemoryStore, Timestamp,
    machine::{Answer, Op, Refusal, Transition},
    record::Record,
    store::{Applied, Store},
    testing::{
        sequences::{Generator, START, Step},
        variants::refusal_name,
    },
};
use tcc_redis::{Durability, History, RedisStore, RedisStoreBuilder};

use super::{
    proxy::Proxy,
    server::{ask, raw},
};

const PARTICIPANTS: [&str; 3] = ["stock", "pay", "mail"];

/// One database of a server, and the store under test on it.
pub(crate) struct Bench {
    store: RedisStore,
    /// Another version's store on the same database: each operation goes through either.
    other: Option<RedisStore>,
    draws: u64,
    raw: MultiplexedConnection,
    clock: Arc<AtomicU64>,
    /// What the server says the records it holds add up to, from when they were compared last.
    digests: BTreeMap<Gid, String>,
    compared: BTreeMap<Gid, Option<Record>>,
    /// Transactions a sweep has looked at.
    looked: BTreeSet<Gid>,
    pub(crate) mode: Mode,
    /// Whether little goes wrong in its sequences.
    pub(crate) is_smooth: bool,
}

/// What a sequence reached.
#[derive(Debug, Default)]
pub(crate) struct Coverage {
    pub(crate) transitions: BTreeSet<Transition>,
    pub(crate) refusals: BTreeSet<&'static str>,
    pub(crate) operations: usize,
    pub(crate) transactions: usize,
}

impl Coverage {
    pub(crate) fn add(&mut self, other: Self) {
        self.transitions.extend(other.transitions);
        self.refusals.extend(other.refusals);
        self.operations += other.operations;
        self.transactions += other.transactions;
    }

    fn refused(&mut self, result: &Result<Answer, Refusal>) {
        match result {
            Err(refusal) => {
                self.refusals.insert(refusal_name(refusal));
            }
            Ok(Answer::Closed(closes)) => {
                self.refusals
                    .extend(closes.drives.iter().filter_map(|drive| drive.as_ref().err()).map(refusal_name));
            }
            Ok(_) => {}
        }
    }
}

/// What is done beside applying each operation once.
#[derive(Default)]
pub(crate) enum Mode {
    #[default]
    Once,
    /// Every operation is sent again at once.
    Twice,
    /// Every operation's answer is lost, and it is sent again over a new connection.
    Lossy(Proxy),
    /// After every operation, all earlier ones of its transaction are sent again, and again after the last.
    Later,
}

impl Bench {
    pub(crate) async fn new(url: &str, history: History) -> Self {
        Self::connect(url, url, history).await
    }

    /// A bench whose store goes through a proxy that loses its answers.
    pub(crate) async fn lossy(url: &str, proxy: Proxy, database: u32) -> Self {
        let bench = Self::connect(&proxy.url_of(database), url, History::off()).await;
        Self { mode: Mode::Lossy(proxy), ..bench }
    }

    /// A bench of two versions: this one, and the one that was frozen in this directory.
    pub(crate) async fn mixed(url: &str, history: History, frozen: &Path) -> Self {
        let bench = Self::connect(url, url, history).await;
        let other = builder(url, history, &bench.clock).frozen_library(frozen);
        Self { other: Some(other.connect().await.expect("the other store connects")), ..bench }
    }

    async fn connect(store_url: &str, raw_url: &str, history: History) -> Self {
        let clock = Arc::new(AtomicU64::new(START.as_millis()));
        let store = builder(store_url, history, &clock).connect().await.expect("the store connects");
        let (raw, digests, compared) = (raw(raw_url).await, BTreeMap::new(), BTreeMap::new());
        Self {
            store,
            other: None,
            draws: 0,
            raw,
            clock,
            digests,
            compared,
            looked: BTreeSet::new(),
            mode: Mode::Once,
            is_smooth: false,
        }
    }

    /// How many steps of each operation went the short way.
    pub(crate) fn short_ways(&self) -> BTreeMap<&'static str, u64> {
        self.store.short_ways()
    }

    /// The store of the next operation.
    fn next_store(&mut self) -> RedisStore {
        // Knuth's generator: its upper bits are random enough for a choice of two.
        self.draws =
            self.draws.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let other = self.other.as_ref().filter(|_| self.draws >> 63 == 1);
        other.unwrap_or(&self.store).clone()
    }

    /// Empties both stores and sets their clock back; the one in memory.
    async fn start_anew(&mut self) -> MemoryStore {
        let () = ask(&mut self.raw, &["FLUSHDB"]).await;
        self.clock.store(START.as_millis(), Ordering::Relaxed);
        self.digests.clear();
        self.compared.clear();
        self.looked.clear();
        let hand = Arc::clone(&self.clock);
        MemoryStore::with(1, move || Timestamp::from_millis(hand.load(Ordering::Relaxed)))
    }

    /// Runs the steps that a test names, which concern one transaction, and gives what the last was answered.
    pub(crate) async fn tell(&mut self, gid: &Gid, steps: Vec<Step>) -> Result<Applied, String> {
        let memory = self.start_anew().await;
        let (gids, mut coverage) = (BTreeSet::from([gid.clone()]), Coverage::default());
        let mut last = Err("no operation".to_owned());
        for (place, step) in steps.into_iter().enumerate() {
            match step {
                Step::Clock(ms) => {
                    let now = self.clock.load(Ordering::Relaxed).saturating_add_signed(ms);
                    self.clock.store(now, Ordering::Relaxed);
                }
                Step::Apply(to, op) => {
                    last = self.step(0, place, &memory, &gids, &to, &op, &mut coverage).await;
                    last.as_ref().map_err(Clone::clone)?;
                }
            }
        }
        last
    }

    /// Runs the sequence of a seed.
    pub(crate) async fn run(&mut self, seed: u64, steps: usize) -> Result<Coverage, String> {
        let memory = self.start_anew().await;
        self.draws = seed;
        let mut generator = if self.is_smooth { Generator::smooth(seed) } else { Generator::new(seed) };
        let mut gids: BTreeSet<Gid> = BTreeSet::new();
        let mut coverage = Coverage::default();
        let (mut stepped, mut latest) = (false, START);
        let mut sent: Vec<(Gid, Op)> = Vec::new();
        for step in 0..steps {
            let (gid, op) = match generator.step() {
                Step::Clock(ms) => {
                    let now = self.clock.load(Ordering::Relaxed).saturating_add_signed(ms);
                    self.clock.store(now, Ordering::Relaxed);
                    stepped = true;
                    continue;
                }
                Step::Apply(gid, op) => (gid, op),
            };
            if std::mem::take(&mut stepped) {
                self.expire(&gids, latest.max(Timestamp::from_millis(self.clock.load(Ordering::Relaxed))))
                    .await;
            }
            gids.insert(gid.clone());
            let applied = self.step(seed, step, &memory, &gids, &gid, &op, &mut coverage).await?;
            latest = applied.now;
            generator.hear(&gid, &op, &applied);
            if matches!(self.mode, Mode::Later) {
                let earlier: Vec<Op> =
                    sent.iter().filter(|(other, _)| *other == gid).map(|(_, op)| op.clone()).collect();
                for op in earlier {
                    self.step(seed, step, &memory, &gids, &gid, &op, &mut coverage).await?;
                }
                sent.push((gid, op));
            }
        }
        coverage.transactions = gids.len();
        Ok(coverage)
    }

    /// Applies one operation to both stores and compares them.
    #[allow(clippy::too_many_arguments, reason = "the place of a difference is told in full")]
    async fn step(
        &mut self,
        seed: u64,
        step: usize,
        memory: &MemoryStore,
        gids: &BTreeSet<Gid>,
        gid: &Gid,
        op: &Op,
        coverage: &mut Coverage,
    ) -> Result<Applied, String> {
        let place = |what: &str| format!("seed {seed}, step {step}, {gid}, {what} after {op:?}");
        let (mut expected, mut transitions) = memory.apply_now(gid, op);
        if let Mode::Lossy(proxy) = &self.mode {
            proxy.lose_next();
            let lost = self.store.apply(gid, op).await;
            if !proxy.has_lost() || lost.is_ok() {
                return Err(format!("{}: the answer was not lost", place("loss")));
            }
        }
        let first = expected.clone();
        if !matches!(self.mode, Mode::Once | Mode::Later) {
            if matches!(self.mode, Mode::Twice) {
                let first = self.next_store().apply(gid, op).await.map_err(text)?;
                same(&place("first answer"), &expected, &first)?;
            }
            let (again, more) = memory.apply_now(gid, op);
            expected = again;
            transitions.extend(more);
        }
        let actual = self.next_store().apply(gid, op).await.map_err(|error| {
            format!("{}: {error}: {:?}", place("error"), std::error::Error::source(&error).map(text))
        })?;
        // To reopen what had ended takes its business key, which is asked for: the question was lost then, not the answer.
        let asked = matches!(self.mode, Mode::Lossy(_)) && transitions.contains(&Transition::Reopened);
        if !asked || actual != first {
            same(&place("answer"), &expected, &actual)?;
        }
        coverage.operations += 1;
        coverage.refused(&expected.result);
        let ended = transitions.iter().any(|transition| matches!(transition, Transition::Ended(_)));
        if ended {
            self.looked.remove(gid);
        } else if matches!(op, Op::Sweep(_)) && expected.result.is_ok() {
            self.looked.insert(gid.clone());
        }
        coverage.transitions.extend(transitions);
        self.compare(&place, memory, gids, &expected).await?;
        Ok(expected)
    }

    /// Deletes what Redis itself would, were its clock the test's.
    async fn expire(&mut self, gids: &BTreeSet<Gid>, now: Timestamp) {
        let mut keys: Vec<String> = gids.iter().map(|gid| format!("{{tcc:00}}:tx:{gid}")).collect();
        keys.extend(ask::<Vec<String>>(&mut self.raw, &["KEYS", "{tcc:00}:key:*"]).await);
        keys.extend(ask::<Vec<String>>(&mut self.raw, &["KEYS", "{tcc:00}:history:*"]).await);
        for (key, at) in keys.iter().zip(self.expiries(&keys).await) {
            if at > 0 && at <= now.as_millis() as i64 {
                let () = ask(&mut self.raw, &["DEL", key]).await;
            }
        }
    }

    async fn expiries(&mut self, keys: &[String]) -> Vec<i64> {
        if keys.is_empty() {
            return Vec::new();
        }
        let mut pipeline = redis::pipe();
        for key in keys {
            pipeline.cmd("PEXPIRETIME").arg(key);
        }
        pipeline.query_async(&mut self.raw).await.expect("expiries")
    }

    /// Everything both stores hold.
    async fn compare(
        &mut self,
        place: &impl Fn(&str) -> String,
        memory: &MemoryStore,
        gids: &BTreeSet<Gid>,
        applied: &Applied,
    ) -> Result<(), String> {
        let records: BTreeMap<Gid, Record> =
            memory.records().into_iter().map(|record| (record.gid.clone(), record)).collect();
        let held = Held::read(self.raw.clone(), gids, memory).await;
        // A record whose digest is as it was is as it was; the others are read and compared in full.
        let changed: Vec<&Gid> =
            gids.iter().filter(|gid| self.digests.get(gid) != held.digests.get(gid)).collect();
        self.digests = held.digests.clone();
        let (loaded, due, open, now, audit) = tokio::join!(
            futures_util::future::join_all(changed.iter().map(|gid| self.store.load(gid))),
            self.store.due(0, 64),
            self.store.open(0, gids.first(), 64),
            self.store.now(0),
            self.store.audit(0, None, 64),
        );
        for (gid, loaded) in changed.into_iter().zip(loaded) {
            let loaded = loaded.map_err(|error| format!("{}: {error}", place("record")))?;
            same(&place("record"), &records.get(gid).cloned(), &loaded)?;
            self.compared.insert(gid.clone(), loaded);
        }
        for gid in gids {
            same(
                &place("untouched record"),
                &records.get(gid),
                &self.compared.get(gid).and_then(Option::as_ref),
            )?;
        }
        same(&place("due list"), &memory.due(0, 64).await.map_err(text)?, &due.map_err(text)?)?;
        let expected = memory.open(0, gids.first(), 64).await.map_err(text)?;
        same(&place("open list"), &expected, &open.map_err(text)?)?;
        same(&place("time"), &applied.now, &now.map_err(text)?)?;
        let kept = memory.audit(0, None, 64).await.map_err(text)?;
        same(&place("audit"), &kept.entries, &audit.map_err(text)?.entries)?;
        held.compare(place, memory, &records, &self.looked, applied.now)
    }
}

fn builder(url: &str, history: History, clock: &Arc<AtomicU64>) -> RedisStoreBuilder {
    let builder = RedisStore::builder(url)
        .durability(Durability::Volatile)
        .call_timeout(std::time::Duration::from_secs(30))
        .history(history);
    builder.given_time(Arc::clone(clock))
}

/// What lies in Redis beside the records.
#[derive(Debug)]
struct Held {
    timers: Vec<(String, f64)>,
    open: Vec<String>,
    parked: Vec<(String, f64)>,
    unreadable: BTreeMap<String, String>,
    clock: Option<u64>,
    queues: Vec<Vec<(String, Vec<String>)>>,
    expiries: BTreeMap<Gid, i64>,
    digests: BTreeMap<Gid, String>,
    keys: Vec<(String, Option<String>, i64)>,
    names: BTreeSet<String>,
}

impl Held {
    async fn read(mut raw: MultiplexedConnection, gids: &BTreeSet<Gid>, memory: &MemoryStore) -> Self {
        let key = |suffix: &str| format!("{{tcc:00}}:{suffix}");
        let mut pipeline = redis::pipe();
        for index in ["due", "parked"] {
            pipeline.cmd("ZRANGE").arg(key(index)).arg(0).arg(-1).arg("WITHSCORES");
        }
        pipeline.cmd("ZRANGE").arg(key("open")).arg(0).arg(-1);
        pipeline.cmd("HGETALL").arg(key("unreadable"));
        pipeline.cmd("GET").arg(key("clock"));
        pipeline.cmd("KEYS").arg("*");
        for participant in PARTICIPANTS {
            pipeline.cmd("XRANGE").arg(key(&format!("ready:{participant}"))).arg("-").arg("+");
        }
        let records: Vec<String> = gids.iter().map(|gid| key(&format!("tx:{gid}"))).collect();
        pipeline.cmd("DEBUG").arg("DIGEST-VALUE").arg(&records);
        let business = memory.keys();
        let names = business.keys().map(|(name, business)| key(&format!("key:{name}:{business}")));
        let names: Vec<String> = names.collect();
        pipeline.cmd("MGET").arg("-").arg(&names);
        for key in records.iter().chain(&names) {
            pipeline.cmd("PEXPIRETIME").arg(key);
        }
        let answers: Vec<Value> = pipeline.query_async(&mut raw).await.expect("what the database holds");
        let mut answers = answers.into_iter();
        let mut next = || answers.next().expect("an answer");
        let (timers, parked, open) = (read(next()), read(next()), read(next()));
        let (unreadable, clock, all) = (read(next()), read(next()), read(next()));
        let queues = PARTICIPANTS.iter().map(|_| read(next())).collect();
        let digests: Vec<String> = read(next());
        let holders: Vec<Option<String>> = read(next());
        let expiries = gids.iter().map(|gid| (gid.clone(), read(next()))).collect();
        let keys = names.into_iter().zip(holders.into_iter().skip(1));
        let keys = keys.map(|(name, holder)| (name, holder, read(next()))).collect();
        let digests = gids.iter().cloned().zip(digests).collect();
        Self { timers, open, parked, unreadable, clock, queues, expiries, digests, keys, names: all }
    }

    fn compare(
        &self,
        place: &impl Fn(&str) -> String,
        memory: &MemoryStore,
        records: &BTreeMap<Gid, Record>,
        looked: &BTreeSet<Gid>,
        now: Timestamp,
    ) -> Result<(), String> {
        let scored = |of: &dyn Fn(&Record) -> Option<Timestamp>| -> BTreeMap<String, u64> {
            let scores =
                records.values().filter_map(|record| Some((record.gid.to_string(), of(record)?.as_millis())));
            scores.collect()
        };
        let found = |scores: &[(String, f64)]| -> BTreeMap<String, u64> {
            scores.iter().map(|(gid, score)| (gid.clone(), *score as u64)).collect()
        };
        let timers: BTreeMap<String, u64> =
            memory.timers().iter().map(|(gid, at)| (gid.to_string(), at.as_millis())).collect();
        same(&place("timers"), &timers, &found(&self.timers))?;
        let parked =
            |record: &Record| record.branches.iter().filter_map(|branch| Some(branch.parked?.at)).min();
        same(&place("parked index"), &scored(&parked), &found(&self.parked))?;
        // What a sweep has looked at is listed; what is younger need not be.
        let is_open = |gid: &Gid| records.get(gid).is_some_and(|record| !record.state.is_final());
        let missing = looked.iter().find(|gid| is_open(gid) && !self.open.contains(&gid.to_string()));
        same(&place("open index"), &None, &missing)?;
        let stray = self.open.iter().find(|gid| !gid.parse().is_ok_and(|gid| is_open(&gid)));
        same(&place("open index"), &None, &stray)?;
        same(&place("unreadable"), &BTreeMap::new(), &self.unreadable)?;
        same(&place("clock"), &Some(now.as_millis()), &self.clock)?;
        let standing: Vec<(String, String)> = memory
            .standing()
            .iter()
            .map(|bell| (bell.participant.to_string(), bell.gid.to_string()))
            .collect();
        same(&place("queues"), &BTreeSet::from_iter(standing.clone()), &self.standing(standing.len())?)?;
        for (gid, at) in &self.expiries {
            // -2 is what Redis says of a key that is not there.
            let expires = |record: &Record| record.expires_at().map_or(-1, |at| at.as_millis() as i64);
            same(&place("time-to-live"), &records.get(gid).map_or(-2, expires), at)?;
        }
        for (gid, (key, holder, at)) in memory.keys().values().zip(&self.keys) {
            same(&place(key), &Some(gid.to_string()), holder)?;
            let expected =
                records.get(gid).and_then(Record::expires_at).map_or(-1, |at| at.as_millis() as i64);
            same(&place("a key's time-to-live"), &expected, at)?;
        }
        let business = self.names.iter().filter(|name| name.contains(":key:")).count();
        same(&place("number of keys"), &memory.keys().len(), &business)?;
        let strange = self.names.iter().find(|name| !name.starts_with("{tcc:00}:"));
        same(&place("names of keys"), &None, &strange)
    }

    /// Messages that stand, which must be as many as there are pairs.
    fn standing(&self, expected: usize) -> Result<BTreeSet<(String, String)>, String> {
        let mut standing = BTreeSet::new();
        for (participant, messages) in PARTICIPANTS.iter().zip(&self.queues) {
            for (_, fields) in messages {
                if fields.len() != 2 || fields[0] != "gid" {
                    return Err(format!("a strange message: {fields:?}"));
                }
                standing.insert(((*participant).to_owned(), fields[1].clone()));
            }
        }
        let count: usize = self.queues.iter().map(Vec::len).sum();
        same("number of messages", &expected, &count)?;
        Ok(standing)
    }
}

fn read<T: FromRedisValue>(answer: Value) -> T {
    from_redis_value(answer).expect("an answer of its type")
}

fn text(error: impl ToString) -> String {
    error.to_string()
}

fn same<T: Debug + PartialEq>(what: &str, expected: &T, actual: &T) -> Result<(), String> {
    if expected == actual {
        Ok(())
    } else {
        Err(format!("{what}:\n expected {expected:?}\n   actual {actual:?}"))
    }
}
