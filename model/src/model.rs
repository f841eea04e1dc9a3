//! The model: configurations, states and what happens in them, as `stateright` asks for them.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicU64, Ordering},
};

use stateright::{Model, Property};
use tcc_core::{
    machine::Transition,
    record::{Direction, Seen},
};

use crate::{
    Config,
    action::{self, Action, Request, is_own},
    part::{BRANCHES_MAX, ClaimPart, Names, Owner, Part},
    properties,
    request::{How, Named, Spec},
    state::{Attempt, Decided, Drive, Gone, Row, Runner, Sent, State, Worker},
    step::{Refused, Reply, Stepped, Stepper},
    violation::Violation,
};

/// One configuration of the model.
#[derive(Debug)]
pub struct Tcc {
    pub(crate) config: Config,
    stepper: Stepper,
    pub(crate) marks: AtomicU64,
}

impl Tcc {
    /// The model of a configuration.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let names = Names::new(config.layout, config.reasons);
        Self { config, stepper: Stepper::new(names), marks: AtomicU64::new(0) }
    }

    /// Its configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Transitions of the state machine that have happened so far, in states or in what was tried on them.
    #[must_use]
    pub fn transitions(&self) -> BTreeSet<Transition> {
        self.stepper.transitions()
    }

    /// Distinct pairs of a record and a request so far.
    #[must_use]
    pub fn distinct_steps(&self) -> usize {
        self.stepper.distinct_steps()
    }

    pub(crate) fn marked(&self, bit: u32) -> bool {
        self.marks.load(Ordering::Relaxed) & (1 << bit) != 0
    }

    /// Whether this is the first time.
    pub(crate) fn mark(&self, bit: u32) -> bool {
        self.marks.fetch_or(1 << bit, Ordering::Relaxed) & (1 << bit) == 0
    }

    fn run(&self, state: &mut State, spec: Spec) -> Stepped {
        let stepped = self.stepper.step(&state.part, spec, state.deadline_passed);
        state.part = stepped.after;
        state.violation = state.violation.or(stepped.violation);
        for index in (0..BRANCHES_MAX).filter(|index| stepped.claimed & (1 << index) != 0) {
            age(state, index);
        }
        stepped
    }

    fn next(&self, state: &mut State, action: Action) {
        match action {
            Action::SendBegin => state.initiator.begin = Sent::Sent,
            Action::SendRegister(place) => {
                let create = !state.initiator.acked;
                let registration = &mut state.initiator.registrations[place];
                (registration.sent, registration.create) = (Sent::Sent, create);
            }
            Action::SendJoin(run) => {
                if let Some(joined) = self.config.joined {
                    state.locals[joined].runners[run] = Runner::Asked;
                }
            }
            Action::SendDecide(direction, inline) => self.send_decide(state, direction, inline),
            Action::SendCancel => state.operator.cancel = Sent::Sent,
            Action::Apply(request) => self.deliver(state, request, false),
            Action::Hear(request) => self.deliver(state, request, true),
            Action::Answer(_) => {
                if let Some(joined) = self.config.joined {
                    state.locals[joined].learned = true;
                    state.locals[joined].told = state.part.branches[joined].place;
                }
            }
            Action::Take(index) => self.take(state, index),
            Action::Succeed(index) => self.end(state, index, Attempt::Succeeded),
            Action::Refuse(index) => self.end(state, index, Attempt::Refused),
            Action::Crash => {
                state.initiator.crashed = true;
                for worker in &mut state.workers {
                    if *worker == Worker::Deciding {
                        *worker = Worker::Idle;
                    }
                }
            }
            Action::DeadlinePasses => state.deadline_passed = true,
            Action::LeasePasses => state.part.lease_passed = true,
            Action::ClaimExpires(index) => {
                if let ClaimPart::Open { expired, .. } = &mut state.part.branches[index].claim {
                    *expired = true;
                }
                for drive in state.locals[index].drives.iter_mut().flatten().filter(|drive| drive.current) {
                    drive.leased = false;
                }
            }
            Action::AttemptDue(index) => state.part.branches[index].due = true,
            Action::Lose => gone(state, Gone::Lost),
            Action::Forget => {
                gone(state, Gone::Expired);
                state.deadline_passed = true;
            }
            Action::Sweep => {
                self.run(state, Spec::Sweep);
            }
            Action::Redrive(branches) => {
                self.run(state, Spec::Redrive { branches });
            }
            Action::Claim(participant) => {
                if let Some(worker) = self.idle(state) {
                    let owner = Owner::Worker(worker as u8);
                    let stepped = self.run(state, Spec::Claim { participant, owner });
                    hand(state, worker, &stepped);
                }
            }
            Action::ClaimUnheard(participant) => {
                if let Some(worker) = self.idle(state) {
                    self.run(state, Spec::Claim { participant, owner: Owner::Worker(worker as u8) });
                    state.workers[worker] = Worker::Asking(participant);
                }
            }
            Action::ClaimAgain(worker) => {
                if let Worker::Asking(participant) = state.workers[worker] {
                    let owner = Owner::Worker(worker as u8);
                    let stepped = self.run(state, Spec::Claim { participant, owner });
                    state.workers[worker] = Worker::Idle;
                    hand(state, worker, &stepped);
                }
            }
            Action::GiveUp(worker) => state.workers[worker] = Worker::Idle,
            Action::Work(index, worker) => self.work(state, index, worker),
            Action::Report(index, worker, how) => self.report(state, index, worker, how),
            Action::WorkerCrash(worker) => {
                for local in &mut state.locals {
                    local.drives[worker] = None;
                }
            }
            Action::Renew(index) => {
                self.run(state, Spec::Renew { branch: index as u8 });
                let leased = state.part.branches[index].is_leased();
                for drive in state.locals[index].drives.iter_mut().flatten().filter(|drive| drive.current) {
                    drive.leased = leased;
                }
            }
        }
    }

    fn idle(&self, state: &State) -> Option<usize> {
        (0..self.config.workers).find(|worker| state.is_idle(*worker))
    }

    fn send_decide(&self, state: &mut State, direction: Direction, inline: bool) {
        if inline {
            let Some(worker) = self.idle(state) else { return };
            state.workers[worker] = Worker::Deciding;
        }
        for local in &mut state.locals {
            local.named = match (local.told, local.learned, local.attempt) {
                (0, ..) => Named::No,
                (_, true, Attempt::Succeeded) => Named::Succeeded,
                (_, true, Attempt::Refused) => Named::Refused,
                _ => Named::Unknown,
            };
        }
        let create = !state.initiator.acked;
        state.initiator.decided =
            Some(Decided { direction, create, inline, heard: None, answered: false, unheard: false });
    }

    fn deliver(&self, state: &mut State, request: Request, heard: bool) {
        match request {
            Request::Begin => {
                let stepped = self.run(state, Spec::Begin);
                if heard {
                    state.initiator.begin = Sent::Heard;
                    state.initiator.acked |= stepped.reply == Reply::Done;
                }
            }
            Request::Register(place) => self.register(state, place, heard),
            Request::Join(run) => self.join(state, run, heard),
            Request::Outcome(index) => self.outcome(state, index, heard),
            Request::Decide => self.decide(state, heard),
            Request::Cancel => {
                let stepped = self.run(state, Spec::OperatorCancel);
                if heard {
                    state.operator.cancel = Sent::Heard;
                    if let Reply::Decided { direction, .. } = stepped.reply {
                        state.operator.heard = Some(direction);
                    }
                }
            }
            Request::Close(branches) => {
                let drives = std::array::from_fn(|index| {
                    state.locals[index].close.filter(|_| branches & (1 << index) != 0)
                });
                self.close(state, drives);
            }
            Request::StaleDone(index, seen) => {
                self.run(state, Spec::StaleDone { branch: index as u8, seen });
            }
            Request::KeepAlive => {
                self.run(state, Spec::KeepAlive);
            }
        }
    }

    /// Branches of a registration, as bits.
    fn registered_by(&self, place: usize) -> u8 {
        let own = (0..self.config.layout.len()).filter(|index| is_own(&self.config, *index));
        let its = own.filter(|index| !self.config.apart || *index == place);
        its.fold(0, |bits, index| bits | 1 << index)
    }

    fn register(&self, state: &mut State, place: usize, heard: bool) {
        let create = state.initiator.registrations[place].create;
        let branches = self.registered_by(place);
        let stepped = self.run(state, Spec::Register { branches, runner: 0, create });
        if !heard {
            return;
        }
        state.initiator.registrations[place].sent = Sent::Heard;
        let over = state.initiator.decided.is_some();
        match stepped.reply {
            Reply::Registered { yours, places, .. } => {
                state.initiator.acked = true;
                for index in (0..BRANCHES_MAX).filter(|index| branches & (1 << index) != 0) {
                    let local = &mut state.locals[index];
                    local.told = places[index];
                    if yours & (1 << index) != 0 && !over {
                        local.attempt = Attempt::Running;
                    }
                }
            }
            Reply::Refused(Refused::Decided | Refused::DeadlinePassed) => state.initiator.acked = true,
            _ => {}
        }
    }

    fn join(&self, state: &mut State, run: usize, heard: bool) {
        let Some(joined) = self.config.joined else { return };
        let spec = Spec::Register { branches: 1 << joined, runner: run as u8 + 1, create: false };
        let stepped = self.run(state, spec);
        let local = &mut state.locals[joined];
        if !heard || !matches!(local.runners[run], Runner::Asked | Runner::Waits) {
            return;
        }
        let Reply::Registered { yours, known, .. } = stepped.reply else { return };
        if yours & (1 << joined) == 0 {
            local.runners[run] = if known[joined].is_some() { Runner::Knows } else { Runner::Waits };
            return;
        }
        local.runners[run] = Runner::Tries;
        if local.attempt == Attempt::Idle {
            local.attempt = Attempt::Running;
        } else {
            state.violation = state.violation.or(Some(Violation::CallTriedTwice));
        }
    }

    fn outcome(&self, state: &mut State, index: usize, heard: bool) {
        let Some(seen) = state.locals[index].attempt.ended() else { return };
        let stepped = self.run(state, Spec::Report { branch: index as u8, seen });
        if !heard {
            return;
        }
        state.locals[index].report = Sent::Heard;
        if matches!(stepped.reply, Reply::Reported { lost: true } | Reply::Refused(Refused::NotFound)) {
            self.cancel_here(state, index);
        }
    }

    fn decide(&self, state: &mut State, heard: bool) {
        let Some(decided) = state.initiator.decided else { return };
        let spec = Spec::Decide {
            direction: decided.direction,
            create: decided.create,
            inline: decided.inline,
            named: std::array::from_fn(|index| state.locals[index].named),
            told: std::array::from_fn(|index| state.locals[index].told),
        };
        let stepped = self.run(state, spec);
        if !heard {
            if self.config.retention && decided.direction == Direction::Confirm && !decided.answered {
                state.initiator.decided = Some(Decided { unheard: true, ..decided });
            }
            return;
        }
        let (direction, lost) = match stepped.reply {
            Reply::Decided { direction, lost } => (Some(direction), lost),
            Reply::Refused(Refused::NotFound) => (None, u8::MAX),
            _ => (None, 0),
        };
        state.initiator.decided = Some(Decided { heard: direction, answered: true, ..decided });
        if let Some(worker) = state.workers.iter().position(|worker| *worker == Worker::Deciding) {
            state.workers[worker] = Worker::Idle;
            hand(state, worker, &stepped);
        }
        for index in 0..BRANCHES_MAX {
            let local = &state.locals[index];
            let known = matches!(local.named, Named::Succeeded | Named::Refused);
            if known && local.told > 0 && lost & (1 << (local.told - 1)) != 0 {
                self.cancel_here(state, index);
            }
        }
    }

    /// The record is gone, and whoever tried runs cancel itself (rule 6c).
    fn cancel_here(&self, state: &mut State, index: usize) {
        let local = &mut state.locals[index];
        let unheard = state.initiator.decided.is_some_and(|decided| decided.unheard);
        if unheard && local.named == Named::Succeeded {
            // It may have been confirmed: that is an operator's to find out.
            return;
        }
        local.undone = true;
        // What a lost record had been confirmed by is not promised; one that ended must stay as it ended.
        if local.row == Row::Confirmed && !self.config.loss {
            state.violation = state.violation.or(Some(Violation::FenceContradiction));
        }
        local.row = match (local.row, self.config.fence) {
            (Row::Held, _) | (Row::Empty, true) => Row::Released,
            (other, _) => other,
        };
    }

    fn take(&self, state: &mut State, index: usize) {
        let local = &mut state.locals[index];
        if self.config.fence && local.row == Row::Released {
            if !state.initiator.crashed || !is_own(&self.config, index) {
                self.end(state, index, Attempt::Refused);
            }
            return;
        }
        local.row = Row::Held;
        local.attempt = Attempt::Took;
    }

    fn end(&self, state: &mut State, index: usize, attempt: Attempt) {
        let own = is_own(&self.config, index);
        let late = state.initiator.decided.is_some();
        let local = &mut state.locals[index];
        local.attempt = attempt;
        if own && !late {
            local.learned = true;
        } else {
            local.report = Sent::Sent;
        }
    }

    fn work(&self, state: &mut State, index: usize, worker: usize) {
        let Some(drive) = state.locals[index].drives[worker] else { return };
        let row = &mut state.locals[index].row;
        let worked = match (drive.direction, *row) {
            (Direction::Confirm, Row::Held | Row::Confirmed) => Some(Row::Confirmed),
            (Direction::Cancel, Row::Held | Row::Released) => Some(Row::Released),
            (Direction::Cancel, Row::Empty) => {
                Some(if self.config.fence { Row::Released } else { Row::Empty })
            }
            (Direction::Confirm, Row::Empty | Row::Released) | (Direction::Cancel, Row::Confirmed) => None,
        };
        match worked {
            Some(worked) => {
                *row = worked;
                state.locals[index].drives[worker] = Some(Drive { effect: true, ..drive });
            }
            // After a loss the fence sees contradictions, and the handler parks.
            None if self.config.loss => {}
            None => state.violation = Some(Violation::FenceContradiction),
        }
    }

    fn report(&self, state: &mut State, index: usize, worker: usize, how: How) {
        let Some(drive) = state.locals[index].drives[worker].take() else { return };
        match (drive.current, how) {
            (true, how) if self.config.delayed_reports => state.locals[index].close = Some(how),
            (true, how) => {
                let mut drives = [None; BRANCHES_MAX];
                drives[index] = Some(how);
                self.close(state, drives);
            }
            (false, How::Done(seen)) if self.config.delayed_reports => remember_done(state, index, seen),
            (false, How::Done(seen)) => {
                self.run(state, Spec::StaleDone { branch: index as u8, seen });
            }
            // Refused, whenever it comes: every record is tried with it.
            (false, _) => {}
        }
    }

    fn close(&self, state: &mut State, drives: [Option<How>; BRANCHES_MAX]) {
        self.run(state, Spec::Close { drives });
        for (index, how) in drives.into_iter().enumerate() {
            let Some(how) = how else { continue };
            state.locals[index].close = None;
            if let (How::Done(seen), true) = (how, self.config.delayed_reports) {
                remember_done(state, index, seen);
            }
            if !self.config.backoff {
                state.part.branches[index].due = true;
            }
        }
    }

    /// Forgets completions that can change nothing any more: those that knew too little for good, and all of
    /// a branch that is final for good.
    fn tidy(&self, state: &mut State) {
        state.tidy();
        for index in 0..self.config.layout.len() {
            let branch = &state.part.branches[index];
            let local = &mut state.locals[index];
            if branch.known.is_some() {
                local.stale_done &= !done_bit(Seen::Unknown);
                if branch.state.is_final() {
                    local.stale_done = 0;
                }
            }
        }
        if state.part.decision.is_some()
            && !self.config.reasons
            && !self.config.loss
            && !self.config.retention
        {
            state.deadline_passed = false;
        }
    }
}

fn done_bit(seen: Seen) -> u8 {
    match seen {
        Seen::Succeeded => 1,
        Seen::Refused => 2,
        Seen::Unknown => 4,
    }
}

fn remember_done(state: &mut State, index: usize, seen: Seen) {
    state.locals[index].stale_done |= done_bit(seen);
}

/// A branch got a new epoch: what belongs to the one before is stale.
fn age(state: &mut State, index: usize) {
    let local = &mut state.locals[index];
    for drive in local.drives.iter_mut().flatten() {
        drive.current = false;
    }
    if let Some(How::Done(seen)) = local.close.take() {
        remember_done(state, index, seen);
    }
}

fn gone(state: &mut State, gone: Gone) {
    state.part = Part::default();
    state.gone = gone;
    for index in 0..BRANCHES_MAX {
        age(state, index);
    }
}

/// Gives claimed branches to a worker.
fn hand(state: &mut State, worker: usize, stepped: &Stepped) {
    for (index, seen) in stepped.drives.iter().enumerate() {
        let branch = &state.part.branches[index];
        let (Some(seen), Some(direction)) = (*seen, branch.state.open_direction()) else { continue };
        let drive = Drive { current: true, leased: branch.is_leased(), seen, direction, effect: false };
        state.locals[index].drives[worker] = Some(drive);
    }
}

impl Model for Tcc {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::default()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        action::actions(&self.config, state, actions);
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = *state;
        self.next(&mut next, action);
        self.tidy(&mut next);
        if next.violation.is_none() && next.part != state.part {
            next.violation = self.stepper.audit(&next.part, next.deadline_passed);
        }
        if next == *state {
            return None;
        }
        let alike = self.config.alike;
        Some(next.canonical(self.config.layout, self.config.workers, alike))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::properties(&self.config)
    }
}
