//! What a runtime has measured, a handle for each series.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use super::{
    ALARMS, BEGUN, CALL_DURATION, CALLS, COMPLETE, DECIDED, DUPLICATES, DURATION, EMPTY_CANCELS, FINISHED,
    LATE_TRIES, NAMES_MAX, OLDEST, OPEN, OTHER, PARKED, RECOVERY_LAG, RETRIES, STATES, STORE_DURATION,
    STORE_ERRORS, UNREADABLE,
    instrument::{self, Counter, Gauge, Histogram},
};
use crate::{
    gid::Gid,
    machine::{Drive, How, Op},
    name::{ActionName, Name},
    outcome::TryOutcome,
    record::{Decision, Direction, ParkCause, Reason, Record, Seen, TransactionState},
    store::StoreErrorKind,
    time::Timestamp,
};

const TRY_OUTCOMES: [&str; 3] = ["succeeded", "refused", "unknown"];
const PHASE_OUTCOMES: [&str; 6] = ["done", "failed", "ongoing", "parked", "released", "lost"];
const ENDS: [TransactionState; 2] = [TransactionState::Confirmed, TransactionState::Cancelled];
const DIRECTIONS: [Direction; 2] = [Direction::Confirm, Direction::Cancel];
const ERROR_KINDS: [(StoreErrorKind, &str); 4] = [
    (StoreErrorKind::Unavailable, "unavailable"),
    (StoreErrorKind::Full, "full"),
    (StoreErrorKind::Corrupt, "corrupt"),
    (StoreErrorKind::Misconfigured, "misconfigured"),
];
const CAUSES: [(ParkCause, &str); 5] = [
    (ParkCause::AttemptsExhausted, "attempts_exhausted"),
    (ParkCause::OngoingTooLong, "ongoing_too_long"),
    (ParkCause::Handler, "handler"),
    (ParkCause::Undecodable, "undecodable"),
    (ParkCause::UnknownAction, "unknown_action"),
];
const REASONS: [(Reason, &str); 12] = [
    (Reason::Committed, "committed"),
    (Reason::Aborted, "aborted"),
    (Reason::Panicked, "panicked"),
    (Reason::Dropped, "dropped"),
    (Reason::DeadlinePassed, "deadline_passed"),
    (Reason::InitiatorLost, "initiator_lost"),
    (Reason::Operator, "operator"),
    (Reason::UnnamedBranch, "unnamed_branch"),
    (Reason::UnknownOutcome, "unknown_outcome"),
    (Reason::OutcomeConflict, "outcome_conflict"),
    (Reason::LostBranch, "lost_branch"),
    (Reason::PendingCall, "pending_call"),
];

/// A call of the store, as metrics name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StoreCall {
    Begin,
    Register,
    Report,
    Decide,
    Claim,
    Renew,
    KeepAlive,
    Close,
    Sweep,
    Operate,
    Load,
    Find,
    Due,
    Open,
    Now,
    Alarms,
    Other,
}

const STORE_CALLS: [(StoreCall, &str); 17] = [
    (StoreCall::Begin, "begin"),
    (StoreCall::Register, "register"),
    (StoreCall::Report, "report"),
    (StoreCall::Decide, "decide"),
    (StoreCall::Claim, "claim"),
    (StoreCall::Renew, "renew"),
    (StoreCall::KeepAlive, "keep_alive"),
    (StoreCall::Close, "close"),
    (StoreCall::Sweep, "sweep"),
    (StoreCall::Operate, "operate"),
    (StoreCall::Load, "load"),
    (StoreCall::Find, "find"),
    (StoreCall::Due, "due"),
    (StoreCall::Open, "open"),
    (StoreCall::Now, "now"),
    (StoreCall::Alarms, "alarms"),
    (StoreCall::Other, "other"),
];

impl StoreCall {
    pub(crate) fn of(op: &Op) -> Self {
        match op {
            Op::Begin(_) => Self::Begin,
            Op::Register(_) => Self::Register,
            Op::Report(_) => Self::Report,
            Op::Decide(_) => Self::Decide,
            Op::Claim(_) => Self::Claim,
            Op::Renew(_) => Self::Renew,
            Op::KeepAlive(_) => Self::KeepAlive,
            Op::Close(_) => Self::Close,
            Op::Sweep(_) => Self::Sweep,
            Op::Redrive(_) | Op::Operate(_) => Self::Operate,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Meter {
    actions: BTreeMap<ActionName, ActionMeter>,
    names: Mutex<BTreeMap<Name, Arc<NameMeter>>>,
    other: Arc<NameMeter>,
    decided: Vec<Counter>,
    open: Vec<Gauge>,
    oldest: Vec<Gauge>,
    parked: Vec<Gauge>,
    unreadable: Gauge,
    complete: Gauge,
    recovery_lag: Histogram,
    store: Vec<(Histogram, Vec<Counter>)>,
    alarms: Vec<(&'static str, [Counter; 2])>,
}

#[derive(Debug)]
struct ActionMeter {
    tries: Vec<Counter>,
    try_duration: Histogram,
    phases: Vec<PhaseMeter>,
    duplicates: Counter,
    empty_cancels: Counter,
    late_tries: Counter,
}

#[derive(Debug)]
struct PhaseMeter {
    outcomes: Vec<Counter>,
    duration: Histogram,
    retries: Counter,
}

#[derive(Debug)]
struct NameMeter {
    begun: Counter,
    ends: Vec<(Counter, Histogram)>,
}

fn word(direction: Direction) -> &'static str {
    match direction {
        Direction::Confirm => "confirm",
        Direction::Cancel => "cancel",
    }
}

fn place<T: PartialEq>(list: &[(T, &str)], wanted: &T) -> Option<usize> {
    list.iter().position(|(one, _)| one == wanted)
}

impl ActionMeter {
    fn new(action: &ActionName) -> Self {
        let action = action.to_string();
        let action = action.as_str();
        let phase = |phase: &str| PhaseMeter {
            outcomes: PHASE_OUTCOMES.iter().map(|end| Counter::new(&CALLS, &[action, phase, end])).collect(),
            duration: Histogram::new(&CALL_DURATION, &[action, phase]),
            retries: Counter::new(&RETRIES, &[action, phase]),
        };
        Self {
            tries: TRY_OUTCOMES.iter().map(|end| Counter::new(&CALLS, &[action, "try", end])).collect(),
            try_duration: Histogram::new(&CALL_DURATION, &[action, "try"]),
            phases: DIRECTIONS.into_iter().map(|direction| phase(word(direction))).collect(),
            duplicates: Counter::new(&DUPLICATES, &[action]),
            empty_cancels: Counter::new(&EMPTY_CANCELS, &[action]),
            late_tries: Counter::new(&LATE_TRIES, &[action]),
        }
    }
}

impl NameMeter {
    fn new(name: &str) -> Self {
        let end = |end: TransactionState| {
            let end = end.to_string();
            (Counter::new(&FINISHED, &[name, &end]), Histogram::new(&DURATION, &[name, &end]))
        };
        Self { begun: Counter::new(&BEGUN, &[name]), ends: ENDS.into_iter().map(end).collect() }
    }
}

impl Meter {
    /// The meter of a runtime that hosts these actions. Without the feature it holds next to nothing.
    pub(crate) fn new<'a>(actions: impl Iterator<Item = &'a ActionName>) -> Self {
        instrument::describe();
        let actions = actions.filter(|_| cfg!(feature = "metrics"));
        let state =
            |metric| STATES.into_iter().map(|state| Gauge::new(metric, &[&state.to_string()])).collect();
        let reason = |(reason, word): &(Reason, &str)| {
            let decision = if *reason == Reason::Committed { "confirm" } else { "cancel" };
            Counter::new(&DECIDED, &[decision, word])
        };
        let call = |(_, call): &(StoreCall, &str)| {
            let errors = ERROR_KINDS.iter().map(|(_, kind)| Counter::new(&STORE_ERRORS, &[call, kind]));
            (Histogram::new(&STORE_DURATION, &[call]), errors.collect())
        };
        let alarm = |alarm| (alarm, ["told", "failed"].map(|end| Counter::new(&ALARMS, &[alarm, end])));
        Self {
            actions: actions.map(|action| (action.clone(), ActionMeter::new(action))).collect(),
            names: Mutex::default(),
            other: Arc::new(NameMeter::new(OTHER)),
            decided: REASONS.iter().map(reason).collect(),
            open: state(&OPEN),
            oldest: state(&OLDEST),
            parked: CAUSES.iter().map(|(_, cause)| Gauge::new(&PARKED, &[cause])).collect(),
            unreadable: Gauge::new(&UNREADABLE, &[]),
            complete: Gauge::new(&COMPLETE, &[]),
            recovery_lag: Histogram::new(&RECOVERY_LAG, &[]),
            store: STORE_CALLS.iter().map(call).collect(),
            alarms: crate::alarm::KINDS.into_iter().map(alarm).collect(),
        }
    }

    /// The series of a name; without the feature none is kept.
    fn name(&self, name: &Name) -> Arc<NameMeter> {
        if !cfg!(feature = "metrics") {
            return Arc::clone(&self.other);
        }
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = names.get(name) {
            return Arc::clone(known);
        }
        if names.len() >= NAMES_MAX {
            return Arc::clone(&self.other);
        }
        let meter = Arc::new(NameMeter::new(name.as_str()));
        names.insert(name.clone(), Arc::clone(&meter));
        meter
    }

    pub(crate) fn begun(&self, name: &Name) {
        self.name(name).begun.increment(|| 1);
    }

    pub(crate) fn decided(&self, decision: &Decision) {
        if let Some(decided) = place(&REASONS, &decision.reason).and_then(|place| self.decided.get(place)) {
            decided.increment(|| 1);
        }
    }

    /// A transaction's last branch became final, at this time.
    pub(crate) fn finished(&self, gid: &Gid, name: Option<&Name>, state: TransactionState, now: Timestamp) {
        let meter = name.map_or_else(|| Arc::clone(&self.other), |name| self.name(name));
        let place = ENDS.iter().position(|end| *end == state);
        if let Some((count, duration)) = place.and_then(|place| meter.ends.get(place)) {
            count.increment(|| 1);
            duration.record(|| gid.begun_at().until(now).as_secs_f64());
        }
    }

    /// A try ended here, and took this long.
    pub(crate) fn tried(&self, action: &ActionName, outcome: Seen, took: impl FnOnce() -> Duration) {
        let Some(meter) = self.actions.get(action) else { return };
        let place = match outcome {
            Seen::Succeeded => 0,
            Seen::Refused => 1,
            Seen::Unknown => 2,
        };
        meter.tries[place].increment(|| 1);
        meter.try_duration.record(|| took().as_secs_f64());
    }

    pub(crate) fn duplicate(&self, action: &ActionName) {
        if let Some(meter) = self.actions.get(action) {
            meter.duplicates.increment(|| 1);
        }
    }

    pub(crate) fn late_try(&self, action: &ActionName) {
        if let Some(meter) = self.actions.get(action) {
            meter.late_tries.increment(|| 1);
        }
    }

    /// A handler of phase two ended here, and took this long.
    pub(crate) fn drove(&self, drive: &Drive, outcome: &str, took: impl FnOnce() -> Duration) {
        let Some(meter) = self.actions.get(&drive.action) else { return };
        let phase = match drive.direction {
            Direction::Confirm => &meter.phases[0],
            Direction::Cancel => &meter.phases[1],
        };
        if let Some(place) = PHASE_OUTCOMES.iter().position(|one| *one == outcome) {
            phase.outcomes[place].increment(|| 1);
        }
        phase.duration.record(|| took().as_secs_f64());
        if drive.attempt > 1 {
            phase.retries.increment(|| 1);
        }
        let blind = drive.direction == Direction::Cancel && matches!(drive.outcome, TryOutcome::Unknown);
        if blind && outcome == "done" {
            meter.empty_cancels.increment(|| 1);
        }
    }

    pub(crate) fn recovered(&self, lag: impl FnOnce() -> Duration) {
        self.recovery_lag.record(|| lag().as_secs_f64());
    }

    pub(crate) fn stored(
        &self,
        call: StoreCall,
        error: Option<StoreErrorKind>,
        took: impl FnOnce() -> Duration,
    ) {
        let Some((duration, errors)) = place(&STORE_CALLS, &call).and_then(|place| self.store.get(place))
        else {
            return;
        };
        duration.record(|| took().as_secs_f64());
        if let Some(error) = error.and_then(|kind| errors.get(place(&ERROR_KINDS, &kind)?)) {
            error.increment(|| 1);
        }
    }

    pub(crate) fn alarmed(&self, alarm: &str, told: bool) {
        if let Some((_, counters)) = self.alarms.iter().find(|(one, _)| *one == alarm) {
            counters[usize::from(!told)].increment(|| 1);
        }
    }

    /// What a look at the store came to, and whether it saw everything.
    pub(crate) fn surveyed(&self, tally: &Tally, complete: bool, now: Timestamp) {
        for (place, (open, oldest)) in self.open.iter().zip(&self.oldest).enumerate() {
            open.set(|| tally.open[place] as f64);
            oldest.set(|| tally.oldest[place].map_or(0.0, |begun| begun.until(now).as_secs_f64()));
        }
        for (place, parked) in self.parked.iter().enumerate() {
            parked.set(|| tally.parked[place] as f64);
        }
        self.unreadable.set(|| tally.unreadable as f64);
        self.complete.set(|| f64::from(u8::from(complete)));
    }
}

/// What stands open in the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    open: [u64; 3],
    oldest: [Option<Timestamp>; 3],
    parked: [u64; 5],
    unreadable: u64,
}

impl Tally {
    pub(crate) fn count(&mut self, record: &Record) {
        let Some(state) = STATES.iter().position(|state| *state == record.state) else { return };
        self.open[state] += 1;
        let oldest = &mut self.oldest[state];
        *oldest = Some(oldest.map_or(record.begun_at, |oldest| oldest.min(record.begun_at)));
        for parked in record.branches.iter().filter_map(|branch| branch.parked) {
            if let Some(cause) = place(&CAUSES, &parked.cause) {
                self.parked[cause] += 1;
            }
        }
    }

    pub(crate) fn count_unreadable(&mut self) {
        self.unreadable += 1;
    }

    /// At least what both say, where one is from before and the other not at its end yet.
    pub(crate) fn at_least(&self, other: &Self) -> Self {
        let mut both = self.clone();
        for (mine, theirs) in both.open.iter_mut().zip(other.open) {
            *mine = theirs.max(*mine);
        }
        for (mine, theirs) in both.oldest.iter_mut().zip(other.oldest) {
            *mine = [*mine, theirs].into_iter().flatten().min();
        }
        for (mine, theirs) in both.parked.iter_mut().zip(other.parked) {
            *mine = theirs.max(*mine);
        }
        both.unreadable = both.unreadable.max(other.unreadable);
        both
    }
}

/// How a handler of phase two ended, as metrics and spans say it.
pub(crate) fn outcome_of(how: Option<&How>) -> &'static str {
    match how {
        Some(How::Done { .. }) => "done",
        Some(How::Failed { .. }) => "failed",
        Some(How::Ongoing { .. }) => "ongoing",
        Some(How::Park { .. }) => "parked",
        Some(How::Release { .. }) => "released",
        None => "lost",
    }
}
