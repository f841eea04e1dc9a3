//! Requests, and the real operations they stand for.

use tcc_core::{
    Ordinal,
    machine::{
        Begin, ClaimWork, Close, CloseDrive, Decide, Heard, How as RealHow, InlineClaim, KeepAlive,
        NewBranch, Op, Redrive, Register, Renew, Report, Sweep, TryReport,
    },
    record::{BranchState, Direction, Known, Reason, Record, Seen},
};

use crate::part::{
    BACKOFF_MS, BRANCHES_MAX, DRIVE_LEASE_MS, Hidden, LEASE_MS, Names, Owner, Part, runner, token,
};

/// What a drive reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum How {
    /// It finished, having been told this of the try.
    Done(Seen),
    /// It failed, and is to be tried again.
    Failed,
    /// It is still working.
    Ongoing,
    /// It must wait for an operator.
    Parked,
    /// It was not run.
    Released,
    /// It was not run, because its version is not known.
    HandedOn,
}

/// What a decision names of a branch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Named {
    /// Nothing: the initiator does not know it.
    #[default]
    No,
    /// That it exists.
    Unknown,
    /// That its try succeeded.
    Succeeded,
    /// That its try was refused.
    Refused,
}

/// A request, as far as it differs within a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Spec {
    Begin,
    /// Branches as bits.
    Register {
        branches: u8,
        runner: u8,
        create: bool,
    },
    Report {
        branch: u8,
        seen: Seen,
    },
    Decide {
        direction: Direction,
        create: bool,
        inline: bool,
        named: [Named; BRANCHES_MAX],
        told: [u8; BRANCHES_MAX],
    },
    OperatorCancel,
    Claim {
        participant: u8,
        owner: Owner,
    },
    Renew {
        branch: u8,
    },
    KeepAlive,
    Close {
        drives: [Option<How>; BRANCHES_MAX],
    },
    StaleDone {
        branch: u8,
        seen: Seen,
    },
    Sweep,
    /// Branches as bits.
    Redrive {
        branches: u8,
    },
}

fn indexes(bits: u8) -> impl Iterator<Item = usize> {
    (0..BRANCHES_MAX).filter(move |index| bits & (1 << index) != 0)
}

fn ordinal(place: u8) -> Ordinal {
    Ordinal::from_index(usize::from(place.max(1)) - 1)
}

impl Names {
    /// The real operation a request stands for.
    pub(crate) fn materialise(
        &self,
        spec: Spec,
        part: &Part,
        before: Option<&Record>,
        hidden: &Hidden,
        deadline_passed: bool,
    ) -> Op {
        let names = self;
        let real =
            |index: usize| before.and_then(|record| record.branch(ordinal(part.branches[index].place)));
        let epoch = |index: usize| real(index).map_or(1, |branch| branch.epoch);
        let driven = |index: usize| match part.branches[index].state {
            BranchState::Confirming | BranchState::Confirmed => Direction::Confirm,
            _ => Direction::Cancel,
        };
        let create = |wanted: bool| wanted.then(|| names.create(deadline_passed));
        match spec {
            Spec::Begin => Begin { create: names.create(deadline_passed), again_after_cancel: false }.into(),
            Spec::Register { branches, runner: run, create: creates } => Register {
                create: create(creates),
                branches: indexes(branches)
                    .map(|index| NewBranch {
                        call: names.calls[index].clone(),
                        runner: runner(run),
                        action: names.actions[index].clone(),
                        trace: None,
                        arguments: names.arguments[index].clone(),
                    })
                    .collect(),
                branches_max: 1_000,
                payload_bytes_max: 4 << 20,
            }
            .into(),
            Spec::Report { branch, seen } => {
                let index = usize::from(branch);
                let known = self.known_as(index, seen);
                Report { tries: vec![TryReport { ordinal: ordinal(part.branches[index].place), known }] }
                    .into()
            }
            Spec::Decide { direction, create: creates, inline, named, told } => {
                let known_of = |index: usize| match named[index] {
                    Named::Succeeded => Some(self.known_as(index, Seen::Succeeded)),
                    Named::Refused => Some(self.known_as(index, Seen::Refused)),
                    Named::No | Named::Unknown => None,
                };
                let known: Vec<usize> =
                    (0..BRANCHES_MAX).filter(|index| named[*index] != Named::No).collect();
                Decide {
                    direction,
                    reason: match direction {
                        Direction::Confirm => Reason::Committed,
                        Direction::Cancel => Reason::Aborted,
                    },
                    by: names.initiator.clone(),
                    create: create(creates),
                    heard: known
                        .iter()
                        .map(|index| Heard { ordinal: ordinal(told[*index]), known: known_of(*index) })
                        .collect(),
                    inline: inline.then(|| InlineClaim {
                        token: token(Owner::Decider, 0),
                        lease_ms: DRIVE_LEASE_MS,
                        branches: known.iter().map(|index| ordinal(told[*index])).collect(),
                        actions: Vec::new(),
                    }),
                }
                .into()
            }
            Spec::OperatorCancel => Decide {
                direction: Direction::Cancel,
                reason: Reason::Operator,
                by: names.operator.clone(),
                create: None,
                heard: Vec::new(),
                inline: None,
            }
            .into(),
            Spec::Claim { participant, owner } => ClaimWork {
                participants: vec![names.participants[usize::from(participant)].clone()],
                token: token(owner, 0),
                lease_ms: DRIVE_LEASE_MS,
                except: Vec::new(),
                own: None,
            }
            .into(),
            Spec::Renew { branch } => {
                let index = usize::from(branch);
                let claim = real(index).and_then(|branch| branch.claim);
                Renew {
                    token: claim.map_or(token(Owner::Nobody, index), |claim| claim.token),
                    branches: vec![(ordinal(part.branches[index].place), epoch(index))],
                    lease_ms: DRIVE_LEASE_MS,
                }
                .into()
            }
            Spec::KeepAlive => KeepAlive { lease_ms: LEASE_MS }.into(),
            Spec::Close { drives } => {
                let drives = drives.iter().enumerate().filter_map(|(index, how)| {
                    Some(CloseDrive {
                        ordinal: ordinal(part.branches[index].place),
                        epoch: epoch(index),
                        direction: driven(index),
                        how: real_how((*how)?, hidden),
                    })
                });
                Close { drives: drives.collect() }.into()
            }
            Spec::StaleDone { branch, seen } => {
                let index = usize::from(branch);
                let drive = CloseDrive {
                    ordinal: ordinal(part.branches[index].place),
                    epoch: epoch(index).saturating_sub(1),
                    direction: driven(index),
                    how: RealHow::Done { seen },
                };
                Close { drives: vec![drive] }.into()
            }
            Spec::Sweep => Sweep { by: names.sweeper.clone() }.into(),
            Spec::Redrive { branches } => Redrive {
                branches: indexes(branches).map(|index| ordinal(part.branches[index].place)).collect(),
            }
            .into(),
        }
    }

    fn known_as(&self, index: usize, seen: Seen) -> Known {
        match seen {
            Seen::Succeeded => Known::Succeeded(self.results[index].clone()),
            Seen::Refused | Seen::Unknown => Known::Refused,
        }
    }
}

pub(crate) fn real_how(how: How, hidden: &Hidden) -> RealHow {
    let error = || "it failed".to_owned();
    match how {
        How::Done(seen) => RealHow::Done { seen },
        How::Failed => RealHow::Failed { after_ms: BACKOFF_MS, error: error() },
        How::Ongoing => RealHow::Ongoing { after_ms: BACKOFF_MS },
        How::Parked => RealHow::Park { cause: hidden.cause, error: error() },
        How::Released => RealHow::Release { after_ms: 0, unhandled: false },
        How::HandedOn => RealHow::Release { after_ms: BACKOFF_MS, unhandled: true },
    }
}
