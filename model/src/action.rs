//! What can happen in a state.

use tcc_core::record::{BranchState, Direction, Seen};

use crate::{
    Config,
    part::{ClaimPart, Part},
    request::How,
    state::{Attempt, Gone, Runner, Sent, State, Worker},
};

/// A request that was sent, and may be applied at any time and any number of times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Request {
    /// The initiator's begin in a call of its own.
    Begin,
    /// A registration of the initiator's.
    Register(usize),
    /// A registration by a run of the joined call.
    Join(usize),
    /// The outcome of a branch's try.
    Outcome(usize),
    /// The initiator's decision.
    Decide,
    /// The operator's cancel.
    Cancel,
    /// What drives came to; branches as bits.
    Close(u8),
    /// A completion of an older epoch, by a drive that knew this much.
    StaleDone(usize, Seen),
    /// The renewal of the initiator's lease.
    KeepAlive,
}

/// What can happen in a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// The initiator sends its begin.
    SendBegin,
    /// The initiator sends a registration.
    SendRegister(usize),
    /// A process receives the joined call and sends its registration.
    SendJoin(usize),
    /// The initiator sends its decision, with a claim or without.
    SendDecide(Direction, bool),
    /// The operator sends a cancel.
    SendCancel,
    /// A request is applied, and its answer lost.
    Apply(Request),
    /// A request is applied, and its answer heard.
    Hear(Request),
    /// A run of the joined call answers its caller.
    Answer(usize),
    /// A try takes effect.
    Take(usize),
    /// A try returns a result.
    Succeed(usize),
    /// A try returns an error.
    Refuse(usize),
    /// The initiator's process dies.
    Crash,
    /// The transaction's deadline passes.
    DeadlinePasses,
    /// The initiator's lease runs out.
    LeasePasses,
    /// The lease of a branch's newest claim runs out.
    ClaimExpires(usize),
    /// The time of a branch's next attempt comes.
    AttemptDue(usize),
    /// The record is lost.
    Lose,
    /// The record is forgotten at the end of its retention.
    Forget,
    /// A sweeper looks after the transaction.
    Sweep,
    /// The operator sets parked branches going again; branches as bits, none for all.
    Redrive(u8),
    /// A worker claims a participant's work.
    Claim(u8),
    /// A worker claims a participant's work, and does not hear the answer.
    ClaimUnheard(u8),
    /// A worker repeats its claim.
    ClaimAgain(usize),
    /// A worker gives its claim up.
    GiveUp(usize),
    /// A worker's handler of a branch takes effect.
    Work(usize, usize),
    /// A worker reports what its drive of a branch came to.
    Report(usize, usize, How),
    /// A worker's process dies.
    WorkerCrash(usize),
    /// A worker prolongs its claim of a branch.
    Renew(usize),
}

/// Everything that can happen in a state; some of it may turn out to change nothing.
pub(crate) fn actions(config: &Config, state: &State, actions: &mut Vec<Action>) {
    if state.violation.is_some() {
        return;
    }
    initiator(config, state, actions);
    tries(config, state, actions);
    time(config, state, actions);
    if state.part.exists && state.part.timer {
        actions.push(Action::Sweep);
    }
    operator(config, state, actions);
    workers(config, state, actions);
}

/// The requests a state's senders still wait for, and replays of those they do not.
fn deliver(config: &Config, actions: &mut Vec<Action>, request: Request, sent: Sent, listens: bool) {
    if sent == Sent::No {
        return;
    }
    if sent == Sent::Sent && listens {
        actions.push(Action::Hear(request));
    }
    if config.lost_answers || !listens {
        actions.push(Action::Apply(request));
    }
}

fn registrations(config: &Config) -> usize {
    if config.apart { 2 } else { 1 }
}

/// Whether a branch is registered by the initiator itself.
pub(crate) fn is_own(config: &Config, index: usize) -> bool {
    config.joined != Some(index)
}

fn initiator(config: &Config, state: &State, actions: &mut Vec<Action>) {
    let initiator = &state.initiator;
    let alive = !initiator.crashed;
    let open = alive && initiator.decided.is_none();
    let begun = !config.begins || initiator.begin == Sent::Heard;
    if open && config.begins && initiator.begin == Sent::No {
        actions.push(Action::SendBegin);
    }
    deliver(config, actions, Request::Begin, initiator.begin, alive);
    for (place, registration) in initiator.registrations.iter().enumerate().take(registrations(config)) {
        if open && begun && registration.sent == Sent::No {
            actions.push(Action::SendRegister(place));
        }
        deliver(config, actions, Request::Register(place), registration.sent, alive);
    }
    if let Some(joined) = config.joined {
        for (run, runner) in state.locals[joined].runners.iter().enumerate() {
            if *runner == Runner::Away && open && initiator.acked {
                actions.push(Action::SendJoin(run));
            }
            match runner {
                Runner::Away => {}
                Runner::Asked | Runner::Waits => {
                    deliver(config, actions, Request::Join(run), Sent::Sent, true)
                }
                Runner::Tries | Runner::Knows => {
                    deliver(config, actions, Request::Join(run), Sent::Heard, true)
                }
            }
            let local = &state.locals[joined];
            let answers = match runner {
                Runner::Tries => local.report == Sent::Heard && local.attempt.ended().is_some(),
                Runner::Knows => true,
                Runner::Away | Runner::Asked | Runner::Waits => false,
            };
            if answers && open && !local.learned && state.part.branches[joined].place > 0 {
                actions.push(Action::Answer(run));
            }
        }
    }
    for (index, local) in state.locals.iter().enumerate().take(config.layout.len()) {
        let listens = alive || !is_own(config, index);
        deliver(config, actions, Request::Outcome(index), local.report, listens);
    }
    if open {
        decisions(config, state, actions);
    }
    if let Some(decided) = initiator.decided {
        let sent = if decided.answered { Sent::Heard } else { Sent::Sent };
        deliver(config, actions, Request::Decide, sent, alive);
    }
    if config.lease && initiator.acked && state.part.lease_passed && state.part.decision.is_none() {
        actions.push(Action::Apply(Request::KeepAlive));
    }
    if config.crash && alive && initiator.decided.is_none_or(|decided| !decided.answered) {
        actions.push(Action::Crash);
    }
}

fn decisions(config: &Config, state: &State, actions: &mut Vec<Action>) {
    let initiator = &state.initiator;
    let registrations = &initiator.registrations[..registrations(config)];
    let asked = initiator.begin != Sent::No || registrations.iter().any(|one| one.sent != Sent::No);
    if !asked {
        return;
    }
    let sure = (!config.begins || initiator.begin == Sent::Heard)
        && registrations.iter().all(|one| one.sent != Sent::Sent)
        && state.locals.iter().all(|local| local.told == 0 || local.learned)
        && config.joined.is_none_or(|joined| {
            let local = &state.locals[joined];
            local.learned || local.runners.iter().all(|runner| *runner == Runner::Away)
        });
    let complete = sure && registrations.iter().all(|one| one.sent == Sent::Heard);
    if !config.late && !complete {
        return;
    }
    let inlines = config.inline
        && state.locals.iter().any(|local| local.told > 0)
        && (0..config.workers).any(|worker| state.is_idle(worker));
    for inline in [false, true] {
        if inline && !inlines {
            continue;
        }
        if sure || config.careless {
            actions.push(Action::SendDecide(Direction::Confirm, inline));
        }
        actions.push(Action::SendDecide(Direction::Cancel, inline));
    }
}

fn tries(config: &Config, state: &State, actions: &mut Vec<Action>) {
    for (index, local) in state.locals.iter().enumerate().take(config.layout.len()) {
        let alive = !state.initiator.crashed || !is_own(config, index);
        match local.attempt {
            Attempt::Running => {
                // What a dead process has under way at its participant may still arrive there; without a
                // fence nothing could stop it, and nothing is promised.
                if alive || config.fence {
                    actions.push(Action::Take(index));
                }
                if alive && config.refuse {
                    actions.push(Action::Refuse(index));
                }
            }
            Attempt::Took => {
                if alive {
                    actions.push(Action::Succeed(index));
                }
                if alive && config.refuse && config.sloppy {
                    actions.push(Action::Refuse(index));
                }
            }
            Attempt::Idle | Attempt::Succeeded | Attempt::Refused => {}
        }
    }
}

fn time(config: &Config, state: &State, actions: &mut Vec<Action>) {
    let part = &state.part;
    let undecided = part.decision.is_none();
    if config.deadline && !state.deadline_passed && (undecided || config.reasons) {
        actions.push(Action::DeadlinePasses);
    }
    if config.lease && part.exists && undecided && !part.lease_passed {
        actions.push(Action::LeasePasses);
    }
    for (index, branch) in part.branches.iter().enumerate() {
        if branch.is_leased() && (config.expiry || !is_held(state, index)) {
            actions.push(Action::ClaimExpires(index));
        }
        if branch.is_drivable() && !branch.due {
            actions.push(Action::AttemptDue(index));
        }
    }
    if config.loss && part.exists && state.gone == Gone::No {
        actions.push(Action::Lose);
    }
    if config.retention && part.is_final() && tries_are_over(config, state) {
        actions.push(Action::Forget);
    }
}

/// Whether someone has the newest claim of a branch, or is about to hear of it.
fn is_held(state: &State, index: usize) -> bool {
    let local = &state.locals[index];
    local.close.is_some()
        || local.drives.iter().flatten().any(|drive| drive.current)
        || !matches!(
            state.part.branches[index].claim,
            ClaimPart::Open { owner: crate::part::Owner::Nobody, .. }
        )
}

/// Rule 13: a record outlives its tries.
fn tries_are_over(config: &Config, state: &State) -> bool {
    state.locals.iter().enumerate().all(|(index, local)| {
        let alive = !state.initiator.crashed || !is_own(config, index);
        !alive || !matches!(local.attempt, Attempt::Running | Attempt::Took)
    })
}

fn operator(config: &Config, state: &State, actions: &mut Vec<Action>) {
    if config.operator {
        if state.operator.cancel == Sent::No && state.part.exists {
            actions.push(Action::SendCancel);
        }
        deliver(config, actions, Request::Cancel, state.operator.cancel, true);
    }
    if config.park {
        let parked = (0..config.layout.len()).filter(|index| state.part.branches[*index].parked);
        let bits = parked.fold(0_u8, |bits, index| bits | 1 << index);
        actions.extend(
            (0..config.layout.len())
                .filter(|index| bits & 1 << index != 0)
                .map(|index| Action::Redrive(1 << index)),
        );
        if bits.count_ones() > 1 {
            actions.push(Action::Redrive(0));
        }
    }
}

fn has_work(part: &Part, config: &Config, participant: u8) -> bool {
    (0..config.layout.len()).any(|index| {
        let branch = &part.branches[index];
        config.layout[index] == participant && branch.is_drivable() && branch.due && !branch.is_leased()
    })
}

fn workers(config: &Config, state: &State, actions: &mut Vec<Action>) {
    let participants = config.layout.iter().max().map_or(0, |most| most + 1);
    if (0..config.workers).any(|worker| state.is_idle(worker)) {
        for participant in (0..participants).filter(|place| has_work(&state.part, config, *place)) {
            actions.push(Action::Claim(participant));
            if config.lost_answers {
                actions.push(Action::ClaimUnheard(participant));
            }
        }
    }
    for (worker, doing) in state.workers.iter().enumerate().take(config.workers) {
        if matches!(doing, Worker::Asking(_)) {
            actions.push(Action::ClaimAgain(worker));
            actions.push(Action::GiveUp(worker));
        }
        if config.worker_crash && state.locals.iter().any(|local| local.drives[worker].is_some()) {
            actions.push(Action::WorkerCrash(worker));
        }
    }
    let mut pending = 0_u8;
    for (index, local) in state.locals.iter().enumerate().take(config.layout.len()) {
        let branch = &state.part.branches[index];
        for (worker, drive) in local.drives.iter().enumerate() {
            let Some(drive) = drive else { continue };
            let mut report = |how| actions.push(Action::Report(index, worker, how));
            if drive.effect {
                report(How::Done(drive.seen));
            }
            if config.fail {
                report(How::Failed);
            }
            if config.ongoing && !drive.effect {
                report(How::Ongoing);
                report(How::Released);
                report(How::HandedOn);
            }
            if config.park {
                report(How::Parked);
            }
            if !drive.effect {
                actions.push(Action::Work(index, worker));
            }
            let expired = matches!(branch.claim, ClaimPart::Open { expired: true, .. });
            if config.renew && drive.current && expired {
                actions.push(Action::Renew(index));
            }
        }
        if local.close.is_some() {
            pending |= 1 << index;
            actions.push(Action::Apply(Request::Close(1 << index)));
        }
        for (bit, seen) in [Seen::Succeeded, Seen::Refused, Seen::Unknown].into_iter().enumerate() {
            if local.stale_done & (1 << bit) != 0
                && matches!(branch.state, BranchState::Confirming | BranchState::Cancelling)
            {
                actions.push(Action::Apply(Request::StaleDone(index, seen)));
            }
        }
    }
    if pending.count_ones() > 1 {
        actions.push(Action::Apply(Request::Close(pending)));
    }
}
