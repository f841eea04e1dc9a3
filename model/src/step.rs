//! One operation on one record: carried out by the real state machine, and judged.

use std::{
    collections::{BTreeSet, HashMap},
    hash::{BuildHasherDefault, Hash, Hasher},
    sync::{Mutex, MutexGuard, PoisonError},
};

use tcc_core::{
    Ordinal, Timestamp, TryOutcome,
    machine::{self, Answer, Drive as RealDrive, Due, Op, Refusal, Reported, Step, Transition},
    record::{Direction, Record, Seen},
};

use crate::{
    judge::Look,
    part::{BRANCHES_MAX, HIDDEN, Hidden, NOW, Names, Part},
    request::Spec,
    violation::Violation,
};

/// What an answer tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Reply {
    Done,
    Refused(Refused),
    /// Runs that are the caller's own, as bits of branches, and the outcomes known.
    Registered {
        yours: u8,
        known: [Option<Seen>; BRANCHES_MAX],
        places: [u8; BRANCHES_MAX],
    },
    Reported {
        lost: bool,
    },
    Decided {
        direction: Direction,
        lost: u8,
    },
    /// How one report was taken.
    Closed([Option<bool>; BRANCHES_MAX]),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Refused {
    NotFound,
    TooLateToCreate,
    Decided,
    DeadlinePassed,
    Other,
}

impl Refused {
    fn of(refusal: &Refusal) -> Self {
        match refusal {
            Refusal::NotFound => Self::NotFound,
            Refusal::TooLateToCreate => Self::TooLateToCreate,
            Refusal::AlreadyDecided(_) => Self::Decided,
            Refusal::DeadlinePassed => Self::DeadlinePassed,
            _ => Self::Other,
        }
    }
}

/// What a request did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stepped {
    pub(crate) after: Part,
    /// Branches that got a new epoch, as bits.
    pub(crate) claimed: u8,
    /// Branches handed to the caller, with what it is told of their tries.
    pub(crate) drives: [Option<Seen>; BRANCHES_MAX],
    pub(crate) reply: Reply,
    pub(crate) violation: Option<Violation>,
}

type Fast = BuildHasherDefault<FastHasher>;

/// Multiplies and rotates: keys here are small, many, and nobody's attack.
#[derive(Default)]
pub(crate) struct FastHasher(u64);

impl Hasher for FastHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u8(*byte);
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.write_u64(u64::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(5) ^ value).wrapping_mul(0x517c_c1b7_2722_0a95);
    }

    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }

    fn write_isize(&mut self, value: isize) {
        self.write_u64(value as u64);
    }

    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 29)
    }
}
type Shard<K, V> = Mutex<HashMap<K, V, Fast>>;
type StepKey = (Part, Spec, bool);

const SHARDS: usize = 16;

/// Carries out requests, each on each record once: what happened is remembered.
#[derive(Debug)]
pub(crate) struct Stepper {
    pub(crate) names: Names,
    steps: Vec<Shard<StepKey, Stepped>>,
    audits: Vec<Shard<(Part, bool), Option<Violation>>>,
    seen: Mutex<BTreeSet<Transition>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn shard<K: Hash>(key: &K) -> usize {
    let mut hasher = FastHasher::default();
    key.hash(&mut hasher);
    (hasher.finish() >> 40) as usize % SHARDS
}

impl Stepper {
    pub(crate) fn new(names: Names) -> Self {
        Self {
            names,
            steps: (0..SHARDS).map(|_| Mutex::default()).collect(),
            audits: (0..SHARDS).map(|_| Mutex::default()).collect(),
            seen: Mutex::default(),
        }
    }

    /// Transitions of the state machine that have happened so far.
    pub(crate) fn transitions(&self) -> BTreeSet<Transition> {
        lock(&self.seen).clone()
    }

    /// Distinct pairs of a record and a request so far.
    pub(crate) fn distinct_steps(&self) -> usize {
        self.steps.iter().map(|shard| lock(shard).len()).sum()
    }

    pub(crate) fn step(&self, part: &Part, spec: Spec, deadline_passed: bool) -> Stepped {
        let key = (*part, spec, deadline_passed);
        let shard = &self.steps[shard(&key)];
        if let Some(stepped) = lock(shard).get(&key) {
            return *stepped;
        }
        let stepped = self.compute(part, spec, deadline_passed);
        lock(shard).insert(key, stepped);
        stepped
    }

    /// Judges a record by itself: what it says, what stray requests do to it, and whether it comes to an
    /// end when left to live workers and a sweeper.
    pub(crate) fn audit(&self, part: &Part, deadline_passed: bool) -> Option<Violation> {
        if !part.exists {
            return None;
        }
        let key = (*part, deadline_passed);
        let shard = &self.audits[shard(&key)];
        if let Some(violation) = lock(shard).get(&key) {
            return *violation;
        }
        let violation = crate::audit::audit(self, part, deadline_passed).err();
        lock(shard).insert(key, violation);
        violation
    }

    /// Applies an operation to a real record and its timer.
    pub(crate) fn apply(
        &self,
        slot: &mut Option<Record>,
        timer: &mut Option<Timestamp>,
        op: &Op,
        now: Timestamp,
    ) -> Step {
        let step = machine::apply(slot, None, op, now);
        match step.effects.due {
            Due::Keep => {}
            Due::Set(at) => *timer = Some(at),
            Due::Earlier(at) => *timer = Some(timer.map_or(at, |before| before.min(at))),
            Due::Remove => *timer = None,
        }
        let mut seen = lock(&self.seen);
        seen.extend(step.transitions.iter().copied());
        step
    }

    fn compute(&self, part: &Part, spec: Spec, deadline_passed: bool) -> Stepped {
        let mut first: Option<Stepped> = None;
        for hidden in &HIDDEN {
            let stepped = self.compute_with(part, spec, deadline_passed, hidden);
            match first {
                None if stepped.violation.is_some() => return stepped,
                None => first = Some(stepped),
                Some(first) if first == stepped => {}
                Some(first) => {
                    let violation = stepped.violation.or(Some(Violation::HiddenActed));
                    return Stepped { violation, ..first };
                }
            }
        }
        first.unwrap_or_else(|| unreachable!("there is a way to fill in what is hidden"))
    }

    fn compute_with(&self, part: &Part, spec: Spec, deadline_passed: bool, hidden: &Hidden) -> Stepped {
        let before = self.names.decode(part, hidden, deadline_passed);
        let op = self.names.materialise(spec, part, before.as_ref(), hidden, deadline_passed);
        let mut after = before.clone();
        let mut timer = latest_timer(part, before.as_ref());
        let step = self.apply(&mut after, &mut timer, &op, NOW);
        let mut stepped = Stepped {
            after: *part,
            claimed: 0,
            drives: [None; BRANCHES_MAX],
            reply: Reply::Done,
            violation: None,
        };
        let judged = self.read_answer(&step, &mut stepped, after.as_ref()).and_then(|()| {
            stepped.after = self.names.encode(after.as_ref(), timer.is_some())?;
            stepped.claimed = claimed(&self.names, before.as_ref(), after.as_ref());
            let look = Look { before: before.as_ref(), after: after.as_ref(), op: &op, step: &step };
            look.judge(spec, timer, deadline_passed)
        });
        let judged = judged.and_then(|()| self.judge_repeat(&op, after, timer, &step, &stepped));
        stepped.violation = judged.err();
        stepped
    }

    /// Rule 14: the same again, at once, changes nothing and gets the same answer.
    fn judge_repeat(
        &self,
        op: &Op,
        mut after: Option<Record>,
        mut timer: Option<Timestamp>,
        step: &Step,
        stepped: &Stepped,
    ) -> Result<(), Violation> {
        let again = self.apply(&mut after, &mut timer, op, NOW);
        let part = self.names.encode(after.as_ref(), timer.is_some())?;
        if part != stepped.after {
            return Err(Violation::RepeatActed);
        }
        let mut repeated =
            Stepped { reply: Reply::Done, drives: [None; BRANCHES_MAX], violation: None, ..*stepped };
        self.read_answer(&again, &mut repeated, after.as_ref())?;
        // A sweep or a redrive that did its work finds none the second time; reports say that they repeat.
        let same_answer = match op {
            Op::Sweep(_) | Op::Redrive(_) | Op::Report(_) => true,
            Op::Close(_) => repeated.reply == stepped.reply || step.result.is_err(),
            _ => repeated.reply == stepped.reply && repeated.drives == stepped.drives,
        };
        if same_answer { Ok(()) } else { Err(Violation::RepeatActed) }
    }

    fn read_answer(
        &self,
        step: &Step,
        stepped: &mut Stepped,
        after: Option<&Record>,
    ) -> Result<(), Violation> {
        let place = |ordinal: Ordinal| {
            let call = &after?.branch(ordinal)?.call;
            self.names.calls.iter().position(|known| known == call)
        };
        let mut read_drives = |drives: &[RealDrive]| -> Result<(), Violation> {
            for drive in drives {
                let index = place(drive.ordinal).ok_or(Violation::DriveMisled)?;
                let branch =
                    after.and_then(|record| record.branch(drive.ordinal)).ok_or(Violation::DriveMisled)?;
                let told = match &drive.outcome {
                    TryOutcome::Succeeded(result) if *result == self.names.results[index] => Seen::Succeeded,
                    TryOutcome::Succeeded(_) => return Err(Violation::PayloadMixed),
                    TryOutcome::Refused => Seen::Refused,
                    TryOutcome::Unknown => Seen::Unknown,
                };
                let direction = branch.state.open_direction();
                let right = drive.arguments.as_ref() == Some(&self.names.arguments[index])
                    && drive.action == self.names.actions[index]
                    && Some(drive.direction) == direction
                    && drive.epoch == branch.epoch
                    && told == branch.seen()
                    && (drive.direction == Direction::Cancel || told == Seen::Succeeded);
                if !right {
                    return Err(Violation::DriveMisled);
                }
                stepped.drives[index] = Some(told);
            }
            Ok(())
        };
        stepped.reply = match &step.result {
            Err(refusal) => Reply::Refused(Refused::of(refusal)),
            Ok(Answer::Registered(branches)) => {
                let (mut yours, mut known, mut places) = (0, [None; BRANCHES_MAX], [0; BRANCHES_MAX]);
                for branch in branches {
                    let index = place(branch.ordinal).ok_or(Violation::PayloadMixed)?;
                    yours |= u8::from(branch.yours) << index;
                    places[index] = branch.ordinal.index() as u8 + 1;
                    known[index] = match branch.outcome {
                        TryOutcome::Succeeded(_) => Some(Seen::Succeeded),
                        TryOutcome::Refused => Some(Seen::Refused),
                        TryOutcome::Unknown => None,
                    };
                }
                Reply::Registered { yours, known, places }
            }
            Ok(Answer::Reported(reported)) => Reply::Reported { lost: reported.contains(&Reported::Lost) },
            Ok(Answer::Decided(decided)) => {
                read_drives(&decided.drives)?;
                let lost = decided.lost.iter().fold(0, |bits, lost| bits | 1 << lost.index());
                Reply::Decided { direction: decided.decision.direction, lost }
            }
            Ok(Answer::Claimed(drives)) => {
                read_drives(drives)?;
                Reply::Done
            }
            Ok(Answer::Closed(closes)) => {
                let mut all = [None; BRANCHES_MAX];
                for (slot, closed) in all.iter_mut().zip(&closes.drives) {
                    *slot = Some(closed.is_ok());
                }
                Reply::Closed(all)
            }
            Ok(_) => Reply::Done,
        };
        Ok(())
    }
}

/// The latest a transaction's timer may stand at.
pub(crate) fn latest_timer(part: &Part, record: Option<&Record>) -> Option<Timestamp> {
    let far = Timestamp::from_millis(NOW.as_millis() + 1_000_000);
    part.timer.then(|| record.and_then(|record| record.due_at(NOW)).unwrap_or(far))
}

fn claimed(names: &Names, before: Option<&Record>, after: Option<&Record>) -> u8 {
    let (Some(before), Some(after)) = (before, after) else { return 0 };
    let bumped = before.branches.iter().zip(&after.branches).filter(|(old, new)| old.epoch != new.epoch);
    bumped.fold(0, |bits, (_, new)| {
        let index = names.calls.iter().position(|call| *call == new.call).unwrap_or(0);
        bits | 1 << index
    })
}
