//! One transaction on an in-memory store with a clock under the test's hand. Every operation is checked
//! against the invariants, and what it did is remembered for `coverage`.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    fmt,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::invariants::Snapshot;
use crate::{
    gid::Gid,
    machine::{
        Answer, Begin, Change, ClaimWork, Close, CloseDrive, Create, Decide, Decided, Drive, Heard, How,
        NewBranch, Op, Operate, Operated, Operation, Redrive, Refusal, Register, Registered, Report,
        Reported, Sweep, Swept, Transition, TryReport,
    },
    memory::MemoryStore,
    name::{CallId, Name, Ordinal},
    operator::AuditEntry,
    payload::Payload,
    record::{Branch, Closed, Direction, Known, Reason, Record, Seen, Token},
    testing::{sequences::START, variants},
    time::Timestamp,
};

/// From begin to deadline.
pub(super) const TIMEOUT_MS: u64 = 30_000;
/// The initiator's lease.
pub(super) const INITIATOR_MS: u64 = 10_000;
/// The lease of a claim.
pub(super) const LEASE_MS: u64 = 5_000;
/// How long a final record is kept.
pub(super) const RETENTION_MS: u64 = 60_000;

pub(super) const STOCK: &str = "stock.reserve@1";
pub(super) const PAY: &str = "pay.authorize@1";

thread_local! {
    static REACHED: RefCell<BTreeSet<Transition>> = const { RefCell::new(BTreeSet::new()) };
    static REFUSED: RefCell<BTreeSet<&'static str>> = const { RefCell::new(BTreeSet::new()) };
}

/// What a case reached, which must run on this thread.
pub(super) fn reached(case: fn()) -> (BTreeSet<Transition>, BTreeSet<&'static str>) {
    REACHED.take();
    REFUSED.take();
    case();
    (REACHED.take(), REFUSED.take())
}

pub(super) struct Scene {
    store: MemoryStore,
    clock: Arc<AtomicU64>,
    gid: Gid,
    before: Snapshot,
    saw: Vec<Transition>,
    tokens: u64,
}

impl Scene {
    /// Nothing is recorded.
    pub(super) fn new() -> Self {
        let clock = Arc::new(AtomicU64::new(START.as_millis()));
        let hand = clock.clone();
        let store = MemoryStore::with(1, move || Timestamp::from_millis(hand.load(Ordering::Relaxed)));
        let before = Snapshot::of(&store);
        Self { store, clock, gid: Gid::new(START, 1, 0), before, saw: Vec::new(), tokens: 100 }
    }

    /// A transaction without branches.
    pub(super) fn begun() -> Self {
        let mut scene = Self::new();
        scene.apply(begin(scene.create())).expect("begins");
        scene
    }

    /// These branches are being tried.
    pub(super) fn trying(actions: &[&str]) -> Self {
        let mut scene = Self::new();
        let create = Some(scene.create());
        let branches = actions.iter().zip(1..).map(|(action, n)| new_branch(n, action)).collect();
        scene.apply(Register { create, ..register(branches) }).expect("registers");
        scene
    }

    /// These tries succeeded.
    pub(super) fn tried(actions: &[&str]) -> Self {
        let mut scene = Self::trying(actions);
        for n in 1..=actions.len() {
            scene.report(n, succeeded());
        }
        scene
    }

    /// These tries succeeded and are to be confirmed.
    pub(super) fn confirming(actions: &[&str]) -> Self {
        let mut scene = Self::tried(actions);
        scene.commit();
        scene
    }

    /// Nothing is known of these tries, and they are to be cancelled.
    pub(super) fn cancelling(actions: &[&str]) -> Self {
        let mut scene = Self::trying(actions);
        scene.cancel();
        scene
    }

    pub(super) fn create(&self) -> Create {
        Create {
            gid: self.gid.clone(),
            name: text("checkout"),
            key: None,
            initiator: text("initiator"),
            deadline_at: self.now() + ms(TIMEOUT_MS),
            lease_ms: INITIATOR_MS,
            retention_ms: RETENTION_MS,
        }
    }

    /// Turns to another transaction on the same store, which may not exist yet.
    pub(super) fn turn_to(&mut self, number: u64) {
        self.gid = Gid::new(START, number, 0);
    }

    pub(super) fn apply<O: Operation>(&mut self, op: O) -> Result<O::Answer, Refusal> {
        let op: Op = op.into_op();
        let now = self.now();
        let (applied, saw) = self.store.apply_now(&self.gid, &op);
        let after = Snapshot::of(&self.store);
        self.before.check_step(&after, &self.gid, &op, &applied.result, now);
        after.check(now);
        after.check_repetition(&self.gid, &op, &applied.result, now);
        self.before = after;
        self.saw = saw;
        REACHED.with_borrow_mut(|reached| reached.extend(&self.saw));
        let closes = match &applied.result {
            Ok(Answer::Closed(closes)) => closes.drives.as_slice(),
            _ => &[],
        };
        let refused =
            closes.iter().filter_map(|close| close.as_ref().err()).chain(applied.result.as_ref().err());
        REFUSED.with_borrow_mut(|names| names.extend(refused.map(variants::refusal_name)));
        applied.result.map(|answer| O::answer(answer).expect("the operation's own answer"))
    }

    /// The same operation, whose refusal is expected.
    pub(super) fn refused<O: Operation<Answer: fmt::Debug>>(&mut self, op: O) -> Refusal {
        let refusal = self.apply(op).expect_err("is refused");
        assert!(self.saw.is_empty(), "a refused operation went through {:?}", self.saw);
        refusal
    }

    pub(super) fn wait(&mut self, millis: u64) {
        self.clock.fetch_add(millis, Ordering::Relaxed);
        let after = Snapshot::of(&self.store);
        self.before.check_forgotten(&after, self.now());
        after.check(self.now());
        self.before = after;
    }

    pub(super) fn lose_record(&mut self) {
        self.store.lose(&self.gid);
        self.before = Snapshot::of(&self.store);
    }

    pub(super) fn register(&mut self, branches: Vec<NewBranch>) -> Result<Vec<Registered>, Refusal> {
        self.apply(register(branches))
    }

    pub(super) fn report(&mut self, n: usize, known: Known) -> Reported {
        let tries = vec![TryReport { ordinal: nth(n), known }];
        self.apply(Report { tries }).expect("reports")[0]
    }

    /// Commits with all that the record knows.
    pub(super) fn commit(&mut self) -> Decided {
        let heard = self.record().branches().map(|(ordinal, branch)| Heard { ordinal, known: known(branch) });
        let decide = commit(heard.collect());
        self.apply(decide).expect("decides")
    }

    /// Cancels, having heard of nothing.
    pub(super) fn cancel(&mut self) -> Decided {
        self.apply(cancel(Reason::Aborted)).expect("decides")
    }

    /// Claims what a participant has, with a token of its own.
    pub(super) fn claim(&mut self, participant: &str) -> Vec<Drive> {
        self.tokens += 1;
        self.apply(claim(participant, self.tokens)).expect("claims")
    }

    /// Claims the one branch a participant has.
    pub(super) fn claim_one(&mut self, participant: &str) -> Drive {
        let mut drives = self.claim(participant);
        assert_eq!(drives.len(), 1, "one branch is due");
        drives.remove(0)
    }

    pub(super) fn close(&mut self, drive: &Drive, how: How) -> Result<Closed, Refusal> {
        let mut closes = self.apply(Close { drives: vec![close(drive, how)] }).expect("closes");
        closes.drives.remove(0)
    }

    /// Claims and finishes everything a participant has.
    pub(super) fn finish(&mut self, participant: &str) {
        for drive in self.claim(participant) {
            assert_eq!(self.close(&drive, done(&drive)), Ok(Closed::Final));
        }
    }

    /// Claims and parks everything a participant has.
    pub(super) fn park(&mut self, participant: &str) {
        for drive in self.claim(participant) {
            let how = How::Park { cause: crate::record::ParkCause::Handler, error: "no such hold".into() };
            assert_eq!(self.close(&drive, how), Ok(Closed::Parked));
        }
    }

    pub(super) fn sweep(&mut self) -> Swept {
        self.apply(sweep()).expect("sweeps")
    }

    pub(super) fn redrive(&mut self, branches: &[usize]) -> Result<usize, Refusal> {
        self.apply(Redrive { branches: branches.iter().map(|n| nth(*n)).collect() })
    }

    pub(super) fn operate(&mut self, change: Change) -> Result<Operated, Refusal> {
        self.apply(operate(change))
    }

    /// What the audit holds.
    pub(super) fn audited(&self) -> Vec<AuditEntry> {
        self.store.audited()
    }

    pub(super) fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.clock.load(Ordering::Relaxed))
    }

    pub(super) fn gid(&self) -> Gid {
        self.gid.clone()
    }

    /// What the newest operation went through.
    pub(super) fn saw(&self) -> &[Transition] {
        &self.saw
    }

    pub(super) fn snapshot(&self) -> &Snapshot {
        &self.before
    }

    pub(super) fn exists(&self) -> bool {
        self.before.records.contains_key(&self.gid)
    }

    pub(super) fn record(&self) -> &Record {
        &self.before.records[&self.gid]
    }

    pub(super) fn branch(&self, n: usize) -> &Branch {
        &self.record().branches[n - 1]
    }

    /// In how many milliseconds the transaction's timer runs out; none if it has.
    pub(super) fn timer(&self) -> Option<u64> {
        self.before.timers.get(&self.gid).map(|at| at.as_millis().saturating_sub(self.now().as_millis()))
    }

    /// Participants a message of the transaction stands for.
    pub(super) fn standing(&self) -> Vec<&str> {
        let ours = self.before.standing.iter().filter(|bell| bell.gid == self.gid);
        ours.map(|bell| bell.participant.as_str()).collect()
    }
}

pub(super) fn text<T: FromStr<Err: fmt::Debug>>(text: &str) -> T {
    text.parse().expect("valid text")
}

pub(super) fn ms(millis: u64) -> std::time::Duration {
    std::time::Duration::from_millis(millis)
}

/// The `n`th branch, counted from 1.
pub(super) fn nth(n: usize) -> Ordinal {
    Ordinal::from_index(n - 1)
}

pub(super) fn succeeded() -> Known {
    Known::Succeeded(Payload::from_json("{\"hold\":7}"))
}

/// What the record knows of a try.
pub(super) fn known(branch: &Branch) -> Option<Known> {
    match branch.known? {
        Seen::Succeeded => branch.result.clone().map(Known::Succeeded),
        Seen::Refused => Some(Known::Refused),
        Seen::Unknown => None,
    }
}

pub(super) fn begin(create: Create) -> Begin {
    Begin { create, again_after_cancel: false }
}

/// The initiator's `n`th call.
pub(super) fn new_branch(n: u32, action: &str) -> NewBranch {
    let arguments = Payload::from_json(format!("{{\"n\":{n}}}"));
    NewBranch { call: CallId::top(n), runner: None, action: text(action), trace: None, arguments }
}

pub(super) fn register(branches: Vec<NewBranch>) -> Register {
    Register { create: None, branches, branches_max: 1_000, payload_bytes_max: 1 << 22 }
}

pub(super) fn commit(heard: Vec<Heard>) -> Decide {
    let (direction, reason) = (Direction::Confirm, Reason::Committed);
    Decide { direction, reason, by: text("initiator"), create: None, heard, inline: None }
}

pub(super) fn cancel(reason: Reason) -> Decide {
    Decide { direction: Direction::Cancel, reason, ..commit(Vec::new()) }
}

pub(super) fn heard(n: usize, known: Option<Known>) -> Heard {
    Heard { ordinal: nth(n), known }
}

pub(super) fn claim(participant: &str, token: u64) -> ClaimWork {
    ClaimWork {
        participants: vec![text::<Name>(participant)],
        token: Token(token),
        lease_ms: LEASE_MS,
        except: Vec::new(),
        own: None,
    }
}

pub(super) fn close(drive: &Drive, how: How) -> CloseDrive {
    let Drive { ordinal, epoch, direction, .. } = *drive;
    CloseDrive { ordinal, epoch, direction, how }
}

/// The handler finished, having been told what its drive was.
pub(super) fn done(drive: &Drive) -> How {
    How::Done { seen: super::seen(&drive.outcome) }
}

pub(super) fn failed(after_ms: u64) -> How {
    How::Failed { after_ms, error: "connection reset".into() }
}

pub(super) fn operate(change: Change) -> Operate {
    Operate { by: text("alice"), why: text("ticket 17"), change }
}

pub(super) fn resolve(n: usize, direction: Direction) -> Change {
    Change::Resolve { branch: nth(n), direction }
}

pub(super) fn sweep() -> Sweep {
    Sweep { by: text("sweeper") }
}
