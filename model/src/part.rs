//! A record with everything left out that cannot change what happens next.
//!
//! [`Part`] is what the model keeps of a record. `Names::decode` makes a real record of it, on which the
//! real state machine runs, and `Names::encode` takes in what it left behind. What is left out is filled
//! in differently by each `Hidden`, so that a rule which came to depend on it would be seen.

use std::{collections::BTreeMap, time::Duration};

use tcc_core::{
    ActionName, CallId, Gid, Name, Ordinal, Payload, Timestamp,
    machine::Create,
    record::{
        Bell, Branch, BranchState, Claim, Closed, Decision, Direction, FORMAT, ParkCause, Parked, Reason,
        Record, Seen, Token, TransactionState,
    },
};

use crate::violation::Violation;

/// The most branches a configuration may have.
pub const BRANCHES_MAX: usize = 4;
/// The most workers a configuration may have.
pub const WORKERS_MAX: usize = 3;

/// The present. Every other moment is past or to come; which of them pass, and in which order, is the
/// checker's choice.
pub const NOW: Timestamp = Timestamp::from_millis(1_000_000_000);
const PAST: Timestamp = Timestamp::from_millis(NOW.as_millis() - 1_000);

pub(crate) const LEASE_MS: u64 = 5_000;
pub(crate) const DRIVE_LEASE_MS: u64 = 10_000;
pub(crate) const BACKOFF_MS: u64 = 3_000;
const DEADLINE_MS: u64 = 30_000;
const RETENTION_MS: u64 = 86_400_000;

/// Token of the claim that is made inside the decision.
const DECIDER: Token = Token(90);

/// Whose token the newest claim of a branch carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// Nobody's who still waits for that claim's answer.
    Nobody,
    /// That of a worker that has not heard the claim's answer.
    Worker(u8),
    /// That of the initiator, which has not heard its decision's answer.
    Decider,
}

/// The newest claim of a branch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClaimPart {
    /// There was none.
    #[default]
    Never,
    /// It is open.
    Open {
        /// Whose token it carries.
        owner: Owner,
        /// Whether its lease has run out.
        expired: bool,
    },
    /// It is closed. How, is left out: only the answer to a repeated report depends on it.
    Closed,
}

/// A branch of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BranchPart {
    /// Its place in the record from 1, or 0 if the record does not hold it.
    pub place: u8,
    /// How far it is.
    pub state: BranchState,
    /// What is known of its try.
    pub known: Option<Seen>,
    /// Whether its arguments are kept.
    pub arguments: bool,
    /// Whether its result is kept.
    pub result: bool,
    /// Which run of its call registered it; 0 for the initiator's own.
    pub runner: u8,
    /// Its newest claim.
    pub claim: ClaimPart,
    /// Whether its next attempt may begin; always, unless it waits for one.
    pub due: bool,
    /// Whether it waits for an operator.
    pub parked: bool,
}

impl Default for BranchPart {
    fn default() -> Self {
        Self {
            place: 0,
            state: BranchState::Trying,
            known: None,
            arguments: false,
            result: false,
            runner: 0,
            claim: ClaimPart::Never,
            due: true,
            parked: false,
        }
    }
}

impl BranchPart {
    /// Whether phase two has work with it.
    #[must_use]
    pub fn is_drivable(&self) -> bool {
        self.place > 0 && self.state.open_direction().is_some() && !self.parked
    }

    /// Whether its newest claim holds.
    #[must_use]
    pub fn is_leased(&self) -> bool {
        matches!(self.claim, ClaimPart::Open { expired: false, .. })
    }
}

/// A record, or its absence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Part {
    /// Whether there is a record.
    pub exists: bool,
    /// Its state.
    pub state: TransactionState,
    /// Its decision and the reason; the reason only where the configuration keeps it.
    pub decision: Option<(Direction, Reason)>,
    /// Whether it has a time-to-live.
    pub ended: bool,
    /// Whether the initiator's lease has run out.
    pub lease_passed: bool,
    /// Whether it is in `due`. When exactly is not kept: it is taken to be as late as is allowed.
    pub timer: bool,
    /// Its branches, by call.
    pub branches: [BranchPart; BRANCHES_MAX],
}

impl Default for Part {
    fn default() -> Self {
        Self {
            exists: false,
            state: TransactionState::Trying,
            decision: None,
            ended: false,
            lease_passed: false,
            timer: false,
            branches: [BranchPart::default(); BRANCHES_MAX],
        }
    }
}

impl Part {
    /// The direction decided.
    #[must_use]
    pub fn direction(&self) -> Option<Direction> {
        self.decision.map(|(direction, _)| direction)
    }

    /// Whether every branch is final.
    #[must_use]
    pub fn is_final(&self) -> bool {
        self.exists && self.state.is_final()
    }
}

/// One way to fill in what a [`Part`] leaves out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hidden {
    attempts: u32,
    epoch: u64,
    ongoing_since: Option<Timestamp>,
    unhandled_since: Option<Timestamp>,
    idle_next_attempt: Timestamp,
    bell: Option<Bell>,
    pub(crate) closed: Closed,
    pub(crate) cause: ParkCause,
    last_error: bool,
}

/// Enough ways that each left-out field takes values that would tell.
pub(crate) const HIDDEN: [Hidden; 5] = [
    Hidden {
        attempts: 3,
        epoch: 5,
        ongoing_since: None,
        unhandled_since: None,
        idle_next_attempt: PAST,
        bell: None,
        closed: Closed::Final,
        cause: ParkCause::Handler,
        last_error: false,
    },
    Hidden {
        attempts: 1,
        epoch: 2,
        ongoing_since: Some(PAST),
        unhandled_since: None,
        idle_next_attempt: Timestamp::from_millis(NOW.as_millis() + BACKOFF_MS),
        bell: Some(Bell { count: 1, again_at: Timestamp::from_millis(NOW.as_millis() + 1_000) }),
        closed: Closed::DriveAgain,
        cause: ParkCause::AttemptsExhausted,
        last_error: true,
    },
    Hidden {
        attempts: 20,
        epoch: 900,
        ongoing_since: None,
        unhandled_since: Some(PAST),
        idle_next_attempt: PAST,
        bell: Some(Bell { count: 40, again_at: PAST }),
        closed: Closed::Rescheduled(PAST),
        cause: ParkCause::OngoingTooLong,
        last_error: true,
    },
    Hidden {
        attempts: 7,
        epoch: 7,
        ongoing_since: Some(PAST),
        unhandled_since: Some(PAST),
        idle_next_attempt: Timestamp::from_millis(NOW.as_millis() + BACKOFF_MS),
        bell: Some(Bell { count: 3, again_at: Timestamp::from_millis(NOW.as_millis() + 60_000) }),
        closed: Closed::Parked,
        cause: ParkCause::UnknownAction,
        last_error: false,
    },
    Hidden {
        attempts: 1,
        epoch: 1,
        ongoing_since: None,
        unhandled_since: None,
        idle_next_attempt: PAST,
        bell: None,
        closed: Closed::Rescheduled(Timestamp::from_millis(NOW.as_millis() + BACKOFF_MS)),
        cause: ParkCause::Undecodable,
        last_error: false,
    },
];

/// Everything of a configuration's records that never changes.
#[derive(Debug)]
pub(crate) struct Names {
    pub(crate) gid: Gid,
    pub(crate) name: Name,
    pub(crate) initiator: Name,
    pub(crate) sweeper: Name,
    pub(crate) operator: Name,
    pub(crate) participants: Vec<Name>,
    pub(crate) actions: Vec<ActionName>,
    pub(crate) calls: Vec<CallId>,
    pub(crate) arguments: Vec<Payload>,
    pub(crate) results: Vec<Payload>,
    /// Participant of each branch.
    pub(crate) layout: Vec<u8>,
    /// Whether reasons of decisions are kept.
    pub(crate) reasons: bool,
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap_or_else(|error| unreachable!("{error}"))
}

impl Names {
    pub(crate) fn new(layout: &[u8], reasons: bool) -> Self {
        let count = layout.iter().max().map_or(0, |most| usize::from(*most) + 1);
        let participants: Vec<Name> = (0..count).map(|place| name(&format!("p{place}"))).collect();
        let actions = layout.iter().map(|place| {
            ActionName::from_parts(&participants[usize::from(*place)], "reserve", 1)
                .unwrap_or_else(|error| unreachable!("{error}"))
        });
        let payloads = |what: &str| -> Vec<Payload> {
            (0..layout.len()).map(|place| Payload::from_json(format!("{{\"{what}\":{place}}}"))).collect()
        };
        Self {
            gid: Gid::new(PAST, 7, 0),
            name: name("checkout"),
            initiator: name("initiator"),
            sweeper: name("sweeper"),
            operator: name("operator"),
            actions: actions.collect(),
            calls: (1..=layout.len()).map(|place| CallId::top(place as u32)).collect(),
            arguments: payloads("take"),
            results: payloads("hold"),
            participants,
            layout: layout.to_vec(),
            reasons,
        }
    }

    pub(crate) fn create(&self, deadline_passed: bool) -> Create {
        Create {
            gid: self.gid.clone(),
            name: self.name.clone(),
            key: None,
            initiator: self.initiator.clone(),
            deadline_at: deadline(deadline_passed),
            lease_ms: LEASE_MS,
            retention_ms: RETENTION_MS,
        }
    }

    /// A real record.
    pub(crate) fn decode(&self, part: &Part, hidden: &Hidden, deadline_passed: bool) -> Option<Record> {
        if !part.exists {
            return None;
        }
        let mut places: Vec<usize> =
            (0..self.layout.len()).filter(|index| part.branches[*index].place > 0).collect();
        places.sort_by_key(|index| part.branches[*index].place);
        let mut bells = BTreeMap::new();
        if let Some(bell) = hidden.bell.filter(|_| part.decision.is_some() && !part.state.is_final()) {
            for index in &places {
                bells.insert(self.participants[usize::from(self.layout[*index])].clone(), bell);
            }
        }
        let decision = part.decision.map(|(direction, reason)| Decision {
            direction,
            reason,
            by: self.initiator.clone(),
            at: PAST,
        });
        Some(Record {
            format: FORMAT,
            gid: self.gid.clone(),
            name: self.name.clone(),
            key: None,
            initiator: self.initiator.clone(),
            state: part.state,
            decision,
            begun_at: PAST,
            deadline_at: deadline(deadline_passed),
            lease_until: if part.lease_passed { PAST } else { NOW + Duration::from_millis(LEASE_MS) },
            retention_ms: RETENTION_MS,
            ended_at: part.ended.then_some(PAST),
            branches: places
                .iter()
                .map(|index| self.branch(*index, &part.branches[*index], hidden))
                .collect(),
            bells,
        })
    }

    fn branch(&self, index: usize, part: &BranchPart, hidden: &Hidden) -> Branch {
        let ever = part.claim != ClaimPart::Never;
        let claim = match part.claim {
            ClaimPart::Never => None,
            ClaimPart::Open { owner, expired } => Some(Claim {
                token: token(owner, index),
                until: if expired { PAST } else { NOW + Duration::from_millis(DRIVE_LEASE_MS) },
                closed: None,
            }),
            ClaimPart::Closed => {
                Some(Claim { token: token(Owner::Nobody, index), until: PAST, closed: Some(hidden.closed) })
            }
        };
        Branch {
            call: self.calls[index].clone(),
            runner: runner(part.runner),
            action: self.actions[index].clone(),
            trace: None,
            state: part.state,
            arguments: part.arguments.then(|| self.arguments[index].clone()),
            known: part.known,
            result: part.result.then(|| self.results[index].clone()),
            attempts: if ever { hidden.attempts } else { 0 },
            epoch: if ever { hidden.epoch } else { 0 },
            claim,
            next_attempt_at: match (part.is_drivable(), part.due) {
                (true, true) => PAST,
                (true, false) => NOW + Duration::from_millis(BACKOFF_MS),
                (false, _) => hidden.idle_next_attempt,
            },
            ongoing_since: hidden.ongoing_since.filter(|_| ever),
            unhandled_since: hidden.unhandled_since.filter(|_| ever),
            parked: part.parked.then_some(Parked { cause: hidden.cause, at: PAST }),
            last_error: hidden.last_error.then(|| "earlier".to_owned()),
        }
    }

    /// What the model keeps of a record.
    pub(crate) fn encode(&self, record: Option<&Record>, timer: bool) -> Result<Part, Violation> {
        let Some(record) = record else { return Ok(Part { timer, ..Part::default() }) };
        let mut part = Part {
            exists: true,
            state: record.state,
            decision: record.decision.as_ref().map(|decision| {
                let plain = match decision.direction {
                    Direction::Confirm => Reason::Committed,
                    Direction::Cancel => Reason::Aborted,
                };
                (decision.direction, if self.reasons { decision.reason } else { plain })
            }),
            ended: record.ended_at.is_some(),
            lease_passed: (record.decision.is_none() || self.reasons) && record.lease_until <= NOW,
            timer,
            branches: [BranchPart::default(); BRANCHES_MAX],
        };
        for (ordinal, branch) in record.branches() {
            let Some(index) = self.calls.iter().position(|call| *call == branch.call) else {
                return Err(Violation::PayloadMixed);
            };
            if part.branches[index].place > 0 {
                return Err(Violation::CallRegisteredTwice);
            }
            part.branches[index] = self.encode_branch(index, ordinal, branch)?;
        }
        Ok(part)
    }

    fn encode_branch(
        &self,
        index: usize,
        ordinal: Ordinal,
        branch: &Branch,
    ) -> Result<BranchPart, Violation> {
        let own = |kept: &Option<Payload>, own: &Payload| kept.as_ref().is_none_or(|kept| kept == own);
        if branch.action != self.actions[index]
            || !own(&branch.arguments, &self.arguments[index])
            || !own(&branch.result, &self.results[index])
        {
            return Err(Violation::PayloadMixed);
        }
        let claim = match branch.claim {
            None => ClaimPart::Never,
            Some(claim) if claim.closed.is_some() => ClaimPart::Closed,
            Some(claim) => ClaimPart::Open { owner: owner(claim.token), expired: claim.until <= NOW },
        };
        let mut part = BranchPart {
            place: ordinal.index() as u8 + 1,
            state: branch.state,
            known: branch.known,
            arguments: branch.arguments.is_some(),
            result: branch.result.is_some(),
            runner: branch.runner.map_or(0, |token| token.0 as u8 - 100),
            claim,
            due: true,
            parked: branch.parked.is_some(),
        };
        part.due = !part.is_drivable() || branch.next_attempt_at <= NOW;
        Ok(part)
    }
}

fn deadline(passed: bool) -> Timestamp {
    if passed { PAST } else { NOW + Duration::from_millis(DEADLINE_MS) }
}

/// Tokens of different claims differ, those of claims nobody waits for too.
pub(crate) fn token(owner: Owner, index: usize) -> Token {
    match owner {
        Owner::Nobody => Token(50 + index as u64),
        Owner::Worker(worker) => Token(u64::from(worker) + 1),
        Owner::Decider => DECIDER,
    }
}

fn owner(token: Token) -> Owner {
    match token.0 {
        90 => Owner::Decider,
        small @ 1..=9 => Owner::Worker(small as u8 - 1),
        _ => Owner::Nobody,
    }
}

/// Token of a run of a call.
pub(crate) fn runner(runner: u8) -> Option<Token> {
    (runner > 0).then(|| Token(100 + u64::from(runner)))
}
