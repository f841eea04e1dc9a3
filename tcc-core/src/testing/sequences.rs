//! Random sequences of operations, to run one store beside another and to look for states that must not be.
//!
//! A sequence is a function of its seed and of the answers it hears. It mixes what an honest runtime sends
//! with what networks and clocks make of it: repetitions at any later time, stale epochs, lost answers,
//! rivals, leases that run out, and a clock that jumps both ways.
//!
//! ```
//! use std::sync::{Arc, atomic::{AtomicU64, Ordering}};
//! use tcc_core::{MemoryStore, Timestamp, testing::sequences::{Generator, START, Step}};
//!
//! let clock = Arc::new(AtomicU64::new(START.as_millis()));
//! let hand = clock.clone();
//! let store = MemoryStore::with(1, move || Timestamp::from_millis(clock.load(Ordering::Relaxed)));
//! let mut generator = Generator::new(7);
//! for _ in 0..100 {
//!     match generator.step() {
//!         Step::Clock(ms) => {
//!             hand.fetch_add(ms as u64, Ordering::Relaxed);
//!         }
//!         Step::Apply(gid, op) => {
//!             let (applied, _) = store.apply_now(&gid, &op);
//!             generator.hear(&gid, &op, &applied);
//!         }
//!     }
//! }
//! ```

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use crate::{
    gid::Gid,
    machine::{
        Alive, Answer, Begin, Begun, Change, ClaimWork, Close, CloseDrive, Create, Decide, Drive, Heard, How,
        InlineClaim, KeepAlive, NewBranch, Op, Operate, OwnCommit, Redrive, Refusal, Register, Renew, Report,
        Sweep, TryReport,
    },
    name::{BusinessKey, CallId, Name, Ordinal},
    outcome::TryOutcome,
    payload::Payload,
    record::{Closed, Direction, Known, Reason, Seen, Token},
    store::Applied,
    testing::variants,
    time::Timestamp,
    trace_parent::TraceParent,
};

/// Server time at the beginning of every sequence. It lies far ahead, so that a server that deletes by its
/// own clock does not take records from under a test that gives the time.
pub const START: Timestamp = Timestamp::from_millis(4_102_444_800_000);
/// How long the records of a sequence are kept once final, in milliseconds.
pub const RETENTION_MS: u64 = 60_000;

const TRANSACTIONS: u64 = 4;
const TIMEOUT_MS: u64 = 20_000;
const LEASE_MS: u64 = 3_000;
const REMEMBERED_MAX: usize = 16;
const ACTIONS: [&str; 4] = ["stock.reserve@1", "stock.reserve@2", "pay.authorize@1", "mail.book@1"];
const PARTICIPANTS: [&str; 3] = ["stock", "pay", "mail"];

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "one is made at a time, and taken apart at once")]
pub enum Step {
    /// Apply this operation to this transaction, then let the generator [`hear`](Generator::hear).
    Apply(Gid, Op),
    /// Move the server's clock by this many milliseconds, back if negative.
    Clock(i64),
}

/// Yields a sequence. All its transactions are of shard 0; ids and keys differ from seed to seed, so that
/// many sequences can run on one store.
#[derive(Clone, Debug)]
pub struct Generator {
    random: Random,
    seed: u64,
    now: Timestamp,
    transactions: Vec<Transaction>,
    /// How many in a hundred operations are what an honest runtime sends next if nothing goes wrong.
    smooth_percent: u64,
}

impl Generator {
    /// The sequence of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::with(seed, 0)
    }

    /// The sequence of a seed in which little goes wrong: most transactions are registered, decided and ended
    /// in three operations.
    #[must_use]
    pub fn smooth(seed: u64) -> Self {
        Self::with(seed, 85)
    }

    fn with(seed: u64, smooth_percent: u64) -> Self {
        let mut generator = Self {
            random: Random(seed),
            seed,
            smooth_percent,
            now: START,
            transactions: Vec::with_capacity(TRANSACTIONS as usize),
        };
        for _ in 0..TRANSACTIONS {
            let transaction = generator.transaction();
            generator.transactions.push(transaction);
        }
        generator
    }

    /// The next step. There is always one.
    pub fn step(&mut self) -> Step {
        if self.random.chance(14) {
            return Step::Clock(self.clock());
        }
        let place = self.random.below(TRANSACTIONS) as usize;
        if self.transactions[place].is_over() {
            self.transactions[place] = self.transaction();
        }
        let transaction = &mut self.transactions[place];
        let random = &mut self.random;
        let is_smooth = self.smooth_percent > 0 && random.chance(self.smooth_percent);
        let smooth = if is_smooth { transaction.smooth_op(random) } else { None };
        let op = smooth.unwrap_or_else(|| {
            let repeated =
                if random.chance(12) { random.pick_from(transaction.sent.iter()).cloned() } else { None };
            repeated.unwrap_or_else(|| transaction.op(random, self.now))
        });
        transaction.remember(&op);
        Step::Apply(transaction.create.gid.clone(), op)
    }

    /// Hears the answer to the step yielded last, so that the next ones can build on it. Leaving it out
    /// is like losing the answer.
    pub fn hear(&mut self, gid: &Gid, op: &Op, applied: &Applied) {
        self.now = applied.now;
        if let Some(transaction) = self.transactions.iter_mut().find(|one| one.create.gid == *gid) {
            transaction.hear(&mut self.random, op, &applied.result);
        }
    }

    fn clock(&mut self) -> i64 {
        let (from, to) = match self.random.below(100) {
            0..60 => (0, 200),
            60..80 => (200, 3_500),
            80..92 => (3_500, 12_000),
            92..96 => (12_000, 40_000),
            96..97 => (RETENTION_MS, 2 * RETENTION_MS),
            _ => return -(self.random.below(5_000) as i64),
        };
        (from + self.random.below(to - from)) as i64
    }

    fn transaction(&mut self) -> Transaction {
        let random = &mut self.random;
        let key =
            random.chance(50).then(|| text::<BusinessKey>(&format!("{}/{}", self.seed, random.below(2))));
        let timeout = Duration::from_millis(if random.chance(3) { 0 } else { TIMEOUT_MS });
        let create = Create {
            gid: Gid::new(self.now, random.next(), 0),
            name: text("checkout"),
            key,
            initiator: text("initiator"),
            deadline_at: self.now + timeout,
            lease_ms: 1 + random.below(3 * LEASE_MS),
            retention_ms: RETENTION_MS,
        };
        Transaction {
            create,
            acknowledged: false,
            decided: false,
            tries: BTreeMap::new(),
            candid: true,
            drives: VecDeque::new(),
            ended: BTreeSet::new(),
            sent: VecDeque::new(),
            operations_left: if self.smooth_percent == 0 {
                25 + random.below(70)
            } else {
                4 + random.below(6)
            },
        }
    }
}

/// What a sequence knows of one transaction.
#[derive(Clone, Debug)]
struct Transaction {
    create: Create,
    acknowledged: bool,
    decided: bool,
    tries: BTreeMap<Ordinal, (NewBranch, Known)>,
    /// Whether every try was told as it was.
    candid: bool,
    drives: VecDeque<Driven>,
    /// Branches whose end was answered.
    ended: BTreeSet<Ordinal>,
    sent: VecDeque<Op>,
    operations_left: u64,
}

#[derive(Clone, Debug)]
struct Driven {
    ordinal: Ordinal,
    epoch: u64,
    direction: Direction,
    seen: Seen,
    token: Token,
}

impl Transaction {
    fn is_over(&self) -> bool {
        self.operations_left == 0
    }

    fn remember(&mut self, op: &Op) {
        self.operations_left -= 1;
        let is_so =
            |ordinal: &Ordinal, told: &Known| self.tries.get(ordinal).is_some_and(|(_, known)| known == told);
        self.candid &= match op {
            Op::Report(report) => report.tries.iter().all(|told| is_so(&told.ordinal, &told.known)),
            Op::Decide(decide) => decide
                .heard
                .iter()
                .all(|told| told.known.as_ref().is_none_or(|known| is_so(&told.ordinal, known))),
            _ => true,
        };
        if self.sent.len() == REMEMBERED_MAX {
            self.sent.pop_front();
        }
        self.sent.push_back(op.clone());
    }

    /// What comes next if nothing goes wrong.
    fn smooth_op(&self, random: &mut Random) -> Option<Op> {
        if !self.acknowledged {
            let branches = (1..=1 + random.below(3)).map(|place| NewBranch {
                call: CallId::top(place as u32),
                runner: None,
                action: text(random.pick(&ACTIONS)),
                trace: trace(random),
                arguments: arguments(random),
            });
            let branches = branches.collect();
            let create = Some(self.create.clone());
            return Some(Register { create, branches, branches_max: 6, payload_bytes_max: 4_096 }.into());
        }
        if self.decided {
            return self.smooth_phase_two(random);
        }
        let cancels = random.chance(20);
        let heard = self.tries.iter().map(|(ordinal, (_, known))| {
            let known = Some(known.clone()).filter(|_| !cancels || random.chance(70));
            Heard { ordinal: *ordinal, known }
        });
        let heard: Vec<_> = heard.collect();
        let is_refused = heard.iter().any(|heard| heard.known == Some(Known::Refused));
        let (direction, reason) = if cancels || is_refused {
            (Direction::Cancel, Reason::Aborted)
        } else {
            (Direction::Confirm, Reason::Committed)
        };
        // The decider drives all, those of some participants, or none.
        let hosted: Vec<&str> = match random.below(3) {
            0 => PARTICIPANTS.to_vec(),
            1 => PARTICIPANTS.into_iter().filter(|_| random.chance(50)).collect(),
            _ => Vec::new(),
        };
        let tried = self.tries.iter().map(|(ordinal, (new, _))| (*ordinal, new.action.clone()));
        let (branches, actions): (Vec<_>, _) =
            tried.filter(|(_, action)| hosted.contains(&action.participant())).unzip();
        let (token, lease_ms) = (Token(random.next()), 1 + random.below(2 * LEASE_MS));
        let inline = (!branches.is_empty()).then_some(InlineClaim { token, lease_ms, branches, actions });
        let by = text(if random.chance(90) { "initiator" } else { "successor" });
        Some(Decide { direction, reason, by, create: None, heard, inline }.into())
    }

    /// Claims what was rung for, all together or by participant, and ends what was claimed, all or some of it.
    fn smooth_phase_two(&self, random: &mut Random) -> Option<Op> {
        let is_driven = |ordinal: &Ordinal| self.drives.iter().any(|drive| drive.ordinal == *ordinal);
        let waiting = self.tries.iter().filter(|(ordinal, _)| !is_driven(ordinal));
        let waiting: BTreeSet<&str> = waiting.map(|(_, (new, _))| new.action.participant()).collect();
        let open =
            self.drives.iter().filter(|drive| drive.epoch == 1 && !self.ended.contains(&drive.ordinal));
        let open: Vec<_> = open.collect();
        if !waiting.is_empty() && (open.is_empty() || random.chance(60)) {
            let together = random.chance(50);
            let participants = waiting.into_iter().filter(|_| together || random.chance(60));
            let participants = participants.map(text).collect();
            let (token, lease_ms) = (Token(random.next()), 1 + random.below(4 * LEASE_MS));
            let own = if together && random.chance(50) { self.own_commit() } else { None };
            return Some(ClaimWork { participants, token, lease_ms, except: Vec::new(), own }.into());
        }
        let all = random.chance(50);
        let drives = open.into_iter().filter(|_| all || random.chance(60)).map(|drive| CloseDrive {
            ordinal: drive.ordinal,
            epoch: drive.epoch,
            direction: drive.direction,
            how: How::Done { seen: drive.seen },
        });
        let drives: Vec<_> = drives.collect();
        (!drives.is_empty()).then(|| Close { drives }.into())
    }

    fn op(&self, random: &mut Random, now: Timestamp) -> Op {
        let weights: [u64; 11] = match (self.acknowledged, self.decided) {
            (false, _) => [40, 30, 2, 6, 1, 1, 1, 1, 2, 1, 1],
            (true, false) => [4, 32, 20, 22, 2, 1, 6, 2, 10, 1, 3],
            (true, true) => [2, 3, 14, 6, 28, 6, 1, 32, 12, 5, 6],
        };
        match random.weighted(&weights) {
            0 => self.begin(random).into(),
            1 => self.register(random).into(),
            2 => self.report(random).into(),
            3 => self.decide(random, now).into(),
            4 => self.claim(random).into(),
            5 => self.renew(random).into(),
            6 => KeepAlive { lease_ms: 1 + random.below(2 * LEASE_MS) }.into(),
            7 => self.close(random).into(),
            8 => Sweep { by: text("sweeper") }.into(),
            9 => self.redrive(random).into(),
            _ => self.operate(random).into(),
        }
    }

    fn begin(&self, random: &mut Random) -> Begin {
        let mut create = self.create.clone();
        if random.chance(5) {
            create.initiator = text("intruder");
        }
        if random.chance(3) {
            create.name = text("refund");
        }
        Begin { create, again_after_cancel: random.chance(50) }
    }

    fn register(&self, random: &mut Random) -> Register {
        let unacknowledged = !self.acknowledged || random.chance(5);
        let mut branches: Vec<NewBranch> =
            (0..1 + random.below(3)).map(|_| self.new_branch(random)).collect();
        if random.chance(4) {
            let mut twin = branches[0].clone();
            if random.chance(50) {
                twin.arguments = arguments(random);
            }
            branches.push(twin);
        }
        Register {
            create: unacknowledged.then(|| self.create.clone()),
            branches,
            branches_max: if random.chance(10) { random.below(4) as u32 } else { 6 },
            payload_bytes_max: if random.chance(10) { random.below(100) } else { 4_096 },
        }
    }

    fn new_branch(&self, random: &mut Random) -> NewBranch {
        let runner = random.chance(40).then(|| Token(random.below(3)));
        if random.chance(20)
            && let Some((known, _)) = random.pick_from(self.tries.values())
        {
            let mut again = known.clone();
            match random.below(10) {
                0 => again.arguments = arguments(random),
                5 => again.trace = trace(random),
                1 => again.action = text(random.pick(&ACTIONS)),
                2..5 => again.runner = runner,
                _ => {}
            }
            return again;
        }
        let call = CallId::top(1 + random.below(9) as u32);
        let known = self.tries.values().find(|(known, _)| known.call == call && !random.chance(10));
        match known {
            Some((known, _)) => known.clone(),
            None => {
                let action = text(random.pick(&ACTIONS));
                NewBranch { call, runner, action, trace: trace(random), arguments: arguments(random) }
            }
        }
    }

    fn report(&self, random: &mut Random) -> Report {
        let count = 1 + random.below(3);
        Report { tries: (0..count).map(|_| self.try_report(random)).collect() }
    }

    fn try_report(&self, random: &mut Random) -> TryReport {
        let ordinal = self.ordinal(random);
        let known = match self.tries.get(&ordinal) {
            Some((_, known)) if !random.chance(4) => known.clone(),
            _ => known(random),
        };
        TryReport { ordinal, known }
    }

    fn decide(&self, random: &mut Random, now: Timestamp) -> Decide {
        let commit = random.chance(if self.create.deadline_at <= now { 50 } else { 70 });
        let candid = random.chance(70);
        let mut heard = Vec::new();
        for (ordinal, (_, known)) in &self.tries {
            let (mut known, skip) = (Some(known.clone()), !candid && random.chance(15));
            if random.chance(if commit && candid { 0 } else { 35 }) {
                known = None;
            } else if !candid && random.chance(25) {
                known = Some(self::known(random));
            }
            if !skip {
                heard.push(Heard { ordinal: *ordinal, known });
            }
        }
        if !candid && random.chance(20) {
            let known = random.chance(50).then(|| known(random));
            heard.push(Heard { ordinal: Ordinal::from_index(8), known });
        }
        let reasons =
            [Reason::Aborted, Reason::Panicked, Reason::Dropped, Reason::Operator, Reason::PendingCall];
        let (direction, reason) = if commit {
            (Direction::Confirm, Reason::Committed)
        } else {
            (Direction::Cancel, random.pick(&reasons))
        };
        let claimed = if random.chance(50) { 100 } else { 75 };
        let inline = random.chance(50).then(|| {
            let (token, lease_ms) = (Token(random.next()), 1 + random.below(2 * LEASE_MS));
            let mine = self.tries.iter().filter(|_| random.chance(claimed));
            let (branches, actions) = mine.map(|(ordinal, (new, _))| (*ordinal, new.action.clone())).unzip();
            let actions = if random.chance(75) { actions } else { Vec::new() };
            InlineClaim { token, lease_ms, branches, actions }
        });
        let create = (!self.acknowledged || random.chance(5)).then(|| self.create.clone());
        Decide { direction, reason, by: text("initiator"), create, heard, inline }
    }

    fn claim(&self, random: &mut Random) -> ClaimWork {
        let earlier = if random.chance(12) { random.pick_from(self.drives.iter()) } else { None };
        let own = if random.chance(30) { self.own_commit() } else { None };
        let participants = if let Some(own) = &own {
            own.branches
                .iter()
                .map(|(action, _)| text(action.participant()))
                .collect::<BTreeSet<Name>>()
                .into_iter()
                .collect()
        } else if random.chance(30) {
            PARTICIPANTS.iter().filter(|_| random.chance(70)).map(|name| text(name)).collect()
        } else {
            vec![text(random.pick(&PARTICIPANTS))]
        };
        ClaimWork {
            participants,
            token: earlier.map_or_else(|| Token(random.next()), |drive| drive.token),
            lease_ms: 1 + random.below(3 * LEASE_MS),
            except: if random.chance(15) { vec![text(random.pick(&ACTIONS))] } else { Vec::new() },
            own,
        }
    }

    /// The transaction as its initiator committed it, if every try succeeded and was told so.
    fn own_commit(&self) -> Option<OwnCommit> {
        if !self.candid {
            return None;
        }
        let branches = self.tries.values().map(|(new, known)| match known {
            Known::Succeeded(result) => Some((new.action.clone(), result.clone())),
            Known::Refused => None,
        });
        let branches: Vec<_> = branches.collect::<Option<_>>()?;
        (!branches.is_empty()).then_some(OwnCommit { reason: Reason::Committed, branches })
    }

    fn renew(&self, random: &mut Random) -> Renew {
        let newest = self.drives.back().map_or(Token(1), |drive| drive.token);
        let token = if random.chance(10) { Token(random.next()) } else { newest };
        let mut branches: Vec<(Ordinal, u64)> = self
            .drives
            .iter()
            .filter(|drive| drive.token == token)
            .map(|drive| (drive.ordinal, drive.epoch))
            .collect();
        if branches.is_empty() || random.chance(10) {
            branches.push((self.ordinal(random), random.below(4)));
        }
        Renew { token, branches, lease_ms: 1 + random.below(3 * LEASE_MS) }
    }

    fn close(&self, random: &mut Random) -> Close {
        let count = 1 + random.below(3);
        let mut drives: Vec<CloseDrive> = (0..count).map(|_| self.close_drive(random)).collect();
        if random.chance(50) {
            drives.truncate(1);
        }
        Close { drives }
    }

    fn close_drive(&self, random: &mut Random) -> CloseDrive {
        let newest = self.drives.len().saturating_sub(3);
        let recent = random.chance(75);
        let drive = random.pick_from(self.drives.iter().skip(if recent { newest } else { 0 }));
        let mut close = CloseDrive {
            ordinal: self.ordinal(random),
            epoch: random.below(3),
            direction: random.pick(&variants::directions()),
            how: how(random, Seen::Unknown),
        };
        if let Some(drive) = drive {
            let Driven { ordinal, epoch, direction, seen, .. } = drive.clone();
            close = CloseDrive { ordinal, epoch, direction, how: how(random, seen) };
        }
        match random.below(60) {
            0 => close.ordinal = self.ordinal(random),
            1 => close.epoch = close.epoch.saturating_sub(1),
            2 => close.epoch += 1,
            3 => close.epoch = 0,
            4 => {
                close.direction = match close.direction {
                    Direction::Confirm => Direction::Cancel,
                    Direction::Cancel => Direction::Confirm,
                }
            }
            _ => {}
        }
        close
    }

    fn redrive(&self, random: &mut Random) -> Redrive {
        let count = random.below(3);
        Redrive { branches: (0..count).map(|_| self.ordinal(random)).collect() }
    }

    fn operate(&self, random: &mut Random) -> Operate {
        let drive = random.pick_from(self.drives.iter());
        let change = match (random.below(10), drive) {
            (0..2, _) => Change::Cancel,
            (2..4, _) => Change::Redrive { branches: self.redrive(random).branches },
            (4..9, Some(drive)) => Change::Resolve { branch: drive.ordinal, direction: drive.direction },
            _ => Change::Resolve {
                branch: self.ordinal(random),
                direction: random.pick(&variants::directions()),
            },
        };
        Operate { by: text("alice"), why: text("ticket 17 / ä"), change }
    }

    /// Mostly that of a branch there is.
    fn ordinal(&self, random: &mut Random) -> Ordinal {
        let known = random.pick_from(self.tries.keys()).copied();
        match known.filter(|_| !random.chance(4)) {
            Some(ordinal) => ordinal,
            None => Ordinal::from_index(random.below(9) as usize),
        }
    }

    fn hear(&mut self, random: &mut Random, op: &Op, result: &Result<Answer, Refusal>) {
        match (op, result) {
            (_, Ok(Answer::Begun(Begun::New))) => self.acknowledged = true,
            (_, Ok(Answer::Begun(Begun::Taken(_)))) => self.operations_left = self.operations_left.min(4),
            (Op::Register(register), Ok(Answer::Registered(registered))) => {
                self.acknowledged = true;
                for (new, registered) in register.branches.iter().zip(registered) {
                    self.tries.entry(registered.ordinal).or_insert_with(|| (new.clone(), known(random)));
                }
            }
            (Op::Decide(decide), Ok(Answer::Decided(decided))) => {
                (self.acknowledged, self.decided) = (true, true);
                if let Some(inline) = &decide.inline {
                    self.drive(inline.token, &decided.drives);
                }
            }
            (Op::Claim(work), Ok(Answer::Claimed(drives))) => self.drive(work.token, drives),
            (Op::Close(close), Ok(Answer::Closed(closes))) => {
                let ended = close.drives.iter().zip(&closes.drives);
                let ended = ended.filter(|(_, closed)| matches!(closed, Ok(Closed::Final)));
                self.ended.extend(ended.map(|(drive, _)| drive.ordinal));
            }
            (_, Ok(Answer::Operated(_))) => self.decided = true,
            (_, Ok(Answer::Swept(swept))) => self.decided |= swept.decided.is_some(),
            (_, Ok(Answer::Alive(Alive::Decided(_))) | Err(Refusal::AlreadyDecided(_))) => {
                self.decided = true
            }
            (_, Err(Refusal::TooLateToCreate)) => self.operations_left = self.operations_left.min(4),
            _ => {}
        }
    }

    fn drive(&mut self, token: Token, drives: &[Drive]) {
        for drive in drives {
            let seen = match drive.outcome {
                TryOutcome::Succeeded(_) => Seen::Succeeded,
                TryOutcome::Refused => Seen::Refused,
                TryOutcome::Unknown => Seen::Unknown,
            };
            if self.drives.len() == REMEMBERED_MAX {
                self.drives.pop_front();
            }
            let (ordinal, epoch, direction) = (drive.ordinal, drive.epoch, drive.direction);
            self.drives.push_back(Driven { ordinal, epoch, direction, seen, token });
        }
    }
}

fn known(random: &mut Random) -> Known {
    if random.chance(75) {
        Known::Succeeded(Payload::from_json(format!("{}", random.below(1_000))))
    } else {
        Known::Refused
    }
}

fn how(random: &mut Random, seen: Seen) -> How {
    let after_ms = random.below(LEASE_MS);
    let error = || "no answer".to_owned();
    match random.below(100) {
        0..3 => How::Done { seen: Seen::Unknown },
        3..58 => How::Done { seen },
        58..70 => How::Failed { after_ms, error: error() },
        70..77 => How::Ongoing { after_ms },
        77..90 => How::Park { cause: random.pick(&variants::park_causes()), error: error() },
        _ => How::Release { after_ms, unhandled: random.chance(50) },
    }
}

/// Most branches belong to no trace; some to one that says more than is kept.
fn trace(random: &mut Random) -> Option<TraceParent> {
    let version = *["00", "00", "01"].get(random.below(12) as usize)?;
    let more = if version == "00" { "" } else { "-more" };
    TraceParent::new(&format!("{version}-{:032x}-{:016x}-01{more}", random.next() | 1, random.next() | 1))
        .ok()
}

fn arguments(random: &mut Random) -> Payload {
    Payload::from_json(format!("{{\"n\":{}}}", random.below(1_000)))
}

fn text<T>(text: &str) -> T
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014): a sequence
/// must not change with the version of a dependency.
#[derive(Clone, Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }

    fn pick_from<T>(&mut self, of: impl ExactSizeIterator<Item = T>) -> Option<T> {
        let mut of = of;
        let place = self.below(of.len() as u64) as usize;
        of.nth(place)
    }

    fn weighted(&mut self, weights: &[u64]) -> usize {
        let mut left = self.below(weights.iter().sum());
        for (place, weight) in weights.iter().enumerate() {
            match left.checked_sub(*weight) {
                Some(rest) => left = rest,
                None => return place,
            }
        }
        0
    }
}
