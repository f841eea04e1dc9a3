//! The state of the whole: the record, and everyone who acts on it.

use tcc_core::record::{Direction, Seen};

use crate::{
    part::{BRANCHES_MAX, BranchPart, ClaimPart, Owner, Part, WORKERS_MAX},
    request::{How, Named},
    violation::Violation,
};

/// What a participant's own store holds of a branch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Row {
    /// Nothing.
    #[default]
    Empty,
    /// The try's reservation.
    Held,
    /// The reservation made final.
    Confirmed,
    /// The reservation released; with a fence, also a cancel that came before its try.
    Released,
}

/// How far the try of a branch is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Attempt {
    /// It has not begun.
    #[default]
    Idle,
    /// It runs and has taken no effect.
    Running,
    /// It runs and has taken effect.
    Took,
    /// It returned a result.
    Succeeded,
    /// It returned an error, with or without an effect.
    Refused,
}

impl Attempt {
    /// Whether it returned, and what.
    #[must_use]
    pub fn ended(self) -> Option<Seen> {
        match self {
            Self::Succeeded => Some(Seen::Succeeded),
            Self::Refused => Some(Seen::Refused),
            Self::Idle | Self::Running | Self::Took => None,
        }
    }
}

/// How far a request is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sent {
    /// It was not sent.
    #[default]
    No,
    /// It was sent: it may be applied at any time, any number of times.
    Sent,
    /// It was sent, and an answer was heard.
    Heard,
}

/// A run of a joined call: a process that received it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Runner {
    /// It has not received the call.
    #[default]
    Away,
    /// It sent its registration.
    Asked,
    /// It was told that its run is the one that tries.
    Tries,
    /// It was told that another run tries.
    Waits,
    /// It was told what the other run's try came to.
    Knows,
}

/// A claimed branch in a worker's hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Drive {
    /// Whether its epoch is the newest.
    pub current: bool,
    /// Whether its lease has never run out.
    pub leased: bool,
    /// What its handler is told of the try.
    pub seen: Seen,
    /// In which direction.
    pub direction: Direction,
    /// Whether its handler has taken effect.
    pub effect: bool,
}

/// A branch beside its part of the record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Local {
    /// What its participant holds.
    pub row: Row,
    /// Its try.
    pub attempt: Attempt,
    /// Its place, as its initiator was told, or 0.
    pub told: u8,
    /// Whether its initiator has learned what its try came to.
    pub learned: bool,
    /// What the decision sent named of it.
    pub named: Named,
    /// The report of its try.
    pub report: Sent,
    /// What the holder of its newest epoch has reported, not applied yet.
    pub close: Option<How>,
    /// Completions sent that may come at any time, as bits of what their drives knew.
    pub stale_done: u8,
    /// Drives, by worker.
    pub drives: [Option<Drive>; WORKERS_MAX],
    /// Whether its record was found gone, and its cancel run by whoever tried.
    pub undone: bool,
    /// Runs of a joined call.
    pub runners: [Runner; 2],
}

/// What a worker is doing beside its drives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Worker {
    /// Nothing.
    #[default]
    Idle,
    /// It sent a claim for a participant that was applied, and has not heard the answer.
    Asking(u8),
    /// It is the initiator's, kept free to drive what its decision claims.
    Deciding,
}

/// A registration of several branches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Registration {
    /// How far it is.
    pub sent: Sent,
    /// Whether it may create the record.
    pub create: bool,
}

/// A decision sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Decided {
    /// What was asked for.
    pub direction: Direction,
    /// Whether it may write a tombstone.
    pub create: bool,
    /// Whether it claims the branches it names.
    pub inline: bool,
    /// The decision that was heard in answer.
    pub heard: Option<Direction>,
    /// Whether any answer was heard.
    pub answered: bool,
    /// Whether it is a commit of which an answer was lost, so that its branches may have been confirmed. Kept
    /// only where a record can be forgotten.
    pub unheard: bool,
}

/// The initiator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Initiator {
    /// Its begin in a call of its own.
    pub begin: Sent,
    /// Its registrations.
    pub registrations: [Registration; 2],
    /// Whether a call that may create the record was acknowledged.
    pub acked: bool,
    /// Its decision.
    pub decided: Option<Decided>,
    /// Whether its process died.
    pub crashed: bool,
}

/// Where the record went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Gone {
    /// Nowhere.
    #[default]
    No,
    /// It was lost, acknowledged as it was.
    Lost,
    /// Its retention ended.
    Expired,
}

/// The operator's cancel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Operator {
    /// How far it is.
    pub cancel: Sent,
    /// The decision it was told.
    pub heard: Option<Direction>,
}

/// A state of the model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct State {
    /// The record.
    pub part: Part,
    /// Its branches beside it.
    pub locals: [Local; BRANCHES_MAX],
    /// The workers.
    pub workers: [Worker; WORKERS_MAX],
    /// The initiator.
    pub initiator: Initiator,
    /// The operator.
    pub operator: Operator,
    /// Whether the deadline has passed.
    pub deadline_passed: bool,
    /// Where the record went.
    pub gone: Gone,
    /// The rule that was broken on the way here.
    pub violation: Option<Violation>,
}

impl State {
    /// Whether a worker has nothing in its hands.
    #[must_use]
    pub fn is_idle(&self, worker: usize) -> bool {
        self.workers[worker] == Worker::Idle && self.locals.iter().all(|local| local.drives[worker].is_none())
    }

    /// Drops what cannot matter any more, so that states that differ by it only are one.
    pub(crate) fn tidy(&mut self) {
        let waits = |owner: Owner, state: &Self| match owner {
            Owner::Nobody => false,
            Owner::Worker(worker) => matches!(state.workers[usize::from(worker)], Worker::Asking(_)),
            Owner::Decider => {
                let unheard = state.initiator.decided.is_some_and(|decided| !decided.answered);
                unheard && !state.initiator.crashed
            }
        };
        for index in 0..BRANCHES_MAX {
            if let ClaimPart::Open { owner, expired } = self.part.branches[index].claim
                && !waits(owner, self)
            {
                self.part.branches[index].claim = ClaimPart::Open { owner: Owner::Nobody, expired };
            }
        }
    }

    /// The one of all states that differ from this one only by which worker is which and, if branches are
    /// alike, which branch is which.
    pub(crate) fn canonical(mut self, layout: &[u8], workers: usize, alike: bool) -> Self {
        // The busy come first, in whichever order gives the least state.
        let (mut order, mut busy) = ([0, 1, 2], 0);
        for worker in (0..workers).filter(|worker| !self.is_idle(*worker)) {
            order.swap(busy, worker);
            busy += 1;
        }
        if order != [0, 1, 2] {
            self.relabel(&order);
        }
        let orders: &[[usize; WORKERS_MAX]] = match busy {
            0 | 1 => &[[0, 1, 2]],
            2 => &[[0, 1, 2], [1, 0, 2]],
            _ => &[[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]],
        };
        let mut best: Option<Self> = None;
        for order in orders {
            let mut other = self;
            if *order != [0, 1, 2] {
                other.relabel(order);
            }
            if alike {
                other.sort_branches(layout);
            }
            if best.is_none_or(|best| other < best) {
                best = Some(other);
            }
        }
        if let Some(best) = best {
            self = best;
        }
        self
    }

    fn relabel(&mut self, order: &[usize; WORKERS_MAX]) {
        let before = *self;
        for (new, old) in order.iter().enumerate() {
            self.workers[new] = before.workers[*old];
            for index in 0..BRANCHES_MAX {
                self.locals[index].drives[new] = before.locals[index].drives[*old];
            }
        }
        for branch in &mut self.part.branches {
            if let ClaimPart::Open { owner: Owner::Worker(worker), expired } = branch.claim {
                let new = order.iter().position(|old| *old == usize::from(worker)).unwrap_or(0) as u8;
                branch.claim = ClaimPart::Open { owner: Owner::Worker(new), expired };
            }
        }
    }

    /// Branches of one participant change places, and participants of as many branches.
    fn sort_branches(&mut self, layout: &[u8]) {
        let count = layout.len();
        let mut all: [(BranchPart, Local); BRANCHES_MAX] =
            std::array::from_fn(|index| (self.part.branches[index], self.locals[index]));
        let size = layout.iter().filter(|participant| **participant == layout[0]).count();
        for group in all[..count].chunks_mut(size) {
            group.sort_unstable();
        }
        if size < count && size > 1 {
            let asking = self.workers.iter().any(|worker| matches!(worker, Worker::Asking(_)));
            if size == 2 && count == 4 && !asking && all[2..4] < all[0..2] {
                all.swap(0, 2);
                all.swap(1, 3);
            }
        } else if size == 1 {
            let asking = self.workers.iter().any(|worker| matches!(worker, Worker::Asking(_)));
            if !asking {
                all[..count].sort_unstable();
            }
        }
        for (index, (part, local)) in all.into_iter().enumerate() {
            self.part.branches[index] = part;
            self.locals[index] = local;
            if self.part.branches[index].place > 0 {
                self.part.branches[index].place = index as u8 + 1;
            }
            if self.locals[index].told > 0 {
                self.locals[index].told = index as u8 + 1;
            }
        }
    }
}
